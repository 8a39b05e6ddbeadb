"""Which devices are asked about DNS, and what is said of their answers."""

from __future__ import annotations

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
    results = [
        {"device": asked[0], "lookups": {}, "stale": []},
        {"device": asked[1], "lookups": {"mqtt2.example.com": failed}, "stale": ["mqtt2.example.com"]},
        {"device": asked[2], "unreachable": True},
    ]

    answers = device_answers(results, "device")

    line = "edge3: mqtt2.example.com = (Temporary failure in name resolution), expected two.example.net"
    assert answers == {"right": ["edge1"], "unasked": ["edge2"], "stale": [line]}
    assert device_report(answers) == [
        "devices: 1 right, 1 stale, 1 could not be asked",
        f"stale: {line}",
        "could not be asked: edge2",
    ]
