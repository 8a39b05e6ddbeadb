"""Client IDs that operators list: what can be one, and files of them."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from .device_names import not_text
from .errors import RefusedError, one_line

# https://docs.aws.amazon.com/iot/latest/apireference/API_iotdata_DeleteConnection.html
LONGEST = 128
EXPECTED = f"a client ID of 1 to {LONGEST} characters, the first of them not $"
HEADER = "client_id,endpoint"
# Bytes; more than the longest client ID, quoted, and a domain name need.
_LONGEST_LINE = 4096


def fault(client_id: str) -> str | None:
    """What is wrong with a client ID, None when nothing is."""
    if not client_id:
        return "nothing"
    if len(client_id) > LONGEST:
        return f"{len(client_id)} characters"
    if client_id.startswith("$") or any(each == "\0" or "\ud800" <= each <= "\udfff" for each in client_id):
        return one_line(client_id)
    return None


def check(client_ids: Iterable[object]) -> Iterator[tuple[str, str]]:
    """Yield `(client ID, "")` of each.

    Raises:
        RefusedError: names the first that is none, and its place in the list.
    """
    for number, client_id in enumerate(client_ids, 1):
        if not isinstance(client_id, str):
            raise RefusedError(f"client_ids, entry {number}: {not_text(client_id)}")
        if found := fault(client_id):
            raise RefusedError(f"client_ids, entry {number}: found {found}, expected {EXPECTED}: correct it")
        yield client_id, ""


def read(path: str) -> Iterator[tuple[str, str]]:
    """Yield `(client ID, endpoint)` of a file, line by line; the endpoint is empty where the file names none.

    The file is UTF-8. When its first line is `client_id,endpoint`, it is CSV with a header; otherwise every line is
    a client ID as it stands, with whatever spaces, commas and `#` are in it.

    Raises:
        RefusedError: names the file, and the line that is wrong.
    """
    try:
        with open(path, "rb") as stream:  # noqa: PTH123 - Path would not take what is no path
            lines = _lines(path, stream)
            first = next(lines, None)
            if first == HEADER:
                yield from _rows(path, lines)
            elif first is not None:
                yield _checked(path, 1, first), ""
                for number, line in enumerate(lines, 2):
                    yield _checked(path, number, line), ""
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise RefusedError(f"{one_line(path)}: found {reason}, expected a file of client IDs: correct it") from error


def _lines(path: str, stream: BinaryIO) -> Iterator[str]:
    """The lines of a file, without their ends."""
    for number, line in enumerate(iter(lambda: stream.readline(_LONGEST_LINE), b""), 1):
        if len(line) == _LONGEST_LINE and not line.endswith(b"\n"):
            raise _wrong(path, number, f"more than {_LONGEST_LINE} bytes")
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise _wrong(path, number, "what is no UTF-8") from error
        yield text.removesuffix("\n").removesuffix("\r")


def _rows(path: str, lines: Iterator[str]) -> Iterator[tuple[str, str]]:
    # One line is one row: a quoted value that goes on in the next line is no client ID.
    for number, line in enumerate(lines, 2):
        try:
            row = next(csv.reader([line], strict=True), [])
        except csv.Error as error:
            raise _wrong(path, number, f"CSV that cannot be read ({error})") from error
        if len(row) != 2:
            raise _wrong(path, number, f"{len(row)} columns", f"2, {HEADER}")
        yield _checked(path, number, row[0]), row[1].rstrip(".").lower()


def _checked(path: str, number: int, client_id: str) -> str:
    if found := fault(client_id):
        raise _wrong(path, number, found)
    return client_id


def _wrong(path: str, number: int, found: str, expected: str = EXPECTED) -> RefusedError:
    return RefusedError(f"{path} line {number}: found {found}, expected {expected}: correct the line")
