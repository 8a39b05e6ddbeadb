"""AWS's error responses, by protocol, where no response class of moto makes them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from xml.sax.saxutils import escape

from moto.core.exceptions import ServiceException
from werkzeug.wrappers import Response

from lab.aws_api.signatures import CODES, Problem

XML_SERVICES = frozenset({"route53", "sts", "iam"})
# Those that answer 400 where others answer 403 (JSON 1.1).
JSON_1_1_SERVICES = frozenset({"acm", "service-quotas"})
# One error in the words of services that speak JSON, and of those that speak XML.
# https://docs.aws.amazon.com/iot/latest/apireference/CommonErrors.html,
# https://docs.aws.amazon.com/Route53/latest/APIReference/CommonErrors.html
_IN_XML = {
    "AccessDeniedException": "AccessDenied",
    "ExpiredTokenException": "ExpiredToken",
    "InternalFailureException": "InternalFailure",
    "ServiceUnavailableException": "ServiceUnavailable",
    "ThrottlingException": "Throttling",
    "UnrecognizedClientException": "InvalidClientTokenId",
}
_IN_JSON = {xml: json for json, xml in _IN_XML.items()}
_USUAL = {403: "AccessDeniedException", 429: "ThrottlingException", 503: "ServiceUnavailableException"}


def usual_code(status: int) -> str:
    """Return the code of an error of which only the status is given, as `spelt` takes it."""
    return _USUAL.get(status, "InternalFailureException" if status >= 500 else "InvalidRequestException")


def spelt(service: str, code: str) -> str:
    """Return a code that any service may answer as this one spells it; another one as it is."""
    if service in XML_SERVICES:
        return _IN_XML.get(code, code)
    code = _IN_JSON.get(code, code)
    if service == "iot-data" and code == "AccessDeniedException":
        return "ForbiddenException"
    # Those of IoT alone are in its models.
    if code == "InternalFailureException" and not service.startswith("iot"):
        return "InternalFailure"
    return code


class AwsError(ServiceException):  # type: ignore[misc]
    """An error that a service's own model knows: code and message."""


class InvalidChangeBatchError(AwsError):
    """Route 53's refusal of a batch, with one message for each change that cannot be made."""

    def __init__(self, messages: Sequence[str]) -> None:
        super().__init__("InvalidChangeBatch", f"[{', '.join(messages)}]")
        # Not `messages`, which moto would write as a member of the error's shape.
        self.said = tuple(messages)

    def by_its_name(self) -> str:
        """The body that has the messages under the error's own name.

        Source: https://docs.aws.amazon.com/Route53/latest/APIReference/API_ChangeResourceRecordSets.html, Errors.
        """
        said = "".join(f"<Message>{escape(message)}</Message>" for message in self.said)
        return (
            '<?xml version="1.0" encoding="UTF-8"?>'
            '<InvalidChangeBatch xmlns="https://route53.amazonaws.com/doc/2013-04-01/">'
            f"<Messages>{said}</Messages></InvalidChangeBatch>"
        )


def response(service: str, status: int, code: str, message: str) -> Response:
    """Return an error as botocore reads it from the service's protocol."""
    if service == "route53":
        body = (
            '<?xml version="1.0"?><ErrorResponse xmlns="https://route53.amazonaws.com/doc/2013-04-01/"><Error>'
            f"<Type>{'Sender' if status < 500 else 'Receiver'}</Type><Code>{escape(code)}</Code>"
            f"<Message>{escape(message)}</Message></Error><RequestId>lab</RequestId></ErrorResponse>"
        )
        return Response(body, status, content_type="text/xml")
    if service == "sts":
        body = (
            f"<ErrorResponse><Error><Code>{escape(code)}</Code><Message>{escape(message)}</Message></Error>"
            "<RequestId>lab</RequestId></ErrorResponse>"
        )
        return Response(body, status, content_type="text/xml")
    content = json.dumps({"__type": code, "message": message})
    return Response(content, status, headers={"x-amzn-errortype": code}, content_type="application/json")


def throttled(service: str, message: str) -> Response:
    """Return the service's throttling error: 429 in the IoT data plane, 400 elsewhere."""
    return response(service, 429 if service == "iot-data" else 400, spelt(service, "ThrottlingException"), message)


def unauthenticated(service: str, problem: Problem) -> Response:
    """Return the service's error for a signature that it does not take."""
    xml, other = CODES[problem.kind]
    status = 400 if service in JSON_1_1_SERVICES or problem.kind == "incomplete" else 403
    return response(service, status, xml if service in XML_SERVICES else other, problem.message)


def denied(service: str, message: str) -> Response:
    """Return the service's error for what no policy allows; the IoT data plane does not say what that is."""
    status = 400 if service in JSON_1_1_SERVICES else 403
    code = spelt(service, "AccessDeniedException")
    return response(service, status, code, "Forbidden" if service == "iot-data" else message)
