"""The page itself. Whatever comes from outside goes through Markup, which escapes it, or through JSON."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from ..fleet.roster import STATES
from ..model.errors import duration
from ..record import who
from .figures import Charts, gap_values
from .outcomes import meaning
from .qualified import qualified
from .run import Event, Row, Run
from .script import SCRIPT
from .style import STYLE

PAGE_ROWS = 25
SERIES = 6
COLUMNS = (
    *("client", "endpoint", "from", "to", "state", "wave", "told at", "landed after", "kicks", "bounces"),
    *("gap", "lost", "duplicated", "note"),
)
# So many columns are always there.
FIXED = 5
NUMBERS = (
    *("wave", "told at", "landed after", "kicks", "bounces", "gap", "lost", "duplicated"),
)  # fmt: skip
DECIMALS = ("told at", "landed after", "gap")
# Columns of few values: a row has the value's number.
NAMED = ("endpoint", "from", "to", "state")
TONES = {
    **dict.fromkeys(("landed", "returned"), "landed"),
    **dict.fromkeys(("bounced", "straggler", "both", "dark"), "bad"),
    **dict.fromkeys(("unproven", "untold"), "warn"),
}


def render(run: Run, charts: Charts, numbers: Mapping[int, int], colours: Mapping[str, int]) -> str:
    """Return the page's HTML.

    Args:
        numbers: `{index of an event: number}` of those that the timeline shows.
        colours: `{region: number of its series}`.
    """
    outcome = str(run.summary["outcome"])
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{_digest(SCRIPT)}'; img-src data:"
    return Markup(
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<link rel="icon" href="data:,">\n<title>{title}</title>\n<style>{style}</style>\n</head>\n'
        '<body>\n<main>\n{parts}\n</main>\n<script type="application/json" id="client-data">{data}</script>\n'
        "<script>{script}</script>\n</body>\n</html>\n"
    ).format(
        policy=policy,
        title=f"{_title(run)}: {_words(outcome)}",
        style=Markup(STYLE),  # noqa: S704 - of this package
        parts=Markup("\n").join(part for part in _parts(run, charts, numbers, colours) if part),
        data=Markup(_json(client_data(run))),  # noqa: S704 - JSON without < or &
        script=Markup(SCRIPT),  # noqa: S704 - of this package
    )


def _parts(run: Run, charts: Charts, numbers: Mapping[int, int], colours: Mapping[str, int]) -> Iterable[Markup]:
    refused = run.summary["outcome"] == "refused"
    yield _header(run)
    if refused:
        yield _findings(run)
    yield _timeline(run, charts, numbers, colours)
    yield Markup('<div class="pair">{}{}</div>').format(_gaps(run, charts), _phases(run, charts))
    yield _clients(run, charts)
    if not refused:
        yield _findings(run)
    yield _plan(run)
    yield _environment(run)
    yield Markup(
        '<footer>In this folder: <a href="summary.json">summary.json</a>, <a href="journal.jsonl">journal.jsonl</a>, '
        '<a href="clients.csv">clients.csv</a>. What they mean: docs/runbook.md, "Reading the report".</footer>'
    )


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _json(value: object) -> str:
    """JSON that no HTML parser takes for anything else, in ASCII."""
    text = json.dumps(value, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _words(outcome: str) -> str:
    return outcome.replace("_", " ")


def _title(run: Run) -> str:
    return "Rollback" if run.start.get("rollback") else f"Mode {run.summary['mode']}"


def _header(run: Run) -> Markup:
    summary = run.summary
    outcome = str(summary["outcome"])
    options = run.start.get("options")
    swept = not isinstance(options, Mapping) or options.get("sweep") != "none"
    given_up = sorted({str(each.get("server")) for each in run.stale})
    total = int(summary["clients"].get("total") or 0)
    means, advice = qualified(meaning(run), outcome, total, swept, given_up)
    error = Markup('<p class="error" data-key="error">{}</p>').format(run.error) if run.error else ""
    notes = Markup("").join(Markup("<p class=sub>{}</p>").format(note) for note in run.notes)
    return Markup(
        '<header class="{css}">\n<span class="badge" data-key="outcome" data-value="{outcome}">{words}</span>\n'
        '<h1>{title}</h1>\n<p class="lead">{means} {advice}</p>\n{error}{notes}'
        '<p class="sub"><span data-key="run_id">{run_id}</span>, began <time>{began}</time></p>\n'
        "{tiles}\n</header>"
    ).format(
        css=outcome if means else "failed",
        outcome=outcome, words=_words(outcome), title=f"{_title(run)}: {_moves(run)}", means=means, advice=advice,
        error=error, notes=notes, run_id=summary["run_id"], began=str(summary["started_at"] or "?"),
        tiles=_tiles(run),
    )  # fmt: skip


def _moves(run: Run) -> str:
    plan = run.summary["plan"]
    moving = {name: move for name, move in plan.items() if move["from"] != move["to"]}
    if not moving:
        return "every name stays where it is" if plan else "no plan was made"
    pairs = sorted({(move["from"], move["to"]) for move in moving.values()})
    return ", ".join(f"{source} → {target}" for source, target in pairs)


def _tiles(run: Run) -> Markup:
    """The figures of summary.json that people look for first."""
    summary = run.summary
    clients, gaps, messages, sweep = (summary[key] for key in ("clients", "gap_seconds", "messages", "sweep"))
    tiles = []
    if clients:
        refused = summary["outcome"] == "refused"
        had = "would have to move" if refused else "had to move"
        rest = _small(f"of {{}} clients, {{}} {had}", "clients", clients, "total", "misplaced")
        tiles.append(_tile("clients where their record points", _figure("clients.landed", clients["landed"]) + rest))
        rest = _small("{} bounced, {} in both regions", "clients", clients, "bounced", "in_both_regions")
        stragglers = _figure("clients.stragglers", clients["stragglers"])
        # Of a run that touched nobody they are nothing that it has to answer for.
        name = "elsewhere" if refused else "stragglers"
        tiles.append(_tile(name, stragglers + rest, bad=bool(clients["stragglers"]) and not refused))
    if gaps:
        rest = _small("p95 {} s, at most {} s", "gap_seconds", gaps, "p95", "max")
        tiles.append(_tile("median gap per client", _figure("gap_seconds.p50", gaps["p50"]) + Markup(" s") + rest))
    if messages:
        rest = _small("of {} sent, {} duplicated", "messages", messages, "sent", "duplicated")
        lost = Markup("{} lost").format(_figure("messages.lost", messages["lost"]))
        received = Markup("<small>{} received</small>").format(_figure("messages.received", messages["received"]))
        tiles.append(_tile("messages", lost + rest + received, bad=bool(messages["lost"])))
    if sweep["calls"]:
        rest = Markup("")
        if sweep["rate"] is not None:
            rest = _small("{} per second, {} throttled, {} passes", "sweep", sweep, "rate", "throttled", "passes")
        tiles.append(_tile("requests to leave", _figure("sweep.calls", sweep["calls"]) + rest))
    tiles.append(_tile("from start to end", Markup("{} s").format(f"{run.seconds:.1f}")))
    return Markup('<dl class="tiles">{}</dl>').format(Markup("").join(tiles))


def _small(text: str, group: str, figures: Mapping[str, object], *keys: str) -> Markup:
    """A line of figures below a large one."""
    return Markup("<small>{}</small>").format(
        Markup(text).format(*(_figure(f"{group}.{key}", figures[key]) for key in keys))  # noqa: S704 - of this file
    )


def _tile(name: str, content: Markup, bad: bool = False) -> Markup:
    return Markup('<div class="{}"><dt>{}</dt><dd>{}</dd></div>').format("bad" if bad else "", name, content)


def _figure(key: str, value: object) -> Markup:
    """A figure of summary.json, marked with its key; large numbers with commas."""
    shown = "?" if value is None else f"{value:,}" if isinstance(value, int) else value
    return Markup('<span data-key="{}" data-value="{}">{}</span>').format(key, "" if value is None else value, shown)


def _section(title: str, content: Markup, css: str = "") -> Markup:
    name = title.lower().replace(" ", "-").replace(",", "")
    section = '<section class="{css}" aria-labelledby="{name}">\n<h2 id="{name}">{title}</h2>\n{content}\n</section>'
    return Markup(section).format(css=css, name=name, title=title, content=content)  # noqa: S704 - a constant


def _picture(svg: str, label: str, css: str = "") -> Markup:
    drawn = Markup(svg)  # noqa: S704 - by matplotlib, which escapes names
    return Markup('<figure class="{}" role="img" aria-label="{}">{}</figure>').format(css, label, drawn)


def no_messages(run: Run) -> str:
    """Why no messages are drawn."""
    if not (run.start.get("options") or {}).get("ledger"):
        return (
            'Messages are not shown: this run was told of no ledger (failover_ledger). docs/runbook.md, "The monitor", '
            "says how to have one."
        )
    if run.switch is None:
        return "Messages are not shown: nothing was moved."
    if not run.ended:
        return "Messages are not shown: the run was killed before it could keep them."
    return "Messages are not shown: nobody wrote the ledger during this run. See to the monitor."


_BARS = Markup(
    '<p class="sub">Bars: how long Route 53 took, each DNS server kept the old answer, each wave lasted, and each '
    "client took from being told to leave until it was seen in its region.</p>"
)


def _timeline(run: Run, charts: Charts, numbers: Mapping[int, int], colours: Mapping[str, int]) -> Markup:
    parts: list[Markup] = []
    if run.messages:
        items = [
            Markup('<li><i class="series{}"></i>messages arriving in {}</li>').format(number % SERIES, region)
            for region, number in colours.items()
        ]
        parts.append(Markup('<ul class="key">{}</ul>').format(Markup("").join(items)))
    else:
        parts.append(Markup('<p class="sub">{}</p>').format(no_messages(run)))
    if charts.timeline:
        label = "Timeline of the move; the list below names its events"
        parts += [_picture(charts.timeline, label, "wide"), _picture(charts.timeline_narrow, label, "narrow")]
        parts.append(_BARS)
    shown = [_event(event, numbers.get(index)) for index, event in enumerate(run.events)]
    parts.append(Markup('<ol class="events">{}</ol>').format(Markup("").join(shown)))
    return _section("What happened", Markup("\n").join(parts))


def _event(event: Event, number: int | None) -> Markup:
    mark = Markup("<b>{}</b>").format(number) if number else Markup('<b class="none" aria-hidden="true">0</b>')
    return Markup("<li>{}<time>{} s</time><span>{}</span></li>").format(mark, f"{event.at:+.2f}", event.text)


def _gaps(run: Run, charts: Charts) -> Markup:
    label, values = gap_values(run)
    title = "Gap per client" if run.messages and run.messages.sample else "Time to land"
    if not values:
        content = Markup('<p class="sub">No client was seen to move.</p>')
    elif charts.gaps:
        content = _picture(charts.gaps, title) + Markup('<p class="sub">{}</p>').format(label)
    else:
        content = Markup('<p class="sub">{} clients; {}: {} at most.</p>').format(
            len(values), label, f"{values[-1]:.3f} s"
        )
    return _section(title, content)


def _phases(run: Run, charts: Charts) -> Markup:
    rows = Markup("").join(
        Markup('<tr><th scope="row">{}</th><td class="number" data-key="phases.{}">{}</td></tr>').format(
            phase["name"], number, phase["seconds"]
        )
        for number, phase in enumerate(run.summary["phases"])
    )
    table = Markup(
        '<table><thead><tr><th scope="col">phase</th><th scope="col" class="number">seconds</th></tr></thead>'
        "<tbody>{}</tbody></table>"
    ).format(rows)
    if not charts.phases:
        return _section("Phases", table)
    picture = _picture(charts.phases, "Phases of the run, one after the other")
    return _section("Phases", picture + Markup("<details><summary>As figures</summary>{}</details>").format(table))


def client_data(run: Run) -> dict[str, Any]:
    """The table's rows as the page's script reads them; a value of NAMED is its number in `names`.

    Columns of which nothing is known are left out.
    """
    names: dict[str, list[str]] = {name: [] for name in NAMED}
    numbers: dict[str, dict[str, int]] = {name: {} for name in NAMED}
    rows = []
    for row in run.clients.rows:
        values = _values(run, row)
        for column in NAMED:
            place = COLUMNS.index(column)
            text = str(values[place])
            if text not in numbers[column]:
                numbers[column][text] = len(names[column])
                names[column].append(text)
            values[place] = numbers[column][text]
        rows.append(values)
    kept = [place for place, name in enumerate(COLUMNS) if place < FIXED or any(_known(row[place]) for row in rows)]
    return {
        "columns": [COLUMNS[place] for place in kept],
        "numbers": NUMBERS,
        "decimals": DECIMALS,
        "names": names,
        "tones": TONES,
        "page": PAGE_ROWS,
        "rows": [[row[place] for place in kept] for row in rows],
    }


def _known(value: object) -> bool:
    return value is not None and value != ""


def _values(run: Run, row: Row) -> list[Any]:
    messages = run.messages
    found = messages.clients.get(row.client_id, {}) if messages else {}
    gap = messages.gaps.get(row.client_id) if messages else None
    return [
        row.client_id, row.endpoint, row.source, row.target, row.state, row.wave, row.told, row.seconds,
        row.kicks, row.bounces, gap, found.get("lost"), found.get("duplicated"), row.note,
    ]  # fmt: skip


def _clients(run: Run, charts: Charts) -> Markup:
    data = client_data(run)
    if not data["rows"]:
        found = "No connected client of these endpoints was found." if run.plan else "Clients were not looked for."
        return _section("Clients", Markup('<p class="sub">{}</p>').format(found))
    parts = []
    if charts.clients:
        parts.append(_picture(charts.clients, "Clients told to leave and landed, over time", "half"))
    if run.clients.total > len(data["rows"]):
        parts.append(Markup('<p class="sub">{} of {} clients are shown, those that went wrong first; clients.csv has '
                            "all.</p>").format(len(data["rows"]), run.clients.total))  # fmt: skip
    parts.append(_filters(data))
    parts.append(_table(data))
    parts.append(Markup(
        '<div class="pager" hidden><button type="button">Back</button><button type="button">Next</button>'
        '<span id="shown" role="status"></span></div>'
        '<noscript><p class="sub">The first {} clients are shown: sorting, filtering and the rest need JavaScript. '
        "clients.csv has all.</p></noscript>"
    ).format(PAGE_ROWS))  # fmt: skip
    states = sorted({row.state for row in run.clients.rows})
    meant = ", ".join(f"{state}: {STATES.get(state, state)}" for state in states)
    parts.append(Markup('<p class="sub">{}. Times in seconds since the run began. landed after: from being told to '
                        "leave, as AWS saw it; gap: as the messages show it.</p>").format(meant))  # fmt: skip
    return _section("Clients", Markup("\n").join(parts), "long")


def _filters(data: Mapping[str, Any]) -> Markup:
    selects = []
    for name in NAMED:
        options = Markup("").join(
            Markup('<option value="{}">{}</option>').format(number, text)
            for number, text in sorted(enumerate(data["names"][name]), key=lambda each: each[1])
        )
        selects.append(
            Markup('<label>{name}<select data-column="{name}"><option value="">all</option>{options}</select></label>')
            .format(name=name, options=options)
        )  # fmt: skip
    return Markup(
        '<div class="filters" role="search" hidden><label>client or note<input type="search" id="search" '
        'autocomplete="off" spellcheck="false"></label>{}</div>'
    ).format(Markup("").join(selects))


def _table(data: Mapping[str, Any]) -> Markup:
    heads = Markup("").join(
        Markup('<th scope="col" class="{}">{}</th>').format("number" if name in NUMBERS else "", name)
        for name in data["columns"]
    )
    rows = Markup("").join(_table_row(row, data) for row in data["rows"][:PAGE_ROWS])
    return Markup(
        '<div class="scroll" role="region" aria-label="Table of clients" tabindex="0">'
        '<table class="clients"><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>'
    ).format(heads, rows)


def _table_row(row: Sequence[Any], data: Mapping[str, Any]) -> Markup:
    cells, names = [], data["names"]
    for name, value in zip(data["columns"], row, strict=True):
        text = names[name][value] if name in names else value
        shown = "–" if not _known(text) else f"{text:.3f}" if name in DECIMALS else text
        if name == "client":
            cells.append(Markup('<th scope="row">{}</th>').format(shown))
        elif name == "state":
            cells.append(Markup('<td><span class="state {}">{}</span></td>').format(TONES.get(shown, ""), shown))
        else:
            css = "number" if name in NUMBERS else "note" if name == "note" else ""
            cells.append(Markup('<td class="{}">{}</td>').format(css, shown))
    return Markup("<tr>{}</tr>").format(Markup("").join(cells))


def _findings(run: Run) -> Markup:
    """What was refused, waived, skipped or given up, and what to do about it."""
    rows: list[tuple[object, ...]] = []
    for each in run.findings:
        where = " ".join(str(each.get(key)) for key in ("region", "endpoint") if each.get(key))
        rows.append(
            (each["kind"], each.get("check"), where, *(each.get(key) for key in ("found", "expected", "advice")))
        )
    later = "nobody was disconnected there: run again when it is back"
    rows += [("skipped", "region_api", region, why, "an answer", later) for region, why in run.skipped.items()]
    for each in run.stale:
        answer, advice = f"{each.get('name')} = {each.get('answer')}", "see to this server, then run again"
        rows.append(("stale", "dns", each.get("server"), answer, each.get("expected"), advice))
    if unmapped := run.plan.get("unmapped"):
        found, advice = f"{unmapped} connected clients that no endpoint claims", "give their things its attribute"
        rows.append(("left alone", "unmapped_clients", "", found, "none", f"{advice}, or let them be"))
    if rows:
        content = _plain_table(("kind", "check", "where", "found", "expected", "what to do"), rows)
    else:
        content = Markup('<p class="sub">{}</p>').format(_nothing(run))
    return _section("Refused, skipped, and why", content)


def _nothing(run: Run) -> str:
    """What is said where there is no finding: it is not the checks alone that speak against a move."""
    if not run.plan:
        return "The run did not get to its checks."
    if run.error and run.checked:
        return "The checks made beforehand found nothing against the move; what ended it is said at the top."
    if run.error or not run.checked or not run.ended:
        return "No check found anything until the run ended."
    return "Nothing spoke against the move, and nothing was skipped."


_KINDS = {"refused": "bad", "skipped": "warn", "stale": "warn", "waived": "warn", "left alone": "warn"}


def _plain_table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> Markup:
    """A table whose first column is a kind."""
    body = Markup("").join(
        Markup('<tr><th scope="row"><span class="state {}">{}</span></th>{}</tr>').format(
            _KINDS.get(str(kind), ""), kind, _cells(cells)
        )
        for kind, *cells in rows
    )
    return _scrolled(heads, body, "Refused, skipped, and why", "")


def _cells(cells: Iterable[object]) -> Markup:
    return Markup("").join(Markup('<td class="wrap">{}</td>').format("" if each is None else each) for each in cells)


def _scrolled(heads: Iterable[str], body: Markup, label: str, css: str) -> Markup:
    head = Markup("").join(Markup('<th scope="col">{}</th>').format(each) for each in heads)
    return Markup(
        '<div class="scroll" role="region" aria-label="{}" tabindex="0"><table class="{}"><thead><tr>{}</tr></thead>'
        "<tbody>{}</tbody></table></div>"
    ).format(label, css, head, body)


def _plan(run: Run) -> Markup:
    plan = run.summary["plan"]
    if not plan:
        return _section("Plan", Markup('<p class="sub">The run ended before it had a plan.</p>'))
    rows = Markup("").join(
        Markup(
            '<tr><th scope="row">{name}</th><td data-key="plan.{name}.from">{source}</td>'
            '<td data-key="plan.{name}.to">{target}</td><td>{what}</td></tr>'
        ).format(
            name=name, source=move["from"], target=move["to"], what="moves" if move["from"] != move["to"] else "stays"
        )
        for name, move in plan.items()
    )
    table = _scrolled(("endpoint", "from", "to", "what"), rows, "Plan", "names")
    facts = [("least time to tell everyone", duration(float(run.plan["seconds"])))] if run.plan.get("seconds") else []
    facts += [("token of the plan", run.plan["token"])] if "token" in run.plan else []
    for kind, what in (("leaving", "clients per second told to leave"), ("arriving", "clients per second taken in")):
        rates = (run.plan.get("pace") or {}).get(kind) or {}
        facts += [(f"{what}, {region}", f"{rate:g} at most") for region, rate in rates.items()]
    facts += [(f"host name, {region}", host) for region, host in (run.plan.get("targets") or {}).items()]
    return _section("Plan", table + Markup("<h3>Pace and targets</h3>") + _facts(facts))


def _facts(facts: Iterable[tuple[str, object]]) -> Markup:
    return Markup('<dl class="facts">{}</dl>').format(
        Markup("").join(Markup("<dt>{}</dt><dd><code>{}</code></dd>").format(*each) for each in facts)
    )


def _environment(run: Run) -> Markup:
    versions = run.start.get("environment") or {}
    options = run.start.get("options") or {}
    if not versions and not options:
        return _section("Environment", Markup('<p class="sub">The journal does not say: another release wrote it.</p>'))
    said = [(name, json.dumps(value) if not isinstance(value, str) else value) for name, value in options.items()]
    return _section("Environment", _made_by(run) + _facts(versions.items()) + Markup("<h3>Options</h3>") + _facts(said))


def _made_by(run: Run) -> Markup:
    """Who made the run, and what was approved by whom, as far as that is known."""
    by = run.summary.get("by")
    if not isinstance(by, dict):
        return Markup("")
    approved = by.get("approved") or {}
    planned = approved.get("planned_by")
    rows = [
        ("operator", by.get("operator")),
        ("user", f"{by.get('user')} on {by.get('host')}"),
        ("AWS caller", by.get("caller") or "not known"),
        ("approved plan", approved.get("token")),
        ("plan made by", who.line(planned) if isinstance(planned, dict) else None),
    ]
    facts = _facts((name, value) for name, value in rows if value)
    return Markup("<h3>Made by</h3>{}<h3>Versions</h3>").format(facts)
