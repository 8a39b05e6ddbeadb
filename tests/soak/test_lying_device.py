"""A device that lies, with the project's ansible.cfg as it comes."""

from __future__ import annotations

import pytest

from ..lab.test_lying_device import (
    liar,
    test_device_that_lies_is_alone_with_it,
    test_device_that_says_that_it_is_another_gets_nothing,
)

__all__ = ["liar", "test_device_that_lies_is_alone_with_it", "test_device_that_says_that_it_is_another_gets_nothing"]


@pytest.fixture
def configuration() -> dict[str, str]:
    return {}
