"""200 is not proof: who has landed, who went back, and when to send them away again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from ansible.module_utils.region_switch.errors import SwitchError
from ansible.module_utils.region_switch.fleet import Client
from ansible.module_utils.region_switch.landing import QUERY_RATE, RESOLVER_CACHE, Landing, Sighting, landed, went_back
from ansible.module_utils.region_switch.sweep import Kick

from .fakes import Clock, FakeAws, aws_error

OLD, NEW = "us-east-1", "ap-northeast-1"
CLIENT = Client("client_01", "mqtt1.example.com", OLD, 900.0)
NOWHERE: dict[str, Any] = {"connected": False}


def connected(since: float) -> dict[str, Any]:
    return {"connected": True, "connectedSince": int(since * 1000)}


def landing(clock: Clock, answers: dict[str, Any], again: list[float], timeout: float = 100.0) -> Landing:
    def sweep_again(clients: Sequence[Client]) -> list[Kick]:
        again.append(clock())
        answers.update({OLD: NOWHERE, NEW: connected(clock())})
        return [Kick(client, NEW, clock(), found=True) for client in clients]

    data = {region: FakeAws(lambda _operation, region=region, **_: answers[region]) for region in (OLD, NEW)}
    return Landing(data, sweep_again, ttl=0, timeout=timeout, clock=clock, sleep=clock.sleep, now=clock)


def test_seen_in_the_target_and_gone_from_the_source_has_landed() -> None:
    clock = Clock()
    flying = landing(clock, {OLD: NOWHERE, NEW: connected(1000.2)}, [])

    assert flying.wait([Kick(CLIENT, NEW, clock(), found=True)]) == []
    assert flying.bounced == set()


@pytest.mark.parametrize("answer", [NOWHERE, aws_error("InternalFailureException", 500), aws_error("NoAnswer", 0)])
def test_nothing_seen_in_the_target_is_a_straggler(answer: object) -> None:
    clock = Clock()
    flying = landing(clock, {OLD: NOWHERE, NEW: answer}, [], timeout=5)

    late = flying.wait([Kick(CLIENT, NEW, clock(), found=True)])

    assert [flight.kick.client for flight in late] == [CLIENT]


def test_no_answer_from_the_source_is_no_proof_that_the_client_left() -> None:
    clock = Clock()
    answers = {OLD: aws_error("ThrottlingException", 429), NEW: connected(1000.2)}

    assert len(landing(clock, answers, [], timeout=5).wait([Kick(CLIENT, NEW, clock(), found=True)])) == 1


def test_client_that_went_back_is_sent_away_again_when_caches_have_expired() -> None:
    clock, again = Clock(), list[float]()
    flying = landing(clock, {OLD: connected(1000.5), NEW: NOWHERE}, again)

    assert flying.wait([Kick(CLIENT, NEW, clock(), found=True)]) == []
    assert flying.bounced == {"client_01"}
    assert len(again) == 1
    assert again[0] >= 1000.5 + RESOLVER_CACHE


def test_all_vanished_and_none_landed_is_an_error() -> None:
    clock = Clock()

    with pytest.raises(SwitchError, match="404 for all 1 clients"):
        landing(clock, {OLD: NOWHERE, NEW: NOWHERE}, []).wait([Kick(CLIENT, NEW, clock(), found=False)])


def test_quota_of_get_connection_is_kept() -> None:
    clock = Clock()
    begun = clock()
    fleet = [Client(f"client_{number}", "mqtt1.example.com", OLD, 900.0) for number in range(200)]
    flying = landing(clock, {OLD: NOWHERE, NEW: connected(1000.2)}, [])

    assert flying.wait([Kick(client, NEW, clock(), found=True) for client in fleet]) == []
    assert clock() - begun >= 199 / QUERY_RATE


def test_missing_permission_is_an_error() -> None:
    clock = Clock()

    with pytest.raises(SwitchError, match="IAM"):
        landing(clock, {OLD: NOWHERE, NEW: aws_error("ForbiddenException", 403)}, []).wait(
            [Kick(CLIENT, NEW, clock(), found=True)]
        )


@pytest.mark.parametrize(("since", "back"), [(900.0, False), (900.4, False), (999.0, True), (1001.0, True)])
def test_connection_made_after_the_request_is_a_return(since: float, back: bool) -> None:
    """999.0 is before the request by this machine's clock, but a later connection than the one that was cut.

    900.4 is the connection that was cut: the index and GetConnection note different moments of it.
    """
    assert (
        went_back(Sighting(in_target=False, in_source=True, source_since=since), Kick(CLIENT, NEW, 1000.0, True))
        is back
    )


def test_connected_in_both_regions_has_not_landed() -> None:
    assert not landed(Sighting(in_target=True, in_source=True))
