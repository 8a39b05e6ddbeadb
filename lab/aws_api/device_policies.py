"""What the certificates of a region may do at its broker, from the policies that are attached to them.

Source: AWS IoT developer guide, "AWS IoT Core policy actions", "AWS IoT Core action resources", "AWS IoT Core policy
variables", "Thing policy variables" and "Connect policy examples". Policies are taken in at once, where AWS takes 6 to
8 minutes. Of conditions, those on the keys below are known, and of variables `iot:ClientId` and those of the
connection's thing. A statement with another condition allows nothing, and denies what it would.

The broker's plugin reads the text that `render` makes: a record a line, its fields separated by tabs and
percent-encoded. In a resource `*` and `?` are IAM's wildcards and `${name}` a variable.

    arn <TAB> arn:aws:iot:REGION:ACCOUNT:            what resources begin with
    policy                                           the next of the policies, from 0
    allow|deny <TAB> ACTIONS <TAB> WHEN <TAB> RESOURCE
    certificate <TAB> ID <TAB> POLICY …              in the order of their IDs
    thing <TAB> NAME [<TAB> VARIABLE <TAB> VALUE] …  of the certificate, in the order of their names

WHEN has a digit for each kind of connection, 1 where the statement applies: `KINDS` has their order.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import quote

from lab.aws_api.documents import listed

# The letter that a line has for each action.
ACTIONS = {
    "iot:Connect": "C",
    "iot:Publish": "P",
    "iot:RetainPublish": "T",
    "iot:Subscribe": "S",
    "iot:Receive": "R",
}
THING = "iot:Connection.Thing."
ATTACHED = f"{THING}IsAttached"
CONNECT_ATTRIBUTES = "iot:ConnectAttributes"

_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_PIECE = re.compile(r"(\$\{[^}]*\}|[*?])")
# IAM user guide, "Policy variables": how a wildcard or a dollar sign is written that means itself.
_THEMSELVES = frozenset("*?$")


@dataclass(frozen=True)
class Kind:
    """What of a connection conditions ask for: whether its client is a thing of the certificate, and its attributes."""

    attached: bool
    persistent: bool
    will: bool

    @property
    def attributes(self) -> frozenset[str]:
        wanted = (("PersistentConnect", self.persistent), ("LastWill", self.will))
        return frozenset(name for name, present in wanted if present)


KINDS = tuple(Kind(*each) for each in itertools.product((False, True), repeat=3))


@dataclass(frozen=True)
class Principal:
    """A certificate: the documents of its policies by name, and its things with their policy variables."""

    certificate_id: str
    policies: Mapping[str, Mapping[str, Any]]
    things: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def thing_variables(attributes: Mapping[str, str], type_name: str | None) -> dict[str, str]:
    """Return the policy variables of a thing beside its name."""
    variables = {f"{THING}Attributes[{name}]": str(value) for name, value in attributes.items()}
    return variables | ({f"{THING}ThingTypeName": type_name} if type_name else {})


def render(arn: str, principals: Iterable[Principal]) -> str:
    """Return what the broker's plugin reads.

    Args:
        arn: what every resource of the region begins with, `arn:aws:iot:REGION:ACCOUNT:`.
    """
    principals = sorted(principals, key=lambda each: each.certificate_id)
    documents = {name: document for each in principals for name, document in each.policies.items()}
    names = sorted(documents)
    numbers = {name: str(number) for number, name in enumerate(names)}
    statements = {name: _statements(documents[name]) for name in names}
    used = {variable for lines in statements.values() for line in lines for variable in _VARIABLE.findall(line)}
    lines = [_line("arn", arn)]
    for name in names:
        lines += ["policy", *statements[name]]
    for each in principals:
        lines.append(_line("certificate", each.certificate_id, *(numbers[name] for name in each.policies)))
        # The plugin looks a thing up by its bytes.
        for thing in sorted(each.things, key=str.encode):
            known = [(name, value) for name, value in each.things[thing].items() if name in used]
            lines.append(_line("thing", thing, *itertools.chain.from_iterable(known)))
    return "".join(f"{line}\n" for line in lines)


def _statements(document: Mapping[str, Any]) -> list[str]:
    return [line for statement in listed(document.get("Statement")) for line in _statement(statement)]


def _statement(statement: Mapping[str, Any]) -> list[str]:
    deny = statement.get("Effect") == "Deny"
    # fnmatch takes [ for the beginning of a set, IAM for itself.
    patterns = [str(action).lower().replace("[", "[[]") for action in listed(statement.get("Action"))]
    letters = "".join(
        letter for name, letter in ACTIONS.items() if any(fnmatchcase(name.lower(), each) for each in patterns)
    )
    condition = statement.get("Condition") or {}
    when = "".join(str(int(_applies(condition, kind, otherwise=deny))) for kind in KINDS)
    if not letters or "1" not in when:
        return []
    effect = "deny" if deny else "allow"
    return [f"{effect}\t{letters}\t{when}\t{_resource(str(each))}" for each in listed(statement.get("Resource"))]


def _applies(condition: Mapping[str, Any], kind: Kind, *, otherwise: bool) -> bool:
    """Return whether a statement's conditions hold for a kind of connection; `otherwise` where one is not known."""
    tests = [(operator, key, listed(values)) for operator, keys in condition.items() for key, values in keys.items()]
    return all(otherwise if (held := _holds(*test, kind)) is None else held for test in tests)


def _holds(operator: str, key: str, values: Sequence[Any], kind: Kind) -> bool | None:
    texts = {str(value) for value in values}
    match operator, key:
        case "Bool", _ if key == ATTACHED:
            return str(kind.attached).lower() in {text.lower() for text in texts}
        case "ForAllValues:StringEquals", _ if key == CONNECT_ATTRIBUTES:
            return kind.attributes <= texts
        case "ForAllValues:StringNotEquals", _ if key == CONNECT_ATTRIBUTES:
            return not kind.attributes & texts
        case "ForAnyValue:StringEquals", _ if key == CONNECT_ATTRIBUTES:
            return bool(kind.attributes & texts)
    return None


def _resource(text: str) -> str:
    return "".join(_piece(piece) for piece in _PIECE.split(text) if piece)


def _piece(piece: str) -> str:
    if piece in ("*", "?"):
        return piece
    if variable := _VARIABLE.fullmatch(piece):
        name = variable[1]
        return _encoded(name) if name in _THEMSELVES else f"${{{_encoded(name)}}}"
    return _encoded(piece)


def _line(*fields: str) -> str:
    return "\t".join(_encoded(each) for each in fields)


def _encoded(text: str) -> str:
    return quote(text, safe="/:[]@!'(),;=+#&<>|^`\" \\")
