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
from .landing import FIRST_LOOK, next_look, tell_again_at, went_back
from .runtime import MACHINE, Runtime
from .way import Attempt, Sighting, Way

# Requests under way at most, by kind; how many are needed follows from the latency that is measured.
MOST_WORKERS = 128
FEWEST_WORKERS = 16
# Given to a wave at once: a million would hold everything else up for half a minute.
PIECE = 2000
TICK = 0.05
PROGRESS_SECONDS = 1.0
GUARD_SECONDS = 2.0
# Time that clients who had left before they were told to get to show up anywhere.
VANISHED_GRACE = 15.0
NAMES_SHOWN = 10
# An API that fulfils nothing for so long, while it is asked, is down.
SILENCE = 30.0
# Beyond the time that clients get to land: what looking once for each who was told takes.
LOOK_SECONDS = 10.0
# A refusal that is no use to try again ends it, where so many clients met it and not one request was fulfilled.
REFUSALS = 20
# Clients that landed last in a region: whether they are still there says whether it is.
WITNESSES = 5
# So few may all have gone by themselves since they were found; of more, it is the list that is wrong.
HANDFUL = 5


class WaveError(SwitchError):
    """Too many clients of a wave did not land."""


class LateError(SwitchError):
    """Too many of the clients that came after the fleet had moved did not land: no reason to send the others back."""


class UnprovenError(SwitchError):
    """Too many clients of a wave could not be looked at, or not be told: whether they land is not known."""


@dataclass(frozen=True)
class Limits:
    """How a wave is judged.

    Attributes:
        max_stragglers: percent of a wave that may be missing when the next one begins.
        max_in_flight: clients told to leave and not landed, at most.
        landing_timeout: seconds that the clients of a wave may take after the last of them was told.
        ttl: seconds that resolvers may keep the old answer.
    """

    max_stragglers: float
    max_in_flight: int
    landing_timeout: float
    ttl: float


class Witness(Protocol):
    """What a sweep has seen of the regions that clients are sent to."""

    def arrived(self, region: str) -> int:
        """How many clients were seen to land there so far."""

    def still_there(self, region: str) -> bool:
        """Whether AWS says that one of those who landed there last is connected there now."""


class Guard:
    """Watches over a sweep; this one finds nothing.

    Attributes:
        holding: while true, nobody else is told to leave.
        over: the sweep has ended, and nobody waits for what a look finds.
    """

    holding = False
    over = False

    def look(self, witness: Witness) -> None:
        """Look once; what is raised ends the sweep."""


@dataclass
class Wave:
    """A wave under way.

    Attributes:
        unsent: clients that were not told yet; left: those that have not landed.
        complete: monotonic seconds at which the last client was told, None before.
        unassigned: clients of its size that the roster has not yet given to it.
    """

    number: int
    size: int
    unsent: int
    left: int
    started: float
    complete: float | None = None
    unassigned: int = 0


class Sweep:
    """Works a roster off.

    Args:
        guard: looks every few seconds, beside the work, whether it may go on.
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
        self.told = 0
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
        self._first_told: float | None = None
        # When more than a handful had been told.
        self._many_told: float | None = None
        # Who had gone when it was told, and was nowhere since, with its wave.
        self._absent: dict[tuple[str, str], int] = {}
        self._heard = self._said = self._guarded = self._clock()
        self._failing: float | None = None
        self._guarding: Future[None] | None = None
        self._rate = 0.0
        self._counted = (self._clock(), 0)

    def run(self, sizes: list[int], first: int = 1, moved: int = 0) -> int:
        """Evacuate the clients that wait, in waves of these sizes, numbered from `first`; return the next number.

        Args:
            moved: how many clients a move had that is over; whoever comes late is judged together with them.

        Raises:
            WaveError: too many clients of a wave did not land in time; nobody else was told to leave.
            LateError: the same of clients that came late.
            UnprovenError: too many of them could not be looked at, or not be told.
            AwsError: AWS refuses, or does not fulfil anything any more.
            SwitchError: AWS knew none of the clients, and none shows up where it belongs.
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
        """Look for everyone who is on the way and has not landed, until all have or the time is over."""
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
        """Threads that tell and look; in the end nothing is sent any more, and what was sent is noted."""
        self.mover.start()
        self._guard.over = False
        with self._runtime.pool(MOST_WORKERS + MOST_WORKERS) as self._pool:
            try:
                yield
            finally:
                self.mover.stop()
                self._guard.over = True
                self._pool.shutdown(cancel_futures=True)
                # A look that did not begin has no result for those who work on.
                if self._guarding is not None and self._guarding.cancelled():
                    self._guarding = None
                self._note_rest()

    def _wave(self, number: int, last: int, size: int, moved: int) -> bool:
        """Whether the wave proved anything: it did not where all its clients had gone before they were told."""
        self.journal.write(events.Sweep(wave=number, waves=last, clients=size))
        wave = Wave(number, size, size, size, self._clock(), unassigned=size)
        self._work(wave)
        absent = self.roster.absent(number) if wave.left else 0
        self.journal.write(events.Landing(wave=number, landed=size - wave.left, late=wave.left, absent=absent))
        if wave.left - absent > (moved + size) * self.limits.max_stragglers / 100:
            raise self._verdict(wave, wave.left - absent, moved)
        return absent < size

    def _verdict(self, wave: Wave, late: int, moved: int) -> SwitchError:
        """What is wrong with a wave that did not land: only who was looked for and not found is known not to have."""
        place = "clients that came late" if moved else f"wave {wave.number}"
        allowed = f"{self.limits.max_stragglers:g} % {f'of {moved + wave.size} ' if moved else ''}at most"
        missing, unseen = self.roster.not_landed(wave.number)
        not_told = late - missing - unseen
        if missing > (moved + wave.size) * self.limits.max_stragglers / 100:
            names = listed(self.roster.late_of(wave.number, NAMES_SHOWN + 1), NAMES_SHOWN)
            return (LateError if moved else WaveError)(
                f"{place}: found {wave.left} of {wave.size} clients not landed within "
                f"{self.limits.landing_timeout:.0f} s ({names}), expected {allowed}"
            )
        if not_told > unseen:
            why = f" ({self._refusal})" if self._refusal else ""
            return UnprovenError(f"{place}: found {not_told} of {wave.size} clients not told{why}, expected {allowed}")
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
        """Whether a wave's time is up: counted from its last client, or from when anything was last heard."""
        now, timeout = self._clock(), self.limits.landing_timeout
        if self._is_empty(wave) and now - (wave.complete or now) > VANISHED_GRACE:
            # The fleet need not wait for who is not there; the last look is for these, too.
            return not self.roster.not_looked_for(wave.number)
        late = now - (self._heard if wave.complete is None else wave.complete) - timeout
        # Nobody is judged who has not been looked for.
        return late > LOOK_SECONDS or (late > 0 and not self.roster.not_looked_for(wave.number))

    def _is_empty(self, wave: Wave) -> bool:
        """Whether a wave of a handful, such as a canary, has nobody who was there when it was told."""
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
        """How many more clients may be told to leave now."""
        if self._guard.holding:
            return 0
        flying = len(self._in_flight) + self._sending
        return max(0, min(self._workers("move") - self._sending, self.limits.max_in_flight - flying))

    def _next(self, wave: Wave, now: float, limit: int) -> list[TrackedClient]:
        """Who is to be told to leave now."""
        found = self.roster.take_waiting(wave.number, now, limit)
        if len(found) < limit and wave.unassigned:
            piece = min(wave.unassigned, PIECE)
            self.roster.assign(wave.number, piece)
            wave.unassigned -= piece
            found += self.roster.take_waiting(wave.number, now, limit - len(found))
        return found

    def _workers(self, kind: str) -> int:
        """By Little's law, and as much again."""
        needed = math.ceil(2 * max(self.mover.rate(), 1.0) * self._latency[kind])
        return max(FEWEST_WORKERS, min(MOST_WORKERS, needed))

    def _look(self, client: TrackedClient) -> tuple[Sighting, float]:
        started = self._clock()
        return self.proof.look(client), self._clock() - started

    def _submit(self, work: Callable[[TrackedClient], Any], client: TrackedClient) -> None:
        future = self._pool.submit(work, client)
        future.add_done_callback(lambda done: self._done.put((client, done)))

    def _collect(self) -> None:
        """Take in what has been done; wait a moment when that is nothing."""
        first = self._runtime.take(self._done, TICK)
        if first is not None:
            self._take_in(*first)
            for _ in range(self._done.qsize()):
                self._take_in(*self._done.get_nowait())

    def _take_in(self, client: TrackedClient, done: Future[Any]) -> None:
        found = done.result()
        if isinstance(found, Attempt):
            self._sending -= 1
            self._was_told(client, found)
        else:
            self._looking -= 1
            self._was_seen(client, *found)

    def _was_told(self, client: TrackedClient, told: Attempt) -> None:
        if not told.sent:
            self.roster.update(client, "waiting")
            return
        self._latency["move"] += 0.05 * (told.seconds - self._latency["move"])
        if told.error is not None:
            self._was_not_told(client, told)
            return
        self._heard = self._clock()
        self._failing = None
        self._forbidden_in(client.region).fulfilled()
        self._first_told = self._first_told or self._heard
        self._found_any = self._found_any or told.found
        if told.found:
            self._in_flight.add(client.key)
        else:
            self._absent[client.key] = client.wave
        self.journal.note(self.mover.attempted(client_id=client.client_id, region=client.region, found=told.found))
        self._count_told(client)
        self.roster.update(
            client, "told", due=told.at + FIRST_LOOK, kicked_at=told.epoch, told_at=told.at,
            found=int(told.found), kicks=client.kicks + 1, attempts=0, looks=0, note="", in_target=None,
            in_source=None,
        )  # fmt: skip

    def _count_told(self, client: TrackedClient) -> None:
        wave = self._wave_now
        if client.kicks or client.wave != wave.number or not wave.unsent:
            return
        self.told += 1
        if self._many_told is None and self.told > HANDFUL:
            self._many_told = self._clock()
        wave.unsent -= 1
        if not wave.unsent:
            wave.complete = self._clock()
            self.seconds += wave.complete - wave.started

    def _was_not_told(self, client: TrackedClient, told: Attempt) -> None:
        error = told.error
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
            self.roster.update(client, "waiting", due=told.at + delay, attempts=attempts)
            return
        # Whatever AWS said, the client may yet move by itself: it is looked for like the others.
        self._fail(client, error, attempts)
        self._refusals += 1
        if self._first_told is None and self._refusals >= min(REFUSALS, self._wave_now.size):
            raise SwitchError(f"DeleteConnection: found none of {self._refusals} requests fulfilled: {error}")
        self._count_told(client)
        self.roster.update(client, "told", due=self._clock(), attempts=attempts, looks=0, note=str(error))

    def _forbidden_in(self, region: str) -> Refusals:
        return self._forbidden.setdefault(region, Refusals(self._clock))

    def _silent(self, error: AwsError) -> bool:
        """Whether AWS has fulfilled nothing for too long while it was asked."""
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
        again = tell_again_at(seen, client, self.limits.ttl, now)
        # A client that AWS refused to disconnect is not told again; one that nobody has told yet is.
        if again is not None and (client.kicks or not client.attempts):
            back = went_back(seen, client)
            if back or again <= now:
                self._tell_again(client, seen, again, back)
                return
        looks = client.looks + 1
        if not client.connected_since and seen.in_source:
            # From now on it is told from a later one.
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

    def _tell_again(self, client: TrackedClient, seen: Sighting, at: float, back: bool) -> None:
        self._in_flight.discard(client.key)
        wait = max(0.0, at - self._clock())
        self.journal.write(events.SweepAgain(clients=[client.client_id], seconds=round(wait, 3)))
        # One that was only looked for is in no wave, where nobody would tell it.
        wave = ANY_WAVE if client.wave == NO_WAVE else client.wave
        self.roster.update(
            client, "waiting", due=at, bounces=client.bounces + back, looks=client.looks + 1, wave=wave,
            connected_since=seen.source_since, in_target=seen.in_target, in_source=1,
        )  # fmt: skip

    def _note_rest(self) -> None:
        """Note what was still under way when the work ended: a client that was told, or may have been, is known."""
        while not self._done.empty():
            client, done = self._done.get_nowait()
            if not done.cancelled() and done.exception() is None and isinstance(done.result(), Attempt):
                told: Attempt = done.result()
                if told.sent and told.error is None:
                    self._was_told(client, told)
                elif told.error is not None and told.error.uncertain:
                    self.roster.update(client, "waiting", attempts=client.attempts + 1)
        self._sending = self._looking = 0
        self.roster.settle()

    def _watch_over(self) -> None:
        """Look up from the work now and then; what is found wrong ends it."""
        now = self._clock()
        if self._guarding is not None and self._guarding.done():
            guarding, self._guarding = self._guarding, None
            self._guarded = now
            guarding.result()
        if self._guarding is None and now - self._guarded >= GUARD_SECONDS:
            self._guarding = self._pool.submit(self._guard.look, self)
        if self._all_vanished(now):
            raise SwitchError(
                f"DeleteConnection: found 404 for all {self.told} clients and none of them in the region it "
                "belongs to, expected connections: check account, region and the spelling of the client IDs"
            )

    def _all_vanished(self, now: float) -> bool:
        """Whether AWS knew nobody that it was told to disconnect, and nobody shows up where they belong."""
        if self._many_told is None or self._found_any or self.landed or self._sending:
            return False
        return now - self._many_told > VANISHED_GRACE

    def _say(self, wave: Wave) -> None:
        now = self._clock()
        if now - self._said < PROGRESS_SECONDS:
            return
        self._said = now
        since, before = self._counted
        self._counted = (now, self.told)
        rate = (self.told - before) / (now - since)
        self._rate = rate if not self._rate else 0.7 * self._rate + 0.3 * rate
        sweeping = bool(wave.unsent)
        left = self.total - self.told
        self.journal.note(events.Progress(
            phase="sweep" if sweeping else "landing", done=self.told if sweeping else self.landed,
            total=max(self.total, self.landed), rate=round(self._rate, 1), landed=self.landed,
            in_flight=len(self._in_flight),
            eta=round(left / self._rate, 1) if sweeping and self._rate > 0 else None,
            stragglers=max(0, self.told - self.landed),
        ))  # fmt: skip
