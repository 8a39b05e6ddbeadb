"""A program at a terminal of its own, as an operator has it."""

from __future__ import annotations

import os
import pty
import select
from pathlib import Path


class Terminal:
    """A program with a terminal of its own, at which one can type."""

    def __init__(self, arguments: list[str], folder: Path) -> None:
        self.shown = ""
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            os.environ["TERM"] = "xterm"
            os.execv(arguments[0], arguments)  # noqa: S606 - its own terminal is what is tested

    def press(self, key: bytes) -> None:
        os.write(self._terminal, key)

    def shows(self, text: str) -> bool:
        """Whether it has shown a text by now."""
        while select.select([self._terminal], [], [], 0)[0] and self._read():
            pass
        return text in self.shown

    def end(self) -> int:
        """Everything shown, until the program ends with this exit code."""
        while self._read():
            pass
        os.close(self._terminal)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def _read(self) -> bool:
        try:
            found = os.read(self._terminal, 65536)
        except OSError:
            return False
        self.shown += found.decode(errors="replace")
        return bool(found)
