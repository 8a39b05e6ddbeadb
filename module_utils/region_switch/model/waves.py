"""The waves of a move: cumulative shares of the fleet, and the number of clients in each. No I/O."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .errors import RefusedError, one_line

ALL = 100.0


def parse(values: Sequence[object]) -> tuple[float, ...]:
    """Return ascending cumulative percents of the fleet that end with 100; no values mean one wave.

    Args:
        values: numbers or text such as `1`, `"1"`, `"1%"`, `2.5`.

    Raises:
        RefusedError: a value is no percentage above 0 and up to 100, or not above the one before it.
    """
    percents: list[float] = []
    for value in values:
        percent = _percent(value)
        if percent is None or (percents and percent <= percents[-1]):
            raise RefusedError(
                f"waves: found {one_line(value)}, expected cumulative percents above 0 that ascend up to 100, such as "
                "1, 10, 100: correct failover_waves"
            )
        percents.append(percent)
    if not percents or percents[-1] != ALL:
        percents.append(ALL)
    return tuple(percents)


def sizes(total: int, percents: Sequence[float]) -> list[int]:
    """Return the size of each wave, in order; none is empty, and their sum is `total`.

    The first wave of a small fleet has one client; a share that adds no client to the wave before it is left out.
    """
    ends = sorted({min(total, math.ceil(total * percent / ALL)) for percent in (*percents, ALL)} - {0})
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]


def once_more(size: int, rest: Sequence[int]) -> list[int]:
    """Return the sizes of the waves after one that proved nothing: one of the same size, then the rest.

    Args:
        size: of that wave.
        rest: the sizes of the waves after it.
    """
    left, again = list(rest), 0
    while left and again < size:
        taken = min(size - again, left[0])
        again += taken
        left[0] -= taken
        if not left[0]:
            left.pop(0)
    return [again, *left] if again else []


def _percent(value: object) -> float | None:
    if isinstance(value, str):
        value = _number(value.strip().removesuffix("%"))
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 < value <= ALL else None


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
