"""Findings that block a plan, and the token that names it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..checks import preflight
from ..dns import gate, hosted_zone
from ..fleet.roster import Roster
from ..model import approval, evidence
from ..model.findings import Finding
from ..model.options import Options
from ..record import ledger_state, storage
from . import survey
from .course import Services
from .survey import Plan


def check(services: Services, plan: Plan, roster: Roster) -> list[Finding]:
    """Findings that block a plan, or, if there is nothing to do, the statement that all is well."""
    options = services.options
    counts = roster.counts()
    found = _nobody(options, plan, roster)
    if not plan.needed and not counts["misplaced"]:
        return found
    found += storage.findings(Path(options.run.reports_directory), counts["total"])
    found += approval.guard(counts["misplaced"], counts["total"], len(plan.needed), options.approval)
    if options.scope.unmapped_clients == "refuse" and plan.unmapped:
        found.append(
            Finding(
                "unmapped_clients", True, "", "", f"{plan.unmapped} connected clients that no endpoint claims", "none",
                f"set {options.fleet.endpoint_attribute} of their things, or set failover_unmapped_clients",
            )
        )  # fmt: skip
    if plan.zone:
        found += hosted_zone.check(plan.zone, plan.servers, bool(options.dns.name_servers), options.dns_wait.dns_policy)
        found += plan.zone.obstacles if plan.needed else []
    current = {name: record.value for name, record in plan.records.items()}
    found += gate.check(plan.servers, current, options.dns_wait.dns_policy)
    if options.scope.preflight:
        settings = preflight.PreflightOptions(options.dns, options.checks, services.source)
        found += preflight.check(services.aws, services.dns, settings, _question(plan, roster))
    found = [_naming_way_out(finding, options, plan) for finding in found]
    return found + ledger_state.unkept(options.run.ledger, services.runtime.now())


def _nobody(options: Options, plan: Plan, roster: Roster) -> list[Finding]:
    unmapped = plan.unmapped if options.scope.sweep == "misplaced" and options.scope.unmapped_clients != "refuse" else 0
    return evidence.findings(
        plan.evidence, plan.moves, roster.per_endpoint(), unmapped, options.fleet.endpoint_attribute
    )


def _naming_way_out(finding: Finding, options: Options, plan: Plan) -> Finding:
    """Name the option for leaving a region whose API refuses the caller."""
    left = finding.region in options.inventory.regions and finding.region not in plan.desired.values()
    if finding.check != "permission" or not left:
        return finding
    return replace(finding, advice=f"{finding.advice}; or, to leave {finding.region} without asking, {survey.NAME_IT}")


def _question(plan: Plan, roster: Roster) -> preflight.Question:
    """The preflight's question: where records move to, and where clients go."""
    routes = roster.per_route()
    busy = {target for _, target in routes}
    pairs = [(move.endpoint, move.target) for move in plan.moves if move.needed or move.target in busy]
    coming: dict[str, int] = {}
    for (_, target), count in routes.items():
        coming[target] = coming.get(target, 0) + count
    return preflight.Question(
        pairs=pairs,
        hosts=plan.targets,
        sources={move.endpoint: move.source for move in plan.moves},
        dead=plan.dead,
        records=plan.records,
        clients=coming,
    )


def token(options: Options, plan: Plan, roster: Roster, mode: str) -> str:
    return approval.token(survey.basis(plan, options, mode), roster.client_digest(), roster.waiting())
