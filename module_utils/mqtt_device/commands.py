"""Programs of the device, and files that are there whole or not at all."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ansible.module_utils.region_switch.model.errors import SwitchError

TIMEOUT = 300.0


class DeviceError(SwitchError):  # type: ignore[misc]
    """A device that cannot be, or is not, as it should: what was found, what was expected, what to do."""


def run(command: Sequence[str], advice: str, text: str | None = None, lines: int = 1) -> str:
    """Run a program and return what it printed.

    Args:
        advice: what to do when it fails.
        text: its standard input.
        lines: most of its last lines that are told when it fails.

    Raises:
        DeviceError: it is not there, failed, or took longer than `TIMEOUT`.
    """
    try:
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, timeout=TIMEOUT, check=False, errors="replace"
        )
    except FileNotFoundError as error:
        raise DeviceError(f"{command[0]}: found no such program, expected it: {advice}") from error
    except subprocess.TimeoutExpired as error:
        raise DeviceError(f"{command[0]}: found no end within {TIMEOUT:.0f} s, expected one: {advice}") from error
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines() or ["nothing said"]
        raise DeviceError(
            f"{command[0]}: found exit code {done.returncode} ({'; '.join(said[-lines:])}), expected 0: {advice}"
        )
    return done.stdout


def write(path: Path, content: str, mode: int) -> None:
    """Write a file whole or not at all, on disk when this returns; never readable for more than `mode` says."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), mode)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    Path(temporary).replace(path)


def read(path: Path) -> str | None:
    """The text of a file; None where there is none."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
