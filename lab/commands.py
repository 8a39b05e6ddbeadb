"""System programs run by name, their failures turned into one line."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from lab.errors import LabError


def run(command: Sequence[str], *, text: str | None = None, timeout: float = 60.0) -> str:
    """Run a program and return its standard output.

    Args:
        command: program and arguments; no shell is involved.
        text: what the program reads on standard input.
        timeout: seconds after which the program is ended.

    Raises:
        LabError: the program is missing, failed or took too long.
    """
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=timeout, check=False)
    except FileNotFoundError as error:
        raise LabError(f"{command[0]}: not found; install the package it belongs to") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{' '.join(command)}: no end within {timeout:g} s") from error
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise LabError(f"{' '.join(command)}: exit code {done.returncode}: {said}")
    return done.stdout
