"""The result of a move for the jobs that follow it, such as those of an AWX workflow, and its error."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

# Of a run, and of a plan that check mode shows.
_KEYS = ("run_id", "report", "summary", "token", "plan")


def move_error(result: Mapping[str, Any]) -> str:
    """Return the line of what `iot_region_switch` failed with; empty where it did not."""
    message = str(result.get("msg") or "")
    # Ansible's message when the process of a module is gone.
    if "deserialization failed" in message:
        return "move: its process ended without a result: run the same command again, it resumes"
    return message


def move_lines(result: Mapping[str, Any]) -> list[str]:
    """Return the lines of what `iot_region_switch` returned, but for the findings that its error names."""
    error = move_error(result)
    kind = "refused "
    return [line for line in result.get("lines", ()) if not (line.startswith(kind) and line[len(kind) :] in error)]


def move_stats(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the variables for `set_stats` of what `iot_region_switch` returned.

    Args:
        result: its result, also one without a run.

    Returns:
        `failover_outcome`, as in summary.json, or `planned` of a plan; `failover_error`; and of `run_id`, `report`,
        `summary`, `token` and `plan` what the result has, with `failover_` in front.
    """
    error = move_error(result)
    outcome = result.get("outcome") or ("planned" if result.get("token") else "failed")
    if error and outcome == "planned":
        outcome = "refused"
    stats = {f"failover_{key}": result[key] for key in _KEYS if result.get(key) is not None}
    return {"failover_outcome": outcome, "failover_error": error, **stats}


class FilterModule:
    """Makes the filters known to Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"move_error": move_error, "move_lines": move_lines, "move_stats": move_stats}
