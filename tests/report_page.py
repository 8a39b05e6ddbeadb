"""A report's page as a program reads it, and what may stand in one."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any

HOSTILE = [
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(1)>",
    "<!--<script>",
    "</script x",
    "<!--<script x",
    "\"><svg onload='alert(1)'>",
    'it\'s "quoted" & {{ jinja }} {0} %s',
    "$x^2$ \\frac{1}{2}",
    "デバイス-émoji-🚚",
    "\u202eright-to-left",
    "x" * 128,
]


class Page(HTMLParser):
    """What a browser makes of a page: its figures, its scripts and its text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.figures: dict[str, str] = {}
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self._key = ""
        self._in = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))
        self._in = tag if tag in ("script", "style") else ""
        self._key = found.get("data-key") or ""
        if self._key and "data-value" in found:
            self.figures[self._key] = found["data-value"] or ""

    def handle_data(self, data: str) -> None:
        if self._in == "script":
            self.scripts.append(data)
        elif self._in != "style":
            self.text += data
        if self._key and self._key not in self.figures:
            self.figures[self._key] = data

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002 - of HTMLParser
        self._in = self._key = ""

    def rows(self) -> list[dict[str, Any]]:
        data = json.loads(self.scripts[0])
        return [dict(zip(data["columns"], row, strict=True)) for row in data["rows"]]


def flat(summary: dict[str, Any]) -> dict[str, str]:
    """The figures of summary.json by their keys on the page."""
    found = {"outcome": summary["outcome"], "run_id": summary["run_id"]}
    for group in ("clients", "messages", "gap_seconds"):
        found |= {f"{group}.{key}": str(value) for key, value in (summary[group] or {}).items()}
    if summary["sweep"]["calls"]:
        found |= {f"sweep.{key}": str(value) for key, value in summary["sweep"].items()}
    found |= {f"phases.{number}": str(phase["seconds"]) for number, phase in enumerate(summary["phases"])}
    found |= {f"plan.{name}.{key}": move[key] for name, move in summary["plan"].items() for key in move}
    return found
