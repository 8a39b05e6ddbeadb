"""AWS's errors: whatever code, status and words it answers, an operator reads one line."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.region_switch.aws.caller import identify
from ansible.module_utils.region_switch.aws.clients import AwsClient, describe_data_endpoint
from ansible.module_utils.region_switch.model.errors import AwsError, SwitchError, duration, one_line
from ansible.module_utils.region_switch.model.findings import unanswered
from botocore.exceptions import BotoCoreError, ClientError
from hypothesis import given
from hypothesis import strategies as st

from ..region_switch.fakes import FakeAws
from .anything import ANYTHING, TEXT, assert_one_line, refused_at_most

STATUS = st.sampled_from([0, 200, 400, 401, 403, 404, 429, 500, 503]) | st.integers(0, 999)


@given(TEXT, TEXT, TEXT, STATUS, TEXT)
def test_any_error_of_aws_is_one_line_with_advice(
    operation: str, region: str, code: str, status: int, message: str
) -> None:
    error = AwsError(operation, region, code, status, message)

    assert_one_line(str(error))
    assert "expected success: " in str(error)
    assert len(error.text.splitlines()) <= 1
    assert {error.not_found, error.throttled, error.denied, error.temporary} <= {True, False}


class Refusing:
    """boto3's client of a service that refuses everything."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def get_caller_identity(self) -> Any:
        raise self._error


@pytest.fixture(scope="module")
def sts() -> AwsClient:
    return AwsClient("sts", "us-east-1")


ERROR_SHAPES = st.fixed_dictionaries(
    {}, optional={"Code": TEXT | st.none() | st.integers(), "Message": TEXT | st.none(), "Type": TEXT}
)
RESPONSES = st.fixed_dictionaries(
    {},
    optional={
        "Error": ERROR_SHAPES,
        "ResponseMetadata": st.fixed_dictionaries({}, optional={"HTTPStatusCode": STATUS, "RequestId": TEXT}),
    },
)


@given(response=RESPONSES)
def test_any_refusal_becomes_an_error_of_ours(sts: AwsClient, response: dict[str, Any]) -> None:
    sts._client = Refusing(ClientError(response, "GetCallerIdentity"))

    with pytest.raises(AwsError) as refused:
        sts.call("GetCallerIdentity")

    assert_one_line(str(refused.value))
    assert refused.value.status == response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)


@given(words=TEXT)
def test_any_failure_to_ask_becomes_an_error_of_ours(sts: AwsClient, words: str) -> None:
    failure = BotoCoreError()
    failure.args = (words,)
    sts._client = Refusing(failure)

    with pytest.raises(AwsError) as refused:
        sts.call("GetCallerIdentity")

    assert_one_line(str(refused.value))
    assert refused.value.temporary


def test_unknown_operation_is_said_in_one_line(sts: AwsClient) -> None:
    with pytest.raises(SwitchError, match="has no DoNothing: install requirements"):
        sts.call("DoNothing")


@given(ANYTHING)
def test_any_description_of_an_endpoint_is_a_host_name_or_refused(answer: object) -> None:
    shaped = answer if isinstance(answer, dict) else {"endpointAddress": answer}
    with refused_at_most():
        host = describe_data_endpoint(FakeAws(lambda *_, **__: shaped))

        assert host == shaped["endpointAddress"].lower() != ""


@given(ANYTHING)
def test_any_value_is_shown_in_one_short_line(value: object) -> None:
    assert_one_line(one_line(value))
    assert len(one_line(value)) <= 201


@given(TEXT)
def test_every_error_is_one_line(text: str) -> None:
    assert len(str(SwitchError(text)).splitlines()) <= 1


EARLIER = "Signature expired: 20261123T204500Z is now earlier than 20261123T215500Z (20261123T220000Z - 5 min.)"
LATER = "Signature not yet current: 20261123T230000Z is still later than 20261123T220500Z (20261123T220000Z + 5 min.)"
OTHER_SIGNATURE = "The request signature we calculated does not match the signature you provided."
CLOCKS = [
    ("InvalidSignatureException", 403, EARLIER),
    ("SignatureDoesNotMatch", 403, LATER),
    ("InvalidSignatureException", 400, LATER),
    ("RequestExpired", 400, "Request has expired."),
    ("RequestTimeTooSkewed", 403, "The difference between the request time and the current time is too large."),
]


@pytest.mark.parametrize(("code", "status", "text"), CLOCKS)
def test_a_wrong_clock_is_named_and_no_missing_permission(code: str, status: int, text: str) -> None:
    error = AwsError("DeleteConnection", "us-east-1", code, status, text)

    assert error.wrong_clock
    assert str(error).endswith("expected success: set this machine's clock, as NTP does, then run again")
    finding = unanswered("mqtt_probe", "us-east-1", error)
    assert (finding.check, finding.advice) == ("mqtt_probe", error.advice)
    assert "IAM" not in finding.line()


@pytest.mark.parametrize(
    ("code", "text", "advice"),
    [
        (
            "SignatureDoesNotMatch",
            OTHER_SIGNATURE,
            "check this machine's clock and the secret access key",
        ),
        ("ExpiredTokenException", "The security token included in the request is expired", "log in again"),
        (
            "UnrecognizedClientException",
            "The security token included in the request is invalid.",
            "use valid credentials",
        ),
        ("AccessDeniedException", "User is not authorized to perform iot:DeleteConnection", "allow the caller"),
        # Somebody's policy may speak of anything.
        ("AccessDenied", "explicit deny: maintenance window not open", "allow the caller"),
    ],
)
def test_credentials_that_are_refused_are_told_from_a_missing_permission(code: str, text: str, advice: str) -> None:
    error = AwsError("DeleteConnection", "us-east-1", code, 403, text)
    assert f"expected success: {advice}" in str(error)
    assert error.credentials == (not advice.startswith("allow"))


NOT_ALLOWED = "User: arn:aws:iam::123456789012:user/o is not authorized to perform: {} on resource: {} because no {}"


@pytest.mark.parametrize(
    ("operation", "code", "status", "text", "advice"),
    [
        (
            "ListAttachedPolicies",
            "AccessDeniedException",
            403,
            NOT_ALLOWED.format("iot:ListAttachedPolicies", "*", "identity-based policy allows it"),
            "allow the caller iot:ListAttachedPolicies in IAM (playbooks/iam_policies.yml writes the policy)",
        ),
        # Services of JSON 1.1 answer 400.
        (
            "ImportCertificate",
            "AccessDeniedException",
            400,
            NOT_ALLOWED.format("acm:ImportCertificate", "arn:aws:acm:x", "identity-based policy allows it"),
            "allow the caller acm:ImportCertificate in IAM",
        ),
        # The data plane of IoT does not say what is missing.
        ("DeleteConnection", "ForbiddenException", 403, "Forbidden", "allow the caller iot:DeleteConnection in IAM"),
        (
            "GetChange",
            "AccessDenied",
            403,
            "User: u is not authorized to perform: route53:GetChange on resource: r with an explicit deny in a service "
            "control policy",
            "remove what denies route53:GetChange (allowing it elsewhere does not help)",
        ),
    ],
)
def test_a_missing_permission_is_named_as_iam_names_it(
    operation: str, code: str, status: int, text: str, advice: str
) -> None:
    error = AwsError(operation, "us-east-1", code, status, text)

    assert (error.denied, error.credentials) == (True, False)
    assert f"expected success: {advice}" in str(error)
    assert error.action in unanswered("permission", "us-east-1", error).line()


@pytest.mark.parametrize("code", ["UnrecognizedClientException", "InvalidClientTokenId", "AuthFailure"])
@pytest.mark.parametrize(
    ("region", "advice"),
    [
        ("ap-southeast-4", "enable ap-southeast-4 for the account (Account, AWS Regions; it takes minutes to hours)"),
        ("mx-central-1", "enable mx-central-1 for the account"),
        ("ap-northeast-1", "use valid credentials: these keys are deleted, inactive or of another part"),
        ("us-gov-west-1", "use valid credentials"),
        ("cn-north-1", "use valid credentials"),
        ("", "use valid credentials"),
    ],
)
def test_keys_that_are_unknown_are_told_from_a_region_that_has_to_be_opted_in_to(
    code: str, region: str, advice: str
) -> None:
    error = AwsError("DescribeEndpoint", region, code, 403, "The security token included in the request is invalid.")

    assert f"expected success: {advice}" in str(error)
    assert "IAM" not in str(error)


def test_whoever_is_not_known_because_of_the_clock_is_told_of_the_clock() -> None:
    refused = AwsError("GetCallerIdentity", "us-east-1", "SignatureDoesNotMatch", 403, EARLIER)
    unknown = AwsError("GetCallerIdentity", "us-east-1", "InvalidClientTokenId", 403, "invalid")

    def said(error: AwsError) -> str:
        with pytest.raises(SwitchError) as ended:
            identify(["us-east-1"], "check credentials", lambda _: FakeAws(lambda *_, **__: error))
        return str(ended.value)

    assert said(refused).endswith("set this machine's clock, as NTP does, then run again")
    assert "use valid credentials" in said(unknown)


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0 s"), (0.02, "less than 1 s"), (0.99, "less than 1 s"), (1, "1 s"), (59.6, "60 s")]
)
def test_what_takes_a_moment_does_not_take_no_time(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown
