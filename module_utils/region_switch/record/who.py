"""Who starts a run, for readers of its journal, its summary or its page."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass
from typing import Any

from . import folder


@dataclass(frozen=True)
class Who:
    """Who started a run, or made a plan.

    Attributes:
        user: name of the user that the module runs as.
        host: name of the controller.
        operator: who started it, by the option `operator`; None if not set.
        caller: ARN of GetCallerIdentity; None if unknown.
    """

    user: str
    host: str
    operator: str | None
    caller: str | None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def here(operator: str | None, caller: str | None) -> Who:
    """The identity of this process."""
    return Who(folder.user(), platform.node(), operator or None, caller)


def line(found: dict[str, Any]) -> str:
    """The text of what `Who.as_dict` returned."""
    operator = f"{found['operator']}, " if found.get("operator") else ""
    caller = found.get("caller") or "not known to AWS"
    return f"{operator}{found.get('user')} on {found.get('host')}, {caller}"
