"""The configuration files of the lab's programs, rendered from the topology."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from lab import files, mosquitto_plugin, topology
from lab.aws_api import pki
from lab.topology import Node

# How long after a change each name server has it, and Route 53 calls it INSYNC; seconds.
NAME_SERVER_LAGS = (0.1, 0.4)
INSYNC_DELAY = 0.45

CONNECT_LUA = topology.REPOSITORY / "lab" / "haproxy" / "connect.lua"

MONITOR_CLIENT_ID = "fleet-monitor"


@dataclass(frozen=True)
class File:
    """A file that a program reads: where, and what."""

    path: Path
    content: str


def render(template: str, **values: object) -> str:
    """Render one of the lab's templates; a value that is missing is an error, not an empty string."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - configuration files, not HTML
    )
    return environment.get_template(template).render(**values)


def name_server_files(node: Node, state: Path) -> list[File]:
    """Return Knot DNS's configuration and the zone as it is before any update."""
    directory = state / "dns" / node.name
    common = {"zone": topology.ZONE, "name_servers": topology.NAME_SERVERS}
    knot = render(
        "knot.conf.j2",
        directory=directory,
        dns_name=node.dns_name,
        address=node.address,
        port=topology.DNS_PORT,
        updates_from=topology.CONTROLLER,
        **common,
    )
    zone = directory / f"{topology.ZONE.rstrip('.')}.zone"
    return [File(directory / "knot.conf", knot), File(zone, render("zone.j2", **common))]


def resolver_files(state: Path, minimum_ttl: int = 0) -> list[File]:
    """Return Unbound's configuration and the root zone that holds the fixed names.

    Args:
        state: the lab's state directory.
        minimum_ttl: seconds that every answer is kept at least; 0 obeys each record's TTL.
    """
    directory = state / "dns" / topology.RESOLVER.name
    unbound = render(
        "unbound.conf.j2",
        directory=directory,
        address=topology.RESOLVER.address,
        port=topology.DNS_PORT,
        network=topology.NETWORK,
        minimum_ttl=minimum_ttl,
        zone=topology.ZONE,
        name_servers=topology.NAME_SERVERS,
    )
    root = render(
        "root.zone.j2",
        resolver_address=topology.RESOLVER.address,
        named_nodes=[node for node in topology.NODES if node.dns_name],
    )
    return [File(directory / "unbound.conf", unbound), File(directory / "root.zone", root)]


def haproxy_file(node: Node, state: Path) -> File:
    """Return the configuration of a region's TLS endpoint: 8883 plain, 443 for MQTT by ALPN only."""
    directory = state / "regions" / node.name
    frontends = [("mqtt", topology.MQTT_PORT, ""), ("mqtt_alpn", topology.ALPN_MQTT_PORT, "x-amzn-mqtt-ca")]
    values = {"region": node.name, "directory": directory, "address": node.address, "lua": CONNECT_LUA}
    content = render("haproxy.cfg.j2", frontends=frontends, **values)
    return File(directory / "haproxy.cfg", content)


def plugin_path(state: Path) -> Path:
    """Return where the brokers' plugin is."""
    return state / "regions" / mosquitto_plugin.NAME


def mosquitto_file(node: Node, state: Path) -> File:
    """Return the configuration of a region's broker."""
    directory = state / "regions" / node.name
    plugin = plugin_path(state)
    content = render("mosquitto.conf.j2", region=node.name, directory=directory, plugin=plugin)
    return File(directory / "mosquitto.conf", content)


def aws_api_file(state: Path) -> File:
    """Return what the AWS API stand-in needs to know of the lab."""
    servers = zip(topology.NAME_SERVERS, NAME_SERVER_LAGS, strict=True)
    regions = {
        node.name: {"ats_endpoint": node.dns_name, "directory": str(state / "regions" / node.name)}
        for node in topology.REGIONS
    }
    content: dict[str, Any] = {
        "listen": {
            "address": str(topology.AWS_API_ADDRESS),
            "port": topology.AWS_API_PORT,
            "proxy_port": topology.AWS_API_PROXY_PORT,
        },
        "account_id": topology.ACCOUNT_ID,
        "state_dir": str(state / "aws"),
        "contract_dir": str(topology.contract_directory()),
        "regions": regions,
        "identities": {topology.ACCESS_KEY: {"secret": topology.SECRET_KEY}},
        "hosted_zones": {topology.HOSTED_ZONE_ID: topology.ZONE},
        "name_servers": [
            {
                "name": node.dns_name,
                "address": str(node.address),
                "port": topology.DNS_PORT,
                "lag_seconds": lag,
            }
            for node, lag in servers
        ],
        "insync_delay_seconds": INSYNC_DELAY,
        "public_certificates": topology.ENDPOINTS,
    }
    return File(state / "aws" / "config.json", json.dumps(content, indent=2) + "\n")


def monitor_file(state: Path) -> File:
    """Return the configuration of the client that keeps the ledger of what arrives where."""
    certificates = topology.REPOSITORY / "certs" / "clients"
    regions = {node.name: {"host": node.dns_name, "port": topology.MQTT_PORT} for node in topology.REGIONS}
    content = {
        "ledger": str(state / "ledger.sqlite"),
        "client_id": MONITOR_CLIENT_ID,
        "certificate": str(certificates / f"{MONITOR_CLIENT_ID}.crt"),
        "private_key": str(certificates / f"{MONITOR_CLIENT_ID}.key"),
        "ca": str(state / "aws" / "amazon-root-ca.crt"),
        "resolvers": [str(topology.RESOLVER.address)],
        "regions": regions,
    }
    return File(state / "monitor.json", json.dumps(content, indent=2) + "\n")


def write_all(state: Path) -> None:
    """Write every configuration file that differs, and what the programs themselves change only if absent."""
    rendered = [aws_api_file(state), monitor_file(state), *resolver_files(state)]
    for node in topology.NAME_SERVERS:
        rendered += name_server_files(node, state)
    for node in topology.REGIONS:
        rendered += [haproxy_file(node, state), mosquitto_file(node, state)]
    for file in rendered:
        files.write(file.path, file.content)
    mosquitto_plugin.build(plugin_path(state))
    for node in topology.REGIONS:
        prepare_region(state / "regions" / node.name)


def prepare_region(directory: Path) -> None:
    """Make what a region's programs read and do not write themselves, where it is absent."""
    (directory / "certs").mkdir(mode=0o700, exist_ok=True)
    for name in ("crt-list.txt", "active_certificates.txt", "policies.txt", "quotas.txt"):
        (directory / name).touch()
    issuer = directory / "no-issuer.crt"
    if not issuer.exists():
        files.write(issuer, _unused_issuer())


def _unused_issuer() -> bytes:
    """Return a CA certificate that signs nothing: HAProxy wants one before it asks for client certificates."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = pki.ca_builder(key.public_key(), {NameOID.COMMON_NAME: "issues nothing"}, path_length=0)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
