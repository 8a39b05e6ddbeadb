"""A sweep on a clock that only it moves: requests take as long as they are said to, and no thread runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from ansible.module_utils.region_switch.fleet.roster import Roster, TrackedClient
from ansible.module_utils.region_switch.fleet.source import Connection
from ansible.module_utils.region_switch.model.connection_state import NOT_CONNECTED
from ansible.module_utils.region_switch.model.errors import AwsError
from ansible.module_utils.region_switch.move.disconnect import Disconnector, retry_delay
from ansible.module_utils.region_switch.move.runtime import Runtime
from ansible.module_utils.region_switch.move.sweep import Guard, Limits, Sweep
from ansible.module_utils.region_switch.move.way import Attempt, Sighting, Way
from ansible.module_utils.region_switch.record.journal import Journal

from .fakes import Clock

OLD, NEW = "us-east-1", "ap-northeast-1"
ENDPOINT = "mqtt1.example.com"
# The epoch seconds of the clock's 0, by AWS's clock and this machine's.
EPOCH = 1_000_000.0
SINCE = EPOCH + 500.0

Answer = AwsError | bool | None


class World:
    """A fleet, and what AWS says of it.

    Attributes:
        move_seconds, look_seconds: what a request of each kind takes; guard_seconds: what a look of the guard does.
        interval: seconds between the turns of two requests to leave.
        tells: what the requests for a client are answered, in order, and True after that: found or not, or an error;
            None for one that is not sent.
        travel: seconds from a request to the landing; None for clients that never land.
        sighting: says what is seen of a client instead.
        asked, looked: `(clock, client ID)` of each request; seen: the clients as the looks had them.
        most: the most requests of each kind under way at once; flying: the most clients told and not landed.
    """

    def __init__(self, folder: Path) -> None:
        self.clock = Clock(1000.0)
        self.roster = Roster(folder / "clients.sqlite")
        self.path = folder / "journal.jsonl"
        self.journal = Journal(self.path)
        self.guard = Guard()
        self.limits = Limits(0.0, 1000, 20.0, 0.0)
        self.trouble: AwsError | None = None
        self.move_seconds, self.look_seconds, self.guard_seconds, self.interval = 0.1, 0.2, 0.0, 0.0
        self.tells: dict[str, list[Answer]] = {}
        self.travel: Callable[[str], float | None] = lambda _: 1.0
        self.sighting: Callable[[TrackedClient, float], Sighting] = self._sighting
        self.sent: dict[str, float] = {}
        self.asked: list[tuple[float, str]] = []
        self.looked: list[tuple[float, str]] = []
        self.seen: list[TrackedClient] = []
        self.most = {"move": 0, "look": 0}
        self.flying = 0
        self.takes: list[float] = []
        self.switched: list[str] = []
        self.pools: list[Pool] = []
        self.speed = 10.0
        self.runtime = Runtime(
            monotonic=self.clock, now=lambda: EPOCH + self.clock(), sleep=self.clock.sleep, pool=self._pool,
            take=self._take,
        )  # fmt: skip
        self.sweep = self.evacuate()

    def evacuate(self) -> Sweep:
        """A sweep of the roster by this world's limits and guard."""
        told_by: Any = self
        self.sweep = Sweep(self.roster, Way(told_by, told_by, 0), self.journal, self.limits, self.guard, self.runtime)
        return self.sweep

    def clients(self, *names: str, since: float = SINCE) -> None:
        self.roster.add([Connection(name, ENDPOINT, OLD, since) for name in names], {ENDPOINT: NEW})

    def run(self, *sizes: int, first: int = 1) -> float:
        """Evacuate in waves of these sizes, or in one; return the seconds that it took."""
        begun = self.clock()
        self.evacuate().run(list(sizes) or [self.roster.waiting()], first)
        return self.clock() - begun

    def steps(self, name: str) -> list[dict[str, Any]]:
        entries = [json.loads(line) for line in self.path.read_text().splitlines()]
        return [{key: value for key, value in entry.items() if key not in {"at", "step"}} for entry in entries if
                entry["step"] == name]  # fmt: skip

    def row(self, name: str) -> dict[str, Any]:
        """A client's row of the roster."""
        found = self.roster._db.execute("SELECT * FROM client WHERE client_id = ?", (name,))
        return dict(zip([column[0] for column in found.description], found.fetchone(), strict=True))

    # What stands for the mover.

    attempted, failed = Disconnector.attempted, Disconnector.failed
    retry_delay = staticmethod(retry_delay)

    def start(self) -> None:
        self.switched.append("start")

    def stop(self) -> None:
        self.switched.append("stop")

    def rate(self) -> float:
        return self.speed

    def move(self, client: TrackedClient) -> Attempt:
        now, name = self.clock(), client.client_id
        self.asked.append((now, name))
        answers = self.tells.get(name, [])
        answer = answers.pop(0) if answers else True
        if answer is None:
            return Attempt(now, EPOCH + now, 0.0, sent=False)
        if isinstance(answer, AwsError):
            return Attempt(now, EPOCH + now, self.move_seconds, error=answer)
        self.sent[name] = now
        return Attempt(now, EPOCH + now, self.move_seconds, found=answer)

    # What stands for the proof.

    def look(self, client: TrackedClient) -> Sighting:
        self.looked.append((self.clock(), client.client_id))
        self.seen.append(client)
        return self.sighting(client, self.clock())

    def _sighting(self, client: TrackedClient, now: float) -> Sighting:
        sent, travel = self.sent.get(client.client_id), self.travel(client.client_id)
        if sent is None:
            return Sighting(NOT_CONNECTED, SINCE)
        if travel is None or now < sent + travel:
            return Sighting(NOT_CONNECTED, NOT_CONNECTED)
        return Sighting(EPOCH + sent + travel, NOT_CONNECTED)

    # What stands for the threads.

    def _pool(self, workers: int) -> Executor:
        self.pools.append(Pool(self, workers))
        return self.pools[-1]

    def _take(self, results: SimpleQueue[Any], seconds: float) -> Any | None:
        self.takes.append(seconds)
        if results.empty():
            self.pools[-1].pass_time(seconds)
        return None if results.empty() else results.get_nowait()


class Pool(Executor):
    """Fulfils what it is given when its time has come."""

    def __init__(self, world: World, workers: int) -> None:
        self.workers = workers
        self._world = world
        self._pending: list[tuple[float, str, Future[Any], Callable[[], Any]]] = []
        self._turn = 0.0

    def submit(self, work: Callable[..., Any], /, *values: Any, **_: Any) -> Future[Any]:
        world, future = self._world, Future[Any]()
        now, kind = world.clock(), {"move": "move", "_look": "look"}.get(work.__name__, "guard")
        due = now + {"move": world.move_seconds, "look": world.look_seconds, "guard": world.guard_seconds}[kind]
        if kind == "move":
            self._turn = max(self._turn + world.interval, now)
            due = self._turn + world.move_seconds
        result = self._begin(kind, work, values, due - now)
        self._pending.append((due, kind, future, result))
        for each in world.most:
            world.most[each] = max(world.most[each], sum(pending[1] == each for pending in self._pending))
        sending = sum(pending[1] == "move" for pending in self._pending)
        world.flying = max(world.flying, sending + len(world.sweep._in_flight))
        return future

    def _begin(self, kind: str, work: Callable[..., Any], values: Any, seconds: float) -> Callable[[], Any]:
        """AWS has done its part when the request is made; its answer comes later."""
        try:
            result = work(*values)
        except Exception as error:  # noqa: BLE001 - handed on by the future
            return lambda problem=error: self._raise(problem)
        return lambda: (result[0], result[1] + seconds) if kind == "look" else result

    @staticmethod
    def _raise(error: Exception) -> Any:
        raise error

    def pass_time(self, seconds: float) -> None:
        """Let time pass until the next answer comes, or for so long."""
        clock = self._world.clock
        end = min([clock() + seconds, *(due for due, *_ in self._pending)])
        clock.now = max(clock.now, end)
        self._fulfil(clock())

    def _fulfil(self, until: float) -> None:
        ripe = [pending for pending in self._pending if pending[0] <= until]
        self._pending = [pending for pending in self._pending if pending[0] > until]
        for _, _, future, result in ripe:
            try:
                future.set_result(result())
            except Exception as error:  # noqa: BLE001 - handed on by the future
                future.set_exception(error)

    def shutdown(self, *_: Any, **__: Any) -> None:
        """What was begun is waited for."""
        self._fulfil(float("inf"))
