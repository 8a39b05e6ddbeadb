"""The arguments of the roles that pass a module's options on are written from that module's documentation.

`make options` writes them; an option has its text in one place, model/options.py.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from .test_docs import documentation

ROLES = Path(__file__).parent.parent.parent / "roles"
PASSED = re.compile(r'^ +(\w+): "\{\{ (\w+) (?:\}\}|\| (?:default|project_path)\()', re.MULTILINE)
# What a role takes otherwise than its module: the mode table of the inventory.
OTHERWISE = {"modes", "mode"}


class Indented(yaml.SafeDumper):
    """Writes lists as yamllint wants them."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002 - yaml's
        super().increase_indent(flow, False)


def variables(role: str) -> dict[str, str]:
    """`{variable of the role: option of the module}`, as the role's tasks pass them on."""
    tasks = (ROLES / role / "tasks" / "main.yml").read_text(encoding="utf-8")
    return {name: option for option, name in PASSED.findall(tasks) if name.startswith(f"{role}_")}


def plain(text: str, names: dict[str, str]) -> str:
    """A description without the markup of modules, the options by the names of their variables."""
    text = re.sub(r"O\((\w+)", lambda found: f"O({names.get(found[1], found[1])}", text)
    return re.sub(r"\b(?:O|V|C|RV)\(([^()]*)\)", r"\1", text)


def argument(option: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    described = option["description"]
    paragraphs = [str(each) for each in (described if isinstance(described, list) else [described])]
    kept: dict[str, Any] = {key: str(option[key]) for key in ("type", "elements") if key in option}
    if "choices" in option:
        kept["choices"] = [str(choice) for choice in option["choices"]]
    return {**kept, "description": plain(" ".join(paragraphs), names)}


def written(role: str, module: str) -> str:
    """The role's argument_specs.yml as it should be."""
    path = ROLES / role / "meta" / "argument_specs.yml"
    specs = yaml.safe_load(path.read_text(encoding="utf-8"))
    options, passed = documentation(module)["options"], variables(role)
    names = {option: name for name, option in passed.items()}
    arguments = specs["argument_specs"]["main"]["options"]
    for name, option in passed.items():
        if option in options and option not in OTHERWISE:
            arguments[name] = argument(options[option], names)
    return yaml.dump(specs, Dumper=Indented, sort_keys=False, width=85, explicit_start=True, allow_unicode=True)


@pytest.mark.parametrize(("role", "module"), [("failover", "iot_region_switch"), ("readiness", "iot_readiness_info")])
def test_arguments_of_a_role_are_those_of_its_module(role: str, module: str) -> None:
    path = ROLES / role / "meta" / "argument_specs.yml"
    if os.environ.get("WRITE_OPTIONS"):
        path.write_text(written(role, module), encoding="utf-8")
    assert path.read_text(encoding="utf-8") == written(role, module), "make options writes it"
