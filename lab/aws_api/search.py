"""Fleet indexing: queries over things with their connectivity.

Source: AWS IoT developer guide, "Query syntax" and "Managing thing indexing".
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from lab.aws_api.connections import PERSISTENT_SESSION_EXPIRY, Connection
from lab.aws_api.errors import AwsError

PAGE_SIZE = 100

Document = Mapping[str, Any]
Predicate = Callable[[Document], bool]

_TOKEN = re.compile(r'\s*(\(|\)|(?:[^\s()"]|"(?:[^"\\]|\\.)*")+)')


@dataclass(frozen=True)
class Term:
    """A field and the pattern its value has to match; without a field, the thing's name."""

    field: str
    pattern: str

    def matches(self, document: Document) -> bool:
        value = _value(document, self.field)
        if value is None:
            return False
        text = str(value).lower() if isinstance(value, bool) else str(value)
        return fnmatchcase(text, self.pattern.replace("[", "[[]"))


def _value(document: Document, field: str) -> object:
    value: object = document
    head, _, tail = field.partition(".")
    # An attribute's own name may have dots.
    for key in (head, tail) if head == "attributes" else field.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def compile_query(query: str) -> Predicate:
    """Return what says whether a thing's document matches a query of terms, AND, OR, NOT and parentheses.

    Raises:
        AwsError: InvalidQueryException.
    """
    tokens = _tokens(query)
    result = _alternatives(tokens)
    if tokens:
        raise AwsError("InvalidQueryException", f"queryString {query!r}: {tokens[0]!r} was not expected")
    return result


def _tokens(query: str) -> list[str]:
    tokens, position = [], 0
    while query[position:].strip():
        match = _TOKEN.match(query, position)
        if match is None:
            raise AwsError("InvalidQueryException", f"queryString {query!r}: cannot be read at {position}")
        tokens.append(match[1])
        position = match.end()
    if not tokens:
        raise AwsError("InvalidRequestException", "queryString: empty")
    return tokens


def _alternatives(tokens: list[str]) -> Predicate:
    parts = [_conjunction(tokens)]
    while tokens and tokens[0] == "OR":
        tokens.pop(0)
        parts.append(_conjunction(tokens))
    return lambda document: any(part(document) for part in parts)


def _conjunction(tokens: list[str]) -> Predicate:
    parts = [_operand(tokens)]
    while tokens and tokens[0] not in ("OR", ")"):
        if tokens[0] == "AND":
            tokens.pop(0)
        parts.append(_operand(tokens))
    return lambda document: all(part(document) for part in parts)


def _operand(tokens: list[str]) -> Predicate:
    if not tokens or tokens[0] in ("AND", "OR", ")"):
        raise AwsError("InvalidQueryException", "queryString: an operand is missing")
    word = tokens.pop(0)
    if word == "NOT":
        return _negated(_operand(tokens))
    if word == "(":
        result = _alternatives(tokens)
        if not tokens or tokens.pop(0) != ")":
            raise AwsError("InvalidQueryException", "queryString: a parenthesis is not closed")
        return result
    return _negated(_term(word[1:]).matches) if word.startswith("-") else _term(word).matches


def _negated(predicate: Predicate) -> Predicate:
    return lambda document: not predicate(document)


def _term(token: str) -> Term:
    field, separator, pattern = token.partition(":")
    if not separator:
        field, pattern = "thingName", token
    return Term(field, re.sub(r"\\(.)", r"\1", pattern.strip('"')))


def connectivity(connection: Connection | None) -> dict[str, Any]:
    """Return a thing's connectivity block; times in milliseconds since the epoch."""
    if connection is None:
        return {"connected": False}
    since = connection.connected_since if connection.connected else connection.disconnected_since
    block: dict[str, Any] = {
        "connected": connection.connected,
        "timestamp": since,
        "clientId": connection.client_id,
        "cleanSession": connection.clean_session,
        "keepAliveDuration": connection.keep_alive,
        "sessionExpiry": 0 if connection.clean_session else PERSISTENT_SESSION_EXPIRY,
    }
    if not connection.connected:
        block["disconnectReason"] = connection.disconnect_reason
    return block


def page(names: list[str], token: str | None, size: int | None) -> tuple[list[str], str | None]:
    """Return one page of sorted names and the token of the next.

    Raises:
        AwsError: InvalidRequestException for a bad token or size.
    """
    if size is not None and not 1 <= size <= PAGE_SIZE:
        raise AwsError("InvalidRequestException", f"maxResults: {size}, expected 1 to {PAGE_SIZE}")
    try:
        last = base64.b64decode(token, validate=True).decode() if token else ""
    except (binascii.Error, UnicodeDecodeError) as error:
        raise AwsError("InvalidRequestException", "nextToken: not one that was given out") from error
    rest = [name for name in sorted(names) if name > last]
    chosen = rest[: size or PAGE_SIZE]
    more = len(rest) > len(chosen)
    return chosen, base64.b64encode(chosen[-1].encode()).decode() if more else None
