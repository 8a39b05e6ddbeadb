"""What a topic may hold."""

from __future__ import annotations

import re

# AWS IoT Core, "Message broker and protocol quotas": a topic has at most 256 bytes of UTF-8, and 7 slashes.
TOPIC_BYTES = 256
LEVEL_FORBIDDEN = "/+#"
_CONTROLS = r"\x00-\x1f\x7f-\x9f"
_SURROGATES = r"\ud800-\udfff"
# The last two numbers of each plane, and 32 in the middle of the first: Unicode, 23.7.
_NON_CHARACTERS = r"\ufdd0-\ufdef" + "".join(
    rf"\U{plane << 16 | 0xFFFE:08x}\U{plane << 16 | 0xFFFF:08x}" for plane in range(17)
)
_FORBIDDEN = re.compile(f"[{_CONTROLS}{_SURROGATES}{_NON_CHARACTERS}]")


def forbidden(text: str) -> str:
    """The first character for which brokers close a connection, such as "U+000D"; "" where there is none.

    MQTT 5, 1.5.4 (MQTT 3.1.1, 1.5.3): U+0000 and halves of surrogate pairs are malformed, other control characters and
    Unicode's non-characters may be taken for it, which Mosquitto and AWS IoT Core do.
    """
    found = _FORBIDDEN.search(text)
    return f"U+{ord(found[0]):04X}" if found else ""
