"""A run ends with its report on every signal, and when nobody waits for it any more."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from region_switch.move.interrupt import HANDLED, SIGNALS, Interrupted, Process, gone, starters, stoppable, undisturbed

REPOSITORY = Path(__file__).parents[3]
# Does something in `stoppable`, then writes its report, during which it gets a second signal.
PROGRAM = """
import os, signal, sys, threading
from pathlib import Path
from region_switch.move.interrupt import ORPHANED, Interrupted, stoppable
out = Path(sys.argv[1])
def ready():
    (out / "ready").write_text(str(os.getpid()))
try:
    with stoppable():
{}
except Interrupted as error:
    os.kill(os.getpid(), signal.SIGTERM)
    (out / "report.part").write_text(str(error))
    (out / "report.part").rename(out / "report")
"""
RUN = PROGRAM.format("""
        ready()
        threading.Event().wait(60)
""")


def with_constants(program: str, **constants: float) -> str:
    """The program with other seconds in the module."""
    lines = "".join(f"    i.{name} = {value}\n" for name, value in constants.items())
    return program.replace(
        "    with stoppable():", f"    import region_switch.move.interrupt as i\n{lines}    with stoppable():"
    )


def noticing(program: str, **constants: float) -> str:
    """The program, which writes down that it has noticed the end of somebody."""
    seen = """
def gone(process, look=i.gone):
    if found := look(process):
        (out / "noticed").write_text("yes")
    return found
i.gone = gone
"""
    begin_with = "import region_switch.move.interrupt as i" + seen
    return with_constants(program, **constants).replace("def ready():", f"{begin_with}def ready():")


# Handles a signal only when its watch has sent its own: both are pending when the mask is taken away.
LATE = PROGRAM.format("""
        signals = [int(sys.argv[2]), ORPHANED]
        signal.pthread_sigmask(signal.SIG_BLOCK, signals)
        ready()
        signal.sigwait([ORPHANED])
        for number in signals:
            signal.raise_signal(number)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
""")
# Plays a worker of ansible-playbook: a session of its own, in which a shell runs the module.
STARTER = """
import os, subprocess, sys, threading
if os.fork() == 0:
    os.setsid()
    subprocess.run(["/bin/sh", "-c", '"$0" "$@" && :', sys.executable, *sys.argv[1:]])
    os._exit(0)
threading.Event().wait(60)
"""


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Gives the signals back: an interrupted run goes on passing them over."""
    before = {number: signal.getsignal(number) for number in HANDLED}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def appears(path: Path) -> str:
    """The content of a file once it has one."""
    subprocess.run(["timeout", "30", "sh", "-c", 'until [ -s "$0" ]; do sleep 0.05; done', str(path)], check=True)
    return path.read_text()


def begin(program: str, *arguments: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "module_utils")}
    return subprocess.Popen([sys.executable, "-c", program, *arguments], env=environment, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize("number", SIGNALS)
def test_signal_ends_the_run_and_a_second_one_leaves_the_report_alone(tmp_path: Path, number: signal.Signals) -> None:
    run = begin(RUN, str(tmp_path))
    appears(tmp_path / "ready")

    run.send_signal(number)

    assert run.wait(30) == 0
    error = (tmp_path / "report").read_text()
    assert error.startswith(f"run: found {number.name}, expected")
    assert "\n" not in error


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP])
def test_death_of_who_began_it_ends_the_run(tmp_path: Path, number: signal.Signals) -> None:
    starter = begin(STARTER, "-c", RUN, str(tmp_path))
    appears(tmp_path / "ready")

    starter.send_signal(number)
    starter.wait(30)

    assert appears(tmp_path / "report").startswith("run: found its ansible-playbook gone, expected")


@pytest.mark.parametrize("number", SIGNALS)
def test_signal_that_came_with_the_death_of_who_began_it_is_named(tmp_path: Path, number: signal.Signals) -> None:
    starter = begin(STARTER, "-c", LATE, str(tmp_path), str(int(number)))
    appears(tmp_path / "ready")

    starter.kill()
    starter.wait(30)

    assert appears(tmp_path / "report").startswith(f"run: found {number.name}, expected")


def kill_worker(starter: subprocess.Popen[bytes]) -> None:
    [worker] = Path(f"/proc/{starter.pid}/task/{starter.pid}/children").read_text().split()
    os.kill(int(worker), signal.SIGKILL)


@pytest.mark.parametrize(("passes_on", "found"), [(True, "SIGINT"), (False, "the worker of its ansible-playbook gone")])
def test_worker_that_is_gone_before_what_it_passed_on_is_here_is_not_named(
    tmp_path: Path, passes_on: bool, found: str
) -> None:
    starter = begin(STARTER, "-c", noticing(RUN, PASSED_ON_SECONDS=60 if passes_on else 0), str(tmp_path))
    pid = int(appears(tmp_path / "ready"))

    kill_worker(starter)
    appears(tmp_path / "noticed")
    if passes_on:
        os.kill(pid, signal.SIGINT)

    assert appears(tmp_path / "report").startswith(f"run: found {found}, expected")
    starter.kill()
    starter.wait(30)


def test_run_that_ends_while_a_signal_is_waited_for_is_not_interrupted(tmp_path: Path) -> None:
    ends = RUN.replace("threading.Event().wait(60)", "\n        while not (out / 'noticed').exists(): pass")
    ends += 'else:\n    (out / "report").write_text("ended")\n'
    starter = begin(STARTER, "-c", noticing(ends, PASSED_ON_SECONDS=60), str(tmp_path))
    appears(tmp_path / "ready")

    kill_worker(starter)

    assert appears(tmp_path / "report") == "ended"
    starter.kill()
    starter.wait(30)


def test_zombie_counts_as_gone(tmp_path: Path) -> None:
    """The shell that ran ansible-playbook may be slow to notice that it was killed."""
    starter = begin(STARTER, "-c", RUN, str(tmp_path))
    appears(tmp_path / "ready")

    starter.kill()

    assert appears(tmp_path / "report")
    starter.wait(30)


# Begins when it is let go, as a module whose Python takes its time.
HELD = """
import os, subprocess, sys
from pathlib import Path
out = Path(sys.argv[1])
(out / "began").write_text("yes")
subprocess.run(["timeout", "30", "sh", "-c", 'until [ -e "$0" ]; do sleep 0.02; done', str(out / "go")], check=True)
"""


@pytest.mark.parametrize("shipped", [True, False])
def test_worker_that_was_gone_with_who_began_it_before_the_run_looked_leaves_an_orphan(
    tmp_path: Path, shipped: bool
) -> None:
    """As `pkill -9 ansible-playbook` has it, whose workers have the same name. Only what Ansible ships has a worker."""
    library = REPOSITORY / "module_utils"
    if shipped:
        library = Path(shutil.make_archive(str(tmp_path / "payload"), "zip", library))
    environment = {**os.environ, "PYTHONPATH": str(library)}
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, "-c", HELD + RUN, str(tmp_path)], env=environment, stdin=subprocess.DEVNULL
    )
    appears(tmp_path / "began")
    [worker] = Path(f"/proc/{starter.pid}/task/{starter.pid}/children").read_text().split()

    os.kill(int(worker), signal.SIGKILL)
    starter.kill()
    starter.wait(30)
    (tmp_path / "go").touch()

    if shipped:
        assert appears(tmp_path / "report").startswith("run: found its ansible-playbook gone, expected")
        return
    pid = int(appears(tmp_path / "ready"))
    os.kill(pid, signal.SIGTERM)
    assert appears(tmp_path / "report").startswith("run: found SIGTERM, expected")


@pytest.mark.parametrize("number", SIGNALS)
def test_signal_that_came_before_anybody_could_heed_it_stops_the_run_when_it_begins(number: signal.Signals) -> None:
    with undisturbed():
        signal.raise_signal(number)
        with pytest.raises(Interrupted, match=f"run: found {number.name}, expected"), stoppable():
            raise AssertionError("it began")


def test_signal_of_an_earlier_run_does_not_stop_the_next() -> None:
    with undisturbed():
        signal.raise_signal(signal.SIGTERM)
    with undisturbed(), stoppable():
        pass


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="this Python was built for a kernel before 5.3")
def test_death_of_who_began_it_is_noticed_without_asking(tmp_path: Path) -> None:
    """The kernel tells it: a run that looks twice a second sends fifty more requests until then."""
    starter = begin(STARTER, "-c", with_constants(RUN, POLL_SECONDS=1e6), str(tmp_path))
    appears(tmp_path / "ready")

    starter.kill()
    starter.wait(30)

    assert appears(tmp_path / "report").startswith("run: found its ansible-playbook gone, expected")


def test_pid_that_was_given_again_is_another_process() -> None:
    [parent, *_] = starters()

    assert not gone(parent)
    assert gone(Process(parent.pid, parent.started + 1))


def test_starters_end_with_who_made_the_session(tmp_path: Path) -> None:
    program = "from region_switch.move.interrupt import starters; print(*(each.pid for each in starters()))"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "module_utils")}
    session = [sys.executable, "-c", "import subprocess, sys; subprocess.run(sys.argv[1:])", sys.executable, "-c"]
    with subprocess.Popen(
        [*session, program], env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as run:
        pids, _ = run.communicate(timeout=30)

    assert pids.split() == [str(run.pid), str(os.getpid())]


def test_handlers_are_given_back_after_a_run_that_nobody_stopped() -> None:
    before = [signal.getsignal(number) for number in HANDLED]

    with undisturbed(), stoppable():
        assert [signal.getsignal(number) for number in HANDLED] != before

    assert [signal.getsignal(number) for number in HANDLED] == before


def test_report_is_not_disturbed_but_the_run_is() -> None:
    with undisturbed():
        with pytest.raises(Interrupted), stoppable():
            signal.raise_signal(signal.SIGINT)
        for number in SIGNALS:
            signal.raise_signal(number)
