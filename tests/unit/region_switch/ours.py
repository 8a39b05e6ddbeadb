"""Files of another user, for tests of what is read from a folder that others could write to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

NOBODY = 65534


def given_away(path: Path) -> Path:
    """Let a file, folder or link be another user's, which only root can."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a file to another user")
    os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    return path


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777
