"""A run that is interrupted, or whose ansible-playbook has died, still writes its report.

What reaches a module (ansible-core 2.19, `executor/process/worker.py` and `executor/task_queue_manager.py`): a worker
makes a session of its own (`setsid`), so that Ctrl-C at the terminal reaches ansible-playbook alone. That passes SIGINT
and SIGTERM on to its workers, and each of them to its process group, hence to the module, without waiting for it;
SIGTERM follows SIGINT at once, so that a worker that is slow to wake up passes on SIGTERM alone.
SIGHUP and SIGKILL end ansible-playbook without a word to anybody, and the module goes on unheard.
"""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from ..model.errors import UnfinishedError

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# What the watch sends. Python handles pending signals by number: one that somebody else sent keeps the first word.
ORPHANED = signal.SIGVTALRM
HANDLED = (*SIGNALS, ORPHANED)
POLL_SECONDS = 0.5
# A worker that passes on a signal may be gone before that is handled here: the thread that the kernel gave it to may
# have no processor yet.
PASSED_ON_SECONDS = 2.0
# Ansible ships a module as an archive, from which it is imported.
_SHIPPED = not Path(__file__).exists()
_ADVICE = "expected the run to end by itself: run the same mode again to resume, or playbooks/rollback.yml to go back"


class Interrupted(UnfinishedError):  # noqa: N818 - what happened is no error of anybody's
    """The run was interrupted, or nobody waits for it any more."""


@dataclass(frozen=True)
class Process:
    """A process, told from a later one that got the same pid by its start.

    Attributes:
        started: clock ticks since the machine's start.
    """

    pid: int
    started: int


@dataclass(frozen=True)
class _Stat:
    state: str
    parent: int
    session: int
    started: int


def _stat(pid: int) -> _Stat | None:
    """What /proc says of a process (proc(5)); None where it is gone, or there is no /proc."""
    try:
        # The second field is the program's name in parentheses, which may hold anything.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return _Stat(fields[0], int(fields[1]), int(fields[3]), int(fields[19]))
    except (OSError, ValueError, IndexError):
        return None


def starters() -> list[Process]:
    """The processes that wait for this one: its ancestors of its session, then the one that made the session.

    Under Ansible the last is ansible-playbook; what began that one, such as a shell, may end before it. Empty where
    there is no /proc.
    """
    found: list[Process] = []
    pid, session = os.getppid(), os.getsid(0)
    while pid > 0 and (stat := _stat(pid)):
        found.append(Process(pid, stat.started))
        if stat.session != session:
            break
        pid = stat.parent
    return found


def orphan() -> bool:
    """Whether the ansible-playbook that began this process was gone before this process looked for it.

    Ansible runs a module below a worker, which makes a session of its own and is a fork of ansible-playbook: both have
    the same command line as long as the latter is the worker's parent.
    """
    pid, session = os.getppid(), os.getsid(0)
    while pid > 0 and (stat := _stat(pid)) and stat.session == session:
        if pid == session:
            command = _command(pid)
            worker = any(Path(word).name.startswith("ansible") for word in command)
            return worker and _command(stat.parent) != command
        pid = stat.parent
    # A worker that was killed with ansible-playbook leaves what it began without the one that made the session.
    leader = _stat(session)
    return _SHIPPED and session > 0 and (leader is None or leader.state in "ZX") and _stat(os.getpid()) is not None


def _command(pid: int) -> list[str]:
    """The words of a process's command line; none where it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace").split("\0")
    except OSError:
        return []


def gone(process: Process) -> bool:
    """Whether a process has ended, though its parent may not have noticed yet."""
    stat = _stat(process.pid)
    return stat is None or stat.state in "ZX" or stat.started != process.started


def _orphaned(waiting: Sequence[Process], parent: int) -> bool:
    return any(map(gone, waiting)) if waiting else os.getppid() != parent


def _watched(waiting: Sequence[Process]) -> list[int]:
    """Descriptors that can be read when these processes have ended (pidfd_open(2)), where there is such a call."""
    found: list[int] = []
    for process in waiting:
        # Python is built without it for kernels before 5.3; the pid of one that is gone is none.
        with suppress(OSError, AttributeError):
            found.append(os.pidfd_open(process.pid))
    return found


class _Stop:
    """Turns the first reason to stop into Interrupted in the main thread, and passes over those that follow."""

    def __init__(self) -> None:
        self.interrupted = False
        self._ended, self._end = os.pipe()
        self._waiting = starters()
        self._parent = os.getppid()
        self._gone = "its ansible-playbook"
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        self._thread.start()
        # Those who wait are told from others by their start, which says nothing where they ended before.
        if orphan():
            signal.raise_signal(ORPHANED)
        # One that came before anybody could heed it.
        missed = _passed_over[:1]
        _passed_over.clear()
        for number in missed:
            signal.raise_signal(number)

    def end(self) -> None:
        os.close(self._end)
        # No signal after the handlers were given back: it would end the process without a word.
        self._thread.join()
        os.close(self._ended)

    def on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self.interrupted:
            return
        self.interrupted = True
        found = f"{self._gone} gone" if number == ORPHANED else signal.Signals(number).name
        raise Interrupted(f"run: found {found}, {_ADVICE}")

    def _watch(self) -> None:
        """Wait for the end of those who wait: the kernel says it at once where it can, else it is looked for."""
        watched = _watched(self._waiting)
        try:
            while not self._over([self._ended, *watched], POLL_SECONDS):
                if _orphaned(self._waiting, self._parent):
                    if self._waiting and not gone(self._waiting[-1]):
                        self._gone = "the worker of its ansible-playbook"
                        if self._over([self._ended], PASSED_ON_SECONDS):
                            return
                    signal.pthread_kill(threading.main_thread().ident or 0, ORPHANED)
                    return
        finally:
            for descriptor in watched:
                os.close(descriptor)

    def _over(self, descriptors: Sequence[int], seconds: float) -> bool:
        """Wait for something to happen, so many seconds at most; whether the run has ended."""
        poll = select.poll()
        for descriptor in descriptors:
            poll.register(descriptor, select.POLLIN)
        return any(descriptor == self._ended for descriptor, _ in poll.poll(seconds * 1000))


@contextmanager
def stoppable() -> Iterator[None]:
    """Raise Interrupted in the block, once, on SIGINT, SIGTERM, SIGHUP, or when those who began this run are gone.

    Signals that come after the first are passed over, also behind the block, so that a report is written in peace.
    Must be used in the main thread.

    Raises:
        Interrupted: names what stopped the run.
    """
    stop = _Stop()
    before = {number: signal.signal(number, stop.on_signal) for number in HANDLED}
    try:
        stop.start()
        yield
    finally:
        stop.end()
        if not stop.interrupted:
            _restore(before)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Pass over SIGINT, SIGTERM and SIGHUP in the block, but for what is `stoppable` in it.

    That begins with the first of those which came before it.
    """
    _passed_over.clear()
    before = {number: signal.signal(number, _pass_over) for number in SIGNALS}
    try:
        yield
    finally:
        _restore(before)


_passed_over: list[int] = []


def _pass_over(number: int, _frame: FrameType | None) -> None:
    _passed_over.append(number)


def _restore(handlers: dict[signal.Signals, signal._HANDLER]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)
