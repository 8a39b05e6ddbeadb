"""Requests that are made without boto3, over real sockets: the same answers, and the same errors, as with it."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

import pytest
from ansible.module_utils.region_switch import aws
from ansible.module_utils.region_switch.aws import AwsClient, DataClient
from ansible.module_utils.region_switch.data_plane import Wire
from ansible.module_utils.region_switch.errors import AwsError

REGION = "us-east-1"
TIMEOUT = 0.4


def answer(status: int, body: str, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", *headers, f"Content-Length: {len(body.encode())}"]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


def error(status: int, code: str, message: str) -> bytes:
    return answer(status, f'{{"message": "{message}"}}', f"x-amzn-ErrorType: {code}:http://internal.amazon.com/")


ANSWERS = {
    "empty": answer(200, ""),
    "gone": error(404, "ResourceNotFoundException", "No such connection."),
    "denied": error(403, "ForbiddenException", "not authorized"),
    "late clock": error(403, "InvalidSignatureException", "Signature expired: 20260101T000000Z is now earlier than"),
    "throttled": error(429, "ThrottlingException", "Rate exceeded"),
    "broken": error(500, "InternalFailureException", "sorry"),
    "unavailable": answer(503, "<html><body>Service Unavailable</body></html>", "Content-Type: text/html"),
    "gateway": answer(502, ""),
    "wordless": answer(400, "{}"),
    "code in the body": answer(400, '{"__type": "InvalidRequestException", "Message": "no"}'),
    "odd": answer(418, "tea"),
    "moved": answer(301, "", "Location: http://192.0.2.1/"),
    "no json": answer(200, "<html>"),
    "a list": answer(200, "[1]"),
    "nothing to say": b"HTTP/1.1 204 X\r\n\r\n",
    "chunked": b'HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n12\r\n{"connected": true\r\n1\r\n}\r\n0\r\n\r\n',
    "last": answer(200, '{"connected": false}', "Connection: close"),
    "nonsense": b"nonsense\r\n\r\n",
    "cut off": b"HTTP/1.1 200 X\r\nContent-Length: 99\r\n\r\n{",
    "closed": b"",
    "silent": b"",
}


class Server(socketserver.ThreadingTCPServer):
    """Answers a request by what client it names."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.connections = 0
        self.over = threading.Event()
        self.closed = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(socketserver.StreamRequestHandler):
    server: Server

    def handle(self) -> None:
        self.server.connections += 1
        while line := self.rfile.readline().decode():
            headers = {}
            while entry := self.rfile.readline().decode().strip():
                name, _, value = entry.partition(": ")
                headers[name.lower()] = value
            self.server.requests.append((line.strip(), headers))
            client_id = unquote(line.split()[1].partition("/connections/")[2].partition("?")[0])
            if client_id == "silent":
                self.server.over.wait()
                return
            self.wfile.write(ANSWERS.get(client_id, answer(200, f'{{"clientId": "{client_id}"}}')))
            if client_id in ("last", "nonsense", "cut off", "closed", "dropped"):
                return

    def finish(self) -> None:
        super().finish()
        self.request.close()
        self.server.closed.set()


@contextmanager
def serving() -> Iterator[Server]:
    with Server() as found:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield found
        found.over.set()
        found.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def started() -> Iterator[Server]:
    with serving() as found, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", found.url)
        patch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setattr(aws, "READ_TIMEOUT", TIMEOUT)
        aws._session.cache_clear()
        yield found
        aws._session.cache_clear()


@pytest.fixture
def server(started: Server) -> Server:
    started.requests.clear()
    started.connections = 0
    return started


@pytest.fixture
def new_session(server: Server) -> Iterator[None]:
    """A session of its own, for a test with another environment."""
    aws._session.cache_clear()
    yield
    aws._session.cache_clear()


def ready() -> DataClient:
    """A client that has learnt, and has a connection."""
    client = DataClient(REGION)
    client.call("GetConnection", clientId="first")
    delete(client, "first")
    return client


def delete(client: AwsClient, client_id: str) -> dict[str, Any]:
    return client.call("DeleteConnection", clientId=client_id, cleanSession=False, preventWillMessage=True)


def get(client: AwsClient, client_id: str) -> dict[str, Any]:
    return client.call("GetConnection", clientId=client_id)


def outcome(call: Callable[[AwsClient, str], dict[str, Any]], client: AwsClient, client_id: str) -> object:
    """What the engine learns: the answer, or everything of the error."""
    try:
        found = call(client, client_id)
    except AwsError as failed:
        return failed.operation, failed.region, failed.code, failed.status, failed.text, str(failed)
    return {name: value for name, value in found.items() if name != "ResponseMetadata"}


def by_boto3() -> AwsClient:
    return AwsClient("iot-data", REGION, attempts=1)


def refuse_boto3(monkeypatch: pytest.MonkeyPatch, client: AwsClient) -> None:
    def made(**_: object) -> None:
        raise AssertionError("boto3 was asked")

    monkeypatch.setattr(client._client, "get_connection", made)
    monkeypatch.setattr(client._client, "delete_connection", made)


@pytest.fixture(scope="module")
def both(started: Server) -> Iterator[tuple[AwsClient, AwsClient]]:
    """One client that asks boto3, and one that must not any more."""
    theirs, ours = by_boto3(), ready()
    with pytest.MonkeyPatch.context() as patch:
        refuse_boto3(patch, ours)
        yield theirs, ours


@pytest.mark.parametrize("call", [delete, get])
@pytest.mark.parametrize("client_id", [*(name for name in ANSWERS if name not in ("cut off", "a list")), "a/b c#d+e"])
def test_answers_and_errors_are_those_of_boto3(
    both: tuple[AwsClient, AwsClient], server: Server, client_id: str, call: Callable[..., dict[str, Any]]
) -> None:
    theirs, ours = both
    expected = outcome(call, theirs, client_id)
    get(ours, "there is a connection")
    before = server.connections

    found = outcome(call, ours, client_id)

    assert server.connections == before
    # DeleteConnection has no answer: what stands in one is not looked at.
    assert found == expected or (call is delete and expected == {} and isinstance(found, dict))
    # What is wrong with a connection does not outlive it.
    assert outcome(get, ours, "next") == {"clientId": "next"}


@pytest.mark.parametrize("client_id", ["cut off", "a list"])
def test_answer_that_is_none_is_said_in_one_line(server: Server, client_id: str) -> None:
    client = ready()

    with pytest.raises(AwsError, match="found NoAnswer"):
        get(client, client_id)

    assert get(client, "next") == {"clientId": "next"}


def test_requests_on_the_wire_are_those_of_boto3(server: Server) -> None:
    client = ready()
    for asked in (by_boto3(), client):
        delete(asked, "a/b c#d+e")
        get(asked, "機器")
    kept = [
        (line, {name: value for name, value in headers.items() if name not in ("x-amz-date", "authorization")})
        for line, headers in server.requests[-4:]
    ]
    for _, headers in kept:
        assert headers.pop("amz-sdk-invocation-id")
        # Which of its own parts botocore has used by then.
        headers["user-agent"] = headers["user-agent"].partition(" m/")[0]

    assert kept[:2] == kept[2:]


def test_one_connection_serves_many_requests(server: Server) -> None:
    client = ready()
    for number in range(20):
        delete(client, str(number))

    assert server.connections == 1


def test_each_thread_gets_the_answer_to_its_own_request(server: Server) -> None:
    client = ready()
    names = [f"client {number}" for number in range(400)]

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda name: get(client, name), names))

    assert [each["clientId"] for each in answers] == names
    assert server.connections <= 16 + 1


def test_connection_that_the_server_dropped_is_made_anew(server: Server) -> None:
    client = ready()
    server.closed.clear()
    get(client, "dropped")
    assert server.closed.wait(10)

    assert get(client, "next") == {"clientId": "next"}


def test_refused_connection_is_said_as_boto3_does(
    new_session: None, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving() as own:
        monkeypatch.setenv("AWS_ENDPOINT_URL", own.url)
        client, theirs = ready(), by_boto3()
        get(client, "dropped")
        assert own.closed.wait(10)
    refuse_boto3(monkeypatch, client)

    refused = outcome(get, client, "a")

    assert refused == outcome(get, theirs, "a")
    assert "Could not connect" in str(refused)


def test_credentials_are_asked_for_each_request(new_session: None, server: Server) -> None:
    client = ready()
    credentials = aws._session().get_credentials()
    credentials.access_key, credentials.token = "AKIDNEXT", "token"

    delete(client, "a")

    _, headers = server.requests[-1]
    assert "Credential=AKIDNEXT/" in headers["authorization"]
    assert headers["x-amz-security-token"] == "token"


def test_proxy_is_asked_as_boto3_asks_it(new_session: None, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.url)
    monkeypatch.setenv("AWS_ENDPOINT_URL_IOT_DATA_PLANE", "http://iot.invalid")
    client = ready()
    refuse_boto3(monkeypatch, client)

    assert get(client, "a") == {"clientId": "a"}

    assert server.requests[-1][0] == "GET http://iot.invalid/connections/a HTTP/1.1"


def test_botocore_of_another_make_does_everything(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Wire, "of", classmethod(lambda *_: None))
    client = ready()
    monkeypatch.setattr(Wire, "send", lambda *_: pytest.fail("sent without botocore"))

    assert get(client, "a")["clientId"] == "a"


def test_connections_of_another_urllib3_are_left_to_botocore() -> None:
    pool = SimpleNamespace(ConnectionCls=object)
    http = SimpleNamespace(
        _proxy_config=SimpleNamespace(proxy_url_for=lambda _: None),
        _manager=SimpleNamespace(connection_from_url=lambda _: pool),
    )

    wire = Wire.of(SimpleNamespace(_endpoint=SimpleNamespace(http_session=http)), "http://192.0.2.1/")

    assert wire is not None
    assert wire._idle() is None
    assert Wire.of(SimpleNamespace(), "http://192.0.2.1/") is None


def test_no_credentials_are_said_as_boto3_does(
    new_session: None, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")

    with pytest.raises(AwsError, match="Unable to locate credentials"):
        get(DataClient(REGION), "a")
