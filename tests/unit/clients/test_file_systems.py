"""The outbox on file systems that lack something."""

from __future__ import annotations

import os
import platform
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from mqtt_fleet.outbox import Outbox

from . import unshared_memory

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in unshared_memory.MMAP, reason="knows two machines' calls"
)
CLIENTS = Path(__file__).parent.parent.parent.parent / "clients"
STORES = """
import sys
from pathlib import Path
from mqtt_fleet.outbox import Outbox
outbox = Outbox(Path(sys.argv[1]))
for _ in range(3):
    outbox.put(1.8e9, "x" * 1000)
outbox.remove(outbox.after(0, 1))
(mode,) = outbox._database.execute("PRAGMA journal_mode").fetchone()
(synchronous,) = outbox._database.execute("PRAGMA synchronous").fetchone()
print(outbox.exclusive, mode, synchronous, [message.sequence for message in outbox.after(0, 9)])
if sys.argv[2:]:
    import os
    os._exit(1)
outbox.close()
"""


def store_without_shared_memory(path: Path, *arguments: str) -> str:
    command = [sys.executable, "-c", STORES, str(path), *arguments]
    wrapped = [sys.executable, unshared_memory.__file__, *command]
    environment = {**os.environ, "PYTHONPATH": str(CLIENTS)}
    ended = subprocess.run(wrapped, env=environment, capture_output=True, text=True, check=False)
    assert not ended.stderr
    return ended.stdout.strip()


def test_outbox_works_where_memory_is_not_shared(tmp_path: Path) -> None:
    path = tmp_path / "outbox"
    assert store_without_shared_memory(path) == "True wal 2 [2, 3]"
    # Killed, with what was stored in the log.
    assert store_without_shared_memory(path, "end at once") == "True wal 2 [3, 4, 5, 6]"
    assert store_without_shared_memory(path) == "True wal 2 [4, 5, 6, 7, 8, 9]"


def test_outbox_goes_from_one_kind_of_file_system_to_the_other(tmp_path: Path) -> None:
    path = tmp_path / "outbox"
    outbox = Outbox(path)
    outbox.put(1.8e9, "x")
    outbox.close()
    assert store_without_shared_memory(path, "end at once") == "True wal 2 [2, 3, 4]"
    outbox = Outbox(path)
    assert not outbox.exclusive
    assert [message.sequence for message in outbox.after(0, 9)] == [2, 3, 4]
    outbox.close()


def test_others_can_look_into_an_outbox_in_use_where_memory_is_shared(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox")
    outbox.put(1.8e9, "x")
    with closing(sqlite3.connect(tmp_path / "outbox", timeout=0)) as other:
        assert other.execute("SELECT data FROM message").fetchall() == [("x",)]
    outbox.close()
