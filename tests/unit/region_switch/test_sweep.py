"""Who is disconnected, how fast, and what AWS's answers mean."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.region_switch.errors import AwsError
from ansible.module_utils.region_switch.fleet import Client
from ansible.module_utils.region_switch.journal import Journal
from ansible.module_utils.region_switch.pace import BURST_SECONDS
from ansible.module_utils.region_switch.sweep import ATTEMPTS, CLIENT_INTERVAL, WORKERS, Sweeper

from .fakes import Clock, FakeAws, aws_error

OLD, NEW, ENDPOINT = "us-east-1", "ap-northeast-1", "mqtt1.example.com"
GONE = aws_error("ResourceNotFoundException", 404)


class Region:
    """Answers DeleteConnection with each client's next answer, the last of them for ever."""

    def __init__(self, answers: dict[str, list[Any]]) -> None:
        self.asked: Counter[str] = Counter()
        self.parameters: list[dict[str, Any]] = []
        self._answers = answers
        self._lock = threading.Lock()

    def __call__(self, _operation: str, **parameters: Any) -> Any:
        client_id = parameters["clientId"]
        with self._lock:
            self.parameters.append(parameters)
            self.asked[client_id] += 1
            answers = self._answers.get(client_id, [{}])
            return answers[min(self.asked[client_id], len(answers)) - 1]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.jsonl") as journal:
        yield journal


def clients(number: int) -> list[Client]:
    return [Client(f"client_{index}", ENDPOINT, OLD, 900.0) for index in range(number)]


def sweeper(region: Region, journal: Journal, clock: Clock, rate: float = 100) -> Sweeper:
    return Sweeper({OLD: FakeAws(region)}, rate, journal, sleep=clock.sleep, clock=clock, now=clock)


def test_client_that_is_gone_already_is_success(journal: Journal) -> None:
    region = Region({"client_1": [GONE]})

    kicks = sweeper(region, journal, Clock()).sweep(clients(2), {ENDPOINT: NEW})

    assert [(kick.client.client_id, kick.found, kick.target) for kick in kicks] == [
        ("client_0", True, NEW),
        ("client_1", False, NEW),
    ]
    assert region.asked == {"client_0": 1, "client_1": 1}


def test_will_and_session_are_kept_unless_asked_for(journal: Journal) -> None:
    region = Region({})

    sweeper(region, journal, Clock()).sweep(clients(1), {ENDPOINT: NEW})

    assert region.parameters == [{"clientId": "client_0", "cleanSession": False, "preventWillMessage": True}]


def test_quota_is_kept(journal: Journal) -> None:
    clock, region = Clock(), Region({})
    begun = clock()

    sweeper(region, journal, clock, rate=10).sweep(clients(50), {ENDPOINT: NEW})

    assert clock() - begun >= 49 / 10 - BURST_SECONDS


@pytest.mark.parametrize("error", [aws_error("InternalFailureException", 500), aws_error("NoAnswer", 0)])
def test_passing_failure_is_tried_again_after_the_client_s_own_quota(journal: Journal, error: AwsError) -> None:
    clock, region = Clock(), Region({"client_0": [error, error, {}]})
    begun = clock()

    [kick] = sweeper(region, journal, clock).sweep(clients(1), {ENDPOINT: NEW})

    assert kick.found
    assert kick.at - begun >= 2 * CLIENT_INTERVAL


def test_failure_that_stays_is_given_up(journal: Journal) -> None:
    region = Region({"client_0": [aws_error("ServiceUnavailableException", 503)]})

    with pytest.raises(AwsError, match="ServiceUnavailableException"):
        sweeper(region, journal, Clock()).sweep(clients(1), {ENDPOINT: NEW})

    assert region.asked["client_0"] == ATTEMPTS


def test_throttled_request_is_counted_and_slows_down(journal: Journal) -> None:
    clock, region = Clock(), Region({"client_0": [aws_error("ThrottlingException", 429), {}]})
    sweep = sweeper(region, journal, clock)

    sweep.sweep(clients(1), {ENDPOINT: NEW})

    assert (sweep.calls, sweep.throttled) == (2, 1)
    assert sweep._buckets[OLD].rate < 100


@pytest.mark.parametrize(
    "error", [aws_error("ForbiddenException", 403), aws_error("UnauthorizedException", 401)], ids=["403", "401"]
)
def test_missing_permission_ends_the_sweep_at_once(journal: Journal, error: AwsError) -> None:
    region = Region({f"client_{index}": [error] for index in range(1000)})

    with pytest.raises(AwsError, match="IAM"):
        sweeper(region, journal, Clock()).sweep(clients(1000), {ENDPOINT: NEW})

    assert max(region.asked.values()) == 1
    assert len(region.asked) < 1000 - WORKERS
