"""What a topic may hold."""

from __future__ import annotations

# AWS IoT Core, "Message broker and protocol quotas": a topic has at most 256 bytes of UTF-8, and 7 slashes.
TOPIC_BYTES = 256
LEVEL_FORBIDDEN = "/+#"


def forbidden(text: str) -> str:
    """The first character for which brokers close a connection, such as "U+000D"; "" where there is none.

    MQTT 5, 1.5.4 (MQTT 3.1.1, 1.5.3): U+0000 and halves of surrogate pairs are malformed, other control characters and
    Unicode's non-characters may be taken for it, which Mosquitto and AWS IoT Core do.
    """
    return next((f"U+{ord(letter):04X}" for letter in text if _is_forbidden(ord(letter))), "")


def _is_forbidden(number: int) -> bool:
    control = number < 0x20 or 0x7F <= number < 0xA0
    surrogate = 0xD800 <= number < 0xE000
    # The last two numbers of each plane, and 32 in the middle of the first: Unicode, 23.7.
    return control or surrogate or 0xFDD0 <= number < 0xFDF0 or number & 0xFFFE == 0xFFFE
