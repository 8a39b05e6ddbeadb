"""The table of traps: what it names is there, and the page is what is written from it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from lab import topology, traps_table
from lab.faults import FAULTS
from lab.traps_table import Trap

TRAPS = traps_table.load()
COUNT = 25

each_trap = pytest.mark.parametrize("trap", TRAPS, ids=[str(trap.number) for trap in TRAPS])


def functions_of(path: Path) -> set[str]:
    """The names of a file's tests."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    return {function.name for function in functions if function.name.startswith("test_")}


def test_every_trap_is_there_once() -> None:
    assert [trap.number for trap in TRAPS] == list(range(1, COUNT + 1))


def test_page_is_what_the_table_says() -> None:
    assert traps_table.PATH.read_text(encoding="utf-8") == traps_table.page(TRAPS), "run make traps"


@each_trap
def test_files_exist(trap: Trap) -> None:
    assert [name for name in trap.files if not (topology.REPOSITORY / name).is_file()] == []


@each_trap
def test_tests_exist(trap: Trap) -> None:
    absent = []
    for test in trap.tests:
        path, _, function = test.partition("::")
        file = topology.REPOSITORY / path
        if not (path.startswith("tests/") and file.is_file() and function in functions_of(file)):
            absent.append(test)
    assert absent == []


@each_trap
def test_faults_are_those_of_the_menu(trap: Trap) -> None:
    assert set(trap.faults) <= {fault.name for fault in FAULTS}


@each_trap
def test_what_is_handled_says_where_and_is_tested_and_what_is_not_says_why(trap: Trap) -> None:
    assert trap.trap
    if trap.handled:
        assert trap.files
        assert trap.tests
    else:
        assert trap.missing
        assert not trap.tests


def test_key_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "traps.toml"
    path.write_text('[[traps]]\nnumber = 1\ntrap = "a"\nhandled = ""\nmising = "b"\n')

    with pytest.raises(TypeError, match="mising"):
        traps_table.load(path)


def test_summary_counts_what_is_missing() -> None:
    whole = Trap(1, "a", "b", ("c",), tests=("d",))
    lacking = Trap(2, "a", "b", ("c",), tests=("d",), missing="e")
    unhandled = Trap(3, "a", "", missing="e")

    text = traps_table.page([whole, lacking, unhandled])

    assert "1 of 3 are handled and held by tests; something is missing of 2; not handled: 3." in text
