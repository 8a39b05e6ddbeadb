"""A move in a process of its own, which kills itself before or after it writes a certain entry of its journal."""

from __future__ import annotations

import multiprocessing
import os
import signal
from multiprocessing.context import ForkServerContext
from typing import Any

import tests.conftest  # noqa: F401 - makes the engine importable under Ansible's name

from .modules import run

# Entries that come by the clock, or from a thread of their own, and stand for no decision.
BY_THE_CLOCK = {"progress", "dns_waiting", "dns_settled"}


TIMEOUT = 60.0


def processes() -> ForkServerContext:
    """Where such processes come from: one that imported once what each of them needs."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "iot_region_switch"])
    return context


def killed_at(move: dict[str, Any], entry: int | str, moment: str) -> bool:
    """Run the module with these options in a process of its own, told to end `before` or `after` an entry.

    Args:
        entry: its number, from 0, or its step.

    Returns whether it was killed there.
    """
    process = processes().Process(target=_move, args=(move, entry, moment, dict(os.environ)))
    process.start()
    process.join(TIMEOUT)
    code = process.exitcode
    process.kill()
    process.join()
    assert code in (0, -signal.SIGKILL), f"a move to be killed {moment} entry {entry} ended with {code}"
    return code != 0


def _move(options: dict[str, Any], entry: int | str, moment: str, environment: dict[str, str]) -> None:
    # Known under this name only since tests.conftest was imported.
    from ansible.module_utils.region_switch.record.journal import Journal

    os.environ.update(environment)
    append, written = Journal._append, [0]

    def killing(journal: Journal, event: Any, sync: bool) -> None:
        counts = event.step not in BY_THE_CLOCK
        here = counts and entry in (written[0], event.step)
        written[0] += counts
        if here and moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        append(journal, event, sync)
        if here:
            os.kill(os.getpid(), signal.SIGKILL)

    Journal._append = killing  # type: ignore[method-assign]
    run("iot_region_switch", options)
