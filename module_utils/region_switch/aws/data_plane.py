"""DeleteConnection and GetConnection with little CPU: the requests that a move sends for every client.

boto3 sends the first request of each operation, which becomes the pattern of the others: endpoint, headers, signing
scope. This module signs the same request again; only if both are identical does it make the next ones itself.
Credentials are the session's, read for each request so that they are refreshed. Botocore opens the connections (TLS, CA
bundle, proxies, timeouts) and reads every answer that is no plain success.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import queue
import ssl
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPException, IncompleteRead
from typing import Any
from urllib.parse import urlsplit

from botocore.awsrequest import AWSPreparedRequest
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError, SSLError
from botocore.utils import percent_encode

from .answers import OK, Parsers, read
from .limited_http import LONGEST_DATA_ANSWER, LimitedDataResponse

OPERATIONS = frozenset({"DeleteConnection", "GetConnection"})
_ALGORITHM = "AWS4-HMAC-SHA256"
_NO_BODY = hashlib.sha256(b"").hexdigest()
# Headers that differ from request to request; all others are sent as botocore sends them.
_VARYING = {"authorization", "x-amz-date", "x-amz-security-token", "amz-sdk-invocation-id", "host"}
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}

# Status, headers (whatever their names' case) and body.
Answer = tuple[int, Any, bytes]


@dataclass(frozen=True, slots=True)
class Pattern:
    """What the requests of one operation have in common.

    Attributes:
        endpoint: scheme, host and path before `/connections/`; prefix: that path.
        host: as signed, without a default port.
        scope: AWS Region and service name of the signature, such as `us-east-1/iotdata`.
        headers: those that do not vary.
    """

    method: str
    endpoint: str
    prefix: str
    host: str
    scope: str
    headers: Mapping[str, str]

    def prepare(self, parameters: Mapping[str, Any], credentials: Any, stamp: str) -> AWSPreparedRequest:
        """Make and sign a request.

        Args:
            credentials: botocore's frozen ones.
            stamp: time in UTC, as `20150830T123600Z`.
        """
        encoded = percent_encode(parameters["clientId"])
        query = [f"{name}={str(value).lower()}" for name, value in parameters.items() if name != "clientId"]
        headers = {**self.headers, "host": self.host, "X-Amz-Date": stamp, "amz-sdk-invocation-id": str(uuid.uuid4())}
        if credentials.token:
            headers["X-Amz-Security-Token"] = credentials.token
        headers["Authorization"] = self._authorization(encoded, query, credentials, stamp)
        tail = f"?{'&'.join(query)}" if query else ""
        return AWSPreparedRequest(self.method, f"{self.endpoint}/connections/{encoded}{tail}", headers, None, False)

    def _authorization(self, encoded: str, query: list[str], credentials: Any, stamp: str) -> str:
        """Sign as https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html says.

        The percent-encoded path is encoded once more, as for every service except S3.
        """
        token, names = credentials.token, "host;x-amz-date"
        signed = f"host:{self.host}\nx-amz-date:{stamp}\n"
        if token:
            signed, names = f"{signed}x-amz-security-token:{token}\n", f"{names};x-amz-security-token"
        path = f"{self.prefix}/connections/{encoded.replace('%', '%25')}"
        canonical = f"{self.method}\n{path}\n{'&'.join(sorted(query))}\n{signed}\n{names}\n{_NO_BODY}"
        scope = f"{stamp[:8]}/{self.scope}/aws4_request"
        text = f"{_ALGORITHM}\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        key = _signing_key(credentials.secret_key, scope)
        signature = hmac.digest(key, text.encode(), "sha256").hex()
        return f"{_ALGORITHM} Credential={credentials.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"


@functools.lru_cache(maxsize=16)
def _signing_key(secret: str, scope: str) -> bytes:
    """The same for a day, a region and a service."""
    return functools.reduce(
        lambda key, part: hmac.digest(key, part.encode(), "sha256"), scope.split("/"), f"AWS4{secret}".encode()
    )


def learn(request: AWSPreparedRequest, parameters: Mapping[str, Any], credentials: Any) -> Pattern | None:
    """Return the pattern of a request that botocore made; None where ours would not be identical."""
    headers = {name: _text(value) for name, value in request.headers.items()}
    given = {name.lower(): value for name, value in headers.items()}
    authorization, stamp = given.get("authorization", ""), given.get("x-amz-date", "")
    url = urlsplit(request.url)
    path, found, _ = url.path.rpartition("/connections/")
    scope = authorization.partition("Credential=")[2].partition(",")[0].split("/")[-3:-1]
    if not found or request.body:
        return None
    endpoint = f"{url.scheme}://{url.netloc}{path}"
    host = url.netloc.removesuffix(_DEFAULT_PORTS.get(url.scheme, " "))
    varying = {name: value for name, value in headers.items() if name.lower() not in _VARYING}
    pattern = Pattern(request.method, endpoint, path, host, "/".join(scope), varying)
    ours = pattern.prepare(parameters, credentials, stamp)
    same = (
        ours.url == request.url
        and ours.headers["Authorization"] == authorization
        and ours.headers.get("X-Amz-Security-Token") == given.get("x-amz-security-token")
        and given.get("host", host) == host
    )
    return pattern if same else None


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


class DataPlane:
    """Sends the requests of one `iot-data` client of boto3; thread-safe.

    Args:
        client: must not retry.
        credentials: the session's.
    """

    def __init__(self, client: Any, credentials: Any) -> None:
        self._client = client
        self._credentials = credentials
        self._patterns: dict[str, Pattern | None] = {}
        self._made = threading.local()
        self._wire: Wire | None = None
        service = client.meta.service_model
        self._parser = Parsers().create_parser(service.resolved_protocol)
        self._shapes = {
            operation: service.operation_model(operation).output_shape
            for operation in OPERATIONS.intersection(service.operation_names)
        }
        client.meta.events.register("before-send", self._note)

    def call(self, operation: str, by_boto3: Callable[..., dict[str, Any]], **parameters: Any) -> dict[str, Any]:
        """Send one request of OPERATIONS and return its answer.

        Args:
            by_boto3: boto3's method of this operation.

        Raises:
            ClientError, BotoCoreError: as boto3 does.
        """
        pattern = self._patterns.get(operation) if _ordinary(parameters) else None
        if pattern is None or self._wire is None:
            return self._by_boto3(operation, by_boto3, parameters)
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        request = pattern.prepare(parameters, self._credentials.get_frozen_credentials(), stamp)
        return self._read(operation, *self._wire.send(request))

    def _by_boto3(
        self, operation: str, by_boto3: Callable[..., dict[str, Any]], parameters: dict[str, Any]
    ) -> dict[str, Any]:
        if self._credentials is None or not _ordinary(parameters):
            return by_boto3(**parameters)
        credentials = self._credentials.get_frozen_credentials()
        self._made.request = None
        try:
            return by_boto3(**parameters)
        finally:
            if self._made.request is not None:
                self._patterns[operation] = learn(self._made.request, parameters, credentials)
                self._wire = self._wire or Wire.of(self._client, self._made.request.url)

    def _note(self, request: AWSPreparedRequest, **_: object) -> None:
        self._made.request = request

    def _read(self, operation: str, status: int, headers: Any, body: bytes) -> dict[str, Any]:
        shape = self._shapes[operation]
        if status == OK:
            return read(body, shape)
        response = {"status_code": status, "headers": headers, "body": body, "context": {"operation_name": operation}}
        parsed = self._parser.parse(response, shape)
        if status >= 300:
            parsed["ResponseMetadata"] |= {"RetryAttempts": 0, "MaxAttemptsReached": True}
            raise ClientError(parsed, operation)
        return parsed


def _ordinary(parameters: Mapping[str, Any]) -> bool:
    """Whether a request can be made without botocore's validation, and its path is not normalised."""
    client_id = parameters.get("clientId")
    if not isinstance(client_id, str) or client_id in ("", ".", ".."):
        return False
    return all(isinstance(value, bool) for name, value in parameters.items() if name != "clientId")


class Wire:
    """Sends requests over the connections that botocore's HTTP session has opened.

    Args:
        http: the session (botocore's URLLib3Session), which opens connections and explains their errors.
        pool: urllib3's pool of connections to the endpoint; None where the session sends everything.
    """

    def __init__(self, http: Any, pool: Any) -> None:
        self._http = http
        self._pool = pool

    @classmethod
    def of(cls, client: Any, url: str) -> Wire | None:
        """The wire of a boto3 client; None where this botocore lacks the attributes for it."""
        try:
            http = client._endpoint.http_session
            # A proxy may need the whole URL and credentials.
            proxied = http._proxy_config.proxy_url_for(url)
            pool = http._manager.connection_from_url(url)
            # urllib3 1 cannot tell whether a connection is still open.
            usable = not proxied and hasattr(pool.ConnectionCls, "is_connected")
            return cls(http, pool if usable else None)
        except AttributeError:
            return None

    def send(self, request: AWSPreparedRequest) -> Answer:
        """Send a request and return status, headers and body.

        Raises:
            BotoCoreError: no answer, or one that is too long.
        """
        connection = self._idle()
        if connection is None:
            answer = self._http.send(request)
            return answer.status_code, answer.headers, answer.content
        done = False
        try:
            found, done = _exchange(connection, request)
        except TimeoutError as error:
            raise ReadTimeoutError(endpoint_url=request.url, error=error) from error
        except ssl.SSLError as error:
            raise SSLError(endpoint_url=request.url, error=error) from error
        except (OSError, HTTPException) as error:
            raise ConnectionClosedError(endpoint_url=request.url, request=request, error=error) from error
        finally:
            # The rest of an answer on the connection would be read as the next one.
            if not done:
                connection.close()
            self._put(connection)
        return found

    def _idle(self) -> Any:
        """An open connection that is not in use; None where there is none."""
        if self._pool is None:
            return None
        try:
            connection = self._pool.pool.get_nowait()
        except queue.Empty:
            return None
        if connection is not None and connection.is_connected:
            return connection
        if connection is not None:
            connection.close()
        self._put(connection)
        return None

    def _put(self, connection: Any) -> None:
        try:
            self._pool.pool.put_nowait(connection)
        except queue.Full:
            if connection is not None:
                connection.close()


def _exchange(connection: Any, request: AWSPreparedRequest) -> tuple[Answer, bool]:
    """One request and its answer on an open connection; the flag says whether it can take another."""
    target = request.url.partition("://")[2].partition("/")[2]
    lines = [f"{request.method} /{target} HTTP/1.1", "Accept-Encoding: identity"]
    lines += [f"{name}: {value}" for name, value in request.headers.items()]
    connection.sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
    answer = LimitedDataResponse(connection.sock, method=request.method)
    answer.begin()
    # A chunk may claim any size, so the read is bounded.
    body = answer.read(LONGEST_DATA_ANSWER)
    if answer.length:
        raise IncompleteRead(body, answer.length)
    return (answer.status, answer.headers, body), answer.isclosed() and not answer.will_close
