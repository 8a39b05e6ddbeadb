"""Queries of the fleet index."""

from __future__ import annotations

from typing import Any

import pytest

from lab.aws_api.errors import AwsError
from lab.aws_api.search import compile_query, page

DOCUMENT: dict[str, Any] = {
    "thingName": "client_01",
    "attributes": {"mqtt_endpoint": "mqtt1.example.com", "site.room": "a b"},
    "connectivity": {"connected": True, "disconnectReason": "NONE"},
}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("*", True),
        ("client_01", True),
        ("thingName:client_0?", True),
        ("thingName:client_2*", False),
        ("connectivity.connected:true", True),
        ("connectivity.connected:false", False),
        ("connectivity.connected:true AND attributes.mqtt_endpoint:mqtt1.example.com", True),
        ("connectivity.connected:true attributes.mqtt_endpoint:mqtt2.example.com", False),
        ("connectivity.connected:false OR thingName:client_01", True),
        ("NOT thingName:client_01", False),
        ("-thingName:client_02 AND (connectivity.connected:false OR connectivity.connected:true)", True),
        ('attributes.site.room:"a b"', True),
        ("attributes.absent:*", False),
    ],
)
def test_query(query: str, expected: bool) -> None:
    assert compile_query(query)(DOCUMENT) is expected


@pytest.mark.parametrize("query", ["", "  ", "AND", "(thingName:a", "thingName:a)", "a OR", 'thingName:"a'])
def test_query_that_cannot_be_read(query: str) -> None:
    with pytest.raises(AwsError):
        compile_query(query)


def test_pages_follow_each_other_without_gap_or_overlap() -> None:
    names = [f"client_{number:03}" for number in range(250)]
    seen: list[str] = []
    token = None
    for size in (100, 100, 50):
        chosen, token = page(names[::-1], token, None)
        assert len(chosen) == size
        seen += chosen
    assert token is None
    assert seen == names


@pytest.mark.parametrize(("token", "size"), [("***", None), (None, 0), (None, 101)])
def test_bad_page(token: str | None, size: int | None) -> None:
    with pytest.raises(AwsError):
        page(["a"], token, size)
