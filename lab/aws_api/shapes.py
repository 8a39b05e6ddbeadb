"""The shapes of botocore's service models as checks of what goes over the wire.

botocore itself is lenient: it reads what it knows, leaves out what it does not, and never looks at enums, patterns and
lengths of answers. A check here returns what is wrong, or None; those of a shape are made once.
"""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, NamedTuple
from xml.etree.ElementTree import Element

LONGEST_SHOWN = 60
_ISO_8601 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)")
_RFC_822 = re.compile(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
_INTEGER = re.compile(r"-?\d+")
# Java's classes of ASCII; the others are Unicode's categories.
_ASCII_CLASSES = {
    "Graph": "!-~",
    "Upper": "A-Z",
    "Digit": "0-9",
    "Cntrl": r"\x00-\x1f\x7f",
    "ASCII": r"\x00-\x7f",
}
_CLASS = re.compile(r"\\p\{(\w+)\}")


class Problem(NamedTuple):
    """What is wrong with a member; `member` is its path, in which `[]` is any item of a list and `{}` of a map."""

    member: str
    found: str
    expected: str

    def below(self, name: str) -> Problem:
        joint = "" if not self.member or self.member[0] in "[{" else "."
        return self._replace(member=f"{name}{joint}{self.member}")


Problems = list[Problem] | None
Check = Callable[[Any], Problems]


def shown(value: object) -> str:
    """Return a value for people to read: its beginning."""
    text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"


def one(found: object, expected: str, member: str = "") -> list[Problem]:
    return [Problem(member, shown(found), expected)]


@cache
def pattern_of(text: str) -> re.Pattern[str]:
    """Compile a pattern of a model, which is Java's."""
    return re.compile(_CLASS.sub(lambda found: _characters(found[1]), text))


@cache
def _characters(name: str) -> str:
    """Return the characters of a class as they stand between brackets; of the basic plane."""
    if name in _ASCII_CLASSES:
        return _ASCII_CLASSES[name]
    ranges: list[list[int]] = []
    for code in range(0x10000):
        if unicodedata.category(chr(code)).startswith(name):
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1][1] = code
            else:
                ranges.append([code, code])
    return "".join(rf"\u{first:04x}-\u{last:04x}" for first, last in ranges)


def text_check(shape: Any) -> Check:
    """Return the check of a string: enum, length, pattern."""
    metadata, enum = shape.metadata, frozenset(getattr(shape, "enum", ()))
    least, most = metadata.get("min"), metadata.get("max")
    pattern = pattern_of(metadata["pattern"]) if "pattern" in metadata else None
    if not enum and least is None and most is None and pattern is None:
        return lambda _: None
    hidden = metadata.get("sensitive", False)

    def check(value: str) -> Problems:
        found = f"{len(value)} characters" if hidden else value
        if enum and value not in enum:
            return one(found, f"one of {', '.join(sorted(enum))}")
        if not (least or 0) <= len(value) <= (most if most is not None else len(value)):
            return one(found, f"{least or 0} to {most if most is not None else 'any number of'} characters")
        if pattern is not None and not pattern.fullmatch(value):
            return one(found, f"a match of {pattern.pattern if len(pattern.pattern) < 200 else metadata['pattern']}")
        return None

    return check


def range_check(shape: Any) -> Check:
    """Return the check of a number's size."""
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is None and most is None:
        return lambda _: None

    def check(value: float) -> Problems:
        if (least is not None and value < least) or (most is not None and value > most):
            return one(value, f"{least} to {most}")
        return None

    return check


def structure_check(members: Mapping[str, Check], required: Iterable[str]) -> Check:
    """Return the check of a structure in JSON, by the names on the wire. A member that is null is absent."""
    needed = tuple(required)

    def check(value: Any) -> Problems:
        if type(value) is not dict:
            return one(value, "an object")
        problems: list[Problem] = []
        for name, item in value.items():
            member = members.get(name)
            if member is None:
                problems.append(Problem(name, shown(item), "no such member"))
            elif item is not None and (wrong := member(item)):
                problems += [problem.below(name) for problem in wrong]
        problems += [Problem(name, "nothing", "this member") for name in needed if value.get(name) is None]
        return problems or None

    return check


def wire_name(name: str, member: Any) -> str:
    """Return a member's name on the wire."""
    return str(member.serialization.get("name", name))


class Shapes:
    """Checks of shapes, each made once."""

    def __init__(self) -> None:
        self._made: dict[str, Check] = {}

    def once(self, key: str, make: Callable[[], Check]) -> Check:
        """Return a check that is made when it is first used: shapes may contain themselves."""
        made: Check | None = None

        def check(value: Any) -> Problems:
            nonlocal made
            if made is None:
                made = self._made.get(key) or self._made.setdefault(key, make())
            return made(value)

        return self._made.get(key) or check


class JsonShapes(Shapes):
    """Checks of values that were read from JSON."""

    def of(self, shape: Any) -> Check:
        """Return the check of a shape."""
        key = f"{shape.name} {shape.serialization.get('timestampFormat', '')}"
        return self.once(key, lambda: self._make(shape))

    def structure(self, shape: Any, names: Iterable[str]) -> Check:
        """Return the check of some of a structure's members."""
        chosen = {name: shape.members[name] for name in names}
        required = [wire_name(name, member) for name, member in chosen.items() if name in shape.required_members]
        return structure_check({wire_name(name, each): self.of(each) for name, each in chosen.items()}, required)

    def _make(self, shape: Any) -> Check:
        kind = shape.type_name
        if kind == "structure":
            return self.structure(shape, shape.members)
        if kind == "list":
            return self._list(shape)
        if kind == "map":
            return self._map(shape)
        return _json_leaf(shape)

    def _list(self, shape: Any) -> Check:
        item_check, size = self.of(shape.member), range_check(shape)

        def check(value: Any) -> Problems:
            if type(value) is not list:
                return one(value, "a list")
            problems = [problem.below("[]") for item in value for problem in item_check(item) or ()]
            return [*problems, *(size(len(value)) or ())] or None

        return check

    def _map(self, shape: Any) -> Check:
        key_check, item_check = text_check(shape.key), self.of(shape.value)

        def check(value: Any) -> Problems:
            if type(value) is not dict:
                return one(value, "an object")
            problems = [problem.below("{}") for key in value for problem in key_check(key) or ()]
            problems += [problem.below("{}") for item in value.values() for problem in item_check(item) or ()]
            return problems or None

        return check


def _json_leaf(shape: Any) -> Check:
    kind = shape.type_name
    if kind == "blob":
        return _blob(shape)
    if kind == "timestamp":
        return _timestamp(shape.serialization.get("timestampFormat", "unixTimestamp"))
    types, name, rest = {
        "string": ((str,), "a string", text_check(shape)),
        "boolean": ((bool,), "true or false", lambda _: None),
        "integer": ((int,), "an integer", range_check(shape)),
        "long": ((int,), "an integer", range_check(shape)),
        "float": ((int, float), "a number", range_check(shape)),
        "double": ((int, float), "a number", range_check(shape)),
    }[kind]

    def check(value: Any) -> Problems:
        return rest(value) if type(value) in types else one(value, name)

    return check


def _blob(shape: Any) -> Check:
    hidden = shape.metadata.get("sensitive", False)

    def check(value: Any) -> Problems:
        try:
            base64.b64decode(value, validate=True)
        except (TypeError, ValueError, binascii.Error):
            return one("something else" if hidden else value, "base64")
        return None

    return check


def _timestamp(form: str) -> Check:
    def check(value: Any) -> Problems:
        if form == "unixTimestamp":
            return None if type(value) in (int, float) else one(value, "seconds since the epoch, a number")
        pattern = _ISO_8601 if form == "iso8601" else _RFC_822
        return None if isinstance(value, str) and pattern.fullmatch(value) else one(value, f"a time in {form}")

    return check


def leaf_in_text(shape: Any, timestamps: str = "iso8601") -> Check:
    """Return the check of a value that is written as text: in XML, a path, a query or a header."""
    kind = shape.type_name
    if kind == "boolean":
        return lambda value: None if value in ("true", "false") else one(value, "true or false")
    if kind == "timestamp":
        form = shape.serialization.get("timestampFormat", timestamps)
        if form != "unixTimestamp":
            return _timestamp(form)
    if kind == "blob":
        return _blob(shape)
    if kind == "string":
        return text_check(shape)
    size, whole = range_check(shape), kind in ("integer", "long")

    def check(value: str) -> Problems:
        if not (_INTEGER if whole else _NUMBER).fullmatch(value):
            return one(value, "an integer" if whole else "a number")
        return size(float(value))

    return check


def local_name(element: Element) -> str:
    return element.tag.rpartition("}")[2]


class XmlShapes(Shapes):
    """Checks of elements of XML."""

    def of(self, shape: Any) -> Check:
        """Return the check of the elements of a member: a list of more than one only where it is flattened."""
        flattened = shape.type_name == "list" and shape.serialization.get("flattened", False)
        key = f"{shape.name} {flattened} {shape.serialization.get('timestampFormat', '')}"
        return self.once(key, lambda: self._make(shape, flattened))

    def structure(self, shape: Any, names: Iterable[str]) -> Check:
        """Return the check of some of a structure's members, of its one element."""
        chosen = {name: shape.members[name] for name in names}
        members = {_xml_name(name, each): self.of(each) for name, each in chosen.items()}
        needed = [_xml_name(name, each) for name, each in chosen.items() if name in shape.required_members]

        def check(elements: list[Element]) -> Problems:
            children: dict[str, list[Element]] = {}
            for child in elements[0]:
                children.setdefault(local_name(child), []).append(child)
            problems = [Problem(name, "nothing", "this member") for name in needed if name not in children]
            for name, found in children.items():
                member = members.get(name)
                if member is None:
                    problems.append(Problem(name, shown(found[0].text), "no such member"))
                else:
                    problems += [problem.below(name) for problem in member(found) or ()]
            return problems or None

        return _single(check)

    def _make(self, shape: Any, flattened: bool) -> Check:
        if shape.type_name == "structure":
            return self.structure(shape, shape.members)
        if shape.type_name == "list":
            return self._list(shape, flattened)
        leaf = leaf_in_text(shape)
        return _single(lambda elements: leaf(elements[0].text or ""))

    def _list(self, shape: Any, flattened: bool) -> Check:
        item_check, size = self.of(shape.member), range_check(shape)
        item_name = shape.member.serialization.get("name", "member")

        def check(elements: list[Element]) -> Problems:
            items = elements if flattened else list(elements[0])
            problems = [problem.below("[]") for item in items for problem in item_check([item]) or ()]
            if not flattened:
                names = {local_name(item) for item in items} - {item_name}
                problems += [Problem(f"[{name}]", "present", f"items named {item_name}") for name in sorted(names)]
            return [*problems, *(size(len(items)) or ())] or None

        return check if flattened else _single(check)


def _xml_name(name: str, member: Any) -> str:
    """Return the name of a member's elements: those of a flattened list are named as its items are."""
    if member.type_name == "list" and member.serialization.get("flattened"):
        return str(member.member.serialization.get("name", wire_name(name, member)))
    return wire_name(name, member)


def _single(check: Check) -> Check:
    def checked(elements: list[Element]) -> Problems:
        return check(elements) if len(elements) == 1 else one(f"{len(elements)} elements", "one")

    return checked
