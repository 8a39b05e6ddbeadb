"""The tables of docs/benchmarks.md and README.md, made from the committed figures and from nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .results import ARTICLE, OURS

Figures = Mapping[str, Any]
Row = Sequence[str]

SIZES = (2, 100, 1000)
CONDITIONS = {
    "plain": "",
    "half": ", half of them belong where they are",
    "latency": ", API 80 ms slower",
    "clamp": ", resolver keeps answers 30 s",
}
# Whose messages are so frequent that they say when the client was silent.
DEVICES = 2
METHODS = {
    OURS: "ours, one wave",
    "loop": "one boto3 call after another",
    "pool": "64 threads, no pace, no retries",
    "pool with retries": "64 threads, no pace, boto3's retries",
}
MISSING = "Not measured yet."
NONE = "–"


def table(header: Row, rows: Iterable[Row]) -> str:
    """Return a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def machine(found: Figures) -> str:
    """Return one line on what a section was measured with."""
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    return (
        f"{found['cpu']}, {found['cores']} cores, {found['memory_gib']} GiB, Linux {found['kernel']}, Python "
        f"{found['python']}, {versions}; {found['date']}, commit {found['commit']}, load average "
        f"{found['load_average']:g}."
    )


def _measured(header: Row, rows: Iterable[Row], section: Figures) -> str:
    return f"{table(header, rows)}\n\n{machine(section['machine'])}"


def gap(cell: Figures) -> Figures:
    """Return what a cell calls its gap: by messages where they are frequent enough, else by connections."""
    found: Figures = cell["silent" if cell["clients"] == DEVICES else "offline"]
    return found


def pairs(figures: Figures) -> list[tuple[Figures, Figures]]:
    """Return ours and the article's cell of each fleet and condition, in the tables' order."""
    found = []
    for size in SIZES:
        cells = figures.get(f"moves_{size}", {}).get("cells", [])
        by_key = {(cell["condition"], cell["method"]): cell for cell in cells}
        for condition in CONDITIONS:
            if (condition, OURS) in by_key and (condition, ARTICLE) in by_key:
                found.append((by_key[condition, OURS], by_key[condition, ARTICLE]))
    return found


def ratio(ours: float | None, article: float | None) -> str:
    """Return how many times as long the article's method takes."""
    return f"{article / ours:.3g} ×" if ours and article else NONE


def summary(figures: Figures) -> str:
    """The README's table."""
    rows = []
    for ours, article in pairs(figures):
        if ours["condition"] == "half":
            continue
        rows.append(
            [
                title(ours),
                " + ".join(str(cell["moves"]) for cell in (ours, article)),
                *(_gap(cell, "median") for cell in (ours, article)),
                ratio(gap(ours)["median"], gap(article)["median"]),
                *(_landed(cell) for cell in (ours, article)),
                *(f"{cell['lost'] / cell['moves']:g}" for cell in (ours, article)),
            ]
        )
    if not rows:
        return MISSING
    header = ["clients", "moves", "gap: ours", "article's", "ratio", "all landed: ours", "article's"]
    header += ["lost per move: ours", "article's"]
    return f"{table(header, rows)}\n\n{machine(_newest(figures))}"


def moves(figures: Figures) -> str:
    """All figures of the moves."""
    rows = [_move(cell) for pair in pairs(figures) for cell in pair]
    if not rows:
        return MISSING
    header = ["clients", "method", "moves", "gap: median", "p95", "n", "all landed", "not landed", "went back"]
    header += ["needlessly disconnected", "sent", "lost", "twice", "API calls", "429"]
    machines = [figures[f"moves_{size}"]["machine"] for size in SIZES if f"moves_{size}" in figures]
    told = {machine(each): None for each in machines}
    return "\n\n".join([table(header, rows), *told])


def _move(cell: Figures) -> Row:
    found = gap(cell)
    return [
        title(cell),
        cell["method"],
        str(cell["moves"]),
        _gap(cell, "median"),
        _gap(cell, "p95"),
        str(found["n"]),
        _landed(cell),
        *(str(cell[key]) for key in ("not_landed", "bounced", "needless", "sent", "lost", "duplicated", "calls")),
        str(cell["throttled"]),
    ]


def sweeps(figures: Figures) -> str:
    """The sweeps alone, beside what the quota allows."""
    if "sweeps" not in figures:
        return MISSING
    section = figures["sweeps"]
    rows = []
    for cell in section["cells"]:
        floor = cell["clients"] / section["quota"]
        rows.append(
            [
                METHODS[cell["method"]],
                str(cell["calls"]),
                str(cell["told"]),
                str(cell["clients"] - cell["told"]),
                str(cell["throttled"]),
                f"{cell['seconds']:.2f} s",
                f"{cell['told_per_second']:g}",
                f"{cell['seconds'] / floor - 1:+.1%}",
            ]
        )
    floor = section["cells"][0]["clients"] / section["quota"]
    header = ["method", "calls", "told", "not told", "429", "first call to last", "told per second", "beside N / quota"]
    text = f"N / quota is {floor:g} s: {section['cells'][0]['clients']} clients, {section['quota']:g} calls per second."
    return f"{table(header, rows)}\n\n{text} {machine(section['machine'])}"


def gaps(figures: Figures) -> str:
    """The gap of each library over many moves."""
    if "gap" not in figures:
        return MISSING
    section = figures["gap"]
    rows = [
        [cell["client"], cell["library"], str(cell["n"]), _seconds(cell["median"]), _seconds(cell["p95"])]
        for cell in section["cells"]
    ]
    header = ["client", "library", "moves", "gap: median", "p95"]
    return f"{table(header, rows)}\n\n{section['lost']} messages lost. {machine(section['machine'])}"


def curve(figures: Figures) -> str:
    """Time and memory by the size of the fleet."""
    section = figures.get("curve")
    if not section:
        return MISSING
    rows = []
    for kind, name in (("real", "real clients, AWS's quota"), ("simulated", "simulated, without botocore and quotas")):
        for point in section.get(kind, []):
            phase = sum(each["seconds"] for each in point.get("phases", []) if each["name"] == "sweep")
            cpu = f"{1000 * point['cpu'] / point['clients']:.2f} ms" if point.get("cpu") else NONE
            size = point["clients"]
            rows.append([f"{size:,}", name, f"{point['seconds']:.1f} s", f"{phase:.1f} s" if phase else NONE])
            rows[-1] += [f"{size / 100:.1f} s", cpu, f"{point['peak_mib']:.0f} MiB"]
    header = ["clients", "account", "whole move", "sweep and landing", "N / quota", "CPU per client", "peak memory"]
    return _measured(header, rows, section)


def fleet(figures: Figures) -> str:
    """Moves of simulated fleets that are killed and run again."""
    section = figures.get("fleet")
    if not section:
        return MISSING
    rows = [
        [
            f"{cell['clients']:,}",
            "left out" if cell["direct"] else "signed",
            run["run"],
            f"{run['told']:,}",
            f"{run['calls'] / run['seconds']:.0f}",
            f"{1000 * run['cpu'] / run['told']:.2f} ms",
            f"{run['peak_mib']:.0f} MiB",
            str(cell["told_twice"]) if run is cell["runs"][-1] else "",
        ]
        for cell in section["cells"]
        for run in cell["runs"]
    ]
    header = ["clients", "requests", "run", "told", "calls/s", "CPU per client told", "peak memory", "told twice"]
    return _measured(header, rows, section)


def engine(figures: Figures) -> str:
    """CPU per request, beside what signing and HTTP take."""
    if "engine" not in figures:
        return MISSING
    section = figures["engine"]
    rows = [
        [
            way,
            f"{found['cpu_us']:.0f} µs",
            f"{found['calls_per_cpu_second']:.0f}",
            f"{found['calls_per_second']:.0f}",
            f"{found['cpu_to_floor']:.2f} ×",
        ]
        for way, found in section["ways"].items()
    ]
    header = ["way", "CPU per call", "calls per second of CPU", "calls/s", "CPU beside the floor"]
    return _measured(header, rows, section)


def overhead(figures: Figures) -> str:
    """The playbooks with nothing to do, beside an empty one."""
    if "overhead" not in figures:
        return MISSING
    section = figures["overhead"]
    rows = [
        [
            name,
            f"{found['seconds']:.1f} s",
            f"{found['cpu']:.1f} s",
            f"{found['seconds_to_start']:.1f} ×",
            f"{found['cpu_to_start']:.1f} ×",
        ]
        for name, found in section["playbooks"].items()
    ]
    header = ["playbook", "time", "CPU", "beside the empty one", "CPU beside it"]
    return _measured(header, rows, section)


def client(figures: Figures) -> str:
    """What the client on a device stores, drains and takes."""
    if "client" not in figures:
        return MISSING
    section = figures["client"]
    stored = [
        [f"{row['unanswered']:,}", f"{row['sqlite']:,}", f"{row['client']:,}", f"{row['share']:.2f}"]
        for row in section["stored"]
    ]
    drained = [
        [
            library,
            f"{row['sqlite']:,}",
            f"{row['client']:,}",
            f"{row['share']:.2f}",
            f"{section['at_10_per_second'][library]['rss_mib']:.1f} MiB",
            f"{section['at_10_per_second'][library]['cpu_percent']:.1f} % of a core",
        ]
        for library, row in section["drained"].items()
    ]
    return "\n\n".join(
        [
            table(["messages unanswered", "SQLite alone, stored/s", "client, stored/s", "share"], stored),
            table(
                ["library", "SQLite alone, removed/s", "client, drained/s", "share", "memory at 10 messages/s", "CPU"],
                drained,
            ),
            machine(section["machine"]),
        ]
    )


# AWS's list prices in US East (N. Virginia), first tier, as of November 2026, in dollars: a million messages of at most
# 5 kB and a million minutes of connection (AWS IoT Core), a million standard queries (Route 53).
MESSAGES_PRICE, MINUTES_PRICE, QUERIES_PRICE = 1.00, 0.08, 0.40
DAY = 86_400
FLEET = 100_000
# Heartbeats: the default, slower, and the lab's. Looks: the default of `log` and `move`, slower, and the lab's.
HEARTBEATS = (60, 300, 900, 10, 0.1)
LOOKS = (300, 3600, 10)
# A name that has an A and an AAAA question.
QUERIES_A_LOOK = 2


def costs(figures: Figures) -> str:
    """What the client's settings cost a device and a fleet in a day."""
    if "costs" not in figures:
        return MISSING
    section = figures["costs"]
    fleet = f"{FLEET:,} devices"
    return "\n\n".join(
        [
            table(
                ["messages of a device", "flash, a message", "flushes, a message", "flash, a day", "flushes, a day"],
                _flash(section["flash"]),
            ),
            table(["setting", "a device, a day", fleet, f"AWS, {fleet}, a day"], _bill()),
            table(
                ["a day of", "lines", "kB", "lines without limit", "kB", f"log of {fleet}"],
                [
                    [row["title"], f"{row['lines']:,}", f"{row['bytes'] / 1000:,.0f}", f"{row['all_lines']:,}",
                     f"{row['all_bytes'] / 1000:,.0f}", _bytes(row["bytes"] * FLEET)]
                    for row in section["log"]
                ],
            ),
            machine(section["machine"]),
        ]
    )  # fmt: skip


def _flash(rows: Iterable[Figures]) -> Iterable[Row]:
    """What was measured, and that of slower messages: each is by itself from ten seconds on."""
    for row in rows:
        if row["kind"] == "none":
            yield ["none", NONE, NONE, _bytes(row["bytes"]), f"{row['flushes']:,.0f}"]
            continue
        who = {"heartbeat": "heartbeat", "program": "a program's"}[row["kind"]]
        for interval in (60.0, row["interval"]) if row["interval"] > 1 else (row["interval"],):
            yield [
                f"{who}, every {interval:g} s",
                _bytes(row["bytes"]),
                f"{row['flushes']:.2f}",
                _bytes(row["bytes"] * DAY / interval),
                f"{row['flushes'] * DAY / interval:,.0f}",
            ]


def _bill() -> Iterable[Row]:
    minutes = DAY / 60
    yield _priced("connected", "minutes", minutes, MINUTES_PRICE)
    for interval in HEARTBEATS:
        yield _priced(f"`heartbeat_interval` {interval:g}", "messages", DAY / interval, MESSAGES_PRICE)
    for interval in LOOKS:
        setting = f"`endpoint_watch` log or move, `endpoint_watch_interval` {interval:g}"
        yield _priced(setting, "DNS queries", QUERIES_A_LOOK * DAY / interval, QUERIES_PRICE)


def _priced(setting: str, what: str, number: float, price: float) -> Row:
    """`number` a device and day; `price` in dollars a million."""
    millions = number * FLEET / 1e6
    return [setting, f"{number:,.0f} {what}", f"{millions:,.1f} million", f"${millions * price:,.2f}"]


def _bytes(number: float) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.0f} B"


def title(cell: Figures) -> str:
    return f"{cell['clients']:,}{CONDITIONS[cell['condition']]}"


def _seconds(value: float | None) -> str:
    return NONE if value is None else f"{value:.2f} s"


def _gap(cell: Figures, key: str) -> str:
    found = gap(cell)
    return _seconds(found[key]) if found["n"] else "never"


def _landed(cell: Figures) -> str:
    return "never" if cell["landed"] is None else f"{cell['landed']:.1f} s"


def _newest(figures: Figures) -> Figures:
    found: Figures = next(figures[f"moves_{size}"]["machine"] for size in SIZES if f"moves_{size}" in figures)
    return found


def herd(figures: Figures) -> str:
    """What a fleet does whose region was gone."""
    section = figures.get("herd")
    if not section:
        return MISSING
    rows = [
        [
            f"{run['quota']:g}",
            run["policy"],
            f"{run['busiest']:,}",
            f"{run['busiest'] / run['quota']:.3g} ×",
            f"{run['refused']:,}",
            f"{run['back']:,.0f} s",
            f"{run['back'] / run['floor']:.3g} ×",
        ]
        for run in section["herds"]
    ]
    header = ["quota, CONNECTs per second", "attempts", "busiest second", "of the quota", "refused by the quota"]
    header += ["all back after", "of N / quota"]
    return _measured(header, rows, section)
