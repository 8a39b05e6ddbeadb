"""The fleet's monitor: subscribes to every client's messages in every region and writes the ledger."""

from __future__ import annotations

import argparse
import logging
import math
import queue
import random
import signal
import ssl
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Union

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from mqtt_fleet import log
from mqtt_fleet.config import ConfigError, require_file
from mqtt_fleet.notify import notify, watchdog_interval
from mqtt_fleet.paho_transport import NamedContext
from mqtt_fleet.reconnect import End, ReconnectPolicy
from mqtt_fleet.resolve import look_up
from mqtt_fleet.text import printable
from mqtt_fleet.transport import Cause
from mqtt_monitor.config import MonitorConfig, RegionEndpoint, load
from mqtt_monitor.ledger import Arrival, ForgedError, Ledger, LedgerError, MessageError, parse

LOGGER = logging.getLogger("mqtt_monitor.monitor")
# Most arrivals in one transaction. It has those that are there, without waiting for more: others arrive while it is
# written, and a broker holds back messages while 100 of them are not acknowledged.
BATCH = 1000
# Old arrivals are deleted between two batches, a few more of them than have come.
PRUNE_INTERVAL = 0.2
PRUNE_ROWS = 200
# Seconds until a ledger that could not be written, such as on a full disk, is tried again.
RETRY_SECONDS = 1.0
# Seconds between two updates for systemd.
STATUS_SECONDS = 1.0
# Other messages than those of clients are logged so often, however many come.
LOG_SECONDS = 10.0
KEEP_ALIVE = 30
CONNECT_TIMEOUT = 5.0
# Seconds that a broker keeps what arrives while the monitor is away.
SESSION_EXPIRY = 300
RECONNECT_CAP = 5.0


@dataclass(frozen=True)
class Subscribed:
    """The subscription of a region's n-th connection became live, or (since None) ended."""

    region: str
    since: float | None
    connection: int = 1


@dataclass(frozen=True)
class Arrived:
    """A message, and how to acknowledge it once it is in the ledger."""

    arrival: Arrival
    acknowledge: Callable[[], object]


@dataclass(frozen=True)
class Ignored:
    """Something that is not counted, and how to acknowledge it.

    Attributes:
        kind: "message_ignored" is not of this fleet, "message_forged" names another client than its topic, and
            "message_retained" is an old one that the broker keeps for new subscribers.
    """

    kind: str
    topic: str
    reason: str
    acknowledge: Callable[[], object]


class Stop:
    """The monitor is to end."""


Item = Union[Subscribed, Arrived, Ignored, Stop]


class RegionSubscriber:
    """Keeps the subscription of one connection to a region alive, from a thread of its own."""

    def __init__(self, config: MonitorConfig, region: RegionEndpoint, number: int, report: Callable[[Item], None]):
        self._config = config
        self._number = number
        self._region = region
        self._report = report
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self._subscribed_once = False
        self._subscribed_at: float | None = None
        self._client = self._build()
        self._thread = threading.Thread(target=self._run, name=region.name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._client.disconnect()
        self._ended.set()
        self._thread.join(CONNECT_TIMEOUT)

    def _build(self) -> Client:
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._config.client_id_of(self._number),
            protocol=MQTTProtocolVersion.MQTTv5,
            # Each connection resolves the name again, which the library's own reconnecting would not.
            reconnect_on_failure=False,
            # A message is acknowledged when it is in the ledger.
            manual_ack=True,
        )
        client.connect_timeout = CONNECT_TIMEOUT
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        return client

    def _tls_context(self) -> ssl.SSLContext:
        context = NamedContext(ssl.PROTOCOL_TLS_CLIENT)
        context.server_name = self._region.host
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self._config.ca:
            context.load_verify_locations(self._config.ca)
        else:
            context.load_default_certs()
        context.load_cert_chain(self._config.certificate, self._config.private_key)
        return context

    def _run(self) -> None:
        policy = ReconnectPolicy(RECONNECT_CAP)
        window = 0.0
        while not self._stopping.is_set():
            started = time.monotonic()
            self._ended.clear()
            self._subscribed_at = None
            try:
                self._connect()
                self._client.loop_start()
                self._ended.wait()
                self._client.loop_stop()
            except (OSError, ValueError) as error:
                log.event(LOGGER, "connect_failed", logging.WARNING, region=self._region.name, reason=str(error))
            now = time.monotonic()
            end = End(Cause.LOST, None if self._subscribed_at is None else now - self._subscribed_at)
            window = policy.widen(window, end)
            self._stopping.wait(policy.pause(window, end, now - started, random.random()))  # noqa: S311

    def _connect(self) -> None:
        # Made again for each connection: a renewed certificate is picked up.
        self._client = self._build()
        self._client.tls_set_context(self._tls_context())
        address = look_up(self._region.host, self._region.port, self._config.resolvers).addresses[0]
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = SESSION_EXPIRY
        # What an earlier monitor left unread is not this one's; what arrives from now on is.
        self._client.connect(
            address, self._region.port, KEEP_ALIVE, clean_start=not self._subscribed_once, properties=properties
        )

    def _on_connect(
        self, client: Client, _: Any, flags: ConnectFlags, reason: ReasonCode, __: Properties | None
    ) -> None:
        if reason.is_failure:
            log.event(LOGGER, "connect_refused", logging.WARNING, region=self._region.name, reason=str(reason))
            return
        log.event(LOGGER, "connected", region=self._region.name, session_present=flags.session_present)
        client.subscribe([(topic, 1) for topic in self._config.filters])

    def _on_subscribe(self, _: Client, __: Any, ___: int, reasons: list[ReasonCode], ____: Properties | None) -> None:
        if refused := [reason for reason in reasons if reason.is_failure]:
            log.event(LOGGER, "subscribe_refused", logging.ERROR, region=self._region.name, reason=str(refused[0]))
            return
        self._subscribed_once = True
        self._subscribed_at = time.monotonic()
        self._report(Subscribed(self._region.name, time.time(), self._number))

    def _on_disconnect(
        self, _: Client, __: Any, ___: DisconnectFlags, reason: ReasonCode, ____: Properties | None
    ) -> None:
        log.event(LOGGER, "disconnected", logging.WARNING, region=self._region.name, reason=str(reason))
        self._report(Subscribed(self._region.name, None, self._number))
        self._ended.set()

    def _on_message(self, client: Client, _: Any, message: MQTTMessage) -> None:
        acknowledge = partial(client.ack, message.mid, message.qos)
        self._report(read(message, self._region.name, acknowledge))


def read(message: MQTTMessage, region: str, acknowledge: Callable[[], object]) -> Arrived | Ignored:
    """Return the content of a message, or why it is ignored."""
    topic = ""
    try:
        topic = message.topic
        if message.retain:
            return Ignored("message_retained", topic, "it was published before the subscription", acknowledge)
        return Arrived(parse(topic, bytes(message.payload), region, time.time()), acknowledge)
    except ForgedError as error:
        return Ignored("message_forged", topic, str(error), acknowledge)
    except (MessageError, UnicodeDecodeError) as error:
        return Ignored("message_ignored", topic, str(error), acknowledge)


class Manager:
    """Reports the status to the service manager when it has changed, and that the monitor still works."""

    def __init__(self) -> None:
        self._watchdog = watchdog_interval()
        self._next_watchdog = -math.inf
        self._next_status = -math.inf
        self._status = ""

    def tell(self, status: str, now: float) -> None:
        """Report what is due; `now` by a monotonic clock, in seconds."""
        if now >= self._next_watchdog and self._watchdog < math.inf:
            self._next_watchdog = now + self._watchdog
            notify("WATCHDOG=1")
        if status != self._status and now >= self._next_status:
            self._next_status = now + STATUS_SECONDS
            self._status = status
            notify(f"READY=1\nSTATUS={status}")


class Writer:
    """Writes what the regions report into the ledger, and keeps it from growing without limit."""

    def __init__(
        self,
        ledger: Ledger,
        items: queue.SimpleQueue[Item],
        retention: float = math.inf,
        connections: int = 1,
        regions: Sequence[str] = (),
    ) -> None:
        """`retention` in seconds: older arrivals are deleted; `connections` per region."""
        self._ledger = ledger
        self._items = items
        self._retention = retention
        self._connections = connections
        self._live: dict[str, set[int]] = {region: set() for region in regions}
        self._manager = Manager()
        self._since_pruned = 0
        self._next_prune = 0.0
        kinds = ("message_ignored", "message_forged", "message_retained")
        self._ignored = {kind: log.Tally(LOGGER, kind, LOG_SECONDS) for kind in kinds}

    def run(self) -> None:
        """Work until a Stop comes out of the queue."""
        running = True
        while running:
            batch = self._next_batch()
            self._keep_writing(batch)
            self._prune()
            self._manager.tell(self.status(), time.monotonic())
            running = not any(isinstance(item, Stop) for item in batch)
            self._tell_ignored(time.monotonic() if running else math.inf)

    def _next_batch(self) -> list[Item]:
        """Wait for something to write, at most PRUNE_INTERVAL, and return all that is there by then."""
        batch: list[Item] = []
        try:
            batch.append(self._items.get(timeout=PRUNE_INTERVAL))
            while len(batch) < BATCH and not isinstance(batch[-1], Stop):
                batch.append(self._items.get_nowait())
        except queue.Empty:
            pass
        return batch

    def _keep_writing(self, batch: list[Item]) -> None:
        """Write a batch, however often that fails: the broker keeps what is not acknowledged, and sends no more."""
        failed = False
        while batch:
            try:
                self._write(batch)
                break
            except LedgerError as error:
                if not failed:
                    log.event(LOGGER, "ledger_failed", logging.ERROR, reason=str(error))
                failed = True
                # It must keep trying: a restart would not make room.
                self._manager.tell(f"the ledger cannot be written, {self.status()}", time.monotonic())
                if any(isinstance(item, Stop) for item in batch):
                    return
                batch += self._stop_within(RETRY_SECONDS)
        if failed:
            log.event(LOGGER, "ledger_recovered", messages=len(batch))

    def _stop_within(self, seconds: float) -> list[Item]:
        """What comes within some seconds; at once when that is a Stop."""
        found: list[Item] = []
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0 and not (found and isinstance(found[-1], Stop)):
            try:
                found.append(self._items.get(timeout=left))
            except queue.Empty:
                break
        return found

    def _write(self, batch: list[Item]) -> None:
        # Before the arrivals: if this fails all is retried, and arrivals would be stored twice.
        for item in batch:
            if isinstance(item, Subscribed):
                self._note(item)
        arrived = [item for item in batch if isinstance(item, Arrived)]
        if arrived:
            # By time: two regions' threads may have queued theirs in the other order.
            self._ledger.add(sorted((item.arrival for item in arrived), key=lambda arrival: arrival.arrived_at))
        for item in batch:
            if isinstance(item, Ignored):
                self._ignored[item.kind].add(time.monotonic(), 1, topic=item.topic, reason=item.reason)
            if isinstance(item, Arrived | Ignored):
                item.acknowledge()
        self._since_pruned += len(arrived)

    def _tell_ignored(self, now: float) -> None:
        for tally in self._ignored.values():
            tally.flush(now)

    def _note(self, subscribed: Subscribed) -> None:
        """A region's subscription is live when that of each of its connections is."""
        live = self._live.setdefault(subscribed.region, set())
        if subscribed.since is None:
            live.discard(subscribed.connection)
        else:
            live.add(subscribed.connection)
        self._ledger.set_subscription(subscribed.region, subscribed.since if len(live) == self._connections else None)

    def status(self) -> str:
        """Where the subscription is live, for people."""
        live = [region for region, connections in self._live.items() if len(connections) == self._connections]
        missing = [region for region in self._live if region not in live]
        text = f"subscribed in {len(live)} of {len(self._live)} regions"
        return text + (f", not in {', '.join(missing)}" if missing else "")

    def _prune(self) -> None:
        now = time.monotonic()
        if now < self._next_prune:
            return
        try:
            self._ledger.prune(time.time() - self._retention, 2 * self._since_pruned + PRUNE_ROWS)
        except LedgerError as error:
            log.event(LOGGER, "prune_failed", logging.WARNING, reason=str(error))
        self._since_pruned = 0
        self._next_prune = now + PRUNE_INTERVAL


def monitor(config: MonitorConfig, items: queue.SimpleQueue[Item]) -> None:
    """Watch every region until a Stop is put into the queue.

    Raises:
        LedgerError: the ledger cannot be opened.
    """
    ledger, names = Ledger(config.ledger), [region.name for region in config.regions]
    for name in names:
        ledger.set_subscription(name, None)
    subscribers = [
        RegionSubscriber(config, region, number, items.put)
        for region in config.regions
        for number in range(1, config.connections + 1)
    ]
    for subscriber in subscribers:
        subscriber.start()
    Writer(ledger, items, 3600 * config.retention_hours, config.connections, names).run()
    notify("STOPPING=1")
    for subscriber in subscribers:
        subscriber.stop()
    for name in names:
        ledger.set_subscription(name, None)
    ledger.close()


def main(arguments: list[str] | None = None) -> int:
    """Run the monitor; returns the exit code: 0 stopped, 2 configuration or ledger unusable."""
    parser = argparse.ArgumentParser(prog="mqtt_monitor.monitor", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="JSON file")
    parser.add_argument("--watch", action="store_true", help="show what another monitor writes, and the newest move")
    parser.add_argument("--reports", type=Path, help="with --watch: folder of the moves' reports")
    options = parser.parse_args(arguments)
    if options.watch:
        # Only the view needs what draws it.
        from mqtt_monitor import watch

        reports = ["--reports", str(options.reports)] if options.reports else []
        return watch.main(["--config", str(options.config), *reports])
    items: queue.SimpleQueue[Item] = queue.SimpleQueue()
    try:
        config = load(options.config)
        for key in ("ca", "certificate", "private_key"):
            if file := getattr(config, key):
                require_file(key, file)
        # Not before: a process that only says what is wrong keeps its log and its signals.
        log.configure()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: items.put(Stop()))
        monitor(config, items)
    except (ConfigError, LedgerError) as error:
        sys.stderr.write(f"mqtt_monitor.monitor: {printable(str(error))}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
