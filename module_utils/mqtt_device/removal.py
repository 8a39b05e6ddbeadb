"""Removing the client from a device, except messages that were not delivered."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from .layout import Layout
from .service import Service

OUTBOX = "outbox.sqlite"


def remove(
    layout: Layout, service: Service, purge: bool, metrics_link: Path | None, check_mode: bool
) -> dict[str, Any]:
    """Stop the client and remove its unit, releases, configuration and credentials.

    Args:
        purge: whether the outbox is removed even if it holds messages.
        metrics_link: link to the metrics for node_exporter; None: no link.

    Returns:
        `{"changed", "undelivered", "kept"}`: number of messages in the outbox (None: it cannot be read), and its
        folder if it was kept.
    """
    links = [metrics_link] if metrics_link and metrics_link.is_symlink() else []
    there = [path for path in (layout.unit, layout.settings, layout.software, *links) if path.exists() or path in links]
    if not check_mode:
        service.remove()
        for path in there:
            _delete(path)
        if layout.unit in there:
            service.reload()
    state = _state_folder(layout)
    left = undelivered(state) if state else 0
    keep = state is not None and not purge and left != 0
    if state and not keep and not check_mode:
        for path in (layout.state, layout.private_state):
            _delete(path)
    return {
        "changed": bool(there) or (state is not None and not keep),
        "undelivered": left,
        "kept": str(state) if keep else None,
    }


def undelivered(state: Path) -> int | None:
    """Messages in the outbox; None where it, or a damaged one that was set aside, cannot be read."""
    outbox = state / OUTBOX
    if any(state.glob(f"{OUTBOX}.damaged-*")):
        return None
    if not outbox.exists():
        return 0
    try:
        with closing(sqlite3.connect(outbox)) as database:
            (count,) = database.execute("SELECT count(*) FROM message").fetchone()
    except sqlite3.Error:
        return None
    return int(count)


def _state_folder(layout: Layout) -> Path | None:
    return next((path for path in (layout.private_state, layout.state) if path.is_dir()), None)


def _delete(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():
        shutil.rmtree(path)
