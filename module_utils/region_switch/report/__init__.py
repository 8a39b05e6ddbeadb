"""The page of a run: `report.html`, made of what is in the run's folder, whatever the run came to.

Matplotlib takes half a second to load, so it is loaded only where there is something to draw. Where it is missing the
page has everything but its pictures.
"""

from __future__ import annotations

from pathlib import Path

from ..record import folder

NAME = "report.html"


def write(directory: Path) -> list[str]:
    """Write a run's page; return lines that say what is missing of it.

    Raises:
        OSError: the folder has no journal that can be read.
        StorageError: the page cannot be written.
        ImportError: Jinja is missing.
    """
    from . import page, pictures, run

    found = run.read(directory)
    numbers, colours = run.numbered(found), run.colours(found)
    charts, lines = pictures.draw(found, numbers, colours)
    with folder.replacing(directory / NAME, errors="replace") as stream:
        stream.write(page.render(found, charts, numbers, colours))
    return lines
