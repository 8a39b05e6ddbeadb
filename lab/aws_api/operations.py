"""An operation's requests and answers against botocore's service models: what AWS's clients consider the interface."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl, unquote
from xml.etree import ElementTree

import botocore.session

from lab.aws_api.shapes import Check, JsonShapes, Problem, XmlShapes, leaf_in_text, local_name, one, shown, wire_name

OK = 200
ERROR = 300

# Errors that any operation may answer, with their statuses; models leave them out.
# https://docs.aws.amazon.com/iot/latest/apireference/CommonErrors.html and its like of each service. The statuses of
# some differ from service to service, and from page to page of one service.
COMMON_ERRORS: dict[str, frozenset[int]] = {
    "AccessDeniedException": frozenset({400, 403}),
    "ExpiredTokenException": frozenset({400, 403}),
    "IncompleteSignature": frozenset({400, 403}),
    "IncompleteSignatureException": frozenset({400, 403}),
    "InternalFailure": frozenset({500}),
    "InvalidSignatureException": frozenset({400, 403}),
    "MalformedHttpRequestException": frozenset({400}),
    "MissingAuthenticationTokenException": frozenset({400, 403}),
    "OptInRequired": frozenset({403}),
    "RequestExpired": frozenset({400}),
    "ServiceUnavailable": frozenset({503}),
    "ServiceUnavailableException": frozenset({503}),
    "ThrottlingException": frozenset({400, 429}),
    "UnknownOperationException": frozenset({400, 404}),
    "UnrecognizedClientException": frozenset({400, 403}),
    "ValidationException": frozenset({400}),
}
# Of services that speak XML: their codes have no "Exception" at their end.
# https://docs.aws.amazon.com/Route53/latest/APIReference/CommonErrors.html
COMMON_XML_ERRORS: dict[str, frozenset[int]] = {
    "AccessDenied": frozenset({400, 403}),
    "ExpiredToken": frozenset({400, 403}),
    "IncompleteSignature": frozenset({400, 403}),
    "InternalFailure": frozenset({500}),
    "InvalidClientTokenId": frozenset({403}),
    "MissingAuthenticationToken": frozenset({403}),
    "OptInRequired": frozenset({403}),
    "RequestExpired": frozenset({400, 403}),
    "ServiceUnavailable": frozenset({503}),
    "SignatureDoesNotMatch": frozenset({403}),
    "Throttling": frozenset({400}),
    "ValidationError": frozenset({400}),
}
# Of the IoT data plane beside its models: the developer guide, "MQTT", and the API reference of its operations.
DATA_ERRORS: dict[str, frozenset[int]] = {
    "ForbiddenException": frozenset({403}),
    "UnauthorizedException": frozenset({401}),
    "ServiceUnavailableException": frozenset({503}),
}


# Deviations that are AWS's own, whose model says otherwise than it does, and how that is known; by service, operation,
# side ("request" or "answer") and member, as Problem has it.
EXEMPTIONS = {
    ("route53", "ListHostedZones", "answer", "Marker"): (
        "it is the request's, and the request for the first page has none (API reference, ListHostedZones)"
    ),
    ("route53", "CreateHostedZone", "answer", "DelegationSet"): (
        "the name servers of a private zone are told to nobody (developer guide, hosted-zone-private-considerations)"
    ),
    ("acm", "ListTagsForCertificate", "answer", "Tags"): (
        "the shape is that of a request's list; amazon.aws reads it of certificates without tags, too: an empty one"
    ),
}


@dataclass(frozen=True, slots=True)
class Message:
    """A request or an answer as it goes over the wire.

    Attributes:
        headers: by lower-case name.
        method, path, query: of a request; the path is percent-encoded, the query without its question mark.
        status: of an answer.
    """

    headers: Mapping[str, str]
    body: bytes
    method: str = ""
    path: str = ""
    query: str = ""
    status: int = 0


class Operation:
    """One operation's checks."""

    def __init__(self, service: Any, name: str, shapes: tuple[JsonShapes, XmlShapes]) -> None:
        self._model = service.operation_model(name)
        self._service = service
        self._json, self._xml = shapes
        self._protocol = str(service.resolved_protocol)
        self._errors = {shape.error_code: shape for shape in self._model.error_shapes}

    # Requests ----------------------------------------------------------------------------------------------------

    def request_problems(self, request: Message) -> list[Problem]:
        """Compare a request with the operation's input."""
        problems = self._method(request)
        if self._protocol == "query":
            return problems + self._form(request)
        if self._protocol == "json":
            problems += self._target(request)
        else:
            problems += self._path(request.path) + self._query(request.query)
            problems += _header_problems(self._model.input_shape, request.headers)
        return problems + self._input_check(request.body)

    def _method(self, request: Message) -> list[Problem]:
        method = self._model.http["method"]
        return [] if request.method == method else [Problem("method", request.method, method)]

    def _target(self, request: Message) -> list[Problem]:
        metadata = self._service.metadata
        expected = {
            "x-amz-target": f"{metadata['targetPrefix']}.{self._model.name}",
            "content-type": f"application/x-amz-json-{metadata['jsonVersion']}",
        }
        return [
            Problem(name, shown(request.headers.get(name)), value)
            for name, value in expected.items()
            if request.headers.get(name) != value
        ]

    def _path(self, path: str) -> list[Problem]:
        pattern, labels = self._template
        match = pattern.fullmatch(path)
        if match is None:
            return [Problem("path", shown(path), self._model.http["requestUri"])]
        problems = []
        for (name, check), value in zip(labels, match.groups(), strict=True):
            problems += [problem.below(name) for problem in check(unquote(value)) or ()]
        return problems

    @cached_property
    def _template(self) -> tuple[re.Pattern[str], list[tuple[str, Check]]]:
        """The path's pattern, and the members in it in their order."""
        members = {wire_name(name, member): (name, member) for name, member in self._located("uri")}
        pattern, labels = "", []
        for literal, label in re.findall(r"([^{]*)(?:\{([^}]*)\})?", self._model.http["requestUri"].partition("?")[0]):
            pattern += re.escape(literal)
            if label:
                pattern += "(.*)" if label.endswith("+") else "([^/]*)"
                name, member = members[label.removesuffix("+")]
                labels.append((name, leaf_in_text(member)))
        return re.compile(pattern), labels

    def _query(self, text: str) -> list[Problem]:
        problems = []
        given = parse_qsl(text, keep_blank_values=True)
        for name, value in given:
            if (found := self._query_members.get(name)) is None:
                problems.append(Problem(name, shown(value), "no such member"))
            else:
                problems += [problem.below(found[0]) for problem in found[1](value) or ()]
        names = {name for name, _ in given}
        for name, (member, _, required) in self._query_members.items():
            if required and name not in names:
                problems.append(Problem(member, "nothing", "this member"))
        return problems

    @cached_property
    def _query_members(self) -> dict[str, tuple[str, Check, bool]]:
        """Members in the query by name on the wire: name, check, whether required."""
        fixed = self._model.http["requestUri"].partition("?")[2]
        members: dict[str, tuple[str, Check, bool]] = {
            name: (name, lambda _: None, True) for name, _ in parse_qsl(fixed, keep_blank_values=True)
        }
        required = self._model.input_shape.required_members if self._model.input_shape else ()
        for name, member in self._located("querystring"):
            leaf = member.member if member.type_name == "list" else member
            members[wire_name(name, member)] = (name, leaf_in_text(leaf), name in required)
        return members

    def _located(self, location: str) -> list[tuple[str, Any]]:
        shape = self._model.input_shape
        members = shape.members.items() if shape else ()
        return [(name, member) for name, member in members if member.serialization.get("location") == location]

    @cached_property
    def _input_check(self) -> Callable[[bytes], list[Problem]]:
        root = self._model.input_shape.serialization.get("name") if self._model.input_shape else None
        return self._body_check(self._model.input_shape, root)

    def _form(self, request: Message) -> list[Problem]:
        """Check a body of the query protocol: names, and values of members that have no parts."""
        given = dict(parse_qsl(request.body.decode(errors="replace"), keep_blank_values=True))
        shape, problems = self._model.input_shape, []
        fixed = {"Action": self._model.name, "Version": self._service.metadata["apiVersion"]}
        problems += [
            Problem(name, shown(given.pop(name, None)), value)
            for name, value in fixed.items()
            if given.get(name) != value
        ]
        members = shape.members if shape else {}
        for name, value in given.items():
            head, _, rest = name.partition(".")
            if name in fixed:
                continue
            if head not in members:
                problems.append(Problem(name, shown(value), "no such member"))
            elif not rest:
                problems += [problem.below(head) for problem in leaf_in_text(members[head])(value) or ()]
        heads = {name.partition(".")[0] for name in given}
        required = shape.required_members if shape else ()
        return problems + [Problem(name, "nothing", "this member") for name in required if name not in heads]

    # Answers -----------------------------------------------------------------------------------------------------

    def answer_problems(self, answer: Message) -> list[Problem]:
        """Compare an answer with the operation's output or, where it is an error, with its errors."""
        if answer.status >= ERROR:
            return self._error_problems(answer)
        expected = self._model.http.get("responseCode", OK)
        problems = [] if answer.status == expected else [Problem("status", str(answer.status), str(expected))]
        problems += _header_problems(self._model.output_shape, answer.headers)
        return problems + self._output_check(answer.body)

    @cached_property
    def _output_check(self) -> Callable[[bytes], list[Problem]]:
        shape = self._model.output_shape
        if self._protocol == "query":
            return self._query_output
        return self._body_check(shape, shape.name if shape else None)

    def _query_output(self, body: bytes) -> list[Problem]:
        shape = self._model.output_shape
        root = _xml(body)
        if root is None or local_name(root) != f"{self._model.name}Response":
            return [Problem("body", shown(body.decode(errors="replace")), f"XML of {self._model.name}Response")]
        wrapper = shape.serialization.get("resultWrapper") if shape else None
        results = [child for child in root if local_name(child) == wrapper]
        return (self._xml.of(shape)(results) or []) if shape else []

    def _error_problems(self, answer: Message) -> list[Problem]:
        code = error_code(answer)
        if code is None:
            return [Problem("error", shown(answer.body.decode(errors="replace")), "an error with a code")]
        shape = self._errors.get(code)
        statuses = _statuses(shape, self._protocol) if shape is not None else self._common.get(code)
        if statuses is None:
            known = sorted({*self._errors, *self._common})
            return [Problem("error", code, f"one of {', '.join(known)}")]
        if answer.status not in statuses:
            return [Problem(f"status of {code}", str(answer.status), " or ".join(map(str, sorted(statuses))))]
        return []

    @cached_property
    def _common(self) -> Mapping[str, frozenset[int]]:
        if self._protocol in ("rest-xml", "query"):
            return COMMON_XML_ERRORS
        return COMMON_ERRORS | DATA_ERRORS if self._service.service_name == "iot-data" else COMMON_ERRORS

    # Bodies ------------------------------------------------------------------------------------------------------

    def _body_check(self, shape: Any, root: str | None) -> Callable[[bytes], list[Problem]]:
        """Return the check of a body, for the members that have no other location."""
        payload = shape.serialization.get("payload") if shape else None
        if payload and shape.members[payload].type_name in ("blob", "string"):
            return lambda _: []
        names = (
            [name for name, member in shape.members.items() if "location" not in member.serialization] if shape else []
        )
        if payload:
            shape, names = shape.members[payload], list(shape.members[payload].members)
            root = shape.serialization.get("name", root)
        if self._protocol == "rest-xml":
            return self._xml_body(self._xml.structure(shape, names) if names else None, root)
        return self._json_body(self._json.structure(shape, names) if names else None)

    def _json_body(self, check: Check | None) -> Callable[[bytes], list[Problem]]:
        def checked(body: bytes) -> list[Problem]:
            try:
                # Without a body there are no members, of which some may be required.
                content = json.loads(body) if body else {}
            except ValueError:
                return [Problem("body", shown(body.decode(errors="replace")), "JSON")]
            if check is None:
                return one(content, "no members", "body") if content else []
            return [problem if problem.member else problem.below("body") for problem in check(content) or ()]

        return checked

    def _xml_body(self, check: Check | None, root: str | None) -> Callable[[bytes], list[Problem]]:
        # botocore has an input of such a service as members of an element of its own, with a namespace.
        namespace = (self._model.input_shape.serialization if self._model.input_shape else {}).get("xmlNamespace", {})

        def checked(body: bytes) -> list[Problem]:
            if check is None:
                return []
            element = _xml(body)
            if element is None:
                return [Problem("body", shown(body.decode(errors="replace")), f"XML of {root}")] if root else []
            wanted = namespace.get("uri")
            space, _, name = element.tag.removeprefix("{").rpartition("}")
            if name != root or (wanted and space != wanted):
                return [Problem("body", element.tag, f"{{{wanted}}}{root}" if wanted else str(root))]
            return check([element]) or []

        return checked


def _header_problems(shape: Any, headers: Mapping[str, str]) -> list[Problem]:
    problems = []
    for name, member in shape.members.items() if shape else ():
        if member.serialization.get("location") != "header":
            continue
        value = headers.get(wire_name(name, member).lower())
        if value is not None:
            problems += [problem.below(name) for problem in leaf_in_text(member, "rfc822")(value) or ()]
        elif name in shape.required_members:
            problems.append(Problem(name, "nothing", f"the header {wire_name(name, member)}"))
    return problems


def _statuses(shape: Any, protocol: str) -> frozenset[int]:
    status = shape.metadata.get("error", {}).get("httpStatusCode")
    if status is None or protocol == "json":
        # https://docs.aws.amazon.com/acm/latest/APIReference/CommonErrors.html: 400 for the caller's, 500 for its own.
        status = 500 if shape.metadata.get("fault") else 400
    return frozenset({status})


def _xml(body: bytes) -> ElementTree.Element | None:
    try:
        return ElementTree.fromstring(body)  # noqa: S314 - the lab's own, and expat's limits hold
    except ElementTree.ParseError:
        return None


def error_code(answer: Message) -> str | None:
    """Return the code of an error answer; None where it has none, or two."""
    if answer.body[:1] == b"<":
        element = _xml(answer.body)
        if element is None:
            return None
        # Route 53 has a body of its own for this one error.
        if local_name(element) == "InvalidChangeBatch":
            return "InvalidChangeBatch"
        codes = [each.text for each in element.iter() if local_name(each) == "Code"]
        return codes[0] if len(codes) == 1 else None
    header = answer.headers.get("x-amzn-errortype", "").partition(":")[0].rpartition("#")[2]
    try:
        content = json.loads(answer.body)
        written = content.get("__type") or content.get("code") or ""
    except (ValueError, AttributeError):
        return None
    written = written.rpartition("#")[2]
    return None if header and written and header != written else header or written or None


class Models:
    """The operations of botocore's services, each made when it is first asked for."""

    def __init__(self) -> None:
        self._session = botocore.session.get_session()
        self._services: dict[str, tuple[Any, tuple[JsonShapes, XmlShapes]] | None] = {}
        self._operations: dict[tuple[str, str], Operation | None] = {}

    def operation(self, service: str, name: str) -> Operation | None:
        """Return an operation; None where there is no such service, or it has no such operation."""
        key = service, name
        if key not in self._operations:
            self._operations[key] = self._operation(service, name)
        return self._operations[key]

    def _operation(self, service: str, name: str) -> Operation | None:
        if service not in self._services:
            known = service in self._session.get_available_services()
            model = self._session.get_service_model(service) if known else None
            self._services[service] = (model, (JsonShapes(), XmlShapes())) if model else None
        found = self._services[service]
        if found is None or name not in found[0].operation_names:
            return None
        return Operation(found[0], name, found[1])


def problems_of(
    models: Models, service: str, name: str, request: Message | None, answer: Message
) -> list[tuple[str, Problem]]:
    """Return what is wrong with a request and its answer, each with its side: "request" or "answer".

    Args:
        request: None where only the answer is known.
    """
    operation = models.operation(service, name)
    if operation is None:
        # AWS, too, refuses a request that is none of its operations.
        known = answer.status >= ERROR
        return [("request", Problem("operation", name, f"one of {service}"))] if request or not known else []
    found = [("request", problem) for problem in operation.request_problems(request)] if request else []
    found += [("answer", problem) for problem in operation.answer_problems(answer)]
    return [(side, problem) for side, problem in found if (service, name, side, problem.member) not in EXEMPTIONS]
