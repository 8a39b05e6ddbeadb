"""Filters that choose the devices to be asked about DNS, and report their answers."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean

# Hosts whose variables are read, for each device that is to be asked: of a large inventory a random part.
LOOKED_AT = 100


def device_lookups(
    hosts: Sequence[str], hostvars: Mapping[str, Mapping[str, Any]], targets: Mapping[str, str], sample: int
) -> list[dict[str, str]]:
    """Return `[{"host", "endpoint", "target"}]` of at most `sample` devices: the first of each endpoint, and so on.

    Args:
        hosts: devices of the inventory; one whose `mqtt_endpoint` is none of the targets is left out, and one with
            software of its own (`mqtt_client_managed` is false), which may allow no login.
        targets: `{endpoint: host name that it should lead to}`.
    """
    waiting: dict[str, list[str]] = {endpoint: [] for endpoint in targets}
    share = math.ceil(int(sample) / max(1, len(targets)))
    # Ansible takes a millisecond or more to merge the variables of a host.
    for host in hosts[: LOOKED_AT * int(sample)]:
        if all(len(found) >= share for found in waiting.values()):
            break
        endpoint = hostvars[host].get("mqtt_endpoint")
        managed = boolean(hostvars[host].get("mqtt_client_managed", True), strict=False)
        if managed and endpoint in waiting:
            waiting[endpoint].append(host)
    turns = sorted(
        (turn, order, endpoint, host)
        for order, (endpoint, found) in enumerate(waiting.items())
        for turn, host in enumerate(found)
    )
    return [{"host": host, "endpoint": each, "target": targets[each]} for _, _, each, host in turns[: int(sample)]]


def device_answers(results: Sequence[Mapping[str, Any]], loop_var: str) -> dict[str, Any]:
    """Return the answers: `{"right": [host], "unasked": [host (reason)], "stale": [line]}`.

    Args:
        results: of a loop of `endpoint_lookup_info` over `device_lookups`, whose last item has the answers.
        loop_var: the name that the loop gave its item.
    """
    answers: dict[str, list[str]] = {"right": [], "unasked": [], "stale": []}
    found = {answer["host"]: answer for answer in (results[-1].get("answers") if results else None) or []}
    for asked in (result[loop_var] for result in results[:-1]):
        answer = found.get(asked["host"], {"reason": "its variables cannot be used, see above"})
        if "lookups" not in answer:
            answers["unasked"].append(f"{asked['host']} ({answer['reason']})")
        elif answer["stale"]:
            answers["stale"].append(_line(asked, answer["lookups"]))
        else:
            answers["right"].append(asked["host"])
    return answers


def device_report(answers: Mapping[str, Sequence[str]]) -> list[str]:
    """Return lines for people of what `device_answers` returned."""
    counts = {kind: len(found) for kind, found in answers.items()}
    lines = [f"devices: {counts['right']} right, {counts['stale']} stale, {counts['unasked']} could not be asked"]
    lines += [f"stale: {line}" for line in answers["stale"]]
    return lines + ([f"could not be asked: {', '.join(answers['unasked'])}"] if answers["unasked"] else [])


def seconds_from_now(seconds: float | str) -> float:
    """Return the moment after so many seconds, by a monotonic clock that all processes of this machine share."""
    return time.monotonic() + float(seconds)


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
            "seconds_from_now": seconds_from_now,
        }
