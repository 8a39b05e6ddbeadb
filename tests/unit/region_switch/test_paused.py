"""What a run that pauses stores for its second half."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.region_switch.model.errors import RefusedError
from ansible.module_utils.region_switch.model.options import Options
from ansible.module_utils.region_switch.model.plan import Move
from ansible.module_utils.region_switch.move import paused, run
from ansible.module_utils.region_switch.move.course import Services
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


@pytest.mark.parametrize(("configured", "expected"), [(30, 60.0), (300, 300.0)])
def test_a_run_that_resumes_has_what_it_stored_and_the_longer_ttl(
    tmp_path: Path, configured: int, expected: float
) -> None:
    written = course(tmp_path)
    paused.store(written)
    chosen = {
        "modes": {}, "endpoints": [], "regions": [], "hosted_zone_id": "Z1", "reports_directory": str(tmp_path.parent),
        "run_id": tmp_path.name, "ttl": configured,
    }  # fmt: skip
    services = Services(Options.of(chosen), *([None] * 4))  # type: ignore[list-item]
    with run._course(services, "3", {}, ["new"]) as found:
        assert (found.ttl, found.before, found.notes) == (expected, BEFORE, ["left alone", "new"])
        assert found.wrote
        assert found.summary == written.summary


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
