"""When the next CONNECT is sent."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from mqtt_fleet.reconnect import CONNECT_SPACING, ReconnectPolicy

failures = st.integers(min_value=0, max_value=10_000)
elapsed = st.floats(min_value=0, max_value=1e6)
jitter = st.floats(min_value=0, max_value=1)
caps = st.floats(min_value=1, max_value=3600)


def test_first_attempt_is_at_once() -> None:
    assert ReconnectPolicy().delay(0, math.inf, 1.0) == 0.0
    assert ReconnectPolicy().delay(0, 5.0, 1.0) == 0.0


@given(caps, failures, elapsed, jitter)
def test_never_two_connects_within_a_second(cap: float, count: int, since: float, share: float) -> None:
    delay = ReconnectPolicy(cap).delay(count, since, share)
    assert delay >= 0
    # The sum of two floats may fall short of their exact sum by one rounding.
    assert since + delay >= CONNECT_SPACING - 1e-9


@given(caps, failures, elapsed, jitter)
def test_never_longer_than_the_cap(cap: float, count: int, since: float, share: float) -> None:
    assert ReconnectPolicy(cap).delay(count, since, share) <= cap


@given(st.integers(min_value=1, max_value=10_000), jitter)
def test_full_jitter_takes_a_share_of_a_doubling_range(count: int, share: float) -> None:
    assert ReconnectPolicy(30.0).delay(count, math.inf, share) == share * min(30.0, 2.0 ** min(count, 5))
