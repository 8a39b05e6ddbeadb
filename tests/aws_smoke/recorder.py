"""Calls AWS, compares each answer with the models and with what was expected, and keeps it scrubbed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from lab.aws_api.operations import ERROR, Message, Models, problems_of
from region_switch.aws.data_plane import DataPlane

from .scrub import Scrubber

PREFIX = "region-switch-smoke-"
Say = Callable[[str], None]


@dataclass(frozen=True)
class Recorded:
    """One scrubbed answer, as it is kept in a file."""

    service: str
    operation: str
    status: int
    headers: dict[str, str]
    body: str

    @property
    def message(self) -> Message:
        return Message(self.headers, self.body.encode(), status=self.status)


def load(folder: Path) -> list[tuple[str, Recorded]]:
    """Return the answers of a folder with the names of their files.

    Raises:
        ValueError: a file that is none.
    """
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            found.append((path.name, Recorded(**json.loads(path.read_text(encoding="utf-8")))))
        except TypeError as error:
            raise ValueError(f"{path}: not an answer that make aws-smoke wrote ({error})") from error
    return found


def differences(models: Models, answer: Recorded) -> list[str]:
    """Return what botocore's model says otherwise than AWS did."""
    found = problems_of(models, answer.service, answer.operation, None, answer.message)
    return [f"{each.member}: found {each.found}, the model says {each.expected}" for _, each in found]


@dataclass
class Recorder:
    """The calls of a run. `failed` has what was other than expected, `unlike` what was other than the models say."""

    folder: Path
    scrubber: Scrubber
    say: Say
    failed: list[str] = field(default_factory=list)
    unlike: list[str] = field(default_factory=list)
    _models: Models = field(default_factory=Models)
    _count: int = 0

    def attach(self, client: Any) -> Any:
        """Have the answers to a boto3 client's calls noted; returns the client."""
        service = client.meta.service_model.service_name

        def note(response_dict: Mapping[str, Any], operation_model: Any, **_: Any) -> None:
            status, headers, body = (response_dict[key] for key in ("status_code", "headers", "body"))
            self.note(service, operation_model.name, status, headers, body)

        client.meta.events.register("before-parse", note)
        return client

    def note(self, service: str, operation: str, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Compare an answer with its model as it came, and keep it scrubbed."""
        self._count += 1
        lower = {name.lower(): str(value) for name, value in headers.items()}
        raw = problems_of(self._models, service, operation, None, Message(lower, body, status=status))
        for _, problem in raw:
            self.unlike.append(f"{service} {operation}: {problem.member}: the model says {problem.expected}")
        kept = Recorded(
            service, operation, status, self.scrubber.headers(lower), self.scrubber.body(body, error=status >= ERROR)
        )
        path = self.folder / f"{self._count:03}-{service}-{operation}-{status}.json"
        path.write_text(json.dumps(vars(kept), indent=2) + "\n", encoding="utf-8")

    def call(
        self, what: str, method: Callable[..., dict[str, Any]], expected: Iterable[str] = (), /, **parameters: Any
    ) -> dict[str, Any] | None:
        """Make one call and say how it ended; None where it failed or, as was expected, was refused.

        Args:
            expected: error codes of which one has to come; without any the call has to succeed.
        """
        codes, answer = tuple(expected), None
        try:
            answer = method(**parameters)
            found = "success"
        except ClientError as error:
            # Route 53 has a body of its own for a refused batch, in which botocore finds no code.
            found = error.response["Error"].get("Code") or "InvalidChangeBatch"
        except BotoCoreError as error:
            found = type(error).__name__
        right = found in codes if codes else found == "success"
        wanted = " or ".join(codes) or "success"
        self.say(
            f"  {'as expected' if right else 'OTHERWISE'}: {what}: {found}" + ("" if right else f", expected {wanted}")
        )
        if not right:
            self.failed.append(f"{what}: found {found}, expected {wanted}")
        return answer


class RecordingPlane(DataPlane):
    """The product's data plane, its answers noted: those that it reads itself do not pass through boto3."""

    def __init__(self, client: Any, credentials: Any, recorder: Recorder) -> None:
        super().__init__(client, credentials)
        self._recorder = recorder
        self.by_itself = 0

    def _read(self, operation: str, status: int, headers: Any, body: bytes) -> dict[str, Any]:
        self.by_itself += 1
        self._recorder.note("iot-data", operation, status, dict(headers.items()), body)
        return super()._read(operation, status, headers, body)
