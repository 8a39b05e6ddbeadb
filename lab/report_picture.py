"""The picture of a report that the README shows: `python -m lab.report_picture reports/<run>`, by `make report-png`."""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path

from PIL import Image

from lab import browser, topology
from lab.errors import LabError

PICTURE = topology.REPOSITORY / "docs" / "images" / "report.png"
WIDTH = 1160
COLOURS = 160
# The headline and the timeline; what is below them is for whoever opens a report.
BOTTOM = "return Math.round(document.querySelector('main > section').getBoundingClientRect().bottom + scrollY) + 20"


def main() -> int:
    """Take the picture; the exit code is 1 when there is no browser or no page."""
    parser = argparse.ArgumentParser(prog="lab.report_picture", description="The README's picture of a report.")
    parser.add_argument("run", type=Path, help="the run's folder")
    page = parser.parse_args().run / "report.html"
    try:
        if not page.exists():
            raise LabError(f"{page}: no such file: make drill makes one")
        with browser.opened() as chromium:
            chromium.resize(WIDTH)
            chromium.open(page)
            bottom = int(chromium.run(BOTTOM))
            shot = Image.open(io.BytesIO(chromium.picture()))
    except LabError as error:
        sys.stderr.write(f"report picture: {error}\n")
        return 1
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    picture = shot.convert("RGB").crop((0, 0, shot.width, bottom))
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(PICTURE, optimize=True)
    sys.stdout.write(f"{PICTURE.relative_to(topology.REPOSITORY)}: {PICTURE.stat().st_size // 1024} KB\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
