"""Every role documents each of its variables, and defaults to nothing that is not documented."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import iot_readiness_info
import iot_region_switch
import pytest
import yaml
from ansible.module_utils.parsing.convert_bool import boolean
from jinja2 import Environment
from jinja2.nativetypes import NativeEnvironment

ROLES = sorted(path for path in (Path(__file__).parent.parent.parent / "roles").iterdir() if path.is_dir())

# Names of the inventory's own that a role takes as they are.
SHARED = {"failover_modes"}
# Read by the check of arguments alone: a filter in the value refuses devices that are wrong.
CHECKED_ONLY = {"validate_inventory_clients"}


def documented(role: Path) -> set[str]:
    specs = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text())
    return {name for entry_point in specs["argument_specs"].values() for name in entry_point["options"]}


def defaults(role: Path) -> set[str]:
    """Names with a default, and names that the file shows in a comment because they have none."""
    text = (role / "defaults" / "main.yml").read_text()
    return set(re.findall(r"^(?:# )?([a-z][a-z0-9_]*):", text, flags=re.MULTILINE))


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_argument_specs_match_defaults(role: Path) -> None:
    assert documented(role) - SHARED == defaults(role)


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_variables_carry_the_name_of_their_role(role: Path) -> None:
    assert [name for name in documented(role) if not name.startswith(role.name)] == []


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_no_variable_of_a_role_is_without_effect(role: Path) -> None:
    """What a role takes is read by its tasks, by the way of other variables or not."""
    files = [path for folder in ("tasks", "templates", "vars") for path in (role / folder).rglob("*") if path.is_file()]
    lines = (role / "defaults" / "main.yml").read_text().splitlines()
    values = [line.partition(": ")[2] for line in lines if not line.startswith("#")]
    read = set(re.findall(r"\w+", "\n".join([*(path.read_text() for path in files), *values])))

    assert documented(role) - SHARED - CHECKED_ONLY - read == set()


@pytest.mark.parametrize(
    ("role", "module"),
    [("failover", iot_region_switch), ("readiness", iot_readiness_info)],
    ids=lambda each: str(each)[:9],
)
def test_every_option_of_a_module_can_be_set_by_its_role(role: str, module: Any) -> None:
    """One that reaches the module by no variable would keep its default whatever the inventory says."""
    tasks = (ROLES[0].parent / role / "tasks" / "main.yml").read_text()
    said = set(re.findall(r"^ +([a-z_]+): ", tasks, flags=re.MULTILINE))
    assert set(module.ARGUMENT_SPEC) - said == set()


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({}, None),
        ({"mqtt_client_purge": "true", "mqtt_client_state": "absent"}, None),
        ({"mqtt_client_socket_group": "meters"}, None),
        ({"mqtt_client_socket": ""}, None),
        (
            {"mqtt_client_proxy_credentials": "/etc/proxy"},
            "mqtt_client_proxy_credentials: set to /etc/proxy without mqtt_client_proxy",
        ),
        (
            {"mqtt_client_purge": "true"},
            "mqtt_client_purge: it has no effect while the client is installed",
        ),
        (
            {"mqtt_client_socket": "", "mqtt_client_socket_group": "meters"},
            "mqtt_client_socket_group: set to meters without mqtt_client_socket",
        ),
    ],
)
def test_option_of_the_client_that_another_would_pass_over_is_refused(
    variables: dict[str, str], named: str | None
) -> None:
    role = ROLES[0].parent / "mqtt_client"
    environment = NativeEnvironment()
    environment.filters["bool"] = boolean
    usual = yaml.safe_load((role / "defaults" / "main.yml").read_text())
    template = yaml.safe_load((role / "vars" / "main.yml").read_text())["__mqtt_client_ineffective"]

    found = environment.from_string(template).render({**usual, **variables})

    assert [line[: len(named or "")] for line in found] == ([named] if named else [])


@pytest.mark.parametrize(
    ("modes", "expected"),
    [({"0": {}, "1": {}}, "1"), ({0: {}, 1: {}}, "1"), ({"normal": {}, "dublin": {}}, "normal"), ({"10": {}}, "10")],
)
def test_names_without_a_record_get_mode_1_or_the_first_of_the_table(modes: dict[Any, Any], expected: str) -> None:
    role = next(role for role in ROLES if role.name == "dns_records")
    default = yaml.safe_load((role / "defaults" / "main.yml").read_text())["dns_records_initial_mode"]

    assert Environment(autoescape=True).from_string(default).render(dns_records_modes=modes) == expected


PLAYBOOKS = sorted((ROLES[0].parent.parent / "playbooks").glob("*.yml"))
# Modules that run on devices.
ON_DEVICES = {"endpoint_lookup_info", "mqtt_device_client", "mqtt_device_identity"}
# Actions that ask nobody.
LOCAL = {"assert", "debug", "fail", "group_by", "include_tasks", "meta", "set_fact"}


def tasks(content: Any) -> Iterator[dict[str, Any]]:
    """The tasks of a file, also those in blocks."""
    for task in content or []:
        nested = [key for key in ("block", "rescue", "always") if key in task]
        for key in nested:
            yield from tasks(task[key])
        if not nested:
            yield task


@pytest.mark.parametrize("playbook", PLAYBOOKS, ids=lambda playbook: playbook.name)
def test_no_play_asks_devices_for_facts(playbook: Path) -> None:
    """What they say would become variables, and without the word Ansible asks where a configuration has it so."""
    plays = [play for play in yaml.safe_load(playbook.read_text()) if "hosts" in play]

    assert plays
    assert [play["name"] for play in plays if play.get("gather_facts") is not False] == []


@pytest.mark.parametrize(
    "role", [role for role in ROLES if role.name.startswith("mqtt_client")], ids=lambda role: role.name
)
def test_devices_are_asked_by_checked_modules_only_and_within_a_time_limit(role: Path) -> None:
    for path in (role / "tasks").glob("*.yml"):
        for task in tasks(yaml.safe_load(path.read_text())):
            asked = ON_DEVICES & set(task)
            here = task.get("delegate_to") == "localhost" or {f"ansible.builtin.{name}" for name in LOCAL} & set(task)
            assert asked or here, task["name"]
            assert all("time_limit" in task[module] for module in asked), task["name"]


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_role_that_asks_devices_has_their_actions_beside_it(role: Path) -> None:
    asks = any(f"{module}:" in path.read_text() for path in (role / "tasks").glob("*.yml") for module in ON_DEVICES)

    assert (role / "action_plugins").exists() == asks
    assert not asks or all((role / "action_plugins" / f"{module}.py").exists() for module in ON_DEVICES)


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_role_has_a_readme(role: Path) -> None:
    assert (role / "README.md").read_text().startswith(f"# {role.name}\n")
