"""Takes out of AWS's answers what is an account's own, and leaves their form.

Letters and digits of every value are replaced by others of their kind, so that lengths and patterns stay. Kept are
values that a model enumerates, Regions, services and the beginning of ARNs, and the names that this run has made up.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from xml.etree import ElementTree

ACCOUNT = "123456789012"
ENDPOINT_PREFIX = "a2labrehearsal"
# Headers of an answer that say something of its form.
HEADERS = ("content-type", "x-amzn-errortype")

_ARN = re.compile(r"arn:(aws[\w-]*):([\w-]*):([\w-]*):(\d{12}|aws)?:([^\s\"'<>,]*)")
_ENDPOINT = re.compile(r"\b[a-z0-9]+((?:-ats)?\.(?:ats\.)?iot\.[a-z0-9-]+\.[a-z0-9.-]+)")
_ACCOUNT = re.compile(r"(?<!\d)\d{12}(?!\d)")
_KEY = re.compile(r"\b(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{12,}\b")
_QUOTED = re.compile(r"'([^']+)'")
_SECONDS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z?")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
# What the services that are asked have in every answer, and nobody's.
_MODEL_WORDS = frozenset({"true", "false", "AWS_Things", "AmazonRootCA1"})


class Scrubber:
    """Scrubs the answers of one run.

    Args:
        own: beginnings of names that the run has made up, which may be seen.
        words: values that the services' models enumerate.
    """

    def __init__(self, own: Iterable[str], words: Iterable[str]) -> None:
        self._own = tuple(own)
        self._words = _MODEL_WORDS.union(words)

    def headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        return {name: value for name, value in headers.items() if name in HEADERS}

    def body(self, body: bytes, *, error: bool) -> str:
        """Return a body of JSON or XML without an account's own; of an error the words stay."""
        text = body.decode(errors="replace")
        replace = self.words_of if error else self.value
        if text.lstrip().startswith("<"):
            return self._xml(text, replace)
        try:
            return json.dumps(self._json(json.loads(text), replace)) if text else ""
        except ValueError:
            return self.words_of(text)

    def _json(self, content: Any, replace: Any) -> Any:
        if isinstance(content, dict):
            # Names of members stay; those of a map that are somebody's own cannot be told from them, attributes apart.
            return {
                name: {self.value(key): replace(str(item)) for key, item in value.items()}
                if name == "attributes" and isinstance(value, dict)
                else self._json(value, replace)
                for name, value in content.items()
            }
        if isinstance(content, list):
            return [self._json(item, replace) for item in content]
        return replace(content) if isinstance(content, str) else content

    def _xml(self, text: str, replace: Any) -> str:
        try:
            root = ElementTree.fromstring(text)  # noqa: S314 - expat's limits hold
        except ElementTree.ParseError:
            return self.words_of(text)
        namespace = root.tag.partition("}")[0].removeprefix("{") if root.tag.startswith("{") else ""
        if namespace:
            ElementTree.register_namespace("", namespace)
        for element in root.iter():
            if element.text and element.text.strip():
                is_id = element.tag.endswith("RequestId")
                element.text = self.value(element.text) if is_id else replace(element.text)
        return ElementTree.tostring(root, encoding="unicode")

    def words_of(self, text: str) -> str:
        """Return a message to people without accounts, ARNs' resources, keys, host prefixes and what is in quotes."""
        text = _QUOTED.sub(lambda found: f"'{self.value(found[1])}'", _ARN.sub(self._arn, text))
        text = _ENDPOINT.sub(rf"{ENDPOINT_PREFIX}\1", text)
        return _KEY.sub("KEY", _ACCOUNT.sub(ACCOUNT, text))

    def value(self, text: str) -> str:
        """Return a value of the same form that is nobody's."""
        if text in self._words or text.startswith(self._own) or _SECONDS.fullmatch(text):
            return text
        if _NUMBER.fullmatch(text) and len(text) < len(ACCOUNT):
            return text
        if _ACCOUNT.fullmatch(text):
            return ACCOUNT
        if match := _ARN.fullmatch(text):
            return self._arn(match)
        if match := _ENDPOINT.fullmatch(text):
            return f"{ENDPOINT_PREFIX}{match[1]}"
        return "".join(map(_masked, text))

    def _arn(self, match: re.Match[str]) -> str:
        partition, service, region, account, resource = match.groups()
        kind, separator, name = resource.partition("/")
        shown = name if name.startswith(self._own) else "".join(map(_masked, name))
        if not separator:
            kind = "".join(map(_masked, kind))
        owner = ACCOUNT if account and account != "aws" else account or ""
        return f"arn:{partition}:{service}:{region}:{owner}:{kind}{separator}{shown}"


def _masked(character: str) -> str:
    """A letter or digit of the same kind, of those that are hexadecimal too."""
    if character.isdigit():
        return "0"
    if character.isalpha():
        return "A" if character.isupper() else "a"
    return character
