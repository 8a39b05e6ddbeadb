"""The mode table: which endpoint belongs to which region in each mode. No I/O."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from .errors import RefusedError, one_line
from .names import plain

Modes = dict[str, dict[str, str]]


def normalise(table: object, endpoints: Collection[str], regions: Collection[str]) -> Modes:
    """Return `{mode: {endpoint: region}}` with mode names as strings and endpoints in lower case.

    YAML reads an unquoted `1:` as a number and `-e mode=1` arrives as a string: both mean mode "1".

    Raises:
        RefusedError: a mode is no mapping, names an unknown endpoint or region, or leaves an endpoint out; two modes
            have the same name.
    """
    if not isinstance(table, Mapping) or not table:
        raise RefusedError(
            f"mode table: found {one_line(table)}, expected {{mode: {{endpoint: region}}}}: set failover_modes"
        )
    _require(endpoints, "endpoints", "set iot_endpoints in the inventory")
    _refuse_twice(endpoints)
    _require(regions, "regions", "give the group 'regions' a host per AWS Region")
    modes: Modes = {}
    for key, assignment in table.items():
        name = _name(key)
        if name is None or name in modes:
            found = "no usable name" if name is None else "the same name twice"
            raise RefusedError(
                f"mode {one_line(key)} of the table: found {found}, "
                "expected one whole number or word per mode: correct failover_modes"
            )
        modes[name] = _assignment(name, assignment, endpoints, regions)
    return modes


def desired(modes: Modes, mode: object) -> tuple[str, dict[str, str]]:
    """Return the mode's name and its `{endpoint: region}`.

    Raises:
        RefusedError: no mode is given, or one that the table does not have. Nothing is rounded or converted: `3.7`,
            `true` and `"3 "` are not the mode `"3"`.
    """
    name = _name(mode)
    if name is None or name not in modes:
        raise RefusedError(
            f"mode: found {one_line(mode)}, expected one of {', '.join(modes)}: "
            "choose one with -e mode=… or add it to failover_modes"
        )
    return name, dict(modes[name])


def name_of(modes: Modes, desired: Mapping[str, str]) -> str | None:
    """Return the first mode with these regions for its endpoints; None where there is none."""
    wanted = {plain(endpoint): region for endpoint, region in desired.items()}
    return next((name for name, assignment in modes.items() if assignment == wanted), None)


def _name(value: object) -> str | None:
    """The name of a mode; None for an invalid one. A bool is an int in Python, but no mode."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and value.strip() and value.isprintable() else None


def _assignment(mode: str, assignment: object, endpoints: Collection[str], regions: Collection[str]) -> dict[str, str]:
    if not isinstance(assignment, Mapping):
        raise RefusedError(
            f"mode {mode}: found {one_line(assignment)}, expected {{endpoint: region}}: correct it in failover_modes"
        )
    for endpoint, region in assignment.items():
        if endpoint not in endpoints:
            raise RefusedError(
                f"mode {mode}: endpoint {one_line(endpoint)} is not in the inventory, expected one of "
                f"{', '.join(endpoints)}: add it to iot_endpoints or correct failover_modes"
            )
        if region not in regions:
            raise RefusedError(
                f"mode {mode}: region {one_line(region)} of {endpoint} has no host, expected one of "
                f"{', '.join(regions)}: add it to the group 'regions' or correct failover_modes"
            )
    missing = [endpoint for endpoint in endpoints if endpoint not in assignment]
    if missing:
        raise RefusedError(f"mode {mode}: the region of {', '.join(missing)} is missing: add it to failover_modes")
    return {plain(endpoint): str(assignment[endpoint]) for endpoint in endpoints}


def _refuse_twice(endpoints: Collection[str]) -> None:
    names = [plain(endpoint) for endpoint in endpoints]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise RefusedError(
            f"endpoints: found {', '.join(twice)} more than once (DNS names have no case), expected each once: "
            "correct iot_endpoints"
        )


def _require(names: Collection[str], what: str, advice: str) -> None:
    if not names:
        raise RefusedError(f"{what}: there are none: {advice}")
