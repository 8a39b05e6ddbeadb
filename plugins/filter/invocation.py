"""Filters that check how a playbook was called: with which hosts, tags and variables."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

import yaml

CONTROLLER = "localhost"
SHOWN = 3
# The groups that some playbooks work on.
_GROUPS = {"devices": "edge", "monitors": "monitors"}

# Variables of the inventory that are no role's own.
SHARED_VARIABLES = {
    "aws_environment",
    "certs_directory",
    "dns_record_ttl",
    "dns_resolvers",
    "failover_modes",
    "fleet_monitor_client_id",
    "hosted_zone_id",
    "iot_clients",
    "iot_device_policy",
    "iot_endpoint_attribute",
    "iot_endpoints",
    "iot_issuing_region",
    "mqtt_client_max_fail_percentage",
    "mqtt_client_serial",
    "mqtt_endpoint",
    "reports_directory",
    "validate_inventory_result",
    "validate_run_controller",
    "validate_run_regions",
}
# Only this repository's variables have these prefixes.
_OURS = ("failover_", "mqtt_client_", "iot_region_", "iot_serving_", "validate_")
# From this similarity on (difflib's ratio), one name counts as a misspelling of the other.
_ALIKE = 0.92

_ONCE_MORE = "run again without --limit (in AWX: without a limit)"
_WHOLE_FLEET = f"a move is for the whole fleet: {_ONCE_MORE}; to move some of the clients first, set failover_waves"


def run_fault(
    kind: str,
    limit: str,
    hosts: Collection[str],
    groups: Mapping[str, Sequence[str]],
    tags: Collection[str] = (),
    skip_tags: Collection[str] = (),
) -> str:
    """Return why a run would not do what the playbook is for, as one line; "" where it would.

    Ansible counts a play without hosts as a success: a run that is limited to other hosts than those it works on would
    succeed without having done anything.

    Args:
        kind: `move`, `look`, `setup`, `devices` or `monitors`.
        limit: the value of `--limit`; "" for none.
        hosts: the hosts that it leaves.
        groups: `regions`, `edge` and `monitors`, each with all its hosts.
        tags, skip_tags: as `ansible_run_tags` and `ansible_skip_tags` have them.
    """
    if list(tags) not in ([], ["all"]) or skip_tags:
        found = " and ".join(
            f"{option} {','.join(names)}"
            for option, names in (("--tags", tags), ("--skip-tags", skip_tags))
            if names and list(names) != ["all"]
        )
        return f"tags: {found} would run a part of this playbook only: run again without"
    if kind in _GROUPS and not groups.get(_GROUPS[kind]):
        return (
            f"{kind}: the group '{_GROUPS[kind]}' has no host: name your inventory with -i, or add hosts to the group"
        )
    if not limit:
        return ""
    return _LIMITS[kind](f"limit: '{_one_line(limit)}'", set(hosts), groups)


def _move_fault(found: str, hosts: set[str], groups: Mapping[str, Sequence[str]]) -> str:
    if CONTROLLER not in hosts:
        return f"{found} leaves out {CONTROLLER}, where the move runs; {_WHOLE_FLEET}"
    left_out = [device for device in groups.get("edge", []) if device not in hosts]
    if left_out and len(left_out) < len(groups["edge"]):
        return f"{found} leaves out {_some(left_out)}; {_WHOLE_FLEET}"
    return ""


def _look_fault(found: str, hosts: set[str], _groups: Mapping[str, Sequence[str]]) -> str:
    if CONTROLLER in hosts:
        return ""
    return f"{found} leaves out {CONTROLLER}, where the playbook runs: {_ONCE_MORE}"


def _setup_fault(found: str, hosts: set[str], groups: Mapping[str, Sequence[str]]) -> str:
    regions = groups.get("regions", [])
    devices = [device for device in groups.get("edge", []) if device in hosts]
    if hosts.intersection(regions) or (CONTROLLER in hosts and not devices):
        return ""
    return (
        f"{found} names no region: {_ONCE_MORE}, or with regions such as {_some(regions) or 'us-east-1'}; "
        "playbooks/deploy_clients.yml --limit registers a new device in every region by itself"
    )


def _members_fault(kind: str, found: str, hosts: set[str], groups: Mapping[str, Sequence[str]]) -> str:
    if hosts.intersection(groups.get(_GROUPS[kind], [])):
        return ""
    return f"{found} names no host of the group '{_GROUPS[kind]}': {_ONCE_MORE}, or name {kind}"


_LIMITS: dict[str, Callable[[str, set[str], Mapping[str, Sequence[str]]], str]] = {
    "move": _move_fault,
    "look": _look_fault,
    "setup": _setup_fault,
    "devices": partial(_members_fault, "devices"),
    "monitors": partial(_members_fault, "monitors"),
}


def controller_of(hosts: Sequence[str], regions: Sequence[str]) -> str:
    """Return the host of a run that works on the controller: localhost, or the first region where that is left out."""
    return CONTROLLER if CONTROLLER in hosts else next((each for each in regions if each in hosts), CONTROLLER)


def inventory_fault(values: Mapping[str, Any], needed: Sequence[str], sources: Sequence[str] = ()) -> str:
    """Return which variables of the inventory have no value, as one line; "" where all have one.

    Args:
        values: by name; "" where the inventory has no such variable.
        needed: names of those that the playbook takes.
        sources: where the inventory was read from.
    """
    absent = [name for name in needed if values[name] == ""]
    if needed and absent == list(needed):
        where = f" in {', '.join(map(_one_line, sources))}" if sources else ""
        return (
            f"inventory: no variables of a fleet{where} ({_some(absent)}): name your inventory with -i; "
            "inventory/sample/group_vars/all shows what it has to set"
        )
    empty = [name for name in needed if values[name] in ("", None)]
    if empty:
        return f"{', '.join(empty)}: not set: give it a value in the inventory, as inventory/sample/group_vars/all does"
    return ""


def known_variables(roles: str) -> list[str]:
    """Return the variables that playbooks and roles read.

    Args:
        roles: folder of the roles; each has its variables in `meta/argument_specs.yml`.
    """
    names = set(SHARED_VARIABLES)
    for path in Path(roles).glob("*/meta/argument_specs.yml"):
        specs = yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"]
        names |= {name for entry_point in specs.values() for name in entry_point["options"]}
    return sorted(names)


def misspelt(names: Iterable[str], known: Collection[str]) -> str:
    """Return which variables are misspelt, as one line; "" where none is."""
    found = {}
    for name in sorted(set(names) - set(known)):
        if meant := get_close_matches(name, known, n=1, cutoff=_ALIKE):
            found[name] = meant[0]
    if not found:
        return ""
    return (
        f"variables: nothing reads {', '.join(found)}, expected {', '.join(found.values())}: correct the name, or "
        "choose another one for a variable of your own"
    )


def unread(names: Iterable[str], known: Collection[str]) -> list[str]:
    """Return the variables with a prefix of this repository's that nothing reads."""
    return sorted(name for name in set(names) - set(known) if name.startswith(_OURS))


def host_variables(hosts: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]], pattern: str) -> list[str]:
    """Return the names of the variables of these hosts that begin with the pattern."""
    begins = re.compile(pattern)
    return sorted({name for host in hosts for name in hostvars[host] if begins.match(name)})


def mode_names_fault(table: object) -> str:
    """Return why two modes or endpoints of the table are one name, as one line; "" where none are.

    YAML reads `1:` and `"1":` as a number and a text, and both become the same name on the way to a module.
    """
    if not isinstance(table, Mapping):
        return ""
    places = [("failover_modes", table)]
    places += [(f"mode {_one_line(mode)}", targets) for mode, targets in table.items() if isinstance(targets, Mapping)]
    for place, entries in places:
        for key in entries:
            if isinstance(key, bool) or not isinstance(key, str | int):
                return f"{place}: found the name {_one_line(key)}, expected text: put it in quotes"
        names = [str(key) for key in entries]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            return (
                f"{place}: {', '.join(twice)} appears more than once (1 and '1' are the same name): "
                "remove one of them from failover_modes"
            )
    return ""


def _some(names: Sequence[str]) -> str:
    rest = len(names) - SHOWN
    return ", ".join(map(_one_line, names[:SHOWN])) + (f" and {rest} more" if rest > 0 else "")


def _one_line(value: object) -> str:
    return " ".join(str(value).split())


class FilterModule:
    """Makes the filters known to Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "controller_of": controller_of,
            "host_variables": host_variables,
            "inventory_fault": inventory_fault,
            "known_variables": known_variables,
            "misspelt": misspelt,
            "mode_names_fault": mode_names_fault,
            "run_fault": run_fault,
            "unread": unread,
        }
