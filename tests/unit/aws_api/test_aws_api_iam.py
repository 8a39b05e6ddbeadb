"""What policies allow: IAM's evaluation, and which resources and condition keys a request has."""

from __future__ import annotations

from typing import Any

import pytest

from lab.aws_api import iam, permissions

USER = "arn:aws:iam::123456789012:user/operator"
THING = "arn:aws:iot:us-east-1:123456789012:thing/pump-1"


def document(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def allow(
    action: str | list[str] = "iot:DescribeThing", resource: str | list[str] = "*", **more: Any
) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def refusal(
    *statements: dict[str, Any], resources: tuple[str, ...] = (THING,), **context: tuple[str, ...]
) -> str | None:
    for statement in statements:
        iam.check(document(statement))
    return iam.refusal([document(*statements)], USER, "iot:DescribeThing", resources, context)


@pytest.mark.parametrize(
    "action",
    [
        "iot:DescribeThing",
        "iot:describething",
        "iot:Describe*",
        "iot:*",
        "*",
        "iot:DescribeThin?",
    ],
)
@pytest.mark.parametrize(
    "resource", ["*", THING, "arn:aws:iot:*:123456789012:thing/*", "arn:aws:iot:us-east-?:123456789012:thing/pump-?"]
)
def test_action_and_resource_may_have_wildcards(action: str, resource: str) -> None:
    assert refusal(allow(action, resource)) is None


@pytest.mark.parametrize(
    "statement",
    [
        allow("iot:DescribeThings"),
        allow(resource="arn:aws:iot:eu-west-1:123456789012:thing/*"),
        allow(resource="arn:aws:iot:us-east-1:123456789012:thing/pump-?x"),
        allow(resource="arn:aws:iot:us-east-1:123456789012:thing/PUMP-1"),
        {"Effect": "Allow", "NotAction": "iot:Describe*", "Resource": "*"},
        {"Effect": "Allow", "Action": "iot:*", "NotResource": THING},
    ],
)
def test_what_nothing_allows_is_refused_with_awss_words(statement: dict[str, Any]) -> None:
    assert refusal(statement) == (
        f"User: {USER} is not authorized to perform: iot:DescribeThing on resource: {THING} because no identity-based "
        "policy allows the iot:DescribeThing action"
    )


def test_a_deny_wins_over_every_allow() -> None:
    deny = {"Effect": "Deny", "Action": "iot:*", "Resource": "arn:aws:iot:*:*:thing/pump-*"}

    assert str(refusal(allow(), deny)).endswith("with an explicit deny in an identity-based policy")
    assert refusal(allow(), deny, resources=("arn:aws:iot:us-east-1:123456789012:thing/fan-1",)) is None


def test_each_resource_has_to_be_allowed() -> None:
    group = "arn:aws:iot:us-east-1:123456789012:billinggroup/g"

    assert f"on resource: {group} because" in str(refusal(allow(resource=THING), resources=(THING, group)))
    assert refusal(allow(resource=[THING, group]), resources=(THING, group)) is None


def test_action_without_a_resource_type_is_allowed_for_every_resource_only() -> None:
    assert refusal(allow(resource="arn:aws:iot:*:123456789012:cert/*"), resources=("*",)) is not None
    assert refusal(allow(), resources=("*",)) is None


@pytest.mark.parametrize(
    ("operator", "wanted", "found", "holds"),
    [
        ("StringEquals", "a", ("a",), True),
        ("StringEquals", "a", ("A",), False),
        ("StringEquals", ["a", "b"], ("b",), True),
        ("StringEquals", "a", None, False),
        ("StringEqualsIfExists", "a", None, True),
        ("StringEqualsIgnoreCase", "a", ("A",), True),
        ("StringNotEquals", "a", ("b",), True),
        ("StringNotEquals", ["a", "b"], ("b",), False),
        ("StringNotEquals", "a", None, True),
        ("StringLike", "a*", ("abc",), True),
        ("StringLike", "a?", ("abc",), False),
        ("ArnLike", "arn:aws:iot:*:1:thing/*", ("arn:aws:iot:x:1:thing/y",), True),
        ("Bool", "true", ("true",), True),
        ("Bool", True, ("false",), False),
        ("Null", "true", None, True),
        ("Null", True, ("a",), False),
        ("ForAllValues:StringEquals", ["a", "b"], ("a", "b"), True),
        ("ForAllValues:StringEquals", ["a", "b"], ("a", "c"), False),
        ("ForAllValues:StringEquals", ["a"], None, True),
        ("ForAnyValue:StringEquals", ["a"], ("a", "c"), True),
        ("ForAnyValue:StringEquals", ["a"], None, False),
    ],
)
def test_condition(operator: str, wanted: object, found: tuple[str, ...] | None, holds: bool) -> None:
    statement = allow(Condition={operator: {"k": wanted}})
    context = {} if found is None else {"k": found}

    assert (refusal(statement, **context) is None) == holds


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"Version": "2020-01-01", "Statement": [allow()]}, "Version '2020-01-01'"),
        ({"Version": "2012-10-17", "Statement": []}, "no Statement"),
        (document(allow(Principal="*")), "Principal is no key"),
        (document(allow() | {"Effect": "allow"}), "Effect 'allow'"),
        (document({"Effect": "Allow", "Action": "iot:*"}), "either Resource or NotResource"),
        (document(allow(action=[])), "either Action or NotAction"),
        (document(allow("DescribeThing")), "action 'DescribeThing'"),
        (document(allow(resource="thing/*")), "resource 'thing/\\*'"),
        (document(allow(Sid="two words")), "letters and digits"),
        (document(allow(Condition={"StringSomehow": {"k": "v"}})), "'StringSomehow' is not known"),
        (document(allow(resource="arn:aws:iot:*:*:thing/${aws:username}")), "variables are not played"),
    ],
)
def test_document_that_iam_would_not_take_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        iam.check(wrong)


REGION, ACCOUNT = "us-east-1", "123456789012"
ZONE = "arn:aws:route53:::hostedzone/Z1"
BATCH = b"""<ChangeResourceRecordSetsRequest xmlns="https://route53.amazonaws.com/doc/2013-04-01/"><ChangeBatch><Changes>
<Change><Action>DELETE</Action><ResourceRecordSet><Name>MQTT1.example.com.</Name><Type>CNAME</Type></ResourceRecordSet>
</Change><Change><Action>CREATE</Action><ResourceRecordSet><Name>mqtt2.example.com</Name><Type>A</Type>
</ResourceRecordSet></Change></Changes></ChangeBatch></ChangeResourceRecordSetsRequest>"""


@pytest.mark.parametrize(
    ("service", "operation", "target", "body", "action", "resource"),
    [
        ("iot", "DescribeThing", "/things/pump%3A1", b"", "iot:DescribeThing", "thing/pump:1"),
        ("iot", "ListThingPrincipals", "/things/a/principals?maxResults=9", b"", "iot:ListThingPrincipals", "thing/a"),
        ("iot", "CreateThing", "/things/a", b'{"attributePayload": {}}', "iot:CreateThing", "thing/a"),
        ("iot", "UpdateCertificate", "/certificates/c1?newStatus=ACTIVE", b"", "iot:UpdateCertificate", "cert/c1"),
        ("iot", "DeletePolicyVersion", "/policies/p/version/3", b"", "iot:DeletePolicyVersion", "policy/p"),
        ("iot", "ListTargetsForPolicy", "/policy-targets/p", b"", "iot:ListTargetsForPolicy", "policy/p"),
        ("iot", "SearchIndex", "/indices/search", b'{"queryString": "*"}', "iot:SearchIndex", "index/AWS_Things"),
        ("iot-data", "DeleteConnection", "/connections/a%2Fb?x=1", b"", "iot:DeleteConnection", "client/a/b"),
    ],
)
def test_resource_of_a_request(
    service: str, operation: str, target: str, body: bytes, action: str, resource: str
) -> None:
    (found,) = permissions.needed(service, operation, REGION, ACCOUNT, target, body)

    assert (found.action, found.resources) == (action, (f"arn:aws:iot:{REGION}:{ACCOUNT}:{resource}",))


@pytest.mark.parametrize(
    ("service", "operation", "target", "body", "resource"),
    [
        (
            "iot",
            "AttachPolicy",
            "/target-policies/p",
            b'{"target": "arn:aws:iot:x:1:cert/c"}',
            "arn:aws:iot:us-east-1:123456789012:cert/c",
        ),
        ("iot", "AttachThingPrincipal", "/things/a/principals", b"", "*"),
        ("iot", "ListAttachedPolicies", "/attached-policies/c", b"", "*"),
        ("iot", "DeleteThing", "/things/a", b"", "*"),
        ("acm", "ImportCertificate", "/", b"{}", "arn:aws:acm:us-east-1:123456789012:certificate/*"),
        ("acm", "GetCertificate", "/", b'{"CertificateArn": "arn:aws:acm:x"}', "arn:aws:acm:x"),
        ("acm", "ListCertificates", "/", b"{}", "*"),
        ("service-quotas", "ListServiceQuotas", "/", b"{}", "*"),
        ("route53", "GetHostedZone", "/2013-04-01/hostedzone/Z1", b"", ZONE),
        ("route53", "ListResourceRecordSets", "/2013-04-01/hostedzone/Z1/rrset?type=CNAME", b"", ZONE),
        ("route53", "ListResourceRecordSetProtections", "/2013-04-01/hostedzone/Z1/rrsetprotection", b"", ZONE),
        ("route53", "GetChange", "/2013-04-01/change/C1", b"", "arn:aws:route53:::change/C1"),
    ],
)
def test_resource_of_other_requests(service: str, operation: str, target: str, body: bytes, resource: str) -> None:
    (found,) = permissions.needed(service, operation, REGION, ACCOUNT, target, body)

    assert found.resources == (resource,)


def test_condition_keys_of_a_batch_are_names_types_and_actions() -> None:
    (found,) = permissions.needed(
        "route53", "ChangeResourceRecordSets", REGION, ACCOUNT, "/2013-04-01/hostedzone/Z1/rrset/", BATCH
    )

    assert found.resources == (ZONE,)
    assert {key.partition(":")[2]: value for key, value in found.context.items() if key.startswith("route53:")} == {
        "ChangeResourceRecordSetsNormalizedRecordNames": ("mqtt1.example.com", "mqtt2.example.com"),
        "ChangeResourceRecordSetsRecordTypes": ("CNAME", "A"),
        "ChangeResourceRecordSetsActions": ("DELETE", "CREATE"),
    }


def test_who_one_is_may_always_be_asked() -> None:
    assert permissions.needed("sts", "GetCallerIdentity", REGION, ACCOUNT, "/", b"") == []


def test_import_with_tags_is_a_tagging_as_well() -> None:
    body = b'{"Tags": [{"Key": "Name", "Value": "mqtt1"}]}'
    found = permissions.needed("acm", "ImportCertificate", REGION, ACCOUNT, "/", body)

    assert [each.action for each in found] == ["acm:ImportCertificate", "acm:AddTagsToCertificate"]
    assert {each.resources for each in found} == {("arn:aws:acm:us-east-1:123456789012:certificate/*",)}
    assert found[0].context["aws:RequestTag/Name"] == ("mqtt1",)
