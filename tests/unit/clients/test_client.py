"""The client against a connection that the test plays: what is sent, kept, sent again, and when it connects."""

from __future__ import annotations

import itertools
import json
import math
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mqtt_fleet import client as client_module
from mqtt_fleet import delivery, link, move, notify, spool, subscription
from mqtt_fleet.attempt import ConnectError, Memory
from mqtt_fleet.client import WINDOW_VARIABLE, Client, execute_again
from mqtt_fleet.clock import Clock
from mqtt_fleet.config import Config
from mqtt_fleet.credentials import CredentialError
from mqtt_fleet.outbox import Outbox
from mqtt_fleet.reconnect import FIRST_WINDOW, ConnectRecord
from mqtt_fleet.resolve import Lookup
from mqtt_fleet.transport import (
    Acknowledged,
    Connected,
    Disconnected,
    Event,
    PublishRefused,
    Received,
    Report,
    Subscribed,
)

from .conditions import TIMEOUT, wait_until

CONNECTED = Connected(session_present=False, address="198.51.100.1:8883")
HERE = Lookup(("198.51.100.1",), "region-a.example.com")
ELSEWHERE = Lookup(("198.51.100.2",), "region-b.example.com")


class PlayedConnection:
    """Records what the client asks of it."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.tokens = itertools.count(1)
        self.published: dict[int, dict[str, Any]] = {}
        self.topics: list[str] = []
        self.subscribed: list[str] = []
        self.closed: list[float] = []
        self.acknowledging = False

    def publish(self, topic: str, payload: bytes) -> int:
        token = next(self.tokens)
        self.topics.append(topic)
        self.published[token] = json.loads(payload)
        if self.acknowledging:
            self.report(Acknowledged(token))
        return token

    def subscribe(self, topic: str) -> None:
        self.subscribed.append(topic)

    def traffic(self) -> None:
        pass

    def phase(self) -> str:
        return "mqtt1.example.com: TLS with 192.0.2.1:8883: no answer"

    def close(self, timeout: float = 0.0) -> None:
        self.closed.append(timeout)

    @property
    def sequences(self) -> list[int]:
        return [message["sequence"] for message in list(self.published.values())]


class Stage:
    """A client, the connections it asked for, and its files."""

    def __init__(self, path: Path, clock: Clock | None = None) -> None:
        self.path = path
        self.clock = clock
        self.connections: list[PlayedConnection] = []
        self.opened: list[float] = []
        self.config = Config(
            client_id="client_01",
            endpoint="mqtt1.example.com",
            library="paho",
            ca=path,
            certificate=path,
            private_key=path,
            outbox=path / "outbox",
            heartbeat_interval=0.01,
            window=5,
            endpoint_watch="off",
        )
        self.client: Client | None = None
        self.ended: list[int | None] = []
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def start(self, **changes: Any) -> Stage:
        self.config = replace(self.config, **changes)
        self.thread = threading.Thread(target=self.run)
        self.ready.clear()
        self.thread.start()
        assert self.ready.wait(TIMEOUT)
        return self

    def run(self) -> None:
        self.client = Client(self.config, self.open, self.clock)
        self.ready.set()
        self.ended.append(self.client.run())

    def open(self, _: Config, report: Report) -> PlayedConnection:
        self.opened.append(time.monotonic())
        self.connections.append(PlayedConnection(report))
        return self.connections[-1]

    def connection(self, number: int, *events: Event) -> PlayedConnection:
        wait_until(lambda: len(self.connections) > number)
        for event in events:
            self.connections[number].report(event)
        return self.connections[number]

    def stop(self) -> None:
        if self.client:
            self.client.stop()
        if self.thread.is_alive():
            self.thread.join(TIMEOUT)
        assert not self.thread.is_alive()

    def kept(self) -> list[int]:
        outbox = Outbox(self.path / "outbox")
        try:
            return [message.sequence for message in outbox.after(0, 100_000)]
        finally:
            outbox.close()

    def ask(self, *requests: dict[str, object]) -> list[dict[str, Any]]:
        """Hand messages to the client's socket."""
        with closing(socket.socket(socket.AF_UNIX)) as producer:
            producer.settimeout(TIMEOUT)
            producer.connect(str(self.path / "s"))
            producer.sendall(b"".join(json.dumps(request).encode() + b"\n" for request in requests))
            with producer.makefile("rb") as reader:
                return [json.loads(reader.readline()) for _ in requests]


@pytest.fixture(autouse=True)
def valid_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "check", lambda _: None)
    monkeypatch.setattr(link, "expiry_problem", lambda *_: None)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    stage.stop()


def test_window_bounds_what_is_in_flight_and_acknowledged_messages_leave(stage: Stage) -> None:
    connection = stage.start().connection(0, CONNECTED)
    wait_until(lambda: connection.sequences == [1, 2, 3, 4, 5])
    connection.report(Acknowledged(2))
    wait_until(lambda: connection.sequences == [1, 2, 3, 4, 5, 6])
    stage.stop()
    assert stage.kept()[:4] == [1, 3, 4, 5]
    assert stage.ended == [None]


def test_in_flight_messages_are_sent_again_first_and_in_order(stage: Stage) -> None:
    first = stage.start().connection(0, CONNECTED)
    wait_until(lambda: first.sequences == [1, 2, 3, 4, 5])
    first.report(Acknowledged(1))
    first.report(Disconnected("kicked"))
    second = stage.connection(1, CONNECTED)
    assert first.closed
    wait_until(lambda: len(second.sequences) == 5)
    assert second.sequences == [2, 3, 4, 5, 6]
    assert stage.client
    assert stage.client.metrics.resent in (4, 5)


def test_refused_publish_keeps_the_connection_and_the_others_flow(stage: Stage) -> None:
    connection = stage.start().connection(0, CONNECTED)
    wait_until(lambda: connection.sequences == [1, 2, 3, 4, 5])
    connection.report(PublishRefused(2, 0x87, "PUBACK: not authorized"))
    for token in (1, 3, 4, 5):
        connection.report(Acknowledged(token))
    connection.acknowledging = True
    # It is tried once more.
    wait_until(lambda: 2 in connection.sequences[5:])
    assert connection.closed == []
    assert len(stage.connections) == 1


def test_abandoned_connection_is_not_listened_to(stage: Stage) -> None:
    first = stage.start().connection(0, CONNECTED)
    wait_until(lambda: len(first.sequences) == 5)
    first.report(Disconnected("kicked"))
    second = stage.connection(1)
    first.report(Acknowledged(1))
    first.report(Disconnected("again"))
    first.report(CONNECTED)
    second.report(CONNECTED)
    wait_until(lambda: len(second.sequences) == 5)
    assert second.sequences[0] == 1
    assert len(stage.connections) == 2


@pytest.mark.parametrize("session_present", [False, True])
def test_subscribes_also_where_the_broker_has_a_session(stage: Stage, session_present: bool) -> None:
    connection = stage.start().connection(0, Connected(session_present, None), Received("topic", b"command"))
    wait_until(lambda: len(connection.sequences) == 5)
    assert connection.subscribed == ["fleet/client_01/commands"]


def test_subscription_that_is_refused_is_said_and_made_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(subscription, "FIRST_PAUSE", 0.01)
    topic = "fleet/client_01/commands"
    connection = stage.start().connection(0, CONNECTED, Subscribed(topic, "SUBACK: Not authorized"))
    wait_until(lambda: len(connection.subscribed) == 2)
    connection.report(Subscribed(topic))
    count = len(connection.sequences)
    for token in range(1, 6):
        connection.report(Acknowledged(token))
    wait_until(lambda: len(connection.sequences) > count)
    assert connection.closed == []
    said = [vars(record)["fields"]["reason"] for record in caplog.records if record.message == "subscribe_failed"]
    assert said == ["SUBACK: Not authorized"]


def test_message_is_on_disk_while_there_is_no_connection(stage: Stage) -> None:
    stage.start().connection(0, Disconnected("no route"))
    wait_until(lambda: len(stage.kept()) >= 3)
    stage.stop()
    assert stage.kept()[:3] == [1, 2, 3]


def test_messages_of_the_socket_are_stored_then_published_to_their_topics(stage: Stage) -> None:
    stage.start(heartbeat_interval=0, socket=stage.path / "s")
    wait_until((stage.path / "s").exists)
    answers = stage.ask({"data": "a"}, {"data": "b", "topic": "alarm"}, {"data_base64": "/w=="})
    assert answers == [{"sequence": 1}, {"sequence": 2}, {"sequence": 3}]
    assert stage.kept() == [1, 2, 3]
    connection = stage.connection(0, CONNECTED)
    wait_until(lambda: connection.sequences == [1, 2, 3])
    base = "fleet/client_01/messages"
    assert connection.topics == [base, f"{base}/alarm", base]
    assert [message.get("data") for message in connection.published.values()] == ["a", "b", None]
    assert connection.published[3]["data_base64"] == "/w=="
    connection.report(Acknowledged(1))
    connection.report(Acknowledged(2))
    wait_until(lambda: stage.client and stage.client.metrics.acknowledged == 2)
    stage.stop()
    assert stage.kept() == [3]
    assert not (stage.path / "s").exists()


def test_backlog_drains_in_order_no_faster_than_the_rate_while_new_messages_flow(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.start(heartbeat_interval=0, socket=stage.path / "s", publish_rate=1000.0, window=100)
    wait_until((stage.path / "s").exists)
    stage.ask(*({"data": "x"} for _ in range(500)))
    connection = stage.connection(0)
    connection.acknowledging = True
    connection.report(CONNECTED)
    for _ in range(5):
        stage.ask(*({"data": "new"} for _ in range(10)))
    wait_until(lambda: len(connection.sequences) == 550)
    assert connection.sequences == list(range(1, 551))
    wait_until(lambda: stage.client and stage.client.metrics.acknowledged == 550)
    stage.stop()
    assert stage.kept() == []


def test_dropped_numbers_are_told_by_the_next_message_until_it_is_acknowledged(stage: Stage) -> None:
    stage.start(heartbeat_interval=0, socket=stage.path / "s", outbox_max_bytes=1 << 20, outbox_when_full="drop_oldest")
    wait_until((stage.path / "s").exists)
    answers = stage.ask(*({"data": "x" * 100_000} for _ in range(15)))
    assert answers[-1] == {"sequence": 15}
    connection = stage.connection(0, CONNECTED)
    # One large message at first: more is in flight once the link is known to be fast.
    wait_until(lambda: connection.sequences == [6])
    assert connection.published[1]["dropped"] == [[1, 5]]
    connection.report(Acknowledged(1))
    wait_until(lambda: len(connection.sequences) == 2)
    assert "dropped" not in connection.published[2]
    assert stage.client
    assert stage.client.metrics.dropped == {"full": 5}


def test_process_that_follows_does_not_connect_within_the_same_second(stage: Stage) -> None:
    clock = Clock()
    noted = time.monotonic()
    ConnectRecord(stage.path / "outbox.connect", clock).note()
    stage.start().connection(0)
    # A lower bound: no load of the machine makes it shorter.
    assert stage.opened[0] - noted >= 0.999


def test_slow_attempt_is_not_followed_by_another_within_a_second(stage: Stage) -> None:
    first = stage.start().connection(0)
    # Name, TCP and TLS take longer than a second; the CONNECT is sent then, accepted, and the client is kicked.
    threading.Event().wait(1.1)
    accepted = time.monotonic()
    first.report(CONNECTED)
    first.report(Disconnected("kicked"))
    stage.connection(1)
    assert stage.opened[1] - accepted >= 0.999


def test_every_connect_is_recorded(stage: Stage) -> None:
    stage.start().connection(0)
    assert ConnectRecord(stage.path / "outbox.connect", Clock()).age() < TIMEOUT


def test_process_restart_is_asked_for_in_place_of_the_second_connection(stage: Stage) -> None:
    stage.start(reconnect_by="process_restart").connection(0, Disconnected("refused"))
    stage.thread.join(TIMEOUT)
    assert stage.ended == [FIRST_WINDOW]
    assert len(stage.connections) == 1


def test_executed_process_has_the_same_configuration_and_knows_its_window() -> None:
    executed: list[Any] = []
    execute_again(Path("/etc/client.json"), 7.5, lambda *arguments: executed.append(arguments))
    _, command, environment = executed[0]
    assert command[1:] == ["-m", "mqtt_fleet.client", "--config", "/etc/client.json"]
    assert environment[WINDOW_VARIABLE] == "7.5"


def test_executed_process_knows_which_addresses_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory({})
    memory.failed("192.0.2.1")
    monkeypatch.setattr(client_module, "MEMORY", memory)
    executed: list[Any] = []
    execute_again(Path("/etc/client.json"), 7, lambda *arguments: executed.append(arguments))
    assert Memory(executed[0][2]).order(["192.0.2.1", "192.0.2.2"]) == ["192.0.2.2", "192.0.2.1"]


def test_attempt_that_takes_too_long_is_told_with_what_it_waits_for(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.start(connect_timeout=0.05)
    stage.connection(1)
    reasons = [vars(record)["fields"]["reason"] for record in caplog.records if record.message == "connect_failed"]
    assert reasons[0] == "not connected within 0.05 s: mqtt1.example.com: TLS with 192.0.2.1:8883: no answer"


def test_endpoint_behind_a_proxy_is_not_looked_up(stage: Stage) -> None:
    watching = replace(stage.config, endpoint_watch="log")
    assert Client(watching, stage.open)._lookups
    behind = replace(watching, proxy="http://proxy.example.com:3128", outbox=stage.path / "other")
    assert Client(behind, stage.open)._lookups is None


def test_bad_credentials_are_said_and_messages_kept_until_they_are_replaced(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    problems = ["private_key: client.key does not match"]

    def check(_: Config) -> None:
        if problems:
            raise CredentialError(problems[0])

    monkeypatch.setattr(link, "check", check)
    stage.start()
    wait_until(lambda: any("does not match" in str(vars(record).get("fields")) for record in caplog.records))
    wait_until(lambda: len(stage.kept()) >= 3)
    assert stage.connections == []
    problems.clear()
    connection = stage.connection(0, CONNECTED)
    wait_until(lambda: len(connection.sequences) == 5)


def test_broker_that_acknowledges_nothing_is_left(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (delivery, client_module):
        monkeypatch.setattr(module, "MOST_SILENCE", 0.2)
    first = stage.start().connection(0, CONNECTED)
    second = stage.connection(1, CONNECTED)
    assert first.closed
    wait_until(lambda: len(second.sequences) == 5)
    assert second.sequences[0] == 1


def test_library_that_cannot_even_begin_is_told_and_tried_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    errors, begin = [ConnectError("mqtt1.example.com: paho: cannot be imported")], stage.open

    def fail_once(config: Config, report: Report) -> PlayedConnection:
        if errors:
            raise errors.pop()
        return begin(config, report)

    monkeypatch.setattr(stage, "open", fail_once)
    stage.start().connection(0, CONNECTED)
    (failed,) = [record for record in caplog.records if record.message == "connect_failed"]
    assert vars(failed)["fields"]["reason"] == "mqtt1.example.com: paho: cannot be imported"


def looked(stage: Stage, *lookups: Lookup) -> None:
    assert stage.client
    for lookup in lookups:
        stage.client._items.put(lookup)


def test_client_moves_by_itself_after_what_is_in_flight_was_acknowledged(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(move, "probe", lambda *_: "")
    stage.start(endpoint_watch="move", endpoint_watch_jitter=0.001, endpoint="198.51.100.1")
    first = stage.connection(0, CONNECTED)
    wait_until(lambda: len(first.sequences) == 5)
    looked(stage, HERE, ELSEWHERE, ELSEWHERE)
    wait_until(lambda: stage.client and stage.client._leave_by < math.inf)
    for token in range(1, 5):
        first.report(Acknowledged(token))
    wait_until(lambda: stage.client and stage.client.metrics.acknowledged == 4)
    # Nothing new is sent, and the connection is kept for the last one.
    assert (len(first.sequences), first.closed) == (5, [])
    first.report(Acknowledged(5))
    second = stage.connection(1, Connected(False, "198.51.100.2:8883"))
    # A proper DISCONNECT was waited for.
    assert first.closed[0] > 0
    wait_until(lambda: len(second.sequences) == 5)
    assert second.sequences[0] == 6
    assert stage.client
    assert stage.client.metrics.resent == 0


def test_client_stays_with_a_good_broker_while_the_new_place_cannot_be_used(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    problems, probed = ["198.51.100.2: no endpoint"], []

    def probe(config: Config, address: str, timeout: float) -> str:
        probed.append((config.endpoint, address, timeout))
        return problems[0]

    monkeypatch.setattr(move, "probe", probe)
    monkeypatch.setattr(move, "PROBE_PAUSE", 0.01)
    stage.start(endpoint_watch="move", endpoint_watch_jitter=0.001, endpoint="198.51.100.1")
    connection = stage.connection(0)
    connection.acknowledging = True
    connection.report(CONNECTED)
    looked(stage, HERE, ELSEWHERE, ELSEWHERE)
    wait_until(lambda: len(probed) >= 3)
    count = len(connection.sequences)
    wait_until(lambda: len(connection.sequences) > count)
    assert connection.closed == []
    assert caplog.messages.count("endpoint_unusable") == 1
    assert probed[0] == ("198.51.100.1", "198.51.100.2", stage.config.connect_timeout)
    problems[0] = ""
    stage.connection(1, Connected(False, "198.51.100.2:8883"))
    assert connection.closed


def test_first_message_after_a_connection_does_not_wait_for_the_interval(stage: Stage) -> None:
    first = stage.start(heartbeat_interval=86400.0).connection(0)
    first.acknowledging = True
    first.report(CONNECTED)
    # That of the start waits already, and is the proof.
    wait_until(lambda: stage.client and stage.client.metrics.acknowledged == 1)
    first.report(Disconnected("kicked"))
    second = stage.connection(1, CONNECTED)
    wait_until(lambda: second.sequences == [2])
    assert first.sequences == [1]


def test_connection_with_messages_that_wait_needs_none_of_its_own(stage: Stage) -> None:
    connection = stage.start(heartbeat_interval=0, socket=stage.path / "s").connection(0)
    wait_until((stage.path / "s").exists)
    stage.ask({"data": "a"})
    connection.report(CONNECTED)
    wait_until(lambda: connection.sequences == [1])
    assert stage.client
    assert stage.client._heartbeat.next == math.inf


def test_file_of_metrics_is_written_when_something_changed_or_a_minute_is_over(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "HOUSEKEEPING_SECONDS", 0.01)
    monkeypatch.setattr(client_module, "PUBLISH_STATUS_SECONDS", 0.01)
    written: list[str] = []
    rounds: list[str] = []

    def notified(state: str) -> None:
        rounds.append(state)

    def write(_: Path, text: str) -> None:
        written.append(text)

    monkeypatch.setattr(client_module, "notify", notified)
    monkeypatch.setattr(client_module, "write", write)
    stage.start(heartbeat_interval=0, metrics_file=stage.path / "metrics")
    wait_until(lambda: len(rounds) > 20)
    assert len(written) == 1
    stage.connection(0, CONNECTED)
    wait_until(lambda: len(written) == 2)
    monkeypatch.setattr(client_module, "METRICS_SECONDS", 0.0)
    wait_until(lambda: len(written) > 5)


def test_client_that_only_logs_stays(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    connection = stage.start(endpoint_watch="log").connection(0, CONNECTED)
    connection.acknowledging = True
    looked(stage, HERE, ELSEWHERE, ELSEWHERE, ELSEWHERE)
    wait_until(lambda: "endpoint_moved" in caplog.messages)
    count = len(connection.sequences)
    wait_until(lambda: len(connection.sequences) > count)
    assert caplog.messages.count("endpoint_moved") == 1
    assert connection.closed == []


def test_service_manager_is_told(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(stage.path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "100000")
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as manager:
        manager.bind(str(stage.path / "notify"))
        manager.settimeout(TIMEOUT)
        stage.start()
        said = [manager.recv(4096).decode()]
        assert said[0].startswith("READY=1\nSTATUS=not connected: starting; backlog 0; acknowledged 0; last ")
        connection = stage.connection(0)
        connection.acknowledging = True
        connection.report(CONNECTED)
        while "WATCHDOG=1" not in said or not said[-1].startswith("STATUS=connected"):
            said.append(manager.recv(4096).decode())
        assert sum("READY=1" in line for line in said) == 1
        assert said[-1].startswith("STATUS=connected to 198.51.100.1:8883 since 2")


def test_damaged_outbox_is_set_aside_while_running(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    connection = stage.start().connection(0, CONNECTED)
    wait_until(lambda: len(connection.sequences) == 5)
    stream = connection.published[1]["stream"]
    with closing(sqlite3.connect(stage.path / "outbox")) as database:
        database.execute("PRAGMA writable_schema=ON")
        database.execute("UPDATE sqlite_master SET sql = 'CREATE TABLE nonsense' WHERE name = 'message'")
        database.execute("PRAGMA schema_version=99")
        database.commit()
    wait_until(lambda: "outbox_set_aside" in caplog.messages)
    wait_until(lambda: len(connection.published) > 5)
    newest = list(connection.published.values())[-1]
    assert newest["stream"] != stream
    # What the broker says of the earlier file's messages changes nothing in this one.
    connection.report(Acknowledged(1))
    aside = [path.name for path in stage.path.iterdir() if ".damaged-" in path.name and path.suffix != ".connect"]
    assert aside


def test_programs_find_the_socket_and_the_watchdog_is_fed_while_a_large_outbox_is_opened(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(stage.path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "100000")
    opened = threading.Event()

    def open_slowly(path: Path) -> Outbox:
        assert opened.wait(TIMEOUT)
        return Outbox(path)

    monkeypatch.setattr(spool, "Outbox", open_slowly)
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as manager:
        manager.bind(str(stage.path / "notify"))
        manager.settimeout(TIMEOUT)
        stage.start(socket=stage.path / "s", heartbeat_interval=0)
        said = [manager.recv(4096).decode() for _ in range(4)]
        assert said[0].startswith("READY=1\n")
        assert said[1:] == ["WATCHDOG=1"] * 3
        answers: list[dict[str, Any]] = []
        program = threading.Thread(target=lambda: answers.extend(stage.ask({"data": "x"}, {"data": "y"})))
        program.start()
        opened.set()
        program.join(TIMEOUT)
        assert answers == [{"sequence": 1}, {"sequence": 2}]


def test_watchdog_is_fed_no_longer_than_an_outbox_may_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "20000")
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(TIMEOUT)
        with notify.busy(0.03):
            feeders = [thread for thread in threading.enumerate() if thread.name == "busy"]
            for feeder in feeders:
                feeder.join(TIMEOUT)
        said = [manager.recv(4096).decode() for _ in range(3)]
        assert said == ["WATCHDOG=1"] * 3
        manager.setblocking(False)
        with pytest.raises(BlockingIOError):
            manager.recv(4096)
