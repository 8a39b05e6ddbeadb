"""Filters that choose the devices to be asked about DNS, and say what they answered."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def device_lookups(
    hosts: Sequence[str], hostvars: Mapping[str, Mapping[str, Any]], targets: Mapping[str, str], sample: int
) -> list[dict[str, str]]:
    """Return `[{"host", "endpoint", "target"}]` of at most `sample` devices: the first of each endpoint, and so on.

    Args:
        hosts: devices of the inventory; one whose `mqtt_endpoint` is none of the targets is left out.
        targets: `{endpoint: host name that it shall lead to}`.
    """
    waiting: dict[str, list[str]] = {endpoint: [] for endpoint in targets}
    for host in hosts:
        endpoint = hostvars[host].get("mqtt_endpoint")
        if endpoint in waiting:
            waiting[endpoint].append(host)
    turns = sorted(
        (turn, order, endpoint, host)
        for order, (endpoint, found) in enumerate(waiting.items())
        for turn, host in enumerate(found)
    )
    return [{"host": host, "endpoint": each, "target": targets[each]} for _, _, each, host in turns[: int(sample)]]


def device_answers(results: Sequence[Mapping[str, Any]], loop_var: str) -> dict[str, Any]:
    """Return who answered what: `{"right": [host], "unasked": [host (reason)], "stale": [line]}`.

    Args:
        results: of a loop of `endpoint_lookup_info` over `device_lookups`.
        loop_var: the name that the loop gave its item.
    """
    answers: dict[str, list[str]] = {"right": [], "unasked": [], "stale": []}
    for result in results:
        asked = result[loop_var]
        if "lookups" not in result:
            reason = result.get("reason")
            answers["unasked"].append(f"{asked['host']} ({reason})" if reason else asked["host"])
        elif result["stale"]:
            answers["stale"].append(_line(asked, result["lookups"]))
        else:
            answers["right"].append(asked["host"])
    return answers


def device_report(answers: Mapping[str, Sequence[str]]) -> list[str]:
    """Return lines for people of what `device_answers` returned."""
    counts = {kind: len(found) for kind, found in answers.items()}
    lines = [f"devices: {counts['right']} right, {counts['stale']} stale, {counts['unasked']} could not be asked"]
    lines += [f"stale: {line}" for line in answers["stale"]]
    return lines + [f"could not be asked: {host}" for host in answers["unasked"]]


def seconds_from_now(seconds: float | str) -> float:
    """Return when so many seconds will be over, by a clock that nobody sets and that all processes here share."""
    return time.monotonic() + float(seconds)


def is_over(moment: float | str) -> bool:
    """Whether a moment of `seconds_from_now` is over."""
    return time.monotonic() >= float(moment)


def _line(asked: Mapping[str, str], lookups: Mapping[str, Mapping[str, Any]]) -> str:
    found = lookups[asked["endpoint"]]
    answer = found["canonical"] or f"({found['error']})"
    return f"{asked['host']}: {asked['endpoint']} = {answer}, expected {asked['target']}"


class FilterModule:
    """Makes the filters known to Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "device_answers": device_answers,
            "device_lookups": device_lookups,
            "device_report": device_report,
            "is_over": is_over,
            "seconds_from_now": seconds_from_now,
        }
