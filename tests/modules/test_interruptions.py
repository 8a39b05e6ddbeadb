"""A move that is killed or told to stop at some moment tells nobody else to leave, and goes on when it is run again.

`make soak` has a hundred of them.
"""
# ruff: noqa: F811 - the fixture `options` is that of the move's own tests

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .conftest import AwsApi
from .interruptions import WAYS, interrupt
from .test_iot_region_switch import options  # noqa: F401

SHORT = [number for number, (program, how) in enumerate(WAYS) if how == "all" or program == "module"]


@pytest.mark.parametrize("seed", SHORT, ids=lambda seed: f"{WAYS[seed][0]} {getattr(WAYS[seed][1], 'name', 'all')}")
def test_nobody_else_is_disconnected_and_the_same_command_ends_it(
    aws_api: AwsApi, options: dict[str, Any], tmp_path: Path, seed: int
) -> None:
    interrupt(aws_api, options, tmp_path / "interrupted", seed)
