"""Validates answers of AWS against botocore's model of the operation: an answer that cannot be read is an error.

botocore reads an HTML page, an empty body or half a JSON text of status 200 as an answer without members, which in a
list of clients would be an empty fleet. It also leaves out members that are null. AWS IoT writes every member, as null
where it has no value (the recorded answers in
https://github.com/awsdocs/aws-doc-sdk-examples/tree/main/cpp/example_code/iot/tests/mock_input), so an answer with no
member of its operation is not AWS's, while an empty list may be null.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Iterator, Mapping
from http.client import responses
from typing import Any
from xml.etree import ElementTree

from botocore.exceptions import BotoCoreError
from botocore.parsers import ResponseParserError, ResponseParserFactory

from ..model.errors import UNREADABLE, AwsError, one_line

OK = 200
ERRORS_FROM = 300
# Members that are read without checking for them, by the model's name of the structure, which two services may share.
_NEEDED = {
    "Certificate": ("certificateArn", "certificateId", "status"),
    "CertificateDescription": ("certificateArn", "certificateId", "status"),
    "CreateCertificateFromCsrResponse": ("certificateArn", "certificateId", "certificatePem"),
    "DescribeCertificateResponse": ("certificateDescription", "Certificate"),
    "DescribeThingResponse": ("thingName",),
    "DomainConfigurationSummary": ("domainConfigurationName",),
    "GetConnectionResponse": ("connected",),
    "GetPolicyResponse": ("policyDocument",),
    "GetStatisticsResponse": ("statistics",),
    "ListPolicyVersionsResponse": ("policyVersions",),
    "Policy": ("policyName",),
    "PolicyVersion": ("isDefaultVersion", "versionId"),
    "RegisterCertificateWithoutCAResponse": ("certificateArn", "certificateId"),
    "Statistics": ("count",),
}
_ELSEWHERE = ("header", "headers", "statusCode")
# Errors of botocore's parsers for an answer that does not match its model.
_FAILURES = (ResponseParserError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


class UnreadableError(BotoCoreError):  # type: ignore[misc]
    """An answer of status 200 that does not match its operation; `problem` describes it."""

    fmt = "{problem}"


class Parsers(ResponseParserFactory):  # type: ignore[misc]
    """botocore's parsers with validation: the component `response_parser_factory` of a session."""

    def create_parser(self, protocol_name: str) -> _Parser:
        return _Parser(super().create_parser(protocol_name), protocol_name)


class _Parser:
    def __init__(self, parser: Any, protocol: str) -> None:
        self._parser = parser
        self._json = "json" in protocol

    def parse(self, response: Mapping[str, Any], shape: Any) -> dict[str, Any]:
        """Parse an answer with botocore.

        Raises:
            UnreadableError: its status is 200, and it is no answer of this operation.
        """
        if response["status_code"] >= ERRORS_FROM:
            return self._refusal(response, shape)
        if self._json:
            read(response["body"], shape)
        try:
            parsed: dict[str, Any] = self._parser.parse(response, shape)
        except _FAILURES as error:
            raise UnreadableError(problem=f"{_shown(response['body'])}: {error}") from error
        if not self._json and shape is not None and shape.members and not parsed.keys() & shape.members.keys():
            raise UnreadableError(problem=_shown(response["body"]))
        return parsed

    def _refusal(self, response: Mapping[str, Any], shape: Any) -> dict[str, Any]:
        """Parse an error; one that cannot be read still has its status."""
        try:
            parsed: dict[str, Any] = self._parser.parse(response, shape)
        except _FAILURES:
            if shape is not None and shape.metadata.get("exception"):
                return {}
            status = response["status_code"]
            metadata = {"HTTPStatusCode": status, "HTTPHeaders": dict(response["headers"])}
            return {"Error": {"Code": str(status), "Message": responses.get(status, "")}, "ResponseMetadata": metadata}
        if not self._json and not parsed.get("Error", {}).get("Code") and (error := by_its_name(response["body"])):
            parsed["Error"] = error
        return parsed


def by_its_name(body: bytes) -> dict[str, str] | None:
    """The error in an XML body whose root element is the error's code; None in any other body.

    Route 53 documents two bodies of InvalidChangeBatch, of which botocore knows one. The other has its messages under
    `<InvalidChangeBatch><Messages><Message>`
    (https://docs.aws.amazon.com/Route53/latest/APIReference/API_ChangeResourceRecordSets.html#API_ChangeResourceRecordSets_Errors).
    """
    try:
        root = ElementTree.fromstring(body)  # noqa: S314 - as botocore reads it just before
    except ElementTree.ParseError:
        return None
    said = [" ".join((each.text or "").split()) for each in root.iter() if each.tag.rpartition("}")[2] == "Message"]
    code = root.tag.rpartition("}")[2]
    found = {"Code": code, "Message": "; ".join(filter(None, said))}
    return found if said and code != "ErrorResponse" else None


def read(body: bytes, shape: Any) -> dict[str, Any]:
    """Return the JSON object of an answer, checked against the shape of the operation's output (None: no output).

    Where the output has no members, the body may be empty.

    Raises:
        UnreadableError: it does not match.
    """
    members = _members(shape) if shape is not None else {}
    if not members and not body.strip():
        return {}
    found = _json_object(body)
    if members and not members.keys() & found.keys():
        raise UnreadableError(problem=_shown(body))
    if members and (problem := misfit(shape, found, "the answer")):
        raise UnreadableError(problem=problem)
    return found


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        found = _DECODER.decode(body.decode())
        if b"\\ud" in body.lower():
            # Python's decoder accepts lone surrogates, which cannot be encoded again.
            json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise UnreadableError(problem=_shown(body)) from error
    if not isinstance(found, dict):
        raise UnreadableError(problem=_shown(body))
    return found


def _shown(body: bytes) -> str:
    return one_line(body.decode(errors="replace")) if body else "an empty body"


@functools.cache
def _members(shape: Any) -> dict[str, Any]:
    """The shapes of a structure's members that are in the body, by their names there."""
    return {
        member.serialization.get("name", name): member
        for name, member in shape.members.items()
        if member.serialization.get("location") not in _ELSEWHERE
    }


def misfit(shape: Any, value: object, where: str) -> str | None:
    """The first mismatch of a JSON value with a shape; None where it matches. Members that are null are skipped."""
    check = _CONTAINERS.get(shape.type_name)
    if check:
        return check(shape, value, where)
    fits = _SCALARS.get(shape.type_name)
    return None if fits is None or fits(value) else f"{where} = {one_line(value)}, no {shape.type_name}"


def _structure_misfit(shape: Any, value: object, where: str) -> str | None:
    if not isinstance(value, dict):
        return f"{where} = {one_line(value)}, no structure"
    members = _members(shape)
    for name in _NEEDED.get(shape.name, ()):
        if name in members and value.get(name) is None:
            return f"{where} without {name}"
    for name, each in value.items():
        if each is not None and name in members and (problem := misfit(members[name], each, name)):
            return problem
    return None


def _list_misfit(shape: Any, value: object, where: str) -> str | None:
    if not isinstance(value, list):
        return f"{where} = {one_line(value)}, no list"
    problems = (misfit(shape.member, each, f"one of {where}") for each in value)
    return next((problem for problem in problems if problem), None)


def _map_misfit(shape: Any, value: object, where: str) -> str | None:
    if not isinstance(value, dict):
        return f"{where} = {one_line(value)}, no map"
    problems = (misfit(shape.value, each, where) for each in value.values() if each is not None)
    return next((problem for problem in problems if problem), None)


def _whole(bits: int) -> Callable[[object], bool]:
    limit = 2 ** (bits - 1)

    def fits(value: object) -> bool:
        # JSON has one kind of number.
        whole = type(value) is int or (type(value) is float and value.is_integer())
        return whole and -limit <= value < limit

    return fits


def _number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]


_CONTAINERS: dict[str, Callable[[Any, object, str], str | None]] = {
    "structure": _structure_misfit,
    "list": _list_misfit,
    "map": _map_misfit,
}
_SCALARS: dict[str, Callable[[object], bool]] = {
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": _whole(32),
    "long": _whole(64),
    "float": _number,
    "double": _number,
    "timestamp": lambda value: isinstance(value, str) or _number(value),
    "blob": lambda value: isinstance(value, str),
}


def pages(
    call: Callable[..., Mapping[str, Any]],
    region: str,
    operation: str,
    items: str,
    cursor: tuple[str, str] = ("nextToken", "nextToken"),
    **parameters: Any,
) -> Iterator[list[Any]]:
    """Yield the list `items` of each page of an answer.

    Args:
        call: sends a request: `call(operation, **parameters)`.
        items: name of the list in the answer.
        cursor: name of the next page's token in the answer, and in the request.

    Raises:
        AwsError: as `call`; no list, or a token that is invalid or was there before, which would never end.
    """
    seen: set[str] = set()
    while True:
        answer = call(operation, **parameters)
        listed, token = answer.get(items), answer.get(cursor[0])
        if listed is not None and not isinstance(listed, list):
            raise AwsError(operation, region, UNREADABLE, OK, f"{items} = {one_line(listed)}, no list")
        yield listed or []
        if token is None or token == "":
            return
        if not isinstance(token, str) or token in seen:
            raise AwsError(operation, region, UNREADABLE, OK, f"{cursor[0]} = {one_line(token)}, not the next page's")
        seen.add(token)
        parameters[cursor[1]] = token
