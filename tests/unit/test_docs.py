"""What a module's documentation says is what the module takes."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import yaml

MODULES = sorted(path.stem for path in (Path(__file__).parent.parent.parent / "library").glob("*.py"))
COMPARED = {"type": "str", "required": False, "default": None, "choices": None, "elements": None, "aliases": None}


def shape(option: dict[str, Any], children: str) -> dict[str, Any]:
    found = {key: option.get(key, absent) for key, absent in COMPARED.items()}
    nested = option.get(children) or {}
    return {**found, "options": {name: shape(child, children) for name, child in nested.items()}}


@pytest.mark.parametrize("name", MODULES)
def test_documented_options_are_those_of_the_module(name: str) -> None:
    module = importlib.import_module(name)
    documented = yaml.safe_load(module.DOCUMENTATION)["options"]

    assert {option: shape(entry, "suboptions") for option, entry in documented.items()} == {
        option: shape(entry, "options") for option, entry in module.ARGUMENT_SPEC.items()
    }


@pytest.mark.parametrize("name", MODULES)
def test_examples_use_documented_options(name: str) -> None:
    module = importlib.import_module(name)
    documented = yaml.safe_load(module.DOCUMENTATION)

    assert documented["module"] == name
    for task in yaml.safe_load(module.EXAMPLES):
        assert set(task[name]) <= set(module.ARGUMENT_SPEC)


@pytest.mark.parametrize("name", MODULES)
def test_every_return_value_says_what_it_is(name: str) -> None:
    module = importlib.import_module(name)

    for value in yaml.safe_load(module.RETURN).values():
        assert {"description", "returned", "type"} <= set(value)
