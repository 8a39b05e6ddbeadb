"""How long a region that was just set up is waited for, against MQTT endpoints on loopback."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from ansible.module_utils.region_switch.checks import serving

from .conftest import REGIONS, AwsApi, validation_arn
from .modules import run_ok
from .mqtt_server import Authority, Manners, mqtt_server

REGION = REGIONS[0]
NAMES = ("mqtt1.example.com", "mqtt2.example.com")
FIRST, SECOND = NAMES


@dataclass
class Region:
    """A region whose MQTT endpoint shows one certificate after the other."""

    aws_api: AwsApi
    authority: Authority
    stack: ExitStack
    monkeypatch: pytest.MonkeyPatch

    def shows(self, name: str) -> int:
        """Let its MQTT endpoint show a certificate for a name, and return the port."""
        served = mqtt_server(self.authority.issue(name), self.authority.file, Manners())
        port, _ = self.stack.enter_context(served)
        return port

    def configure(self, name: str) -> None:
        pair = {"endpoint": name, "arn": validation_arn(REGION, name)}
        domain = {"name": name.replace(".", "-"), "domain_name": name, "server_certificate_arn": pair["arn"]}
        run_ok("iot_domain_configuration", {"region": REGION, **domain})

    def look(self, port: int, **more: Any) -> dict[str, Any]:
        return run_ok("iot_serving_info", {"region": REGION, "endpoints": [*NAMES], "mqtt_port": port, **more})


@pytest.fixture
def region(aws_api: AwsApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Region]:
    aws_api.settings(quotas={"CreateDomainConfiguration": 100})
    monkeypatch.setattr(serving, "describe_data_endpoint", lambda _: "127.0.0.1")
    with ExitStack() as stack:
        yield Region(aws_api, Authority(tmp_path), stack, monkeypatch)


def test_new_endpoint_is_pending_until_its_certificate_is_shown(region: Region) -> None:
    region.configure(FIRST)
    region.aws_api.settings(status_age_seconds=12 * 60 + 5)

    found = region.look(region.shows("*.iot.us-east-1.amazonaws.com"))

    assert found["pending"] == [FIRST]
    assert found["msg"] == (
        f"{FIRST} in {REGION}: configured 12 minutes ago, and another certificate is served "
        "(CN=*.iot.us-east-1.amazonaws.com): AWS may take 60 minutes"
    )
    served = region.look(region.shows(FIRST))
    assert (served["pending"], served["msg"], served.get("warnings")) == ([], "", None)
    assert region.look(region.shows("*.example.com"))["pending"] == []


def test_endpoint_that_was_configured_long_ago_is_not_asked_for(region: Region) -> None:
    region.configure(FIRST)
    region.aws_api.settings(status_age_seconds=4501)

    found = region.look(region.shows("elsewhere.example.com"))

    assert found["pending"] == []
    assert region.look(region.shows("elsewhere.example.com"), within=4600)["pending"] == [FIRST]


def test_endpoint_that_is_turned_off_is_not_waited_for(region: Region) -> None:
    region.configure(FIRST)
    iot = boto3.client("iot", region_name=REGION)
    iot.update_domain_configuration(domainConfigurationName="mqtt1-example-com", domainConfigurationStatus="DISABLED")

    assert region.look(region.shows("elsewhere.example.com"))["pending"] == []


def test_region_that_cannot_be_reached_is_told_and_not_waited_for(region: Region) -> None:
    region.configure(FIRST)
    region.configure(SECOND)
    port = region.shows(FIRST)
    region.stack.close()

    found = region.look(port)

    assert found["pending"] == []
    lines = [each if isinstance(each, str) else each["event"]["msg"] for each in found["warnings"]]
    assert lines == [f"{name} in {REGION}: could not be checked (Connection refused)" for name in NAMES]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "less than a minute"), (59.9, "less than a minute"), (60, "1 minute"), (3599, "59 minutes")],
)
def test_age_in_words(seconds: float, text: str) -> None:
    assert serving.since(seconds) == f"configured {text} ago"


def test_age_of_a_domain_configuration() -> None:
    changed = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
    assert serving.age({"lastStatusChangeDate": changed}, changed.timestamp() + 90) == 90
    # A clock that is behind AWS's.
    assert serving.age({"lastStatusChangeDate": changed}, changed.timestamp() - 90) == 0
    assert serving.age({}, 0.0) is None
