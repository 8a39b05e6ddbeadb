"""Journals, whatever became of them: read rightly, or refused in one line; never written to."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from region_switch.model.errors import RefusedError, SwitchError
from region_switch.record import events
from region_switch.record.history import (
    JournalError,
    Previous,
    entries,
    interrupted,
    next_number,
    previous_records,
)
from region_switch.record.journal import Journal

from ..region_switch.ours import given_away

OLD, NEW = "us-east-1", "ap-northeast-1"
ENDPOINTS = ("mqtt1.example.com", "mqtt2.example.com")
WAS, WILL = dict.fromkeys(ENDPOINTS, OLD), dict.fromkeys(ENDPOINTS, NEW)


def at(second: int) -> str:
    return f"2026-11-23T22:00:{second:02}.000Z"


def run(second: int, before: dict[str, str], after: dict[str, str], *steps: str, **start: Any) -> list[dict[str, Any]]:
    """The journal of a run with these steps behind its plan."""
    plan = {name: {"from": before[name], "to": after[name]} for name in before}
    raw = {name: {"Name": f"{name}.", "TTL": 60, "Type": "CNAME"} for name in before}
    details: dict[str, dict[str, Any]] = {
        "switch": {"records": after, "before": raw},
        "end": {"outcome": "moved", "error": None},
        "refused": {"step": "end", "outcome": "refused", "error": "no"},
        "delete_connection": {"client_id": "pump / 1", "region": OLD, "found": True},
    }
    entries: list[dict[str, Any]] = [
        {"step": "start", "run_id": "x", "mode": "3", "desired": after, "version": 1, **start},
        {"step": "plan", "plan": plan, "misplaced": 2},
        *({"step": step, **details.get(step, {})} for step in steps),
    ]
    return [{"at": at(second), **entry} for entry in entries]


def text(entries: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries).encode()


MOVED = text(run(1, WAS, WILL, "switch", "switched", "insync", "delete_connection", "teleported", "end"))
PAUSED = text(run(1, WAS, WILL, "switch", "switched", "paused"))


@contextmanager
def reports(**journals: bytes) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        for name, content in journals.items():
            (Path(folder) / name).mkdir()
            (Path(folder) / name / "journal.jsonl").write_bytes(content)
        yield Path(folder)


READERS: list[Callable[[Path], object]] = [
    lambda root: list(entries(root / "run" / "journal.jsonl")),
    lambda root: interrupted(root, WILL, 0.0),
    previous_records,
]


def read_all(content: bytes) -> list[object]:
    """What each reader says of a journal; its error's line where it has one."""
    with reports(run=content) as root:
        answers: list[object] = []
        for reader in READERS:
            try:
                answers.append(reader(root))
            except SwitchError as error:
                assert "\n" not in str(error)
                assert re.search(r": (found |damaged \(|cannot be read \(|no run in )", str(error))
                answers.append(error)
        [left] = root.glob("*/*")
        assert left.read_bytes() == content
        return answers


@given(st.sampled_from([MOVED, PAUSED]), st.data())
def test_journal_cut_off_anywhere_is_read_as_far_as_it_goes(content: bytes, data: st.DataObject) -> None:
    cut = content[: data.draw(st.integers(0, len(content)))]
    entries = read_all(cut)[0]

    assert entries == [json.loads(line) for line in cut.split(b"\n")[:-1]]


@given(st.sampled_from([MOVED, PAUSED]), st.data())
def test_damaged_journal_is_refused_in_one_line_or_read(content: bytes, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(content) - 1))
    junk = data.draw(st.binary(min_size=1, max_size=20))

    read_all(content[:place] + junk + content[place + data.draw(st.integers(0, 30)) :])


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.integers(0, 5), st.sampled_from(["at", "step", "desired", "plan", "before", "outcome", "rollback"]), _JSON)
def test_entries_of_other_types_are_refused_in_one_line_or_read(number: int, key: str, value: object) -> None:
    entries = run(1, WAS, WILL, "switch", "switched", "end", "paused")
    entries[number][key] = value

    read_all(text(entries))


@given(_JSON.filter(lambda version: version != 1))
def test_journal_of_another_version_is_refused(version: object) -> None:
    answers = read_all(text(run(1, WAS, WILL, "switch", "paused", version=version)))

    assert all("version" in str(answer) for answer in answers if answer is not None)
    assert answers[1] is None


def test_unknown_steps_are_read() -> None:
    assert read_all(MOVED)[2] == Previous("run", WAS, WILL, [])


@pytest.mark.parametrize("line", [b"[" * 100_000, b"9" * 5000, b"\xff\xfe", b"[1]", b'{"at": 1, "step": "x"}', b""])
def test_line_that_is_no_entry_is_named(line: bytes) -> None:
    with (
        reports(run=MOVED + line + b"\n" + MOVED) as root,
        pytest.raises(JournalError, match=r"line 9: damaged \(no entry\)"),
    ):
        list(entries(root / "run" / "journal.jsonl"))


def test_what_the_journal_writes_is_read_back(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.jsonl") as journal:
        journal.write(events.Start(desired={"ü": "#/+"}))
        journal.note(events.DeleteConnection(client_id="🚜\u2028", region=OLD, found=True))

    start, told = entries(tmp_path / "journal.jsonl")

    assert (start["desired"], told["client_id"]) == ({"ü": "#/+"}, "🚜\u2028")


def test_rollback_goes_back_behind_the_newest_run_that_switched_and_was_no_rollback() -> None:
    moved = run(1, WAS, WILL, "switch", "switched", "end")
    back = run(2, WILL, WAS, "switch", "switched", "end", rollback=True)
    same = run(3, WAS, WAS, "end")
    refused = run(4, WAS, WILL, "switch", "refused")

    with reports(a=text(moved), b=text(back), c=text(same), d=text(refused), e=b"") as root:
        (root / "latest").symlink_to("d")
        assert previous_records(root) == Previous("a", WAS, WILL, [])


@pytest.mark.parametrize("steps", [("switch",), ("switch", "switched"), ("switch", "switched", "restored", "end")])
def test_run_that_may_have_switched_counts_for_a_rollback(steps: tuple[str, ...]) -> None:
    with reports(a=text(run(1, WAS, WILL, "switch", "end")), b=text(run(2, WILL, WAS, *steps))) as root:
        assert previous_records(root) == Previous("b", WILL, WAS, [])


def test_rollback_goes_back_from_the_newest_run_also_where_the_clock_was_set_back_between() -> None:
    first = run(50, WAS, WILL, "switch", "switched", "end", number=1)
    second = run(10, WILL, WAS, "switch", "switched", "end", number=2)
    with reports(first=text(first), second=text(second)) as root:
        found = previous_records(root)
        assert (found.run_id, found.before, found.after) == ("second", WILL, WAS)
        assert next_number(root) == 3


def test_runs_are_numbered_behind_those_of_a_release_that_numbered_none(tmp_path: Path) -> None:
    assert next_number(tmp_path) == 1
    old = run(50, WAS, WILL, "switch", "switched", "end")
    new = run(10, WILL, WAS, "switch", "switched", "end", number=1)
    with reports(old=text(old), new=text(new)) as root:
        assert previous_records(root).run_id == "new"


def test_rollback_wants_the_records_as_the_run_left_them_or_as_they_were_before_it() -> None:
    last = Previous("run", WAS, WILL, [])
    last.expect(WAS)
    last.expect(WILL)
    other = {**WILL, ENDPOINTS[0]: "eu-west-1"}
    with pytest.raises(RefusedError) as refused:
        last.expect(other)
    assert str(refused.value) == (
        f"rollback of run: found {ENDPOINTS[0]} in eu-west-1, expected the records as that run left them "
        f"({ENDPOINTS[0]} in {NEW}, {ENDPOINTS[1]} in {NEW}): they have been changed since, so choose a mode "
        "with failover.yml"
    )


def test_run_that_began_by_a_clock_that_was_far_ahead_is_not_gone_on_from() -> None:
    with reports(a=text(KILLED)) as root:
        assert interrupted(root, WILL, BEGAN - 10, BEGAN + 10) == root / "a"
        assert interrupted(root, WILL, BEGAN - 20, BEGAN - 10) is None


def test_rollback_without_a_run_that_switched_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=r"no run in .* has switched records"):
        previous_records(tmp_path)
    with (
        reports(a=text(run(1, WAS, WILL, "end"))) as root,
        pytest.raises(RefusedError, match=r"no run in .* has switched records"),
    ):
        previous_records(root)


KILLED = run(1, WAS, WILL, "switch", "switched", "delete_connection")
BEGAN = 1795471201.0


@pytest.mark.parametrize(
    ("journals", "desired", "since", "found"),
    [
        ({"a": KILLED}, WILL, 0.0, "a"),
        ({"a": KILLED}, WILL, BEGAN, "a"),
        ({"a": KILLED}, WILL, BEGAN + 1, None),
        ({"a": KILLED}, WAS, 0.0, None),
        ({"a": [*KILLED, {"at": at(1), "step": "end"}]}, WILL, 0.0, None),
        ({"a": KILLED, "b": run(2, WILL, WAS, "switch", "end")}, WILL, 0.0, None),
        ({"a": run(3, WAS, WILL), "b": run(2, WILL, WAS, "switch", "end")}, WILL, 0.0, "a"),
        # Killed while it read the fleet: what it had found so far is no fleet.
        ({"a": KILLED[:1]}, WILL, 0.0, None),
        ({"a": [KILLED[0], *KILLED[2:]]}, WILL, 0.0, None),
        ({}, WILL, 0.0, None),
    ],
)
def test_run_is_resumed_where_it_is_the_newest_and_was_killed(
    journals: dict[str, Any], desired: dict[str, str], since: float, found: str | None
) -> None:
    with reports(**{name: text(entries) for name, entries in journals.items()}) as root:
        assert interrupted(root, desired, since) == (root / found if found else None)


def test_damaged_journal_does_not_keep_a_move_from_beginning() -> None:
    with reports(a=b"damaged\n" + MOVED) as root:
        assert interrupted(root, WILL, 0.0) is None
    with reports(a=text(KILLED) + b"damaged\n") as root:
        assert interrupted(root, WILL, 0.0) is None


def test_older_damaged_journal_does_not_keep_a_move_from_going_on() -> None:
    with reports(**{"20261123T215959Z-mode3-0f3a": b"damaged\n", "b": text(KILLED)}) as root:
        assert interrupted(root, WILL, 0.0) == root / "b"


# A second before, and behind, the run that switched; by its name, or where that says nothing by the folder's time.
OLDER = ("20261123T215959Z-mode3-0f3a", "older")
NEWER = ("20261123T220001Z-mode3-0f3a", "20270101T000000Z-mode3-0f3a", "newer")
MOMENT = {"older": at(0), "newer": at(3)}
NEWER_VERSION = text(run(0, WAS, WILL, "switch", version=2))


def set_time(folder: Path) -> None:
    """Let a folder whose name says nothing have been changed when MOMENT says."""
    if folder.name in MOMENT:
        moment = datetime.fromisoformat(MOMENT[folder.name]).timestamp()
        os.utime(folder, (moment, moment))


@pytest.mark.parametrize("name", OLDER)
@pytest.mark.parametrize("content", [b"damaged\n", NEWER_VERSION, text(run(0, WAS, WILL)[1:])])
def test_rollback_passes_an_older_damaged_journal_over_and_names_it(name: str, content: bytes) -> None:
    with reports(**{name: content, "moved": MOVED}) as root:
        set_time(root / name)
        found = previous_records(root)

    [note] = found.notes
    assert (found.run_id, found.before) == ("moved", WAS)
    said = "found version 2" if content == NEWER_VERSION else "damaged ("
    assert note.startswith(
        f"ignored, because it is of an older run: journal {root / name / 'journal.jsonl'} line 1: {said}"
    )


@pytest.mark.parametrize("name", NEWER)
def test_rollback_does_not_go_back_behind_a_newer_damaged_journal(name: str) -> None:
    """It may have switched records: what was before an older run is then no way back."""
    with reports(**{name: b"damaged\n", "moved": MOVED}) as root:
        set_time(root / name)
        with pytest.raises(
            JournalError, match=rf"{name}/journal.jsonl line 1: damaged \(no entry\): .*move the run's folder"
        ):
            previous_records(root)


def test_rollback_does_not_go_back_behind_a_newer_journal_that_is_damaged_further_down() -> None:
    damaged = text(run(2, WILL, WAS, "switch")) + b"damaged\n"
    with (
        reports(a=MOVED, b=damaged) as root,
        pytest.raises(JournalError, match=r"b/journal.jsonl line 4: damaged \(no"),
    ):
        previous_records(root)


@pytest.mark.parametrize("spoil", ["unreadable", "for all", "folder for all", "link"])
def test_rollback_does_not_go_back_behind_a_newer_run_that_others_could_have_written(spoil: str) -> None:
    with reports(a=MOVED, b=text(run(2, WILL, WAS, "switch"))) as root:
        journal = root / "b" / "journal.jsonl"
        if spoil == "unreadable":
            # What a link to nothing shares with what nobody may read: it is there, and cannot be opened.
            journal.unlink()
            journal.mkdir()
        elif spoil == "link":
            journal.rename(root / "elsewhere")
            journal.symlink_to("../elsewhere")
        else:
            (journal if spoil == "for all" else journal.parent).chmod(0o777)
        os.utime(root / "b")
        with pytest.raises(JournalError, match=str(root / "b")):
            previous_records(root)


def test_folder_of_another_user_is_no_run() -> None:
    with reports(a=MOVED, b=text(run(2, WILL, WAS, "switch"))) as root:
        given_away(root / "b")
        given_away(root / "b" / "journal.jsonl")
        assert previous_records(root) == Previous("a", WAS, WILL, [])
        assert interrupted(root, WAS, 0.0) is None


def test_journal_of_another_user_in_a_folder_of_ones_own_is_damaged() -> None:
    with reports(a=MOVED, b=text(run(2, WILL, WAS, "switch"))) as root:
        given_away(root / "b" / "journal.jsonl")
        with pytest.raises(JournalError, match=r"b/journal.jsonl: found a file of"):
            previous_records(root)


def test_line_that_is_longer_than_any_entry_is_not_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("region_switch.record.journal.MOST_OF_LINE", 100_000)
    with (
        reports(run=MOVED + b"9" * 100_001 + b"\n") as root,
        pytest.raises(JournalError, match=r"damaged \(no entry\)"),
    ):
        list(entries(root / "run" / "journal.jsonl"))
