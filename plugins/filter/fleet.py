"""Filters that turn the inventory into the lists the roles work on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError


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


def cname_records(
    desired: Mapping[str, str], described: Sequence[Mapping[str, Any]], loop_var: str
) -> list[dict[str, str]]:
    """Return `[{"name": endpoint, "value": target}]` for `{endpoint: region}`.

    Args:
        desired: the region of each endpoint.
        described: results of a loop of `iot_endpoint_info` over the regions.
        loop_var: the name that loop gave the region.
    """
    targets = {result[loop_var]: str(result["endpoint_address"]) for result in described}
    return [{"name": endpoint, "value": targets[region]} for endpoint, region in desired.items()]


class FilterModule:
    """Makes the filters known to Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"cname_records": cname_records, "edge_clients": edge_clients}
