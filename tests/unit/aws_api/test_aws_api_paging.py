"""Pages of the stand-in's lists."""

from __future__ import annotations

from typing import Any

import pytest

from lab.aws_api import paging
from lab.aws_api.errors import AwsError

LISTING = paging.IOT["ListCertificates"]
FOUND = list(range(7))


def page(size: object, token: object = None, largest: int | None = None, scope: str = "all") -> dict[str, Any]:
    return paging.page(LISTING, FOUND, scope, {"pageSize": size, "marker": token}.get, largest)


def read(size: int | None, largest: int | None = None) -> list[list[int]]:
    """Every page of FOUND."""
    pages, token = [], None
    while True:
        answer = page(size, token, largest)
        pages.append(answer["certificates"])
        if (token := answer.get("nextMarker")) is None:
            return pages


def test_pages_are_of_the_size_asked_for() -> None:
    assert read(3) == [[0, 1, 2], [3, 4, 5], [6]]
    assert read(7) == [FOUND]
    assert read(None) == [FOUND]


def test_pages_may_be_smaller_than_asked_for() -> None:
    assert read(250, largest=4) == [[0, 1, 2, 3], [4, 5, 6]]
    assert read(2, largest=4) == [[0, 1], [2, 3], [4, 5], [6]]


@pytest.mark.parametrize("size", [0, 251])
def test_size_that_is_none(size: int) -> None:
    with pytest.raises(AwsError, match="expected 1 to 250"):
        page(size)


@pytest.mark.parametrize("token", ["3", "====", "bm90aGluZw=="])
def test_token_that_is_none(token: str) -> None:
    with pytest.raises(AwsError, match="not a token of this list"):
        page(3, token)


def test_token_of_another_list() -> None:
    token = page(3)["nextMarker"]
    with pytest.raises(AwsError, match="not a token of this list"):
        page(3, token, scope="another")


def test_size_that_is_no_number() -> None:
    with pytest.raises(AwsError, match="expected a number"):
        page("many")
