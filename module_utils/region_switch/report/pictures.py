"""Which pictures a page has; they are drawn in `charts`, which is loaded only when there is something to draw."""

from __future__ import annotations

from collections.abc import Mapping

from .figures import Charts, Mark
from .run import Run

MISSING = "matplotlib is missing on this host: install what requirements.txt names, then make report RUN={}"


def draw(run: Run, numbers: Mapping[int, int], colours: Mapping[str, int]) -> tuple[Charts, list[str]]:
    """Return the pictures of a run that did something, and lines that say why there are none.

    Args:
        numbers: `{index of an event: number}` of those to be drawn.
        colours: `{region: number of its series}`.
    """
    if not run.did_something:
        return Charts(), []
    try:
        from . import charts
    except ImportError:
        return Charts(), [MISSING.format(run.summary["run_id"])]
    marks = [Mark(number, run.events[index].at) for index, number in numbers.items()]
    return charts.draw(run, marks, colours), []
