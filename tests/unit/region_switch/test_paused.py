"""What a run that pauses stores for its second half."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.region_switch.model.errors import RefusedError
from ansible.module_utils.region_switch.model.plan import Move
from ansible.module_utils.region_switch.move import paused
from ansible.module_utils.region_switch.record.summary import Summary
from hypothesis import given
from hypothesis import strategies as st

from ..properties.anything import ANYTHING

MOVES = [Move("mqtt1.example.com", "us-east-1", "ap-northeast-1"), Move("mqtt2.example.com", "eu-west-1", "eu-west-1")]
BEFORE = {"mqtt1.example.com": {"Name": "mqtt1.example.com.", "Type": "CNAME", "TTL": 60}}


def course(folder: Path) -> Any:
    summary = Summary("20261123T204500Z-mode3-0f3a", "3", MOVES, by={"user": "ada"})
    summary.phases = [{"name": "switch", "seconds": 1.5}]
    return SimpleNamespace(directory=folder, summary=summary, before=BEFORE, ttl=60.0, notes=["left alone"])


def test_what_is_stored_is_read_once(tmp_path: Path) -> None:
    written = course(tmp_path)
    paused.store(written)
    found = paused.read(tmp_path)

    assert found == {"summary": written.summary, "before": BEFORE, "ttl": 60.0, "notes": ["left alone"]}
    with pytest.raises(RefusedError, match=r"found no paused\.json that can be read"):
        paused.read(tmp_path)


@given(content=ANYTHING | st.binary(max_size=40), key=st.sampled_from(["summary", "moves", "before", "ttl", "notes"]))
def test_what_is_damaged_is_refused_in_one_line(tmp_path_factory: Any, content: object, key: str) -> None:
    folder: Path = tmp_path_factory.mktemp("run")
    paused.store(course(folder))
    file = folder / paused.FILE
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        file.write_text(json.dumps({**json.loads(file.read_text()), key: content}))
    try:
        found = paused.read(folder)
    except RefusedError as error:
        assert "\n" not in str(error)
        assert file.exists()
    else:
        assert isinstance(found["before"], dict)
        assert isinstance(found["ttl"], float)
        assert isinstance(found["summary"], Summary)


@pytest.mark.parametrize("content", ["{}", "[]", "null", '{"summary": {}}', "[" * 100_000, ""])
def test_what_is_no_state_of_a_paused_run_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / paused.FILE).write_text(content)

    with pytest.raises(RefusedError, match=r"found no paused\.json that can be read"):
        paused.read(tmp_path)
