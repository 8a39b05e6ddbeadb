"""Threads of which one runs at a time, on a clock that passes only while all of them wait.

Each is a real thread, so that SQLite and the engine see what they know; which one goes on, and when, is decided here,
so that the same history comes out of the same seed.
"""

from __future__ import annotations

import heapq
import itertools
import math
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future
from concurrent.futures import wait as _wait
from typing import Any

# What a thread takes from the code it runs besides: no recursion, no big frames.
_STACK = 512 * 1024
# Wakes-up without any time passing: more are an endless loop.
_MOST = 200_000


class Killed(BaseException):
    """The process of this thread was killed: it does not do anything any more."""


class StuckError(Exception):
    """Every thread waits, and nothing will ever happen."""


class Process:
    """What is killed or stopped as a whole: a thread that began it, and those that were begun by it.

    Attributes:
        dead: whether it was killed.
        stop: what is to be raised in its first thread as soon as that heeds signals; stopped: whether it was.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.dead = False
        self.heeds = self.stopped = False
        self.stop: BaseException | None = None
        self.first: Task | None = None


class Task:
    """Something that runs or waits."""

    def __init__(self, process: Process, work: Callable[[], None] | None) -> None:
        self.process = process
        self.work = work
        self.begun = self.done = False
        self.until = 0.0
        self.ready: Callable[[], bool] | None = None
        self.lock = threading.Lock()
        self.lock.acquire()

    def interrupted(self) -> bool:
        process = self.process
        return process.dead or (process.stop is not None and process.heeds and process.first is self)


class Scheduler:
    """Runs tasks in turn.

    Attributes:
        time: seconds since the world began, by the clock that nobody sets.
    """

    def __init__(self) -> None:
        self.time = 1000.0
        self.outside = Process("outside")
        self.current = self._driver = Task(self.outside, None)
        self.outside.first = self._driver
        self._waiting: deque[Task] = deque()
        self._idle: list[_Worker] = []
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._number = itertools.count()
        self._still = 0

    def at(self, time: float, event: Callable[[], None]) -> None:
        """Have something happen at a time; it must not wait."""
        heapq.heappush(self._events, (max(time, self.time), next(self._number), event))

    def after(self, seconds: float, event: Callable[[], None]) -> None:
        self.at(self.time + seconds, event)

    def spawn(self, process: Process, work: Callable[[], None]) -> Task:
        """Have a task begin when it is its turn."""
        task = Task(process, work)
        if process.first is None:
            process.first = task
        self._waiting.append(task)
        return task

    def sleep(self, seconds: float) -> None:
        self.block(seconds)

    def block(self, seconds: float = math.inf, ready: Callable[[], bool] | None = None) -> None:
        """Let the others go on until a time has passed or something is so.

        Raises:
            Killed: this process is gone.
        """
        task = self.current
        self.check()
        task.until, task.ready = self.time + max(0.0, seconds), ready
        self._waiting.append(task)
        self._hand_over(task)
        self.check()

    def check(self) -> None:
        """Raise what is to be raised in the thread that asks."""
        process = self.current.process
        if process.dead:
            raise Killed
        if self.current.interrupted():
            reason, process.stop, process.stopped = process.stop, None, True
            assert reason is not None
            raise reason

    def _hand_over(self, task: Task | None) -> None:
        """Let the next one go on; come back when it is the turn of `task`, at once where it is None."""
        following = self._next()
        self.current = following
        if following is task:
            return
        if following.work is not None and not following.begun:
            worker = self._idle.pop() if self._idle else _Worker(self)
            worker.take(following)
        else:
            following.lock.release()
        if task is not None:
            task.lock.acquire()

    def _next(self) -> Task:
        while True:
            for _ in range(len(self._waiting)):
                task = self._waiting.popleft()
                if self._runnable(task):
                    self._still += 1
                    if self._still > _MOST:
                        raise StuckError(f"a loop at {self.time}")
                    return task
                self._waiting.append(task)
            self._pass_time()

    def _runnable(self, task: Task) -> bool:
        if not task.begun and task.work is not None:
            return True
        return task.until <= self.time or task.interrupted() or (task.ready is not None and task.ready())

    def _pass_time(self) -> None:
        wake = min((task.until for task in self._waiting if task.begun or task.work is None), default=math.inf)
        happens = self._events[0][0] if self._events else math.inf
        if wake == math.inf and happens == math.inf:
            raise StuckError("everybody waits for ever")
        self._still = 0
        if happens <= wake:
            self.time, _, event = heapq.heappop(self._events)
            event()
        else:
            self.time = wake

    def ended(self, worker: _Worker) -> None:
        """What a worker calls when its task is over."""
        self._idle.append(worker)
        self._hand_over(None)

    def rest(self) -> None:
        """Wait, outside, until every process has ended."""
        self.block(ready=lambda: not self._waiting)

    def close(self) -> None:
        """End the threads, all of which have nothing to do."""
        for worker in self._idle:
            worker.end()


class _Worker:
    """A real thread, which runs one task after the other."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._task: Task | None = None
        self._lock = threading.Lock()
        self._lock.acquire()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def take(self, task: Task) -> None:
        task.begun = True
        self._task = task
        self._lock.release()

    def end(self) -> None:
        self._task = None
        self._lock.release()
        self._thread.join()

    def _run(self) -> None:
        while True:
            self._lock.acquire()
            task = self._task
            if task is None:
                return
            assert task.work is not None
            try:
                if not task.process.dead:
                    task.work()
            except Killed:
                pass
            finally:
                task.done = True
                self._scheduler.ended(self)


class WorldFuture(Future[Any]):
    """A future whose result is waited for in the world's time."""

    def __init__(self, scheduler: Scheduler) -> None:
        super().__init__()
        self._scheduler = scheduler

    def result(self, timeout: float | None = None) -> Any:
        self._await(timeout)
        return super().result(0)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        self._await(timeout)
        return super().exception(0)

    def _await(self, timeout: float | None) -> None:
        if not self.done():
            self._scheduler.block(math.inf if timeout is None else timeout, self.done)


class Pool(Executor):
    """An executor with as many workers as it needs."""

    def __init__(self, scheduler: Scheduler, _workers: int | None = None, **_: object) -> None:
        self._scheduler = scheduler
        self._futures: list[WorldFuture] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> WorldFuture:  # type: ignore[override]
        future = WorldFuture(self._scheduler)

        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001 - as an executor does
                future.set_exception(error)
            else:
                future.set_result(result)

        self._futures = [each for each in self._futures if not each.done()]
        self._futures.append(future)
        self._scheduler.spawn(self._scheduler.current.process, work)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        if cancel_futures:
            for future in self._futures:
                future.cancel()
        left = [future for future in self._futures if not future.done()]
        if wait and left:
            self._scheduler.block(ready=lambda: all(future.done() for future in left))


def wait(scheduler: Scheduler, futures: Iterable[Future[Any]], timeout: float | None = None) -> Any:
    """`concurrent.futures.wait`, for all to complete."""
    asked = set(futures)
    if not all(future.done() for future in asked):
        seconds = math.inf if timeout is None else timeout
        scheduler.block(seconds, lambda: all(future.done() for future in asked))
    return _wait(asked, 0)


class Event:
    """`threading.Event`."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._set = False

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        self._set = True

    def clear(self) -> None:
        self._set = False

    def wait(self, timeout: float | None = None) -> bool:
        if not self._set:
            self._scheduler.block(math.inf if timeout is None else timeout, self.is_set)
        return self._set


class Queue:
    """`queue.Queue`, as far as the engine uses it."""

    def __init__(self, scheduler: Scheduler, size: int) -> None:
        self._scheduler = scheduler
        self._size = size
        self._items: deque[Any] = deque()

    def put(self, item: Any, timeout: float) -> None:
        if len(self._items) >= self._size:
            self._scheduler.block(timeout, lambda: len(self._items) < self._size)
            if len(self._items) >= self._size:
                raise queue.Full
        self._items.append(item)

    def get(self) -> Any:
        if not self._items:
            self._scheduler.block(ready=lambda: bool(self._items))
        return self._items.popleft()
