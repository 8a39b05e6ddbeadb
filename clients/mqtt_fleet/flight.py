"""How much may be in flight on a link that may be slow, and whether there is progress."""

from __future__ import annotations

from mqtt_fleet.traffic import Traffic

# Messages queue behind one another: on a slow link little is in flight, so that little is sent in vain.
FIRST_BYTES = 32 << 10
FEWEST_BYTES = 8 << 10
MOST_BYTES = 2 << 20
# Seconds until the PUBACK below which a link counts as fast, and may carry more.
FAST = 2.0
SLOW = 8.0
# Of TLS and MQTT around a message, at least: an end that lies too far would never be reached.
FRAME_BYTES = 20
# A PINGREQ within TLS is less: what keeps a connection alive is no progress of a message.
LEAST_PROGRESS = 64


class ByteWindow:
    """Bytes that may be in flight: learned from how long messages take; one message always may."""

    def __init__(self) -> None:
        self._most = FIRST_BYTES
        self._bytes = 0

    def has_room(self, size: int) -> bool:
        return self._bytes == 0 or self._bytes + size <= self._most

    def sent(self, size: int) -> None:
        self._bytes += size

    def answered(self, size: int, seconds: float) -> None:
        """The broker answered a message of this size after so many seconds."""
        self._bytes -= size
        if seconds <= FAST:
            self._most = min(MOST_BYTES, self._most + size)
        elif seconds > SLOW:
            self._most = max(FEWEST_BYTES, self._most // 2)

    def clear(self) -> None:
        """Nothing is in flight; what was learned stays."""
        self._bytes = 0


class Progress:
    """Since when there has been no progress; times are the monotonic clock's.

    The oldest message in flight makes progress while its bytes arrive at the peer; then it waits for its PUBACK.

    Attributes:
        since: when it moved last.
    """

    def __init__(self) -> None:
        self._position = 0
        self._acked = 0
        self.since = 0.0

    def begin(self) -> None:
        """Another connection."""
        self._position = self._acked = 0

    def sent(self, size: int, traffic: Traffic | None, now: float, first: bool) -> int:
        """A message was published; return the position at which it ends in what the connection carries.

        Args:
            first: nothing else is in flight.
        """
        if traffic:
            self._position = max(self._position, traffic.acked + traffic.queued)
        self._position += size + FRAME_BYTES
        if first:
            self.since = now
            self._acked = traffic.acked if traffic else 0
        return self._position

    def next_oldest(self, now: float) -> None:
        """What was the oldest is answered."""
        self.since = now

    def look(self, end: int, traffic: Traffic | None, now: float) -> None:
        """See how far the message has come that ends at a position."""
        if traffic is None or self._acked >= end:
            return
        if traffic.acked >= min(end, self._acked + LEAST_PROGRESS):
            self._acked = traffic.acked
            self.since = now

    def arrived(self, end: int) -> bool:
        """Whether a message that ends at a position was seen to have arrived at the peer's kernel."""
        return self._acked >= end
