"""The pictures of a page. `charts`, which draws them, is loaded only when there is something to draw."""

from __future__ import annotations

from collections.abc import Mapping

from .figures import Charts, Mark
from .run import Run

MISSING = "matplotlib is missing on this host: install requirements.txt, then make report RUN=reports/{}"


def draw(run: Run, numbers: Mapping[int, int], colours: Mapping[str, int]) -> tuple[Charts, list[str]]:
    """Return the pictures of a run, and lines that say what is missing.

    Args:
        numbers: `{index of an event: number}` of the events to draw.
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
