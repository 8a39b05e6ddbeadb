"""The folder of reports as others, and disks, leave it: nothing in it that somebody else made steers a move."""
# ruff: noqa: F811 - the fixture `options` is that of the move's own tests

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from ansible.module_utils.region_switch.fleet.roster import Roster
from ansible.module_utils.region_switch.fleet.source import Connection
from ansible.module_utils.region_switch.record import storage

from ..unit.region_switch.ours import given_away, mode
from .conftest import REPOSITORY, AwsApi
from .modules import error_of, last_request, run, run_ok
from .test_iot_region_switch import ATS, CLIENTS, ENDPOINTS, NEW, OLD, options, records  # noqa: F401
from .test_operator import play, status

PLAN = {name: {"from": OLD, "to": NEW} for name in ENDPOINTS}


def at() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def plant(folder: Path, *steps: dict[str, Any]) -> Path:
    """A run's folder with these steps in its journal, as if they had just been written."""
    folder.mkdir(parents=True)
    start = {"step": "start", "version": 1, "mode": "3", "desired": dict.fromkeys(ENDPOINTS, NEW)}
    entries = [start, {"step": "plan", "plan": PLAN}, *steps]
    (folder / "journal.jsonl").write_text("".join(f"{json.dumps({'at': at(), **each})}\n" for each in entries))
    return folder


def reports(options: dict[str, Any]) -> Path:
    return Path(options["reports_directory"])


def give_all_away(folder: Path) -> None:
    for each in [folder, *folder.rglob("*")]:
        given_away(each)


def test_reports_are_for_their_owner_alone(aws_api: AwsApi, options: dict[str, Any]) -> None:
    before = os.umask(0)
    try:
        run_ok("iot_region_switch", {**options, "mode": "3"})
    finally:
        os.umask(before)

    found = {each: mode(each) for each in reports(options).rglob("*") if not each.is_symlink()}
    assert {each.name for each in found} >= {"journal.jsonl", "summary.json", "clients.csv", "clients.sqlite", ".lock"}
    assert mode(reports(options)) == 0o700
    assert found == {each: 0o700 if each.is_dir() else 0o600 for each in found}


def test_link_in_the_place_of_the_lock_costs_no_file(aws_api: AwsApi, options: dict[str, Any], tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_text("the operator's own")
    reports(options).mkdir()
    (reports(options) / ".lock").symlink_to(own)
    start = last_request(aws_api)

    error = error_of("iot_region_switch", {**options, "mode": "3"})

    assert f"{reports(options)}/.lock: found no regular file but a link" in error
    assert own.read_text() == "the operator's own"
    assert aws_api.writes(start) == []


def test_roster_that_somebody_else_planted_disconnects_nobody(aws_api: AwsApi, options: dict[str, Any]) -> None:
    planted = plant(reports(options) / "20261123T000000Z-mode3-0f3a", {"step": "switch"})
    with Roster(planted / "clients.sqlite") as roster:
        roster.add([Connection("victim", ENDPOINTS[0], OLD, 1.0)], dict.fromkeys(ENDPOINTS, NEW))
    give_all_away(planted)
    aws_api.connect(OLD, "victim")

    done = run_ok("iot_region_switch", {**options, "mode": "3"})

    assert aws_api.connected(OLD) == {"victim"}
    assert (done["outcome"], done["summary"]["clients"]["total"]) == ("moved", 2)
    assert any(line.startswith(f"{planted}: ignored, because it belongs to") for line in done["lines"])


def test_journal_that_somebody_else_planted_steers_no_rollback(aws_api: AwsApi, options: dict[str, Any]) -> None:
    run_ok("iot_region_switch", {**options, "mode": "3"})
    aws_api.reconnect(dict.fromkeys(CLIENTS, OLD))
    back = {name: {"from": NEW, "to": OLD} for name in ENDPOINTS}
    give_all_away(plant(reports(options) / "x", {"step": "plan", "plan": back}, {"step": "switch"}))

    shown = run_ok("iot_region_switch", {**options, "mode": "", "rollback": True}, check=True)
    done = run_ok("iot_region_switch", {**options, "mode": "", "rollback": True})

    assert records() == dict.fromkeys(ENDPOINTS, ATS[OLD])
    for found in (shown, done, status(options)):
        assert any(f"{reports(options) / 'x'}: ignored" in line for line in found["lines"])


def test_older_damaged_journal_is_named_and_does_not_keep_a_rollback_from_its_way(
    aws_api: AwsApi, options: dict[str, Any]
) -> None:
    damaged = plant(reports(options) / "20251123T000000Z-mode3-0f3a")
    (damaged / "journal.jsonl").write_text("damaged\n")
    run_ok("iot_region_switch", {**options, "mode": "3"})
    aws_api.reconnect(dict.fromkeys(CLIENTS, OLD))

    done = run_ok("iot_region_switch", {**options, "mode": "", "rollback": True})

    assert records() == dict.fromkeys(ENDPOINTS, ATS[OLD])
    named = [line for line in done["lines"] if line.startswith("ignored, because it is of an older run: journal ")]
    assert len(named) == 1
    assert f"{damaged}/journal.jsonl line 1" in named[0]


def test_newer_damaged_journal_stops_a_rollback_and_is_named(aws_api: AwsApi, options: dict[str, Any]) -> None:
    run_ok("iot_region_switch", {**options, "mode": "3"})
    damaged = plant(reports(options) / "29991123T000000Z-mode3-0f3a")
    (damaged / "journal.jsonl").write_text("damaged\n")
    start = last_request(aws_api)

    error = error_of("iot_region_switch", {**options, "mode": "", "rollback": True})

    assert f"journal {damaged}/journal.jsonl line 1: damaged (no entry)" in error
    assert "move the run's folder away, or choose a mode" in error
    assert aws_api.writes(start) == []
    shutil.rmtree(damaged)
    aws_api.reconnect(dict.fromkeys(CLIENTS, OLD))
    run_ok("iot_region_switch", {**options, "mode": "", "rollback": True})


def test_damaged_roster_of_a_killed_run_is_named_and_the_fleet_is_read_again(
    aws_api: AwsApi, options: dict[str, Any]
) -> None:
    killed = plant(reports(options) / "killed", {"step": "switch"})
    (killed / "clients.sqlite").write_bytes(b"no database" * 1000)

    done = run_ok("iot_region_switch", {**options, "mode": "3"})

    assert done["summary"]["clients"]["landed"] == 2
    assert any(f"{killed}/clients.sqlite: passed over, found" in line for line in done["lines"])


@pytest.mark.parametrize("check", [True, False])
def test_folder_of_another_user_is_refused_in_one_line(aws_api: AwsApi, options: dict[str, Any], check: bool) -> None:
    reports(options).mkdir()
    given_away(reports(options))
    start = last_request(aws_api)

    result = run("iot_region_switch", {**options, "mode": "3"}, check=check)

    assert result["failed"]
    assert f"reports_directory {reports(options)}: found a folder of" in result["msg"]
    assert aws_api.requests(start) == []
    found = status(options)
    assert found["running"] == "not known, see below"
    assert found["notes"] == [result["msg"]]
    assert found["lines"][-1] == result["msg"]


def test_status_does_not_follow_a_planted_link(aws_api: AwsApi, options: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    told = {"run_id": "x", "mode": "9", "outcome": "moved", "finished_at": "now"}
    (tmp_path / "elsewhere" / "summary.json").write_text(json.dumps(told))
    reports(options).mkdir()
    (reports(options) / "latest").symlink_to("../elsewhere")

    found = status(options)

    assert found["last"] is None
    assert found["lines"][-2:] == ["last run: none has ended here", *found["notes"]]
    assert f"{reports(options)}/latest: found a link of" in found["notes"][0]


def test_run_that_goes_on_is_one_of_the_folder(aws_api: AwsApi, options: dict[str, Any], tmp_path: Path) -> None:
    plant(tmp_path / "elsewhere")
    before = sorted(tmp_path.rglob("elsewhere/*"))

    error = error_of("iot_region_switch", {**options, "mode": "3", "run_id": "../elsewhere"})

    assert "run_id: found '../elsewhere', expected the name of a folder in" in error
    assert sorted(tmp_path.rglob("elsewhere/*")) == before


def test_too_little_room_is_found_before_anything_is_changed(
    aws_api: AwsApi, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "free", lambda _: 20_001_999)
    start = last_request(aws_api)

    shown = run("iot_region_switch", {**options, "mode": "3"}, check=True)
    refused = run("iot_region_switch", {**options, "mode": "3"})

    line = f"report_room: found 20.0 MB free for {reports(options)}, expected 20.0 MB (20 MB and 1 kB for each client)"
    assert line in shown["msg"]
    assert line in refused["msg"]
    assert refused["outcome"] == "refused"
    assert aws_api.writes(start) == []
    monkeypatch.setattr(storage, "free", lambda _: 20_002_000)
    run_ok("iot_region_switch", {**options, "mode": "3"})


def test_report_that_cannot_be_written_is_returned(aws_api: AwsApi, options: dict[str, Any]) -> None:
    """The move has ended as it should, but who reads reports/latest would learn of another one."""
    (reports(options) / "latest").mkdir(parents=True)

    result = run("iot_region_switch", {**options, "mode": "3"})

    assert result["failed"]
    assert result["msg"].startswith(f"{reports(options)}/latest: cannot be written (Is a directory)")
    assert (result["outcome"], result["summary"]["clients"]["landed"]) == ("moved", 2)
    assert f"not on disk: {result['msg']}" in result["lines"]


FLEET = [f"pump-{number:02}" for number in range(40)]
TOLD = 4


@pytest.fixture
def fleet(aws_api: AwsApi, options: dict[str, Any]) -> dict[str, Any]:
    """A fleet that is told to leave slowly."""
    iot = boto3.client("iot", region_name=OLD)
    for client_id in FLEET:
        iot.create_thing(thingName=client_id, attributePayload={"attributes": {"mqtt_endpoint": ENDPOINTS[0]}})
        aws_api.connect(OLD, client_id, thing_name=client_id)
    aws_api.reconnect(dict.fromkeys([*CLIENTS, *FLEET], NEW))
    return {**options, "mode": "3", "delete_connection_rate": 10, "waves": [100]}


def move_until_full(options: dict[str, Any], keeps: bool) -> dict[str, Any]:
    alone = ["unshare", "--user", "--map-root-user", "--mount"]
    if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine gives nobody a file system of their own")
    command = [*alone, sys.executable, "-m", "tests.modules.full_disk", json.dumps(options), str(TOLD), str(int(keeps))]
    path = ":".join(str(REPOSITORY / name) for name in (".", "module_utils", "library"))
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def assert_stopped(aws_api: AwsApi, result: dict[str, Any]) -> None:
    """One line says what is full and what is needed, nobody was disconnected after that, and what is known is told."""
    assert result["failed"]
    assert " MB free): free space for a run's files (20 MB and 1 kB for each client), then run" in result["msg"]
    assert "transaction" not in json.dumps(result)
    assert "Traceback" not in json.dumps(result)
    assert result["outcome"] == "failed"
    # Those that were under way, or waiting for their turn, when the first write failed.
    assert TOLD <= len(aws_api.connected(NEW)) < len(FLEET)
    assert result["summary"]["clients"]["total"] == len(FLEET) + len(CLIENTS)


def test_full_disk_ends_a_move_with_its_report(aws_api: AwsApi, fleet: dict[str, Any]) -> None:
    found = move_until_full(fleet, keeps=True)

    result, files = found["result"], found["files"]
    assert_stopped(aws_api, result)
    assert json.loads(files["summary.json"]) == result["summary"]
    steps = [json.loads(line) for line in files["journal.jsonl"].splitlines()]
    assert (steps[-1]["step"], steps[-1]["error"]) == ("end", result["msg"])
    assert len(list(csv.reader(files["clients.csv"].splitlines()))) == len(FLEET) + len(CLIENTS) + 1


def test_disk_that_stays_full_keeps_no_report_from_being_returned(aws_api: AwsApi, fleet: dict[str, Any]) -> None:
    found = move_until_full(fleet, keeps=False)

    result, files = found["result"], found["files"]
    assert_stopped(aws_api, result)
    assert any(line.startswith("not on disk: ") and "/summary.json: No space" in line for line in result["lines"])
    assert set(files) <= {"journal.jsonl", "clients.csv"}
    assert all(json.loads(line) for line in files["journal.jsonl"].splitlines())


def test_readiness_is_written_for_its_owner_alone_and_an_existing_folder_keeps_its_mode(
    aws_api: AwsApi, options: dict[str, Any], tmp_path: Path
) -> None:
    play("readiness", options, tmp_path)
    assert (mode(reports(options)), mode(reports(options) / "readiness.json")) == (0o700, 0o600)

    reports(options).chmod(0o750)
    (reports(options) / "readiness.json").chmod(0o644)
    play("readiness", options, tmp_path)
    assert (mode(reports(options)), mode(reports(options) / "readiness.json")) == (0o750, 0o600)
