"""Runs mutants of one module, in the copy of the tree that is the current directory: `… worker FILE K/N TESTS…`.

K/N: those of N parts of them, counted from 0.

Writes a JSON line for each mutant: `{"where", "old", "new", "outcome", "seconds"}`; outcome is `killed`, `late` or
`survived`. Each mutant has a process of its own, forked from this one, which has loaded the libraries and none of the
project: that saves most of the time of a test run.
"""

from __future__ import annotations

import gc
import importlib.util
import json
import math
import multiprocessing
import os
import resource
import signal
import sys
import time
from contextlib import suppress
from itertools import islice
from pathlib import Path

from .diff import describe
from .operators import mutants

LIBRARIES = ("boto3", "botocore.session", "cryptography.x509", "dns.resolver", "hypothesis", "pytest", "yaml")
# A mutant may go round for ever, which takes CPU, or wait for ever: what the unmutated tests take, and some more.
FACTOR, SPARE_CPU, SPARE = 3.0, 2.0, 20.0
EXAMPLES = 30
PASSED, FAILED, NOT_IMPORTED = 0, 1, 99
FORK = multiprocessing.get_context("fork")


def main(path: Path, part: str, tests: list[str]) -> str | None:
    """Run them all; return what makes the result worthless, None where nothing does."""
    for library in LIBRARIES:
        importlib.import_module(library)
    # Else each process looks through all of it for garbage, several times.
    gc.freeze()
    source = path.read_text()
    try:
        return _all(path, source, *map(int, part.split("/")), tests)
    finally:
        path.write_text(source)


def _all(path: Path, source: str, part: int, parts: int, tests: list[str]) -> str | None:
    started, cpu = time.monotonic(), _children_cpu()
    code = _run(path, tests, 600, 600.0)
    if code:
        return "its tests do not import it" if code == NOT_IMPORTED else "its tests fail without any mutant"
    timeout = FACTOR * (time.monotonic() - started) + SPARE
    cpu_limit = math.ceil(FACTOR * (_children_cpu() - cpu) + SPARE_CPU)
    for mutant in islice(mutants(source), part, None, parts):
        path.write_text(mutant)
        started = time.monotonic()
        code = _run(path, tests, cpu_limit, timeout)
        outcome = "late" if code is None else "killed" if code else "survived"
        line = {**describe(source, mutant), "outcome": outcome, "seconds": round(time.monotonic() - started, 1)}
        print(json.dumps(line), flush=True)  # noqa: T201 - read by the starter
    return None


def _children_cpu() -> float:
    times = os.times()
    return times.children_user + times.children_system


def _run(path: Path, tests: list[str], cpu_limit: int, timeout: float) -> int | None:
    """Return a test run's exit code, None where it did not end in time."""
    # Mutants of one size in one second are the same file to the import system.
    Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)
    process = FORK.Process(target=_test, args=(path, tests, cpu_limit))
    process.start()
    process.join(timeout)
    late = process.exitcode in {None, -signal.SIGXCPU}
    # Whatever it started is of its process group.
    with suppress(ProcessLookupError):
        os.killpg(process.pid or 0, signal.SIGKILL)
    process.join()
    return None if late else process.exitcode


def _test(path: Path, tests: list[str], cpu_limit: int) -> None:
    import hypothesis
    import pytest

    os.setsid()
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_limit, cpu_limit))
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    # The same examples for each mutant; one that fails is enough, be it small or not.
    phases = [hypothesis.Phase.explicit, hypothesis.Phase.generate]
    hypothesis.settings.register_profile(
        "mutants", derandomize=True, database=None, phases=phases, max_examples=EXAMPLES, deadline=None
    )
    hypothesis.settings.load_profile("mutants")
    # The conftest.py of the properties loads this one.
    os.environ["HYPOTHESIS_PROFILE"] = "mutants"
    code = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests]))
    if not code and str(path.resolve()) not in {getattr(module, "__file__", None) for module in sys.modules.values()}:
        code = NOT_IMPORTED
    # Not the interpreter's own end: a mutant may leave threads behind that never end.
    os._exit(code)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:]))
