"""A playbook that is called so that it would leave out what it is for says so, in one line."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from invocation import (
    controller_of,
    inventory_fault,
    known_variables,
    misspelt,
    mode_names_fault,
    run_fault,
    unread,
)

from .properties.anything import ANYTHING

REPOSITORY = Path(__file__).parent.parent.parent
ROLES = REPOSITORY / "roles"
CHECK = REPOSITORY / "playbooks" / "check_run.yml"
PLAYBOOKS = sorted(path for path in CHECK.parent.glob("*.yml") if path != CHECK)
GROUPS = {
    "regions": ["us-east-1", "ap-northeast-1"],
    "edge": ["edge1", "edge2", "edge3", "edge4", "edge5"],
    "monitors": ["watch1"],
}
ALL = ["localhost", *GROUPS["regions"], *GROUPS["edge"], *GROUPS["monitors"]]
AGAIN = "run again without --limit (in AWX: without a limit)"


@pytest.mark.parametrize("playbook", PLAYBOOKS, ids=lambda playbook: playbook.stem)
def test_every_playbook_checks_first_how_it_is_run(playbook: Path) -> None:
    first = yaml.safe_load(playbook.read_text())[0]

    assert first["ansible.builtin.import_playbook"] == CHECK.name
    assert first["vars"]["validate_run_kind"] in {"move", "look", "setup", "devices", "monitors"}


def test_check_of_how_a_playbook_is_run_is_on_every_host_that_a_limit_leaves() -> None:
    (first,) = yaml.safe_load(CHECK.read_text())

    assert first["hosts"] == "{{ 'all' if ansible_limit is defined else 'localhost' }}"
    assert (first["tags"], first["gather_facts"]) == (["always"], False)
    (role,) = first["roles"]
    assert (role["role"], role["run_once"]) == ("validate_run", True)


@pytest.mark.parametrize("kind", ["move", "look", "setup", "devices", "monitors"])
def test_run_of_everything_is_right(kind: str) -> None:
    assert run_fault(kind, "", ["localhost"], GROUPS) == ""
    assert run_fault(kind, "all", ALL, GROUPS, ["all"], []) == ""


@pytest.mark.parametrize(
    ("kind", "hosts"),
    [
        ("move", ["localhost"]),
        ("move", ["localhost", "us-east-1"]),
        ("move", ["localhost", *GROUPS["edge"]]),
        ("look", ["localhost"]),
        ("look", ["localhost", "edge1"]),
        ("setup", ["us-east-1"]),
        ("setup", ["localhost", "us-east-1", "edge1"]),
        ("setup", ["localhost"]),
        ("devices", ["edge1"]),
        ("monitors", ["watch1"]),
    ],
)
def test_limit_that_leaves_what_the_playbook_is_for_is_right(kind: str, hosts: list[str]) -> None:
    assert run_fault(kind, "some", hosts, GROUPS) == ""


@pytest.mark.parametrize(
    ("kind", "hosts", "named"),
    [
        ("move", ["edge1"], "leaves out localhost, where the move runs"),
        ("move", ["us-east-1"], "leaves out localhost, where the move runs"),
        ("move", GROUPS["edge"], "leaves out localhost"),
        # Of the fleet, a part: the others would be moved all the same.
        ("move", [name for name in ALL if name != "edge2"], "leaves out edge2; a move is for the whole fleet"),
        ("move", ["localhost", "edge1"], "leaves out edge2, edge3, edge4 and 1 more; a move is for the whole fleet"),
        ("look", ["us-east-1"], "leaves out localhost, where the playbook runs"),
        ("setup", ["edge1"], f"names no region: {AGAIN}, or with regions such as us-east-1, ap-northeast-1; "),
        ("setup", ["localhost", "edge1"], "names no region"),
        ("devices", ["localhost", "us-east-1"], f"names no host of the group 'edge': {AGAIN}, or name devices"),
        ("monitors", ["edge1"], f"names no host of the group 'monitors': {AGAIN}, or name monitors"),
    ],
)
def test_limit_that_leaves_out_what_the_playbook_is_for_is_refused(kind: str, hosts: list[str], named: str) -> None:
    fault = run_fault(kind, "these", hosts, GROUPS)

    assert fault.startswith("limit: 'these' ")
    assert named in fault
    assert AGAIN in fault


def test_part_of_a_playbook_is_refused() -> None:
    assert run_fault("look", "", ["localhost"], GROUPS, ["a", "b"], []).startswith("tags: --tags a,b would run a part")
    assert "tags: --skip-tags x would" in run_fault("look", "", ["localhost"], GROUPS, ["all"], ["x"])
    assert "tags: --tags a and --skip-tags x would" in run_fault("look", "", ["localhost"], GROUPS, ["a"], ["x"])


def test_playbook_for_devices_needs_devices() -> None:
    assert run_fault("devices", "", ["localhost"], {"edge": []}).startswith("devices: the group 'edge' has no host")
    assert run_fault("devices", "", ["localhost"], {}).startswith("devices: the group 'edge' has no host")
    assert run_fault("monitors", "", ["localhost"], GROUPS | {"monitors": []}).startswith("monitors: the group")


def test_controller_is_localhost_or_the_first_region_of_the_run() -> None:
    assert controller_of(ALL, GROUPS["regions"]) == "localhost"
    assert controller_of(["edge1", "ap-northeast-1"], GROUPS["regions"]) == "ap-northeast-1"
    assert controller_of(["edge1"], GROUPS["regions"]) == "localhost"


def test_inventory_that_is_no_fleets_is_named_and_so_is_one_variable() -> None:
    needed = ["a", "b", "c", "d"]

    nothing = inventory_fault(dict.fromkeys(needed, ""), needed, ["/inventory/prodution"])
    assert nothing.startswith("inventory: no variables of a fleet in /inventory/prodution (a, b, c and 1 more): ")
    values = {"a": 0, "b": None, "c": [], "d": "", "e": ""}
    assert inventory_fault(values, needed).startswith("b, d: not set: give it a value in the inventory")
    assert inventory_fault({**values, "b": {}, "d": False}, needed) == ""
    assert inventory_fault(values, []) == ""


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("failover_wave", "failover_waves"),
        ("failover_max_straglers", "failover_max_stragglers"),
        ("mqtt_client_libary", "mqtt_client_library"),
        ("dns_resolver", "dns_resolvers"),
        ("iot_issuing_regoin", "iot_issuing_region"),
    ],
)
def test_misspelt_variable_is_named_with_the_one_that_is_meant(name: str, meant: str) -> None:
    known = known_variables(str(ROLES))

    assert misspelt([name, "failover_restore"], known).startswith(
        f"variables: nothing reads {name}, expected {meant}: correct the name"
    )


def test_variables_of_the_operators_own_are_let_be() -> None:
    known = known_variables(str(ROLES))
    own = [
        "failover_ticket",
        "mqtt_client_site",
        "iot_tenant",
        "iot_endpoints_old",
        "failover_modes_all",
        "status_page",
    ]

    assert misspelt([*known, *own], known) == ""
    assert unread([*known, *own], known) == ["failover_modes_all", "failover_ticket", "mqtt_client_site"]


# Variables that tasks set for others, and a key of the client's configuration.
OF_TASKS = {"failover_device_targets", "fleet_size", "mqtt_client_file", "mqtt_client_region"}


def test_every_variable_that_is_read_is_known() -> None:
    """Else it would be refused or told as one that nothing reads."""
    known = set(known_variables(str(ROLES)))
    text = "".join(path.read_text() for folder in (ROLES, REPOSITORY / "playbooks") for path in folder.rglob("*.yml"))
    text += "".join(path.read_text() for path in (REPOSITORY / "inventory").rglob("*.yml"))
    variables = yaml.safe_load((ROLES / "validate_run" / "vars" / "main.yml").read_text())
    names = set(re.findall(r"(?<![\w.])([a-z]\w+)(?= \| default| \}\}|:$|: )", text, re.MULTILINE))
    read = {name for name in names if re.match(variables["__validate_run_spelt"], name)}

    assert "failover_waves" in read
    # Modules and their options.
    others = {path.stem for path in (REPOSITORY / "library").glob("*.py")} | {
        option
        for path in (REPOSITORY / "library").glob("*.py")
        for option in importlib.import_module(path.stem).ARGUMENT_SPEC
    }
    assert read - known - others == OF_TASKS


@pytest.mark.parametrize(
    ("table", "named"),
    [
        ({1: {}, "1": {}}, "failover_modes: 1 appears more than once"),
        ({True: {}}, "failover_modes: found the name True, expected text"),
        ({1.5: {}}, "failover_modes: found the name 1.5"),
        ({None: {}}, "failover_modes: found the name None"),
        ({"1": {1: "us-east-1", "1": "us-east-1"}}, "mode 1: 1 appears more than once"),
        ({1: {}, "2": {"mqtt1.example.com": "us-east-1"}}, ""),
        (None, ""),
    ],
)
def test_names_that_become_one_are_refused(table: Any, named: str) -> None:
    fault = mode_names_fault(table)

    assert fault.startswith(named)
    assert bool(fault) == bool(named)


@given(ANYTHING)
def test_any_table_has_one_line_or_none(table: object) -> None:
    assert "\n" not in mode_names_fault(table)
