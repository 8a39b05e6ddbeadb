"""The content of a run's page, which the template turns into HTML."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from jinja2 import Environment, StrictUndefined, UndefinedError

from ..fleet.roster import STATES
from ..fleet.roster_reading import Row
from ..model.errors import duration, many
from ..record import who
from .figures import Charts, gap_values
from .outcomes import meaning
from .run import Run
from .script import SCRIPT
from .style import STYLE
from .template import TEMPLATE

PAGE_ROWS = 25
SERIES = 6
COLUMNS = (
    *("client", "endpoint", "from", "to", "state", "wave", "disconnected at", "landed after"),
    *("disconnects", "bounces", "gap", "lost", "duplicated", "note"),
)
# The first columns are always shown.
FIXED = 5
NUMBERS = ("wave", "disconnected at", "landed after", "disconnects", "bounces", "gap", "lost", "duplicated")
DECIMALS = ("disconnected at", "landed after", "gap")
# Columns with few different values: a row has the value's number.
NAMED = ("endpoint", "from", "to", "state")
TONES = {
    **dict.fromkeys(("landed", "returned"), "landed"),
    **dict.fromkeys(("bounced", "straggler", "both", "dark"), "bad"),
    **dict.fromkeys(("unproven", "untold"), "warn"),
}
KIND_TONES = {"refused": "bad", **dict.fromkeys(("skipped", "stale", "waived", "ignored"), "warn")}

_ENVIRONMENT = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
_ENVIRONMENT.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
_PAGE = _ENVIRONMENT.from_string(TEMPLATE)

Facts = list[tuple[str, object]]


def render(run: Run, charts: Charts, numbers: Mapping[int, int], colours: Mapping[str, int]) -> str:
    """Return the page's HTML.

    Args:
        numbers: `{index of an event: number}` of the events that the timeline shows.
        colours: `{region: number of its series}`.

    Raises:
        ValueError: the summary lacks what the page shows.
    """
    means, advice = meaning(run)
    gap_label, gaps = gap_values(run)
    data = client_data(run)
    try:
        return _PAGE.render(
            run=run, summary=run.summary, charts=charts, numbers=numbers, colours=colours, series=SERIES,
            policy=_policy(SCRIPT), style=STYLE, script=SCRIPT,
            title=_title(run), moves=_moves(run), means=means, advice=advice,
            words=str(run.summary["outcome"]).replace("_", " "),
            no_messages=no_messages(run), gap_label=gap_label, gaps=gaps,
            data=data, filters=_filters(data), first_rows=_first_rows(data), states=_states(run),
            no_clients=_no_clients(run), findings=_findings(run), kind_tones=KIND_TONES, no_findings=_no_findings(run),
            plan_facts=_plan_facts(run), made_by=_made_by(run), versions=_items(run.start.get("environment")),
            options=_options(run),
        )  # fmt: skip
    except UndefinedError as error:
        raise ValueError(str(error)) from error


def _policy(script: str) -> str:
    """The page's Content-Security-Policy: it loads nothing and runs this script only."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:"


def _title(run: Run) -> str:
    return "Rollback" if run.start.get("rollback") else f"Mode {run.summary['mode']}"


def _moves(run: Run) -> str:
    plan = run.summary["plan"]
    pairs = sorted({(move["from"], move["to"]) for move in plan.values() if move["from"] != move["to"]})
    if not pairs:
        return "no endpoint moves" if plan else "no plan was made"
    return ", ".join(f"{source} → {target}" for source, target in pairs)


def no_messages(run: Run) -> str:
    """Why no messages are shown."""
    if not (run.start.get("options") or {}).get("ledger"):
        return (
            'No messages are shown: this run had no ledger (failover_ledger). docs/runbook.md, "The monitor", says how '
            "to set one up."
        )
    if run.switch is None:
        return "No messages are shown: nothing was moved."
    if not run.ended:
        return "No messages are shown: the run was killed before it could store them."
    return "No messages are shown: no monitor wrote to the ledger during this run. Check the monitor."


def client_data(run: Run) -> dict[str, Any]:
    """The table's rows as the page's script reads them: a column of NAMED has the value's number in `names`.

    Columns without any value are left out.
    """
    numbers: dict[str, dict[str, int]] = {name: {} for name in NAMED}
    rows = []
    for row in run.clients.rows:
        values = _values(run, row)
        for column in NAMED:
            place = COLUMNS.index(column)
            values[place] = numbers[column].setdefault(str(values[place]), len(numbers[column]))
        rows.append(values)
    kept = [place for place, name in enumerate(COLUMNS) if place < FIXED or any(_known(row[place]) for row in rows)]
    return {
        "columns": [COLUMNS[place] for place in kept],
        "numbers": NUMBERS,
        "decimals": DECIMALS,
        "names": {name: list(found) for name, found in numbers.items()},
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


def _filters(data: Mapping[str, Any]) -> dict[str, list[tuple[int, str]]]:
    """The values of each column of NAMED with their numbers, by name."""
    return {name: sorted(enumerate(data["names"][name]), key=lambda each: each[1]) for name in NAMED}


def _first_rows(data: Mapping[str, Any]) -> Iterator[list[tuple[str, object]]]:
    """The rows that are shown without JavaScript: each cell with the name of its column."""
    for row in data["rows"][:PAGE_ROWS]:
        yield [(name, _shown(data, name, value)) for name, value in zip(data["columns"], row, strict=True)]


def _shown(data: Mapping[str, Any], name: str, value: Any) -> object:
    text = data["names"][name][value] if name in NAMED else value
    return "–" if not _known(text) else f"{text:.3f}" if name in DECIMALS else text


def _states(run: Run) -> str:
    states = sorted({row.state for row in run.clients.rows})
    return ", ".join(f"{state}: {STATES.get(state, state)}" for state in states)


def _no_clients(run: Run) -> str:
    return "No connected client of these endpoints was found." if run.plan else "Clients were not looked for."


def _findings(run: Run) -> list[tuple[object, ...]]:
    """Rows of kind, check, where, found, expected, what to do."""
    rows: list[tuple[object, ...]] = []
    for each in run.findings:
        where = " ".join(str(each.get(key)) for key in ("region", "endpoint") if each.get(key))
        rows.append(
            (each["kind"], each.get("check"), where, *(each.get(key) for key in ("found", "expected", "advice")))
        )
    later = "no client was disconnected there: run again when the region is back"
    rows += [("skipped", "region_api", region, why, "an answer", later) for region, why in run.skipped.items()]
    for each in run.stale:
        answer, advice = f"{each.get('name')} = {each.get('answer')}", "fix this server, then run again"
        rows.append(("stale", "dns", each.get("server"), answer, each.get("expected"), advice))
    if unmapped := run.plan.get("unmapped"):
        found = f"{many(unmapped, 'connected client')} that no endpoint claims"
        advice = "set the endpoint attribute of their things, or leave them"
        rows.append(("ignored", "unmapped_clients", "", found, "none", advice))
    return rows


def _no_findings(run: Run) -> str:
    """What is shown where there is no finding, which does not mean that nothing went wrong."""
    if not run.plan:
        return "The run ended before its checks."
    if run.error and run.checked:
        return "The checks found nothing that blocks the move; the error at the top says why it ended."
    if run.error or not run.checked or not run.ended:
        return "No check found anything before the run ended."
    return "Nothing blocked the move, and nothing was skipped."


def _plan_facts(run: Run) -> Facts:
    plan = run.plan
    facts: Facts = []
    if plan.get("seconds"):
        facts.append(("minimum time to disconnect all", duration(float(plan["seconds"]))))
    if "token" in plan:
        facts.append(("plan token", plan["token"]))
    for kind, what in (("leaving", "disconnects per second"), ("arriving", "connects per second")):
        rates = _items((plan.get("pace") or {}).get(kind))
        facts += [(f"{what}, {region}", f"{rate:g} at most") for region, rate in rates]
    return facts + [(f"data endpoint, {region}", host) for region, host in _items(plan.get("targets"))]


def _items(found: Mapping[str, Any] | None) -> list[tuple[str, Any]]:
    return list((found or {}).items())


def _options(run: Run) -> Facts:
    options = _items(run.start.get("options"))
    return [(name, value if isinstance(value, str) else json.dumps(value)) for name, value in options]


def _made_by(run: Run) -> Facts:
    """Who started the run, and which plan was approved, as far as known."""
    by = run.summary.get("by")
    if not isinstance(by, dict):
        return []
    approved = by.get("approved") or {}
    planned = approved.get("planned_by")
    rows = [
        ("operator", by.get("operator")),
        ("user", f"{by.get('user')} on {by.get('host')}"),
        ("AWS caller", by.get("caller") or "not known"),
        ("approved plan", approved.get("token")),
        ("plan made by", who.line(planned) if isinstance(planned, dict) else None),
    ]
    return [(name, value) for name, value in rows if value]
