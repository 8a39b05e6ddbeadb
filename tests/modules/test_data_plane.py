"""Requests that are made without boto3, over real sockets: the same answers, and the same errors, as with it."""

from __future__ import annotations

import select
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

import pytest
from ansible.module_utils.region_switch.aws import clients
from ansible.module_utils.region_switch.aws.clients import AwsClient, DataClient
from ansible.module_utils.region_switch.aws.data_plane import Wire
from ansible.module_utils.region_switch.aws.limited_http import LONGEST_DATA_ANSWER, LimitedResponse, limit
from ansible.module_utils.region_switch.model.errors import AwsError, SwitchError

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
    "an error that is a list": answer(400, "[1]"),
    "half": answer(200, '{"connected": true, "conn'),
    "nothing of it": answer(200, "{}"),
    "unsaid": answer(200, '{"connected": null, "clientId": "unsaid"}'),
    "yes": answer(200, '{"connected": "yes"}'),
    "not a number": answer(200, '{"connected": true, "connectedSince": NaN}'),
    "for ever": answer(200, '{"connected": true, "connectedSince": 1e999}'),
    "text": answer(200, '{"connected": true, "connectedSince": "1"}'),
    "many digits": answer(200, f'{{"connected": true, "connectedSince": {"9" * 100}}}'),
    "too many digits": answer(200, f'{{"connected": true, "connectedSince": {"9" * 5000}}}'),
    "deep": answer(200, '{"connected": ' + "[" * 5000),
    "half a character": answer(200, '{"connected": true, "clientId": "\\ud800"}'),
    "nothing to say": b"HTTP/1.1 204 X\r\n\r\n",
    "chunked": b'HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n12\r\n{"connected": true\r\n1\r\n}\r\n0\r\n\r\n',
    "last": answer(200, '{"connected": false}', "Connection: close"),
    "nonsense": b"nonsense\r\n\r\n",
    "cut off": b"HTTP/1.1 200 X\r\nContent-Length: 99\r\n\r\n{",
    "closed": b"",
    "silent": b"",
}
# What is sent again and again, after what.
ENDLESS = {
    "trickled headers": (b"HTTP/1.1 200 X\r\n", b"x"),
    "trickled body": (b"HTTP/1.1 200 X\r\nContent-Length: 50000\r\n\r\n", b"x"),
    "trickled chunks": (b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "trickled promises": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
}
LONG = {
    "long headers": b"HTTP/1.1 200 X\r\n" + b"".join(b"x-%d: %s\r\n" % (each, b"x" * 60_000) for each in range(90)),
    "long body": b"HTTP/1.1 200 X\r\n\r\n" + b"x" * 1_000_000,
    "long claim": b"HTTP/1.1 200 X\r\nContent-Length: 999999999999999999\r\n\r\nx",
    "long chunk": b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffff\r\n" + b"x" * 1_000_000,
    "long promises": b"HTTP/1.1 100 Continue\r\n\r\n" * 50_000,
    "long error": b"HTTP/1.1 500 X\r\n\r\n" + b"x" * 1_000_000,
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
            if client_id in ENDLESS or client_id in LONG:
                self.pour(client_id)
                return
            found = answer(200, f'{{"clientId": "{client_id}", "connected": true}}')
            self.wfile.write(ANSWERS.get(client_id, found))
            if client_id in ("last", "nonsense", "cut off", "closed", "dropped"):
                return

    def pour(self, client_id: str) -> None:
        """Send what has no end, until the client has gone."""
        first, again = ENDLESS.get(client_id, (LONG.get(client_id, b""), b""))
        with suppress(OSError):
            self.wfile.write(first)
            while not self.server.over.wait(TIMEOUT / 10) and not self.gone():
                self.wfile.write(again)

    def gone(self) -> bool:
        ready, _, _ = select.select([self.request], [], [], 0)
        return bool(ready) and self.request.recv(1, socket.MSG_PEEK) == b""

    def finish(self) -> None:
        with suppress(OSError):
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
        patch.setattr(clients, "READ_TIMEOUT", TIMEOUT)
        clients._session.cache_clear()
        yield found
        clients._session.cache_clear()


@pytest.fixture
def server(started: Server) -> Server:
    started.requests.clear()
    started.connections = 0
    return started


@pytest.fixture
def new_session(server: Server) -> Iterator[None]:
    """A session of its own, for a test with another environment."""
    clients._session.cache_clear()
    yield
    clients._session.cache_clear()


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
@pytest.mark.parametrize("client_id", [*(name for name in ANSWERS if name != "cut off"), *ENDLESS, "a/b c#d+e"])
def test_answers_and_errors_are_those_of_boto3(
    both: tuple[AwsClient, AwsClient], server: Server, client_id: str, call: Callable[..., dict[str, Any]]
) -> None:
    theirs, ours = both
    expected = outcome(call, theirs, client_id)
    get(ours, "there is a connection")
    before = server.connections

    found = outcome(call, ours, client_id)

    assert server.connections == before
    # DeleteConnection has no answer: what stands in one is not looked at, if it is JSON at all.
    assert found == expected or (call is delete and expected == {} and isinstance(found, dict))
    # What is wrong with a connection does not outlive it.
    assert outcome(get, ours, "next") == {"clientId": "next", "connected": True}


UNREADABLE = ["empty", "no json", "a list", "half", "nothing of it", "unsaid", "yes", "not a number", "for ever",
              "text", "many digits", "too many digits", "deep", "half a character", "nothing to say"]  # fmt: skip


@pytest.mark.parametrize("client_id", UNREADABLE)
def test_answer_that_is_none_of_get_connection_is_an_error(
    both: tuple[AwsClient, AwsClient], server: Server, client_id: str
) -> None:
    for client in both:
        with pytest.raises(AwsError, match="GetConnection in us-east-1: found Unreadable") as failed:
            get(client, client_id)

        assert failed.value.temporary
        assert not failed.value.not_found


@pytest.mark.parametrize("client_id", ["no json", "a list", "half"])
def test_answer_that_is_none_of_delete_connection_is_an_error(
    both: tuple[AwsClient, AwsClient], server: Server, client_id: str
) -> None:
    for client in both:
        with pytest.raises(AwsError, match="DeleteConnection in us-east-1: found Unreadable"):
            delete(client, client_id)


@pytest.mark.parametrize("client_id", ENDLESS)
def test_answer_that_trickles_ends(both: tuple[AwsClient, AwsClient], server: Server, client_id: str) -> None:
    for client in both:
        with pytest.raises(AwsError, match=r"found NoAnswer \(Read timeout\)"):
            get(client, client_id)


@pytest.mark.parametrize("client_id", LONG)
def test_answer_that_is_too_long_is_not_kept(server: Server, client_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "READ_TIMEOUT", 30.0)
    monkeypatch.setattr(LimitedResponse, "longest", 100_000)
    ours, first = ready(), DataClient(REGION)

    for client, longest in ((ours, LONGEST_DATA_ANSWER), (first, LONGEST_DATA_ANSWER), (by_boto3(), 100_000)):
        with pytest.raises(AwsError, match=rf"found Unreadable \(an answer of more than {longest} bytes"):
            get(client, client_id)
    assert get(ours, "next") == {"clientId": "next", "connected": True}


def test_handshake_that_trickles_ends(new_session: None, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes of a TLS record that never becomes whole."""
    over = threading.Event()

    def trickle() -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            connection.sendall(b"\x16\x03\x03\x40\x00")
            while not over.wait(TIMEOUT / 10):
                connection.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=trickle)
        thread.start()
        monkeypatch.setattr(clients, "CONNECT_TIMEOUT", TIMEOUT)
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"https://127.0.0.1:{listener.getsockname()[1]}")
        try:
            with pytest.raises(AwsError, match="found NoAnswer"):
                get(by_boto3(), "a")
        finally:
            over.set()
            thread.join()


def test_proxy_that_trickles_ends(new_session: None, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.url)
    monkeypatch.setenv("AWS_ENDPOINT_URL_IOT_DATA_PLANE", "http://iot.invalid")

    with pytest.raises(AwsError, match=r"found NoAnswer \(Read timeout"):
        get(DataClient(REGION), "trickled body")


def test_botocore_that_opens_connections_in_another_way_is_refused() -> None:
    with pytest.raises(
        SwitchError, match=r"boto3: version .* does not let answers be limited .*: install requirements.txt"
    ):
        limit(SimpleNamespace(_endpoint=SimpleNamespace(http_session=object())), LimitedResponse)


def test_answer_cut_off_is_said_in_one_line(server: Server) -> None:
    client = ready()

    with pytest.raises(AwsError, match="found NoAnswer"):
        get(client, "cut off")

    assert get(client, "next") == {"clientId": "next", "connected": True}


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

    assert get(client, "next")["clientId"] == "next"


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
    credentials = clients._session().get_credentials()
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

    assert get(client, "a")["clientId"] == "a"

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


def test_no_credentials_are_said_as_such(new_session: None, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")

    with pytest.raises(AwsError, match=r"^AWS credentials: found none"):
        get(DataClient(REGION), "a")
