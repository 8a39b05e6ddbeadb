"""What is for people and what is data: text that a terminal or a spreadsheet would obey."""

from __future__ import annotations

import csv
import io
import sys
import unicodedata
from typing import Any

import pytest
from ansible.module_utils.region_switch.checks.probe import ProbeError
from ansible.module_utils.region_switch.model.errors import AwsError, SwitchError, printable
from ansible.module_utils.region_switch.model.findings import Finding, table
from ansible.module_utils.region_switch.model.spreadsheet import cell
from ansible.module_utils.region_switch.module import FailedResultError, run_module
from hypothesis import given
from hypothesis import strategies as st

import move_progress

# Clears the screen, rings, sets the title by C1, turns the direction of text, hides, ends a line.
STEERING = {
    "\x1b[2J": r"\x1b[2J",
    "\a": r"\x07",
    "\x7f": r"\x7f",
    "\x9d0;title\x9c": r"\x9d0;title\x9c",
    "\u202egnp.exe": r"\u202egnp.exe",
    "\u2066a\u2069": r"\u2066a\u2069",
    "\u200e\u200f\u061c": r"\u200e\u200f\u061c",
    "\u200b\ufeff": r"\u200b\ufeff",
    "a\u2028b": r"a\u2028b",
    "\ud800": r"\ud800",
    "\U000e0041": r"\U000e0041",
    "a\nb\rc\td": r"a\nb\rc\td",
}


@pytest.mark.parametrize("text", STEERING)
def test_what_steers_a_terminal_is_shown_as_an_escape(text: str) -> None:
    assert printable(text) == STEERING[text]


@pytest.mark.parametrize("text", ["", "client_01", "機器\u3000一号 é \u00a0 ½ 😀", r"\x1b as written"])
def test_what_people_write_stays(text: str) -> None:
    assert printable(text) == text


@given(st.text(st.characters(exclude_categories=())))
def test_no_control_or_format_character_is_left(text: str) -> None:
    shown = printable(text)

    assert not {unicodedata.category(each) for each in shown} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert printable(shown) == shown
    shown.encode()


def test_plugin_that_cannot_load_the_engine_shows_the_same() -> None:
    everything = [chr(number) for number in range(sys.maxunicode + 1)]

    assert [each for each in everything if printable(each) != move_progress.printable(each)] == []


@pytest.mark.parametrize("text", STEERING)
def test_no_error_or_finding_steers_a_terminal(text: str) -> None:
    finding = Finding("check", True, "us-east-1", text, text, text, text)
    errors = [SwitchError(text), AwsError("Operation", "us-east-1", text, 500, text), ProbeError(text, text)]
    lines = [*map(str, errors), finding.line(), *table([finding], []), errors[1].text, errors[2].problem]  # type: ignore[attr-defined]

    assert [line for line in lines if not line.replace("\u3000", "").isprintable()] == []


def ended(monkeypatch: pytest.MonkeyPatch, action: Any) -> dict[str, Any]:
    """How a module ends."""
    results: list[dict[str, Any]] = []

    class Module:
        check_mode = False

        def __init__(self, **_: Any) -> None:
            self.params: dict[str, Any] = {}

        def exit_json(self, **result: Any) -> None:
            results.append(result)

        fail_json = exit_json

    monkeypatch.setattr("ansible.module_utils.region_switch.module.AnsibleModule", Module)
    run_module({}, action)
    return results[0]


def test_module_shows_people_what_is_printable_and_leaves_data_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    result = {
        "changed": True,
        "lines": ["a\x1b[2Jb"],
        "client_ids": ["a\x1b[2Jb"],
        "diff": {"before": {"a\u202eb": ["c\x07", 5, None]}, "after": "one\ntwo\x1b"},
    }

    assert ended(monkeypatch, lambda *_: result) == {
        "changed": True,
        "lines": [r"a\x1b[2Jb"],
        "client_ids": ["a\x1b[2Jb"],
        "diff": {"before": {r"a\u202eb": [r"c\x07", 5, None]}, "after": "one\ntwo\\x1b"},
    }


def test_module_that_fails_shows_people_what_is_printable(monkeypatch: pytest.MonkeyPatch) -> None:
    def action(*_: Any) -> dict[str, Any]:
        raise FailedResultError("found \x1b", {"lines": ["\u202e"], "summary": {"mode": "\x1b"}})

    assert ended(monkeypatch, action) == {
        "msg": r"found \x1b",
        "lines": [r"\u202e"],
        "summary": {"mode": "\x1b"},
    }


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "＋1", "－1", "＠1"])
def test_text_that_a_spreadsheet_takes_for_a_formula_gets_an_apostrophe(text: str) -> None:
    assert cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "client_01", "a=b", "1-2", "'quoted", "機器"])
def test_other_text_stays(text: str) -> None:
    assert cell(text) == text


@given(st.text())
def test_any_cell_is_read_back(text: str) -> None:
    stream = io.StringIO()
    csv.writer(stream).writerow([cell(text), 1])

    assert next(csv.reader(io.StringIO(stream.getvalue(), newline="")))[0] in (text, f"'{text}")
