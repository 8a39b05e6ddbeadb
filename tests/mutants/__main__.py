"""`python -m tests.mutants [--workers N] [MODULE…]`: mutate modules, test them, and hold the survivors to the list."""

from __future__ import annotations

import argparse
import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .survivors import SURVIVORS_AT_MOST, Key, Verdict, judge

ROOT = Path(__file__).parent.parent.parent
HERE = Path(__file__).parent
NOT_COPIED = shutil.ignore_patterns(".*", "__pycache__", "reports", "certs")


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code: 1 where too many mutants of a module survive, 2 where a module could not be judged."""
    table, listed = known_modules(), known_survivors()
    parser = argparse.ArgumentParser(prog="mutants", description=__doc__)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"of {', '.join(table)}; all where none is named")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.modules) - set(table):
        parser.error(f"found {', '.join(sorted(unknown))}, expected some of {', '.join(table)}")
    with _copies(chosen.workers) as copies, ThreadPoolExecutor(chosen.workers) as pool:
        # Each worker takes a part of each module.
        runs = {
            name: [
                pool.submit(_run, name, table[name], f"{part}/{chosen.workers}", copies)
                for part in range(chosen.workers)
            ]
            for name in chosen.modules or table
        }
        verdicts = [_verdict(name, [part.result() for part in parts], listed) for name, parts in runs.items()]
    return max(2 if verdict is None else int(verdict.failed) for verdict in verdicts)


def known_modules() -> dict[str, dict[str, Any]]:
    """`{module: {"file", "tests"}}`."""
    return tomllib.loads((HERE / "modules.toml").read_text())


def known_survivors() -> list[dict[str, Any]]:
    """`{"module", "where", "old", "new", "reason"}`, and `"equivalent": False` where a test could notice it."""
    found: list[dict[str, Any]] = tomllib.loads((HERE / "survivors.toml").read_text()).get("survivor", [])
    return found


@contextmanager
def _copies(count: int) -> Iterator[queue.Queue[Path]]:
    """Yield copies of the tree, one for each worker: a mutant never stands in the checkout."""
    free: queue.Queue[Path] = queue.Queue()
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        for number in range(count):
            copy = Path(folder) / str(number)
            shutil.copytree(ROOT, copy, symlinks=True, ignore=NOT_COPIED)
            free.put(copy)
        yield free


def _run(name: str, module: dict[str, Any], part: str, copies: queue.Queue[Path]) -> list[dict[str, Any]] | None:
    """Try a part of a module's mutants in a free copy; None where its tests do not even pass without one."""
    copy = copies.get()
    command = [sys.executable, "-m", "tests.mutants.worker", module["file"], part, *module["tests"]]
    # Without the checkout's own paths: the copy is what must be imported. What it compiles may stay there.
    without = {"PYTHONPATH", "PYTHONDONTWRITEBYTECODE"}
    environment = {key: value for key, value in os.environ.items() if key not in without}
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    ended = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    copies.put(copy)
    if ended.returncode:
        print(f"{name}: {ended.stderr.strip()}: see to {', '.join(module['tests'])}", flush=True)  # noqa: T201
        return None
    return [json.loads(line) for line in ended.stdout.splitlines()]


def _verdict(name: str, parts: list[list[dict[str, Any]] | None], listed: list[dict[str, Any]]) -> Verdict | None:
    """Judge and show what became of a module's mutants."""
    if None in parts:
        return None
    mutants = [mutant for part in parts for mutant in part or ()]
    verdict = judge(name, mutants, listed)
    seconds = sum(mutant["seconds"] for mutant in mutants)
    lines = [
        f"{name}: {verdict.tested} mutants, {verdict.survived} survived ({verdict.share:.1%}, "
        f"{SURVIVORS_AT_MOST:.0%} at most), {verdict.equivalent} more are equivalent; {seconds:.0f} s",
        *(_entry("survived", name, key) for key in verdict.unknown),
        *(_entry("listed in survivors.toml, but killed or gone", name, key) for key in verdict.stale),
    ]
    print("\n".join(lines), flush=True)  # noqa: T201
    return verdict


def _entry(what: str, module: str, key: Key) -> str:
    """Return an entry as `survivors.toml` has it."""
    words = "\n".join(
        f"    {name} = {json.dumps(text)}" for name, text in zip(("where", "old", "new"), key, strict=True)
    )
    return f'  {what}:\n    [[survivor]]\n    module = "{module}"\n{words}'


if __name__ == "__main__":
    sys.exit(main())
