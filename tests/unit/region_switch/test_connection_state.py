"""Since when a client is connected, whatever GetConnection answers: said, not connected, or not said."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.region_switch.model.connection_state import LATEST, NOT_CONNECTED, since
from hypothesis import given

from ..properties.anything import ANYTHING


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (None, NOT_CONNECTED),
        ({"connected": False}, NOT_CONNECTED),
        # That a client was connected says nothing of now.
        ({"connected": False, "connectedSince": 1500}, NOT_CONNECTED),
        ({"connected": True, "connectedSince": 1500}, 1.5),
        ({"connected": True, "connectedSince": 1500.0}, 1.5),
        ({"connected": True, "connectedSince": 0}, 0.0),
        ({"connected": True, "connectedSince": None}, 0.0),
        ({"connected": True}, 0.0),
    ],
)
def test_answer_says_since_when(answer: Any, expected: float) -> None:
    assert since(answer) == expected


@pytest.mark.parametrize(
    "answer",
    [
        {},
        *({"connected": connected} for connected in (None, "true", "false", 0, 1, [], {})),
        *(
            {"connected": True, "connectedSince": moment}
            for moment in (
                "",
                "1500",
                "soon",
                float("nan"),
                float("inf"),
                -1,
                -1000.0,
                LATEST,
                10**400,
                True,
                False,
                [],
            )
        ),
    ],
)
def test_answer_that_does_not_say_proves_nothing(answer: Any) -> None:
    assert since(answer) is None


@given(ANYTHING, ANYTHING)
def test_any_answer_says_or_does_not(connected: object, moment: object) -> None:
    found = since({"connected": connected, "connectedSince": moment})

    assert found is None or found == NOT_CONNECTED or 0 <= found < LATEST / 1000
