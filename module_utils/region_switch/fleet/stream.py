"""Reading the connected clients of several regions in a stream, within the regions' quotas."""

from __future__ import annotations

import math
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

from ..aws import answers, paced, quotas
from ..aws.clients import DATA_CONNECTIONS, Aws, AwsClient
from ..aws.paced import CLIENT_INTERVAL, Paced
from ..aws.quotas import Quotas
from ..aws.refusals import FORBIDDEN_ATTEMPTS
from ..model.connection_state import NOT_CONNECTED, since
from ..model.errors import UNREADABLE, AwsError, one_line
from .source import Connection, FleetSource

# Seconds that an answer of GetConnection may take while the quota is still used up.
LATENCY = 0.32
BATCH_SIZE = 500
BATCHES_WAITING = 8
# How soon a region's thread sees that nobody reads on.
STOP_INTERVAL = 0.1


def stream(
    aws: Aws, regions: Sequence[str], source: FleetSource, limits: Mapping[str, Quotas] | None = None
) -> Iterator[list[Connection]]:
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
    return _merge([source.connected(aws, region, found[region], stop) for region in regions], stop)


def asking(client: AwsClient, rate: float, stop: threading.Event | None = None) -> Paced:
    """Sends requests, each client ID not more often than AWS allows; what fails for a moment is tried again."""
    return Paced(client, rate, _attempts, CLIENT_INTERVAL, stop)


def _attempts(error: AwsError) -> int:
    if error.forbidden and error.operation == "GetConnection":
        return FORBIDDEN_ATTEMPTS
    return paced.ATTEMPTS if error.temporary else 1


def one_by_one(
    aws: Aws,
    region: str,
    limit: Quotas,
    stop: threading.Event,
    candidates: Iterable[tuple[str, str]],
    endpoint_of: Callable[[str, str], str] = lambda _thing, endpoint: endpoint,
) -> Iterator[Connection]:
    """Ask GetConnection for each candidate, many at the same time; yield those that are connected.

    Args:
        candidates: `(client ID, endpoint or "")`.
        endpoint_of: the endpoint of one that is connected, by its thing's name and the candidate's endpoint.

    Raises:
        AwsError: UNREADABLE where an answer does not say whether a client is connected.
    """
    connections = asking(aws.data[region], limit.get_connection, stop)

    def ask(client_id: str, endpoint: str) -> Connection | None:
        answer = connections.find("GetConnection", clientId=client_id)
        connected_since = since(answer)
        if answer is None or connected_since == NOT_CONNECTED:
            return None
        if connected_since is None:
            said = {name: answer.get(name) for name in ("connected", "connectedSince")}
            raise AwsError("GetConnection", region, UNREADABLE, answers.OK, one_line(said))
        thing = str(answer.get("thingName") or client_id)
        return Connection(client_id, endpoint_of(thing, endpoint), region, connected_since)

    return _side_by_side(ask, candidates, limit.get_connection)


def _side_by_side(
    ask: Callable[[str, str], Connection | None], candidates: Iterable[tuple[str, str]], rate: float
) -> Iterator[Connection]:
    """Ask for many clients at the same time, as many as a rate (per second) needs; yield the connected ones."""
    workers = min(DATA_CONNECTIONS, math.ceil(rate * LATENCY))
    pending: deque[Future[Connection | None]] = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        for client_id, endpoint in _once(candidates, math.ceil(rate * CLIENT_INTERVAL) + 2 * workers):
            pending.append(pool.submit(ask, client_id, endpoint))
            if len(pending) == 2 * workers and (found := pending.popleft().result()):
                yield found
        while pending:
            if found := pending.popleft().result():
                yield found
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


def _merge(readers: Sequence[Iterator[Connection]], stop: threading.Event) -> Iterator[list[Connection]]:
    """Yield batches of all readers, each read by a thread of its own, until all are done or one fails."""
    # A reader that is done puts its number.
    batches: queue.Queue[list[Connection] | int] = queue.Queue(BATCHES_WAITING)
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
    reader: Iterator[Connection], number: int, batches: queue.Queue[list[Connection] | int], stop: threading.Event
) -> None:
    try:
        while batch := list(islice(reader, BATCH_SIZE)):
            _put(batch, batches, stop)
    finally:
        _put(number, batches, stop)


def _put(item: list[Connection] | int, batches: queue.Queue[list[Connection] | int], stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            batches.put(item, timeout=STOP_INTERVAL)
        except queue.Full:
            continue
        return
