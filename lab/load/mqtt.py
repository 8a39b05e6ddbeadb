"""As much of MQTT 3.1.1 as a light client speaks.

Source: OASIS, "MQTT Version 3.1.1". The Python libraries give each connection a thread or several tasks, and none
takes a server name beside an address; a thousand clients on a core that is shared with the brokers leave room for
neither.
"""

from __future__ import annotations

import asyncio

CONNACK, PUBLISH, PUBACK = 2, 3, 4

PINGREQ = b"\xc0\x00"

_CLEAN_SESSION = 0x02
_QOS_1 = 0x02
# Nothing that a light client is sent comes near it.
_MAX_LENGTH = 65_536


class ProtocolError(Exception):
    """The peer sent what is not MQTT, or is too long."""


def connect(client_id: str, keep_alive: int) -> bytes:
    """Return a CONNECT with a clean session; the keep-alive is in seconds."""
    header = _text("MQTT") + bytes((4, _CLEAN_SESSION)) + keep_alive.to_bytes(2, "big")
    return _packet(1, 0, header + _text(client_id))


def publish(topic: str, payload: bytes, identifier: int) -> bytes:
    """Return a PUBLISH at QoS 1; the identifier is 1 to 65,535."""
    return _packet(PUBLISH, _QOS_1, _text(topic) + identifier.to_bytes(2, "big") + payload)


async def read(stream: asyncio.StreamReader) -> tuple[int, bytes]:
    """Return the type and the content of the next packet.

    Raises:
        asyncio.IncompleteReadError: the connection ended.
        ProtocolError: a length that no packet here has.
    """
    kind = (await stream.readexactly(1))[0] >> 4
    length = 0
    for position in range(4):
        byte = (await stream.readexactly(1))[0]
        length |= (byte & 0x7F) << 7 * position
        if byte < 0x80:
            break
    if length > _MAX_LENGTH:
        raise ProtocolError(f"packet of type {kind}: {length} bytes, expected {_MAX_LENGTH} at most")
    return kind, await stream.readexactly(length)


def _packet(kind: int, flags: int, content: bytes) -> bytes:
    length, rest = bytearray(), len(content)
    while rest > 0x7F:
        length.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes((kind << 4 | flags, *length, rest)) + content


def _text(value: str) -> bytes:
    encoded = value.encode()
    return len(encoded).to_bytes(2, "big") + encoded
