"""The committed figures: one JSON file with a section for each command that measures."""

from __future__ import annotations

import json
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
FILE = REPOSITORY / "docs" / "benchmarks.json"
# Whose move it is: a value of "method" in a cell.
OURS, ARTICLE = "ours", "article"
PACKAGES = ("ansible-core", "boto3", "awsiotsdk", "paho-mqtt")


def read(path: Path = FILE) -> dict[str, Any]:
    """Return all sections; none where nothing was measured yet."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


def write(section: str, figures: dict[str, Any], path: Path = FILE) -> None:
    """Put a section's figures in the place of its earlier ones, with the machine and the moment they are of."""
    found = {**read(path), section: {"machine": machine(), **figures}}
    text = json.dumps(dict(sorted(found.items())), indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def machine() -> dict[str, Any]:
    """What figures depend on beside the code, and which code it was."""
    cores = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    model = next((line.partition(":")[2].strip() for line in cores.splitlines() if line.startswith("model name")), "")
    memory = Path("/proc/meminfo").read_text(encoding="utf-8").split()[1]
    return {
        "cpu": model or platform.machine(),
        "cores": cores.count("processor\t:"),
        "memory_gib": round(int(memory) / 2**20, 1),
        "load_average": float(Path("/proc/loadavg").read_text(encoding="ascii").split()[1]),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "commit": _commit(),
    }


def _commit() -> str:
    """The commit, with a + where files differ from it, but for what the figures themselves are written to."""
    commit = _git("rev-parse", "--short", "HEAD").stdout.strip()
    differs = _git("diff", "--quiet", "HEAD", "--", ".", ":!docs", ":!README.md").returncode
    return f"{commit}{'+' if differs else ''}" if commit else "unknown"


def _git(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False)
