"""`endpoint_lookup_info` on devices, whose answers are validated.

A loop over devices asks them at the same time: each item with `background` starts to ask its device and returns at
once, and the item with `collect` after them returns all answers, each with its `host` and `endpoint`. All together take
no longer than one may, except those that answer the old target, which are asked again until `until`. So a move that
waits for them between records and clients does not wait longer for more devices, and a device that cannot be asked is
no failure of the task.
"""

from __future__ import annotations

import json
import math
import os
import re
import select
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.loader import action_loader

DeviceAnswer = action_loader.get("device_answer", class_only=True)
seconds = sys.modules[DeviceAnswer.__module__].seconds

Answer = dict[str, Any]

# As documented by the module.
TIME_LIMIT = 300.0
# Devices that are asked at the same time, each by its own process.
PARALLEL = 32
# Seconds between two questions to a device, and for a process to end after its time limit.
AGAIN, GRACE = 1.0, 2.0
# Ansible's prefix of ssh's message.
SSH = re.compile(r"^(Failed to connect to the host via ssh|Data could not be sent to .{1,300} over ssh): ")


@dataclass
class Asked:
    """A device, and the process that asks it.

    Attributes:
        reader: pipe with the process's answer; -1 once it has ended.
        said: the answer so far.
    """

    host: str
    endpoint: str
    pid: int = 0
    reader: int = -1
    said: bytearray = field(default_factory=bytearray)

    def read(self) -> None:
        """Read the available output."""
        part = os.read(self.reader, 65536)
        self.said += part
        if not part:
            self.close()

    def close(self) -> None:
        os.close(self.reader)
        self.reader = -1
        os.waitpid(self.pid, 0)

    def end(self) -> None:
        """Kill a process that exceeded its time, with its children."""
        with suppress(OSError):
            os.killpg(self.pid, signal.SIGKILL)
        self.said.clear()
        self.close()

    def answer(self) -> Answer:
        try:
            found: Answer = json.loads(bytes(self.said))
        except ValueError:
            found = {"reason": "no answer in time"}
        return {**found, "host": self.host, "endpoint": self.endpoint}


class Round:
    """The devices that one task asks.

    Attributes:
        over: monotonic time at which devices without an answer are given up; None before the first is asked.
        until: monotonic time until which those that answer the old target are asked again.
    """

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.over: float | None = None
        self.until = 0.0

    def running(self) -> list[Asked]:
        return [each for each in self.asked if each.reader >= 0]

    def wait(self, until: float, most: int) -> None:
        """Read answers until at most so many devices are still being asked, or the time is over."""
        while len(running := self.running()) > most and (left := until - time.monotonic()) > 0:
            readers = {each.reader: each for each in running}
            for reader in select.select(list(readers), [], [], left)[0]:
                readers[reader].read()

    def answers(self, limit: float) -> list[Answer]:
        """All answers, once they are complete or their time is over."""
        # The last question is sent no later than `until`.
        self.wait(max(self.over or 0.0, self.until + limit) + GRACE, 0)
        for each in self.running():
            each.end()
        return [each.answer() for each in self.asked]


# Ansible runs the items of a loop one after the other, in one process per task.
ROUND = Round()


class ActionModule(DeviceAnswer):  # type: ignore[misc, valid-type]
    """Asks one device, starts to ask it, or returns the answers of all."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> Answer:
        arguments = self._task.args
        background, collect = arguments.pop("background", False), arguments.pop("collect", False)
        until = float(arguments.pop("until", 0.0))
        limit = seconds(arguments.get("time_limit", TIME_LIMIT))
        if collect:
            return {"changed": False, "answers": ROUND.answers(limit)}
        if not background:
            answer: Answer = super().run(tmp, task_vars)
            return answer
        self._begin(task_vars, limit, until)
        return {"changed": False}

    def _begin(self, task_vars: dict[str, Any] | None, limit: float, until: float) -> None:
        """Start a process that asks the device, once fewer than PARALLEL are running."""
        ROUND.over, ROUND.until = ROUND.over or time.monotonic() + limit, until
        ROUND.wait(ROUND.over, PARALLEL - 1)
        asked = Asked(str(self._task.delegate_to), ",".join(self._task.args.get("endpoints") or []))
        ROUND.asked.append(asked)
        if len(ROUND.running()) >= PARALLEL or time.monotonic() >= ROUND.over:
            return
        asked.reader, writer = os.pipe()
        parent, asked.pid = os.getpid(), os.fork()
        if asked.pid:
            os.close(writer)
            return
        try:
            # A process group, so that its children, such as ssh, are ended with it.
            os.setpgid(0, 0)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.close(asked.reader)
            found = self._until_right(task_vars, limit, ROUND.over, until, parent)
            with open(writer, "wb") as stream:  # noqa: PTH123 - a descriptor
                stream.write(json.dumps(found).encode())
        finally:
            os._exit(0)

    def _until_right(
        self, task_vars: dict[str, Any] | None, limit: float, over: float, until: float, parent: int
    ) -> Answer:
        """Ask the device, and again while it answers the old target and the task still waits for it."""
        found = self._asked(task_vars, over - time.monotonic())
        while found.get("stale") and time.monotonic() < until and os.getppid() == parent:
            time.sleep(AGAIN)
            found = self._asked(task_vars, limit)
        return found

    def _asked(self, task_vars: dict[str, Any] | None, limit: float) -> Answer:
        """The device's lookups and its stale endpoints, or the reason why it could not be asked."""
        self._task.args["time_limit"] = max(math.ceil(limit), 1)
        try:
            answer: Answer = super().run(None, task_vars)
        except AnsibleError as error:
            answer = {"reason": str(error)}
        if "lookups" in answer:
            return {key: answer[key] for key in ("lookups", "stale")}
        return {"reason": SSH.sub("", str(answer.get("reason") or answer.get("msg") or "no answer"))}
