"""Messages from other programs: what is taken, what is refused and how, and that nobody waits for anybody."""

from __future__ import annotations

import base64
import json
import os
import queue
import selectors
import socket
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from mqtt_fleet.outbox import Message, payload
from mqtt_fleet.sources import unix_socket
from mqtt_fleet.sources.heartbeat import Heartbeat
from mqtt_fleet.sources.standard_input import LINE_BYTES as STDIN_LINE_BYTES
from mqtt_fleet.sources.standard_input import StandardInput
from mqtt_fleet.sources.submission import (
    DATA_BYTES,
    PUBLISH_BYTES,
    InvalidMessageError,
    Refused,
    Rejected,
    Stored,
    Submission,
    check_topic,
    parse,
)
from mqtt_fleet.sources.unix_socket import LINE_BYTES, MOST_ANSWER_BYTES, MOST_CONNECTIONS, UnixSocket

from .conditions import TIMEOUT, wait_until

TOPIC = "fleet/client_01/messages"


@pytest.mark.parametrize(
    ("request_line", "data", "topic"),
    [
        ({"data": "hello"}, "hello", None),
        ({"data": ""}, "", None),
        ({"data": "é\n\u0000"}, "é\n\0", None),
        ({"data_base64": "/w=="}, b"\xff", None),
        ({"data": "x", "topic": "température"}, "x", "température"),
        ({"data": "x", "topic": None}, "x", None),
    ],
)
def test_request_is_read(request_line: dict[str, object], data: object, topic: str | None) -> None:
    assert parse(json.dumps(request_line).encode(), TOPIC) == (data, topic)


@pytest.mark.parametrize(
    ("line", "reason", "text"),
    [
        (b"", "malformed", "is not JSON"),
        (b"{", "malformed", "is not JSON"),
        (b"\xff\xfe", "malformed", "is not JSON"),
        (b"[" * 100_000, "malformed", "is not JSON"),
        (b"[1]", "malformed", "found list"),
        (b"{}", "malformed", "either data or data_base64"),
        (b'{"data": "x", "data_base64": "eA=="}', "malformed", "either data or data_base64"),
        (b'{"data": 7}', "malformed", "data: found int"),
        (b'{"data": null}', "malformed", "data: found NoneType"),
        (b'{"data": "\\ud800"}', "malformed", "data: found half of a surrogate pair"),
        (b'{"data_base64": "eA"}', "malformed", "data_base64: "),
        (b'{"data_base64": "e A="}', "malformed", "data_base64: "),
        (b'{"data_base64": "\\u00e9"}', "malformed", "data_base64: "),
        (b'{"data": "x", "qos": 2}', "malformed", "found key 'qos'"),
        (b'{"data": "x", "topic": "a/b"}', "topic", "topic: found 'a/b'"),
        (b'{"data": "x", "topic": "+"}', "topic", "topic: found '+'"),
        (b'{"data": "x", "topic": "a#"}', "topic", "topic: found 'a#'"),
        (b'{"data": "x", "topic": ""}', "topic", "topic: found ''"),
        (b'{"data": "x", "topic": "a\\u0000"}', "topic", "topic: found"),
        (b'{"data": "x", "topic": "temperature\\r"}', "topic", "topic: found U+000D, for which brokers close"),
        (b'{"data": "x", "topic": "\\u001b[0m"}', "topic", "topic: found U+001B"),
        (b'{"data": "x", "topic": "a\\u0085"}', "topic", "topic: found U+0085"),
        (b'{"data": "x", "topic": "a\\ufffe"}', "topic", "topic: found U+FFFE"),
        (b'{"data": "x", "topic": "\\ufdd0"}', "topic", "topic: found U+FDD0"),
        (b'{"data": "x", "topic": "\\ud83f\\udfff"}', "topic", "topic: found U+1FFFF"),
        (b'{"data": "x", "topic": "\\ud800"}', "malformed", "topic: found half of a surrogate pair"),
        (b'{"data": "x", "topic": 7}', "topic", "topic: found 7"),
        (b'{"data": "x", "topic": "' + b"t" * 240 + b'"}', "topic", "topic: found 265 bytes"),
        (b'{"data": "' + b"x" * DATA_BYTES + b'"}', "oversized", f"found {DATA_BYTES + 2} bytes"),
        (b'{"data_base64": "' + b"AAAA" * (DATA_BYTES // 4 + 1) + b'"}', "oversized", f"found {DATA_BYTES + 4} bytes"),
    ],
)
def test_invalid_request_is_refused_in_one_line(line: bytes, reason: str, text: str) -> None:
    with pytest.raises(InvalidMessageError) as refusal:
        parse(line, TOPIC)
    assert refusal.value.reason == reason
    assert text in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "data", ["x" * (DATA_BYTES - 2), "\x01" * ((DATA_BYTES - 2) // 6), "é" * (DATA_BYTES // 2 - 1)]
)
def test_largest_message_fits_into_a_publish(data: str) -> None:
    topic = "t" * 20
    parse(json.dumps({"data": data, "topic": topic}, ensure_ascii=False).encode(), f"fleet/{'c' * 128}/messages")
    dropped = [(10**15 + number, 10**15 + number) for number in range(20)]
    body = payload("c" * 128, "5" * 16, Message(10**15, 1e10 / 3, data, topic), dropped)
    assert len(body) + 256 + 16 <= PUBLISH_BYTES
    encoded = base64.b64encode(b"x" * (DATA_BYTES // 4 * 3)).decode()
    assert len(encoded) == DATA_BYTES
    parse(json.dumps({"data_base64": encoded}).encode(), TOPIC)


def test_heartbeat_keeps_its_pace_and_makes_up_for_nothing() -> None:
    heartbeat = Heartbeat(10.0, now=100.0)
    assert heartbeat.due(100.0)
    assert not heartbeat.due(109.9)
    # Late by a little: the next is where it would have been.
    assert heartbeat.due(111.0)
    assert heartbeat.next == 120.0
    assert heartbeat.due(500.0)
    assert heartbeat.next == 510.0
    assert not Heartbeat(0, now=100.0).due(1e12)


class Recipient:
    """Numbers what is handed over, from a thread of its own, as the client does."""

    def __init__(self) -> None:
        self.items: queue.SimpleQueue[Submission | Rejected | None] = queue.SimpleQueue()
        self.stored: list[Submission] = []
        self.rejected: list[Rejected] = []
        self.refuse_next = 0
        self.source: UnixSocket | None = None
        self.working = threading.Event()
        self.working.set()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        while item := self.items.get():
            self.working.wait()
            if isinstance(item, Rejected):
                self.rejected.append(item)
            elif self.refuse_next or (item.batch and item.batch.refused):
                self.refuse_next = max(0, self.refuse_next - 1)
                if item.batch:
                    item.batch.refused = True
                item.answer(Refused("full", "not stored: full"))
            else:
                self.stored.append(item)
                item.answer(Stored(len(self.stored)))
            if self.source:
                self.source.flush()

    def stop(self) -> None:
        self.items.put(None)
        self.thread.join(TIMEOUT)


@pytest.fixture
def recipient() -> Iterator[Recipient]:
    recipient = Recipient()
    yield recipient
    recipient.working.set()
    recipient.stop()


@pytest.fixture
def source(tmp_path: Path, recipient: Recipient) -> Iterator[UnixSocket]:
    source = UnixSocket(tmp_path / "s", 0o600, TOPIC, recipient.items.put)
    recipient.source = source
    source.start()
    wait_until(lambda: connects(tmp_path / "s"))
    yield source
    source.stop()


def connects(path: Path) -> bool:
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(path))
    except OSError:
        return False
    return True


class Producer:
    """A program on the device."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        # Waits while the listener's queue is full, which a socket with a timeout does not.
        self.socket.connect(str(path))
        self.socket.settimeout(TIMEOUT)
        self.reader = self.socket.makefile("rb")

    def send(self, *requests: dict[str, object]) -> None:
        self.socket.sendall(b"".join(json.dumps(request).encode() + b"\n" for request in requests))

    def answer(self) -> dict[str, object]:
        answer: dict[str, object] = json.loads(self.reader.readline())
        return answer

    def close(self) -> None:
        self.reader.close()
        self.socket.close()


@pytest.fixture
def producer(source: UnixSocket, tmp_path: Path) -> Iterator[Producer]:
    producer = Producer(tmp_path / "s")
    yield producer
    producer.close()


def test_each_request_is_answered_in_order(producer: Producer, recipient: Recipient) -> None:
    producer.send({"data": "a"}, {"data": "b", "topic": "x/y"}, {"data_base64": "/w==", "topic": "t"})
    answers = [producer.answer() for _ in range(3)]
    assert answers[0] == {"sequence": 1}
    assert "topic: found 'x/y'" in str(answers[1]["error"])
    assert answers[2] == {"sequence": 2}
    assert [(item.data, item.topic) for item in recipient.stored] == [("a", None), (b"\xff", "t")]
    assert [(item.source, item.reason) for item in recipient.rejected] == [("socket", "topic")]


def test_refusal_is_answered_and_the_connection_goes_on(producer: Producer, recipient: Recipient) -> None:
    recipient.refuse_next = 1
    producer.send({"data": "a"}, {"data": "b"})
    assert producer.answer() == {"error": "not stored: full"}
    assert producer.answer() == {"sequence": 1}


@pytest.mark.parametrize("pieces", [1, 7])
def test_line_that_is_too_long_is_refused_and_passed_over(producer: Producer, pieces: int) -> None:
    line = b'{"data": "' + b"x" * (2 * LINE_BYTES) + b'"}\n{"data": "after"}\n'
    size = len(line) // pieces + 1
    for begin in range(0, len(line), size):
        producer.socket.sendall(line[begin : begin + size])
    assert "more than" in str(producer.answer()["error"])
    assert producer.answer() == {"sequence": 1}


def test_half_a_line_at_the_end_is_no_message(producer: Producer, recipient: Recipient) -> None:
    producer.socket.sendall(b'{"data": "whole"}\n{"data": "12"}')
    producer.socket.shutdown(socket.SHUT_WR)
    assert producer.answer() == {"sequence": 1}
    assert producer.answer() == {"error": "the last line has no end"}
    assert producer.reader.readline() == b""
    assert [item.data for item in recipient.stored] == ["whole"]


def test_producer_that_does_not_read_holds_up_nobody(source: UnixSocket, tmp_path: Path, recipient: Recipient) -> None:
    slow, other = Producer(tmp_path / "s"), Producer(tmp_path / "s")
    slow.socket.settimeout(0.2)
    # Until the socket takes no more of it: its answers fill what may wait for it.
    sent, chunk = 0, json.dumps({"data": "x" * 20}).encode() + b"\n"
    with pytest.raises(TimeoutError):
        while True:
            sent += slow.socket.send(chunk * 500)
    other.send({"data": "hello"})
    assert set(other.answer()) == {"sequence"}
    # Once it reads, every one of its requests is answered.
    whole = sent // len(chunk)
    slow.socket.settimeout(TIMEOUT)
    numbers = [slow.answer()["sequence"] for _ in range(whole)]
    assert numbers == sorted(numbers)  # type: ignore[type-var]
    for each in (slow, other):
        each.close()


def test_more_is_read_only_while_answers_are() -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        producer = unix_socket.Producer(connection)
        producer.answers = b"x" * (MOST_ANSWER_BYTES - 1)
        assert producer.wants == selectors.EVENT_READ | selectors.EVENT_WRITE
        producer.answers += b"x"
        assert producer.wants == selectors.EVENT_WRITE


def test_what_waits_for_an_answer_is_bounded(source: UnixSocket, tmp_path: Path, recipient: Recipient) -> None:
    recipient.working.clear()
    producer = Producer(tmp_path / "s")
    producer.socket.settimeout(0.2)
    with pytest.raises(TimeoutError):
        while True:
            producer.socket.send(json.dumps({"data": "x"}).encode() + b"\n")
    # A thousand, and what was read along with the last of them.
    assert recipient.items.qsize() < 10_000
    producer.close()


def test_dead_producer_is_forgotten(source: UnixSocket, tmp_path: Path, recipient: Recipient) -> None:
    for number in range(1, 2 * MOST_CONNECTIONS + 1):
        dying = Producer(tmp_path / "s")
        dying.send({"data": "last words"})
        dying.close()
        if number % 50 == 0:
            wait_until(lambda number=number: len(recipient.stored) == number)
    living = Producer(tmp_path / "s")
    living.send({"data": "x"})
    assert living.answer() == {"sequence": 2 * MOST_CONNECTIONS + 1}
    living.close()


def test_connections_are_bounded(
    source: UnixSocket, tmp_path: Path, recipient: Recipient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unix_socket, "IDLE_SECONDS", 3600.0)
    producers = [Producer(tmp_path / "s") for _ in range(MOST_CONNECTIONS)]
    for each in producers:
        each.send({"data": "x"})
        each.answer()
    # Each of them has just handed over a message.
    refused = Producer(tmp_path / "s")
    assert "connections in use" in str(refused.answer()["error"])
    wait_until(lambda: [each.reason for each in recipient.rejected] == ["connections"])
    producers[0].close()
    wait_until(lambda: ask(tmp_path / "s") is not None)
    for each in (*producers, refused):
        each.close()


def test_idle_connections_make_room_the_longest_idle_first(
    source: UnixSocket, tmp_path: Path, recipient: Recipient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unix_socket, "IDLE_SECONDS", 3600.0)
    used = Producer(tmp_path / "s")
    used.send({"data": "used"})
    used.answer()
    idle = [Producer(tmp_path / "s") for _ in range(MOST_CONNECTIONS - 1)]
    # Half a message keeps no place, nor does what is none.
    idle[0].socket.sendall(b'{"data": "half')
    idle[1].send({"nothing": 1})
    idle[1].answer()
    newcomers = [Producer(tmp_path / "s") for _ in range(3)]
    for number, each in enumerate(newcomers):
        each.send({"data": "x"})
        assert each.answer() == {"sequence": 2 + number}
    # Told, and then the end: the program knows that its half was not stored.
    for each in idle[:3]:
        assert str(each.answer()["error"]).startswith("closed as idle")
        assert each.reader.readline() == b""
        with pytest.raises(BrokenPipeError):
            each.send({"data": "more"})
    used.send({"data": "still here"})
    assert used.answer() == {"sequence": 5}
    idle[3].send({"data": "still here"})
    assert idle[3].answer() == {"sequence": 6}
    assert [item.data for item in recipient.stored] == ["used", "x", "x", "x", "still here", "still here"]
    assert sorted(each.reason for each in recipient.rejected) == ["idle"] * 3 + ["malformed"]
    for each in (used, *idle, *newcomers):
        each.close()


def test_connection_that_said_something_just_now_is_not_taken_for_idle(
    source: UnixSocket, tmp_path: Path, recipient: Recipient, monkeypatch: pytest.MonkeyPatch
) -> None:
    producers = [Producer(tmp_path / "s") for _ in range(MOST_CONNECTIONS)]
    # All has been read but this, which comes while the newcomer is looked at.
    looked = unix_socket.longest_idle
    said = []

    def look(found: Iterable[unix_socket.Producer], now: float) -> unix_socket.Producer | None:
        if not said:
            said.append(producers[0].send({"data": "in time"}))
        return looked(found, now)

    monkeypatch.setattr(unix_socket, "longest_idle", look)
    newcomer = Producer(tmp_path / "s")
    assert producers[0].answer() == {"sequence": 1}
    assert str(producers[1].answer()["error"]).startswith("closed as idle")
    newcomer.send({"data": "x"})
    assert newcomer.answer() == {"sequence": 2}
    for each in (*producers, newcomer):
        each.close()


def test_in_use_is_who_waits_for_an_answer_or_has_handed_over_a_message_lately() -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        waiting, lately, long_ago, silent = (unix_socket.Producer(connection) for _ in range(4))
        waiting.slots.append(unix_socket.Slot(1))
        for each, used, used_at in ((lately, True, 90.5), (long_ago, True, 90.0), (silent, False, 99.0)):
            each.used, each.used_at = used, used_at
        assert unix_socket.longest_idle([waiting, lately], 100.0) is None
        assert unix_socket.longest_idle([waiting, lately, silent, long_ago], 100.0) is long_ago
        assert unix_socket.longest_idle([waiting, lately, silent], 100.0) is silent


@pytest.mark.parametrize(
    "request_line", [{"data": "x", "topic": "t/" * 100_000}, {"data": "x", "k" * 200_000: 1}, {"data": "x", "\x1b": 1}]
)
def test_what_is_wrong_is_shown_in_part_and_without_escapes(request_line: dict[str, object]) -> None:
    with pytest.raises(InvalidMessageError) as refusal:
        parse(json.dumps(request_line).encode(), TOPIC)
    assert len(str(refusal.value)) < 300
    assert str(refusal.value).isprintable()


def ask(path: Path) -> object:
    producer = Producer(path)
    try:
        producer.send({"data": "x"})
        return producer.answer().get("sequence")
    except OSError:
        return None
    finally:
        producer.close()


def test_socket_has_its_mode_and_goes_when_stopped(source: UnixSocket, tmp_path: Path) -> None:
    assert (tmp_path / "s").stat().st_mode & 0o777 == 0o600
    source.stop()
    assert not (tmp_path / "s").exists()


def test_socket_left_by_a_killed_process_is_replaced(tmp_path: Path, recipient: Recipient) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "s"))
    source = UnixSocket(tmp_path / "s", 0o600, TOPIC, recipient.items.put)
    source.start()
    wait_until(lambda: connects(tmp_path / "s"))
    source.stop()


def test_file_at_the_socket_is_left_alone_and_said(
    tmp_path: Path, recipient: Recipient, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "s").write_text("precious")
    source = UnixSocket(tmp_path / "s", 0o600, TOPIC, recipient.items.put)
    source.start()
    wait_until(lambda: "socket_unusable" in caplog.messages)
    assert source.is_alive()
    source.stop()
    assert (tmp_path / "s").read_text() == "precious"


class Pipe:
    """Standard input."""

    def __init__(self, recipient: Recipient) -> None:
        reading, self.writing = os.pipe()
        self.stream = os.fdopen(reading, "rb", buffering=0)
        self.source = StandardInput(self.stream, recipient.items.put)
        self.source.start()

    def write(self, content: bytes) -> None:
        while content:
            content = content[os.write(self.writing, content) :]


@pytest.fixture
def pipe(recipient: Recipient) -> Iterator[Pipe]:
    pipe = Pipe(recipient)
    yield pipe
    pipe.source.stop()
    os.close(pipe.writing)


def test_each_line_of_standard_input_is_a_message(pipe: Pipe, recipient: Recipient) -> None:
    pipe.write(b"one\n\ntw")
    pipe.write(b"\xc3\xa9\n\xff\n")
    wait_until(lambda: len(recipient.stored) == 4)
    assert [item.data for item in recipient.stored] == ["one", "", "twé", b"\xff"]


def test_standard_input_waits_for_a_full_outbox_and_keeps_order(
    pipe: Pipe, recipient: Recipient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mqtt_fleet.sources.standard_input.RETRY_SECONDS", 0.01)
    recipient.refuse_next = 3
    pipe.write(b"".join(b"%d\n" % number for number in range(100)))
    wait_until(lambda: len(recipient.stored) == 100)
    assert [item.data for item in recipient.stored] == [str(number) for number in range(100)]


def test_line_of_standard_input_that_is_too_long_is_passed_over(pipe: Pipe, recipient: Recipient) -> None:
    pipe.write(b"x" * (3 * STDIN_LINE_BYTES) + b"\nafter\n" + b'"' * DATA_BYTES + b"\nlast\n")
    wait_until(lambda: len(recipient.stored) == 2)
    assert [item.data for item in recipient.stored] == ["after", "last"]
    assert [item.reason for item in recipient.rejected] == ["oversized", "oversized"]


@pytest.mark.parametrize("client_id", ["device-1", "ä" * 64, "c" * 128])
def test_topic_is_measured_in_bytes_as_it_is_published(client_id: str) -> None:
    base = f"fleet/{client_id}/messages"
    room = 256 - len(f"{base}/".encode())
    letters, rest = divmod(room, 2)
    topic = "ä" * letters + "a" * rest
    assert check_topic(topic, base) == topic
    with pytest.raises(InvalidMessageError, match="found 257 bytes as published, expected at most 256"):
        check_topic(topic + "a", base)


@pytest.mark.parametrize("topic", ["a b", "$x", "\ufeffa", "😀", "\ufdcf", "\ufdf0", "\ufffd", "\xa0"])
def test_topic_that_brokers_take_is_taken(topic: str) -> None:
    assert check_topic(topic, "fleet/c/messages") == topic
