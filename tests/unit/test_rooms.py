"""Where what lives: each room of the engine imports only rooms before it, and no imports go in a circle."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.imports import IMPORTS, MODULES

REPOSITORY = Path(__file__).parent.parent.parent
ENGINE = REPOSITORY / "module_utils" / "region_switch"
# In the order in which data goes through them; docs/architecture.md says what each is for.
ROOMS = ("model", "aws", "record", "dns", "fleet", "setup", "checks", "report", "move")
# What every room may use.
SHARED = "module"
SDKS = ("ansible", "awscrt", "awsiot", "boto3", "botocore", "cryptography", "dns", "paho")


def room(name: str) -> str:
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else ""


def test_every_folder_of_the_engine_is_a_known_room() -> None:
    # What an earlier release left in a checkout has no modules.
    assert {path.parent.name for path in ENGINE.glob("*/*.py")} == set(ROOMS)


def test_the_architecture_names_every_module_in_its_room() -> None:
    named: dict[str, set[str]] = {}
    place = ""
    for line in (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) == 5:
            if found := re.fullmatch(r"`(\w+)/`", cells[1]):
                place = found[1]
            named.setdefault(place, set()).update(re.findall(r"`(\w+)`", cells[2]))
    for each in set(ROOMS) - {"report"}:
        there = {path.stem for path in (ENGINE / each).glob("*.py")} - {"__init__"}
        assert named[each] == there, each


@pytest.mark.parametrize("place", ROOMS)
def test_a_room_imports_only_rooms_before_it(place: str) -> None:
    before = ("", SHARED, *ROOMS[: ROOMS.index(place) + 1])
    ours = [name for name in MODULES if name.startswith(f"region_switch.{place}.")]
    assert ours
    assert [(name, each) for name in ours for each in sorted(IMPORTS[name]) if room(each) not in before] == []


def test_only_their_own_room_knows_what_dns_methods_are_made_of() -> None:
    """Everybody else goes through the contract: `dns/methods.py` makes a method, `dns/method.py` says what it does."""
    inner = {name for name in MODULES if name.startswith("region_switch.dns.route53")}
    assert inner
    outside = [name for name in IMPORTS if not name.startswith("region_switch.dns.")]
    assert [(name, each) for name in outside for each in sorted(IMPORTS[name] & inner)] == []


def test_no_imports_go_in_a_circle() -> None:
    """Without those of a package by its own modules: Python has it before them."""
    graph = {name: {each for each in found if not name.startswith(f"{each}.")} for name, found in IMPORTS.items()}
    while free := [name for name, found in graph.items() if not found & graph.keys()]:
        for name in free:
            del graph[name]
    # What is left is in a circle, or imports what is.
    assert graph == {}


@pytest.mark.parametrize("name", [name for name in MODULES if room(name) == "model" and name.count(".") == 2])
def test_the_model_loads_no_sdk(name: str) -> None:
    script = f"import sys, {name}; print([each for each in {SDKS} if each in sys.modules])"
    command = [sys.executable, "-c", script]
    environment = {"PYTHONPATH": str(ENGINE.parent), "PATH": ""}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (ended.stdout, ended.stderr) == ("[]\n", "")


# A statement on the roster's table, or a condition on its columns.
SQL = re.compile(
    r"\b(?:FROM|INTO|JOIN|UPDATE)\s+client\b"
    r"|\b(?:state|wave|attempts|looks|kicks|late|found|bounces|note|in_target|in_source)"
    r"\s*(?:=|!=|<|>|(?:NOT )?IN\b)\s*[?'(\d]"
)


def texts(name: str) -> list[str]:
    """The strings in a module, also the pieces of those that are put together."""
    nodes = ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8")))
    return [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]


def test_nobody_outside_the_fleet_writes_sql_on_the_roster() -> None:
    engine = [name for name in MODULES if name.startswith("region_switch.")]
    found = {name for name in engine for text in texts(name) if SQL.search(text)}

    assert found == {"region_switch.fleet.roster", "region_switch.fleet.roster_reading"}


def test_what_runs_beside_the_ledger_needs_nothing_of_the_engine() -> None:
    """The live view alone, which runs from a checkout, reads the engine's journals."""
    names = ("monitor", "ledger", "config")
    script = f"import sys; {'; '.join(f'import mqtt_monitor.{name}' for name in names)}; print(sorted(sys.modules))"
    environment = {"PYTHONPATH": str(REPOSITORY / "clients"), "PATH": ""}
    ended = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)

    assert ended.stderr == ""
    assert "mqtt_monitor.config" in ended.stdout
    assert not re.search(r"region_switch|mqtt_device|mqtt_monitor\.watch", ended.stdout)
