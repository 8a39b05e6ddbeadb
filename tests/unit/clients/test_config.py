"""Configuration of the client: what is refused, and that each refusal names its key in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mqtt_fleet import client
from mqtt_fleet.config import CHOICES, ConfigError, load, parse
from mqtt_monitor import config as monitor

CREDENTIALS, STATE, RUNTIME = FOLDERS = Path("/credentials"), Path("/state"), Path("/run")


def content(**changes: Any) -> dict[str, Any]:
    values = {
        "client_id": "client_01",
        "endpoint": "mqtt1.example.com",
        "library": "paho",
        "ca": "ca.crt",
        "certificate": "client.crt",
        "private_key": "client.key",
        "outbox": "outbox.sqlite",
    }
    return {**values, **changes}


@pytest.mark.parametrize(("library", "port"), [("paho", 8883), ("awsiotsdk", 443)])
def test_port_defaults_to_the_usual_one_of_the_library(library: str, port: int) -> None:
    assert parse(content(library=library), *FOLDERS).port == port
    assert parse(content(library=library, port=0), *FOLDERS).port == port
    assert parse(content(library=library, port=18883), *FOLDERS).port == 18883


def test_relative_paths_are_under_credentials_and_state() -> None:
    config = parse(content(ca="/etc/ca.crt"), *FOLDERS)
    assert config.private_key == CREDENTIALS / "client.key"
    assert config.outbox == STATE / "outbox.sqlite"
    assert config.ca == Path("/etc/ca.crt")
    assert config.socket is None
    assert config.metrics_file is None


def test_socket_and_metrics_are_under_runtime_and_state() -> None:
    config = parse(content(socket="s.sock", metrics_file="client.prom", socket_mode="0600"), *FOLDERS)
    assert config.socket == RUNTIME / "s.sock"
    assert config.metrics_file == STATE / "client.prom"
    assert config.socket_mode == 0o600
    assert parse(content(socket="", metrics_file=""), *FOLDERS).socket is None


def test_proxy_and_its_credentials() -> None:
    config = parse(content(proxy="http://proxy.example.com:3128", proxy_credentials="proxy"), *FOLDERS)
    assert config.proxy == "http://proxy.example.com:3128"
    assert config.proxy_credentials == CREDENTIALS / "proxy"
    without = parse(content(proxy="", proxy_credentials=""), *FOLDERS)
    assert (without.proxy, without.proxy_credentials) == ("", None)


@pytest.mark.parametrize("key", ["port", "heartbeat_interval", "outbox_max_age", "endpoint_watch_jitter"])
def test_zero_stands_for_none(key: str) -> None:
    parse(content(**{key: 0}), *FOLDERS)


def test_every_choice_is_taken() -> None:
    for key, values in CHOICES.items():
        assert [getattr(parse(content(**{key: value}), *FOLDERS), key) for value in values] == list(values)
    assert parse(content(resolvers=["198.51.100.53", "2001:db8::53"]), *FOLDERS).resolvers[1] == "2001:db8::53"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("client_id", ""),
        ("client_id", 7),
        ("client_id", "$x"),
        ("client_id", "a/b"),
        ("client_id", "a+b"),
        ("client_id", "x" * 129),
        ("client_id", "é" * 65),
        ("client_id", "a\x1b[2J"),
        ("client_id", "a\u202eb"),
        ("client_id", "\ud800"),
        ("endpoint", "\ud800"),
        ("outbox", "a\ud800"),
        ("library", "mosquitto"),
        ("port", 65536),
        ("port", "8883"),
        ("port", False),
        ("heartbeat_interval", 0.001),
        ("heartbeat_interval", True),
        ("heartbeat_interval", float("nan")),
        ("keep_alive", 29),
        ("keep_alive", 30.5),
        ("window", 101),
        ("standard_input", 1),
        ("socket", 7),
        ("socket", "s" * 200),
        ("socket", "a\0b"),
        ("socket_mode", "0999"),
        ("socket_mode", 660),
        ("metrics_file", None),
        ("outbox_max_bytes", 1000),
        ("outbox_max_bytes", 1e9),
        ("outbox_max_age", -1),
        ("outbox_when_full", "drop_newest"),
        ("publish_rate", 0),
        ("resolvers", "198.51.100.53"),
        ("resolvers", ["ns1.example.com"]),
        ("proxy", 7),
        ("proxy", "proxy.example.com:3128"),
        ("proxy", "https://proxy.example.com:3128"),
        ("proxy_credentials", 7),
        ("proxy_credentials", "without a proxy"),
        ("resolvers", [7]),
        ("endpoint_watch", "on"),
        ("endpoint_watch_interval", 0),
        ("endpoint_watch_jitter", -1),
        ("reconnect_by", "reboot"),
        ("surprise", 1),
    ],
)
def test_wrong_value_is_refused_by_its_key(key: str, value: object) -> None:
    with pytest.raises(ConfigError) as refusal:
        parse(content(**{key: value}), *FOLDERS)
    assert str(refusal.value).startswith(f"{key}: ")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("key", list(content()))
def test_missing_key_is_named(key: str) -> None:
    incomplete = content()
    del incomplete[key]
    with pytest.raises(ConfigError, match=f"^{key}: missing key$"):
        parse(incomplete, *FOLDERS)


@pytest.mark.parametrize("text", ["", "[1]", "{", "\xff", "[" * 100_000])
def test_file_that_is_no_object_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "client.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(ConfigError, match=r"client\.json: "):
        load(path, {})


def test_all_wrong_keys_are_named_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "client.json"
    path.write_text(json.dumps(content(endpoint="a:8883", port=-1, surprise=1, client_id="a/b")))
    for arguments in (["--config", str(path)], ["--config", str(path), "--check-config"]):
        assert client.main(arguments) == 2
        said = capsys.readouterr().err.splitlines()
        assert [line.split(": ")[1] for line in said] == ["surprise", "client_id", "endpoint", "port"]


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"will_topic": "a/b"}, "will_topic"),
        ({"will_topic": "#"}, "will_topic"),
        ({"will_topic": "a\x07"}, "will_topic"),
        ({"will_topic": "messages"}, "will_topic"),
        ({"will_topic": "commands"}, "will_topic"),
        ({"will_topic": "x" * 245}, "will_topic"),
        ({"will_topic": "ä" * 121}, "will_topic"),
        ({"will_topic": "status", "will_payload": "x" * 65536}, "will_payload"),
        ({"will_topic": "status", "will_qos": 2}, "will_qos"),
        ({"will_topic": "status", "will_retain": 1}, "will_retain"),
        ({"will_topic": "status", "will_delay": 30, "session_expiry": 60}, "will_delay"),
        ({"will_topic": "status", "will_delay": 30, "library": "awsiotsdk"}, "will_delay"),
        ({"will_topic": "status", "will_delay": 61, "library": "awsiotsdk", "session_expiry": 60}, "will_delay"),
        ({"will_payload": "offline"}, "will_payload"),
        ({"will_retain": True}, "will_retain"),
        ({"will_delay": 5}, "will_delay"),
        ({"pkcs11_module": "/usr/lib/token.so"}, "private_key"),
        ({"pkcs11_pin_file": "pin"}, "pkcs11_pin_file"),
        ({"pkcs11_slot": 0}, "pkcs11_slot"),
        ({"pkcs11_slot": -1}, "pkcs11_slot"),
        ({"pkcs11_slot": True}, "pkcs11_slot"),
        ({"pkcs11_token_label": "device"}, "pkcs11_token_label"),
        ({"pkcs11_module": 7}, "pkcs11_module"),
    ],
)
def test_will_and_token_are_refused_where_they_would_do_nothing(changes: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError, match=f"^{key}: "):
        parse(content(**changes), *FOLDERS)


def test_library_of_the_token_is_named_by_its_path() -> None:
    token = content(pkcs11_module="opensc.so")
    del token["private_key"]
    with pytest.raises(ConfigError, match=r"^pkcs11_module: .* expected the path of a library, from /$"):
        parse(token, *FOLDERS)


def test_key_in_a_token_needs_no_file() -> None:
    token = content(pkcs11_module="/usr/lib/token.so", pkcs11_slot=0, pkcs11_pin_file="pin", pkcs11_key_label="mqtt")
    del token["private_key"]
    config = parse(token, *FOLDERS)
    assert (config.private_key, config.pkcs11_slot, config.pkcs11_pin_file) == (None, 0, CREDENTIALS / "pin")


def test_will_that_can_be_had_is_taken() -> None:
    will = {"will_topic": "status", "will_payload": "", "will_qos": 0, "will_retain": True}
    assert parse(content(**will), *FOLDERS).will_topic == "status"
    later = {**will, "library": "awsiotsdk", "will_delay": 60, "session_expiry": 60}
    assert parse(content(**later), *FOLDERS).will_delay == 60
    # What the role writes where none is asked for.
    none = {"will_topic": "", "will_payload": "", "will_qos": 1, "will_retain": False, "will_delay": 0}
    assert parse(content(**none), *FOLDERS).will_topic == ""


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"ledger": None}, "ledger"),
        ({"ledger": "a\0b"}, "ledger"),
        ({"ca": "\ud800"}, "ca"),
        ({"regions": {"us-east-1": {"host": ""}}}, "regions.us-east-1"),
        ({"regions": {"us-east-1": {"host": "h", "port": 65536}}}, "regions.us-east-1"),
        ({"regions": {"us-east-1": {"host": "h", "port": True}}}, "regions.us-east-1"),
        ({"regions": {"\ud800": {"host": "h"}}}, "regions.\ud800"),
        ({"resolvers": "198.51.100.53"}, "resolvers"),
        ({"regions": {}}, "regions"),
        ({"regions": {"us-east-1": {"port": 8883}}}, "regions.us-east-1"),
    ],
)
def test_monitor_names_the_wrong_key(tmp_path: Path, changes: dict[str, Any], key: str) -> None:
    values = {
        "ledger": "ledger.sqlite",
        "client_id": "fleet-monitor",
        "certificate": "c",
        "private_key": "k",
        "ca": "a",
        "regions": {"us-east-1": {"host": "host.example.com"}},
    }
    path = tmp_path / "monitor.json"
    path.write_text(json.dumps(values))
    assert monitor.load(path).regions[0].port == 8883
    path.write_text(json.dumps({**values, **changes}))
    with pytest.raises(ConfigError, match=f"^{key}: "):
        monitor.load(path)
