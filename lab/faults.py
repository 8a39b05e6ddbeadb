"""The fault menu: what may go wrong with a move, and how the move has to handle it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from lab import sabotage, topology
from lab.errors import LabError
from lab.sabotage import Move

# Of all endpoints, between the first two regions, by mode.
MOVES = {
    "1": Move("1", topology.REGIONS[1], topology.REGIONS[0]),
    "3": Move("3", topology.REGIONS[0], topology.REGIONS[1]),
}


@dataclass(frozen=True)
class Fault:
    """One fault, and what is expected of a move under it.

    Attributes:
        inject: causes it for the duration of a `with` block.
        outcome: of the move under the fault, as summary.json has it.
        says: a regular expression that one of the lines matches that the operator reads, SOURCE and TARGET in it being
            the names of the move's regions.
        records: for each of `sabotage.ENDPOINTS`, whether its record leads to the "source" or the "target" afterwards.
        writes: the operations that change something while the fault lasts; None where that is not looked at.
        then: what the same command may end as once the fault is over.
        clients: light connections that take part beside the devices.
    """

    name: str
    description: str
    inject: Callable[[Move], AbstractContextManager[None]]
    outcome: str
    says: str
    records: tuple[str, str] = ("target", "target")
    writes: tuple[str, ...] | None = None
    then: tuple[str, ...] = ("unchanged",)
    clients: int = 0


def _refused(name: str, description: str, inject: Callable[[Move], AbstractContextManager[None]], says: str) -> Fault:
    return Fault(name, description, inject, "refused", says, ("source", "source"), (), ("moved",))


FAULTS = (
    Fault(
        "api-throttled",
        "DeleteConnection and GetConnection are allowed 20 times a second, while Service Quotas says 100",
        lambda _: sabotage.settings(quotas={"DeleteConnection": 20.0, "GetConnection": 20.0}),
        "moved",
        r"sweep: \d+ calls, .* [1-9]\d* throttled",
        clients=60,
    ),
    Fault(
        "delete-connection-500",
        "every other DeleteConnection of a device fails with 500",
        lambda _: sabotage.calls({**sabotage.OF_A_DEVICE, "kind": "error", "share": 0.5}),
        "moved",
        r"clients: 2 of 2 in their region, 0 stragglers, 0 bounced",
    ),
    Fault(
        "api-latency",
        "every call of the AWS API takes 300 ms longer",
        lambda _: sabotage.calls({"operation": "*", "kind": "latency", "seconds": 0.3}),
        "moved",
        r"clients: 2 of 2 in their region, 0 stragglers, 0 bounced",
    ),
    Fault(
        "dns-lag",
        "one of the zone's name servers is 20 s late, after Route 53 said INSYNC",
        lambda _: sabotage.late_name_server(20.0),
        "moved",
        r"ns-202\.awsdns-25\.net still answers the old region",
    ),
    Fault(
        "resolver-clamp",
        "the devices' resolver keeps every answer for 30 s whatever its TTL, and has the old ones",
        lambda _: sabotage.clamping_resolver(30),
        "moved",
        r"198\.18\.83\.53 still answers the old region for \d+ s",
    ),
    _refused(
        "certificate-expired",
        "the server certificate of mqtt2.example.com expired in the target region",
        sabotage.expired_server_certificate,
        r"^server_certificate .*mqtt2\.example\.com.*expired",
    ),
    _refused(
        "certificate-wrong-name",
        "the server certificate of mqtt2.example.com is for another name in the target region",
        sabotage.server_certificate_of_another_name,
        r"^server_certificate .*mqtt2\.example\.com",
    ),
    _refused(
        "domain-disabled",
        "the domain configuration of mqtt2.example.com is DISABLED in the target region",
        sabotage.domain_disabled,
        r"^domain_configuration .*mqtt2\.example\.com.*DISABLED",
    ),
    _refused(
        "device-unregistered",
        "the certificate of client_02 is not registered in the target region",
        sabotage.unregistered_device,
        r"^device_certificate .*client_02 not registered",
    ),
    _refused(
        "device-inactive",
        "the certificate of client_02 is INACTIVE in the target region",
        sabotage.inactive_device,
        r"^device_certificate .*client_02 not ACTIVE",
    ),
    _refused(
        "device-without-policy",
        "the certificate of client_02 has no policy in the target region",
        sabotage.device_without_policy,
        r"^device_certificate .*client_02 without policy",
    ),
    Fault(
        "source-dead",
        "the region to be left is gone: its API hangs, and so does its endpoint",
        lambda move: sabotage.dead_region(move.source),
        "moved",
        r"^SOURCE: skipped",
        then=("unchanged", "moved"),
    ),
    Fault(
        "target-dies",
        "the target region is gone when the second device is to be disconnected",
        sabotage.target_dies_in_the_sweep,
        "rolled_back",
        r"the records were restored, and 2 of 2 disconnected clients were seen back",
        ("source", "source"),
        then=("moved",),
    ),
    Fault(
        "record-changed",
        "somebody else moves mqtt2.example.com between reading and switching the records",
        sabotage.record_changed_by_someone_else,
        "refused",
        r"changed by someone else",
        ("source", "target"),
        # Somebody else's.
        ("ChangeResourceRecordSets",),
        ("moved",),
    ),
    _refused(
        "permission-missing",
        "the caller may not call DeleteConnection",
        lambda _: sabotage.calls(
            {"operation": "DeleteConnection", "kind": "error", "status": 403, "code": "ForbiddenException"}
        ),
        r"^permission \(SOURCE\): iot:DeleteConnection denied",
    ),
    Fault(
        "controller-killed",
        "the process that moves is killed with kill -9 when it disconnects the second device",
        lambda _: sabotage.killed_controller(),
        # What the run had noted when it was last sure.
        "partial",
        r"^move: its process ended without a result",
        then=("moved",),
    ),
)


def find(name: str) -> Fault:
    """Return a fault of the menu.

    Raises:
        LabError: there is none of that name; lists all.
    """
    for fault in FAULTS:
        if fault.name == name:
            return fault
    raise LabError(f"fault {name}: found no such fault, expected one of {', '.join(fault.name for fault in FAULTS)}")


def menu() -> list[str]:
    """One line per fault."""
    width = max(len(fault.name) for fault in FAULTS)
    return [f"{fault.name:<{width}}  {fault.description}" for fault in FAULTS]
