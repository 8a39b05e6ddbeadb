"""Time that passes only when somebody sleeps, AWS clients that answer from a function, and Route 53."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from ansible.module_utils.region_switch.dns.method import Change
from ansible.module_utils.region_switch.dns.route53_cname import Route53Cname
from ansible.module_utils.region_switch.model.errors import AwsError
from ansible.module_utils.region_switch.model.names import plain
from ansible.module_utils.region_switch.move.runtime import Runtime


class Clock:
    """A clock and its sleep."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now
        self._lock = threading.Lock()

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.now += seconds


def on(clock: Clock) -> Runtime:
    """A machine on which time passes only when somebody sleeps."""

    def wait(_: threading.Event, seconds: float) -> bool:
        clock.sleep(seconds)
        return False

    return Runtime(monotonic=clock, now=clock, sleep=clock.sleep, wait=wait)


class FakeAws:
    """Answers `call` and `find` from a function of the operation and its parameters."""

    def __init__(self, answer: Callable[..., Any], region: str = "us-east-1") -> None:
        self._answer = answer
        self.region = region

    def call(self, operation: str, **parameters: Any) -> Any:
        answer = self._answer(operation, **parameters)
        if isinstance(answer, AwsError):
            raise answer
        return answer

    def find(self, operation: str, **parameters: Any) -> Any:
        try:
            return self.call(operation, **parameters)
        except AwsError as error:
            if error.not_found:
                return None
            raise

    def pages(self, operation: str, items: str, _cursor: tuple[str, str], **parameters: Any) -> Any:
        return self.call(operation, **parameters)[items]


def aws_error(code: str, status: int) -> AwsError:
    return AwsError("SomeOperation", "us-east-1", code, status, "some text.")


def cnames(route53: FakeAws, clock: Clock | None = None) -> Route53Cname:
    """The records of the zone Z1 of a Route 53."""
    clock = clock or Clock()
    aws: Any = SimpleNamespace(route53=route53, route53_writer=route53)
    return Route53Cname(aws, "Z1", clock, clock.sleep)


def batch_of(*changes: Change) -> list[dict[str, Any]]:
    """What Route 53 is sent for these changes."""
    sent: list[Any] = []

    def answer(_: str, **parameters: Any) -> Any:
        sent.extend(parameters["ChangeBatch"]["Changes"])
        return {"ChangeInfo": {"Id": "C1"}}

    cnames(FakeAws(answer)).swap(changes, "test")
    return sent


class Route53:
    """Route 53's side of a zone: a batch is all or none, DELETE takes exact matches only, CREATE nothing that exists.

    Args:
        records: `{name: record set}`.
        fates: what becomes of each batch, the first first: `answer lost`, `answered`, or one of REFUSALS.
    """

    def __init__(self, records: dict[str, dict[str, Any]], fates: list[str]) -> None:
        self.records = copy.deepcopy(records)
        self.fates = list(fates)
        self.applied = False

    def __call__(self, operation: str, **parameters: Any) -> Any:
        if operation == "ListResourceRecordSets":
            return {"ResourceRecordSets": copy.deepcopy(list(self.records.values()))}
        fate = self.fates.pop(0) if self.fates else "answered"
        if fate in REFUSALS:
            return REFUSALS[fate]
        answer = self._change(parameters["ChangeBatch"]["Changes"])
        return aws_error("NoAnswer", 0) if fate == "answer lost" else answer

    def _change(self, changes: list[dict[str, Any]]) -> Any:
        after = dict(self.records)
        for change in changes:
            entry = change["ResourceRecordSet"]
            name = plain(entry["Name"])
            if change["Action"] == "DELETE" and after.get(name) != entry:
                return aws_error("InvalidChangeBatch", 400)
            if change["Action"] == "CREATE" and name in after:
                return aws_error("InvalidChangeBatch", 400)
            self.writes(name)
            after.pop(name, None)
            if change["Action"] != "DELETE":
                after[name] = entry
        self.records, self.applied = after, True
        return {"ChangeInfo": {"Id": "C1"}}

    def writes(self, name: str) -> None:
        """Called for each record that a batch writes."""


REFUSALS = {
    "busy": aws_error("PriorRequestNotComplete", 400),
    "throttled": aws_error("Throttling", 400),
    "request lost": aws_error("NoAnswer", 0),
    "failed": aws_error("InternalFailure", 500),
    "denied": aws_error("AccessDenied", 403),
    "invalid": aws_error("InvalidChangeBatch", 400),
}
