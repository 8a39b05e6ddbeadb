"""Endpoints that no connection can be made to are told with what was meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from mqtt_fleet.config import ConfigError, parse
from mqtt_fleet.host_name import host_doubt, host_problem

from .test_config import FOLDERS, content


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("mqtt1.example.com:8883", "and the port 8883 in 'port': 'mqtt1.example.com'"),
        ("mqtt1.example.com:", "in 'port': 'mqtt1.example.com'"),
        ("[2001:db8::1]:8883", "and the port 8883 in 'port': '2001:db8::1'"),
        ("mqtts://mqtt1.example.com", "without mqtts://: 'mqtt1.example.com'"),
        ("ssl://mqtt1.example.com:8883/", "without ssl://: 'mqtt1.example.com'"),
        ("HTTPS://mqtt1.example.com/mqtt?x=1", "without HTTPS://: 'mqtt1.example.com'"),
        ("mqtt1.example.com/mqtt", "without / and @"),
        ("user@mqtt1.example.com", "without / and @"),
        ("mqtt1.example.com ", "no spaces or control characters: 'mqtt1.example.com'"),
        ("\tmqtt1.example.com", "no spaces or control characters: 'mqtt1.example.com'"),
        ("mqtt1.example.com\n", "no spaces or control characters: 'mqtt1.example.com'"),
        ("mqtt1 .example.com", "no spaces or control characters: 'mqtt1.example.com'"),
        ("mqtt1.example.com\u200b", "no spaces or control characters"),
        (" ", "no spaces or control characters"),
        ("mqtt1.example.com.", "without its last dot, as it is in certificates: 'mqtt1.example.com'"),
        ("mqtt1..example.com", "1 to 63 between two dots"),
        (".example.com", "1 to 63 between two dots"),
        (f"{'a' * 64}.example.com", "1 to 63 between two dots"),
        (".".join(["a" * 63] * 4), "at most 253 characters"),
        ("*.example.com", "without *"),
        ("198.51.100.1 ", "an address without spaces"),
        ("[2001:db8::1]", "an address without spaces or brackets"),
    ],
)
def test_unusable_name_is_refused_with_the_usable_one(text: str, advice: str) -> None:
    assert advice in str(host_problem(text))
    with pytest.raises(ConfigError, match=r"^endpoint: found ") as refusal:
        parse(content(endpoint=text), *FOLDERS)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "text",
    ["mqtt1.example.com", "localhost", "a1b2-ats.iot.us-east-1.amazonaws.com", "xn--gert-noa.example", "1.example"],
)
def test_name_passes(text: str) -> None:
    assert (host_problem(text), host_doubt(text)) == (None, None)


def test_capitals_are_the_same_name() -> None:
    assert parse(content(endpoint="MQTT1.Example.com"), *FOLDERS).endpoint == "mqtt1.example.com"


@pytest.mark.parametrize(
    "text", ["198.51.100.1", "2001:db8::1", "my_broker.example.com", "-a.example.com", "a-.example"]
)
def test_endpoint_that_aws_does_not_have_is_doubted_only(text: str) -> None:
    """A client that works with it goes on working; a new configuration is refused by --check-config."""
    assert host_problem(text) is None
    assert host_doubt(text)
    parse(content(endpoint=text), Path("/c"), Path("/s"), Path("/r"))


def test_name_in_other_letters_is_told_as_dns_has_it() -> None:
    assert str(host_doubt("gerät.example")).endswith(": 'xn--gert-noa.example'")
