"""Requests that are made without botocore: to the byte those that it would have made."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import botocore.auth
import botocore.session
import pytest
from ansible.module_utils.region_switch.aws.data_plane import DataPlane, Pattern, Wire, learn
from ansible.module_utils.region_switch.fleet import client_ids
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config
from botocore.credentials import Credentials
from hypothesis import example, given
from hypothesis import strategies as st

from .test_client_ids import NAMES, ODD

IDS = NAMES.filter(lambda name: client_ids.fault(name) is None and name not in (".", ".."))
KEYS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)
TOKENS = st.none() | st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=400)
# What AWS_ENDPOINT_URL, AWS_USE_FIPS_ENDPOINT, AWS_USE_DUALSTACK_ENDPOINT and the partitions lead to.
ENDPOINTS: list[tuple[str, dict[str, Any]]] = [
    ("us-east-1", {}),
    ("ap-northeast-1", {}),
    ("cn-north-1", {}),
    ("us-gov-west-1", {}),
    ("us-east-1", {"fips": True}),
    ("us-east-1", {"dual": True}),
    ("us-east-1", {"url": "http://127.0.0.1:4566"}),
    ("us-east-1", {"url": "https://example.com:443"}),
    ("eu-west-1", {"url": "http://example.com/below"}),
]


class Raw(io.BytesIO):
    def stream(self, **_: object) -> Iterator[bytes]:
        yield self.read()


@dataclass
class Boto3:
    """botocore's client, whose requests go nowhere."""

    client: Any
    credentials: Credentials
    made: list[AWSPreparedRequest]

    def make(self, parameters: dict[str, Any], operation: str = "DeleteConnection") -> AWSPreparedRequest:
        self.made.clear()
        {"DeleteConnection": self.client.delete_connection, "GetConnection": self.client.get_connection}[operation](
            **parameters
        )
        return self.made[0]


def boto3(region: str, url: str | None = None, fips: bool = False, dual: bool = False) -> Boto3:
    session = botocore.session.get_session()
    session.set_credentials("AKIDEXAMPLE", "secret")
    config = Config(
        use_fips_endpoint=fips,
        use_dualstack_endpoint=dual,
        retries={"mode": "standard", "total_max_attempts": 1},
        user_agent_extra=f"{fips} {dual}",
    )
    client = session.create_client("iot-data", region, endpoint_url=url, config=config)
    made: list[AWSPreparedRequest] = []

    def answer(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        made.append(request)
        return AWSResponse(request.url, 200, {}, Raw(b"{}"))

    client.meta.events.register("before-send", answer)
    return Boto3(client, session.get_credentials(), made)


@pytest.fixture(scope="module", params=["crt", "python"])
def clients(request: pytest.FixtureRequest) -> Iterator[list[Boto3]]:
    """Clients of every kind of endpoint, signing with either of botocore's signers."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "python":
            patch.setitem(botocore.auth.AUTH_TYPE_MAPS, "v4", botocore.auth.SigV4Auth)
        yield [boto3(region, **options) for region, options in ENDPOINTS]


def headers(request: AWSPreparedRequest) -> dict[str, str]:
    """Headers by lower-case name, but for the number that each request has of its own."""
    found = {
        name.lower(): value.decode() if isinstance(value, bytes) else value for name, value in request.headers.items()
    }
    assert len(found.pop("amz-sdk-invocation-id")) == 36
    return found


def pattern_of(found: Boto3, operation: str, parameters: dict[str, Any]) -> Pattern:
    pattern = learn(found.make(parameters, operation), parameters, found.credentials.get_frozen_credentials())
    assert pattern is not None
    return pattern


@given(
    number=st.integers(0, len(ENDPOINTS) - 1),
    client_id=IDS,
    flags=st.tuples(st.booleans(), st.booleans()),
    access_key=KEYS.filter(lambda key: not set(key) & set("/,=")),
    secret=KEYS,
    token=TOKENS,
)
@example(0, "a/b c#d+e%2F~é機", (False, True), "AKIDEXAMPLE", "secret", "token/+=")
@example(8, "x" * 128, (True, False), "AKIDEXAMPLE", "secret", None)
def test_request_is_botocores(
    clients: list[Boto3],
    number: int,
    client_id: str,
    flags: tuple[bool, bool],
    access_key: str,
    secret: str,
    token: str | None,
) -> None:
    found = clients[number]
    first = {"clientId": "first", "cleanSession": False, "preventWillMessage": True}
    deleting, getting = (
        pattern_of(found, "DeleteConnection", first),
        pattern_of(found, "GetConnection", {"clientId": "é"}),
    )
    kept = vars(found.credentials).copy()
    found.credentials.access_key, found.credentials.secret_key, found.credentials.token = access_key, secret, token
    try:
        frozen = found.credentials.get_frozen_credentials()
        asked = {"clientId": client_id, "cleanSession": flags[0], "preventWillMessage": flags[1]}
        turned = dict(reversed(asked.items()))
        cases: list[tuple[str, Pattern, dict[str, Any]]] = [
            ("DeleteConnection", deleting, asked),
            ("DeleteConnection", deleting, turned),
            ("GetConnection", getting, {"clientId": client_id}),
        ]
        for operation, pattern, parameters in cases:
            theirs = found.make(parameters, operation)
            stamp = headers(theirs)["x-amz-date"]
            ours = pattern.prepare(parameters, frozen, stamp)
            assert (ours.method, ours.url) == (theirs.method, theirs.url)
            # The Python signer leaves the host to the connection.
            assert {"host": pattern.host, **headers(theirs)} == headers(ours)
            assert not ours.body
            assert not theirs.body
    finally:
        vars(found.credentials).update(kept)


@given(st.sampled_from(ODD))
def test_any_first_request_teaches_the_same(clients: list[Boto3], client_id: str) -> None:
    for found in clients:
        assert pattern_of(found, "GetConnection", {"clientId": client_id}) == pattern_of(
            found, "GetConnection", {"clientId": "a"}
        )


def test_nothing_is_learnt_from_a_request_that_ours_would_not_equal() -> None:
    found = boto3("us-east-1")
    parameters = {"clientId": "a"}
    theirs = found.make(parameters, "GetConnection")
    frozen = found.credentials.get_frozen_credentials()

    assert learn(theirs, parameters, frozen)
    assert learn(theirs, {"clientId": "b"}, frozen) is None
    assert learn(theirs, parameters, replace_key(frozen)) is None
    for name, value in (("Authorization", b"Bearer x"), ("X-Amz-Date", b"20200101T000000Z"), ("host", b"elsewhere")):
        changed = AWSPreparedRequest(theirs.method, theirs.url, {**theirs.headers, name: value}, None, False)
        assert learn(changed, parameters, frozen) is None
    assert (
        learn(AWSPreparedRequest("GET", "https://a/other", dict(theirs.headers), None, False), parameters, frozen)
        is None
    )
    assert (
        learn(AWSPreparedRequest("GET", theirs.url, dict(theirs.headers), b"body", False), parameters, frozen) is None
    )


def replace_key(frozen: Any) -> Any:
    return (
        frozen._replace(secret_key="another") if hasattr(frozen, "_replace") else replace(frozen, secret_key="another")
    )


@pytest.mark.parametrize(
    "parameters",
    [{"clientId": "."}, {"clientId": ".."}, {"clientId": "a", "includeSocketInformation": None}, {"clientId": 5}],
)
def test_what_botocore_checks_or_rewrites_is_left_to_it(
    monkeypatch: pytest.MonkeyPatch, parameters: dict[str, Any]
) -> None:
    found = boto3("us-east-1")
    plane = DataPlane(found.client, found.credentials)
    monkeypatch.setattr(Wire, "send", lambda *_: (200, {}, b'{"connected": true}'))
    asked: list[dict[str, Any]] = []

    def by_boto3(**given: Any) -> dict[str, Any]:
        asked.append(given)
        return {}

    def theirs(**given: Any) -> dict[str, Any]:
        answer: dict[str, Any] = found.client.get_connection(**given)
        return answer

    plane.call("GetConnection", theirs, clientId="first")
    assert plane.call("GetConnection", by_boto3, clientId="second") == {"connected": True}
    plane.call("GetConnection", by_boto3, **parameters)

    assert asked == [parameters]
