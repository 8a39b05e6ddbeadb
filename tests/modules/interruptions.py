"""A move that is interrupted at some moment, whichever way, and what is true afterwards."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from .conftest import REPOSITORY, AwsApi
from .modules import last_request, run
from .test_iot_region_switch import ATS, ENDPOINTS, NEW, OLD, point, records

PLAYBOOK = [
    {"hosts": "localhost", "gather_facts": False, "tasks": [{"name": "Move the fleet", "iot_region_switch": {}}]}
]
FLEET = {f"client_{number:02}": ENDPOINTS[number % 2] for number in range(6)}
# Clients per second: of those that wait for their turn, one at most is on its way when the run is stopped.
PACE = 1
# How it is begun, and how it ends: a signal to what was begun; "all" kills its workers with it.
WAYS = [
    *(("ansible-playbook", number) for number in (signal.SIGKILL, signal.SIGHUP, signal.SIGINT, signal.SIGTERM, "all")),
    *(("module", number) for number in (signal.SIGKILL, signal.SIGHUP, signal.SIGINT, signal.SIGTERM)),
]
# Longer than a move takes on a machine with nothing else to do: some are over by then.
LONGEST = {"ansible-playbook": 12.0, "module": 10.0}
PATIENCE = 120.0


@dataclass(frozen=True)
class Interruption:
    """What was done, and how far the run had come: its steps, but for those of single clients and of the clock."""

    way: str
    seconds: float
    steps: list[str]
    told: int

    def __str__(self) -> str:
        came = self.steps[-2] if len(self.steps) > 1 else "nothing"
        return f"{self.way} after {self.seconds:.2f} s, behind {came}, {self.told} told"


def begin_again(aws_api: AwsApi) -> None:
    """The fleet in the old region, with the records."""
    point(dict.fromkeys(ENDPOINTS, ATS[OLD]))
    for region in (OLD, NEW):
        iot = boto3.client("iot", region_name=region)
        for client_id, endpoint in FLEET.items():
            iot.create_thing(thingName=client_id, attributePayload={"attributes": {"mqtt_endpoint": endpoint}})
            aws_api.call("DELETE", f"connections/{region}/{client_id}")
    for client_id in FLEET:
        aws_api.connect(OLD, client_id, thing_name=client_id)
    aws_api.reconnect(dict.fromkeys(FLEET, NEW))


def interrupt(aws_api: AwsApi, options: dict[str, Any], folder: Path, seed: int) -> Interruption:
    """Interrupt a move, see that nobody else is disconnected, and that the same command brings it to its end."""
    chance = random.Random(seed)
    program, how = WAYS[seed % len(WAYS)]
    seconds = chance.uniform(0.0, LONGEST[program]) if seed >= len(WAYS) else chance.uniform(0.0, LONGEST[program] / 2)
    move = {**options, "mode": "3", "delete_connection_rate": PACE, "waves": [100], "landing_timeout": 60}
    move["reports_directory"] = str(folder / "reports")
    folder.mkdir(parents=True, exist_ok=True)
    begin_again(aws_api)
    start, mark = last_request(aws_api), f"INTERRUPTED={os.getpid()}-{seed}"
    process = _begin(program, move, folder, mark)
    if seed >= len(WAYS) and seed % 2:
        # Anywhere in its journal, however long it takes to come there.
        _wait_for_entries(process, Path(move["reports_directory"]), chance.randint(1, 25))
        seconds = chance.uniform(0.0, 0.2)
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    before = process.poll()
    _end(process, how)
    process.wait()
    _wait_for_its_children(mark)

    where = f"{program} {getattr(how, 'name', how)} after {seconds:.2f} s (seed {seed})"
    entries = _entries(Path(move["reports_directory"]))
    steps = [entry["step"] for entry in entries]
    if before is None:
        _judge(aws_api, entries, start, where)
    _judge_again(aws_api, move, where)
    told = steps.count("delete_connection")
    few = [step for step in steps if step not in ("delete_connection", "landed", "progress", "dns_waiting")]
    return Interruption(f"{program} {getattr(how, 'name', how)}", seconds, few, told)


def _wait_for_entries(process: subprocess.Popen[bytes], reports: Path, number: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and len(_entries(reports)) < number:
        assert time.monotonic() < deadline, "the move does not go on"
        time.sleep(0.01)


def _begin(program: str, move: dict[str, Any], folder: Path, mark: str) -> subprocess.Popen[bytes]:
    paths = ":".join(str(REPOSITORY / name) for name in (".", "module_utils", "library"))
    environment = {**os.environ, "PYTHONPATH": paths, **dict([mark.split("=")])}
    if program == "module":
        # No entry has this number: nothing but what comes from outside ends it.
        command = [sys.executable, "-m", "tests.modules.killed", json.dumps(move), "-1", "before"]
    else:
        play = json.loads(json.dumps(PLAYBOOK))
        play[0]["tasks"][0]["iot_region_switch"] = move
        (folder / "move.yml").write_text(json.dumps(play))
        ansible = str(Path(sys.executable).parent / "ansible-playbook")
        python = f"ansible_python_interpreter={sys.executable}"
        command = [ansible, "-i", "localhost,", "-c", "local", "-e", python, str(folder / "move.yml")]
    return subprocess.Popen(
        command, cwd=REPOSITORY, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip


def _end(process: subprocess.Popen[bytes], how: Any) -> None:
    if how != "all":
        process.send_signal(how)
        return
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    for child in children.read_text().split() if children.exists() else ():
        with suppress(ProcessLookupError):
            os.kill(int(child), signal.SIGKILL)
    process.kill()


def _wait_for_its_children(mark: str) -> None:
    """What was begun by it may outlive it: until each has ended by itself."""
    deadline = time.monotonic() + PATIENCE
    while any(_marked(mark)):
        assert time.monotonic() < deadline, "what was interrupted does not end"
        time.sleep(0.05)


def _marked(mark: str) -> Iterator[int]:
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if mark.encode() in path.read_bytes().split(b"\0"):
                yield int(path.parent.name)


def _entries(reports: Path) -> list[dict[str, Any]]:
    """The journal's entries; a last line that was being written is no entry."""
    found = [path.read_text(encoding="utf-8") for path in reports.glob("*/journal.jsonl")]
    return [json.loads(line) for text in found for line in text.splitlines(keepends=True) if line.endswith("\n")]


def _judge(aws_api: AwsApi, entries: list[dict[str, Any]], start: int, where: str) -> None:
    """Nobody is disconnected behind the interruption but who was on the way."""
    steps = [entry["step"] for entry in entries]
    told = aws_api.operations(start).count("DeleteConnection")
    if "sweep" not in steps:
        assert told == 0, f"{where}: {told} disconnected before the sweep had begun"
    if "interrupted" in steps:
        noted = steps[: steps.index("interrupted")].count("delete_connection")
        assert told <= noted + 1, f"{where}: {told} requests, {noted} of them before the interruption"
        assert steps[-1] == "end", where
        assert entries[-1]["outcome"] in ("partial", "failed"), where
    elif "end" not in steps:
        # Killed itself: what was being sent is all there may be beyond what it has noted.
        assert told <= steps.count("delete_connection") + 1, where
    else:
        # It had come to its end when the signal came.
        assert entries[-1]["outcome"] == "moved", f"{where}: {entries[-1]}"
        assert "landing" in steps, where


def _judge_again(aws_api: AwsApi, move: dict[str, Any], where: str) -> None:
    again = run("iot_region_switch", {**move, "delete_connection_rate": 0})
    assert not again.get("failed"), f"{where}: {again['msg']}"
    assert again["outcome"] in ("moved", "unchanged"), where
    assert records() == dict.fromkeys(ENDPOINTS, ATS[NEW]), where
    assert (aws_api.connected(NEW), aws_api.connected(OLD)) == (set(FLEET), set()), where
    clients = again["summary"]["clients"]
    assert (clients["landed"], clients["stragglers"]) == (len(FLEET), 0), where
