"""The HTTP side: which service and operation a request is for, and who answers it."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from moto.core.request import Request as MotoRequest
from moto.core.routing import get_service_router
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response

from lab.aws_api import endpoints, errors, faults, iam, iot_data, permissions, signatures
from lab.aws_api.acm_calls import AcmResponse
from lab.aws_api.control import PREFIX, Control
from lab.aws_api.iot import IotControlResponse
from lab.aws_api.operations import Message
from lab.aws_api.route53_calls import Route53Response
from lab.aws_api.service_quotas_calls import QuotasResponse
from lab.aws_api.signatures import Problem, Signed
from lab.aws_api.stand_in import StandIn
from lab.aws_api.sts import StsResponse

UNKNOWN = "Unknown"
# The service by the name that requests are signed for, where botocore has another one.
SIGNED_FOR = {
    "iotdata": "iot-data",
    "iotdevicegateway": "iot-data",
    "execute-api": "iot",
    "servicequotas": "service-quotas",
}
# A region that is gone takes none of these with it, although their requests are signed for one.
GLOBAL_SERVICES = frozenset({"route53", "iam"})
ANSWERED_HERE: dict[str, Callable[[StandIn], Any]] = {
    "acm": AcmResponse,
    "iot": IotControlResponse,
    "iot-data": iot_data.IotDataResponse,
    "route53": Route53Response,
    "service-quotas": QuotasResponse,
    "sts": StsResponse,
}
_SCOPE = re.compile(r"Credential=(?P<key>[^/]+)/\d+/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request")


class Request(MotoRequest):  # type: ignore[misc]
    """A request as moto's response classes want it."""

    from_wsgi_server = True


@dataclass(frozen=True)
class Call:
    """What a request asks for."""

    service: str
    operation: str
    region: str
    access_key: str
    client_id: str | None = None


def identify(request: MotoRequest) -> Call | None:
    """Return the call of a request that is signed with Signature Version 4, or None."""
    scope = _SCOPE.search(request.headers.get("Authorization", ""))
    if scope is None:
        return None
    service = SIGNED_FOR.get(scope["service"], scope["service"])
    if service == "iot-data" and request.raw_path.startswith("/connections/"):
        operation = iot_data.OPERATIONS.get(request.method, UNKNOWN)
        return Call(service, operation, scope["region"], scope["key"], iot_data.client_id_of(request.raw_path))
    return Call(service, _operation(service, request), scope["region"], scope["key"])


def _operation(service: str, request: MotoRequest) -> str:
    target = request.headers.get("X-Amz-Target")
    if target:
        return str(target).rsplit(".", 1)[-1]
    if action := request.values.get("Action"):
        return str(action)
    try:
        operation, _ = get_service_router(service).match(request)
    except (NotFound, NotImplementedError):
        return UNKNOWN
    return str(operation.name)


def _request_message(request: MotoRequest, environ: dict[str, Any]) -> Message:
    return Message(
        headers=_headers(request),
        body=environ["wsgi.input"].getvalue(),
        method=request.method,
        path=request.raw_path.partition("?")[0],
        query=environ.get("QUERY_STRING", ""),
    )


def _answer_message(response: Response) -> Message:
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Message(headers, response.get_data(), status=response.status_code)


def _refusal(call: Call, status: int, code: str, message: str = "") -> Response:
    """Return an error in the words of the call's service; its usual one of the status where the code is empty."""
    code = errors.spelt(call.service, code or errors.usual_code(status))
    return errors.response(call.service, status, code, message or f"Fault of the lab: {code}")


def _headers(request: MotoRequest) -> dict[str, str]:
    return {name.lower(): value for name, value in request.headers.items()}


class Application:
    """The WSGI application: control, then faults, who is calling, quotas, what the caller may, and the service."""

    def __init__(self, stand_in: StandIn) -> None:
        self._stand_in = stand_in
        self._control = Control(stand_in)
        self._endpoints = endpoints.endpoints(stand_in.configuration.regions.values())
        self._moto = DomainDispatcherApplication(create_backend_app)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        # Read twice: to find the operation, and by the service that answers.
        environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)))
        answer: Iterable[bytes] = self._respond(Request(environ), environ)(environ, start_response)
        return answer

    def _respond(self, request: Request, environ: dict[str, Any]) -> Response:
        if request.path.startswith(PREFIX):
            return self._control.answer(request, request.raw_path)
        call = identify(request)
        if call is None:
            return errors.response("iot", 403, "MissingAuthenticationTokenException", "Missing Authentication Token")
        body = environ["wsgi.input"].getvalue()
        target = str(environ["RAW_URI"])
        text = request.raw_path + body.decode(errors="replace")
        signed = Signed(request.method, target, _headers(request), body)
        response = self._misdirected(call, environ.get(endpoints.HOST)) or self._disturbance(call, text)
        response = response or self._stranger(call, signed) or self._limit(call)
        action, refusal = ("", None) if response else self._forbidden(call, target, body)
        response = response or refusal or self._answer(call, request, environ)
        self._stand_in.log.add(call.service, call.operation, call.region, response.status_code, action)
        self._stand_in.contract.note(
            call.service, call.operation, _request_message(request, environ), _answer_message(response)
        )
        return response

    def _misdirected(self, call: Call, host: str | None) -> Response | None:
        """Refuse what is signed for another endpoint than the one that was asked; None where it is asked by no name."""
        problem = endpoints.problem(self._endpoints[host], call.service, call.region) if host else None
        return errors.unauthenticated(call.service, Problem("signature", problem)) if problem else None

    def _disturbance(self, call: Call, text: str) -> Response | None:
        in_force = self._stand_in.faults
        region = None if call.service in GLOBAL_SERVICES else call.region
        for fault in in_force.hitting(call.operation, region, text):
            match fault.kind:
                case "latency":
                    time.sleep(fault.seconds or 0)
                case "hold":
                    in_force.wait_for_end(fault, faults.HANG_SECONDS)
                case "hang":
                    in_force.wait_for_end(fault, faults.HANG_SECONDS if fault.seconds is None else fault.seconds)
                    return _refusal(call, 503, "", "Service unavailable")
                case "throttle":
                    return errors.throttled(call.service, "Rate exceeded")
                case _:
                    return _refusal(call, fault.status, fault.code)
        return None

    def _stranger(self, call: Call, request: Signed) -> Response | None:
        """The error for a caller whom AWS does not know, or not in this region."""
        settings = self._stand_in.settings
        now = datetime.now(UTC) + timedelta(seconds=settings.clock_offset_seconds)
        found = signatures.problem(request, settings.identities, now) if settings.verify_signatures else None
        if call.region in settings.regions_not_enabled and call.service not in GLOBAL_SERVICES:
            # Its IAM does not have the account's users and roles:
            # https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_sign.html
            found = Problem("unknown", signatures.INVALID_TOKEN)
        return errors.unauthenticated(call.service, found) if found else None

    def _forbidden(self, call: Call, target: str, body: bytes) -> tuple[str, Response | None]:
        """The action that the caller's policies do not allow, and the error for it."""
        identity = self._stand_in.settings.identities.get(call.access_key)
        if identity is None or identity.policies is None:
            return "", None
        account, arn = self._stand_in.configuration.account_id, self._stand_in.arn(call.access_key)
        for needed in permissions.needed(call.service, call.operation, call.region, account, target, body):
            context = {**needed.context, "aws:PrincipalArn": (arn,)}
            refusal = iam.refusal(identity.policies, arn, needed.action, needed.resources, context)
            if refusal:
                return needed.action, errors.denied(call.service, refusal)
        return "", None

    def _limit(self, call: Call) -> Response | None:
        quotas, settings = self._stand_in.quotas, self._stand_in.settings
        exceeded = quotas.exceeded(
            call.service,
            call.operation,
            call.region,
            call.client_id,
            settings.quotas.get(call.operation),
            every=settings.every_quota,
        )
        return errors.throttled(call.service, exceeded) if exceeded else None

    def _answer(self, call: Call, request: Request, environ: dict[str, Any]) -> Response:
        factory = ANSWERED_HERE.get(call.service)
        if factory is None:
            environ["wsgi.input"].seek(0)
            with self._stand_in.lock:
                return Response.from_app(self._moto, environ)
        answering = factory(self._stand_in)
        try:
            # The connection API waits for brokers and has locks of its own.
            if call.service == "iot-data" and call.client_id is not None:
                status, headers, body = answering._dispatch(request)
            else:
                with self._stand_in.lock:
                    status, headers, body = answering._dispatch(request)
        except NotImplementedError as error:
            return errors.response(call.service, 501, "NotImplemented", str(error))
        headers = {name: str(value) for name, value in headers.items() if name.lower() not in ("status", "date")}
        return Response(body, status, headers)
