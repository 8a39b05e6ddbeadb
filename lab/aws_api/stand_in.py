"""The state of the stand-in beside moto's, and what ties its parts together."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from typing import Any

from moto.acm.models import acm_backends
from moto.core.base_backend import BackendDict
from moto.core.config import default_user_config
from moto.iot.models import FakeCertificate, iot_backends
from moto.route53.models import DelegationSet, FakeZone, route53_backends

from lab.aws_api import admission
from lab.aws_api.config import Configuration, Region
from lab.aws_api.connections import Connection
from lab.aws_api.faults import Faults
from lab.aws_api.fleet import Fleet
from lab.aws_api.haproxy import Endpoint, Served
from lab.aws_api.name_servers import Zones
from lab.aws_api.pki import Authority
from lab.aws_api.quotas import Quotas
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
            goes on to tell.
        reconnect: where a deleted client appears again.
    """

    insync_delay_seconds: float
    insync_ignores: list[str] = field(default_factory=list)
    invalid_change_batch: str = "ErrorResponse"
    change_guardrails: list[str] = field(default_factory=list)
    one_change_at_a_time: bool = False
    index_lag_seconds: float = 0.0
    index_building_seconds: float = 0.0
    quotas: dict[str, float] = field(default_factory=dict)
    reconnect: dict[str, str] = field(default_factory=dict)


class StandIn:
    """One account's AWS as far as the lab plays it. `lock` guards moto, which is not safe for threads."""

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        # moto counts the PEM's digest otherwise; AWS's certificateId is the DER's.
        default_user_config["iot"] = {"use_valid_cert": True}
        self.lock = threading.RLock()
        self.authority = Authority.in_directory(configuration.state_directory)
        self.log = RequestLog(configuration.state_directory / "requests.jsonl")
        self.quotas = Quotas()
        self.faults = Faults()
        self.zones = Zones(configuration.name_servers)
        self.settings = Settings(configuration.insync_delay_seconds)
        regions = configuration.regions.values()
        self._fleets = {region.name: Fleet(region, self._reconnect) for region in regions}
        self._endpoints = {region.name: Endpoint(region.directory) for region in regions if region.directory}
        self._own_certificates = {
            name: self.authority.server(configuration.regions[name].ats_endpoint) for name in self._endpoints
        }
        self._domain_details: dict[str, dict[str, dict[str, Any]]] = {}
        self._name_servers = FIRST_NAME_SERVER
        # Of Route 53's records, by hosted zone.
        self.protections: dict[str, Protections] = {}
        # The last change of each hosted zone.
        self.last_changes: dict[str, Change] = {}
        # When the configuration of a region's index was changed last, by a monotonic clock.
        self.indexed_anew: dict[str, float] = {}
        self.reset()

    def start(self) -> None:
        """Begin to follow the brokers."""
        for fleet in self._fleets.values():
            fleet.start()

    def reset(self) -> None:
        """Forget everything but who is connected to a real broker."""
        with self.lock:
            BackendDict.reset()
            self._domain_details.clear()
            self._name_servers = FIRST_NAME_SERVER
            self.protections.clear()
            self.last_changes.clear()
            self.indexed_anew.clear()
            self.settings = Settings(self.configuration.insync_delay_seconds)
            self.faults.replace([])
            self.quotas.reset()
            self.log.reset()
            for server in self.configuration.name_servers:
                if server.address:
                    self.zones.set_lag(server.name, server.lag_seconds)
            for fleet in self._fleets.values():
                if fleet.broker is None:
                    fleet.table.clear()
            self._create_zones()
            for region in self._endpoints:
                self.publish(region)

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
        """Say whether a domain configuration serves a certificate."""
        configurations = iot_backends[self.configuration.account_id][region].domain_configurations.values()
        return any(
            item["serverCertificateArn"] == arn
            for configuration in configurations
            for item in configuration.server_certificates
        )

    def publish(self, region: str) -> None:
        """Bring a region's certificates to its TLS endpoint, where it has one."""
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
            for item in configuration.server_certificates:
                bundle = acm._certificates.get(item["serverCertificateArn"])
                if bundle is not None:
                    parts = (bundle.cert, bundle.chain, bundle.key)
                    pem = "".join(part.decode().strip() + "\n" for part in parts if part.strip())
                    certificates[configuration.domain_name] = pem
        admitted = frozenset(item.certificate_id for item in iot.certificates.values() if self._admits(region, item))
        return Served(certificates, admitted)

    def _admits(self, region: str, certificate: FakeCertificate) -> bool:
        iot = iot_backends[self.configuration.account_id][region]
        policies = iot.list_attached_policies(certificate.arn)
        clients = f"arn:aws:iot:{region}:{self.configuration.account_id}:client/"
        things = iot.list_principal_things(certificate.arn)
        documents = [json.loads(policy.document) for policy in policies]
        return certificate.status == "ACTIVE" and admission.may_connect(documents, clients, things)

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
