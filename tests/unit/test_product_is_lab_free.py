"""The product knows nothing of the lab: without the lab's environment, its calls go to AWS."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lab import topology
from region_switch.aws.clients import AwsClient

REPOSITORY = Path(__file__).parent.parent.parent
PRODUCT = ("module_utils", "library", "clients", "roles", "playbooks", "plugins", "setup.yml", "failover.yml")

# A word of its own: "label", "available" and "syllable" are none.
WORDS = r"\b(lab|labs|mqttlab\w*|moto|localstack|stand-in|rehears\w+|LAB_\w+|lab_\w+)\b"
ADDRESSES = re.escape(str(topology.NETWORK.network_address)[:7]) + rf"|\b{topology.AWS_API_PORT}\b"
NAMES = "|".join(
    re.escape(name)
    for name in (
        topology.HOSTED_ZONE_ID,
        *(node.dns_name for node in (*topology.REGIONS, *topology.NAME_SERVERS) if node.dns_name),
    )
)
LAB = re.compile(f"{WORDS}|{ADDRESSES}|{NAMES}", re.IGNORECASE)

AWS_ENDPOINTS = {
    ("iot", "us-east-1"): "https://iot.us-east-1.amazonaws.com",
    ("iot", "ap-northeast-1"): "https://iot.ap-northeast-1.amazonaws.com",
    ("iot-data", "ap-northeast-1"): "https://data-ats.iot.ap-northeast-1.amazonaws.com",
    ("route53", "us-east-1"): "https://route53.amazonaws.com",
}


def product_files() -> list[Path]:
    found: list[Path] = []
    for name in PRODUCT:
        path = REPOSITORY / name
        found += [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return [path for path in found if "__pycache__" not in path.parts]


@pytest.mark.parametrize("path", product_files(), ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_file_does_not_mention_the_lab(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()

    assert [f"{number}: {line}" for number, line in enumerate(lines, 1) if LAB.search(line)] == []


@pytest.mark.parametrize("text", ["the lab is up", "198.18.83.4", "http://127.0.0.1:4566", "LAB_STATE_DIR", "mqttlab0"])
def test_mention_is_found(text: str) -> None:
    assert LAB.search(text)


@pytest.mark.parametrize("text", ["label: x", "available", "collaborate", "elaborate"])
def test_other_words_are_none(text: str) -> None:
    assert not LAB.search(text)


@pytest.fixture
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As on a controller that has credentials and nothing else set."""
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_IOT", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")


@pytest.mark.parametrize(("service", "region"), AWS_ENDPOINTS)
def test_calls_go_to_aws_where_no_endpoint_is_set(no_settings: None, service: str, region: str) -> None:
    client = AwsClient(service, region)

    assert client._client.meta.endpoint_url == AWS_ENDPOINTS[service, region]


def test_calls_go_to_the_endpoint_of_the_environment(no_settings: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://192.0.2.1:5000")

    assert AwsClient("iot", "us-east-1")._client.meta.endpoint_url == "http://192.0.2.1:5000"
