"""Only one run at a time goes on, and whoever comes second is told whose it is."""

from __future__ import annotations

import getpass
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from region_switch.errors import RefusedError
from region_switch.lock import current, exclusive

REPOSITORY = Path(__file__).parents[3]


def test_second_run_is_told_who_when_and_what(tmp_path: Path) -> None:
    path = tmp_path / ".lock"

    with (
        exclusive(path, "1"),
        pytest.raises(RefusedError, match=rf"a run to mode 1 by {getpass.getuser()} \(pid {os.getpid()}\) since 20"),
        exclusive(path, "3"),
    ):
        pytest.fail("two runs at once")

    with exclusive(path, "3"):
        assert "a run to mode 3" in str(current(path))


def test_nobody_holds_a_lock_that_a_killed_run_left(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    program = (
        "import os, sys; from pathlib import Path; from region_switch.lock import exclusive\n"
        "with exclusive(Path(sys.argv[1]), '1'): os.kill(os.getpid(), 9)"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "module_utils")}
    subprocess.run([sys.executable, "-c", program, str(path)], env=environment, check=False)

    assert json.loads(path.read_text())["mode"] == "1"
    assert current(path) is None
    with exclusive(path, "3"):
        pass


@pytest.mark.parametrize("content", ["", "null", "[]", "{}", '{"who": "x"}', "\udcff", '{"pid": 1, "more": 2}'])
def test_holder_that_cannot_be_read_is_another_run(tmp_path: Path, content: str) -> None:
    path = tmp_path / ".lock"
    with exclusive(path, "1"):
        path.write_text(content, encoding="utf-8", errors="surrogateescape")

        assert current(path) == "another run"


def test_looking_whether_a_run_goes_on_makes_no_lock(tmp_path: Path) -> None:
    assert current(tmp_path / ".lock") is None
    assert list(tmp_path.iterdir()) == []
