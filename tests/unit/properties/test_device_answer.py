"""Whatever a device answers: what is taken of it is as documented, or it is refused in one line."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from device_answer import ANSWERS, UnreadableError, checked, parsed
from hypothesis import example, given
from hypothesis import strategies as st

from .anything import ANYTHING, ENDPOINTS, TEXT, assert_one_line

ASKED = [{}, {"state": "absent"}, {"endpoints": ENDPOINTS, "targets": {ENDPOINTS[0]: "one.example.net"}}]
KEYS = ["changed", "failed", "msg", "csr", "python", "machine", "releases", "connected", "status", "release", "diff"]
KEYS += ["undelivered", "kept", "lookups", "stale", "ansible_facts", "add_host", *ENDPOINTS]
# Answers that are nearly right: a key's own value now and then, anything else for the others.
USUAL = st.sampled_from([True, False, None, "3.11", "x86_64", "PEM=", [], ["x-python3.11"], 0, 3])
SAID = ANYTHING | st.dictionaries(st.sampled_from(KEYS) | TEXT, USUAL | ANYTHING, max_size=12)


def printable(value: Any) -> bool:
    if isinstance(value, dict):
        return all(printable(each) for each in value.values())
    if isinstance(value, list):
        return all(printable(each) for each in value)
    return not isinstance(value, str) or value.replace("\n", "").replace("\t", "").isprintable()


@pytest.mark.parametrize("module", ANSWERS)
@given(asked=st.sampled_from(ASKED), said=SAID)
@example(asked={}, said={"changed": True, "connected": True, "status": "\x1b[2J", "release": None})
@example(asked={}, said={"failed": True, "msg": "\ud800\x1b"})
@example(asked={}, said={"changed": True, "csr": None, "python": "3.11", "machine": "x86_64", "releases": []})
def test_answer_is_as_documented_or_refused(module: str, asked: dict[str, Any], said: Any) -> None:
    checks = ANSWERS[module](asked)
    try:
        found = checked(said, checks)
    except UnreadableError as error:
        assert_one_line(str(error))
        assert str(error).isprintable()
        return
    assert set(found) == ({"failed", "changed", "msg"} if found.get("failed") else {"changed", *checks})
    assert isinstance(found["changed"], bool)
    assert printable(found)
    assert re.fullmatch(r"3\.\d{1,2}", str(found.get("python", "3.11")))
    assert re.fullmatch(r"\w+", str(found.get("machine", "x86_64")))


@given(st.text() | SAID.map(lambda said: json.dumps(said, skipkeys=True)), st.text())
@example("{" * 10**5, "")
@example('{"a":' * 10**5, "")
def test_what_a_module_prints_is_parsed_or_refused(said: str, complaint: str) -> None:
    try:
        parsed(said, complaint)
    except UnreadableError as error:
        assert_one_line(str(error))
        assert str(error).isprintable()
