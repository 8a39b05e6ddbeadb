"""The options of a move, checked before anything is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal

from .errors import RefusedError, one_line
from .findings import check_waived

_LOWEST = {
    "ttl": 0,
    "dns_consecutive": 1,
    "dns_timeout": 0,
    "landing_timeout": 0,
    "delete_connection_rate": 0,
    "subscriptions_per_client": 0,
    "max_stragglers": 0,
    "max_in_flight": 0,
    "max_clients": 0,
    "max_endpoints": 0,
    "min_share": 0,
    "max_share": 0,
    "approval_drift": 0,
    "certificate_days": 0,
}
_HIGHEST = {"max_stragglers": 100, "min_share": 100, "max_share": 100}
HIGHEST_PORT = 65535
# What is asked for with one option and would be passed over because of another: {option: (other option, the value it
# has to have, what the option would do)}. Options that belong to a step which is switched off as a whole, such as those
# of the preflight, are none of them: they may stand in an inventory for the runs that have it.
IGNORED_UNLESS: dict[str, tuple[str, object, str]] = {
    "client_ids": ("discovery", "clients", "which would look for other clients besides"),
    "client_ids_file": ("discovery", "clients", "which would look for other clients besides"),
    "mode": ("rollback", False, "which returns to the records before the last run, whatever the mode"),
}


@dataclass(frozen=True)
class Options:
    """The options of the module iot_region_switch, as its documentation describes them; times in seconds."""

    mode: object
    modes: object
    endpoints: list[str]
    regions: list[str]
    hosted_zone_id: str
    ttl: int
    resolvers: list[str]
    name_servers: list[str]
    dns_consecutive: int
    dns_timeout: float
    dns_policy: Literal["wait", "proceed", "abort"]
    sweep: Literal["misplaced", "none"]
    discovery: Literal["index", "things", "clients"]
    client_ids: list[str]
    client_ids_file: str | None
    endpoint_attribute: str
    unmapped_clients: str
    delete_connection_rate: float
    subscriptions_per_client: float
    waves: list[object]
    max_stragglers: float
    max_in_flight: int
    prevent_will_message: bool
    clean_session: bool
    landing_timeout: float
    restore: bool
    preflight: bool
    waive: list[str]
    ca_file: str | None
    certificate_days: float
    probe_certificate: str | None
    probe_private_key: str | None
    mqtt_ports: list[int]
    require_approval: bool
    approve: str | None
    approval_drift: float
    max_clients: int
    max_endpoints: int
    min_share: float
    max_share: float
    reports_directory: str
    ledger: str | None
    rollback: bool
    pause_after_dns: bool
    run_id: str | None
    operator: str | None
    source_gone: list[str] = field(default_factory=list)

    @property
    def asked(self) -> list[str]:
        """The regions but for those that are not to be asked."""
        return [region for region in self.regions if region not in self.source_gone]

    def check(self) -> None:
        """Refuse values that cannot be meant.

        Raises:
            RefusedError: names the option.
        """
        for name, low in _LOWEST.items():
            found, high = getattr(self, name), _HIGHEST.get(name)
            if not low <= found <= (found if high is None else high):
                expected = f"{low} or more" if high is None else f"{low} to {high}"
                raise RefusedError(f"{name}: found {found:g}, expected {expected}: correct it")
        if not self.mqtt_ports or not all(1 <= port <= HIGHEST_PORT for port in self.mqtt_ports):
            raise RefusedError(
                f"mqtt_ports: found {self.mqtt_ports or 'none'}, expected ports of 1 to {HIGHEST_PORT}: correct it"
            )
        if self.unmapped_clients not in ("ignore", "refuse", *self.endpoints):
            raise RefusedError(
                f"unmapped_clients: found {self.unmapped_clients}, expected ignore, refuse or one of "
                f"{', '.join(self.endpoints)}: correct it"
            )
        for region in self.source_gone:
            if region not in self.regions:
                raise RefusedError(
                    f"source_gone: found {region}, expected regions of the inventory ({', '.join(self.regions)}): "
                    "correct it"
                )
        check_waived(self.waive)
        refuse_ignored(asdict(self))
        if self.discovery == "clients" and not (self.client_ids or self.client_ids_file):
            raise RefusedError(
                "discovery clients: found neither client_ids nor client_ids_file, expected one of them: "
                "name the clients, or set discovery to index"
            )
        if bool(self.probe_certificate) != bool(self.probe_private_key):
            raise RefusedError(
                "probe_certificate: found one of certificate and private key, expected both or neither: correct it"
            )

    def passed_over(self) -> list[str]:
        """What to say of values that have no effect in this run, and do not keep it from being made in an emergency."""
        if self.approve and not self.require_approval:
            return ["approve: the token was not compared with the plan, since failover_require_approval is false"]
        return []


def refuse_ignored(values: Mapping[str, object]) -> None:
    """Refuse values that another option keeps from having any effect.

    Args:
        values: options by name; those that a module does not have are left out.

    Raises:
        RefusedError: names both.
    """
    for ignored, (name, expected, why) in IGNORED_UNLESS.items():
        value = values.get(ignored)
        if value not in (None, "", []) and values[name] != expected:
            raise RefusedError(
                f"{ignored}: found {one_line(value)} with {name} {one_line(values[name])}, {why}: set {name} to "
                f"{one_line(expected)}, or leave {ignored} away"
            )
