"""Every role documents each of its variables, and defaults to nothing that is not documented."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROLES = sorted(path for path in (Path(__file__).parent.parent.parent / "roles").iterdir() if path.is_dir())

# Names of the inventory's own that a role takes as they are.
SHARED = {"failover_modes"}


def documented(role: Path) -> set[str]:
    specs = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text())
    return set(specs["argument_specs"]["main"]["options"])


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
def test_role_has_a_readme(role: Path) -> None:
    assert (role / "README.md").read_text().startswith(f"# {role.name}\n")
