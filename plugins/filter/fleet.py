"""Filters that turn the inventory into the lists the roles work on."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible.module_utils.parsing.convert_bool import boolean

# A client is a thing, by whose name AWS indexes its connection
# (https://docs.aws.amazon.com/iot/latest/apireference/API_CreateThing.html). It names files as well; the modules that
# read and write these have the same pattern (module_utils/region_switch/device_names.py).
_CLIENT_ID = re.compile(r"[a-zA-Z0-9:_-]+")
LONGEST_CLIENT_ID = 128
# What a device that makes its own signing request has at most: its common name (X.520, ub-common-name).
LONGEST_COMMON_NAME = 64
_SUPERSEDED = re.compile(r"[0-9a-f]{64}\.crt")


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
        client_id = _client_id(host, hostvars[host])
        if client_id in clients:
            raise AnsibleFilterError(
                f"host {_one_line(host)}: mqtt_client_id {client_id} is also that of host "
                f"{_one_line(owners[client_id])}, expected one host per client ID: two of them "
                "would disconnect each other for ever"
            )
        owners[client_id] = host
        clients[client_id] = {"client_id": client_id, "endpoint": str(endpoint)}
    return list(clients.values())


def client_id_fault(value: object, longest: int = LONGEST_CLIENT_ID) -> str:
    """Return what is wrong with a client ID, as a line that begins with its variable; "" where nothing is."""
    text = str(value)
    known = isinstance(value, str | int) and not isinstance(value, bool)
    if known and len(text) <= longest and _CLIENT_ID.fullmatch(text):
        return ""
    why = (
        "as AWS IoT names things" if longest > LONGEST_COMMON_NAME else "as the common name of a certificate takes them"
    )
    return (
        f"mqtt_client_id is {_one_line(value)}, expected 1 to {longest} letters, digits, ':', '_' or '-', {why}: "
        "set mqtt_client_id in the inventory"
    )


def server_certificate_regions(
    hosts: Sequence[str], hostvars: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, object]]:
    """Return `[{"name": Region, "server_certificate_arns": {endpoint: ARN}}]`, one per host of the group regions."""
    return [
        {
            "name": hostvars[host].get("iot_region_name", host),
            "server_certificate_arns": hostvars[host].get("iot_region_server_certificate_arns") or {},
        }
        for host in hosts
    ]


def superseded_certificates(directory: str, client_id: str) -> list[str]:
    """Return the files of a client's certificates that have a successor, in the folder of signing requests.

    Raises:
        AnsibleFilterError: what is no client ID names no files.
    """
    if fault := client_id_fault(client_id):
        raise AnsibleFilterError(fault)
    found = (Path(directory) / "superseded").glob(f"{client_id}.*.crt")
    return sorted(str(path) for path in found if _SUPERSEDED.fullmatch(path.name.removeprefix(f"{client_id}.")))


def _client_id(host: str, variables: Mapping[str, Any]) -> str:
    managed = boolean(variables.get("mqtt_client_managed", True), strict=False)
    value = variables.get("mqtt_client_id", host)
    if fault := client_id_fault(value, LONGEST_COMMON_NAME if managed else LONGEST_CLIENT_ID):
        raise AnsibleFilterError(f"host {_one_line(host)}: {fault}")
    return str(value)


def _one_line(value: object) -> str:
    text = "" if value is None else " ".join(str(value).split())
    return text or "not set"


def unanswered(result: Mapping[str, Any]) -> str:
    """Return why a device did not answer a module; "" where it did."""
    if not result.get("unreachable"):
        return ""
    return f"could not be asked ({result['reason']})" if result.get("reason") else "not reachable"


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
    return "; ".join(part for part in (unanswered(identity), refusals[0]) if part)


def left_out_of_deployment(identity: Mapping[str, Any], installed: Mapping[str, Any]) -> str:
    """Return why a device does not run the client as deployed; "" where it does.

    Args:
        identity: as for `left_out_of_setup`.
        installed: the result of `mqtt_device_client`; empty where the device was not deployed to.
    """
    if reason := unanswered(identity):
        advice = "see to it" if identity.get("reason") else "run again when the device is on"
        return f"{reason}, nothing was changed: {advice}"
    if reason := unanswered(installed):
        what = reason if installed.get("reason") else "went off"
        return f"{what} while it was deployed to, and goes on or back by itself: run again when the device is on"
    if installed and not installed["changed"] and not installed["connected"]:
        return f"not connected ({installed['status']}), nothing was changed: see 'journalctl -u mqtt-client' on it"
    return ""


class FilterModule:
    """Makes the filters known to Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "client_id_fault": client_id_fault,
            "edge_clients": edge_clients,
            "left_out_of_deployment": left_out_of_deployment,
            "left_out_of_setup": left_out_of_setup,
            "server_certificate_regions": server_certificate_regions,
            "superseded_certificates": superseded_certificates,
            "unanswered": unanswered,
        }
