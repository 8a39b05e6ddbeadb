"""A move in a process of its own, which kills itself before or after it writes a certain entry of its journal.

`python -m tests.modules.killed <JSON of the module's options> <entry, from 0> <before | after>`
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

import tests.conftest  # noqa: F401 - makes the engine importable under Ansible's name

from .modules import run

# Entries that come by the clock, or from a thread of their own, and stand for no decision.
BY_THE_CLOCK = {"progress", "dns_waiting", "dns_settled"}


def main() -> None:
    # Known under this name only since tests.conftest was imported.
    from ansible.module_utils.region_switch.journal import Journal

    options, entry, moment = json.loads(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    append, written = Journal._append, [0]

    def killing(journal: Journal, step: str, details: dict[str, Any], sync: bool) -> None:
        counts = step not in BY_THE_CLOCK
        here = counts and written[0] == entry
        written[0] += counts
        if here and moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        append(journal, step, details, sync)
        if here:
            os.kill(os.getpid(), signal.SIGKILL)

    Journal._append = killing  # type: ignore[method-assign]
    sys.stdout.write(json.dumps(run("iot_region_switch", options)))


if __name__ == "__main__":
    main()
