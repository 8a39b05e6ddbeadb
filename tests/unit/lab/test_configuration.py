"""What the lab's programs are told; that they take it is proven by the lab being up."""

from __future__ import annotations

import json
from pathlib import Path

import jinja2
import pytest

from lab import configuration, topology


@pytest.fixture
def state(tmp_path: Path) -> Path:
    configuration.write_all(tmp_path)
    return tmp_path


def test_only_the_stand_in_may_change_the_zone(state: Path) -> None:
    knot = (state / "dns" / "ns1" / "knot.conf").read_text(encoding="utf-8")
    lines = [line.strip() for line in knot.splitlines()]
    assert [line for line in lines if line.startswith("address:")] == ["address: 198.18.83.1"]


def test_clamping_the_ttl_ends_the_asking_every_time(tmp_path: Path) -> None:
    obeying = configuration.resolver_files(tmp_path)[0].content
    clamping = configuration.resolver_files(tmp_path, minimum_ttl=30)[0].content
    assert "cache-min-ttl: 0\n" in obeying
    assert "stub-no-cache: yes" in obeying
    assert "cache-min-ttl: 30\n" in clamping
    assert "stub-no-cache" not in clamping


def test_every_fixed_name_is_in_the_resolvers_root(tmp_path: Path) -> None:
    root = configuration.resolver_files(tmp_path)[1].content
    for node in (*topology.REGIONS, *topology.NAME_SERVERS):
        assert f"{node.dns_name}. A {node.address}\n" in root


def test_the_stand_in_is_told_of_every_region_and_name_server(state: Path) -> None:
    content = json.loads((state / "aws" / "config.json").read_text(encoding="utf-8"))
    assert set(content["regions"]) == {"us-east-1", "ap-northeast-1"}
    assert content["regions"]["us-east-1"] == {
        "ats_endpoint": "a2labrehearsal-ats.iot.us-east-1.amazonaws.com",
        "directory": str(state / "regions" / "us-east-1"),
    }
    assert [server["name"] for server in content["name_servers"]] == [
        "ns-101.awsdns-12.com",
        "ns-202.awsdns-25.net",
    ]
    assert content["hosted_zones"] == {topology.HOSTED_ZONE_ID: "example.com."}


def test_what_programs_change_themselves_is_not_written_over(state: Path) -> None:
    admitted = state / "regions" / "us-east-1" / "active_certificates.txt"
    admitted.write_text("ab" * 32 + "\n", encoding="ascii")
    issuer = (state / "regions" / "us-east-1" / "no-issuer.crt").read_bytes()
    configuration.write_all(state)
    assert admitted.read_text(encoding="ascii") == "ab" * 32 + "\n"
    assert (state / "regions" / "us-east-1" / "no-issuer.crt").read_bytes() == issuer


def test_the_directory_of_private_keys_is_closed_to_others(state: Path) -> None:
    assert (state / "regions" / "us-east-1" / "certs").stat().st_mode & 0o777 == 0o700


def test_a_value_that_a_template_misses_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError):
        configuration.render("mosquitto.conf.j2", region="us-east-1")
