"""What a module's documentation says is what the module takes."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.plugins.loader import fragment_loader
from ansible.utils.plugin_docs import add_fragments

REPOSITORY = Path(__file__).parent.parent.parent
MODULES = sorted(path.stem for path in (REPOSITORY / "library").glob("*.py"))
COMPARED = {"type": "str", "required": False, "default": None, "choices": None, "elements": None, "aliases": None}


def documentation(name: str) -> dict[str, Any]:
    """A module's documentation with its fragments, as ansible-doc puts it together."""
    found: dict[str, Any] = yaml.safe_load(importlib.import_module(name).DOCUMENTATION)
    fragment_loader.add_directory(str(REPOSITORY / "plugins" / "doc_fragments"))
    add_fragments(found, str(REPOSITORY / "library" / f"{name}.py"), fragment_loader=fragment_loader, is_module=True)
    return found


def shape(option: dict[str, Any], children: str) -> dict[str, Any]:
    found = {key: option.get(key, absent) for key, absent in COMPARED.items()}
    nested = option.get(children) or {}
    return {**found, "options": {name: shape(child, children) for name, child in nested.items()}}


@pytest.mark.parametrize("name", MODULES)
def test_documented_options_are_those_of_the_module(name: str) -> None:
    module = importlib.import_module(name)
    documented = documentation(name)["options"]

    assert {option: shape(entry, "suboptions") for option, entry in documented.items()} == {
        option: shape(entry, "options") for option, entry in module.ARGUMENT_SPEC.items()
    }


@pytest.mark.parametrize("name", MODULES)
def test_examples_use_documented_options(name: str) -> None:
    module = importlib.import_module(name)

    assert documentation(name)["module"] == name
    for task in yaml.safe_load(module.EXAMPLES):
        assert set(task[name]) <= set(module.ARGUMENT_SPEC)


@pytest.mark.parametrize("name", MODULES)
def test_every_return_value_says_what_it_is(name: str) -> None:
    module = importlib.import_module(name)

    for value in yaml.safe_load(module.RETURN).values():
        assert {"description", "returned", "type"} <= set(value)
