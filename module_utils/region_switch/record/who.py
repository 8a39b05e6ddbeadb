"""Who starts a run, for readers of its journal, its summary or its page."""

from __future__ import annotations

import platform
from typing import Any

from . import folder


def here(operator: str | None, caller: str | None) -> dict[str, Any]:
    """Who starts a run, or makes a plan, with this process, for JSON.

    Args:
        operator: the option `operator`; empty or None if not set.
        caller: ARN of GetCallerIdentity; None if unknown.

    Returns:
        `{"user": name of the user that the module runs as, "host": name of the controller, "operator", "caller"}`.
    """
    return {"user": folder.user(), "host": platform.node(), "operator": operator or None, "caller": caller}


def line(found: dict[str, Any]) -> str:
    """The text of what `here` returned."""
    operator = f"{found['operator']}, " if found.get("operator") else ""
    caller = found.get("caller") or "not known to AWS"
    return f"{operator}{found.get('user')} on {found.get('host')}, {caller}"
