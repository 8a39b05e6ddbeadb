"""Whether each part of the lab is really ready: tested as its users use it."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event

import dns.exception
import dns.message
import dns.query
import dns.rcode

from lab import api, device, supervisor, topology
from lab.errors import LabError
from lab.topology import Node

TIMEOUT = 60.0
PAUSE = 0.1
# Every part runs on this machine: an answer that does not come soon does not come at all, the next one may.
ANSWER_TIMEOUT = 0.5


@dataclass(frozen=True)
class Part:
    """One thing to wait for.

    Attributes:
        title: what is printed when it is ready.
        program: whose log says why it is not.
        missing: returns what is still missing, in words; None once ready.
    """

    title: str
    program: str
    missing: Callable[[], str | None]


def parts(state: Path) -> list[Part]:
    """Return what must be ready before the lab is up."""
    api = f"AWS API on {topology.AWS_API_URL}"
    resolver = topology.RESOLVER
    return [
        Part(api, topology.AWS_API_PROGRAM, aws_api_missing),
        *(
            Part(f"name server {node.name} on {node.address}", node.name, partial(dns_missing, node))
            for node in topology.NAME_SERVERS
        ),
        Part(f"resolver on {resolver.address}", resolver.name, partial(dns_missing, resolver)),
        *(part for node in topology.REGIONS for part in _region_parts(node, state)),
        *(
            Part(f"device {node.name} on {node.address}", node.name, partial(device_missing, node))
            for node in topology.DEVICES
        ),
    ]


def _region_parts(node: Node, state: Path) -> list[Part]:
    title = f"region {node.name} on {node.address}"
    broker = state / "regions" / node.name / "mosquitto.sock"
    return [
        Part(f"{title}: broker", f"mosquitto-{node.name}", partial(broker_missing, broker)),
        Part(f"{title}: TLS endpoint", f"haproxy-{node.name}", partial(tls_missing, node)),
    ]


def wait(state: Path, say: Callable[[str], None]) -> None:
    """Wait for all parts at once, saying each as it becomes ready.

    Raises:
        LabError: a part's program gave up, or the part is not ready after a minute.
    """
    waiting = parts(state)
    began = time.monotonic()
    over = Event()
    with ThreadPoolExecutor(max_workers=len(waiting)) as pool:
        runs = {pool.submit(_wait_for, part, state, over): part for part in waiting}
        try:
            for done in as_completed(runs):
                done.result()
                say(f"{runs[done].title}: ready after {time.monotonic() - began:.1f} s")
        finally:
            over.set()


def wait_for_program(name: str) -> None:
    """Wait for the parts that one program makes.

    Raises:
        LabError: it gave up, or is not ready after a minute.
    """
    state = topology.state_directory()
    for part in parts(state):
        if part.program == name:
            _wait_for(part, state, Event())


def _wait_for(part: Part, state: Path, over: Event) -> None:
    deadline = time.monotonic() + TIMEOUT
    log = state / "log" / f"{part.program}.log"
    while (missing := part.missing()) is not None and not over.wait(PAUSE):
        if supervisor.has_given_up(part.program):
            raise LabError(f"{part.title}: program {part.program} ends as soon as it is started: see {log}")
        if time.monotonic() > deadline:
            raise LabError(f"{part.title}: {missing}; not ready after {TIMEOUT:g} s: see {log}")


def aws_api_missing() -> str | None:
    """Return what keeps the AWS API stand-in from being ready."""
    try:
        api.ask("health")
    except LabError as error:
        return str(error)
    return None


def dns_missing(node: Node) -> str | None:
    """Return what keeps a name server or the resolver from answering for the zone."""
    query = dns.message.make_query(topology.ZONE, "SOA")
    try:
        answer = dns.query.udp(query, str(node.address), timeout=ANSWER_TIMEOUT, port=topology.DNS_PORT)
    except (OSError, dns.exception.DNSException) as error:
        return f"no answer for {topology.ZONE} SOA ({error})"
    if answer.rcode() != dns.rcode.NOERROR or not answer.answer:
        return f"answers {dns.rcode.to_text(answer.rcode())} for {topology.ZONE} SOA"
    return None


def broker_missing(path: Path) -> str | None:
    """Return what keeps a broker's socket from accepting connections."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(ANSWER_TIMEOUT)
        try:
            probe.connect(str(path))
        except OSError as error:
            return f"{path}: {error.strerror}"
    return None


def tls_missing(node: Node) -> str | None:
    """Return what keeps a region from serving the certificate of its own name."""
    root = topology.state_directory() / "aws" / "amazon-root-ca.crt"
    if not root.is_file():
        return f"{root} is not there yet, the AWS API writes it"
    try:
        context = ssl.create_default_context(cafile=str(root))
        with (
            socket.create_connection((str(node.address), topology.MQTT_PORT), timeout=ANSWER_TIMEOUT) as connection,
            context.wrap_socket(connection, server_hostname=node.dns_name),
        ):
            return None
    except OSError as error:
        return f"no TLS for {node.dns_name} on port {topology.MQTT_PORT} ({error})"


def device_missing(node: Node) -> str | None:
    """Return what keeps a device from taking an SSH login in a system that has booted and resolves names."""
    state = device.system_state(node)
    if state not in ("running", "degraded"):
        return f"systemd is {state}"
    name = str(topology.REGIONS[0].dns_name)
    try:
        device.ssh(node, "getent", "hosts", name)
    except LabError:
        return (
            f"cannot resolve {name}; where the resolver is ready, a firewall drops what {topology.BRIDGE} forwards: "
            "allow it, or set the sysctl net.bridge.bridge-nf-call-iptables to 0"
        )
    return None
