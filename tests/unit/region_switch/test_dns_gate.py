"""Every server has to be right, several times in a row."""

from __future__ import annotations

import pytest
from ansible.module_utils.region_switch.dns_gate import Gate, Server, parse_server, servers
from ansible.module_utils.region_switch.errors import NotConvergedError, RefusedError

from .fakes import Clock

NAME, OLD, NEW = "mqtt1.example.com", "old.example.net", "new.example.net"
ONE, TWO = Server("ns-1", "192.0.2.1"), Server("ns-2", "192.0.2.2")


def test_one_right_answer_among_stale_ones_is_not_enough() -> None:
    clock = Clock()
    answers = iter([NEW, OLD, NEW, NEW, NEW, OLD])
    asked: list[str] = []

    def ask(server: Server, name: str) -> str:
        asked.append(next(answers))
        return asked[-1]

    Gate(3, 60, ask, clock, clock.sleep).wait([ONE], {NAME: NEW})

    assert asked == [NEW, OLD, NEW, NEW, NEW]


def test_stale_server_is_named_with_its_answer() -> None:
    clock = Clock()
    gate = Gate(3, 5, lambda server, _: OLD if server is TWO else NEW, clock, clock.sleep)

    with pytest.raises(NotConvergedError) as stale:
        gate.wait([ONE, TWO], {NAME: NEW})

    assert f"ns-2: {NAME} = {OLD}, expected {NEW}" in str(stale.value)
    assert "ns-1" not in str(stale.value)
    assert "nobody was disconnected" in str(stale.value)


def test_name_servers_and_resolvers_are_asked() -> None:
    asked = servers(["192.0.2.1", "192.0.2.2:5353"], ["192.0.2.53"])

    assert asked == [
        Server("192.0.2.1", "192.0.2.1"),
        Server("192.0.2.2:5353", "192.0.2.2", 5353),
        Server("192.0.2.53", "192.0.2.53", recursive=True),
    ]


@pytest.mark.parametrize(
    ("text", "address", "port"),
    [
        ("192.0.2.1", "192.0.2.1", 53),
        ("127.0.0.1:5353", "127.0.0.1", 5353),
        ("2001:db8::1", "2001:db8::1", 53),
        ("[2001:db8::1]:5353", "2001:db8::1", 5353),
        ("ns-101.awsdns-12.com", "ns-101.awsdns-12.com", 53),
    ],
)
def test_server_with_and_without_port(text: str, address: str, port: int) -> None:
    assert parse_server(text, recursive=False) == Server(text, address, port)


@pytest.mark.parametrize("text", ["192.0.2.1:dns", "192.0.2.1:0", "[2001:db8::1]:70000"])
def test_wrong_port_is_refused(text: str) -> None:
    with pytest.raises(RefusedError, match="expected 1 to 65535"):
        parse_server(text, recursive=False)
