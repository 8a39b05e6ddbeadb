"""What a move hands on to whatever runs behind it, such as a workflow of AWX."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

# Of a run, and of a plan that check mode shows.
_KEYS = ("run_id", "report", "summary", "token", "plan")


def move_stats(result: Mapping[str, Any], error: str = "", restored: bool = False) -> dict[str, Any]:
    """Return the variables for `set_stats` of what `iot_region_switch` returned.

    Args:
        result: its result, also one without a run.
        error: the line with which the play ends; empty where nothing went wrong.
        restored: whether the records were put back behind the run.

    Returns:
        `failover_outcome`, as in summary.json, or `planned` of a plan; `failover_error`; and of `run_id`, `report`,
        `summary`, `token` and `plan` what the result has, with `failover_` in front.
    """
    outcome = "rolled_back" if restored else result.get("outcome") or ("planned" if result.get("token") else "failed")
    if error and outcome == "planned":
        outcome = "refused"
    stats = {f"failover_{key}": result[key] for key in _KEYS if result.get(key) is not None}
    return {"failover_outcome": outcome, "failover_error": error, **stats}


class FilterModule:
    """Makes the filter known to Ansible."""

    def filters(self) -> dict[str, Callable[..., dict[str, Any]]]:
        return {"move_stats": move_stats}
