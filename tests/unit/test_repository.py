"""What a newcomer types first: make, the README's commands, and the sample inventory."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).parent.parent.parent
BIN = Path(sys.executable).parent
PLAYBOOKS = ["setup.yml", "failover.yml", *(f"playbooks/{path.name}" for path in REPOSITORY.glob("playbooks/*.yml"))]
PAGES = ["README.md", *(f"docs/{path.name}" for path in REPOSITORY.glob("docs/*.md"))]
# Made by the commands that the pages describe.
GENERATED = {".venv", "reports", "inventory/production", "certs/production"}


def run(*command: str) -> str:
    """Run a command in the repository, which must succeed, and return what it prints."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "ANSIBLE_"))}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr or done.stdout
    return done.stdout


def makefile_targets() -> set[str]:
    text = (REPOSITORY / "Makefile").read_text()
    return {name for names in re.findall(r"^\.PHONY:(.*)$", text, flags=re.MULTILINE) for name in names.split()}


def code(page: str) -> list[str]:
    """What a page sets as code: lines of its blocks, and spans in its text."""
    text = (REPOSITORY / page).read_text()
    blocks = re.findall(r"^ *```\w*\n(.*?)^ *```", text, flags=re.MULTILINE | re.DOTALL)
    spans = re.findall(r"`([^`]+)`", re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL))
    return [line for block in blocks for line in block.splitlines()] + [" ".join(span.split()) for span in spans]


def test_make_alone_lists_every_target() -> None:
    listed = {line.split()[0] for line in run("make", "--no-print-directory").splitlines()}

    assert listed == makefile_targets()
    assert {"drill", "test", "lint", "lab", "lab-down"} <= listed


def test_sample_inventory_parses() -> None:
    inventory = json.loads(run(str(BIN / "ansible-inventory"), "-i", "inventory/sample", "--list"))

    assert inventory["regions"]["hosts"] == ["us-east-1", "ap-northeast-1"]
    assert {inventory["_meta"]["hostvars"][host]["mqtt_endpoint"] for host in inventory["edge"]["hosts"]} == {
        "mqtt1.example.com",
        "mqtt2.example.com",
    }
    assert inventory["_meta"]["hostvars"]["localhost"]["aws_environment"] == {}


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_playbook_passes_the_syntax_check_with_the_sample_inventory(playbook: str) -> None:
    output = run(str(BIN / "ansible-playbook"), "-i", "inventory/sample", "--syntax-check", playbook)

    assert f"playbook: {playbook}" in output


@pytest.mark.parametrize("page", PAGES)
def test_page_names_targets_that_exist(page: str) -> None:
    named = {match[1] for text in code(page) if (match := re.match(r"make ([a-z][a-z-]*)", text))}

    assert named - makefile_targets() == set()
    assert page != "README.md" or {"drill", "test"} <= named


@pytest.mark.parametrize("page", PAGES)
def test_page_names_files_that_exist(page: str) -> None:
    text = (REPOSITORY / page).read_text()
    links = {link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link}
    paths = {
        word.rstrip("/,:;.")
        for entry in code(page)
        for word in entry.split()
        if re.fullmatch(r"(\.?[\w-]+/)+[\w.-]*[,:;.]?|[\w-]+\.(yml|cfg|toml|txt)", word)
    }
    roots = {path.name for path in REPOSITORY.iterdir()} | {"setup.yml", "failover.yml"}
    own = {path for path in paths if path.split("/")[0] in roots and not path.startswith(tuple(GENERATED))}

    assert own
    assert [path for path in sorted(own) if not (REPOSITORY / path).exists()] == []
    assert [link for link in sorted(links) if not (REPOSITORY / page).parent.joinpath(link).exists()] == []


def test_commands_of_the_readme_name_playbooks_that_exist() -> None:
    named = {
        word
        for text in code("README.md")
        if text.startswith("ansible-playbook")
        for word in text.split()
        if word.endswith(".yml")
    }

    assert {"setup.yml", "failover.yml", "playbooks/deploy_clients.yml", "playbooks/deploy_monitor.yml"} <= named
    assert named <= set(PLAYBOOKS)


def test_readme_moves_production_only_with_a_plan_that_was_read() -> None:
    """As the sample inventory wants it: a move without a token is refused."""
    sample = yaml.safe_load((REPOSITORY / "inventory/sample/group_vars/all/fleet.yml").read_text())
    moves = [text for text in code("README.md") if re.search(r"inventory/production \S*(failover|rollback)\.yml", text)]

    assert sample["failover_require_approval"]
    assert len(moves) >= 2
    assert [text for text in moves if "--check" not in text and "approve=" not in text] == []


@pytest.mark.parametrize("variable", ["iot_endpoints", "failover_modes", "hosted_zone_id", "dns_resolvers"])
def test_readme_says_what_to_fill_in(variable: str) -> None:
    sample = yaml.safe_load((REPOSITORY / "inventory/sample/group_vars/all/fleet.yml").read_text())

    assert variable in sample
    assert variable in code("README.md")
