"""How much of what was written to a TCP connection has arrived, and how the connection ended."""

from __future__ import annotations

import fcntl
import select
import socket
import struct
import sys
import termios
from typing import NamedTuple

# Offset of tcpi_bytes_acked in Linux's struct tcp_info, linux/tcp.h; there since Linux 4.1.
BYTES_ACKED = 120
INFO_BYTES = 256


class Traffic(NamedTuple):
    """Bytes of a TCP connection.

    Attributes:
        acked: received by the peer's kernel since the connection began.
        queued: written, and not yet received.
    """

    acked: int
    queued: int


def traffic(connection: socket.socket) -> Traffic | None:
    """What the kernel knows of a connection; None where it does not say."""
    if sys.platform != "linux":
        return None
    try:
        # Not through the object: ssl.SSLSocket refuses some of the calls.
        information = socket.socket.getsockopt(connection, socket.IPPROTO_TCP, socket.TCP_INFO, INFO_BYTES)
        queued = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4))
        (acked,) = struct.unpack_from("=Q", information, BYTES_ACKED)
    except (OSError, ValueError, struct.error):
        return None
    return Traffic(acked, int.from_bytes(queued, sys.byteorder))


class ResetWatch:
    """Detects whether a connection broke, as opposed to an orderly end, as long as nothing is read from it."""

    def __init__(self, connection: socket.socket) -> None:
        self._poll = select.poll()
        self._poll.register(connection, 0)

    def was_reset(self) -> bool:
        """See poll(2), POLLERR."""
        return any(events & select.POLLERR for _, events in self._poll.poll(0))
