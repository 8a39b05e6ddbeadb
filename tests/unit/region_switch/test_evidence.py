"""`moved` needs clients that were found."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible.module_utils.region_switch.fleet.roster import Roster
from ansible.module_utils.region_switch.fleet.source import Connection
from ansible.module_utils.region_switch.model import evidence
from ansible.module_utils.region_switch.model.cname import Record
from ansible.module_utils.region_switch.model.evidence import Evidence
from ansible.module_utils.region_switch.model.names import region_of
from ansible.module_utils.region_switch.model.plan import Move, build_moves
from ansible.module_utils.region_switch.move.survey import _endpoints

from .fakes import aws_error

OLD, NEW = "us-east-1", "ap-northeast-1"
ONE, TWO = "mqtt1.example.com", "mqtt2.example.com"
BOTH = [Move(ONE, OLD, NEW), Move(TWO, OLD, NEW)]
SECOND = [Move(ONE, OLD, OLD), Move(TWO, OLD, NEW)]
NOTHING = [Move(ONE, NEW, NEW), Move(TWO, NEW, NEW)]
LISTED = Evidence(listed=2, absent=2, names=["a", "b"])


@pytest.mark.parametrize(
    ("known", "moves", "found", "unmapped", "said"),
    [
        (LISTED, BOTH, {}, 0, f"{ONE}, {TWO}): found none of the 2 clients of the list connected (a, b), expected"),
        (LISTED, NOTHING, {}, 0, "found none of the 2 clients"),
        (Evidence(listed=9, absent=9, names=["a"]), BOTH, {}, 0, "(a, …)"),
        (
            Evidence(listed=2),
            BOTH,
            {},
            2,
            "no client, and 2 connected clients naming none of the endpoints, expected",
        ),
        (Evidence(), BOTH, {}, 5, "5 connected clients naming none of the endpoints"),
        (Evidence(), NOTHING, {}, 5, "set mqtt_endpoint of their things"),
        (Evidence(), SECOND, {ONE: 7}, 1, f"({TWO}): found no client, and 1 connected client naming none"),
        (Evidence(listed=7), SECOND, {ONE: 7}, 0, f"({TWO}): found none of the 7 clients of the list connected, exp"),
    ],
)
def test_nobody_to_be_proven_speaks_against_a_move(
    known: Evidence, moves: list[Move], found: dict[str, int], unmapped: int, said: str
) -> None:
    (finding,) = evidence.findings(known, moves, found, unmapped, "mqtt_endpoint")

    assert finding.blocking
    assert said in finding.line()
    assert "failover_waive: [no_clients]" in finding.line()


def test_an_endpoint_without_clients_beside_one_that_has_some_is_told() -> None:
    (finding,) = evidence.findings(Evidence(), BOTH, {ONE: 3}, 1, "mqtt_endpoint")

    assert not finding.blocking
    assert finding.endpoint == TWO


@pytest.mark.parametrize(
    ("known", "moves", "found", "unmapped"),
    [
        (Evidence(), BOTH, {}, 0),
        (Evidence(), BOTH, {ONE: 1, TWO: 1}, 5),
        (Evidence(), SECOND, {TWO: 1}, 5),
        (LISTED, NOTHING, {ONE: 1, TWO: 1}, 0),
        # Nobody can be found in a region that is not asked: the records have to move all the same.
        (Evidence(known={ONE: 0, TWO: 0}), BOTH, {}, 5),
    ],
)
def test_an_empty_fleet_and_a_dead_region_do_not(
    known: Evidence, moves: list[Move], found: dict[str, int], unmapped: int
) -> None:
    assert evidence.findings(known, moves, found, unmapped, "mqtt_endpoint") == []


@pytest.mark.parametrize(
    ("known", "unclaimed", "unproven"),
    [
        ({}, 9, []),
        ({ONE: 0, TWO: 0}, 0, [ONE, TWO]),
        ({ONE: 4, TWO: 0}, 0, []),
        ({ONE: 4, TWO: 0}, 1, [TWO]),
        ({ONE: 4, TWO: 1}, 1, []),
    ],
)
def test_clients_of_a_dead_region_that_are_not_known_are_not_proven(
    known: dict[str, int], unclaimed: int, unproven: list[str]
) -> None:
    found = evidence.unproven(Evidence(known=known, unclaimed=unclaimed), [OLD], "mqtt_endpoint", [])

    assert (found is None) == (not unproven)
    if unproven:
        assert str(found).startswith(f"clients of {', '.join(unproven)}: no device is known")
    assert evidence.unproven(Evidence(known=known), [OLD], "mqtt_endpoint", ["no_clients"]) is None


@pytest.mark.parametrize(
    ("word", "total", "swept", "said"),
    [
        ("moved", 2, True, "moved"),
        ("moved", 0, True, "moved, records only: no client was found, and none is proven"),
        ("unchanged", 0, True, "unchanged, records only: no client was found, and none is proven"),
        ("moved", 2, False, "moved, records only: no client was to be disconnected"),
        ("refused", 0, True, "refused"),
    ],
)
def test_a_move_of_records_alone_is_called_so(word: str, total: int, swept: bool, said: str) -> None:
    assert evidence.outcome(word, total, swept) == said


def test_listed_clients_that_were_not_found_are_counted_once_and_named(tmp_path: Path) -> None:
    with Roster(tmp_path / "clients.sqlite") as roster:
        roster.add([Connection("b", ONE, OLD, 0.0)], {ONE: NEW})

        assert roster.not_found(["c", "b", "a", "a"], 1) == (3, 2, ["a"])
        assert roster.not_found([], 1) == (0, 0, [])
        assert roster.per_endpoint() == {ONE: 1}


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("a1-ats.iot.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("a1.ats.iot.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("a1-ats.iot.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1"),
        ("a1-ats.iot.us-east-1.api.aws", "us-east-1"),
        ("a1.iot.us-east-1.amazonaws.com", "us-east-1"),
        ("a3lk6rh9example.ats.iot.cn-northwest-1.amazonaws.com.cn", "cn-northwest-1"),
        ("a3lk6rh9example-ats.iot.cn-north-1.api.amazonwebservices.com.cn", "cn-north-1"),
        ("a3lk6rh9example.ats.iot.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1"),
        ("a3lk6rh9example-ats.iot.eusc-de-east-1.api.amazonwebservices.eu", "eusc-de-east-1"),
        ("a3lk6rh9example.ats.iot.eu-central-1.api.aws", "eu-central-1"),
        ("a3lk6rh9example-ats.iot-fips.us-gov-east-1.amazonaws.com", "us-gov-east-1"),
        ("a1-ats.iot.us-east-1.amazonaws.com.example.com", None),
        ("a1-ats.iot.us-east-1.example.com", None),
        ("us-east-1.amazonaws.com", None),
    ],
)
def test_region_of_an_endpoint_in_every_partition(host: str, region: str | None) -> None:
    assert region_of(host) == region


@pytest.mark.parametrize(
    "host",
    [
        "a3lk6rh9example.ats.iot.cn-north-1.amazonaws.com.cn",
        "a3lk6rh9example-ats.iot.eusc-de-east-1.amazonaws.eu",
        "a3lk6rh9example-ats.iot.eu-west-1.api.aws",
    ],
)
def test_dead_region_of_any_partition_can_be_left(host: str) -> None:
    """Its endpoint is in its records alone: nobody else says what it is."""
    region = host.split(".iot.")[1].split(".")[0]
    record = Record("mqtt1.example.com", host, 0, {})
    dead = aws_error("NoAnswer", 0)

    hosts, reasons = _endpoints({region: dead, "other": "a3-ats.iot.other.example"}, {"mqtt1.example.com": record})

    assert hosts == {region: host, "other": "a3-ats.iot.other.example"}
    assert list(reasons) == [region]
    assert build_moves({record.name: "other"}, {record.name: record}, hosts) == [Move(record.name, region, "other")]
