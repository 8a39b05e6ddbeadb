"""The programs of the lab, as supervisord is to run them."""

from __future__ import annotations

import hashlib
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lab import network, topology
from lab.configuration import CONNECT_LUA, File, plugin_path, render
from lab.topology import Node

# The most that a container's processes are commonly allowed; a connection takes two in HAProxy.
OPEN_FILES = 20_000

MONITOR = "monitor"
LOAD = "load"


@dataclass(frozen=True)
class Program:
    """One program of the lab.

    Attributes:
        name: as supervisorctl shows it.
        command: the whole command line.
        inputs: files whose change restarts it.
        environment: added to the supervisor's.
        autostart: whether it belongs to a lab that is up.
        node: where it runs; None for the controller's own network.
    """

    name: str
    command: Sequence[str]
    inputs: Sequence[Path] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    autostart: bool = True
    node: Node | None = None

    @property
    def command_line(self) -> str:
        return shlex.join(self.command).replace("%", "%%")

    @property
    def environment_line(self) -> str:
        """The environment as supervisord reads it; the digest makes it notice changed inputs."""
        values = {**self.environment, "CONFIGURATION_DIGEST": digest(self.inputs)}
        return ",".join(f'{name}="{value}"'.replace("%", "%%") for name, value in values.items())


def digest(paths: Iterable[Path]) -> str:
    """Return a short digest of files' names and contents; absent ones count by name."""
    total = hashlib.sha256()
    for path in sorted(paths):
        total.update(str(path).encode() + b"\0")
        total.update(path.read_bytes() if path.is_file() else b"")
    return total.hexdigest()[:16]


def unbound_binary(state: Path) -> Path:
    """Where Unbound is run from: distributions confine it by path to files under /etc/unbound."""
    return state / "bin" / "unbound"


def all_programs(state: Path) -> list[Program]:
    """Return every program of the lab, in the order they are shown."""
    return [
        _aws_api(state),
        *(_name_server(node, state) for node in topology.NAME_SERVERS),
        _resolver(state),
        *(program for node in topology.REGIONS for program in _region(node, state)),
        *(_device(node) for node in topology.DEVICES),
        _monitor(state),
        _load(state),
    ]


def supervisord_file(state: Path) -> File:
    """Return the supervisor's configuration."""
    content = render(
        "supervisord.conf.j2",
        directory=state,
        repository=topology.REPOSITORY,
        open_files=OPEN_FILES,
        programs=all_programs(state),
    )
    return File(state / "supervisord.conf", content)


def _aws_api(state: Path) -> Program:
    configuration = state / "aws" / "config.json"
    command = [sys.executable, "-m", "lab.aws_api", "--config", str(configuration)]
    sources = sorted((topology.REPOSITORY / "lab" / "aws_api").glob("*.py"))
    return Program(topology.AWS_API_PROGRAM, command, inputs=[configuration, *sources])


def _name_server(node: Node, state: Path) -> Program:
    directory = state / "dns" / node.name
    configuration = directory / "knot.conf"
    return Program(
        node.name,
        network.in_namespace(node, ["knotd", "-c", str(configuration)]),
        inputs=[configuration, *directory.glob("*.zone")],
        node=node,
    )


def _resolver(state: Path) -> Program:
    directory = state / "dns" / topology.RESOLVER.name
    configuration = directory / "unbound.conf"
    command = [str(unbound_binary(state)), "-d", "-p", "-c", str(configuration)]
    return Program(
        topology.RESOLVER.name,
        network.in_namespace(topology.RESOLVER, command),
        inputs=[configuration, directory / "root.zone"],
        node=topology.RESOLVER,
    )


def _region(node: Node, state: Path) -> list[Program]:
    directory = state / "regions" / node.name
    mosquitto = directory / "mosquitto.conf"
    haproxy = directory / "haproxy.cfg"
    return [
        Program(
            f"mosquitto-{node.name}",
            network.in_namespace(node, ["mosquitto", "-c", str(mosquitto)]),
            inputs=[mosquitto, plugin_path(state)],
            node=node,
        ),
        Program(
            f"haproxy-{node.name}",
            network.in_namespace(node, ["haproxy", "-db", "-f", str(haproxy)]),
            inputs=[haproxy, CONNECT_LUA],
            node=node,
        ),
    ]


def _device(node: Node) -> Program:
    return Program(node.name, [sys.executable, "-m", "lab.boot", node.name], node=node)


def _monitor(state: Path) -> Program:
    configuration = state / "monitor.json"
    sources = sorted((topology.REPOSITORY / "clients").glob("*/*.py"))
    return Program(
        MONITOR,
        [sys.executable, "-m", "mqtt_monitor.monitor", "--config", str(configuration)],
        inputs=[configuration, *sources],
        environment={"PYTHONPATH": str(topology.REPOSITORY / "clients")},
        autostart=False,
    )


def _load(state: Path) -> Program:
    sources = sorted((topology.REPOSITORY / "lab" / "load").glob("*.py"))
    command = [sys.executable, "-m", "lab.load", "--config", str(state / "load" / "load.json")]
    return Program(
        LOAD,
        network.in_namespace(topology.LOAD, command),
        inputs=sources,
        environment={"PYTHONPATH": f"{topology.REPOSITORY}:{topology.REPOSITORY / 'clients'}"},
        autostart=False,
        node=topology.LOAD,
    )
