"""Both address families of a name are asked for, of the DNS servers that the configuration names."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator

import pytest

from mqtt_fleet import resolve
from mqtt_fleet.resolve import Lookup, addresses_of, look_up

from .address_server import address_server

pytestmark = pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="port 53 needs root")
NAME = "mqtt1.example.com"
V4, V6 = socket.AF_INET, socket.AF_INET6


@pytest.fixture
def server() -> str:
    """Its own among the loopback addresses."""
    return f"127.54.{os.getpid() >> 8 & 255}.{os.getpid() & 255}"


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(resolve, "LIFETIME", 0.5)
    return


def test_both_families_are_found(server: str) -> None:
    with address_server({NAME: "192.0.2.1 2001:db8::1"}, server, 53):
        assert addresses_of(NAME, 8883, V4, [server]) == ["192.0.2.1"]
        assert addresses_of(NAME, 8883, V6, [server]) == ["2001:db8::1"]
        assert look_up(NAME, 8883, [server]) == Lookup(("192.0.2.1", "2001:db8::1"), NAME)


def test_family_that_the_name_has_not_is_none(server: str) -> None:
    with address_server({NAME: "2001:db8::1"}, server, 53):
        assert addresses_of(NAME, 8883, V4, [server]) == []
        assert look_up(NAME, 8883, [server]) == Lookup(("2001:db8::1",), NAME)


def test_server_that_never_answers_for_one_family_still_leads_to_the_other(server: str) -> None:
    with address_server({NAME: "192.0.2.1"}, server, 53, silent=V6):
        assert look_up(NAME, 8883, [server]) == Lookup(("192.0.2.1",), NAME, (V6,))


def test_server_that_is_silent_is_an_error(server: str) -> None:
    with pytest.raises(OSError):
        look_up(NAME, 8883, [server])
