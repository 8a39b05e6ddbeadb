"""The fleets that are moved: the lab's two devices or its light clients, with our client or with the article's."""

from __future__ import annotations

import shlex
import subprocess
import sys
from abc import ABC, abstractmethod
from pathlib import Path

from lab import device, monitor, network, programs, supervisor, topology
from lab.commands import run
from lab.errors import LabError
from lab.load import configuration, control

from .results import OURS

_HERE = Path(__file__).parent / "article"
_FOLDER = "/root/article"
_OURS, _ARTICLES = "mqtt-client.service", "article-client.service"
_SCRIPTS = {"awsiotsdk": "sdk_client.py", "paho": "paho_client.py"}


class Fleet(ABC):
    """Clients of one kind; of both methods only one at a time is connected."""

    interval: float

    @abstractmethod
    def endpoints(self) -> dict[str, str]:
        """Endpoint by client ID."""

    @abstractmethod
    def start(self, method: str) -> None:
        """Connect the clients of a method, and stop those of the other."""

    @abstractmethod
    def stop(self) -> None:
        """Disconnect whichever are connected."""

    @property
    def size(self) -> int:
        return len(self.endpoints())


class Devices(Fleet):
    """The lab's devices; each has a library of its own, and the article's client uses the same one."""

    interval = 0.1

    def __init__(self) -> None:
        self._devices = dict(zip(topology.DEVICES, monitor.devices(), strict=True))

    def endpoints(self) -> dict[str, str]:
        return {each.client_id: each.endpoint for each in self._devices.values()}

    def start(self, method: str) -> None:
        self.stop()
        for node, client in self._devices.items():
            if method == OURS:
                device.ssh(node, "systemctl", "start", _OURS)
            else:
                self._start_article(node, client)

    def _start_article(self, node: topology.Node, client: monitor.Device) -> None:
        script = _SCRIPTS[client.library]
        device.ssh(node, "mkdir", "-p", _FOLDER)
        for name in ("publisher.py", script):
            run(device.ssh_command(node, f"cat > {_FOLDER}/{name}"), text=(_HERE / name).read_text(encoding="utf-8"))
        # With the interpreter, hence the library, that ours was deployed with.
        started = device.ssh(node, f"systemctl show --property=ExecStart --value {_OURS}")
        interpreter = next(word for word in started.split() if word.startswith("path=")).removeprefix("path=")
        command = [interpreter, f"{_FOLDER}/{script}", client.endpoint, client.client_id, "/etc/mqtt-client"]
        command += [f"{_FOLDER}/numbers", str(self.interval)]
        unit = ["systemd-run", "--quiet", "--collect", f"--unit={_ARTICLES}", "--property=Restart=always"]
        device.ssh(node, shlex.join([*unit, "--property=RestartSec=1", *command]))

    def stop(self) -> None:
        for node in self._devices:
            device.ssh(node, f"systemctl stop {_OURS} {_ARTICLES} 2>/dev/null; rm -rf {_FOLDER}")


class LightClients(Fleet):
    """Light clients in one process on the lab's load node."""

    def __init__(self, clients: int, interval: float) -> None:
        self._clients = clients
        self.interval = interval
        self._article: subprocess.Popen[bytes] | None = None
        self._registered = False

    def endpoints(self) -> dict[str, str]:
        return {configuration.client_id(each): configuration.endpoint(each) for each in range(1, self._clients + 1)}

    def start(self, method: str) -> None:
        self._end()
        if method == OURS or not self._registered:
            # Beside connecting them, it makes them known to the account.
            control.start(self._clients, self.interval, _say_nothing)
            self._registered = True
        if method == OURS:
            return
        supervisor.stop_program(programs.LOAD)
        command = [sys.executable, "-m", "tests.bench.article.light", "--clients", str(self._clients)]
        command += ["--interval", str(self.interval)]
        log = topology.state_directory() / "log" / "article-light.log"
        with log.open("wb") as stream:
            self._article = subprocess.Popen(
                network.in_namespace(topology.LOAD, command), cwd=topology.REPOSITORY, stdout=stream, stderr=stream
            )

    def stop(self) -> None:
        self._end()
        control.stop(_say_nothing)

    def _end(self) -> None:
        supervisor.stop_program(programs.LOAD)
        if self._article:
            if self._article.poll() is not None:
                raise LabError("the article's light clients ended by themselves: see article-light.log in .lab/log")
            self._article.terminate()
            self._article.wait()
            self._article = None


def _say_nothing(_: str) -> None:
    """What the load says is not the bench's."""
