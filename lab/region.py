"""A region's outage, on purpose."""

from __future__ import annotations

from lab import network, topology
from lab.errors import LabError
from lab.topology import Node


def node(name: str) -> Node:
    """Return the node of a region.

    Raises:
        LabError: the lab has no region of that name.
    """
    for region in topology.REGIONS:
        if region.name == name:
            return region
    known = ", ".join(region.name for region in topology.REGIONS)
    raise LabError(f"region {name}: not in the lab, which has {known}")


def kill(name: str) -> None:
    """Cut a region's MQTT endpoint off the network: packets vanish, connections hang.

    Its AWS API is another matter: it stops answering by a fault of the stand-in.
    """
    network.set_link(node(name), up=False)


def revive(name: str) -> None:
    """Bring a region that was cut off back."""
    network.set_link(node(name), up=True)
