"""`report.html`, the page of a run, made from the files in the run's folder, whatever the outcome.

Matplotlib takes half a second to load, so it is loaded only where there is something to draw. Without it the page has
everything but its pictures.
"""

from __future__ import annotations

from pathlib import Path

from ..record import folder

NAME = "report.html"


def write(directory: Path) -> list[str]:
    """Write a run's page; return lines that say what is missing from it.

    Raises:
        OSError: the folder has no readable journal.
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
