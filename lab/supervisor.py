"""The supervisor of the lab's programs: starting it, querying it, and having it restart programs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault, ServerProxy

from supervisor.xmlrpc import Faults, SupervisorTransport

from lab import cgroup, checks, files, programs, topology
from lab.commands import run
from lab.errors import LabError

START_TIMEOUT = 15.0


@dataclass(frozen=True)
class Status:
    """The supervisor's status of a program.

    Attributes:
        name: of the program.
        state: supervisord's word for it: "RUNNING", "STOPPED", "FATAL", ….
        pid: process ID; 0 when it does not run.
        started_at: seconds since the epoch; 0 when it never ran.
    """

    name: str
    state: str
    pid: int
    started_at: int


def configuration() -> Path:
    return topology.state_directory() / "supervisord.conf"


def is_running() -> bool:
    """Return whether this lab's supervisor answers."""
    try:
        _ask(lambda api: api.getState())
    except LabError:
        return False
    return True


def start() -> None:
    """Start the supervisor, and with it every program that belongs to a lab that is up.

    It gets none of the caller's environment: a user's AWS or proxy settings are not the lab's.
    """
    environment = {name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ}
    environment |= {"PYTHONPATH": str(topology.REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"}
    environment["LAB_STATE_DIR"] = str(topology.state_directory())
    environment["PATH"] = checks.program_path()
    module = [sys.executable, "-m", "supervisor.supervisord", "-c", str(configuration())]
    command = [sys.executable, "-m", "lab.launch", cgroup.SUPERVISOR, *module]
    done = subprocess.run(
        command, env=environment, cwd=topology.REPOSITORY, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise LabError(f"supervisord did not start: {said}")
    deadline = time.monotonic() + START_TIMEOUT
    while not is_running():
        if time.monotonic() > deadline:
            log = topology.state_directory() / "log" / "supervisord.log"
            raise LabError(f"supervisord does not answer after {START_TIMEOUT:g} s: see {log}")
        time.sleep(0.05)


def update() -> list[str]:
    """Write the configuration and restart just the programs that it, or a file of theirs, changed.

    Returns:
        The names of the programs that were restarted.
    """
    write_configuration()
    command = [sys.executable, "-m", "supervisor.supervisorctl", "-c", str(configuration())]
    said = run([*command, "update"]).splitlines()
    endings = ("updated process group", "added process group")
    named = {line.partition(":")[0] for line in said if line.endswith(endings)}
    return sorted(named & _permanent())


def _permanent() -> set[str]:
    return {program.name for program in programs.all_programs(topology.state_directory()) if program.autostart}


def start_stopped() -> list[str]:
    """Start every program that belongs to a lab that is up and does not run; return their names."""
    running = {status.name for status in statuses() if status.state in ("RUNNING", "STARTING")}
    stopped = sorted(_permanent() - running)
    for name in stopped:
        start_program(name, wait=False)
    return stopped


def write_configuration() -> None:
    """Write the supervisor's configuration file."""
    file = programs.supervisord_file(topology.state_directory())
    files.write(file.path, file.content)


def statuses() -> list[Status]:
    """Return the supervisor's status of every program.

    Raises:
        LabError: the supervisor does not answer, so the lab is not up.
    """
    found = _ask(lambda api: api.getAllProcessInfo())
    return [Status(p["name"], p["statename"], p["pid"], p["start"]) for p in found]


def has_given_up(name: str) -> bool:
    """Return whether a program ended so often, so soon, that it is not started any more."""
    return _status(name).state == "FATAL"


def start_program(name: str, wait: bool = True) -> None:
    """Start a program, and wait until it runs; one that runs is left alone."""
    _ask(lambda api: api.startProcess(name, wait), ignored=Faults.ALREADY_STARTED)


def stop_program(name: str) -> None:
    """Stop a program and wait until it has ended; one that does not run is left alone."""
    _ask(lambda api: api.stopProcess(name, True), ignored=Faults.NOT_RUNNING)


def kill(name: str) -> None:
    """Kill a program without warning and wait until the supervisor has started it again.

    Raises:
        LabError: it does not run, or was not started again within 15 s.
    """
    pid = _status(name).pid
    if not pid:
        raise LabError(f"program {name}: does not run, there is nothing to kill; start it with 'make lab'")
    cgroup.kill(pid)
    deadline = time.monotonic() + START_TIMEOUT
    while _status(name).pid in (0, pid):
        if time.monotonic() > deadline:
            raise LabError(f"program {name}: not started again within {START_TIMEOUT:g} s after it was killed")
        time.sleep(0.05)


def _status(name: str) -> Status:
    for status in statuses():
        if status.name == name:
            return status
    raise LabError(f"program {name}: not in the lab; 'make lab-status' lists its programs")


def _ask(question: Callable[[Any], Any], ignored: int | None = None) -> Any:
    path = topology.state_directory() / "supervisor.sock"
    transport = SupervisorTransport(None, None, f"unix://{path}")
    # The transport takes the socket's path; the address is only there because the library wants one.
    proxy: Any = ServerProxy("http://127.0.0.1", transport=transport)
    try:
        return question(proxy.supervisor)
    except Fault as error:
        if error.faultCode == ignored:
            return None
        raise LabError(f"supervisord: {error.faultString}") from error
    except (OSError, HTTPException) as error:
        raise LabError(f"the lab is not up: {path}: {error}; run 'make lab'") from error
    finally:
        transport.close()
