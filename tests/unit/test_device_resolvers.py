"""Which devices are asked about DNS, and what is said of their answers."""

from __future__ import annotations

import pytest
from device_resolvers import device_answers, device_lookups, device_report

TARGETS = {"mqtt1.example.com": "one.example.net", "mqtt2.example.com": "two.example.net"}
HOSTVARS = {
    "edge1": {"mqtt_endpoint": "mqtt1.example.com"},
    "edge2": {"mqtt_endpoint": "mqtt1.example.com"},
    "edge3": {"mqtt_endpoint": "mqtt2.example.com"},
    "edge4": {"mqtt_endpoint": "mqtt9.example.com"},
    "edge5": {},
}


def test_sample_takes_endpoints_by_turns() -> None:
    assert [each["host"] for each in device_lookups(list(HOSTVARS), HOSTVARS, TARGETS, 2)] == ["edge1", "edge3"]


def test_devices_of_other_endpoints_are_left_out() -> None:
    found = device_lookups(list(HOSTVARS), HOSTVARS, TARGETS, 10)

    assert found == [
        {"host": "edge1", "endpoint": "mqtt1.example.com", "target": "one.example.net"},
        {"host": "edge3", "endpoint": "mqtt2.example.com", "target": "two.example.net"},
        {"host": "edge2", "endpoint": "mqtt1.example.com", "target": "one.example.net"},
    ]


def test_sample_of_none_asks_nobody() -> None:
    assert device_lookups(list(HOSTVARS), HOSTVARS, TARGETS, 0) == []


def test_answers_are_told_apart() -> None:
    asked = device_lookups(list(HOSTVARS), HOSTVARS, TARGETS, 10)
    failed = {"canonical": "", "error": "Temporary failure in name resolution"}
    answers = [
        {"host": "edge1", "lookups": {}, "stale": []},
        {"host": "edge3", "lookups": {"mqtt2.example.com": failed}, "stale": ["mqtt2.example.com"]},
        {"host": "edge2", "reason": "no answer within 20 s"},
    ]
    results = [*({"device": each} for each in asked), {"device": {"host": "localhost"}, "answers": answers}]

    found = device_answers(results, "device")

    line = "edge3: mqtt2.example.com = (Temporary failure in name resolution), expected two.example.net"
    assert found == {"right": ["edge1"], "unasked": ["edge2 (no answer within 20 s)"], "stale": [line]}
    assert device_report(found) == [
        "devices: 1 right, 1 stale, 1 could not be asked",
        f"stale: {line}",
        "could not be asked: edge2 (no answer within 20 s)",
    ]


def test_device_that_was_not_even_begun_with_is_told() -> None:
    [asked] = device_lookups(["edge1"], HOSTVARS, TARGETS, 10)
    results = [{"device": asked, "failed": True}, {"device": {"host": "localhost"}, "answers": []}]

    assert device_answers(results, "device")["unasked"] == ["edge1 (its variables cannot be used, see above)"]


@pytest.mark.parametrize("managed", [False, "no", "false"])
def test_devices_with_software_of_their_own_are_not_asked(managed: object) -> None:
    hostvars = {**HOSTVARS, "edge1": {**HOSTVARS["edge1"], "mqtt_client_managed": managed}}

    assert [each["host"] for each in device_lookups(list(hostvars), hostvars, TARGETS, 10)] == ["edge2", "edge3"]


def test_no_more_variables_are_put_together_than_the_sample_needs() -> None:
    looked_at: list[str] = []

    class Hostvars(dict[str, dict[str, str]]):
        def __missing__(self, host: str) -> dict[str, str]:
            looked_at.append(host)
            return {"mqtt_endpoint": list(TARGETS)[len(set(looked_at)) % 2]}

    hosts = [f"edge{number}" for number in range(10_000)]

    assert len(device_lookups(hosts, Hostvars(), TARGETS, 4)) == 4
    assert len(set(looked_at)) == 4
    looked_at.clear()
    assert device_lookups(hosts, Hostvars(), {"mqtt3.example.com": "x"}, 4) == []
    assert len(set(looked_at)) == 400
