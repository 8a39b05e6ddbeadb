"""The pages that show the figures: what stands between a section's markers is written by the commands that measure."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from . import plots, results, tables

Render = Callable[[Mapping[str, Any]], str]

IMAGES = results.REPOSITORY / "docs" / "images"
PAGES: dict[Path, dict[str, Render]] = {
    results.REPOSITORY / "README.md": {"summary": tables.summary},
    results.REPOSITORY / "docs" / "benchmarks.md": {
        "moves": tables.moves,
        "sweeps": tables.sweeps,
        "gap": tables.gaps,
        "curve": tables.curve,
        "fleet": tables.fleet,
        "engine": tables.engine,
        "overhead": tables.overhead,
        "client": tables.client,
        "herd": tables.herd,
    },
    results.REPOSITORY / "docs" / "costs.md": {"costs": tables.costs},
}


class MarkerError(Exception):
    """A page lacks the markers of a section."""


def fill(text: str, name: str, content: str) -> str:
    """Return a page with new content between the markers of a section, and the rest as it was.

    Raises:
        MarkerError: the page does not have them, once each.
    """
    begin, end = f"<!-- bench {name}: begin -->", f"<!-- bench {name}: end -->"
    filled, count = re.subn(
        f"{re.escape(begin)}.*?{re.escape(end)}", lambda _: f"{begin}\n{content}\n{end}", text, flags=re.DOTALL
    )
    if count != 1:
        raise MarkerError(f"section {name}: found {count} times '{begin} … {end}', expected one: put it into the page")
    return filled


def rendered(page: Path, figures: Mapping[str, Any]) -> str:
    """Return what a page has to say of these figures."""
    text = page.read_text(encoding="utf-8")
    for name, render in PAGES[page].items():
        text = fill(text, name, render(figures))
    return text


def write() -> list[Path]:
    """Bring pages and plots up to date with the committed figures; return those that changed."""
    figures = results.read()
    contents = {page: rendered(page, figures) for page in PAGES}
    drawn = {IMAGES / f"{name}.svg": plots.render(name, figures) for name in plots.PLOTS}
    contents |= {path: content for path, content in drawn.items() if content is not None}
    IMAGES.mkdir(exist_ok=True)
    changed = [path for path, content in contents.items() if not path.exists() or path.read_text() != content]
    for path in changed:
        path.write_text(contents[path], encoding="utf-8")
    return changed


def show_written() -> None:
    """Bring pages and plots up to date, and say which changed."""
    for path in write():
        sys.stdout.write(f"written: {path.relative_to(results.REPOSITORY)}\n")


if __name__ == "__main__":
    show_written()
