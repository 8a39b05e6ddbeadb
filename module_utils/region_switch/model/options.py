"""The options of a move, grouped by subject; each dataclass validates its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_type_hints

from .errors import RefusedError, one_line
from .findings import check_waived
from .option import check_ranges, given, option

HIGHEST_PORT = 65535
# Options that another option would make ineffective: {option: (other option, the value that it needs, the effect of the
# present value)}. Options of a step that is switched off as a whole, such as the preflight, are not among them: an
# inventory may have them for the runs with that step.
IGNORED_UNLESS: dict[str, tuple[str, object, str]] = {
    "client_ids": ("discovery", "clients", "which does not use the list"),
    "client_ids_file": ("discovery", "clients", "which does not use the list"),
    "mode": ("rollback", False, "which returns to the records before the last run, whatever the mode"),
}


@dataclass(frozen=True)
class InventoryOptions:
    """The inventory."""

    modes: object = option("The mode table: V({mode: {endpoint: AWS Region}}).")
    endpoints: list[str] = option("The endpoints of the inventory.")
    regions: list[str] = option("The AWS Regions of the inventory.")
    hosted_zone_id: str = option("ID of the hosted zone that the endpoints are in.")


@dataclass(frozen=True)
class ScopeOptions:
    """What a run is to do."""

    mode: object = option(
        "The mode to move to. Its name is never converted, so that V(3.7) is not V(3). Refused with O(rollback).",
        None,
    )
    rollback: bool = option(
        "Return to the records as they were before the last run that switched them. O(mode) is not used. Refused "
        "where the records are neither as that run left them nor as they were before it.",
        False,
    )
    source_gone: list[str] = option(
        [
            "Regions to leave that refuse requests (access denied, opted out), or must not get any. They count as dead "
            "without being asked. Their clients are not disconnected, but looked for where they belong; records are "
            "never restored to them.",
            "The target of a move is refused.",
        ],
        [],
    )
    sweep: Literal["misplaced", "none"] = option(
        "Which clients to disconnect. V(none) stops after DNS.",
        "misplaced",
    )
    unmapped_clients: str = option(
        "What happens to connected clients whose thing names none of the endpoints. V(ignore) leaves them alone and "
        "reports their number, V(refuse) stops the move, the name of an endpoint treats them as its clients.",
        "ignore",
    )
    preflight: bool = option(
        "Check in advance every reason for which the target region could refuse a device.",
        True,
    )
    restore: bool = option(
        "Restore the records, and bring the clients back, when a wave does not land or the target region fails. "
        "Never done when the region that is left is dead.",
        True,
    )

    def check(self, inventory: InventoryOptions) -> None:
        """Refuse endpoints and regions that the inventory does not have.

        Raises:
            RefusedError: names the option.
        """
        if self.unmapped_clients not in ("ignore", "refuse", *inventory.endpoints):
            raise RefusedError(
                f"unmapped_clients: found {self.unmapped_clients}, expected ignore, refuse or one of "
                f"{', '.join(inventory.endpoints)}: correct it"
            )
        for region in self.source_gone:
            if region not in inventory.regions:
                raise RefusedError(
                    f"source_gone: found {region}, expected regions of the inventory "
                    f"({', '.join(inventory.regions)}): correct it"
                )


@dataclass(frozen=True)
class DnsOptions:
    """The records, and the DNS servers that answer for them."""

    ttl: int = option(
        "TTL in seconds of the records that are written.",
        0,
        low=0,
    )
    resolvers: list[str] = option(
        "Recursive resolvers whose answers the move waits for, as V(address) or V(address:port). None means those of "
        "the controller.",
        [],
    )
    name_servers: list[str] = option(
        "The name servers of the zone, by name or address. None means the delegation set that Route 53 names.",
        [],
    )


@dataclass(frozen=True)
class DnsWaitOptions:
    """How long a move waits for DNS."""

    dns_consecutive: int = option(
        "Correct answers in a row that every server has to give.",
        3,
        low=1,
    )
    dns_timeout: float = option(
        "Seconds that Route 53 and then the servers may take to answer the new target. The move also waits for the TTL "
        "of the old records, but no longer than this; clients that a cache sends back are moved again.",
        300.0,
        low=0,
    )
    dns_policy: Literal["wait", "proceed", "abort"] = option(
        "What happens when a resolver does not converge within O(dns_timeout). V(wait) ends the run, the records stay "
        "switched and no client is disconnected. V(proceed) continues and reports the stale ones. V(abort) restores "
        "the records. The zone's own name servers always have to converge.",
        "wait",
    )


@dataclass(frozen=True)
class DiscoveryOptions:
    """How a client is found, and its endpoint."""

    discovery: Literal["index", "things", "clients"] = option(
        "How connected clients are found. V(index) asks the fleet index, which knows clients whose client ID is the "
        "name of a thing. V(things) asks for the connection of every thing that has O(endpoint_attribute), V(clients) "
        "for those of the listed clients.",
        "index",
    )
    endpoint_attribute: str = option(
        "Thing attribute that names the endpoint of a client.",
        "mqtt_endpoint",
    )


@dataclass(frozen=True)
class FleetOptions(DiscoveryOptions):
    """How the connected clients are found."""

    client_ids: list[str] = option(
        "Client IDs for O(discovery=clients), as text; numbers are refused, and so is the option with another "
        "O(discovery).",
        [],
        elements="raw",
    )
    client_ids_file: str | None = option(
        [
            "File of client IDs for O(discovery=clients), one per line, CSV with the header V(client_id,endpoint), or "
            "JSON, as spreadsheets, PowerShell and the AWS CLI write them. A line that could mean something else is "
            "refused.",
            "Refused with another O(discovery).",
        ],
        None,
        type="path",
    )

    def check(self) -> None:
        """Refuse O(discovery=clients) without a list.

        Raises:
            RefusedError: names the option.
        """
        if self.discovery == "clients" and not (self.client_ids or self.client_ids_file):
            raise RefusedError(
                "discovery clients: client_ids and client_ids_file are missing: set one of them, or discovery to index"
            )


@dataclass(frozen=True)
class PaceOptions:
    """How fast, and in which steps, clients are moved."""

    delete_connection_rate: float = option(
        "DeleteConnection requests per second and region. V(0) means the quota of the region.",
        0.0,
        low=0,
    )
    subscriptions_per_client: float = option(
        "Topic filters that a client subscribes to when it connects. Together with the target region's quota of "
        "subscriptions it limits the pace; V(0) ignores that quota.",
        1.0,
        low=0,
    )
    waves: list[object] = option(
        "Cumulative shares of the fleet in percent, such as V([1, 10, 100]). Each wave has to land before the next "
        "one begins.",
        [1, 100],
    )
    max_stragglers: float = option(
        [
            "Percent of a wave that may not have landed within O(landing_timeout). With more, the move stops.",
            "Clients that had left before they were disconnected, and are not connected anywhere, do not count. Those "
            "that connected after the plan was made count with the whole fleet, and never cause O(restore).",
        ],
        5.0,
        low=0,
        high=100,
    )
    max_in_flight: int = option(
        "Clients that may be disconnected and not yet landed at the same time. V(0) means 30 seconds of the pace.",
        0,
        low=0,
    )
    prevent_will_message: bool = option(
        "Do not publish the Last Will of disconnected clients.",
        True,
    )
    clean_session: bool = option(
        "End the persistent session, and its queued messages, in the region that is left.",
        False,
    )
    landing_timeout: float = option(
        "Seconds that the clients of a wave may take to land, after the last of them was disconnected.",
        300.0,
        low=0,
    )


@dataclass(frozen=True)
class CheckOptions:
    """The checks of the target regions."""

    waive: list[str] = option(
        "Names of checks whose findings do not block the move.",
        [],
    )
    ca_file: str | None = option(
        "CA certificates that the endpoints' certificates have to chain to. None means those of the system.",
        None,
        type="path",
    )
    certificate_days: float = option(
        "A server certificate that expires within so many days blocks the move.",
        7.0,
        low=0,
    )
    probe_certificate: str | None = option(
        "Client certificate with which the check connects to the target region and publishes. Without it, only the TLS "
        "handshake is tried.",
        None,
        type="path",
    )
    probe_private_key: str | None = option(
        "Key of O(probe_certificate).",
        None,
        type="path",
        no_log=False,
    )
    mqtt_ports: list[int] = option(
        "Ports of the MQTT endpoint that devices use; each is tried, V(443) with ALPN.",
        [8883],
    )

    def check(self) -> None:
        """Refuse invalid ports, unknown checks, and half a pair of certificate and key.

        Raises:
            RefusedError: names the option.
        """
        if not self.mqtt_ports or not all(1 <= port <= HIGHEST_PORT for port in self.mqtt_ports):
            raise RefusedError(
                f"mqtt_ports: found {self.mqtt_ports or 'none'}, expected ports of 1 to {HIGHEST_PORT}: correct it"
            )
        check_waived(self.waive)
        if bool(self.probe_certificate) != bool(self.probe_private_key):
            raise RefusedError("probe_certificate: set probe_certificate and probe_private_key, or neither")


@dataclass(frozen=True)
class ApprovalOptions:
    """The approval that a plan needs, and its limits."""

    require_approval: bool = option(
        "Refuse to change anything unless O(approve) names the plan.",
        False,
    )
    approve: str | None = option(
        "Token of the approved plan, as check mode prints it.",
        None,
    )
    approval_drift: float = option(
        [
            "Percent of the approved clients of each target that may differ when the plan is carried out, 3 clients at "
            "least. V(0) requires exactly the approved clients.",
            "Records, regions and options always have to be the approved ones.",
        ],
        5.0,
        low=0,
    )
    max_clients: int = option(
        "Clients that may be disconnected at most. V(0) means no limit.",
        0,
        low=0,
    )
    max_endpoints: int = option(
        "Endpoints that may move at most. V(0) means no limit.",
        0,
        low=0,
    )
    min_share: float = option(
        "Percent of the connected clients that a plan has to disconnect at least.",
        0.0,
        low=0,
        high=100,
    )
    max_share: float = option(
        "Percent of the connected clients that a plan may disconnect at most.",
        100.0,
        low=0,
        high=100,
    )


@dataclass(frozen=True)
class RunOptions:
    """A run and its reports."""

    reports_directory: str = option(
        "Folder for a folder per run, with C(journal.jsonl), C(summary.json), C(clients.csv) and C(report.html), which "
        "only the user who runs the module may read. A folder that belongs to another user, or that others may write "
        "to, is refused.",
        type="path",
    )
    ledger: str | None = option(
        "SQLite ledger of messages that the fleet's monitor writes. A note says so where no monitor keeps it, or the "
        "path is empty.",
        None,
        type="path",
    )
    operator: str | None = option(
        "Who starts the run, for its report, in addition to the system's user and the AWS caller.",
        None,
    )
    pause_after_dns: bool = option(
        "Stop after DNS when records were switched and clients have to move, so that the caller can check DNS on the "
        "devices. RV(paused) is then true; O(run_id) resumes the run.",
        False,
    )
    stale_devices: list[str] = option(
        "With O(run_id), a line for each device that still resolves to the old region; O(dns_policy) decides what "
        "happens then.",
        [],
    )
    run_id: str | None = option(
        "Resume this paused run.",
        None,
    )

    def check(self) -> None:
        """Refuse stale devices without a run.

        Raises:
            RefusedError: names the option.
        """
        if self.stale_devices and not self.run_id:
            raise RefusedError("stale_devices: run_id is missing, without which they are ignored: name the run")


@dataclass(frozen=True)
class Options:
    """The options of the module iot_region_switch; times in seconds."""

    inventory: InventoryOptions
    scope: ScopeOptions
    dns: DnsOptions
    dns_wait: DnsWaitOptions
    fleet: FleetOptions
    pace: PaceOptions
    checks: CheckOptions
    approval: ApprovalOptions
    run: RunOptions

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Options:
        """The options from a module's parameters; missing ones have their defaults."""
        return cls(**{name: given(room, parameters) for name, room in get_type_hints(cls).items()})

    @property
    def flat(self) -> dict[str, Any]:
        """All options by name."""
        return {name: value for room in asdict(self).values() for name, value in room.items()}

    @property
    def asked(self) -> list[str]:
        """The regions without those that are not to be asked."""
        return [region for region in self.inventory.regions if region not in self.scope.source_gone]

    def check(self) -> None:
        """Refuse invalid values.

        Raises:
            RefusedError: names the option.
        """
        for name in self.__dataclass_fields__:
            check_ranges(getattr(self, name))
        self.checks.check()
        self.fleet.check()
        self.scope.check(self.inventory)
        self.run.check()
        refuse_ignored(self.flat)

    def passed_over(self) -> list[str]:
        """Warnings of values without effect, which are no reason to refuse a run in an emergency."""
        if self.approval.approve and not self.approval.require_approval:
            return ["approve: the token was not compared with the plan, since failover_require_approval is false"]
        return []


# The dataclasses of a move's options.
ROOMS: tuple[type, ...] = tuple(get_type_hints(Options).values())


def refuse_ignored(values: Mapping[str, object]) -> None:
    """Refuse values that another option makes ineffective.

    Args:
        values: options by name; a module need not have all.

    Raises:
        RefusedError: names both.
    """
    for ignored, (name, expected, why) in IGNORED_UNLESS.items():
        value = values.get(ignored)
        if value not in (None, "", []) and values[name] != expected:
            raise RefusedError(
                f"{ignored}: found {one_line(value)} with {name} {one_line(values[name])}, {why}: set {name} to "
                f"{one_line(expected)}, or remove {ignored}"
            )
