"""Check mode: what a run would do, and what blocks it."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..checks import approved_plan
from ..fleet.roster import FILE, Roster
from ..model import findings
from ..model.errors import RefusedError, SwitchError, duration, many
from ..model.findings import Finding
from ..model.options import Options
from ..module import FailedResultError, Result
from ..record import history, who
from ..record import summary as summaries
from . import pace as paces
from . import plan_checks, survey
from .course import Services
from .survey import Plan

CLIENTS_SHOWN = 20


def preview(
    services: Services, mode: str, desired: dict[str, str], expected: history.Previous | None, notes: list[str]
) -> Result:
    """What a run would do, and the findings that block it; the lines end with these notes."""
    options = services.options
    with tempfile.TemporaryDirectory() as folder, Roster(Path(folder) / FILE) as roster:
        plan = survey.read(services, desired, roster)
        if expected:
            expected.expect(plan.sources)
        survey.refuse_dead_targets(plan, roster.per_route())
        found = plan_checks.check(services, plan, roster)
        token = plan_checks.token(options, plan, roster, mode)
        _sign(services, token)
        result: Result = {
            "changed": bool(plan.needed or (roster.waiting() and options.scope.sweep == "misplaced")),
            "plan": summaries.plan_dict(plan.moves),
            "token": token,
            "findings": findings.as_dicts(found),
            "lines": [
                *_keep(options, token, roster),
                *_preview_lines(services, plan, roster, mode, found, token),
                *notes,
            ],
            "diff": diff(plan, roster, options),
        }
    try:
        findings.refuse(found, options.checks.waive)
    except RefusedError as error:
        raise FailedResultError(str(error), result) from error
    return result


def _keep(options: Options, token: str, roster: Roster) -> list[str]:
    """Store the clients of a plan, of which some may differ when it is carried out; return a note if that fails."""
    if not options.approval.require_approval or not options.approval.approval_drift:
        return []
    try:
        approved_plan.keep(Path(options.run.reports_directory), token, roster)
    except SwitchError as error:
        return [f"the token approves these very clients only: {error}"]
    return []


def _sign(services: Services, token: str) -> None:
    """Store who made a plan that waits for approval, if possible."""
    options = services.options
    if options.approval.require_approval:
        with suppress(SwitchError):
            maker = who.here(options.run.operator, services.runtime.caller(options.asked))
            approved_plan.sign(Path(options.run.reports_directory), token, maker)


def _preview_lines(
    services: Services, plan: Plan, roster: Roster, mode: str, found: list[Finding], token: str
) -> list[str]:
    options = services.options
    text = [f"mode {mode}: check mode, nothing is changed"]
    text += [f"{move.endpoint}: {move.source} -> {move.target}" for move in plan.needed]
    routes = roster.per_route() if options.scope.sweep == "misplaced" else {}
    pace = paces.pace(plan.quotas, options.pace)
    for (region, target), count in sorted(routes.items()):
        rate = min(pace.leaving[region], pace.arriving[target])
        belong = f"{many(count, 'client')} in {region} belong{'s' if count == 1 else ''} to {target}"
        text.append(f"{belong}: {rate:g} per second, {duration(count / rate)}")
    if sum(routes.values()) <= CLIENTS_SHOWN:
        text += [
            f"disconnect {each.client_id} in {each.region}, expect it in {each.target}"
            for each in (roster.misplaced(CLIENTS_SHOWN) if routes else ())
            if each.region not in plan.dead
        ]
    if routes:
        text.append(f"disconnecting everyone takes {duration(pace.seconds(routes))} at least")
    text += [
        *plan_checks.notes(plan, services.source),
        *filter(None, [plan_checks.unproven(plan, options)]),
    ]
    text += findings.table(found, options.checks.waive)
    if plan.needed or routes:
        text.append(f"token: {token}")
    return text


def diff(plan: Plan, roster: Roster, options: Options) -> dict[str, Any]:
    """Records and clients before and after, for `--diff`; of many clients only the first.

    `to_disconnect`, by route, is an action and has no counterpart before the move.
    """
    sweeping = options.scope.sweep == "misplaced"
    shown = list(roster.misplaced(CLIENTS_SHOWN)) if sweeping else []
    routes = [
        f"{count} from {region}, to come back in {target}"
        for (region, target), count in sorted(roster.per_route().items() if sweeping else ())
        if region not in plan.dead
    ]
    return {
        "before": {
            "records": plan.sources,
            "clients": {each.client_id: each.region for each in shown},
            "to_disconnect": [],
        },
        "after": {
            "records": {move.endpoint: move.target for move in plan.moves},
            "clients": {each.client_id: each.target for each in shown},
            "to_disconnect": routes,
        },
    }
