"""Client IDs that operators list, in an option or in a file, and their validation."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from io import BufferedReader, TextIOWrapper

from ..model.client_table import Row, TableError, rows_of_json, rows_of_lines
from ..model.device_names import not_text
from ..model.errors import RefusedError, one_line

# https://docs.aws.amazon.com/iot/latest/apireference/API_iotdata_DeleteConnection.html
LONGEST = 128
EXPECTED = f"a client ID of 1 to {LONGEST} characters, the first of them not $"
# Enough for the longest client ID, quoted, a domain name and some other columns.
_LONGEST_LINE = 4096
# JSON is read into memory.
_LARGEST_DOCUMENT = 64 * 2**20
_UTF8 = "utf-8-sig"
# The longer ones first: the mark of UTF-32-LE begins with that of UTF-16-LE.
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# Surrogates, which stand for bytes that could not be decoded.
_UNDECODED = re.compile("[\ud800-\udfff]")
_ZIP = b"PK\x03\x04"


def fault(client_id: str) -> str | None:
    """Why a client ID is not valid, None when it is."""
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
        RefusedError: names the first that is not valid, and its place in the list.
    """
    for number, client_id in enumerate(client_ids, 1):
        if not isinstance(client_id, str):
            raise RefusedError(f"client_ids, entry {number}: {not_text(client_id)}")
        if found := fault(client_id):
            raise RefusedError(f"client_ids, entry {number}: found {found}, expected {EXPECTED}: correct it")
        yield client_id, ""


def read(path: str, attribute: str = "mqtt_endpoint") -> Iterator[tuple[str, str]]:
    """Yield `(client ID, endpoint)` of a file; the endpoint is empty where the file names none.

    The file is UTF-8, or UTF-16 or UTF-32 with or without a byte order mark, as Windows programs write it, with any
    line ends. See `client_table` for its formats.

    Args:
        attribute: thing attribute that names the endpoint, for JSON from AWS.

    Raises:
        RefusedError: names the file, and the line that is wrong.
    """
    try:
        with open(path, "rb") as stream:  # noqa: PTH123 - Path refuses what is not a path
            for row in _rows(stream, attribute):
                if found := fault(row.client_id):
                    raise TableError(row.line, found, EXPECTED)
                yield row.client_id, row.endpoint.strip().rstrip(".").lower()
    except TableError as error:
        raise RefusedError(
            f"{path} line {error.line}: found {error.found}, expected {error.expected}: {error.advice}"
        ) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise RefusedError(f"{one_line(path)}: found {reason}, expected a file of client IDs: correct it") from error


def _rows(stream: BufferedReader, attribute: str) -> Iterator[Row]:
    head = stream.peek(len(_ZIP))
    if head.startswith(_ZIP):
        raise TableError(1, "a workbook or another ZIP file", "text", "export it as CSV")
    encoding = _encoding(head)
    # Report the line of a byte that is not UTF-8, not the block that it was read with.
    errors = "surrogateescape" if encoding == _UTF8 else "replace"
    text = TextIOWrapper(stream, encoding, errors, newline=None)
    if text.read(_LONGEST_LINE).lstrip()[:1] in ("[", "{"):
        text.seek(0)
        return rows_of_json(_document(text, encoding), attribute)
    text.seek(0)
    return rows_of_lines(_lines(text, encoding))


def _encoding(head: bytes) -> str:
    for mark, encoding in _MARKS.items():
        if head.startswith(mark):
            return encoding
    # Without a mark: the first two characters are assumed to be ASCII.
    if len(head) >= 4 and head[1] == head[3] == 0 < head[0]:
        return "utf-16-le"
    if len(head) >= 4 and head[0] == head[2] == 0 < head[1]:
        return "utf-16-be"
    return _UTF8


def _lines(text: TextIOWrapper, encoding: str) -> Iterator[str]:
    """The lines of a file, without line ends."""
    for number, line in enumerate(iter(lambda: text.readline(_LONGEST_LINE), ""), 1):
        if len(line) == _LONGEST_LINE and not line.endswith("\n"):
            raise TableError(number, f"more than {_LONGEST_LINE} bytes", EXPECTED)
        yield _decoded(number, line.removesuffix("\n"), encoding)


def _document(text: TextIOWrapper, encoding: str) -> str:
    """The text of a JSON file."""
    found = text.read(_LARGEST_DOCUMENT)
    if len(found) == _LARGEST_DOCUMENT:
        raise TableError(1, f"more than {_LARGEST_DOCUMENT} bytes of JSON", "less", "write it as CSV")
    for number, line in enumerate(found.split("\n"), 1):
        _decoded(number, line, encoding)
    return found


def _decoded(number: int, line: str, encoding: str) -> str:
    if _UNDECODED.search(line) or (encoding != _UTF8 and "\ufffd" in line):
        raise TableError(number, f"bytes that are not {encoding[:6].rstrip('-').upper()}", "text")
    return line
