"""Pictures of a run, drawn by matplotlib as SVG that takes its colours and font from the page."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..record.ledger import percentiles
from .figures import Charts, Mark, gap_values, gaps_by_client
from .run import Run, Span

# Placeholders for the page's colours, which differ between light and dark mode.
TEXT, MUTED, GRID, PAPER = "#00000a", "#00000b", "#00000c", "#00000d"
ACCENT, GOOD, BAD, WARN = "#00000e", "#00000f", "#00001a", "#00001b"
SERIES = ("#00002a", "#00002b", "#00002c", "#00002d", "#00002e", "#00002f")
_VARIABLES = {
    TEXT: "text",
    MUTED: "muted",
    GRID: "grid",
    PAPER: "card",
    ACCENT: "accent",
    GOOD: "good",
    BAD: "bad",
    WARN: "warn",
    **{colour: f"series{number}" for number, colour in enumerate(SERIES)},
}
_STYLE: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 9.0,
    "text.color": TEXT,
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.major.size": 3.0,
    "ytick.major.size": 0.0,
    "figure.facecolor": "none",
    "legend.frameon": False,
}
LANES = 14
BARS = 24
WIDE, NARROW, HALF = 10.6, 4.0, 4.6


def draw(run: Run, marks: Sequence[Mark], colours: Mapping[str, int]) -> Charts:
    """Draw all pictures of a run.

    Args:
        marks: the events, numbered as in the page's list.
        colours: `{region: number of its series}`.
    """
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        # matplotlib warns of glyphs that its own font lacks; the browser has them.
        warnings.simplefilter("ignore")
        return Charts(
            _svg("wide", lambda: _timeline(run, marks, colours, WIDE)),
            _svg("narrow", lambda: _timeline(run, marks, colours, NARROW)),
            _svg("clients", lambda: _clients(run)),
            _svg("gaps", lambda: _gaps(run)),
            _svg("phases", lambda: _phases(run.phases)),
        )


def _svg(name: str, make: Callable[[], Figure | None]) -> str:
    figure = make()
    if figure is None:
        return ""
    with mpl.rc_context({"svg.hashsalt": name}):
        FigureCanvasSVG(figure)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return _for_page(stream.getvalue())


def _for_page(svg: str) -> str:
    """SVG to embed in HTML: without XML declaration and styles, with the page's colours and font."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style type=\"text/css\">.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r"font: ([^;\"]*?)(\d+(?:\.\d+)?px) [^;\"]*", r"font-size: \2; font-weight: normal", svg)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub("#0000[012][a-f]", lambda found: f"var(--{_VARIABLES[found[0]]})", svg)
    return re.sub(r"\n\s*", "\n", svg).replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1)


def _timeline(run: Run, marks: Sequence[Mark], colours: Mapping[str, int], width: float) -> Figure | None:
    """Messages per region above; records, DNS servers, waves and clients below."""
    lanes = _lanes(run)
    if not lanes and not run.messages:
        return None
    narrow = width < WIDE
    upper = 2.3 if run.messages else 0.0
    lower = 0.23 * len(lanes) + 0.1
    top, bottom, space = 0.5, 0.5, 0.3 if upper and lanes else 0.0
    height = top + upper + space + lower + bottom
    figure = Figure((width, height))
    left, right = (1.25 if narrow else 1.75) / width, 1 - 0.18 / width
    low, high = _limits(run)
    stacked: list[Axes] = []
    if run.messages:
        stacked.append(figure.add_axes((left, 1 - (top + upper) / height, right - left, upper / height)))
        _draw_messages(stacked[0], run, colours)
    if lanes:
        for axes in stacked:
            axes.tick_params(labelbottom=False, length=0)
        shared = stacked[0] if stacked else None
        stacked.append(figure.add_axes((left, bottom / height, right - left, lower / height), sharex=shared))
        _draw_lanes(stacked[-1], lanes, 15 if narrow else 24)
    axes = stacked[-1]
    axes.set_xlim(low, high)
    axes.set_xlabel("seconds since the run began")
    axes.xaxis.set_major_locator(MaxNLocator(5 if narrow else 10, steps=[1, 2, 5, 10]))
    _draw_marks(figure, stacked, marks, width - 0.18 - left * width)
    return figure


def _limits(run: Run) -> tuple[float, float]:
    span = max(run.seconds, 0.5)
    if not run.messages:
        return -0.03 * span, 1.03 * span
    before, after = run.began - run.messages.since, run.messages.until - run.began
    margin = max(1.0, 0.15 * span)
    return -min(before, margin), max(span * 1.02, min(after, span + margin))


def _draw_messages(axes: Axes, run: Run, colours: Mapping[str, int]) -> None:
    assert run.messages is not None  # noqa: S101 - for the type checker
    width = run.messages.width
    times = [at - run.began for at, _ in run.messages.timeline]
    regions = sorted({region for _, counts in run.messages.timeline for region in counts}, key=colours.__getitem__)
    for region in regions:
        values = [counts.get(region, 0) / width for _, counts in run.messages.timeline]
        colour = SERIES[colours[region] % len(SERIES)]
        axes.fill_between(times, values, step="post", color=colour, alpha=0.22, linewidth=0)
        axes.step(times, values, where="post", color=colour, linewidth=1.5, label=region)
    axes.set_ylim(bottom=0)
    axes.margins(y=0.12)
    axes.set_ylabel("messages per second")
    axes.grid(axis="x", visible=False)
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True, steps=[1, 2, 5, 10]))


@dataclass(frozen=True)
class Lane:
    """A row of the timeline: a bar, with a point at its end if `done`."""

    name: str
    start: float
    end: float
    colour: str
    done: bool


def _lanes(run: Run) -> list[Lane]:
    found = [_lane(run, run.switch, ACCENT)] if run.switch else []
    found += [_lane(run, each, MUTED) for each in run.servers[: LANES - len(found)]]
    found += [_lane(run, each, WARN, done=False) for each in run.waves[:LANES]]
    moved = [row for row in run.clients.rows if row.told is not None]
    if len(moved) <= LANES:
        found += [
            _lane(run, Span(row.client_id, row.told or 0.0, row.landed), GOOD)
            for row in moved
            # The time at which a client came back is not recorded.
            if row.state != "returned" or row.landed is not None
        ]
    return found


def _lane(run: Run, span: Span, colour: str, done: bool = True) -> Lane:
    """The row of a span; one that did not end lasts until the run's end."""
    if span.end is None:
        return Lane(span.name, span.start, run.seconds, BAD, done=False)
    return Lane(span.name, span.start, span.end, colour, done)


def shorten(text: str, length: int) -> str:
    """Cut a name to a number of letters."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _draw_lanes(axes: Axes, lanes: Sequence[Lane], letters: int) -> None:
    for number, lane in enumerate(lanes):
        axes.barh(number, max(lane.end - lane.start, 0.0), left=lane.start, height=0.34, color=lane.colour, alpha=0.55)
        if lane.done:
            axes.plot([lane.end], [number], marker="o", markersize=5, color=lane.colour, markeredgecolor=PAPER)
    axes.set_yticks(range(len(lanes)), [shorten(lane.name, letters) for lane in lanes])
    axes.tick_params(axis="y", labelcolor=TEXT)
    axes.set_ylim(len(lanes) - 0.4, -0.6)
    axes.grid(axis="x", visible=True)
    axes.grid(axis="y", visible=False)


def _draw_marks(figure: Figure, axes: Sequence[Axes], marks: Sequence[Mark], inches: float) -> None:
    """Draw a line through all axes at each event, and its number above, so that numbers do not overlap."""
    low, high = axes[0].get_xlim()
    scale = inches / (high - low)
    inside = [mark for mark in marks if low <= mark.at <= high]
    for each in axes:
        for mark in inside:
            each.axvline(mark.at, color=MUTED, linewidth=0.8, linestyle=(0, (2, 2)), zorder=0.5)
    places = apart([(mark.at - low) * scale for mark in inside], 0.21, inches)
    upper = axes[0]
    box = upper.get_position()
    height = figure.get_figheight()
    for mark, place in zip(inside, places, strict=True):
        x = box.x0 + place / inches * box.width
        target = box.x0 + (mark.at - low) / (high - low) * box.width
        line, middle = box.y1 + 0.1 / height, box.y1 + 0.26 / height
        figure.add_artist(mpl.lines.Line2D([target, x], [box.y1, line], color=MUTED, linewidth=0.8))
        figure.text(
            x, middle, str(mark.number), ha="center", va="center", fontsize=8 if mark.number < 10 else 6.5, color=PAPER,
            bbox={"boxstyle": "circle,pad=0.22", "facecolor": TEXT, "edgecolor": "none"},
        )  # fmt: skip


def apart(places: Sequence[float], distance: float, room: float) -> list[float]:
    """Spread ascending places so that neighbours are `distance` apart, between 0 and `room` where they fit."""
    found = list(places)
    for number in range(1, len(found)):
        found[number] = max(found[number], found[number - 1] + distance)
    limit = room
    for number in reversed(range(len(found))):
        found[number] = min(found[number], limit)
        limit = found[number] - distance
    return found


def _clients(run: Run) -> Figure | None:
    """Clients disconnected and landed over time, with the planned pace."""
    clients = run.clients
    if sum(clients.told.values()) <= LANES:
        return None
    figure = Figure((HALF, 2.9), layout="constrained")
    axes = figure.add_subplot()
    for name, found, colour in (("disconnected", clients.told, WARN), ("landed", clients.landed, GOOD)):
        times, counts = _cumulated(found, clients.width)
        axes.plot(times, counts, color=colour, linewidth=2, label=name, drawstyle="steps-post")
    rate = _planned_rate(run)
    if rate and run.waves:
        start, count = run.waves[0].start, sum(clients.told.values())
        axes.plot([start, start + count / rate], [0, count], color=MUTED, linewidth=1, linestyle=(0, (4, 3)),
                  label=f"quota: {rate:g} per second")  # fmt: skip
    axes.set_ylim(bottom=0)
    axes.set_xlabel("seconds since the run began")
    axes.set_ylabel("clients")
    axes.legend(loc="upper left", fontsize=8.5)
    return figure


def _planned_rate(run: Run) -> float:
    rates = (run.plan.get("pace") or {}).get("leaving") or {}
    sources = {row.source for row in run.clients.rows if row.told is not None}
    return sum(rate for region, rate in rates.items() if region in sources and isinstance(rate, int | float))


def _cumulated(found: Mapping[int, int], width: float) -> tuple[list[float], list[int]]:
    buckets = sorted(found)
    times = [bucket * width for bucket in (*buckets[:1], *(bucket + 1 for bucket in buckets))]
    return times, list(accumulate((found[bucket] for bucket in buckets), initial=0))[: len(times)]


def _gaps(run: Run) -> Figure | None:
    values = gap_values(run)[1]
    if not values:
        return None
    if len(values) <= BARS:
        return _gap_bars(gaps_by_client(run))
    figure = Figure((HALF, 2.9), layout="constrained")
    axes = figure.add_subplot()
    # Each quantile represents several clients.
    weight = max(run.messages.measured if run.messages else 0, len(values)) / len(values)
    axes.hist(values, bins=40, weights=[weight] * len(values), color=SERIES[1], alpha=0.75)
    found = percentiles(values) or {}
    for name, value in ((name, found[name]) for name in ("p50", "p95")):
        axes.axvline(value, color=TEXT, linewidth=1, linestyle=(0, (4, 3)))
        axes.text(value, 1.0, f" {name} {value:.2f} s", transform=axes.get_xaxis_transform(), va="bottom", fontsize=8)
    axes.set_xlabel("seconds")
    axes.set_ylabel("clients")
    axes.grid(axis="x", visible=False)
    return figure


def _gap_bars(values: Mapping[str, float]) -> Figure:
    ordered = sorted(values.items(), key=lambda each: -each[1])
    figure = Figure((HALF, max(1.5, 0.3 * len(ordered) + 0.8)), layout="constrained")
    axes = figure.add_subplot()
    _bars(axes, [shorten(name, 16) for name, _ in ordered], [0.0] * len(ordered), [value for _, value in ordered])
    axes.set_xlabel("seconds")
    return figure


def _phases(phases: Sequence[Span]) -> Figure | None:
    if not phases:
        return None
    figure = Figure((HALF, 0.3 * len(phases) + 0.8), layout="constrained")
    axes = figure.add_subplot()
    lengths = [(each.end or each.start) - each.start for each in phases]
    _bars(axes, [each.name for each in phases], [each.start for each in phases], lengths)
    axes.set_xlabel("seconds since the run began")
    return figure


def _bars(axes: Axes, names: Sequence[str], starts: Sequence[float], lengths: Sequence[float]) -> None:
    axes.barh(range(len(names)), lengths, left=starts, height=0.56, color=SERIES[1], alpha=0.85)
    most = max(start + length for start, length in zip(starts, lengths, strict=True)) or 1.0
    for number, (start, length) in enumerate(zip(starts, lengths, strict=True)):
        axes.text(start + length + 0.015 * most, number, f"{length:.2f} s", va="center", fontsize=8.5, color=TEXT)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", labelcolor=TEXT)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(0, most * 1.16)
    axes.grid(axis="y", visible=False)
