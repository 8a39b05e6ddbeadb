"""Fixtures of the lab tier: the lab up, set up, and its clients deployed, once per session."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from lab import monitor, topology
from lab.api import ask
from lab.drill import last_error, recap
from lab.errors import LabError
from tests import contract

REPOSITORY = topology.REPOSITORY
Found = TypeVar("Found")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test of this folder needs the lab, which needs root on Linux."""
    here = Path(__file__).parent
    able = platform.system() == "Linux" and os.geteuid() == 0
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.lab)
            if not able:
                item.add_marker(pytest.mark.skip(reason="the lab needs root on Linux"))


@dataclass(frozen=True)
class PlaybookRun:
    """What a playbook run left: exit code, whole output, and the error it named."""

    returncode: int
    output: str

    @property
    def error(self) -> str:
        return last_error(self.output)

    @property
    def recap(self) -> str:
        return recap(self.output)

    @property
    def changed(self) -> int:
        counts = [word for word in self.recap.replace(";", " ").split() if word.startswith("changed=")]
        assert counts, f"no recap, which says nothing of what changed: {self.output}"
        return sum(int(word.split("=")[1]) for word in counts)


def wait_for(what: str, probe: Callable[[], Found | None], timeout: float = 60.0) -> Found:
    """Return the first truthy answer of the probe, or fail the test naming what did not happen."""
    deadline = time.monotonic() + timeout
    while not (found := probe()):
        if time.monotonic() > deadline:
            pytest.fail(f"within {timeout:.0f} s: {what} did not happen")
        time.sleep(0.1)
    return found


def run_playbook(*arguments: str, environment: dict[str, str] | None = None) -> PlaybookRun:
    """Run ansible-playbook in the repository, as an operator does."""
    done = subprocess.run(
        [str(Path(sys.executable).parent / "ansible-playbook"), *arguments],
        cwd=REPOSITORY,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return PlaybookRun(done.returncode, done.stdout)


def failover(mode: str, *arguments: str) -> PlaybookRun:
    """Run `failover.yml -e mode=…`, which must succeed."""
    run = run_playbook("failover.yml", "-e", f"mode={mode}", *arguments)
    assert run.returncode == 0, run.error
    return run


def summary() -> dict[str, Any]:
    """The newest run's summary.json."""
    found: dict[str, Any] = json.loads((REPOSITORY / "reports" / "latest" / "summary.json").read_text())
    return found


@dataclass(frozen=True)
class StandIn:
    """The AWS API stand-in's own interface: what it was asked, and who is connected."""

    url: str

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self.url}/_lab/{path}", timeout=10) as answer:  # noqa: S310
            return json.load(answer)

    @contextmanager
    def insync_held(self) -> Iterator[None]:
        """Route 53 changes that stay PENDING until the block ends; then as the lab has them again."""
        configuration = json.loads((topology.state_directory() / "aws" / "config.json").read_text())
        self._put("settings", {"insync_delay_seconds": 3600})
        try:
            yield
        finally:
            self._put("settings", {"insync_delay_seconds": configuration["insync_delay_seconds"]})

    @contextmanager
    def allowed(self, *policies: dict[str, Any]) -> Iterator[None]:
        """Nothing but what these IAM policies allow, for whoever has the lab's access key; then everything again."""
        known = {"secret": topology.SECRET_KEY}
        self._put("settings", {"identities": {topology.ACCESS_KEY: {**known, "policies": list(policies)}}})
        try:
            yield
        finally:
            self._put("settings", {"identities": {topology.ACCESS_KEY: known}})

    def settings(self, **values: object) -> None:
        """Change settings; `lab.aws_api.stand_in.Settings` describes them."""
        self._put("settings", values)

    def _put(self, path: str, content: dict[str, Any]) -> None:
        request = urllib.request.Request(f"{self.url}/_lab/{path}", json.dumps(content).encode(), method="PUT")  # noqa: S310
        urllib.request.urlopen(request, timeout=10).close()  # noqa: S310

    def last_request(self) -> int:
        requests = self.get("requests")
        return int(requests[-1]["n"]) if requests else 0

    def writes_since(self, last: int) -> list[str]:
        """The operations that changed something, in order: a check may try one that AWS has to refuse."""
        requests = self.get(f"requests?after={last}")
        return [request["operation"] for request in requests if request["write"] and request["status"] < 400]

    def connected_regions(self, client_id: str) -> list[str]:
        """Regions whose broker says that the client is connected."""
        return sorted(
            region for region, clients in self.get("connections").items() if clients.get(client_id, {}).get("connected")
        )


def _told() -> dict[str, Any] | None:
    """What the contract check of the lab's stand-in says, None where there is no stand-in."""
    if not (topology.state_directory() / "aws" / "config.json").exists():
        return None
    try:
        told: dict[str, Any] = ask("contract")
    except LabError:
        return None
    return told


@pytest.fixture(scope="session", autouse=True)
def deviations_seen() -> dict[str, int]:
    """How many deviations of which stand-in are known: those of a lab that is up already are not the tests'."""
    told = _told()
    return {told["id"]: told["last"]} if told else {}


@pytest.fixture(autouse=True)
def kept_to_the_models(request: pytest.FixtureRequest, deviations_seen: dict[str, int]) -> Iterator[None]:
    """Fail the test where requests or answers are not as AWS's models say, but for those that it names."""
    on_purpose = contract.deviations_on_purpose(request.node)
    if on_purpose:
        request.getfixturevalue("lab")
        ask("contract", {"on_purpose": on_purpose}, "PUT")
    yield
    if (told := _told()) is not None:
        new = told["deviations"][deviations_seen.get(told["id"], 0) :]
        deviations_seen[told["id"]] = told["last"]
        contract.judge(on_purpose, new)


@pytest.fixture(scope="session")
def lab() -> Iterator[None]:
    """The lab up; taken down again where this session brought it up."""
    was_up = subprocess.run([sys.executable, "-m", "lab", "status"], cwd=REPOSITORY, capture_output=True, check=False)
    subprocess.run([sys.executable, "-m", "lab", "up"], cwd=REPOSITORY, check=True)
    yield
    if was_up.returncode:
        subprocess.run([sys.executable, "-m", "lab", "down"], cwd=REPOSITORY, check=True)


@pytest.fixture(scope="session")
def stand_in(lab: None) -> StandIn:
    return StandIn(topology.AWS_API_URL)


@pytest.fixture(scope="session")
def fleet(lab: None) -> dict[str, str]:
    """Both regions set up, clients deployed and publishing, the monitor writing its ledger.

    Returns each client's MQTT library by client ID.
    """
    for playbook in ("setup.yml", "playbooks/deploy_clients.yml"):
        run = run_playbook(playbook)
        assert run.returncode == 0, run.error
    monitor.start()
    return {"client_01": "awsiotsdk", "client_02": "paho"}


def messages_arrive_only_in(expected: dict[str, str]) -> bool:
    """Whether the messages of the last second arrived in each client's region and nowhere else."""
    arrivals = monitor.recent_arrivals(seconds=1.0)
    return {client: sorted(regions) for client, regions in arrivals.items()} == {
        client: [region] for client, region in expected.items()
    }
