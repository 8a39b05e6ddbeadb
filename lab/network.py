"""The lab's network: one bridge, and for every node a namespace with one interface on it.

Uses the standard library only, so that taking the lab down needs nothing installed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from typing import Any

from lab import topology
from lab.commands import run
from lab.errors import LabError
from lab.topology import Node

NAMESPACES = Path("/run/netns")
INTERFACE = "eth0"


def port_name(node: Node) -> str:
    """Name of a node's end at the bridge; Linux allows 15 characters."""
    return f"mqttlab-{node.address.packed[-1]}"


def mac_address(address: IPv4Address) -> str:
    """A locally administered address derived from the IPv4 address on the bridge."""
    octets = (0x02, *address.packed[:3], 0, address.packed[-1])
    return ":".join(f"{octet:02x}" for octet in octets)


def in_namespace(node: Node, command: Sequence[str]) -> list[str]:
    """Return the command line that runs a command in a node's network; the process ID stays its own."""
    return ["nsenter", f"--net={NAMESPACES / node.namespace}", "--", *command]


def bridge_owner() -> str | None:
    """Return the checkout that the lab's bridge belongs to; None where there is no bridge."""
    links = _show(["link", "show"])
    for link in links:
        if link["ifname"] == topology.BRIDGE:
            return str(link.get("ifalias", "somebody else"))
    return None


def foreign_interface() -> str | None:
    """Return an interface that uses the lab's addresses and is not the lab's bridge."""
    for link in _show(["-4", "address", "show"]):
        if link["ifname"] != topology.BRIDGE and _overlaps(link.get("addr_info", [])):
            return str(link["ifname"])
    return None


def _overlaps(addresses: Iterable[dict[str, Any]]) -> bool:
    networks = (IPv4Interface(f"{a['local']}/{a['prefixlen']}").network for a in addresses)
    return any(network.overlaps(topology.NETWORK) for network in networks)


def _show(arguments: Sequence[str]) -> list[dict[str, Any]]:
    listed = json.loads(run(["ip", "-json", *arguments]) or "[]")
    return [entry for entry in listed if entry]


def bridge_commands(owner: str) -> list[str]:
    """Return the `ip -batch` lines that make the bridge."""
    address = f"{topology.CONTROLLER}/{topology.NETWORK.prefixlen}"
    mac = mac_address(topology.CONTROLLER)
    return [
        f"link add name {topology.BRIDGE} address {mac} type bridge",
        f'link set dev {topology.BRIDGE} alias "{owner}"',
        f"address add {address} dev {topology.BRIDGE}",
        f"link set dev {topology.BRIDGE} up",
        *(_neighbour(node.address, topology.BRIDGE) for node in topology.NODES),
    ]


def node_commands(node: Node) -> list[str]:
    """Return the `ip -batch` lines that join an existing namespace to the bridge."""
    port, mac = port_name(node), mac_address(node.address)
    return [
        f"link add name {port} type veth peer name {INTERFACE} address {mac} netns {node.namespace}",
        f"link set dev {port} master {topology.BRIDGE}",
        f"link set dev {port} up",
    ]


def inner_commands(node: Node) -> list[str]:
    """Return the `ip -batch` lines to run inside a node's namespace.

    Neighbours are fixed, so that packets to a node that is cut off vanish and connections hang, as
    they do with a region that is gone. Resolved neighbours would soon answer "no route to host".
    """
    others = [topology.CONTROLLER, *(other.address for other in topology.NODES if other != node)]
    return [
        "link set dev lo up",
        f"address add {node.interface} dev {INTERFACE}",
        f"link set dev {INTERFACE} up",
        *(_neighbour(other, INTERFACE) for other in others),
    ]


def _neighbour(address: IPv4Address, device: str) -> str:
    return f"neighbour replace {address} lladdr {mac_address(address)} dev {device} nud permanent"


def is_joined(node: Node) -> bool:
    """Return whether a node's namespace is there and on the bridge, up or cut off."""
    if not (NAMESPACES / node.namespace).exists():
        return False
    try:
        inner = _show(["-netns", node.namespace, "-4", "address", "show", "dev", INTERFACE])
        run(["ip", "link", "show", "dev", port_name(node)])
    except LabError:
        return False
    return any(_overlaps(link.get("addr_info", [])) for link in inner)


def up() -> None:
    """Create what is missing of the bridge and the nodes' namespaces; changes nothing that exists."""
    if bridge_owner() is None:
        _batch(bridge_commands(str(topology.REPOSITORY)))
    for node in topology.NODES:
        if is_joined(node):
            continue
        _remove_node(node)
        run(["ip", "netns", "add", node.namespace])
        _batch(node_commands(node))
        _batch(inner_commands(node), node)


def down() -> None:
    """Remove namespaces and bridge; what is absent is ignored."""
    for node in topology.NODES:
        _remove_node(node)
    _delete_link(topology.BRIDGE)


def _remove_node(node: Node) -> None:
    namespace = NAMESPACES / node.namespace
    try:
        if namespace.exists():
            run(["ip", "netns", "delete", node.namespace])
    except LabError:
        if namespace.exists():
            raise
    _delete_link(port_name(node))


def _delete_link(name: str) -> None:
    try:
        run(["ip", "link", "delete", "dev", name])
    except LabError:
        # A namespace's end of a link, and with it ours, goes at a moment of the kernel's choosing.
        if any(link["ifname"] == name for link in _show(["link", "show"])):
            raise


def set_link(node: Node, up: bool) -> None:
    """Join a node to the network again, or cut it off: its packets vanish without an answer."""
    run(["ip", "link", "set", "dev", port_name(node), "up" if up else "down"])


def processes(node: Node) -> list[int]:
    """Return the IDs of the processes that run in a node's namespace."""
    if not (NAMESPACES / node.namespace).exists():
        return []
    return [int(pid) for pid in run(["ip", "netns", "pids", node.namespace]).split()]


def _batch(lines: Sequence[str], node: Node | None = None) -> None:
    where = ["-netns", node.namespace] if node else []
    run(["ip", *where, "-batch", "-"], text="\n".join(lines) + "\n")
