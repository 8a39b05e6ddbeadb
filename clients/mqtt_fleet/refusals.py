"""Messages that the broker does not take: which are tried again, and which are set aside.

Nothing is set aside for what may be the broker's fault, the link's, or a policy that denies everything: a message is
only where others pass and it does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

# MQTT 5, 3.4.2.1: not authorized, topic name invalid, packet too large, payload format invalid. None: the library
# itself does not send it.
PERMANENT = (None, 0x87, 0x90, 0x95, 0x99)
QUOTA_EXCEEDED = 0x97
# Refusals with others accepted in between, after which a message is set aside.
MOST_PERMANENT = 2
MOST_REFUSALS = 5
# Of these the others have to be accepted so many times as often as refused, where the code says nothing for good.
PASSING_SHARE = 3
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 300.0
# So many refusals in a row, and nothing accepted: it is not the messages.
NOTHING_PASSES = 10
# Connections that ended with a message in flight, after which it goes alone; and that ended while it went alone though
# they carried others, after which it is set aside.
MOST_ENDS = 2
MOST_STRIKES = 3


@dataclass
class _Refused:
    times: int
    tries: int
    # What was accepted and refused when it was refused last.
    accepted: int
    refused: int


class Refusals:
    """What the broker refused with a reason code, or the library by itself."""

    def __init__(self) -> None:
        self._known: dict[int, _Refused] = {}
        self._accepted = 0
        self._refused = 0
        self._in_a_row = 0

    @property
    def nothing_passes(self) -> bool:
        """Whether everything is refused."""
        return self._in_a_row >= NOTHING_PASSES

    def accepted(self, sequence: int) -> None:
        self._known.pop(sequence, None)
        self._accepted += 1
        self._in_a_row = 0

    def refused(self, sequence: int, code: int | None) -> float | None:
        """Seconds after which to send it again; None: it is to be set aside.

        Args:
            code: reason code; None: the library does not send it.
        """
        known = self._known.setdefault(sequence, _Refused(0, 0, -1, 0))
        accepted, refused = self._accepted - known.accepted, self._refused - known.refused
        permanent = code in PERMANENT
        # A broker that refuses this and that, but not for good, is in trouble itself.
        others_pass = accepted >= (1 if permanent else PASSING_SHARE * max(1, refused))
        if known.times == 0 or others_pass:
            known.times += 1
        known.tries += 1
        self._refused += 1
        self._in_a_row += 1
        known.accepted, known.refused = self._accepted, self._refused
        if known.times >= (MOST_PERMANENT if permanent else MOST_REFUSALS):
            return None
        return float(min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(known.tries - 1, 16)))

    def forget(self, sequence: int) -> None:
        """It is no longer there."""
        self._known.pop(sequence, None)


@dataclass(frozen=True)
class Suspect:
    """A message that was in flight when connections ended.

    Attributes:
        ends: connections that ended with it in flight among others.
        trials: that ended while it went alone.
        strikes: of these, in a row, those that had carried others.
    """

    ends: int = 0
    trials: int = 0
    strikes: int = 0


class Suspects:
    """What is known of connections that end where no code says why, as MQTT 3.1.1 has none.

    Attributes:
        known: by sequence number; to be kept, since a process may end as often as its connections.
    """

    def __init__(self, known: Mapping[int, Suspect]) -> None:
        self.known = dict(known)

    def goes_alone(self, sequence: int) -> bool:
        """Whether nothing else is to be in flight with it."""
        known = self.known.get(sequence)
        return known is not None and (known.ends >= MOST_ENDS or known.trials > 0)

    def waits(self, sequence: int) -> bool:
        """Whether it ended a connection alone: others go first, to show that the connection carries them."""
        return sequence in self.known and self.known[sequence].trials > 0

    def next_trial(self) -> int | None:
        """The one of those that wait which is to be tried next."""
        if not self.known:
            return None
        waiting = [sequence for sequence in self.known if self.waits(sequence)]
        return min(waiting, key=lambda sequence: (-self.known[sequence].strikes, sequence), default=None)

    def forget(self, sequence: int) -> None:
        """It was accepted, or is no longer there."""
        self.known.pop(sequence, None)

    def forget_before(self, sequence: int) -> None:
        """Those with lower numbers are no longer there."""
        self.known = {number: known for number, known in self.known.items() if number >= sequence}

    def ended(self, in_flight: Iterable[int]) -> None:
        """A connection ended with several messages in flight, or none, or never came to be."""
        self._no_strikes()
        for sequence in in_flight:
            known = self.known.get(sequence, Suspect())
            self.known[sequence] = Suspect(known.ends + 1, known.trials, 0)

    def ended_alone(self, sequence: int, counts: bool, carried: bool) -> bool:
        """A connection ended with one message in flight, on purpose; whether that is to be set aside.

        Args:
            counts: it ended because of the message, as far as can be told.
            carried: others were acknowledged on this connection before.
        """
        known = self.known.get(sequence, Suspect())
        strikes = known.strikes + 1 if counts and carried else known.strikes if counts else 0
        self._no_strikes()
        self.known[sequence] = Suspect(known.ends, known.trials + 1, strikes)
        return strikes >= MOST_STRIKES

    def _no_strikes(self) -> None:
        """Only one after another count: a link that breaks at random breaks under others too."""
        for sequence, known in self.known.items():
            self.known[sequence] = Suspect(known.ends, known.trials, 0)
