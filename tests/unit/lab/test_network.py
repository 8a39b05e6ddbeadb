"""The network's commands, and the names Linux limits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lab import network, topology
from lab.errors import LabError


def test_port_names_fit_and_differ() -> None:
    names = [network.port_name(node) for node in topology.NODES]
    assert len(set(names)) == len(names)
    assert all(len(name) <= 15 for name in names)


def test_addresses_of_the_link_layer_are_local_and_differ() -> None:
    addresses = {network.mac_address(node.address) for node in topology.NODES}
    assert len(addresses) == len(topology.NODES)
    assert all(int(address[:2], 16) & 0b11 == 0b10 for address in addresses)


def test_a_node_knows_every_other_and_the_controller_for_good() -> None:
    node = topology.REGIONS[0]
    fixed = [line.split()[2] for line in network.inner_commands(node) if line.startswith("neighbour")]
    assert str(node.address) not in fixed
    assert len(fixed) == len(topology.NODES)
    assert str(topology.CONTROLLER) in fixed


def test_the_controller_knows_every_node_for_good() -> None:
    lines = network.bridge_commands("/srv/checkout")
    fixed = {line.split()[2] for line in lines if line.startswith("neighbour")}
    assert fixed == {str(node.address) for node in topology.NODES}


def test_the_bridge_carries_its_owner() -> None:
    assert 'link set dev mqttlab0 alias "/srv/a checkout"' in network.bridge_commands("/srv/a checkout")


def test_overlapping_networks_are_seen() -> None:
    def address(local: str, length: int) -> list[dict[str, object]]:
        return [{"local": local, "prefixlen": length}]

    assert network._overlaps(address("198.18.83.77", 24))
    assert network._overlaps(address("198.18.0.1", 15))
    assert not network._overlaps(address("198.18.84.1", 24))
    assert not network._overlaps([])


@pytest.fixture
def namespaces(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[bool], None]:
    """A machine whose `ip netns delete` fails; and whether the namespace is gone all the same."""
    monkeypatch.setattr(network, "NAMESPACES", tmp_path)
    monkeypatch.setattr(network, "_delete_link", lambda _: None)
    namespace = tmp_path / topology.DEVICES[0].namespace
    namespace.touch()

    def fails(goes: bool) -> None:
        def delete(command: list[str]) -> str:
            if goes:
                namespace.unlink()
            raise LabError(f"{' '.join(command)}: exit code 1: no such file")

        monkeypatch.setattr(network, "run", delete)

    return fails


def test_namespace_that_goes_meanwhile_is_no_error(namespaces: Callable[[bool], None]) -> None:
    namespaces(True)
    network._remove_node(topology.DEVICES[0])


def test_namespace_that_stays_is_an_error(namespaces: Callable[[bool], None]) -> None:
    namespaces(False)
    with pytest.raises(LabError, match="ip netns delete"):
        network._remove_node(topology.DEVICES[0])
