"""Lists of clients in any common form: one a line, CSV with a header, JSON, JSON Lines. No I/O.

The meaning of a line is never guessed: an ambiguous one is refused with its number.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from .errors import one_line

HEADER = "client_id,endpoint"
_SEPARATORS = (",", ";", "\t")
# Names of columns and JSON members, in lower case and reduced to letters and digits. Where several are present, the
# first of these counts: https://docs.aws.amazon.com/iot/latest/developerguide/managing-index.html has both
# the thing's name and the client ID of its connection.
_CLIENT_NAMES = ("clientid", "mqttclientid", "thingname")
_ENDPOINT_NAMES = ("endpoint", "mqttendpoint")
# https://docs.aws.amazon.com/iot/latest/apireference/API_ListThings.html, and other common names of such a list.
_LIST_NAMES = ("things", "clients", "clientids")
# Lines that Windows PowerShell's Export-Csv and Excel write above the header.
_TYPE_LINE = re.compile(r'"?#TYPE ')
_SEPARATOR_LINE = re.compile(r'"?sep=([,;\t])"?', re.IGNORECASE)
# Lines of comments, YAML and drawn tables.
_NO_CLIENT_ID = re.compile(r"[#-]\s.*|[-+=]{3,}|\|.*\||.*:")
_PLAIN = "a client ID by itself, or a first line client_id,endpoint"
_MEMBERS = "text, or an object with clientId or thingName"


@dataclass(frozen=True)
class Row:
    """A client of a list, with its line; `endpoint` is empty where the list names none."""

    line: int
    client_id: str
    endpoint: str


class TableError(ValueError):
    """A line that cannot be read: its number, what was found and expected, and the remedy."""

    def __init__(self, line: int, found: str, expected: str, advice: str = "correct the line") -> None:
        super().__init__(found)
        self.line, self.found, self.expected, self.advice = line, found, expected, advice


def rows_of_lines(lines: Iterable[str]) -> Iterator[Row]:
    """Read a list that is not JSON, line by line; empty lines are skipped.

    If the first line is a header, with a column client_id (or thingName) between commas, semicolons or tabs, the list
    is CSV, and columns other than client_id and endpoint are ignored. Otherwise each line is a client ID, with or
    without quotes.

    Raises:
        TableError: a line cannot be read, or may be more than a client ID.
    """
    full = ((number, line) for number, line in enumerate(lines, 1) if line.strip())
    first = next(full, None)
    if first is not None and _TYPE_LINE.match(first[1]):
        first = next(full, None)
    named = first and _SEPARATOR_LINE.fullmatch(first[1].strip())
    if named:
        first = next(full, None)
    if first is None:
        return
    number, line = first
    for separator in (named[1],) if named else _SEPARATORS:
        if columns := _columns(number, line, separator):
            yield from _table(full, separator, columns)
            return
    yield from _plain(chain([first], full))


@dataclass(frozen=True)
class _Columns:
    """The columns of client IDs and of endpoints (None: there is none), and the names of all columns."""

    client: int
    endpoint: int | None
    names: Sequence[str]


def _columns(number: int, line: str, separator: str) -> _Columns | None:
    """The columns of a header; None where the line is not a header."""
    try:
        header = split(line, separator)
    except ValueError:
        return None
    names = [_name(field) for field in header]
    client = _place(names, _CLIENT_NAMES)
    if client is None:
        return None
    endpoint = _place(names, _ENDPOINT_NAMES)
    alike = [field for field in header if "endpoint" in _name(field) or "domain" in _name(field)]
    if endpoint is None and alike:
        raise TableError(number, f"a column {one_line(alike[0])}", f"the header {HEADER}", "correct the header")
    return _Columns(client, endpoint, header)


def _name(text: str) -> str:
    return "".join(filter(str.isalnum, text)).lower()


def _place(names: Sequence[str], wanted: Sequence[str]) -> int | None:
    return next((names.index(name) for name in wanted if name in names), None)


def split(line: str, separator: str) -> list[str]:
    """The fields of one line of CSV; spaces around unquoted fields are removed.

    Raises:
        ValueError: a quote that does not end, or text after it.
    """
    fields, at = [], 0
    while True:
        field, at = _field(line, at, separator)
        fields.append(field)
        if at == len(line):
            return fields
        at += 1


def _field(line: str, at: int, separator: str) -> tuple[str, int]:
    """The field that begins at an index of a line, and the index of its end."""
    blank = "".join({" ", "\t"} - {separator})
    begin = at + len(line[at:]) - len(line[at:].lstrip(blank))
    if line[begin : begin + 1] != '"':
        field = line[at:].partition(separator)[0]
        return field.strip(), at + len(field)
    quoted = re.compile(r'"((?:[^"]|"")*)"').match(line, begin)
    if quoted is None:
        raise ValueError("a quote that does not end")
    end = quoted.end() + len(line[quoted.end() :]) - len(line[quoted.end() :].lstrip(blank))
    if line[end : end + 1] not in ("", separator):
        raise ValueError("text after a quote")
    return quoted[1].replace('""', '"'), end


def _table(lines: Iterable[tuple[int, str]], separator: str, columns: _Columns) -> Iterator[Row]:
    for number, line in lines:
        try:
            fields = split(line, separator)
        except ValueError as error:
            raise TableError(number, f"CSV that cannot be read ({error})", HEADER) from error
        # Spreadsheets also write the separators of empty rows and columns.
        if not any(fields):
            continue
        count = len(columns.names)
        if len(fields) < count or any(fields[count:]):
            raise TableError(number, f"{len(fields)} columns", f"{count}, {','.join(columns.names)}")
        yield Row(number, fields[columns.client], "" if columns.endpoint is None else fields[columns.endpoint])


def _plain(lines: Iterable[tuple[int, str]]) -> Iterator[Row]:
    for number, line in lines:
        text = line.strip()
        if text.startswith('"'):
            yield Row(number, _unquoted(number, text), "")
        elif any(separator in text for separator in _SEPARATORS) or _NO_CLIENT_ID.fullmatch(text):
            advice = "add that line, or quote the client ID"
            raise TableError(number, f"{one_line(text)}, which may be more than a client ID", _PLAIN, advice)
        else:
            yield Row(number, text, "")


def _unquoted(number: int, text: str) -> str:
    try:
        fields = split(text, ",")
    except ValueError as error:
        raise TableError(number, f"{one_line(text)} ({error})", _PLAIN) from error
    if len(fields) != 1:
        raise TableError(number, f"{len(fields)} columns", _PLAIN, "add that line")
    return fields[0]


def rows_of_json(text: str, attribute: str) -> Iterator[Row]:
    """Read a list that is JSON: an array, an object that has one (as `aws iot list-things` and `search-index` print
    them), or JSON Lines, each of client IDs or of objects.

    Args:
        attribute: thing attribute that names the endpoint.

    Raises:
        TableError: invalid JSON, an element without a client ID, or one page of a longer list.
    """
    line, counted = 1, 0
    for offset, found in _Json(text).elements():
        line, counted = line + text.count("\n", counted, offset), offset
        yield Row(line, *_entry(line, found, attribute))


class _Json:
    """Finds the elements of lists in a text, with their indices."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._decoder = json.JSONDecoder()

    def elements(self) -> Iterator[tuple[int, object]]:
        at = self._skip(0)
        while at < len(self._text):
            if self._text[at] == "[":
                at = yield from self._array(at)
            elif self._text[at] == "{":
                at = yield from self._object(at)
            else:
                found, end = self._value(at)
                yield at, found
                at = end
            at = self._skip(at)

    def _array(self, at: int) -> Generator[tuple[int, object], None, int]:
        """Yield the elements of the array that begins here; return the index of its end."""
        at = self._skip(at + 1)
        while self._at(at) != "]":
            found, end = self._value(at)
            yield at, found
            at = self._next(end, "]")
        return at + 1

    def _object(self, begin: int) -> Generator[tuple[int, object], None, int]:
        """Yield the elements of an object's list, or the object where it has none; return the index of its end."""
        members: dict[str, object] = {}
        listed = False
        at = self._skip(begin + 1)
        while self._at(at) != "}":
            name, end = self._value(at)
            at = self._skip(self._expect(self._skip(end), ":"))
            if _name(str(name)) in _LIST_NAMES and self._at(at) == "[":
                listed = True
                at = yield from self._array(at)
            else:
                members[str(name)], at = self._value(at)
            at = self._next(at, "}")
        if members.get("NextToken") or members.get("nextToken"):
            found = "a page with a NextToken, which is not the whole list"
            raise TableError(self._line(begin), found, "all of its pages", "write the whole list")
        if not listed:
            yield begin, members
        return at + 1

    def _next(self, at: int, end: str) -> int:
        """The index after the comma, or of the end."""
        at = self._skip(at)
        if self._at(at) == end:
            return at
        at = self._skip(self._expect(at, ","))
        if self._at(at) == end:
            raise self._wrong(at, "a comma before it ends")
        return at

    def _expect(self, at: int, sign: str) -> int:
        if self._at(at) != sign:
            raise self._wrong(at, f"no {sign}")
        return at + 1

    def _at(self, at: int) -> str:
        if at >= len(self._text):
            raise self._wrong(at, "it does not end")
        return self._text[at]

    def _value(self, at: int) -> tuple[object, int]:
        try:
            return self._decoder.raw_decode(self._text, at)
        except json.JSONDecodeError as error:
            raise self._wrong(error.pos, error.msg) from error
        except (ValueError, RecursionError) as error:
            raise self._wrong(at, type(error).__name__) from error

    def _skip(self, at: int) -> int:
        while at < len(self._text) and self._text[at].isspace():
            at += 1
        return at

    def _line(self, at: int) -> int:
        return self._text.count("\n", 0, at) + 1

    def _wrong(self, at: int, why: str) -> TableError:
        return TableError(self._line(at), f"JSON that cannot be read ({why})", "JSON of client IDs", "correct the file")


def _entry(line: int, found: object, attribute: str) -> tuple[str, str]:
    """The client ID and the endpoint of an element."""
    if isinstance(found, str):
        return found, ""
    if not isinstance(found, Mapping):
        advice = "quote it" if isinstance(found, int | float) else "correct the file"
        raise TableError(line, one_line(found), _MEMBERS, advice)
    members = {_name(str(name)): value for name, value in found.items()}
    connectivity, attributes = members.get("connectivity"), members.get("attributes")
    if isinstance(connectivity, Mapping) and connectivity.get("clientId"):
        members.setdefault(_CLIENT_NAMES[0], connectivity["clientId"])
    if isinstance(attributes, Mapping) and attributes.get(attribute):
        members.setdefault(_ENDPOINT_NAMES[0], attributes[attribute])
    client_id = next((members[name] for name in _CLIENT_NAMES if members.get(name) is not None), None)
    endpoint = next((members[name] for name in _ENDPOINT_NAMES if members.get(name) is not None), "")
    if not isinstance(client_id, str) or not isinstance(endpoint, str):
        advice = "quote it" if isinstance(client_id, int | float) else "correct the file"
        raise TableError(line, one_line(dict(found)), _MEMBERS, advice)
    return client_id, endpoint
