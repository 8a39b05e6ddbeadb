"""Filters that turn the inventory into the lists the roles work on."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

# A client is a thing, by whose name AWS indexes its connection
# (https://docs.aws.amazon.com/iot/latest/apireference/API_CreateThing.html).
_CLIENT_ID = re.compile(r"[a-zA-Z0-9:_-]{1,128}")


def edge_clients(
    hosts: Sequence[str], hostvars: Mapping[str, Mapping[str, Any]], endpoints: Sequence[str]
) -> list[dict[str, str]]:
    """Return `[{"client_id": …, "endpoint": …}]`, one per host, in the order given.

    Raises:
        AnsibleFilterError: a host without a known endpoint, with a client ID that cannot be a thing's name, or with
            one that another host claims.
    """
    clients: dict[str, dict[str, str]] = {}
    owners: dict[str, str] = {}
    for host in hosts:
        endpoint = hostvars[host].get("mqtt_endpoint")
        if endpoint not in endpoints:
            raise AnsibleFilterError(
                f"host {_one_line(host)}: mqtt_endpoint is {_one_line(endpoint)}, expected one of "
                f"{', '.join(endpoints)}: correct it in the inventory or add it to iot_endpoints"
            )
        client_id = _client_id(host, hostvars[host].get("mqtt_client_id", host))
        if client_id in clients:
            raise AnsibleFilterError(
                f"host {_one_line(host)}: mqtt_client_id {client_id} is also that of host "
                f"{_one_line(owners[client_id])}, expected one host per client ID: two of them "
                "would disconnect each other for ever"
            )
        owners[client_id] = host
        clients[client_id] = {"client_id": client_id, "endpoint": str(endpoint)}
    return list(clients.values())


def _client_id(host: str, value: object) -> str:
    if isinstance(value, str | int) and not isinstance(value, bool) and _CLIENT_ID.fullmatch(str(value)):
        return str(value)
    raise AnsibleFilterError(
        f"host {_one_line(host)}: mqtt_client_id is {_one_line(value)}, expected 1 to 128 letters, digits, ':', '_' or "
        "'-', as AWS IoT names things: set mqtt_client_id in the inventory"
    )


def _one_line(value: object) -> str:
    text = "" if value is None else " ".join(str(value).split())
    return text or "not set"


def left_out_of_setup(identity: Mapping[str, Any], registered: Sequence[Mapping[str, Any]], client_id: str) -> str:
    """Return why a device is not set up in every region; "" where it is.

    Args:
        identity: the result of `mqtt_device_identity`; empty where the device was not asked.
        registered: the results of `iot_clients`, one per region.
    """
    refusals = [str(found["left_out"][client_id]) for found in registered if client_id in found.get("left_out", {})]
    # In check mode its signing request is foretold.
    foretold = identity.get("changed") and identity.get("csr") is None
    if not refusals or foretold:
        return ""
    return f"{'not reachable; ' if identity.get('unreachable') else ''}{refusals[0]}"


def left_out_of_deployment(identity: Mapping[str, Any], installed: Mapping[str, Any]) -> str:
    """Return why a device does not run the client as deployed; "" where it does.

    Args:
        identity: as for `left_out_of_setup`.
        installed: the result of `mqtt_device_client`; empty where the device was not deployed to.
    """
    if identity.get("unreachable"):
        return "not reachable, nothing was changed: run again when the device is on"
    if installed.get("unreachable"):
        return "went off while it was deployed to, and goes on or back by itself: run again when the device is on"
    if installed and not installed["changed"] and not installed["connected"]:
        return f"not connected ({installed['status']}), nothing was changed: see 'journalctl -u mqtt-client' on it"
    return ""


class FilterModule:
    """Makes the filters known to Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "edge_clients": edge_clients,
            "left_out_of_deployment": left_out_of_deployment,
            "left_out_of_setup": left_out_of_setup,
        }
