"""Stream the connected clients of several regions, within the regions' quotas."""

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

# Highest latency of GetConnection, in seconds, at which the quota is still fully used.
LATENCY = 0.32
BATCH_SIZE = 500
BATCHES_WAITING = 8
# How soon a region's thread notices that the result is no longer needed.
STOP_INTERVAL = 0.1


def stream(
    aws: Aws, regions: Sequence[str], source: FleetSource, limits: Mapping[str, Quotas] | None = None
) -> Iterator[list[Connection]]:
    """Yield the connected clients of regions in batches, all regions in parallel.

    Only a few batches are in memory at any time. A client may come twice: the index changes while it is read.

    Args:
        limits: quotas by region; AWS's defaults where a region is not in it.

    Raises:
        RefusedError: of `source.check`, before any request to AWS.
        SwitchError: a region does not index connectivity, or an answer cannot be read.
        AwsError: a region refuses, or does not answer.
    """
    source.check()
    found = {region: (limits or {}).get(region) or quotas.defaults(region) for region in regions}
    stop = threading.Event()
    return _merge([source.connected(aws, region, found[region], stop) for region in regions], stop)


def asking(client: AwsClient, rate: float, stop: threading.Event | None = None) -> Paced:
    """Requests within a rate, and within AWS's rate per client ID; temporary failures are retried."""
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
    """Call GetConnection for each candidate, many in parallel; yield those that are connected.

    Args:
        candidates: `(client ID, endpoint or "")`.
        endpoint_of: returns the endpoint of a connected client from its thing's name and the candidate's endpoint.

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

    return _in_parallel(ask, candidates, limit.get_connection)


def _in_parallel(
    ask: Callable[[str, str], Connection | None], candidates: Iterable[tuple[str, str]], rate: float
) -> Iterator[Connection]:
    """Call `ask` with as many threads as a rate (per second) needs; yield the connected clients."""
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
    """Skip candidates that were among the last `window`: AWS allows one request per client ID and second."""
    recent: dict[str, None] = {}
    for client_id, endpoint in candidates:
        if client_id not in recent:
            recent[client_id] = None
            if len(recent) > window:
                del recent[next(iter(recent))]
            yield client_id, endpoint


def _merge(readers: Sequence[Iterator[Connection]], stop: threading.Event) -> Iterator[list[Connection]]:
    """Yield batches of all readers, each read by its own thread, until all are done or one fails."""
    # A thread that has finished puts its reader's number.
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
