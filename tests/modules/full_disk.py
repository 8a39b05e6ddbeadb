"""A move whose disk becomes full on the way, in a process of its own.

`unshare --user --map-root-user --mount python -m tests.modules.full_disk <JSON of the module's options> <told> <keeps>`

Its reports are on a file system of their own, which somebody else fills when so many clients were told to leave; with
`keeps` at 0 also what the run had kept back. Prints `{"result", "files": {name in the run's folder: content}}`.
"""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import tests.conftest  # noqa: F401 - makes the engine importable under Ansible's name

from .modules import run

SIZE = "40m"


def fill(folder: Path) -> None:
    try:
        with (folder / "filler").open("ab", buffering=0) as stream:
            while True:
                stream.write(bytes(4096))
    except OSError as error:
        assert error.errno == errno.ENOSPC


def main() -> None:
    # Known under this name only since tests.conftest was imported.
    from ansible.module_utils.region_switch.record.journal import Journal
    from ansible.module_utils.region_switch.record.storage import Reserve

    options, told, keeps = json.loads(sys.argv[1]), int(sys.argv[2]), sys.argv[3] != "0"
    reports = Path(options["reports_directory"])
    reports.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=0700", "tmpfs", str(reports)], check=True)
    append, release, count = Journal._append, Reserve.release, [0]

    def filling(journal: Journal, event: Any, sync: bool) -> None:
        count[0] += event.step == "delete_connection"
        if event.step == "delete_connection" and count[0] == told:
            fill(reports)
        append(journal, event, sync)

    def released(reserve: Reserve) -> None:
        release(reserve)
        if not keeps:
            fill(reports)

    Journal._append = filling  # type: ignore[method-assign]
    Reserve.release = released  # type: ignore[method-assign]
    result = run("iot_region_switch", options)
    files = {each.name: each.read_text(errors="replace") for each in Path(result["report"]).iterdir()}
    kept = ("summary.json", "journal.jsonl", "clients.csv", ".clients.csv", ".summary.json")
    sys.stdout.write(json.dumps({"result": result, "files": {name: files[name] for name in kept if name in files}}))


if __name__ == "__main__":
    main()
