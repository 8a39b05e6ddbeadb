"""Run test commands at the same time: `python -m tests.side_by_side COMMAND…`, each a command line.

The first one's output is shown as it comes, that of the others after it. Ends with 0 only where all did.
"""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
import tempfile
from typing import IO


def run(command_lines: list[str]) -> list[int]:
    """Run command lines at the same time and return their exit codes; Ctrl-C and SIGTERM end all of them."""
    first, *others = (shlex.split(line) for line in command_lines)
    started: list[tuple[subprocess.Popen[bytes], IO[bytes]]] = []
    try:
        for command in others:
            output = tempfile.TemporaryFile()  # noqa: SIM115 - closed with this process
            started.append((subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT), output))
        codes = [subprocess.run(first, check=False).returncode]
        for command, (process, output) in zip(others, started, strict=True):
            codes.append(process.wait())
            _show(command, output)
    finally:
        for process, _ in started:
            process.terminate()
    return codes


def _show(command: list[str], output: IO[bytes]) -> None:
    sys.stdout.write(f"\n$ {shlex.join(command)}\n")
    sys.stdout.flush()
    output.seek(0)
    sys.stdout.buffer.write(output.read())
    sys.stdout.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(max(map(abs, run(sys.argv[1:]))))
