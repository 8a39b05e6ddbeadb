"""A hundred moves, each interrupted at another moment and in another way, from the first millisecond on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ..modules.conftest import AwsApi, aws_api, aws_api_process, no_pictures
from ..modules.interruptions import interrupt
from ..modules.test_iot_region_switch import options

__all__ = ["aws_api", "aws_api_process", "no_pictures", "options"]

INTERRUPTIONS = 100


@pytest.mark.timeout(2 * 3600)
def test_a_hundred_interruptions(
    aws_api: AwsApi, options: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in range(INTERRUPTIONS):
        found = interrupt(aws_api, options, tmp_path / str(seed), seed)
        with capsys.disabled():
            print(f"{seed}: {found}")  # noqa: T201
