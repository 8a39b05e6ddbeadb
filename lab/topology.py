"""The lab's nodes, addresses and names: the one place that knows them.

Every node lives in a network namespace of its own, joined by a bridge whose address is the
controller's. The addresses are from the benchmarking range of RFC 2544, which is never routed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent

NETWORK = IPv4Network("198.18.83.0/24")
BRIDGE = "mqttlab0"
CONTROLLER = IPv4Address("198.18.83.1")

# What devices connect to. From the beginning ACM has a public certificate for each, as if an operator had requested it.
ENDPOINTS = ("mqtt1.example.com", "mqtt2.example.com")
ACCOUNT_ID = "123456789012"
# Credentials that the stand-in knows; playbooks have the same from inventory/lab.
ACCESS_KEY = SECRET_KEY = "lab"  # noqa: S105 - of the lab
# The AWS API stand-in is on loopback: a command that finds no lab is refused at once, and nothing leaves the machine.
AWS_API_ADDRESS = IPv4Address("127.0.0.1")
AWS_API_PORT = 4566
# An HTTP proxy beside it, for AWS's own host names.
AWS_API_PROXY_PORT = 4567
AWS_API_PROGRAM = "aws"
AWS_API_URL = f"http://{AWS_API_ADDRESS}:{AWS_API_PORT}"
HOSTED_ZONE_ID = "Z0LABEXAMPLE00000000"
ZONE = "example.com."

MQTT_PORT = 8883
ALPN_MQTT_PORT = 443
DNS_PORT = 53


@dataclass(frozen=True)
class Node:
    """One member of the lab's network.

    Attributes:
        name: also the host name of a device.
        address: its only address, on the bridge.
        dns_name: the name the resolver knows it by, where it has one.
    """

    name: str
    address: IPv4Address
    dns_name: str | None = None

    @property
    def namespace(self) -> str:
        return f"mqttlab-{self.name}"

    @property
    def interface(self) -> IPv4Interface:
        return IPv4Interface(f"{self.address}/{NETWORK.prefixlen}")


def _node(name: str, host: int, dns_name: str | None = None) -> Node:
    return Node(name, NETWORK.network_address + host, dns_name)


def _region(name: str, host: int) -> Node:
    return _node(name, host, f"a2labrehearsal-ats.iot.{name}.amazonaws.com")


NAME_SERVERS = (
    _node("ns1", 11, "ns-101.awsdns-12.com"),
    _node("ns2", 12, "ns-202.awsdns-25.net"),
)
RESOLVER = _node("resolver", 53)
REGIONS = (_region("us-east-1", 101), _region("ap-northeast-1", 102))
DEVICES = (_node("edge1", 201), _node("edge2", 202))
# Where the load generator's connections come from; a namespace and no machine.
LOAD = _node("load1", 211)

NODES = (*NAME_SERVERS, RESOLVER, *REGIONS, *DEVICES, LOAD)


def aws_environment() -> dict[str, str]:
    """What points AWS tools at the stand-in, and credentials that it knows."""
    return {
        "AWS_ENDPOINT_URL": AWS_API_URL,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_DEFAULT_REGION": REGIONS[0].name,
    }


def named_environment() -> dict[str, str]:
    """What points AWS tools to the stand-in by the host names of AWS's own endpoints, as in production."""
    credentials = {name: value for name, value in aws_environment().items() if name != "AWS_ENDPOINT_URL"}
    return {
        **credentials,
        "HTTPS_PROXY": f"http://{AWS_API_ADDRESS}:{AWS_API_PROXY_PORT}",
        "AWS_CA_BUNDLE": str(state_directory() / "aws" / "amazon-root-ca.crt"),
    }


def state_directory() -> Path:
    """Where the running lab keeps its files; `LAB_STATE_DIR` moves it."""
    return Path(os.environ.get("LAB_STATE_DIR", REPOSITORY / ".lab")).resolve()


def contract_directory() -> Path:
    """Where stand-ins note requests and answers that AWS's models do not allow; kept when the lab goes down."""
    return cache_directory() / "contract"


def cache_directory() -> Path:
    """What is kept when the lab goes down: the devices' base system."""
    return REPOSITORY / ".cache"
