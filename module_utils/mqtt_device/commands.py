"""Running programs on the device, and reading and atomically writing files."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ansible.module_utils.region_switch.model.errors import SwitchError

TIMEOUT = 300.0


class DeviceError(SwitchError):  # type: ignore[misc]
    """A problem of a device and its remedy, in one line."""


def run(command: Sequence[str], advice: str, text: str | None = None, lines: int = 1) -> str:
    """Run a program and return its standard output.

    Args:
        advice: the remedy when it fails.
        text: its standard input.
        lines: how many of its last lines the error quotes when it fails.

    Raises:
        DeviceError: it is missing, failed, or took longer than `TIMEOUT`.
    """
    try:
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, timeout=TIMEOUT, check=False, errors="replace"
        )
    except FileNotFoundError as error:
        raise DeviceError(f"{command[0]}: the program is missing: {advice}") from error
    except subprocess.TimeoutExpired as error:
        raise DeviceError(f"{command[0]}: did not end within {TIMEOUT:.0f} s: {advice}") from error
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines() or ["no output"]
        raise DeviceError(
            f"{command[0]}: failed with exit code {done.returncode} ({'; '.join(said[-lines:])}): {advice}"
        )
    return done.stdout


def write(path: Path, content: str, mode: int) -> None:
    """Write a file atomically and durably; its contents are never readable beyond `mode`."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), mode)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    Path(temporary).replace(path)


def read(path: Path) -> str | None:
    """The text of a file; None where it does not exist."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
