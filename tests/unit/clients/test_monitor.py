"""The monitor as a service: where it looks for its files, and what it tells systemd."""

from __future__ import annotations

import json
import queue
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mqtt_fleet.config import ConfigError
from mqtt_monitor.config import RegionEndpoint, load
from mqtt_monitor.ledger import Ledger, LedgerError
from mqtt_monitor.monitor import Item, Manager, RegionSubscriber, Stop, Subscribed, Writer

REGIONS = {name: {"host": f"a1-ats.iot.{name}.amazonaws.com"} for name in ("us-east-1", "ap-northeast-1")}
CONTENT: dict[str, Any] = {
    "ledger": "ledger.sqlite",
    "client_id": "fleet-monitor",
    "certificate": "monitor.crt",
    "private_key": "monitor.key",
    "regions": REGIONS,
}


def configuration(folder: Path, **more: Any) -> Path:
    (path := folder / "monitor.json").write_text(json.dumps({**CONTENT, **more}))
    return path


class Told:
    """systemd's end of the notification socket."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(str(path))

    def all(self) -> list[str]:
        found = []
        try:
            while True:
                found.append(self._socket.recv(4096).decode())
        except BlockingIOError:
            return found

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Told]:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    manager = Told(tmp_path / "notify")
    yield manager
    manager.close()


def test_relative_paths_are_those_of_the_file_or_of_systemd(tmp_path: Path) -> None:
    path = configuration(tmp_path, ca="ca.crt")
    alone = load(path, {})
    service = load(path, {"CREDENTIALS_DIRECTORY": "/run/credentials/m", "STATE_DIRECTORY": "/var/lib/m"})

    assert {alone.ledger.parent, alone.certificate.parent, alone.private_key.parent} == {tmp_path}
    assert alone.ca == tmp_path / "ca.crt"
    assert service.ledger == Path("/var/lib/m/ledger.sqlite")
    found = (service.ca, service.certificate, service.private_key)
    assert found == tuple(Path("/run/credentials/m") / name for name in ("ca.crt", "monitor.crt", "monitor.key"))


def test_absolute_paths_stay(tmp_path: Path) -> None:
    path = configuration(tmp_path, ledger="/srv/ledger.sqlite", certificate="/srv/m.crt")
    found = load(path, {"CREDENTIALS_DIRECTORY": "/run/credentials/m", "STATE_DIRECTORY": "/var/lib/m"})

    assert (found.ledger, found.certificate) == (Path("/srv/ledger.sqlite"), Path("/srv/m.crt"))


@pytest.mark.parametrize("more", [{}, {"ca": ""}])
def test_without_a_ca_file_the_systems_cas_are_taken(
    tmp_path: Path, more: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load(configuration(tmp_path, **more), {})
    taken: list[str] = []
    monkeypatch.setattr(ssl.SSLContext, "load_default_certs", lambda *_: taken.append("system"))
    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", lambda *_: None)

    RegionSubscriber(config, RegionEndpoint("us-east-1", "localhost", 8883), 1, print)._tls_context()

    assert config.ca is None
    assert taken == ["system"]


@pytest.mark.parametrize("ca", [0, None, False, ["ca.crt"]])
def test_ca_that_is_none_is_refused(tmp_path: Path, ca: object) -> None:
    with pytest.raises(ConfigError, match=r"^ca: found "):
        load(configuration(tmp_path, ca=ca), {})


def test_status_names_the_regions_that_are_not_subscribed(tmp_path: Path, told: Told) -> None:
    items: queue.SimpleQueue[Item] = queue.SimpleQueue()
    ledger = Ledger(tmp_path / "ledger.sqlite")
    writer = Writer(ledger, items, connections=2, regions=list(REGIONS))
    for item in (Subscribed("us-east-1", 1.0, 1), Subscribed("ap-northeast-1", 1.0, 1), Stop()):
        items.put(item)
    assert writer.status() == "subscribed in 0 of 2 regions, not in us-east-1, ap-northeast-1"

    writer.run()

    assert told.all() == ["READY=1\nSTATUS=subscribed in 0 of 2 regions, not in us-east-1, ap-northeast-1"]
    for item in (Subscribed("us-east-1", 2.0, 2), Stop()):
        items.put(item)
    writer.run()
    assert writer.status() == "subscribed in 1 of 2 regions, not in ap-northeast-1"
    for item in (Subscribed("ap-northeast-1", 2.0, 2), Stop()):
        items.put(item)
    writer.run()
    assert writer.status() == "subscribed in 2 of 2 regions"
    ledger.close()


def test_watchdog_is_fed_at_half_its_time_and_the_status_is_told_when_it_differs(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "60000000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    manager = Manager()

    for now, status in ((0.0, "a"), (0.5, "b"), (2.0, "b"), (29.9, "b"), (30.0, "b")):
        manager.tell(status, now)

    assert told.all() == ["WATCHDOG=1", "READY=1\nSTATUS=a", "READY=1\nSTATUS=b", "WATCHDOG=1"]


def test_disk_that_is_full_is_told_and_is_no_reason_to_start_anew(
    tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "1")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    items: queue.SimpleQueue[Item] = queue.SimpleQueue()
    ledger = Ledger(tmp_path / "ledger.sqlite")
    writer = Writer(ledger, items, regions=["us-east-1"])

    def fail(*_: object) -> None:
        raise LedgerError("disk full")

    monkeypatch.setattr(ledger, "set_subscription", fail)
    items.put(Subscribed("us-east-1", 1.0))
    items.put(Stop())

    writer.run()

    said = told.all()
    assert said[0] == "WATCHDOG=1"
    assert said[1].startswith("READY=1\nSTATUS=the ledger cannot be written, subscribed in ")
    ledger.close()
