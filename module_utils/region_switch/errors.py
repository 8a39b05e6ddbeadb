"""Errors that end a run with one line for the operator."""

from __future__ import annotations

SHOWN = 200


def one_line(value: object) -> str:
    """A value from outside, as an error shows it: one line, text in quotes, cut where it is long."""
    if value is None or value == "":
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    shown = " ".join(repr(value).split())
    return shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}…"


class SwitchError(Exception):
    """What was found, what was expected and what to do: one line, whatever others' words are in it."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class RefusedError(SwitchError):
    """The move would go wrong; nothing was changed."""


class RecordsChangedError(RefusedError):
    """Somebody else changed the records between reading and switching them; nothing was overwritten."""


class NotConvergedError(SwitchError):
    """A server did not answer as expected within its time."""


class AwsError(SwitchError):
    """A request that AWS did not fulfil.

    Attributes:
        operation: AWS's name, such as `DeleteConnection`.
        code: AWS's error code, or `NoAnswer` when none came.
        status: HTTP status, 0 when no answer came.
        text: AWS's own words, on one line.
    """

    def __init__(self, operation: str, region: str, code: str, status: int, message: str) -> None:
        self.operation = operation
        self.region = region
        self.code = code
        self.status = status
        self.text = " ".join(message.split()).rstrip(".")
        super().__init__(f"{operation} in {region}: found {code} ({self.text}), expected success: {_advice(self)}")

    @property
    def not_found(self) -> bool:
        return self.code in _NOT_FOUND

    @property
    def throttled(self) -> bool:
        return self.status == 429 or self.code in _THROTTLED

    @property
    def denied(self) -> bool:
        return self.status in (401, 403)

    @property
    def temporary(self) -> bool:
        """Whether the same request may succeed later (no answer, or the server's own failure)."""
        return self.throttled or self.status == 0 or self.status >= 500


_NOT_FOUND = {"ResourceNotFoundException", "NoSuchHostedZone", "NoSuchChange"}
_THROTTLED = {"Throttling", "ThrottlingException", "TooManyRequestsException", "PriorRequestNotComplete"}


def _advice(error: AwsError) -> str:
    if error.denied:
        return f"allow the caller this action ({error.operation}) in IAM, or use other credentials"
    if error.throttled:
        return "run again when other callers of this quota are done"
    if error.status == 0:
        return "check network, credentials and AWS_ENDPOINT_URL, then run again"
    if error.status >= 500:
        return "run again; see the AWS Health Dashboard if it stays"
    return "correct what the message names, then run again"


class StorageError(SwitchError):
    """A file of a run's report could not be written: its disk is full, read-only or damaged."""
