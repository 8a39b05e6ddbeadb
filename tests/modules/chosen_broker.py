"""A broker whose answer to each message the test chooses: as much of MQTT 3.1.1 and 5, over TLS, as a client uses."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

CONNECT, PUBLISH, SUBSCRIBE, PINGREQ = 1, 3, 8, 12
MQTT_5 = 5


class Puback(NamedTuple):
    """Acknowledge with a reason code, which MQTT 3.1.1 does not carry."""

    code: int = 0


class Disconnect(NamedTuple):
    """End the connection; with a DISCONNECT of that code where the protocol has it, None: without.

    `reset`: so that the peer sees an error in place of an end.
    """

    code: int | None = None
    reset: bool = False


Answer = Puback | Disconnect | None


@dataclass
class Seen:
    """What clients did.

    Attributes:
        connects: number of CONNECTs.
        messages: bodies of the messages with their topic, in the order of their arrival, accepted or not.
        accepted: numbers of those that were acknowledged as accepted.
    """

    connects: int = 0
    messages: list[dict[str, Any]] = field(default_factory=list)
    accepted: list[int] = field(default_factory=list)


class Manners(NamedTuple):
    """See `chosen_broker`."""

    answer: Callable[[dict[str, Any]], Answer]
    connack: int
    suback: int


@contextmanager
def chosen_broker(
    folder: Path,
    port: int,
    answer: Callable[[dict[str, Any]], Answer],
    address: str = "127.0.0.1",
    connack: int = 0,
    suback: int = 1,
) -> Iterator[Seen]:
    """Serve with the files `server` and `ca` of a folder; yield what was seen.

    Args:
        connack: its reason code, in MQTT 3.1.1 the return code.
        suback: its reason code.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.crt", folder / "server.key")
    context.load_verify_locations(folder / "ca.crt")
    context.verify_mode = ssl.CERT_REQUIRED
    seen = Seen()
    with socket.create_server((address, port)) as listener:
        accepting = threading.Thread(
            target=_accept, args=(listener, context, Manners(answer, connack, suback), seen), daemon=True
        )
        accepting.start()
        try:
            yield seen
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join()


def _accept(listener: socket.socket, context: ssl.SSLContext, manners: Manners, seen: Seen) -> None:
    # Ends with its listener.
    with suppress(OSError):
        while True:
            plain, _ = listener.accept()
            threading.Thread(target=_serve, args=(plain, context, manners, seen), daemon=True).start()


def _serve(plain: socket.socket, context: ssl.SSLContext, manners: Manners, seen: Seen) -> None:
    with (
        suppress(OSError, EOFError),
        plain,
        context.wrap_socket(plain, server_side=True) as connection,
        connection.makefile("rb") as stream,
    ):
        _, _, hello = _packet(stream)
        five = hello[6] == MQTT_5
        seen.connects += 1
        connection.sendall(bytes([0x20, 3, 0, manners.connack, 0] if five else [0x20, 2, 0, manners.connack]))
        if manners.connack:
            return
        while isinstance(reply := _reply(*_packet(stream), five, manners, seen), bytes):
            connection.sendall(reply)
            if reply[:1] == bytes([0xE0]):
                return
        if reply.reset:
            # Closed with it, a connection is reset: socket(7), SO_LINGER.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _reply(kind: int, flags: int, body: bytes, five: bool, manners: Manners, seen: Seen) -> bytes | Disconnect:
    """What to send; a DISCONNECT is the last."""
    if kind == PUBLISH and flags & 6:
        reply = _publish(body, five, manners.answer, seen)
        if isinstance(reply, Disconnect) and five and reply.code is not None:
            return bytes([0xE0, 2, reply.code, 0])
        return reply
    if kind == SUBSCRIBE:
        return bytes([0x90, 4, *body[:2], 0, manners.suback] if five else [0x90, 3, *body[:2], manners.suback])
    return bytes([0xD0, 0]) if kind == PINGREQ else b""


def _publish(body: bytes, five: bool, answer: Callable[[dict[str, Any]], Answer], seen: Seen) -> bytes | Disconnect:
    end = 2 + int.from_bytes(body[:2], "big")
    # Properties of MQTT 5: the client sends fewer than 128 bytes of them.
    content = body[end + 2 + (1 + body[end + 2] if five else 0) :]
    message = {**json.loads(content), "topic": body[2:end].decode()}
    seen.messages.append(message)
    chosen = answer(message)
    if chosen is None:
        return b""
    if isinstance(chosen, Disconnect):
        return chosen
    if chosen.code == 0:
        seen.accepted.append(message["sequence"])
    number = body[end : end + 2]
    return bytes([0x40, 4, *number, chosen.code, 0] if five else [0x40, 2, *number])


def _packet(stream: BinaryIO) -> tuple[int, int, bytes]:
    """(type, flags, rest) of the next packet."""
    first = _exactly(stream, 1)[0]
    length = shift = 0
    while True:
        byte = _exactly(stream, 1)[0]
        length |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return first >> 4, first & 15, _exactly(stream, length)


def _exactly(stream: BinaryIO, size: int) -> bytes:
    content = stream.read(size)
    if len(content) < size:
        raise EOFError
    return content
