"""Bringing the lab up and taking it down."""

from __future__ import annotations

import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lab import cgroup, checks, device, network, topology
from lab.errors import LabError

Say = Callable[[str], None]

SUPERVISOR_END_TIMEOUT = 5.0


def up(say: Say) -> None:
    """Bring up what is missing of the lab and wait until every part is ready.

    Raises:
        LabError: the machine is not fit, or a part did not become ready.
    """
    facts = checks.read_facts()
    state = topology.state_directory()
    checks.check_machine(facts)
    checks.check_socket_paths(checks.socket_paths(state))
    with _alone():
        _install_missing(facts, say)
        _bury_dead_lab(say)
        checks.check_network()
        _prepare(state, say)
        _run_programs(state, say)


def install(say: Say) -> None:
    """Fetch all that the lab and the tests take from the internet: a lab in a world of its own cannot reach it.

    Raises:
        LabError: the machine is not fit, or something cannot be fetched.
    """
    facts = checks.read_facts()
    checks.check_machine(facts)
    with _alone():
        _install_missing(facts, say, tests=True)
        _build_base(say)
        device.fetch_clients()


def _install_missing(facts: checks.Facts, say: Say, tests: bool = False) -> None:
    missing = checks.missing_packages(facts, tests)
    if missing:
        from lab import packages

        say(f"installing the packages {', '.join(missing)}")
        packages.install(missing)


def _build_base(say: Say) -> None:
    if device.base_directory().exists():
        return
    say("building the devices' system with debootstrap, once: about a minute")
    began = time.monotonic()
    device.build_base()
    say(f"devices' system: built in {time.monotonic() - began:.0f} s")


def _prepare(state: Path, say: Say) -> None:
    from lab import configuration, files, programs

    _build_base(say)
    network.up()
    say(f"network {topology.NETWORK} on {topology.BRIDGE}: {len(topology.NODES)} nodes")
    (state / "log").mkdir(parents=True, exist_ok=True)
    configuration.write_all(state)
    device.prepare()
    binary = shutil.which("unbound", path=checks.program_path())
    if binary is None:
        raise LabError("unbound: not found; install the package unbound again")
    files.write(programs.unbound_binary(state), Path(binary).read_bytes(), 0o755)


def _run_programs(state: Path, say: Say) -> None:
    from lab import readiness, supervisor

    if supervisor.is_running():
        changed = sorted({*supervisor.update(), *supervisor.start_stopped()})
        say(f"programs: {'started ' + ', '.join(changed) if changed else 'all running as configured'}")
    else:
        # Programs whose supervisor was killed hold the addresses, and the IDs, that the new ones take for theirs.
        cgroup.wait_until_collected(cgroup.end_processes(also=_namespace_processes()))
        supervisor.write_configuration()
        supervisor.start()
        say("programs: started by supervisord")
    readiness.wait(state, say)


def down(say: Say) -> None:
    """Take down whatever there is of the lab; what is kept is the devices' base system.

    Raises:
        LabError: not root, the lab is another checkout's, or something could not be removed.
    """
    facts = checks.read_facts()
    if facts.system != "Linux" or facts.user_id != 0:
        checks.check_machine(facts)
    with _alone():
        _bury_dead_lab(say)
        checks.check_owner(network.bridge_owner(), topology.REPOSITORY)
        say(f"processes: {_end_programs()} ended")
        cgroup.remove()
        device.down()
        network.down()
        if (state := topology.state_directory()).exists():
            shutil.rmtree(state)
        say("network, mounts and state: gone")


def _bury_dead_lab(say: Say) -> None:
    """Remove what the lab of another checkout left when it ended without being taken down."""
    owner = network.bridge_owner()
    if not checks.is_dead(owner, topology.REPOSITORY, cgroup.processes() | set(_namespace_processes())):
        return
    cgroup.remove()
    device.down()
    network.down()
    say(f"the lab of {owner} no longer ran: what it left is removed")


def _end_programs() -> int:
    """End every process of the lab; the supervisor last, since it collects what it started."""
    supervisors = cgroup.processes(cgroup.SUPERVISOR)
    found = cgroup.processes() | set(_namespace_processes())
    leaders = {pid for pid in supervisors if _is_supervisor(pid)}
    for pid in leaders:
        # From here on it starts nothing again.
        cgroup.kill(pid, signal.SIGTERM)
    for pid in found - leaders:
        cgroup.kill(pid)
    deadline = time.monotonic() + SUPERVISOR_END_TIMEOUT
    while leaders & cgroup.processes(cgroup.SUPERVISOR) and time.monotonic() < deadline:
        time.sleep(0.02)
    found |= cgroup.end_processes(also=_namespace_processes())
    cgroup.wait_until_collected(found)
    return len(found)


def _is_supervisor(pid: int) -> bool:
    with suppress(OSError):
        return b"supervisor.supervisord" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def _namespace_processes() -> list[int]:
    return [pid for node in topology.NODES for pid in network.processes(node)]


@contextmanager
def _alone() -> Iterator[None]:
    """Keep two commands of this machine from changing the lab at once, whichever checkout they are of."""
    with socket.socket(socket.AF_UNIX) as lock:
        try:
            # Abstract: there is no file to leave behind, and it ends with the process that holds it.
            lock.bind(f"\0{topology.BRIDGE}")
        except OSError as error:
            raise LabError("another command is changing the lab; run again when it has ended") from error
        yield
