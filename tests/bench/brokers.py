"""Who was connected where and when, as both regions' brokers log it: the same witness for every method."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from lab import topology
from lab.aws_api import broker

INTERVAL = 0.02
CONNECTED, KICKED, ENDED = "connected", "kicked", "ended"


@dataclass(frozen=True)
class Event:
    """What a broker logged of a client, and when that was read, in epoch seconds."""

    at: float
    region: str
    client_id: str
    kind: str


class RegionLog:
    """What the lines of one region's log mean; keeps who holds each client ID, since the API takes some over."""

    def __init__(self, region: str) -> None:
        self._region = region
        self._holders: dict[str, str | None] = {}

    def take(self, line: str, at: float) -> Event | None:
        """Return what a line says of a client that is not the API's own."""
        parsed = broker.parse(line)
        match parsed[1] if parsed else None:
            case broker.Connected(client_id=client_id, user=user):
                self._holders[client_id] = user
                return None if user == broker.USER else Event(at, self._region, client_id, CONNECTED)
            case broker.Ended(client_id=client_id, reason=reason) if reason != "DUPLICATE_CLIENTID":
                if self._holders.pop(client_id, None) != broker.USER:
                    kind = KICKED if reason == "API_INITIATED_DISCONNECT" else ENDED
                    return Event(at, self._region, client_id, kind)
        return None


class Watch:
    """Follows the brokers' logs in a thread, from their beginning; a context manager."""

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="brokers", daemon=True)
        self._lock = threading.Lock()
        self._events: list[Event] = []
        self._where: dict[str, str] = {}

    def __enter__(self) -> Watch:
        folder = topology.state_directory() / "regions"
        names = [region.name for region in topology.REGIONS]
        self._readers = [(RegionLog(name), _Reader(folder / name / "mosquitto.log")) for name in names]
        self._read()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()

    def events(self, since: float) -> list[Event]:
        """What was logged since then."""
        with self._lock:
            return [event for event in self._events if event.at >= since]

    def where(self) -> dict[str, str]:
        """Region of each client that is connected."""
        with self._lock:
            return dict(self._where)

    def _follow(self) -> None:
        while not self._ended.wait(INTERVAL):
            self._read()

    def _read(self) -> None:
        for log, reader in self._readers:
            at = time.time()
            for line in reader.lines():
                if event := log.take(line, at):
                    with self._lock:
                        self._events.append(event)
                        place(self._where, event)


class _Reader:
    """The lines that a log gains."""

    def __init__(self, path: Path) -> None:
        self._stream = path.open("rb")
        self._rest = b""

    def lines(self) -> list[str]:
        *lines, self._rest = (self._rest + self._stream.read()).split(b"\n")
        return [line.decode(errors="replace") for line in lines]


def place(where: dict[str, str], event: Event) -> None:
    """Note in `where` what an event means for its client."""
    if event.kind == CONNECTED:
        where[event.client_id] = event.region
    elif where.get(event.client_id) == event.region:
        del where[event.client_id]
