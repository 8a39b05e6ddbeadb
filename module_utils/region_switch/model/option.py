"""Options as fields of dataclasses, which give their argument specs, documentation, defaults and ranges."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import MISSING, Field, field, fields
from types import UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from .errors import RefusedError

Spec = dict[str, Any]
Room = TypeVar("Room")

_ANSIBLE_TYPES = {str: "str", int: "int", float: "float", bool: "bool", object: "raw"}


def option(description: str | list[str], default: Any = MISSING, **more: Any) -> Any:
    """A field that is an option of a module.

    Args:
        description: in Ansible's markup, one paragraph or several.
        default: without one, the option is required unless its type includes None.
        more: further entries of Ansible's argument spec, where they do not follow from the field's type (`type: path`,
            `elements`, `no_log`); `low` and `high`, the range of a number.
    """
    metadata = {"description": description, **more}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def argument_spec(*rooms: type) -> dict[str, Spec]:
    """The argument spec of a module with the options of these dataclasses."""
    return _specs(rooms, {"description", "low", "high"})


def documentation(*rooms: type) -> dict[str, Spec]:
    """The `options` of a module's documentation, for the same dataclasses."""
    return _specs(rooms, {"low", "high", "no_log"})


def given(room: type[Room], parameters: Mapping[str, Any]) -> Room:
    """A dataclass filled from a module's parameters; options that are not among them have their defaults."""
    return room(**{each.name: parameters[each.name] for each in _options(room) if each.name in parameters})


def check_ranges(room: object) -> None:
    """Refuse numbers outside the range of their option.

    Raises:
        RefusedError: names the option.
    """
    for each in _options(type(room)):
        low, high = (each.metadata.get(key) for key in ("low", "high"))
        found = getattr(room, each.name)
        if low is not None and not low <= found <= (found if high is None else high):
            expected = f"{low} or more" if high is None else f"{low} to {high}"
            raise RefusedError(f"{each.name}: found {found:g}, expected {expected}: correct it")


def _options(room: type) -> tuple[Field[Any], ...]:
    return fields(room)


def _specs(rooms: Iterable[type], left_out: Collection[str]) -> dict[str, Spec]:
    found: dict[str, Spec] = {}
    for room in rooms:
        hints = get_type_hints(room)
        for each in _options(room):
            spec = {**_type(hints[each.name]), **_default(each), **each.metadata}
            found[each.name] = {key: value for key, value in spec.items() if key not in left_out}
    return found


def _type(annotation: Any) -> Spec:
    """Type, elements and choices that follow from a field's type."""
    if get_origin(annotation) is Literal:
        return {"type": "str", "choices": list(get_args(annotation))}
    if get_origin(annotation) is list:
        return {"type": "list", "elements": _ANSIBLE_TYPES[get_args(annotation)[0]]}
    if isinstance(annotation, UnionType):
        return _type(get_args(annotation)[0])
    return {"type": _ANSIBLE_TYPES[annotation]}


def _default(each: Field[Any]) -> Spec:
    if each.default_factory is not MISSING:
        return {"default": each.default_factory()}
    if each.default is MISSING:
        return {"required": True}
    return {} if each.default is None else {"default": each.default}
