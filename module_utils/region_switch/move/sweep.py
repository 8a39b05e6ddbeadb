"""A sweep: clients are moved wave by wave, looked for until they land, and moved again when they go back."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Protocol

from ..aws.refusals import Refusals
from ..fleet.roster import ANY_WAVE, NO_WAVE, Roster, TrackedClient
from ..model import waves
from ..model.errors import AwsError, SwitchError, listed
from ..record import events
from ..record.journal import Journal
from .landing import FIRST_LOOK, ask_again_at, next_look, went_back
from .runtime import MACHINE, Runtime
from .way import Attempt, Sighting, Way

# Requests under way at most, by kind; how many are needed follows from the latency that is measured.
MOST_WORKERS = 128
FEWEST_WORKERS = 16
# Assigned to a wave at once: a million would block everything else for half a minute.
PIECE = 2000
TICK = 0.05
PROGRESS_SECONDS = 1.0
GUARD_SECONDS = 2.0
# Time for clients that were already gone to show up anywhere.
VANISHED_GRACE = 15.0
NAMES_SHOWN = 10
# An API that answers nothing for so long is down.
SILENCE = 30.0
# Added to the landing timeout: time for one look at each client.
LOOK_SECONDS = 10.0
# So many permanent refusals, without one success, end the sweep.
REFUSALS = 20
# The last clients that landed in a region: if they are still connected, it is alive.
WITNESSES = 5
# So few may all have left by themselves; if more are gone, the list is wrong.
HANDFUL = 5


class WaveError(SwitchError):
    """Too many clients of a wave did not land."""


class LateError(SwitchError):
    """Too many of the clients that came after the fleet had moved did not land: no reason to roll back the others."""


class UnprovenError(SwitchError):
    """Too many clients of a wave could not be looked at, or not be disconnected: whether they landed is unknown."""


@dataclass(frozen=True)
class Limits:
    """How a wave is judged.

    Attributes:
        max_stragglers: percent of a wave that may be missing when the next one begins.
        max_in_flight: clients disconnected and not landed, at most.
        landing_timeout: seconds that clients of a wave may take to land after the last one was disconnected.
        ttl: seconds that resolvers may keep the old answer.
    """

    max_stragglers: float
    max_in_flight: int
    landing_timeout: float
    ttl: float


class Witness(Protocol):
    """What a sweep has seen of the target regions."""

    def arrived(self, region: str) -> int:
        """How many clients were seen to land there so far."""

    def still_there(self, region: str) -> bool:
        """Whether one of the clients that landed there last is still connected, as AWS says."""


class Guard:
    """Checks during a sweep; this one finds nothing.

    Attributes:
        holding: while true, no more clients are disconnected.
        over: the sweep has ended, and nobody waits for the result of a check.
    """

    holding = False
    over = False

    def look(self, witness: Witness) -> None:
        """Check once; an error ends the sweep."""


@dataclass
class Wave:
    """A wave under way.

    Attributes:
        unsent: clients not yet disconnected; left: not yet landed.
        complete: monotonic seconds when the last client was disconnected, None before.
        unassigned: clients that the roster has not yet assigned to it.
    """

    number: int
    size: int
    unsent: int
    left: int
    started: float
    complete: float | None = None
    unassigned: int = 0


class Sweep:
    """Moves the clients of a roster.

    Args:
        guard: checks every few seconds whether the sweep may continue.
    """

    def __init__(
        self,
        roster: Roster,
        way: Way,
        journal: Journal,
        limits: Limits,
        guard: Guard,
        runtime: Runtime = MACHINE,
    ) -> None:
        self.roster = roster
        self.mover = way.mover
        self.proof = way.proof
        self.journal = journal
        self.limits = limits
        self.seconds = 0.0
        self.total = 0
        self.asked = 0
        self.landed = 0
        self._guard = guard
        self._runtime = runtime
        self._clock = runtime.monotonic
        self._pool: Executor
        self._arrived: Counter[str] = Counter()
        self._landed_last: dict[str, deque[TrackedClient]] = {}
        self._refusal: AwsError | None = None
        self._refusals = 0
        self.forbidden = 0
        self._forbidden: dict[str, Refusals] = {}
        self._done: SimpleQueue[tuple[TrackedClient, Future[Any]]] = SimpleQueue()
        self._sending = self._looking = 0
        self._in_flight: set[tuple[str, str]] = set()
        self._latency = {"move": 0.1, "look": 0.2}
        self._found_any = False
        self._first_asked: float | None = None
        # When more than a handful had been disconnected.
        self._many_asked: float | None = None
        # Clients that were already gone and have not been seen since, with their wave.
        self._absent: dict[tuple[str, str], int] = {}
        self._heard = self._said = self._guarded = self._clock()
        self._failing: float | None = None
        self._guarding: Future[None] | None = None
        self._rate = 0.0
        self._counted = (self._clock(), 0)

    def run(self, sizes: list[int], first: int = 1, moved: int = 0) -> int:
        """Move the waiting clients in waves of these sizes, numbered from `first`; return the next number.

        Args:
            moved: clients that have moved before; late ones are judged together with them.

        Raises:
            WaveError: too many clients of a wave did not land in time; no more were disconnected.
            LateError: the same of clients that came late.
            UnprovenError: too many could not be looked at, or not be disconnected.
            AwsError: AWS refuses, or answers nothing any more.
            SwitchError: AWS knew none of the clients, and none lands.
        """
        self.total += sum(sizes)
        number, rest = first, [size for size in sizes if size]
        with self._at_work():
            while rest:
                size = rest.pop(0)
                if not self._wave(number, number + len(rest), size, moved):
                    rest = waves.once_more(size, rest)
                number += 1
        return number

    def watch(self) -> None:
        """Look for all clients that have not landed, until they have or the time is over."""
        count = self.roster.gather_late()
        self._absent = dict.fromkeys(self._absent, ANY_WAVE)
        wave = Wave(ANY_WAVE, count, 0, count, self._clock(), self._clock())
        with self._at_work():
            self._work(wave)

    def arrived(self, region: str) -> int:
        """See `Witness`; in any thread."""
        return self._arrived[region]

    def still_there(self, region: str) -> bool:
        """See `Witness`; in any thread."""
        lately = list(self._landed_last.get(region, ()))
        return any(self.proof.look(client).in_target for client in lately)

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        """Run the worker threads; at the end stop sending, and record what was sent."""
        self.mover.start()
        self._guard.over = False
        with self._runtime.pool(MOST_WORKERS + MOST_WORKERS) as self._pool:
            try:
                yield
            finally:
                self.mover.stop()
                self._guard.over = True
                self._pool.shutdown(cancel_futures=True)
                # A check that did not begin has no result.
                if self._guarding is not None and self._guarding.cancelled():
                    self._guarding = None
                self._note_rest()

    def _wave(self, number: int, last: int, size: int, moved: int) -> bool:
        """Whether the wave proved anything: not if all its clients were gone before they were disconnected."""
        self.journal.write(events.Sweep(wave=number, waves=last, clients=size))
        wave = Wave(number, size, size, size, self._clock(), unassigned=size)
        self._work(wave)
        absent = self.roster.absent(number) if wave.left else 0
        self.journal.write(events.Landing(wave=number, landed=size - wave.left, late=wave.left, absent=absent))
        if wave.left - absent > (moved + size) * self.limits.max_stragglers / 100:
            raise self._verdict(wave, wave.left - absent, moved)
        return absent < size

    def _verdict(self, wave: Wave, late: int, moved: int) -> SwitchError:
        """The error of a wave that did not land: only clients that were looked for and not found count as missing."""
        place = "clients that came late" if moved else f"wave {wave.number}"
        allowed = f"{self.limits.max_stragglers:g} % {f'of {moved + wave.size} ' if moved else ''}at most"
        missing, unseen = self.roster.not_landed(wave.number)
        not_asked = late - missing - unseen
        if missing > (moved + wave.size) * self.limits.max_stragglers / 100:
            names = listed(self.roster.late_of(wave.number, NAMES_SHOWN + 1), NAMES_SHOWN)
            return (LateError if moved else WaveError)(
                f"{place}: found {wave.left} of {wave.size} clients not landed within "
                f"{self.limits.landing_timeout:.0f} s ({names}), expected {allowed}"
            )
        if not_asked > unseen:
            why = f" ({self._refusal})" if self._refusal else ""
            return UnprovenError(
                f"{place}: found {not_asked} of {wave.size} clients not disconnected{why}, expected {allowed}"
            )
        why = f" ({self.proof.trouble})" if self.proof.trouble else ""
        return UnprovenError(
            f"{place}: found {unseen} of {wave.size} clients of whom AWS does not say where they are{why}, expected "
            f"{allowed}"
        )

    def _work(self, wave: Wave) -> None:
        self._wave_now = wave
        self._heard = self._clock()
        while wave.left and not self._over(wave):
            self._feed(wave)
            self._collect()
            self._watch_over()
            self._say(wave)
            self.roster.tick()

    def _over(self, wave: Wave) -> bool:
        """Whether a wave's time is over: counted from its last client, or from the last answer."""
        now, timeout = self._clock(), self.limits.landing_timeout
        if self._is_empty(wave) and now - (wave.complete or now) > VANISHED_GRACE:
            # The fleet need not wait for clients that are gone; `watch` looks for them once more.
            return not self.roster.not_looked_for(wave.number)
        late = now - (self._heard if wave.complete is None else wave.complete) - timeout
        # Clients that have not been looked for are not judged.
        return late > LOOK_SECONDS or (late > 0 and not self.roster.not_looked_for(wave.number))

    def _is_empty(self, wave: Wave) -> bool:
        """Whether all clients of a small wave, such as a canary, were already gone."""
        return wave.left == wave.size <= HANDFUL and wave.left == sum(
            each == wave.number for each in self._absent.values()
        )

    def _feed(self, wave: Wave) -> None:
        now = self._clock()
        for client in self._next(wave, now, self._room()):
            self._sending += 1
            self._submit(self.mover.move, client)
        for client in self.roster.take_told(now, max(0, self._workers("look") - self._looking)):
            self._looking += 1
            self._submit(self._look, client)

    def _room(self) -> int:
        """How many more clients may be disconnected now."""
        if self._guard.holding:
            return 0
        flying = len(self._in_flight) + self._sending
        return max(0, min(self._workers("move") - self._sending, self.limits.max_in_flight - flying))

    def _next(self, wave: Wave, now: float, limit: int) -> list[TrackedClient]:
        """Clients to disconnect now."""
        found = self.roster.take_waiting(wave.number, now, limit)
        if len(found) < limit and wave.unassigned:
            piece = min(wave.unassigned, PIECE)
            self.roster.assign(wave.number, piece)
            wave.unassigned -= piece
            found += self.roster.take_waiting(wave.number, now, limit - len(found))
        return found

    def _workers(self, kind: str) -> int:
        """Little's law, doubled."""
        needed = math.ceil(2 * max(self.mover.rate(), 1.0) * self._latency[kind])
        return max(FEWEST_WORKERS, min(MOST_WORKERS, needed))

    def _look(self, client: TrackedClient) -> tuple[Sighting, float]:
        started = self._clock()
        return self.proof.look(client), self._clock() - started

    def _submit(self, work: Callable[[TrackedClient], Any], client: TrackedClient) -> None:
        future = self._pool.submit(work, client)
        future.add_done_callback(lambda done: self._done.put((client, done)))

    def _collect(self) -> None:
        """Process finished requests; wait a moment if there are none."""
        first = self._runtime.take(self._done, TICK)
        if first is not None:
            self._take_in(*first)
            for _ in range(self._done.qsize()):
                self._take_in(*self._done.get_nowait())

    def _take_in(self, client: TrackedClient, done: Future[Any]) -> None:
        found = done.result()
        if isinstance(found, Attempt):
            self._sending -= 1
            self._was_asked(client, found)
        else:
            self._looking -= 1
            self._was_seen(client, *found)

    def _was_asked(self, client: TrackedClient, attempt: Attempt) -> None:
        if not attempt.sent:
            self.roster.update(client, "waiting")
            return
        self._latency["move"] += 0.05 * (attempt.seconds - self._latency["move"])
        if attempt.error is not None:
            self._was_not_asked(client, attempt)
            return
        self._heard = self._clock()
        self._failing = None
        self._forbidden_in(client.region).fulfilled()
        self._first_asked = self._first_asked or self._heard
        self._found_any = self._found_any or attempt.found
        if attempt.found:
            self._in_flight.add(client.key)
        else:
            self._absent[client.key] = client.wave
        self.journal.note(self.mover.attempted(client_id=client.client_id, region=client.region, found=attempt.found))
        self._count_asked(client)
        self.roster.update(
            client, "told", due=attempt.at + FIRST_LOOK, kicked_at=attempt.epoch, told_at=attempt.at,
            found=int(attempt.found), kicks=client.kicks + 1, attempts=0, looks=0, note="", in_target=None,
            in_source=None,
        )  # fmt: skip

    def _count_asked(self, client: TrackedClient) -> None:
        wave = self._wave_now
        if client.kicks or client.wave != wave.number or not wave.unsent:
            return
        self.asked += 1
        if self._many_asked is None and self.asked > HANDFUL:
            self._many_asked = self._clock()
        wave.unsent -= 1
        if not wave.unsent:
            wave.complete = self._clock()
            self.seconds += wave.complete - wave.started

    def _was_not_asked(self, client: TrackedClient, attempt: Attempt) -> None:
        error = attempt.error
        assert error is not None  # noqa: S101 - for the type checker
        attempts = client.attempts + (not error.throttled)
        delay = self.mover.retry_delay(error, attempts)
        self._refusal = error
        if self._forbidden_in(client.region).persist(error) or (not error.throttled and self._silent(error)):
            self._fail(client, error, attempts)
            raise error
        if delay is not None:
            if error.forbidden:
                self.forbidden += 1
                self.journal.note(self.mover.failed(client_id=client.client_id, error=str(error)))
            self.roster.update(client, "waiting", due=attempt.at + delay, attempts=attempts)
            return
        # The client may still move by itself: it is looked for like the others.
        self._fail(client, error, attempts)
        self._refusals += 1
        if self._first_asked is None and self._refusals >= min(REFUSALS, self._wave_now.size):
            raise SwitchError(f"DeleteConnection: found none of {self._refusals} requests fulfilled: {error}")
        self._count_asked(client)
        self.roster.update(client, "told", due=self._clock(), attempts=attempts, looks=0, note=str(error))

    def _forbidden_in(self, region: str) -> Refusals:
        return self._forbidden.setdefault(region, Refusals(self._clock))

    def _silent(self, error: AwsError) -> bool:
        """Whether AWS has answered nothing for too long."""
        if not error.temporary:
            return False
        self._failing = self._failing or self._clock()
        return self._clock() - self._failing > SILENCE

    def _fail(self, client: TrackedClient, error: SwitchError, attempts: int) -> None:
        self.journal.write(self.mover.failed(client_id=client.client_id, error=str(error)))
        self.roster.update(client, "waiting", attempts=attempts, note=str(error))

    def _was_seen(self, client: TrackedClient, seen: Sighting, seconds: float) -> None:
        self._latency["look"] += 0.05 * (seconds - self._latency["look"])
        sighting: dict[str, Any] = {"in_target": seen.in_target, "in_source": seen.in_source}
        if seen.landed:
            self._has_landed(client, seen)
            return
        if seen.in_target or seen.in_source:
            self._absent.pop(client.key, None)
        now = self._clock()
        again = ask_again_at(seen, client, self.limits.ttl, now)
        # A client that AWS refused to disconnect is not tried again; one that was never tried is.
        if again is not None and (client.kicks or not client.attempts):
            back = went_back(seen, client)
            if back or again <= now:
                self._ask_again(client, seen, again, back)
                return
        looks = client.looks + 1
        if not client.connected_since and seen.in_source:
            # Lets a later connection be told apart.
            sighting["connected_since"] = seen.source_since
        self.roster.update(client, "told", due=now + next_look(looks), looks=looks, **sighting)

    def _has_landed(self, client: TrackedClient, seen: Sighting) -> None:
        self._heard = self._clock()
        self._in_flight.discard(client.key)
        self._absent.pop(client.key, None)
        self.landed += 1
        if client.wave == self._wave_now.number:
            self._wave_now.left -= 1
        self._landed_last.setdefault(client.target, deque(maxlen=WITNESSES)).append(client)
        self._arrived[client.target] += 1
        # 0 where AWS does not say since when.
        at = seen.target_since or 0.0
        seconds = round(max(0.0, at - client.kicked_at), 3) if client.kicks and at else None
        self.journal.note(events.Landed(client_id=client.client_id, region=client.target, seconds=seconds))
        self.roster.update(
            client, "landed", landed_at=at, in_target=1, in_source=None if seen.skipped else 0,
            looks=client.looks + 1,
        )  # fmt: skip

    def _ask_again(self, client: TrackedClient, seen: Sighting, at: float, back: bool) -> None:
        self._in_flight.discard(client.key)
        wait = max(0.0, at - self._clock())
        self.journal.write(events.SweepAgain(clients=[client.client_id], seconds=round(wait, 3)))
        # A client that was only looked for is in no wave, and would not be disconnected.
        wave = ANY_WAVE if client.wave == NO_WAVE else client.wave
        self.roster.update(
            client, "waiting", due=at, bounces=client.bounces + back, looks=client.looks + 1, wave=wave,
            connected_since=seen.source_since, in_target=seen.in_target, in_source=1,
        )  # fmt: skip

    def _note_rest(self) -> None:
        """Record requests that were under way at the end: a client that was, or may have been, disconnected is
        known."""
        while not self._done.empty():
            client, done = self._done.get_nowait()
            if not done.cancelled() and done.exception() is None and isinstance(done.result(), Attempt):
                attempt: Attempt = done.result()
                if attempt.sent and attempt.error is None:
                    self._was_asked(client, attempt)
                elif attempt.error is not None and attempt.error.uncertain:
                    self.roster.update(client, "waiting", attempts=client.attempts + 1)
        self._sending = self._looking = 0
        self.roster.settle()

    def _watch_over(self) -> None:
        """Run the guard now and then; an error ends the sweep."""
        now = self._clock()
        if self._guarding is not None and self._guarding.done():
            guarding, self._guarding = self._guarding, None
            self._guarded = now
            guarding.result()
        if self._guarding is None and now - self._guarded >= GUARD_SECONDS:
            self._guarding = self._pool.submit(self._guard.look, self)
        if self._all_vanished(now):
            raise SwitchError(
                f"DeleteConnection: found 404 for all {self.asked} clients and none of them in the region it "
                "belongs to, expected connections: check account, region and the spelling of the client IDs"
            )

    def _all_vanished(self, now: float) -> bool:
        """Whether AWS knew none of the clients, and none landed."""
        if self._many_asked is None or self._found_any or self.landed or self._sending:
            return False
        return now - self._many_asked > VANISHED_GRACE

    def _say(self, wave: Wave) -> None:
        now = self._clock()
        if now - self._said < PROGRESS_SECONDS:
            return
        self._said = now
        since, before = self._counted
        self._counted = (now, self.asked)
        rate = (self.asked - before) / (now - since)
        self._rate = rate if not self._rate else 0.7 * self._rate + 0.3 * rate
        sweeping = bool(wave.unsent)
        left = self.total - self.asked
        self.journal.note(events.Progress(
            phase="sweep" if sweeping else "landing", done=self.asked if sweeping else self.landed,
            total=max(self.total, self.landed), rate=round(self._rate, 1), landed=self.landed,
            in_flight=len(self._in_flight),
            eta=round(left / self._rate, 1) if sweeping and self._rate > 0 else None,
            stragglers=max(0, self.asked - self.landed),
        ))  # fmt: skip
