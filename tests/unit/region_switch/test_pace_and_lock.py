"""Quotas are kept, and only one run at a time goes on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible.module_utils.region_switch.errors import RefusedError
from ansible.module_utils.region_switch.lock import exclusive
from ansible.module_utils.region_switch.pace import BURST_SECONDS, TokenBucket

from .fakes import Clock


def passes_within(bucket: TokenBucket, clock: Clock, seconds: float) -> int:
    end, count = clock() + seconds, 0
    while True:
        bucket.acquire()
        if clock() > end:
            return count
        count += 1


def test_rate_is_kept_after_a_pause_too() -> None:
    clock = Clock()
    bucket = TokenBucket(100, clock, clock.sleep)
    clock.sleep(60)

    assert 990 <= passes_within(bucket, clock, 10) <= 1000 + 100 * BURST_SECONDS + 1


def test_rate_shrinks_once_per_shortage_and_grows_back_to_the_limit() -> None:
    clock = Clock()
    bucket = TokenBucket(100, clock, clock.sleep)

    bucket.slow_down()
    bucket.slow_down()
    assert bucket.rate == 50

    clock.sleep(2)
    for _ in range(100):
        bucket.recover()
    assert bucket.rate == 100


def test_second_run_is_told_who_holds_the_lock(tmp_path: Path) -> None:
    path = tmp_path / ".lock"

    with exclusive(path), pytest.raises(RefusedError, match=rf"pid {os.getpid()}"), exclusive(path):
        pytest.fail("two runs at once")

    with exclusive(path):
        pass
