"""Connected clients, found by index, things and client IDs: read in a stream, under quotas, ended by an error."""

from __future__ import annotations

import threading
import tracemalloc
import uuid
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args, get_type_hints

import pytest
from ansible.module_utils.region_switch.aws import paced
from ansible.module_utils.region_switch.aws.clients import AwsClient
from ansible.module_utils.region_switch.aws.paced import ATTEMPTS, CLIENT_INTERVAL, Paced, StoppedError
from ansible.module_utils.region_switch.aws.refusals import FORBIDDEN_ATTEMPTS
from ansible.module_utils.region_switch.aws.token_bucket import BURST_SECONDS, TokenBucket
from ansible.module_utils.region_switch.fleet.client_list import ClientListSource
from ansible.module_utils.region_switch.fleet.index import READINGS, IndexSource
from ansible.module_utils.region_switch.fleet.source import Connection, FleetSource
from ansible.module_utils.region_switch.fleet.sources import SOURCES, chosen
from ansible.module_utils.region_switch.fleet.stream import BATCH_SIZE, BATCHES_WAITING, asking, stream
from ansible.module_utils.region_switch.fleet.things import ThingsSource
from ansible.module_utils.region_switch.model.errors import AwsError, RefusedError, SwitchError
from ansible.module_utils.region_switch.model.options import FleetOptions

from .fakes import Clock, FakeAws, aws_error

REGION, OTHER, ENDPOINT = "us-east-1", "ap-northeast-1", "mqtt1.example.com"
INDEX, THINGS, CLIENTS = (source(FleetOptions()) for source in (IndexSource, ThingsSource, ClientListSource))
ENDED = 30.0

Answer = Callable[..., Any]


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Nobody waits really."""
    clock = Clock()

    def pause(requests: Paced, seconds: float) -> None:
        if requests._stop.is_set():
            raise StoppedError("stopped")
        clock.sleep(seconds)

    monkeypatch.setattr(Paced, "_pause", pause)
    monkeypatch.setattr(paced, "TokenBucket", lambda rate, sleep: TokenBucket(rate, clock, sleep))
    return clock


def account(answers: dict[str, Answer]) -> Any:
    """An account whose regions answer by a function of the operation and its parameters, both planes alike."""
    clients = {region: FakeAws(answer, region) for region, answer in answers.items()}
    return SimpleNamespace(iot=clients, data=clients)


def listed(*client_ids: str) -> ClientListSource:
    return ClientListSource(FleetOptions(client_ids=[*client_ids]))


def found(answer: Answer, source: FleetSource = INDEX) -> list[Connection]:
    return [client for batch in stream(account({REGION: answer}), [REGION], source) for client in batch]


def thing(name: str, endpoint: str | None = ENDPOINT, **connectivity: Any) -> dict[str, Any]:
    attributes = {} if endpoint is None else {"mqtt_endpoint": endpoint}
    return {"thingName": name, "attributes": attributes, "connectivity": {"connected": True, **connectivity}}


def index(*pages: list[dict[str, Any]]) -> Answer:
    """An index of these pages; a page may be empty and not be the last."""

    def answer(_operation: str, nextToken: str = "0", **_: Any) -> dict[str, Any]:  # noqa: N803 - AWS's name
        number = int(nextToken)
        more = {"nextToken": str(number + 1)} if number + 1 < len(pages) else {}
        return {"things": pages[number], **more}

    return answer


def endless(_operation: str, **_: Any) -> dict[str, Any]:
    return {"things": [thing("client_01")] * 100, "nextToken": uuid.uuid4().hex}


def workers() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name.startswith("ThreadPoolExecutor")]


def assert_workers_end(before: list[threading.Thread]) -> None:
    for each in workers():
        if each not in before:
            each.join(ENDED)
            assert not each.is_alive()


def test_every_choice_of_an_operator_is_a_source() -> None:
    assert tuple(SOURCES) == get_args(get_type_hints(FleetOptions)["discovery"])


def test_every_page_is_read() -> None:
    clients = found(index([thing("client_01", timestamp=5000)], [], [thing("client_02")]))

    assert clients == [Connection("client_01", ENDPOINT, REGION, 5.0), Connection("client_02", ENDPOINT, REGION, 0.0)]


def refusing_pages(times: int, pages: int = 4) -> tuple[Answer, list[int]]:
    """An index that changes while it is read: its last page is refused so many times."""
    read, left = index(*[[thing(f"client_{number}")] for number in range(pages)]), [times]

    def answer(operation: str, nextToken: str = "0", **rest: Any) -> Any:  # noqa: N803 - AWS's name
        if nextToken == str(pages - 1) and left[0]:
            left[0] -= 1
            return aws_error("InvalidRequestException", 400)
        return read(operation, nextToken=nextToken, **rest)

    return answer, left


def test_index_that_changes_while_it_is_read_is_read_again_from_the_start() -> None:
    answer, left = refusing_pages(READINGS - 1)

    assert {client.client_id for client in found(answer)} == {f"client_{number}" for number in range(4)}
    assert left == [0]


def test_index_that_changes_all_the_time_is_not_read_for_ever() -> None:
    answer, left = refusing_pages(99)

    with pytest.raises(SwitchError, match=f"found the next page refused {READINGS} times .*: run again when"):
        found(answer)
    assert left == [99 - READINGS]


def test_first_page_that_is_refused_is_no_change_of_the_index() -> None:
    asked: list[str] = []

    def answer(operation: str, **_: Any) -> Any:
        asked.append(operation)
        return aws_error("InvalidRequestException", 400)

    with pytest.raises(SwitchError, match="expected an ACTIVE index with connectivity"):
        found(answer)
    assert len(asked) == 1


def test_quota_of_search_index_is_kept(clock: Clock) -> None:
    begun = clock()

    found(index(*[[thing("client_01")]] * 100))

    assert clock() - begun >= 99 / 15 - BURST_SECONDS


def test_client_id_comes_before_the_thing_s_name() -> None:
    assert found(index([thing("thing_01", clientId="client_01")]))[0].client_id == "client_01"


@pytest.mark.parametrize(
    ("attribute", "endpoint"), [("MQTT1.example.com.", ENDPOINT), (ENDPOINT, ENDPOINT), (None, "")]
)
def test_endpoint_is_compared_as_a_dns_name(attribute: str | None, endpoint: str) -> None:
    assert found(index([thing("client_01", attribute)]))[0].endpoint == endpoint


def test_client_without_endpoint_belongs_to_the_default_one() -> None:
    source = IndexSource(FleetOptions(), "mqtt2.example.com")

    clients = found(index([thing("client_01", None), thing("client_02")]), source)

    assert [client.endpoint for client in clients] == ["mqtt2.example.com", ENDPOINT]


@pytest.mark.parametrize(
    "code",
    ["IndexNotReadyException", "InvalidRequestException", "InvalidQueryException", "ResourceNotFoundException"],
)
def test_region_without_index_is_named_with_aws_s_words(code: str) -> None:
    with pytest.raises(SwitchError, match=rf"fleet index in {REGION}: found {code} \(some text\).*setup\.yml"):
        found(lambda *_, **__: aws_error(code, 400))


def test_missing_permission_to_search_is_no_matter_of_the_index() -> None:
    with pytest.raises(AwsError, match="IAM"):
        found(lambda *_, **__: aws_error("UnauthorizedException", 401))


def failing_first(times: int, error: AwsError, answer: Answer) -> Answer:
    left = iter([error] * times)
    return lambda *args, **more: next(left, None) or answer(*args, **more)


@pytest.mark.parametrize(
    "error",
    [aws_error("ThrottlingException", 429), aws_error("InternalFailureException", 500), aws_error("NoAnswer", 0)],
)
@pytest.mark.parametrize("source", [INDEX, THINGS, listed("client_01")])
def test_what_fails_for_a_moment_is_asked_again(error: AwsError, source: FleetSource) -> None:
    def answer(operation: str, **_: Any) -> dict[str, Any]:
        return {"connected": True, "things": [thing("client_01")], **thing("client_01")}

    assert [each.client_id for each in found(failing_first(ATTEMPTS - 1, error, answer), source)] == ["client_01"]

    with pytest.raises(AwsError, match=error.code):
        found(failing_first(ATTEMPTS, error, answer), source)


def test_client_is_not_asked_for_twice_in_a_second(clock: Clock) -> None:
    asked: list[float] = []

    def answer(*_: Any, **__: Any) -> Any:
        asked.append(clock())
        return aws_error("ThrottlingException", 429) if len(asked) == 1 else {"connected": False}

    found(answer, listed("client_01", "client_01"))

    assert len(asked) == 2
    assert asked[1] - asked[0] >= 1


@pytest.mark.parametrize("answer", [{}, {"connected": None}, {"connected": "true"}, {"connected": True,
    "connectedSince": "soon"}, {"connected": True, "connectedSince": float("nan")}])  # fmt: skip
@pytest.mark.parametrize("kind", ["clients", "things"])
def test_answer_that_does_not_say_whether_a_client_is_connected_is_an_error(kind: Any, answer: dict[str, Any]) -> None:
    def answers(operation: str, **_: Any) -> dict[str, Any]:
        return {"things": [thing("client_01")]} if operation == "ListThings" else answer

    with pytest.raises(AwsError, match=r"GetConnection in us-east-1: found Unreadable \(\{'connected': "):
        found(answers, chosen(FleetOptions(kind, client_ids=["client_01"])))


def test_page_that_points_at_itself_is_an_error() -> None:
    with pytest.raises(AwsError, match=r"found Unreadable \(nextToken = 'more', not the next page's\)"):
        found(lambda *_, **__: {"things": [], "nextToken": "more"})


@pytest.mark.parametrize("answer", [{"things": "all"}, {"things": {}}, {"things": [], "nextToken": 5}])
def test_list_that_is_none_is_an_error(answer: dict[str, Any]) -> None:
    with pytest.raises(AwsError, match="found Unreadable"):
        found(lambda *_, **__: answer)


def test_throttled_region_is_asked_more_slowly(clock: Clock) -> None:
    pages = index(*[[thing("client_01")]] * 30)
    begun = clock()
    found(pages)
    usual = clock() - begun

    begun = clock()
    found(failing_first(1, aws_error("ThrottlingException", 429), pages))

    assert clock() - begun > usual + CLIENT_INTERVAL + 0.2


def test_regions_are_read_at_the_same_time() -> None:
    meeting = threading.Barrier(2, timeout=ENDED)

    def answer(*_: Any, **__: Any) -> dict[str, Any]:
        meeting.wait()
        return {"things": [thing("client_01")]}

    batches = list(stream(account({REGION: answer, OTHER: answer}), [REGION, OTHER], INDEX))

    assert {client.region for batch in batches for client in batch} == {REGION, OTHER}


def test_batches_are_small() -> None:
    batches = list(stream(account({REGION: index(*[[thing("client_01")] * 100] * 12)}), [REGION], INDEX))

    assert [len(batch) for batch in batches] == [BATCH_SIZE, BATCH_SIZE, 200]


@pytest.mark.parametrize("source", [INDEX, THINGS])
def test_error_in_one_region_ends_the_others(source: FleetSource) -> None:
    before = workers()
    denied = aws_error("AccessDeniedException", 403)

    with pytest.raises(AwsError, match="IAM"):
        for _ in stream(account({REGION: endless, OTHER: lambda *_, **__: denied}), [REGION, OTHER], source):
            pass

    assert_workers_end(before)


def test_single_refusal_of_the_data_plane_is_asked_again() -> None:
    forbidden = AwsError("GetConnection", REGION, "ForbiddenException", 403, "some text")
    answers = {"DescribeThing": [{}], "GetConnection": [{"connected": True}, forbidden, forbidden]}
    (client,) = found(lambda operation, **_: answers[operation].pop(), listed("a"))
    assert client.client_id == "a"

    answers = {"GetConnection": [forbidden] * 9}
    with pytest.raises(AwsError, match="IAM"):
        found(lambda operation, **_: answers[operation].pop(), listed("a"))
    assert len(answers["GetConnection"]) == 9 - FORBIDDEN_ATTEMPTS


@pytest.mark.parametrize("source", [INDEX, listed(*(f"client_{n}" for n in range(20_000)))])
def test_reader_that_goes_away_ends_the_regions(source: FleetSource) -> None:
    before = workers()

    def answer(operation: str, **more: Any) -> dict[str, Any]:
        return {"connected": True, **endless(operation)}

    batches = stream(account({REGION: answer, OTHER: answer}), [REGION, OTHER], source)
    next(batches)
    batches.close()  # type: ignore[attr-defined]

    assert_workers_end(before)


def test_nothing_is_asked_for_when_nobody_waits_for_it() -> None:
    stop = threading.Event()
    stop.set()

    with pytest.raises(StoppedError):
        asking(FakeAws(lambda *_, **__: pytest.fail("was asked")), 100, stop).call(
            "GetConnection", clientId="client_01"
        )


def test_regions_wait_for_a_slow_reader() -> None:
    pages, too_many = iter(range(5 * (BATCHES_WAITING + 3))), threading.Event()

    def answer(operation: str, **_: Any) -> dict[str, Any]:
        if next(pages, None) is None:
            too_many.set()
        return endless(operation)

    batches = stream(account({REGION: answer}), [REGION], INDEX)
    next(batches)

    assert not too_many.wait(0.5)
    batches.close()  # type: ignore[attr-defined]


def test_memory_does_not_grow_with_the_fleet() -> None:
    def peak(clients: int) -> int:
        def answer(_operation: str, nextToken: str = "0", **_: Any) -> dict[str, Any]:  # noqa: N803 - AWS's name
            first = int(nextToken)
            things = [thing(f"client_{number}") for number in range(first, first + 100)]
            return {"things": things, **({"nextToken": str(first + 100)} if first + 100 < clients else {})}

        tracemalloc.start()
        read = sum(len(batch) for batch in stream(account({REGION: answer}), [REGION], INDEX))
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert read == clients
        return highest

    # All of them at once are ten times as much; how full the queue between gets depends on the threads' turns.
    assert peak(200_000) < 8 * 2**20


def test_things_are_asked_for_by_their_names() -> None:
    since = {"client_01": 5000, "client_03": 7000}

    def answer(operation: str, clientId: str = "", maxResults: int = 0) -> Any:  # noqa: N803 - AWS's names
        if operation == "ListThings":
            assert maxResults == 250
            return {"things": [thing("client_01"), thing("client_02"), thing("client_03", None)]}
        if clientId not in since:
            return aws_error("ResourceNotFoundException", 404)
        return {"connected": True, "connectedSince": since[clientId], "thingName": clientId}

    assert found(answer, THINGS) == [
        Connection("client_01", ENDPOINT, REGION, 5.0),
        Connection("client_03", "", REGION, 7.0),
    ]
    assert [each.client_id for each in found(answer, ThingsSource(FleetOptions(), endpoints=[ENDPOINT]))] == [
        "client_01"
    ]


def test_quota_of_get_connection_is_kept(clock: Clock) -> None:
    begun = clock()

    found(
        lambda *_, **__: {"connected": False},
        listed(*(f"client_{number}" for number in range(500))),
    )

    assert clock() - begun >= 499 / 100 - BURST_SECONDS


def test_endpoint_of_a_listed_client_is_the_file_s_then_the_thing_s_then_the_default(tmp_path: Path) -> None:
    file = tmp_path / "clients.csv"
    file.write_text("client_id,endpoint\nby file,MQTT3.example.com.\nby_thing,\nno_thing,\nno/thing,\nabsent,\n")
    things = {"by_thing": ENDPOINT}

    def answer(operation: str, clientId: str = "", thingName: str = "") -> Any:  # noqa: N803 - AWS's names
        if operation == "GetConnection":
            return {"connected": clientId != "absent", "clientId": clientId}
        assert thingName in ("by_thing", "no_thing")
        known = thingName in things
        return thing(thingName, things[thingName]) if known else aws_error("ResourceNotFoundException", 404)

    source = ClientListSource(FleetOptions(client_ids_file=str(file)), "mqtt9.example.com")

    assert {client.client_id: client.endpoint for client in found(answer, source)} == {
        "by file": "mqtt3.example.com",
        "by_thing": ENDPOINT,
        "no_thing": "mqtt9.example.com",
        "no/thing": "mqtt9.example.com",
    }


def test_thing_of_a_listed_client_may_have_another_name() -> None:
    def answer(operation: str, **parameters: Any) -> Any:
        if operation == "GetConnection":
            return {"connected": True, "thingName": "thing_01"}
        assert parameters == {"thingName": "thing_01"}
        return thing("thing_01")

    assert found(answer, listed("client_01"))[0].endpoint == ENDPOINT


def test_bad_line_is_refused_before_aws_is_asked(tmp_path: Path) -> None:
    file = tmp_path / "clients.txt"
    file.write_text("client_01\n" * 1000 + "$client\n")
    asked: list[str] = []

    def answer(operation: str, **_: Any) -> dict[str, Any]:
        asked.append(operation)
        return {}

    with pytest.raises(RefusedError, match=r"clients\.txt line 1001: found '\$client'"):
        found(answer, ClientListSource(FleetOptions(client_ids=["client_00"], client_ids_file=str(file))))
    assert asked == []


def test_empty_list_of_clients_is_refused() -> None:
    with pytest.raises(RefusedError, match="found no client ID"):
        found(endless, CLIENTS)


def test_all_things_are_known_however_they_spell_their_endpoint() -> None:
    def answer(operation: str, **parameters: Any) -> dict[str, Any]:
        token = parameters.pop("nextToken", None)
        assert operation == "ListThings"
        assert parameters == {"maxResults": 250}
        if token:
            return {"things": [thing("client_02", ENDPOINT.upper() + "."), thing("client_03", "")]}
        return {"things": [thing("client_01")], "nextToken": "more"}

    devices = ThingsSource(FleetOptions(), "default").known(account({REGION: answer}), REGION)

    assert list(devices) == [("client_01", ENDPOINT), ("client_02", ENDPOINT), ("client_03", "default")]


def test_listed_clients_are_known_with_the_endpoint_of_the_list_or_of_their_thing() -> None:
    def answer(operation: str, **parameters: Any) -> dict[str, Any]:
        assert (operation, parameters) == ("DescribeThing", {"thingName": "client_01"})
        return thing("client_01")

    devices = listed("client_01", "no/thing").known(account({REGION: answer}), REGION)

    assert list(devices) == [("client_01", ENDPOINT), ("no/thing", "")]


def test_lists_that_name_their_next_page_otherwise_are_read_to_the_end() -> None:
    def answer(_operation: str, marker: str = "", **_: Any) -> dict[str, Any]:
        return {"policies": [f"after {marker}"], "nextMarker": {"": "a", "a": "b"}.get(marker)}

    listed = AwsClient.pages(
        FakeAws(answer), "ListAttachedPolicies", "policies", ("nextMarker", "marker"), target="arn"
    )

    assert list(listed) == ["after ", "after a", "after b"]
