"""Who is connected where, read in a stream: by fleet index, by things, or by a list of client IDs."""

from __future__ import annotations

import math
import queue
import re
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, Literal

from ..aws import answers, quotas
from ..aws.clients import DATA_CONNECTIONS, Aws, AwsClient
from ..aws.quotas import Quotas
from ..aws.token_bucket import TokenBucket
from ..model.connection_state import LATEST, NOT_CONNECTED, since
from ..model.errors import UNREADABLE, AwsError, RefusedError, SwitchError, one_line
from ..model.names import plain
from . import client_ids

# https://docs.aws.amazon.com/iot/latest/apireference/API_SearchIndex.html: results per page.
PAGE_SIZE = 100
# https://docs.aws.amazon.com/iot/latest/apireference/API_ListThings.html: results per page.
THINGS_PAGE_SIZE = 250
# https://docs.aws.amazon.com/general/latest/gr/iot-core.html: GetConnection per client ID, 1 per second.
CLIENT_INTERVAL = 1.1
# Seconds that an answer of GetConnection may take while the quota is still used up.
LATENCY = 0.32
ATTEMPTS = 6
# What AWS forbids: a single refusal is not believed (see `refusals`).
FORBIDDEN_ATTEMPTS = 3
# Readings of an index whose next page is refused, since it changed while it was read.
READINGS = 5
BATCH_SIZE = 500
BATCHES_WAITING = 8
# How soon a region's thread sees that nobody reads on.
STOP_INTERVAL = 0.1
_INDEX_ERRORS = {
    *("IndexNotReadyException", "InvalidRequestException"),
    *("InvalidQueryException", "ResourceNotFoundException"),
}
# https://docs.aws.amazon.com/iot/latest/apireference/API_DescribeThing.html
_THING_NAME = re.compile(r"[a-zA-Z0-9:_-]{1,128}")


@dataclass(frozen=True, slots=True)
class Client:
    """One connection: an MQTT client in one region.

    Attributes:
        endpoint: the endpoint it uses, lower case, empty where nothing says so.
        connected_since: epoch seconds by AWS's clock, 0 where unknown.
    """

    client_id: str
    endpoint: str
    region: str
    connected_since: float


@dataclass(frozen=True)
class Source:
    """Where clients are looked for.

    Attributes:
        kind: `index`: connected things in the fleet index; `things`: every thing of the registry, whose name is the
            client ID; `clients`: `client_ids` and those of `file`.
        attribute: thing attribute that names the endpoint.
        file: see `client_ids.read`.
        default_endpoint: endpoint of clients of which nothing names one, empty for none.
        endpoints: kind `things` asks only for things of these endpoints; empty: for all.
    """

    kind: Literal["index", "things", "clients"]
    attribute: str
    client_ids: Sequence[str] = ()
    file: str | None = None
    default_endpoint: str = ""
    endpoints: Sequence[str] = ()

    def listed(self) -> Iterator[tuple[str, str]]:
        """`(client ID, endpoint or "")` of kind `clients`.

        Raises:
            RefusedError: names the first that is no client ID.
        """
        return chain(client_ids.check(self.client_ids), client_ids.read(self.file, self.attribute) if self.file else ())

    def check(self) -> None:
        """Read all that is listed once, before AWS is asked for any of it.

        Raises:
            RefusedError: a client ID that cannot be one, or none at all.
        """
        if self.kind == "clients" and not sum(1 for _ in self.listed()):
            where = self.file or "client_ids"
            raise RefusedError(f"{where}: found no client ID, expected at least one: name the clients")


class StoppedError(SwitchError):
    """Nobody reads on."""


class Paced:
    """Sends requests of one quota to one region; may be used by many threads at once.

    What fails for a moment is tried again, ATTEMPTS times in all, each client ID not more often than AWS allows.
    """

    def __init__(self, client: AwsClient, rate: float, stop: threading.Event) -> None:
        self.region = client.region
        self._client = client
        self._stop = stop
        self._bucket = TokenBucket(rate, sleep=self._pause)

    def call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """Send a request when it is its turn.

        Raises:
            AwsError: AWS refused it, or failed every time.
            StoppedError: nobody waits for the answer any more.
        """
        attempt = 1
        while True:
            self._pause(0)
            self._bucket.acquire()
            try:
                answer = self._client.call(operation, **parameters)
            except AwsError as error:
                forbidden = error.forbidden and operation == "GetConnection"
                most = FORBIDDEN_ATTEMPTS if forbidden else ATTEMPTS if error.temporary else 1
                if attempt >= most:
                    raise
                if error.throttled:
                    self._bucket.slow_down()
            else:
                self._bucket.recover()
                return answer
            self._pause(CLIENT_INTERVAL * attempt)
            attempt += 1

    def _pause(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise StoppedError("stopped")

    def find(self, operation: str, **parameters: Any) -> dict[str, Any] | None:
        """`call`, but None where AWS knows no such thing."""
        try:
            return self.call(operation, **parameters)
        except AwsError as error:
            if error.not_found:
                return None
            raise

    def pages(self, operation: str, **parameters: Any) -> Iterator[Mapping[str, Any]]:
        """Yield the elements of `things` over all pages of an answer."""
        for page in answers.pages(self.call, self.region, operation, "things", **parameters):
            yield from map(_mapping, page)


def stream(
    aws: Aws, regions: Sequence[str], source: Source, limits: Mapping[str, Quotas] | None = None
) -> Iterator[list[Client]]:
    """Yield the connected clients of regions in batches, all regions at the same time.

    Only a few batches are held at any time, however large the fleet. A client may come twice: the index changes
    while it is read.

    Args:
        limits: quotas by region; AWS's defaults where a region is not in it.

    Raises:
        RefusedError: of `source`, before AWS is asked for anything.
        SwitchError: a region does not index connectivity, or answers what cannot be read.
        AwsError: a region refuses, or does not answer.
    """
    source.check()
    found = {region: (limits or {}).get(region) or quotas.defaults(region) for region in regions}
    stop = threading.Event()
    make = {"index": _indexed, "things": _things, "clients": _listed}[source.kind]
    return _merge([make(aws, region, source, found[region], stop) for region in regions], stop)


def known(aws: Aws, region: str, source: Source) -> Iterator[tuple[str, str]]:
    """Yield `(client ID, endpoint or "")` of every device that could be connected somewhere: the things that are
    registered in a region, or the clients that are listed, whose things it may know.

    ListThings compares attributes to the letter, and DNS names have no capital letters: it is asked for all things.

    Raises:
        AwsError: the region refuses, or does not answer.
    """
    limit, stop = quotas.defaults(region), threading.Event()
    if source.kind != "clients":
        listing = Paced(aws.iot[region], limit.list_things, stop)
        for thing in listing.pages("ListThings", maxResults=THINGS_PAGE_SIZE):
            yield _name(thing, region), _endpoint(thing, source.attribute) or source.default_endpoint
        return
    describing = Paced(aws.iot[region], limit.get_connection, stop)
    for client_id, endpoint in source.listed():
        yield client_id, endpoint or _endpoint_of(describing, client_id, source)


def _indexed(aws: Aws, region: str, source: Source, limit: Quotas, stop: threading.Event) -> Iterator[Client]:
    """AWS indexes the connectivity of registered things only, where the client ID is the thing's name.

    Source: https://docs.aws.amazon.com/iot/latest/developerguide/managing-index.html
    """
    return _search(Paced(aws.iot[region], limit.search, stop), source)


def _search(paced: Paced, source: Source) -> Iterator[Client]:
    """Read the index to its end. One that refuses a next page (InvalidRequestException) changed while it was read: it
    is read again from the start, and who was found before comes twice.

    https://docs.aws.amazon.com/iot/latest/apireference/API_SearchIndex.html
    """
    query: dict[str, Any] = {"queryString": "connectivity.connected:true", "maxResults": PAGE_SIZE}
    for reading in range(1, READINGS + 1):
        pages = 0
        try:
            for page in answers.pages(paced.call, paced.region, "SearchIndex", "things", **query):
                pages += 1
                for thing in map(_mapping, page):
                    yield _found(thing, paced.region, source)
        except AwsError as error:
            if error.code == "InvalidRequestException" and pages:
                if reading < READINGS:
                    continue
                raise SwitchError(
                    f"fleet index in {paced.region}: found the next page refused {READINGS} times ({error.text}), "
                    "expected an index that can be read to its end: run again when no things are changed"
                ) from error
            if error.code not in _INDEX_ERRORS:
                raise
            raise SwitchError(
                f"fleet index in {paced.region}: found {error.code} ({error.text}), "
                "expected an ACTIVE index with connectivity: run setup.yml and wait until the index is built"
            ) from error
        return


def _found(thing: Mapping[str, Any], region: str, source: Source) -> Client:
    connectivity = _mapping(thing.get("connectivity"))
    client_id = _client_id(connectivity.get("clientId") or _name(thing, region), region)
    endpoint = _endpoint(thing, source.attribute) or source.default_endpoint
    return Client(client_id, endpoint, region, _seconds(connectivity.get("timestamp")))


def _things(aws: Aws, region: str, source: Source, limit: Quotas, stop: threading.Event) -> Iterator[Client]:
    listing = Paced(aws.iot[region], limit.list_things, stop)
    wanted = set(source.endpoints)

    def candidates() -> Iterator[tuple[str, str]]:
        for thing in listing.pages("ListThings", maxResults=THINGS_PAGE_SIZE):
            endpoint = _endpoint(thing, source.attribute) or source.default_endpoint
            if not wanted or endpoint in wanted:
                yield _name(thing, region), endpoint

    asking = Paced(aws.data[region], limit.get_connection, stop)

    def ask(client_id: str, endpoint: str) -> Client | None:
        return _connected(asking, client_id, lambda _thing: endpoint)

    return _side_by_side(ask, candidates(), limit.get_connection)


def _listed(aws: Aws, region: str, source: Source, limit: Quotas, stop: threading.Event) -> Iterator[Client]:
    asking = Paced(aws.data[region], limit.get_connection, stop)
    describing = Paced(aws.iot[region], limit.get_connection, stop)

    def ask(client_id: str, endpoint: str) -> Client | None:
        return _connected(asking, client_id, lambda thing: endpoint or _endpoint_of(describing, thing, source))

    return _side_by_side(ask, source.listed(), limit.get_connection)


def _endpoint_of(describing: Paced, thing: str, source: Source) -> str:
    """The endpoint that a thing names, or that of those which name none."""
    described = describing.find("DescribeThing", thingName=thing) if _THING_NAME.fullmatch(thing) else None
    return _endpoint(described or {}, source.attribute) or source.default_endpoint


def _connected(asking: Paced, client_id: str, endpoint_of: Callable[[str], str]) -> Client | None:
    """The client when it is connected; `endpoint_of` is asked with its thing's name.

    Raises:
        AwsError: UNREADABLE where the answer does not say whether it is connected.
    """
    answer = asking.find("GetConnection", clientId=client_id)
    connected_since = since(answer)
    if answer is None or connected_since == NOT_CONNECTED:
        return None
    if connected_since is None:
        said = {name: answer.get(name) for name in ("connected", "connectedSince")}
        raise AwsError("GetConnection", asking.region, UNREADABLE, answers.OK, one_line(said))
    return Client(client_id, endpoint_of(str(answer.get("thingName") or client_id)), asking.region, connected_since)


def _side_by_side(
    ask: Callable[[str, str], Client | None], candidates: Iterator[tuple[str, str]], rate: float
) -> Iterator[Client]:
    """Ask for many clients at the same time, as many as a rate (per second) needs; yield the connected ones."""
    workers = min(DATA_CONNECTIONS, math.ceil(rate * LATENCY))
    pending: deque[Future[Client | None]] = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        for client_id, endpoint in _once(candidates, math.ceil(rate * CLIENT_INTERVAL) + 2 * workers):
            pending.append(pool.submit(ask, client_id, endpoint))
            if len(pending) == 2 * workers and (client := pending.popleft().result()):
                yield client
        while pending:
            if client := pending.popleft().result():
                yield client
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _once(candidates: Iterable[tuple[str, str]], window: int) -> Iterator[tuple[str, str]]:
    """Leave out who was among the last `window`: AWS tells of a client once per second only."""
    recent: dict[str, None] = {}
    for client_id, endpoint in candidates:
        if client_id not in recent:
            recent[client_id] = None
            if len(recent) > window:
                del recent[next(iter(recent))]
            yield client_id, endpoint


def _merge(readers: Sequence[Iterator[Client]], stop: threading.Event) -> Iterator[list[Client]]:
    """Yield batches of all readers, each read by a thread of its own, until all are done or one fails."""
    # A reader that is done puts its number.
    batches: queue.Queue[list[Client] | int] = queue.Queue(BATCHES_WAITING)
    pool = ThreadPoolExecutor(max(1, len(readers)))
    try:
        running = [pool.submit(_read, reader, number, batches, stop) for number, reader in enumerate(readers)]
        left = len(running)
        while left:
            item = batches.get()
            if isinstance(item, int):
                running[item].result()
                left -= 1
            else:
                yield item
    finally:
        stop.set()
        pool.shutdown(wait=False, cancel_futures=True)


def _read(
    reader: Iterator[Client], number: int, batches: queue.Queue[list[Client] | int], stop: threading.Event
) -> None:
    try:
        while batch := list(islice(reader, BATCH_SIZE)):
            _put(batch, batches, stop)
    finally:
        _put(number, batches, stop)


def _put(item: list[Client] | int, batches: queue.Queue[list[Client] | int], stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            batches.put(item, timeout=STOP_INTERVAL)
        except queue.Full:
            continue
        return


def _name(thing: Mapping[str, Any], region: str) -> str:
    return _client_id(thing.get("thingName"), region)


def _client_id(found: object, region: str) -> str:
    if isinstance(found, str) and client_ids.fault(found) is None:
        return found
    raise SwitchError(
        f"AWS IoT in {region}: found a client named {one_line(found)}, expected {client_ids.EXPECTED}: "
        "look at the thing of this name, then run again"
    )


def _endpoint(thing: Mapping[str, Any], attribute: str) -> str:
    found = _mapping(thing.get("attributes")).get(attribute)
    return plain(found) if isinstance(found, str) else ""


def _mapping(found: object) -> Mapping[str, Any]:
    return found if isinstance(found, Mapping) else {}


def _seconds(milliseconds: object) -> float:
    """AWS's epoch milliseconds in seconds, 0 where there are none."""
    if isinstance(milliseconds, int | float) and 0 < milliseconds < LATEST:
        return milliseconds / 1000
    return 0.0
