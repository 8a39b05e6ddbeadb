"""Filters that turn the inventory into the lists the roles work on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: edge_clients
short_description: The MQTT clients that the edge hosts of an inventory run
description:
  - Reads C(mqtt_client_id) (the host's name when it is not set) and C(mqtt_endpoint) of each host.
options:
  _input:
    description: Names of the hosts.
    type: list
    elements: str
    required: true
  hostvars:
    description: Ansible's C(hostvars).
    type: dict
    required: true
  endpoints:
    description: The endpoints that the inventory knows.
    type: list
    elements: str
    required: true
"""


def edge_clients(
    hosts: Sequence[str], hostvars: Mapping[str, Mapping[str, Any]], endpoints: Sequence[str]
) -> list[dict[str, str]]:
    """Return `[{"client_id": …, "endpoint": …}]`, one per host, in the order given.

    Raises:
        AnsibleFilterError: a host without a known endpoint, or a client ID that two hosts claim.
    """
    clients: dict[str, dict[str, str]] = {}
    owners: dict[str, str] = {}
    for host in hosts:
        endpoint = hostvars[host].get("mqtt_endpoint")
        if endpoint not in endpoints:
            raise AnsibleFilterError(
                f"host {host}: mqtt_endpoint is {endpoint or 'not set'}, expected one of "
                f"{', '.join(endpoints)}: correct it in the inventory or add it to iot_endpoints"
            )
        client_id = str(hostvars[host].get("mqtt_client_id", host))
        if client_id in clients:
            raise AnsibleFilterError(
                f"host {host}: mqtt_client_id {client_id} is also that of host {owners[client_id]}, expected "
                "one host per client ID: two of them would disconnect each other for ever"
            )
        owners[client_id] = host
        clients[client_id] = {"client_id": client_id, "endpoint": str(endpoint)}
    return list(clients.values())


class FilterModule:
    """Makes the filters known to Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"edge_clients": edge_clients}
