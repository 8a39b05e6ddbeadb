"""Every filter is documented, as ansible-doc shows it, with what the filter takes and nothing else."""

from __future__ import annotations

import importlib
import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from mqtt_fleet.libraries import LIBRARIES

REPOSITORY = Path(__file__).parent.parent.parent
FOLDER = REPOSITORY / "plugins" / "filter"
FILTERS: dict[str, Callable[..., Any]] = {
    name: function
    for path in sorted(FOLDER.glob("*.py"))
    for name, function in importlib.import_module(path.stem).FilterModule().filters().items()
}


def documented(name: str) -> Any:
    return yaml.safe_load((FOLDER / f"{name}.yml").read_text())


def test_every_filter_has_a_page_and_every_page_a_filter() -> None:
    assert FILTERS
    assert {path.stem for path in FOLDER.glob("*.yml")} == set(FILTERS)


@pytest.mark.parametrize("name", FILTERS)
def test_page_names_what_the_filter_takes(name: str) -> None:
    page = documented(name)["DOCUMENTATION"]
    _, *parameters = inspect.signature(FILTERS[name]).parameters.values()

    assert page["name"] == name
    assert [each for each in page["options"] if each != "_input"] == [each.name for each in parameters]
    assert page.get("positional", "") == ", ".join(each.name for each in parameters)
    required = {each.name for each in parameters if each.default is inspect.Parameter.empty} | {"_input"}
    assert {key for key, option in page["options"].items() if option.get("required")} == required
    # YAML has lists for what is a tuple in Python.
    defaults = {
        each.name: list(each.default) if isinstance(each.default, tuple) else each.default
        for each in parameters
        if each.name not in required
    }
    assert {key: option["default"] for key, option in page["options"].items() if "default" in option} == defaults


@pytest.mark.parametrize("name", FILTERS)
def test_page_says_what_comes_out_and_shows_a_use(name: str) -> None:
    page = documented(name)

    assert {"description", "type"} <= set(page["RETURN"]["_value"])
    assert f"| {name}" in page["EXAMPLES"]
    assert yaml.safe_load(page["EXAMPLES"])


def test_ansible_doc_shows_each() -> None:
    """One process for all: each takes a second."""
    command = [str(Path(sys.executable).parent / "ansible-doc"), "--json", "--type", "filter", *FILTERS]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert set(shown) == set(FILTERS)
    assert all(each["doc"]["short_description"] and each["examples"] and each["return"] for each in shown.values())


@pytest.mark.parametrize(
    ("hosts", "size"), [(0, 100), (100, 100), (101, 200), (900, 900), (901, 1000), (1001, 2000), (99_999, 100_000)]
)
def test_size_of_the_fleet_is_rounded_up(hosts: int, size: int) -> None:
    assert FILTERS["rounded_up"]([f"edge{number}" for number in range(hosts)]) == size


@pytest.mark.parametrize(
    ("devices", "ports"),
    [
        ([], [8883]),
        ([{}], [8883]),
        ([{"mqtt_client_library": "paho"}, {"mqtt_client_library": "awsiotsdk"}], [443, 8883]),
        ([{"mqtt_client_library": "awsiotsdk"}] * 3, [443]),
        ([{"mqtt_client_library": "awsiotsdk", "mqtt_client_port": 8883}], [8883]),
        ([{"mqtt_client_library": "paho", "mqtt_client_port": "443"}], [443]),
        ([{"mqtt_client_library": "awsiotsdk", "mqtt_client_port": 0}], [443]),
        # Software of their own.
        ([{"mqtt_client_library": "awsiotsdk", "mqtt_client_managed": False}], [8883]),
    ],
)
def test_ports_of_mqtt_are_those_that_devices_use(devices: list[dict[str, Any]], ports: list[int]) -> None:
    hostvars = {f"edge-{number}": variables for number, variables in enumerate(devices)}
    assert FILTERS["mqtt_ports"](list(hostvars), hostvars) == ports
    assert FILTERS["mqtt_ports"](list(hostvars), hostvars, 8443) == [8443]


@pytest.mark.parametrize("name", LIBRARIES)
def test_port_of_a_library_is_the_one_that_the_client_takes(name: str) -> None:
    assert FILTERS["mqtt_ports"](["edge1"], {"edge1": {"mqtt_client_library": name}}) == [LIBRARIES[name].port]


def test_ports_of_a_large_fleet_are_those_of_hosts_all_over_it() -> None:
    sdk, looked_at = {"mqtt_client_library": "awsiotsdk"}, list[str]()

    class Variables(dict[str, Any]):
        def __getitem__(self, host: str) -> Any:
            looked_at.append(host)
            return sdk if int(host) >= 5001 else {}

    assert FILTERS["mqtt_ports"]([str(number) for number in range(5010)], Variables()) == [443, 8883]
    assert len(looked_at) == 1670
