"""Notes on a plan: clients that it leaves out, and what it cannot prove."""

from __future__ import annotations

from ..fleet.source import FleetSource
from ..model import evidence
from ..model.options import Options
from .survey import Plan


def left_out(plan: Plan, source: FleetSource) -> list[str]:
    """Clients that are left out of a move."""
    unmapped = f"{plan.unmapped} connected clients are left alone: {source.unmapped}"
    return [*([unmapped] if plan.unmapped else []), *evidence.notes(plan.evidence), *_skipped(plan)]


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
