"""Filters that turn the inventory into the lists that roles work on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible.module_utils.parsing.convert_bool import boolean

# A client is a thing, under whose name AWS indexes its connection
# (https://docs.aws.amazon.com/iot/latest/apireference/API_CreateThing.html). It names files as well; the modules that
# read and write these have the same pattern (module_utils/region_switch/model/device_names.py).
_CLIENT_ID = re.compile(r"[a-zA-Z0-9:_-]+")
LONGEST_CLIENT_ID = 128
# For devices that make their own signing request: the longest common name (X.520, ub-common-name).
LONGEST_COMMON_NAME = 64
# Fewer devices need not be spread.
SMALLEST_FLEET = 100
# The most hosts whose variables are read to find common values.
MOST_LOOKED_AT = 2000
# https://docs.aws.amazon.com/iot/latest/developerguide/protocols.html: 8883, and 443 with ALPN.
MQTT_PORT, ALPN_PORT = 8883, 443
# Names that an inventory may set, besides client IDs.
_NAMES = (
    "fleet_monitor_client_id",
    "hosted_zone_id",
    "iot_device_policy",
    "iot_endpoint_attribute",
    "iot_issuing_region",
    "iot_region_device_policy",
    "iot_region_endpoint_attribute",
    "iot_region_issuing",
    "iot_region_monitor_client_id",
    "iot_region_monitor_policy",
)
# As module_utils/region_switch/setup/pem.py has it.
_PRIVATE_KEY = re.compile(r"BEGIN[^\r\n-]*PRIVATE KEY|Private-Key: ?\(|PuTTY-User-Key-File", re.IGNORECASE)
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----")
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
                f"{_one_line(owners[client_id])}: give each host its own, since two of them would keep disconnecting "
                "each other"
            )
        owners[client_id] = host
        clients[client_id] = {"client_id": client_id, "endpoint": str(endpoint)}
    return list(clients.values())


def client_id_fault(value: object, longest: int = LONGEST_CLIENT_ID) -> str:
    """Return what is wrong with a client ID, as a line that begins with its variable; "" where nothing is."""
    if fault := _text_fault(value):
        return f"mqtt_client_id is {fault}"
    if len(str(value)) <= longest and _CLIENT_ID.fullmatch(str(value)):
        return ""
    why = (
        "as AWS IoT names things" if longest > LONGEST_COMMON_NAME else "as the common name of a certificate takes them"
    )
    return (
        f"mqtt_client_id is {_one_line(value)}, expected 1 to {longest} letters, digits, ':', '_' or '-', {why}: "
        "set mqtt_client_id in the inventory"
    )


def client_list_fault(clients: object) -> str:
    """Return what is wrong with a list of clients, `[{"client_id", "endpoint"}]`; "" where nothing is."""
    if not isinstance(clients, list):
        return f"iot_clients is {_kind(clients)}, expected a list of client_id and endpoint: correct it"
    for number, client in enumerate(clients, 1):
        if not isinstance(client, Mapping) or not {"client_id", "endpoint"} <= set(client):
            return f"iot_clients, entry {number}: found {_kind(client)}, expected client_id and endpoint: correct it"
        if fault := client_id_fault(client["client_id"]).replace("mqtt_client_id", "client_id"):
            return f"iot_clients, entry {number}: {fault}"
        if fault := _text_fault(client["endpoint"]):
            return f"iot_clients, entry {number}: endpoint is {fault}"
    return ""


def name_fault(variables: Mapping[str, Any]) -> str:
    """Return which name that an inventory sets is no text, as a line; "" where each is, or is not set."""
    for name in _NAMES:
        if name in variables and (fault := _text_fault(variables[name])):
            return f"{name} is {fault}"
    return ""


def _text_fault(value: object) -> str:
    """Return what YAML made of a name, and what to do; "" for text.

    It is not converted to text, which might differ from the text in the inventory.
    """
    if isinstance(value, str):
        return ""
    return (
        f"{_kind(value)}, which YAML makes of some names without quotes, expected text: put it in quotes, as in "
        '"0123" (in an INI inventory "\'0123\'")'
    )


def _kind(value: object) -> str:
    """What a value is, as an error shows it."""
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return f"the boolean {str(value).lower()}"
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, datetime):
        return f"the time {value.isoformat()}"
    if isinstance(value, date):
        return f"the date {value.isoformat()}"
    return f"{type(value).__name__.removeprefix('_AnsibleTagged').lower()} {_one_line(value)[:80]}"


def certificates_alone(text: str, name: str) -> str:
    """Return the certificates of a file, for a device, without anything around them.

    Args:
        name: what an error calls the file.

    Raises:
        AnsibleFilterError: a private key in it, or no certificate.
    """
    if _PRIVATE_KEY.search(text):
        raise AnsibleFilterError(
            f"{name}: found a private key in it, expected certificates alone: nothing of it was sent, remove the key"
        )
    blocks = ["\n".join(line.strip() for line in block.splitlines()) for block in _CERTIFICATE.findall(text)]
    if not blocks:
        raise AnsibleFilterError(f"{name}: has no certificate (PEM): add it")
    return "\n".join(blocks)


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
        AnsibleFilterError: it is not a client ID.
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
    left_out = [found for found in registered if client_id in found.get("left_out", {})]
    # If only the issuing region is the cause, its reason is sufficient.
    own = [found for found in left_out if client_id not in found.get("awaiting", [])]
    refusals = _merged((str(found["left_out"][client_id]), str(found.get("region", ""))) for found in own or left_out)
    if not refusals or _predicted(identity):
        return ""
    return "; ".join(part for part in (unanswered(identity), *refusals) if part)


def _merged(reasons: Iterable[tuple[str, str]]) -> list[str]:
    """Join `(reason, region)` that differ in the region alone."""
    regions: dict[str, list[str]] = {}
    for reason, region in reasons:
        named = regions.setdefault(reason.replace(f" in {region}", " in \0") if region else reason, [])
        named += [] if region in named else [region]
    return [reason.replace("\0", " and ".join(named)) for reason, named in regions.items()]


def requests_to_be_made(hosts: Sequence[str], hostvars: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the client IDs of the devices that would make a new signing request, where check mode predicts it."""
    return [
        str(hostvars[host].get("mqtt_client_id", host))
        for host in hosts
        if _predicted(hostvars[host].get("__mqtt_client_identity") or {})
    ]


def _predicted(identity: Mapping[str, Any]) -> bool:
    """Whether a device would make a signing request: check mode predicts it."""
    return bool(identity.get("changed")) and identity.get("csr") is None


def left_out_of_deployment(identity: Mapping[str, Any], installed: Mapping[str, Any]) -> str:
    """Return why a device does not run the client as deployed; "" where it does.

    Args:
        identity: as for `left_out_of_setup`.
        installed: the result of `mqtt_device_client`; empty where the device was not deployed to.
    """
    if reason := unanswered(identity):
        advice = "check the device" if identity.get("reason") else "run again when the device is on"
        return f"{reason}, nothing was changed: {advice}"
    if reason := unanswered(installed):
        what = reason if installed.get("reason") else "went offline"
        return f"{what} during the deployment, and finishes or rolls back by itself: run again when the device is on"
    if installed and not installed["changed"] and not installed["connected"]:
        return f"not connected ({installed['status']}), nothing was changed: see 'journalctl -u mqtt-client' on it"
    return ""


def why_it_failed(result: Mapping[str, Any]) -> str:
    """Return the messages of a task that failed without showing anything, each with the item of its loop."""
    failed = [each for each in result.get("results", [result]) if each.get("failed")]
    return "; ".join(
        f"{each['item']}: {_one_line(each.get('msg'))}" if "item" in each else _one_line(each.get("msg"))
        for each in failed
    )


def mqtt_ports(hosts: Sequence[str], hostvars: Mapping[str, Mapping[str, Any]], chosen: int = 0) -> list[int]:
    """The ports of MQTT that devices use, each once; 8883 where there are no devices.

    As the client of role mqtt_client has it: 443 with ALPN is what the AWS IoT Device SDK uses by itself. Of many hosts
    some are considered, from the whole list: Ansible takes half a millisecond for the variables of each.

    Args:
        chosen: the one port whatever devices use; 0 for none.
    """
    if int(chosen):
        return [int(chosen)]
    looked_at = hosts[:: -(-len(hosts) // MOST_LOOKED_AT) or 1]
    return sorted({_mqtt_port(hostvars[host]) for host in looked_at}) or [MQTT_PORT]


def _mqtt_port(variables: Mapping[str, Any]) -> int:
    chosen = str(variables.get("mqtt_client_port") or 0)
    if chosen.isdecimal() and int(chosen):
        return int(chosen)
    managed = boolean(variables.get("mqtt_client_managed", True), strict=False)
    return ALPN_PORT if managed and variables.get("mqtt_client_library") == "awsiotsdk" else MQTT_PORT


def rounded_up(hosts: Sequence[str]) -> int:
    """Return the number of hosts, rounded up to one digit and zeros.

    It is in every client's configuration, which another host should not change.
    """
    number = max(SMALLEST_FLEET, len(hosts))
    step: int = 10 ** (len(str(number)) - 1)
    return -(-number // step) * step


class FilterModule:
    """Makes the filters known to Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "certificates_alone": certificates_alone,
            "client_id_fault": client_id_fault,
            "client_list_fault": client_list_fault,
            "edge_clients": edge_clients,
            "mqtt_ports": mqtt_ports,
            "rounded_up": rounded_up,
            "left_out_of_deployment": left_out_of_deployment,
            "left_out_of_setup": left_out_of_setup,
            "name_fault": name_fault,
            "requests_to_be_made": requests_to_be_made,
            "server_certificate_regions": server_certificate_regions,
            "superseded_certificates": superseded_certificates,
            "unanswered": unanswered,
            "why_it_failed": why_it_failed,
        }
