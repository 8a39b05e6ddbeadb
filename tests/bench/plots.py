"""The plots of docs/images, made from the committed figures. On a ground of their own: pages may be light or dark."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from . import tables
from .results import ARTICLE, OURS

Figures = Mapping[str, Any]

mpl.use("svg")
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "bench",
    "font.family": "sans-serif",
    "font.size": 9.0,
    "axes.edgecolor": "#667085",
    "axes.labelcolor": "#1d2939",
    "text.color": "#1d2939",
    "xtick.color": "#475467",
    "ytick.color": "#1d2939",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "#f8fafc",
    "axes.facecolor": "#f8fafc",
    "grid.color": "#d0d5dd",
}
COLOURS = {OURS: "#0f766e", ARTICLE: "#c2410c"}
QUOTA = 100.0
PHASES = {
    "plan": "plan: records, quotas, clients",
    "preflight": "preflight",
    "switch": "switch the records",
    "dns": "DNS gate",
    "sweep": "sweep and landing",
    "messages": "count messages",
}


def moves(figures: Figures) -> Figure | None:
    """Gap and command-to-all-landed of both methods."""
    found = tables.pairs(figures)
    if not found:
        return None
    figure = Figure(figsize=(8.2, 0.62 + 0.36 * len(found)), layout="constrained")
    gap, landed = figure.subplots(1, 2, sharey=True)
    titles = [tables.title(ours).replace(" belong where they are", "") for ours, _ in found]
    _bars(
        gap, [[tables.gap(cell)["median"] for cell in pair] for pair in found], "s without messages (2) or connection"
    )
    _bars(landed, [[cell["landed"] for cell in pair] for pair in found], "s from the command until all have landed")
    gap.set_yticks(range(len(found)), titles)
    gap.set_ylim(len(found) - 0.5, -0.5)
    handles = [mpl.patches.Patch(color=COLOURS[method], label=method) for method in (OURS, ARTICLE)]
    figure.legend(handles=handles, loc="outside upper right", ncols=2, frameon=False)
    return figure


def _bars(axes: Axes, pairs: Sequence[Sequence[float | None]], label: str) -> None:
    for place, pair in enumerate(pairs):
        for shift, method, value in zip((-0.2, 0.2), (OURS, ARTICLE), pair, strict=True):
            if value is None:
                axes.text(
                    0.02,
                    place + shift,
                    "never",
                    va="center",
                    color=COLOURS[method],
                    transform=axes.get_yaxis_transform(),
                )
                continue
            axes.barh(place + shift, value, height=0.36, color=COLOURS[method])
            axes.text(value * 1.08, place + shift, f"{value:.3g}", va="center", fontsize=8)
    axes.set_xscale("log")
    axes.set_xlabel(label)
    values = [value for pair in pairs for value in pair if value]
    axes.set_xlim(min(values) / 3, max(values) * 3)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter("")
    axes.tick_params(axis="y", length=0)


def curve(figures: Figures) -> Figure | None:
    """Time and memory against the size of the fleet, with the quota's floor."""
    section = figures.get("curve")
    if not section:
        return None
    figure = Figure(figsize=(8.2, 3.1), layout="constrained")
    time, memory = figure.subplots(1, 2)
    sizes = [point["clients"] for kind in ("real", "simulated") for point in section.get(kind, [])]
    ends = [min(sizes), max(sizes)]
    time.plot(ends, [size / QUOTA for size in ends], "--", color="#667085", label="N / quota (100 per second)")
    names = {
        "real": ("real clients, AWS's quota", "o-", COLOURS[OURS]),
        "simulated": ("simulated, no quotas", "s-", "#4338ca"),
    }
    for kind, (name, line, colour) in names.items():
        points = section.get(kind, [])
        if not points:
            continue
        xs = [point["clients"] for point in points]
        time.plot(xs, [point["seconds"] for point in points], line, color=colour, label=name, markersize=4)
        memory.plot(xs, [point["peak_mib"] for point in points], line, color=colour, label=name, markersize=4)
    time.set_yscale("log")
    time.set_ylabel("s, whole move")
    memory.set_ylabel("MiB, peak of the module")
    memory.set_ylim(0, max(point["peak_mib"] for kind in names for point in section.get(kind, [])) * 1.4)
    for axes in (time, memory):
        axes.set_xscale("log")
        axes.set_xlabel("clients")
        axes.grid(True, linewidth=0.5)
    time.legend(frameon=False, fontsize=8)
    return figure


def phases(figures: Figures) -> Figure | None:
    """Where the time of a move of the largest fleet goes, step after step."""
    cells = [ours for ours, _ in tables.pairs(figures) if ours["condition"] == "plain"]
    if not cells:
        return None
    cell = max(cells, key=lambda each: int(each["clients"]))
    move = cell["each"][0]
    seconds: dict[str, float] = {}
    for phase in move["phases"]:
        seconds[phase["name"]] = seconds.get(phase["name"], 0.0) + phase["seconds"]
    rest = move["command"] - sum(seconds.values())
    steps = [("Ansible, and asking the devices", max(rest, 0.0))]
    steps += [(PHASES.get(name, name), length) for name, length in seconds.items()]
    figure = Figure(figsize=(8.2, 0.7 + 0.27 * len(steps)), layout="constrained")
    axes = figure.subplots()
    began = 0.0
    for place, (_, length) in enumerate(steps):
        axes.barh(place, length, left=began, height=0.6, color=COLOURS[OURS] if place else "#98a2b3")
        began += length
        axes.text(began + move["command"] * 0.01, place, f"{length:.1f} s", va="center", fontsize=8)
    axes.set_yticks(range(len(steps)), [name for name, _ in steps])
    axes.invert_yaxis()
    axes.set_xlim(0, move["command"] * 1.1)
    axes.set_xlabel(f"s of failover.yml, {cell['clients']:,} clients")
    axes.tick_params(axis="y", length=0)
    return figure


def herd(figures: Figures) -> Figure | None:
    """CONNECTs a second of a fleet whose region is gone for a while, with the quota."""
    section = figures.get("herd")
    if not section:
        return None
    quotas = sorted({run["quota"] for run in section["herds"]}, reverse=True)
    figure = Figure(figsize=(8.2, 3.1), layout="constrained")
    for axes, quota in zip(figure.subplots(1, len(quotas), sharey=True, squeeze=False)[0], quotas, strict=True):
        runs = [run for run in section["herds"] if run["quota"] == quota]
        for run, colour in zip(runs, COLOURS.values(), strict=True):
            minutes = [place / 6 for place in range(len(run["curve"]))]
            axes.step(minutes, run["curve"], color=colour, label=run["policy"], where="post")
        axes.axhline(quota, linestyle="--", color="#667085", linewidth=1, label="quota")
        axes.axvspan(0, section["outage"] / 60, color="#eaecf0", zorder=0)
        axes.set_yscale("log")
        axes.set_xlabel("minutes since the region was lost; grey: it is gone")
        axes.set_title(f"{quota:g} CONNECTs per second", fontsize=9)
        axes.grid(True, linewidth=0.5)
    figure.axes[0].set_ylabel("CONNECTs, busiest second")
    figure.axes[-1].legend(frameon=False, fontsize=8)
    return figure


PLOTS: dict[str, tuple[Callable[[Figures], Figure | None], str]] = {
    "bench-moves": (moves, "moves_"),
    "bench-curve": (curve, "curve"),
    "bench-phases": (phases, "moves_"),
    "bench-herd": (herd, "herd"),
}


def digest(figures: Figures, sections: str) -> str:
    """Return what tells whether a plot is of these figures: a digest of the sections whose names begin so."""
    used = {name: section for name, section in figures.items() if name.startswith(sections)}
    return hashlib.sha256(json.dumps(used, sort_keys=True).encode()).hexdigest()[:16]


def render(name: str, figures: Figures) -> str | None:
    """Return a plot as SVG that says which figures it is of; None where there are none yet."""
    draw, sections = PLOTS[name]
    with mpl.rc_context(STYLE):
        figure = draw(figures)
        if figure is None:
            return None
        content = io.StringIO()
        figure.savefig(content, format="svg", metadata={"Date": None, "Description": digest(figures, sections)})
    return content.getvalue()
