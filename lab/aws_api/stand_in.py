"""The state of the stand-in beside moto's, and what ties its parts together."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from moto.acm.models import acm_backends
from moto.core.base_backend import BackendDict
from moto.core.config import default_user_config
from moto.iot.models import IoTBackend, iot_backends
from moto.route53.models import DelegationSet, FakeZone, route53_backends

from lab.aws_api import device_policies
from lab.aws_api.acm import Owner, PublicCertificate, public_arn
from lab.aws_api.config import Configuration, Region
from lab.aws_api.connections import Connection
from lab.aws_api.contract import Contract
from lab.aws_api.device_policies import Principal
from lab.aws_api.faults import Faults
from lab.aws_api.fleet import Fleet
from lab.aws_api.haproxy import Endpoint, Served
from lab.aws_api.identities import Identity
from lab.aws_api.name_servers import Zones
from lab.aws_api.pki import Authority
from lab.aws_api.quotas import Quotas, broker_rates
from lab.aws_api.request_log import RequestLog
from lab.aws_api.route53 import Change, Protections, apex_records, full_name

# Of zones that are made by a request: four of Route 53's, one of each domain.
FIRST_NAME_SERVER = 2048
DOMAINS = ("com", "net", "org", "co.uk")


@dataclass
class Settings:
    """What the control API may change.

    Attributes:
        insync_delay_seconds: how long a Route 53 change is PENDING at least.
        insync_ignores: name servers, by name, whose lag GetChange does not wait for.
        invalid_change_batch: which of the two bodies that Route 53 documents says that a batch is refused:
            "ErrorResponse" or "InvalidChangeBatch".
        change_guardrails: Route 53's Change Guardrails that are turned on, in every hosted zone.
        one_change_at_a_time: whether a batch is refused while an earlier one of its zone is PENDING.
        index_lag_seconds: how old the connectivity is that fleet indexing answers.
        index_building_seconds: how long an index answers no query after its configuration was changed
            (https://docs.aws.amazon.com/iot/latest/developerguide/managing-index.html).
        quotas: requests per second of operations that are allowed other than AWS's defaults, which Service Quotas
            still reports; those of the brokers are `Connect`, `Subscribe` and `ConnectPerClientId`.
        every_quota: whether each operation of the control plane has its quota, not only those that are slow.
        page_size: most elements of a list that an answer has, whatever is asked for.
        serving_delay_seconds: how long after a domain configuration was made its name is not served: AWS says up to 60
            minutes (https://docs.aws.amazon.com/iot/latest/developerguide/iot-custom-endpoints-configurable-custom.html).
        status_age_seconds: how much longer ago than they did domain configurations say that their status changed.
        reconnect: where a deleted client appears again.
        identities: who may call, by access key.
        verify_signatures: whether a request's signature is looked at.
        clock_offset_seconds: how far AWS's clock is ahead of this machine's.
        regions_not_enabled: those that the account has not opted in to.
    """

    insync_delay_seconds: float
    identities: dict[str, Identity]
    insync_ignores: list[str] = field(default_factory=list)
    invalid_change_batch: str = "ErrorResponse"
    change_guardrails: list[str] = field(default_factory=list)
    one_change_at_a_time: bool = False
    index_lag_seconds: float = 0.0
    index_building_seconds: float = 0.0
    quotas: dict[str, float] = field(default_factory=dict)
    every_quota: bool = True
    page_size: int | None = None
    serving_delay_seconds: float = 0.0
    status_age_seconds: float = 0.0
    reconnect: dict[str, str] = field(default_factory=dict)
    verify_signatures: bool = True
    clock_offset_seconds: float = 0.0
    regions_not_enabled: list[str] = field(default_factory=list)


class StandIn:
    """One account's AWS as far as the lab plays it. `lock` guards moto, which is not safe for threads."""

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        # moto counts the PEM's digest otherwise; AWS's certificateId is the DER's.
        default_user_config["iot"] = {"use_valid_cert": True}
        self.lock = threading.RLock()
        self.authority = Authority.in_directory(configuration.state_directory)
        self.log = RequestLog(configuration.state_directory / "requests.jsonl")
        self.contract = Contract(configuration.contract_directory or configuration.state_directory)
        self.quotas = Quotas()
        self.faults = Faults()
        self.zones = Zones(configuration.name_servers)
        self.settings = self._first_settings()
        regions = configuration.regions.values()
        self._fleets = {region.name: Fleet(region, self._reconnect) for region in regions}
        self._endpoints = {region.name: Endpoint(region.directory) for region in regions if region.directory}
        self._own_certificates = {
            name: self.authority.server(configuration.regions[name].ats_endpoint) for name in self._endpoints
        }
        self._domain_details: dict[str, dict[str, dict[str, Any]]] = {}
        # When a domain configuration was made, by region and name; seconds of the monotonic clock.
        self._configured: dict[tuple[str, str], float] = {}
        self._public = {
            (region, name): self.authority.public([name], "EC_prime256v1")
            for region in configuration.regions
            for name in configuration.public_certificates
        }
        self._name_servers = FIRST_NAME_SERVER
        # Of Route 53's records, by hosted zone.
        self.protections: dict[str, Protections] = {}
        # The last change of each hosted zone.
        self.last_changes: dict[str, Change] = {}
        # When the configuration of a region's index was changed last, by a monotonic clock.
        self.indexed_again: dict[str, float] = {}
        self.reset()

    def start(self) -> None:
        """Begin to follow the brokers."""
        for fleet in self._fleets.values():
            fleet.start()

    def reset(self) -> None:
        """Reset everything except who is connected to a real broker."""
        with self.lock:
            BackendDict.reset()
            self._domain_details.clear()
            self._name_servers = FIRST_NAME_SERVER
            self.protections.clear()
            self.last_changes.clear()
            self.indexed_again.clear()
            self._configured.clear()
            self.settings = self._first_settings()
            self.faults.replace([])
            self.quotas.reset()
            self.log.reset()
            self.contract.on_purpose = frozenset()
            for server in self.configuration.name_servers:
                if server.address:
                    self.zones.set_lag(server.name, server.lag_seconds)
            for fleet in self._fleets.values():
                if fleet.broker is None:
                    fleet.table.clear()
            self._create_zones()
            self._create_public_certificates()
            self.publish_all()

    def _first_settings(self) -> Settings:
        configuration = self.configuration
        return Settings(
            configuration.insync_delay_seconds,
            dict(configuration.identities or {}),
            every_quota=configuration.every_quota,
            verify_signatures=configuration.identities is not None,
        )

    def _create_public_certificates(self) -> None:
        owner = self.certificate_owner()
        for (region, name), pem in self._public.items():
            arn = public_arn(owner.account_id, region, name)
            acm_backends[owner.account_id][region]._certificates[arn] = PublicCertificate(
                owner, region, [name], pem, arn
            )

    def certificate_owner(self) -> Owner:
        """Whose the account's public certificates are."""
        return Owner(self.configuration.account_id, self.authority.pem, self.has_cname)

    def arn(self, access_key: str) -> str:
        """Return the ARN of who has an access key."""
        identity = self.settings.identities.get(access_key)
        return (identity.arn if identity else "") or f"arn:aws:iam::{self.configuration.account_id}:user/{access_key}"

    def fleet(self, region: str) -> Fleet:
        """Return a region's clients; a region that is not configured has none."""
        if region not in self._fleets:
            self._fleets[region] = Fleet(Region(region, ""), self._reconnect)
        return self._fleets[region]

    def fleets(self) -> dict[str, Fleet]:
        return dict(self._fleets)

    def domain_details(self, region: str) -> dict[str, dict[str, Any]]:
        """Return what moto does not keep of a region's domain configurations, by name."""
        return self._domain_details.setdefault(region, {})

    def thing_name(self, region: str, client_id: str) -> str | None:
        """Return the thing of a client ID: the one of the same name, if there is one."""
        with self.lock:
            backend = iot_backends[self.configuration.account_id][region]
            arn = f"arn:{backend.partition}:iot:{region}:{self.configuration.account_id}:thing/{client_id}"
            return client_id if arn in backend.things else None

    def uses_certificate(self, region: str, arn: str) -> bool:
        """Return whether a domain configuration serves a certificate."""
        configurations = iot_backends[self.configuration.account_id][region].domain_configurations.values()
        return any(
            item["serverCertificateArn"] == arn
            for configuration in configurations
            for item in configuration.server_certificates
        )

    def has_cname(self, name: str, value: str) -> bool:
        """Return whether one of the account's hosted zones has a CNAME of this value."""
        zones = route53_backends[self.configuration.account_id]["aws"].zones.values()
        return any(
            record.name == name and record.type == "CNAME" and record.records == [value]
            for zone in zones
            for record in zone.rrsets
        )

    def begin_serving(self, region: str, name: str) -> None:
        """Serve a domain configuration that was just made, once the delay is over."""
        self._configured[region, name] = time.monotonic()
        if delay := self.settings.serving_delay_seconds:
            timer = threading.Timer(delay, self.publish, [region])
            timer.daemon = True
            timer.start()

    def _is_served(self, region: str, name: str) -> bool:
        made = self._configured.get((region, name))
        return made is None or time.monotonic() >= made + self.settings.serving_delay_seconds

    def publish_all(self) -> None:
        """Update what every region serves."""
        for region in self._endpoints:
            self.publish(region)

    def publish(self, region: str) -> None:
        """Copy a region's certificates to its TLS endpoint and their policies to its broker, where it has them."""
        endpoint = self._endpoints.get(region)
        if endpoint is not None:
            with self.lock:
                endpoint.publish(self._served(region))

    def _served(self, region: str) -> Served:
        account_id = self.configuration.account_id
        iot, acm = iot_backends[account_id][region], acm_backends[account_id][region]
        certificates = {self.configuration.regions[region].ats_endpoint: self._own_certificates[region]}
        for configuration in iot.domain_configurations.values():
            if configuration.domain_configuration_status != "ENABLED":
                continue
            if not self._is_served(region, configuration.domain_configuration_name):
                # Devices that ask for the name are shown the region's own certificate.
                certificates[configuration.domain_name] = self._own_certificates[region]
                continue
            for item in configuration.server_certificates:
                bundle = acm._certificates.get(item["serverCertificateArn"])
                if bundle is not None:
                    parts = (bundle.cert, bundle.chain, bundle.key)
                    pem = "".join(part.decode().strip() + "\n" for part in parts if part.strip())
                    certificates[configuration.domain_name] = pem
        active = frozenset(item.certificate_id for item in iot.certificates.values() if item.status == "ACTIVE")
        policies = device_policies.render(f"arn:aws:iot:{region}:{account_id}:", _principals(iot))
        return Served(certificates, active, policies, broker_rates(region, self.settings.quotas))

    def _reconnect(self, connection: Connection) -> None:
        region = self.settings.reconnect.get(connection.client_id)
        if region is not None:
            self.fleet(region).table.connect(
                connection.client_id, clean_session=connection.clean_session, keep_alive=connection.keep_alive
            )

    def next_name_servers(self) -> list[str]:
        """Return the host names of four name servers that no zone has yet."""
        first, self._name_servers = self._name_servers, self._name_servers + len(DOMAINS)
        return [f"ns-{number}.awsdns-{number % 2048 + 64}.{domain}" for number, domain in enumerate(DOMAINS, first)]

    def _create_zones(self) -> None:
        backend = route53_backends[self.configuration.account_id]["aws"]
        names = [server.name for server in self.configuration.name_servers] or None
        for zone_id, zone_name in self.configuration.hosted_zones.items():
            delegation = DelegationSet("lab", names, None)
            delegation.id = ""
            zone = FakeZone(full_name(zone_name), zone_id, False, "lab", delegation_set=delegation)
            zone.rrsets = apex_records(zone_name, delegation.name_servers)
            backend.zones[zone_id] = zone
        self.zones.reset(list(self.configuration.hosted_zones.values()))


def _principals(iot: IoTBackend) -> list[Principal]:
    """Return every certificate of a region with its policies and things."""
    policies: dict[str, dict[str, Any]] = {}
    for (arn, name), (_, policy) in iot.principal_policies.items():
        policies.setdefault(arn, {})[name] = json.loads(policy.document)
    things: dict[str, dict[str, dict[str, str]]] = {}
    for (arn, name), (_, thing) in iot.principal_things.items():
        type_name = thing.thing_type.thing_type_name if thing.thing_type else None
        things.setdefault(arn, {})[name] = device_policies.thing_variables(thing.attributes, type_name)
    return [
        Principal(item.certificate_id, policies.get(item.arn, {}), things.get(item.arn, {}))
        for item in iot.certificates.values()
    ]
