"""What an identity's policies allow, as IAM evaluates them.

Sources, IAM User Guide: "Policy evaluation logic" (an explicit Deny, else an Allow, else no), "IAM JSON policy
elements" (Action, Resource, Condition operators), "Multivalued context keys". Policy variables and principals are not
played: a document with them is refused.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from lab.aws_api.documents import VERSIONS, listed

STATEMENT_KEYS = {"Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition"}
# How a value of the request is compared with one of the policy.
_COMPARISONS: dict[str, Callable[[str, str], bool]] = {
    "StringEquals": lambda found, wanted: found == wanted,
    "StringEqualsIgnoreCase": lambda found, wanted: found.lower() == wanted.lower(),
    "StringLike": lambda found, wanted: _matches(wanted, found),
    "ArnEquals": lambda found, wanted: _matches(wanted, found),
    "ArnLike": lambda found, wanted: _matches(wanted, found),
    "Bool": lambda found, wanted: found.lower() == wanted.lower(),
}
_NEGATED = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
}
_OPERATORS = {*_COMPARISONS, *_NEGATED, "Null"}
# What an element's values look like.
_ELEMENTS = (
    ("Action", r"[a-z0-9-]+:[A-Za-z0-9*?]+", "one such as iot:DescribeThing"),
    ("Resource", r"arn:[^:]+:[^:]+:[^:]*:[^:]*:.+", "an ARN"),
)
_SID = re.compile(r"[A-Za-z0-9]*")

# Condition keys of a request and their values.
Context = Mapping[str, Sequence[str]]


def check(document: Mapping[str, Any]) -> None:
    """Return when IAM takes a policy document, and this module can evaluate it.

    Raises:
        ValueError: what is wrong with it, as IAM's MalformedPolicyDocument.
    """
    if document.get("Version") not in VERSIONS:
        raise ValueError(f"policy: Version {document.get('Version')!r}, expected {VERSIONS[0]}")
    if "${" in str(document):
        raise ValueError("policy: policy variables are not played")
    statements = listed(document.get("Statement"))
    if not statements:
        raise ValueError("policy: no Statement")
    for statement in statements:
        _check_statement(statement)


def _check_statement(statement: Mapping[str, Any]) -> None:
    if wrong := next(_faults(statement), None):
        raise ValueError(f"statement {statement.get('Sid', 'without Sid')}: {wrong}")


def _faults(statement: Mapping[str, Any]) -> Iterator[str]:
    """What IAM refuses a statement for."""
    yield from (f"{key} is no key of an identity's policy" for key in sorted(set(statement) - STATEMENT_KEYS))
    if not _SID.fullmatch(str(statement.get("Sid", ""))):
        yield "a Sid has letters and digits only"
    if statement.get("Effect") not in ("Allow", "Deny"):
        yield f"Effect {statement.get('Effect')!r}, expected Allow or Deny"
    for name, expression, expected in _ELEMENTS:
        values = _either(statement, name)
        if not values or (name in statement) == (f"Not{name}" in statement):
            yield f"expected either {name} or Not{name}, with one value at least"
        wrong = [each for each in values if each != "*" and not re.fullmatch(expression, each)]
        yield from (f"{name.lower()} {each!r}, expected * or {expected}" for each in wrong)
    plain = [(each, _plain(each)) for each in statement.get("Condition", {})]
    yield from (f"condition operator {each!r} is not known" for each, base in plain if base not in _OPERATORS)


def refusal(
    documents: Iterable[Mapping[str, Any]], arn: str, action: str, resources: Sequence[str], context: Context
) -> str | None:
    """Say with AWS's words why a request is refused; None where each of its resources is allowed.

    Args:
        documents: the identity's policies.
        arn: the identity's.
        action: such as `iot:DescribeThing`.
        resources: ARNs, or `*` of an action that has no resource type.

    Source of the words: https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
    """
    statements = [statement for document in documents for statement in listed(document.get("Statement"))]
    for resource in resources:
        effects = {each["Effect"] for each in statements if _concerns(each, action, resource, context)}
        if "Deny" in effects:
            why = "with an explicit deny in an identity-based policy"
        elif "Allow" not in effects:
            why = f"because no identity-based policy allows the {action} action"
        else:
            continue
        return f"User: {arn} is not authorized to perform: {action} on resource: {resource} {why}"
    return None


def _concerns(statement: Mapping[str, Any], action: str, resource: str, context: Context) -> bool:
    named = any(_matches(pattern.lower(), action.lower()) for pattern in _either(statement, "Action"))
    reached = any(_matches(pattern, resource) for pattern in _either(statement, "Resource"))
    return (
        named == ("Action" in statement)
        and reached == ("Resource" in statement)
        and all(
            _holds(operator, listed(wanted), context.get(key))
            for operator, keys in statement.get("Condition", {}).items()
            for key, wanted in keys.items()
        )
    )


def _holds(operator: str, wanted: Sequence[object], found: Sequence[str] | None) -> bool:
    """Whether a condition holds for a key's values in the request, None where it has no such key."""
    base, texts = _plain(operator), [str(each).lower() if isinstance(each, bool) else str(each) for each in wanted]
    if base == "Null":
        return (found is None) == (texts == ["true"])
    every = operator.startswith("ForAllValues:")
    if not found:
        # Of no values, all are as wanted; a negated operator holds where there is no key.
        return every or operator.endswith("IfExists") or (base in _NEGATED and not operator.startswith("ForAnyValue:"))
    compare, negated = _COMPARISONS[_NEGATED.get(base, base)], base in _NEGATED
    held = [any(compare(value, each) for each in texts) != negated for value in found]
    return any(held) if operator.startswith("ForAnyValue:") else all(held)


def _either(statement: Mapping[str, Any], name: str) -> list[Any]:
    """The values of an element, or of its opposite."""
    return listed(statement.get(name, statement.get(f"Not{name}")))


def _plain(operator: str) -> str:
    return operator.rpartition(":")[2].removesuffix("IfExists")


def _matches(pattern: str, text: str) -> bool:
    return _expression(pattern).fullmatch(text) is not None


@functools.lru_cache(maxsize=4096)
def _expression(pattern: str) -> re.Pattern[str]:
    """Of IAM's wildcards: `*` is any text, `?` any character."""
    return re.compile("".join({"*": ".*", "?": "."}.get(each, re.escape(each)) for each in pattern), re.DOTALL)
