"""The table of traps in the documentation: `python -m lab.traps_table` writes it from lab/traps.toml."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import topology

SOURCE = Path(__file__).with_name("traps.toml")
PATH = topology.REPOSITORY / "docs" / "traps.md"

HEADER = """\
# Traps of a fleet in two Regions

What goes wrong with AWS IoT Core in two Regions and is in nobody's tutorial; where the product takes care of it, what
in the lab brings it about, and which tests fail when it is handled wrongly. Written by `make traps` from
`lab/traps.toml`; a fault is rehearsed with `make drill FAULT=<name>`.

"""


@dataclass(frozen=True)
class Trap:
    """One trap.

    Attributes:
        number: its place in the table.
        trap: what goes wrong.
        handled: what the product does about it; empty where nothing.
        files: where, by path from the repository's root.
        faults: of the lab's menu, by name.
        settings: what else brings it about.
        tests: `path::function`, from the repository's root.
        missing: what is not there yet, and why.
    """

    number: int
    trap: str
    handled: str
    files: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    settings: str = ""
    tests: tuple[str, ...] = ()
    missing: str = ""


def load(path: Path = SOURCE) -> list[Trap]:
    """Return the traps of a file in their order.

    Raises:
        TypeError: a trap has a key that is none, or lacks one.
    """
    entries = tomllib.loads(path.read_text(encoding="utf-8"))["traps"]
    return [_trap(entry) for entry in entries]


def _trap(entry: dict[str, Any]) -> Trap:
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}
    return Trap(**values)


def page(traps: list[Trap]) -> str:
    """Return the whole page."""
    return HEADER + _counts(traps) + "".join(_section(trap) for trap in traps)


def _counts(traps: list[Trap]) -> str:
    whole = sum(not trap.missing for trap in traps)
    unhandled = [str(trap.number) for trap in traps if not trap.handled]
    lacking = [str(trap.number) for trap in traps if trap.handled and trap.missing]
    said = f"{whole} of {len(traps)} are handled and held by tests"
    said += f"; something is missing of {', '.join(lacking)}" if lacking else ""
    said += f"; not handled: {', '.join(unhandled)}" if unhandled else ""
    return f"{said}.\n"


def _section(trap: Trap) -> str:
    lines = [f"\n## {trap.number}\n", f"{trap.trap}\n"]
    if trap.handled:
        lines.append(f"- **Handled**: {trap.handled} {_named(trap.files)}")
    means = [f"`make drill FAULT={name}`" for name in trap.faults] + ([trap.settings] if trap.settings else [])
    if means:
        lines.append(f"- **In the lab**: {'; '.join(means)}")
    lines += [f"- **Test**: `{test}`" for test in trap.tests]
    if trap.missing:
        lines.append(f"- **Missing**: {trap.missing}")
    return "\n".join(lines) + "\n"


def _named(files: tuple[str, ...]) -> str:
    return f"({', '.join(f'`{name}`' for name in files)})" if files else ""


def main() -> None:
    PATH.write_text(page(load()), encoding="utf-8")


if __name__ == "__main__":
    main()
