"""Sets a program's clock back: on a device Python imports this, as `sitecustomize`, before the program."""

from __future__ import annotations

import time
from pathlib import Path

_SECONDS = Path(__file__).with_name("seconds")
_now = time.time


def _set_back() -> float:
    """Epoch seconds, less those in the file beside this one, which may change at any time."""
    return _now() - float(_SECONDS.read_text(encoding="ascii"))


time.time = _set_back
