"""What the runbook says of files and outcomes is what the programs write and read."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml

from mqtt_monitor import config as monitor
from region_switch.fleet.roster import STATES
from region_switch.record.events import STEPS
from region_switch.record.summary import Summary

REPOSITORY = Path(__file__).parent.parent.parent
RUNBOOK = (REPOSITORY / "docs" / "runbook.md").read_text()
ENGINE = "".join(path.read_text() for path in (REPOSITORY / "module_utils" / "region_switch").rglob("*.py"))
MOVE = "".join(path.read_text() for path in (REPOSITORY / "module_utils" / "region_switch" / "move").glob("*.py"))


def section(title: str) -> str:
    return RUNBOOK.split(f"## {title}\n")[1].split("\n## ")[0]


def first_column(text: str) -> set[str]:
    """The names set as code in the first column of the tables of a text."""
    return {name for row in re.findall(r"^\| ([^|]+) \|", text, re.MULTILINE) for name in re.findall(r"`([^`]+)`", row)}


def test_example_of_the_monitor_is_a_valid_configuration(tmp_path: Path) -> None:
    example = re.search(r"```json\n(.*?)```", section("The monitor"), re.DOTALL)
    assert example
    path = tmp_path / "monitor.json"
    path.write_text(example[1])

    config = monitor.load(path)

    sample = yaml.safe_load((REPOSITORY / "inventory/sample/hosts.yml").read_text())["all"]["children"]["regions"]
    assert [region.name for region in config.regions] == list(sample["hosts"])
    assert all(f".iot.{region.name}.amazonaws.com" in region.host for region in config.regions)
    fleet = yaml.safe_load((REPOSITORY / "inventory/sample/group_vars/all/fleet.yml").read_text())
    assert config.client_id == fleet["fleet_monitor_client_id"]
    assert json.loads(example[1])["ledger"] == fleet["failover_ledger"]
    assert f"`{fleet['failover_ledger']}`" in section("The monitor")


def test_every_key_of_the_summary_is_explained() -> None:
    summary = Summary("run", "1").as_dict()
    explained = first_column(section("Reading the report").split("journal.jsonl")[0])

    assert {key.split(".")[0] for key in explained} == set(summary)
    assert {key for key in explained if "." in key} == {f"clients.{key}" for key in summary["clients"]}
    for key in summary["sweep"]:
        assert f"`{key}`" in section("Reading the report")


def test_every_phase_of_the_summary_is_explained() -> None:
    written = set(re.findall(r"\bphase\(\s*\"(\w+)\"", ENGINE))
    row = section("Reading the report").split("| `phases` | ")[1].splitlines()[0]
    explained = row.partition("` of ")[2].partition(", as far as the run got")[0]

    assert written
    assert set(re.findall(r"`(\w+)`", explained)) == written


def test_every_step_of_the_journal_is_explained() -> None:
    written = {each.step for each in STEPS.values() if re.search(rf"\bevents\.{each.__name__}\b", MOVE)}

    assert written == set(STEPS)
    assert first_column(section("Reading the report").split("journal.jsonl")[1]) == written


def test_every_state_of_a_client_is_explained() -> None:
    told = section("Stragglers").split("| state |")[1].split("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", told)) == set(STATES)


def test_every_outcome_is_explained() -> None:
    explained = first_column(section("What the outcome means")) - {"summary.json"}

    assert explained == {"moved", "unchanged", "refused", "rolled_back", "partial", "failed"}
    assert [outcome for outcome in explained if f'"{outcome}"' not in ENGINE] == []


def test_every_check_is_explained() -> None:
    checks = set(re.findall(r"(?:_blocking|Finding|unanswered)\(\s*\"(\w+)\"", ENGINE))

    assert checks
    assert first_column(section("Is the other region ready?")) == checks
