"""What is wrong with an endpoint's name, in words: a resolver or TLS library only reports that it found nothing."""

from __future__ import annotations

import re

from mqtt_fleet.resolve import is_address

# RFC 1035, 2.3.4; RFC 1123, 2.1.
NAME_LENGTH, LABEL_LENGTH = 253, 63
_URL = re.compile(r"(?i)[a-z][a-z0-9+.-]*://")
_PORT = re.compile(r"(.+):(\d*)")
_LABEL = re.compile(r"(?i)[a-z0-9]([a-z0-9-]*[a-z0-9])?")


def host_problem(text: str) -> str | None:
    """Why no connection can ever be made to it: what was expected, as the end of a sentence; None where it can."""
    plain = text.strip()
    if scheme := _URL.match(plain):
        host = re.split(r"[/?#]", plain[scheme.end() :], maxsplit=1)[0]
        return f"expected the name alone, without {scheme[0]}: {_alone(host)}"
    if "/" in plain or "@" in plain:
        return "expected the name of a host alone, without / and @"
    if is_address(plain.strip("[]")):
        return None if plain == text and "[" not in text else "expected an address without spaces or brackets"
    if match := _PORT.fullmatch(plain):
        return f"expected the name alone, and the port {match[2]} in 'port': {_alone(plain)}"
    if plain != text or any(letter.isspace() or not letter.isprintable() for letter in text):
        return f"expected no spaces or control characters: {''.join(plain.split())!r}"
    if text.endswith("."):
        return f"expected the name without its last dot, as it is in certificates: {text.rstrip('.')!r}"
    labels = text.split(".")
    if len(text) > NAME_LENGTH or not all(0 < len(label) <= LABEL_LENGTH for label in labels):
        return f"expected at most {NAME_LENGTH} characters, and 1 to {LABEL_LENGTH} between two dots"
    if "*" in text:
        return "expected the name of one host, without *"
    return None


def host_doubt(text: str) -> str | None:
    """Why AWS IoT Core, or this fleet, does not know such an endpoint, though a broker might; None where there is none.

    AWS IoT Core finds the account by the server name that a client sends, which is never an address (RFC 6066, 3).
    """
    if is_address(text):
        return "expected a name: an address has no server name for AWS IoT Core, and cannot be moved to another region"
    if not text.isascii():
        return f"expected the name as DNS has it{_in_ascii(text)}"
    if not all(_LABEL.fullmatch(label) for label in text.split(".")):
        return "expected letters, digits and - between dots, neither beginning nor ending with -"
    return None


def _alone(text: str) -> str:
    return repr(text.rsplit(":", 1)[0].strip("[]") if _PORT.fullmatch(text) else text)


def _in_ascii(text: str) -> str:
    try:
        return f": {text.encode('idna').decode()!r}"
    except UnicodeError:
        return ", in ASCII"
