"""The AWS API stand-in, alone on a loopback port, for tests of modules through boto3."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import boto3
import pytest
from ansible.module_utils.region_switch.move import clients
from ansible.module_utils.region_switch.report import figures, pictures

from lab import topology
from lab.aws_api.acm import public_arn
from tests import contract

REPOSITORY = Path(__file__).resolve().parents[2]
ACCOUNT_ID = "123456789012"
HOSTED_ZONE_ID = "Z0LABEXAMPLE00000000"
REGIONS = ("us-east-1", "ap-northeast-1")
# Names that ACM has a public certificate for, in each region.
PUBLIC_NAMES = tuple(f"mqtt{number}.example.com" for number in range(1, 4))
ACCESS_KEY, SECRET_KEY = "AKIAIOSFODNN7EXAMPLE", "not-a-secret"
# Who may call: the one of most tests, and the lab's.
IDENTITIES = {ACCESS_KEY: {"secret": SECRET_KEY}, "lab": {"secret": "lab"}}
NAME_SERVERS = ("ns-101.awsdns-12.com", "ns-202.awsdns-25.net")
START_TIMEOUT = 60


@dataclass(frozen=True)
class AwsApi:
    """The stand-in's control: what AWS has no call for.

    Attributes:
        names: what leads a program to it by the names of AWS's own endpoints, as variables of the environment.
    """

    url: str
    names: dict[str, str] = field(default_factory=dict)
    hosted_zone_id: str = HOSTED_ZONE_ID
    account_id: str = ACCOUNT_ID
    regions: tuple[str, ...] = REGIONS
    name_servers: tuple[str, ...] = NAME_SERVERS

    def call(self, method: str, path: str, content: object = None) -> Any:
        """Make a control request under /_lab/ and return its answer."""
        data = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(f"{self.url}/_lab/{path}", data, method=method)  # noqa: S310 - loopback
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(request, timeout=10) as answer:
            return json.load(answer)

    def contract(self, after: int = 0) -> dict[str, Any]:
        """Return what the contract check counted, and the deviations later than the n-th."""
        told: dict[str, Any] = self.call("GET", f"contract?after={after}")
        return told

    def reset(self) -> None:
        """Forget everything."""
        self.call("POST", "reset")

    def connect(self, region: str, client_id: str, **details: object) -> None:
        """Let a client be connected."""
        self.call("PUT", f"connections/{region}/{quote(client_id, safe='')}", {"connected": True, **details})

    def disconnect(self, region: str, client_id: str, reason: str = "CONNECTION_LOST") -> None:
        """Let a client have lost its connection."""
        content = {"connected": False, "disconnect_reason": reason}
        self.call("PUT", f"connections/{region}/{quote(client_id, safe='')}", content)

    def reconnect(self, regions: dict[str, str]) -> None:
        """Let clients, once deleted, appear connected in these regions."""
        self.call("PUT", "settings", {"reconnect": regions})

    def settings(self, **values: object) -> None:
        self.call("PUT", "settings", values)

    def faults(self, *faults: dict[str, object]) -> None:
        """Put these faults in force and no others."""
        self.call("PUT", "faults", list(faults))

    def connections(self) -> dict[str, dict[str, Any]]:
        connections: dict[str, dict[str, Any]] = self.call("GET", "connections")
        return connections

    def connected(self, region: str) -> set[str]:
        """Return the client IDs that are connected in a region."""
        return {name for name, item in self.connections()[region].items() if item["connected"]}

    def requests(self, after: int = 0) -> list[dict[str, Any]]:
        requests: list[dict[str, Any]] = self.call("GET", f"requests?after={after}")
        return requests

    def operations(self, after: int = 0) -> list[str]:
        """Return the operations that were called, in order."""
        return [request["operation"] for request in self.requests(after)]

    def writes(self, after: int = 0) -> list[str]:
        """Return the operations that changed something, in order: a check may try one that AWS has to refuse."""
        return [each["operation"] for each in self.requests(after) if each["write"] and each["status"] < 400]


def _forget_credentials() -> None:
    """Have the next call look for credentials, also that of the engine under the name that the lab imports it by."""
    for name in ("ansible.module_utils.region_switch.aws.clients", "region_switch.aws.clients"):
        if module := sys.modules.get(name):
            module._session.cache_clear()


def validation_arn(region: str, name: str) -> str:
    """The public certificate with which AWS IoT validates a name of PUBLIC_NAMES."""
    return public_arn(ACCOUNT_ID, region, name)


def _configuration(directory: Path, port: int, proxy_port: int) -> dict[str, object]:
    return {
        "listen": {"address": "127.0.0.1", "port": port, "proxy_port": proxy_port},
        "account_id": ACCOUNT_ID,
        "state_dir": str(directory),
        "contract_dir": str(topology.contract_directory()),
        "identities": IDENTITIES,
        "regions": {region: {"ats_endpoint": f"a2labrehearsal-ats.iot.{region}.amazonaws.com"} for region in REGIONS},
        "hosted_zones": {HOSTED_ZONE_ID: "example.com."},
        "name_servers": [{"name": name} for name in NAME_SERVERS],
        "insync_delay_seconds": 0.0,
        "public_certificates": PUBLIC_NAMES,
        # Tests call faster than an account may; one of them is about the quotas.
        "every_quota": False,
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait(api: AwsApi, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        try:
            api.call("GET", "health")
            return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            assert process.poll() is None, f"the stand-in ended: {log.read_text()}"
            assert time.monotonic() < deadline, f"the stand-in does not answer: {log.read_text()}"
            time.sleep(0.05)


@pytest.fixture(autouse=True)
def no_pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let reports have no pictures, which take a second each, but where a test asks for `pictures`."""
    if "pictures" not in request.fixturenames:
        monkeypatch.setattr(pictures, "draw", lambda *_: (figures.Charts(), []))


@pytest.fixture(autouse=True)
def no_second_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a move read the index once more without a wait: nobody comes to the old region meanwhile but where a test
    lets somebody."""
    monkeypatch.setattr(clients, "READ_AGAIN_SECONDS", 0.0)


@pytest.fixture(scope="session")
def aws_api_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AwsApi]:
    """Run the stand-in for the whole session."""
    directory = tmp_path_factory.mktemp("aws_api")
    port, proxy_port = _free_port(), _free_port()
    configuration, log = directory / "config.json", directory / "log"
    configuration.write_text(json.dumps(_configuration(directory, port, proxy_port)))
    command = [sys.executable, "-m", "lab.aws_api", "--config", str(configuration)]
    with log.open("wb") as stream:
        process = subprocess.Popen(command, cwd=REPOSITORY, stdout=stream, stderr=subprocess.STDOUT)
    ca = str(directory / "amazon-root-ca.crt")
    names = {"HTTPS_PROXY": f"http://127.0.0.1:{proxy_port}", "AWS_CA_BUNDLE": ca}
    api = AwsApi(f"http://127.0.0.1:{port}", names)
    try:
        _wait(api, process, log)
        yield api
    finally:
        process.terminate()
        process.wait(timeout=10)


@pytest.fixture
def aws_api(
    aws_api_process: AwsApi, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[AwsApi]:
    """Give the stand-in as if just started, and point boto3 at it.

    The test fails where requests or answers are not as AWS's models say, but for those that it names with
    `pytest.mark.deviates("Operation member", …)`, which it has to come to.
    """
    aws_api_process.reset()
    on_purpose = contract.deviations_on_purpose(request.node)
    before = aws_api_process.call("PUT", "contract", {"on_purpose": on_purpose})["last"]
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws_api_process.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    # Each keeps the credentials that it has found.
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    _forget_credentials()
    yield aws_api_process
    _forget_credentials()
    contract.judge(on_purpose, aws_api_process.contract(before)["deviations"])
