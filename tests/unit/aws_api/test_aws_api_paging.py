"""Pages of the stand-in's lists."""

from __future__ import annotations

import pytest

from lab.aws_api import paging

LISTING = paging.IOT["ListCertificates"]
FOUND = list(range(7))


def read(size: int | None, largest: int | None = None) -> list[list[int]]:
    """Every page of FOUND."""
    pages, token = [], None
    while True:
        answer = paging.page(LISTING, FOUND, "all", size, token, largest)
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
    with pytest.raises(paging.PageError, match="expected 1 to 250"):
        paging.page(LISTING, FOUND, "all", size, None)


@pytest.mark.parametrize("token", ["3", "====", "bm90aGluZw=="])
def test_token_that_is_none(token: str) -> None:
    with pytest.raises(paging.PageError, match="not a token of this list"):
        paging.page(LISTING, FOUND, "all", 3, token)


def test_token_of_another_list() -> None:
    token = paging.page(LISTING, FOUND, "all", 3, None)["nextMarker"]
    with pytest.raises(paging.PageError):
        paging.page(LISTING, FOUND, "another", 3, token)


def test_size_that_is_no_number() -> None:
    with pytest.raises(paging.PageError, match="expected a number"):
        paging.given(LISTING, {"pageSize": "many"})
