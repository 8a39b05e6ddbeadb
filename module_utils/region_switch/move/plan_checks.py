"""Findings that block a plan, the token that names it, and notes: whom it leaves out, and what it cannot prove."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

from ..checks import preflight
from ..dns import gate, hosted_zone
from ..fleet.roster import Roster
from ..fleet.source import FleetSource
from ..model import approval, evidence
from ..model.errors import many
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
                "unmapped_clients", True, "", "",
                f"{many(plan.unmapped, 'connected client')} that no endpoint claims", "none",
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
    coming: Counter[str] = Counter()
    for (_, target), count in roster.per_route().items():
        coming[target] += count
    pairs = [(move.endpoint, move.target) for move in plan.moves if move.needed or move.target in coming]
    return preflight.Question(
        pairs=pairs,
        hosts=plan.targets,
        sources=plan.sources,
        dead=plan.dead,
        records=plan.records,
        clients=coming,
    )


def token(options: Options, plan: Plan, roster: Roster, mode: str) -> str:
    return approval.token(survey.basis(plan, options, mode), roster.client_digest(), roster.waiting())


def notes(plan: Plan, source: FleetSource) -> list[str]:
    """Records and clients that a plan leaves out."""
    unmapped = f"{many(plan.unmapped, 'connected client')} left alone: {source.unmapped}"
    alone = [unmapped] if plan.unmapped else []
    return [*not_carried(plan), *alone, *evidence.notes(plan.evidence), *_skipped(plan)]


def _skipped(plan: Plan) -> list[str]:
    return [
        f"{region}: taken for gone (failover_source_gone) and not asked; nobody was disconnected there, and whoever is "
        "connected there stays: when it can be asked, run the same again without this option"
        if region in plan.gone
        else f"{region}: skipped, its API does not answer ({reason.partition(', expected')[0]}); nobody was "
        "disconnected there: run the same again when it is back"
        for region, reason in plan.dead.items()
    ]


def unproven(plan: Plan, options: Options) -> str | None:
    if options.scope.sweep == "none":
        return None
    return evidence.unproven(plan.evidence, plan.dead, options.fleet.endpoint_attribute, options.checks.waive)


def not_carried(plan: Plan) -> list[str]:
    """Name the records that do not fit into the batch: it is what keeps two controllers apart."""
    left_out = len(plan.staying) - len(plan.carried)
    if not plan.needed or not left_out:
        return []
    return [
        f"{left_out} records that stay have no room in Route 53's batch: somebody else's change of these at the "
        "same time is noticed in the end only; have no other controller move them meanwhile"
    ]
