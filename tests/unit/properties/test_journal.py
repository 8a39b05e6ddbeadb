"""Journals: what was written is read again, whatever is in it and wherever it was cut off."""

from __future__ import annotations

import json
from dataclasses import field
from pathlib import Path
from typing import Any

from ansible.module_utils.region_switch.record import events
from ansible.module_utils.region_switch.record.events import VERSION
from ansible.module_utils.region_switch.record.history import (
    Previous,
    entries,
    interrupted,
    previous_records,
)
from ansible.module_utils.region_switch.record.journal import Journal
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from .anything import ANYTHING, ENDPOINTS, REGIONS, TEXT, refused_at_most

DESIRED = dict.fromkeys(ENDPOINTS, REGIONS[1])
STEPS = ["start", "plan", "switch", "switched", "paused", "landed", "end"]
# What a run knows of: names, errors' text, numbers.
DETAILS = st.dictionaries(
    st.from_regex(r"[a-z_]{1,10}", fullmatch=True).filter(lambda name: name not in ("at", "step", "self")),
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | TEXT,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
        max_leaves=5,
    ),
    max_size=4,
)
# One folder for all examples of a test: each takes a fresh file.
FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


class Step(events.Event, step="step"):
    """A step of which nobody has heard."""

    step: str = "step"  # type: ignore[misc]
    found: dict[str, Any] = field(default_factory=dict)

    def details(self) -> dict[str, Any]:
        return self.found


def fresh(folder: Path) -> Path:
    path = folder / "journal.jsonl"
    path.unlink(missing_ok=True)
    return path


@FOLDER
@given(st.lists(DETAILS, max_size=4))
@example([{"text": "half a character: \ud800, line ends: \n\u2028"}])
def test_what_is_written_is_read_again(tmp_path: Path, written: list[dict[str, Any]]) -> None:
    path = fresh(tmp_path)

    with Journal(path) as journal:
        for details in written:
            journal.note(Step(found=details))

    found = list(entries(path))
    assert [{key: value for key, value in line.items() if key not in ("at", "step")} for line in found] == written
    assert {line["step"] for line in found} <= {"step"}


@FOLDER
@given(DETAILS, DETAILS, st.data())
def test_a_line_that_was_cut_off_spoils_no_other(
    tmp_path: Path, first: dict[str, Any], second: dict[str, Any], data: st.DataObject
) -> None:
    path = fresh(tmp_path)
    with Journal(path) as journal:
        journal.note(Step(step="whole"))
        journal.note(Step(step="cut", found=first))
    content = path.read_bytes()
    start = content.index(b"\n") + 1
    path.write_bytes(content[: data.draw(st.integers(start, len(content)))])

    with Journal(path) as journal:
        journal.note(Step(step="after", found=second))

    found = list(entries(path))
    assert [found[0]["step"], found[-1]["step"]] == ["whole", "after"]
    assert {line["step"] for line in found} <= {"whole", "cut", "after"}


ENTRIES = st.fixed_dictionaries(
    {"at": st.just("2026-11-24T03:00:00.000Z") | ANYTHING, "step": st.sampled_from(STEPS) | ANYTHING},
    optional={
        "version": st.sampled_from([VERSION, VERSION + 1]) | ANYTHING,
        "desired": st.just(DESIRED) | ANYTHING,
        "plan": st.just({ENDPOINTS[0]: {"from": REGIONS[0], "to": REGIONS[1]}}) | ANYTHING,
        "before": st.just({ENDPOINTS[0]: {"TTL": 60}}) | ANYTHING,
        "outcome": st.sampled_from(["moved", "refused"]) | ANYTHING,
        "rollback": ANYTHING,
    },
)
LINES = st.one_of(ENTRIES.map(lambda entry: json.dumps(entry).encode()), st.binary(max_size=20))


@FOLDER
@given(st.lists(LINES, max_size=6), st.booleans())
def test_any_journal_is_read_or_refused_in_one_line(tmp_path: Path, content: list[bytes], ended: bool) -> None:
    folder = tmp_path / "20261124T030000Z-3"
    folder.mkdir(exist_ok=True)
    path = fresh(folder)
    path.write_bytes(b"\n".join(content) + (b"\n" if ended else b""))

    with refused_at_most():
        assert all(isinstance(entry["step"], str) for entry in entries(path))
    with refused_at_most():
        found = previous_records(tmp_path)
        run_id, before = found.run_id, found.before
        assert run_id == folder.name
        assert all(isinstance(region, str) for region in before.values())
    assert interrupted(tmp_path, DESIRED, 0.0) in (None, folder)
    # Reading is not writing.
    assert path.read_bytes() == b"\n".join(content) + (b"\n" if ended else b"")


def test_run_that_was_killed_after_its_switch_is_known_by_its_records(tmp_path: Path) -> None:
    folder = tmp_path / "20261124T030000Z-3"
    folder.mkdir()
    with Journal(folder / "journal.jsonl") as journal:
        journal.write(events.Start(run_id=folder.name, mode="3", desired=DESIRED))
        journal.write(events.Plan(plan={ENDPOINTS[0]: {"from": REGIONS[0], "to": REGIONS[1]}}))
        journal.write(events.Switch(records={}))

    there, here = ({ENDPOINTS[0]: region} for region in REGIONS[:2])
    assert previous_records(tmp_path) == Previous(folder.name, there, here, [])
    assert interrupted(tmp_path, DESIRED, 0.0) == folder
