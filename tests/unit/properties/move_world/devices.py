"""Devices: each is connected in one region, and comes back to where its own view of DNS leads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .account import Account

RETRY_SECONDS = 4.0
# The AWS IoT SDK keeps an address for so long, whatever the record says.
CACHE_SECONDS = 30.0


@dataclass
class Device:
    """One MQTT client.

    Attributes:
        on: whether it comes back when it is disconnected.
        delay: seconds from a disconnection to its next CONNECT, the address looked up at the beginning of them.
        caches: whether it keeps an address for CACHE_SECONDS.
        region: where it is connected, empty where it is not.
        tries: counts its connections, so that what was planned for an earlier one is passed over.
        since: when it connected (the world's seconds).
    """

    account: Account
    client_id: str
    endpoint: str
    on: bool = True
    delay: float = 1.0
    caches: bool = False
    region: str = ""
    tries: int = 0
    since: float = 0.0
    _address: str = ""
    _until: float = 0.0

    def connect(self, region: str) -> None:
        self.tries += 1
        self.region, self.since = region, self.account.scheduler.time
        self.account.connected(self, region)

    def lost(self) -> None:
        """Its connection has ended; it comes back if it is on."""
        self.region = ""
        self.come_back(self.delay)

    def come_back(self, seconds: float) -> None:
        self.tries += 1
        if not self.on:
            return
        number, region = self.tries, self._look_up()
        self.account.scheduler.after(seconds, lambda: self._arrive(number, region))

    def _arrive(self, number: int, region: str) -> None:
        if number != self.tries or not self.on:
            return
        if region in self.account.shut:
            self.come_back(RETRY_SECONDS)
        else:
            self.connect(region)

    def _look_up(self) -> str:
        now = self.account.scheduler.time
        if not self.caches or self._until <= now:
            self._address, _ = self.account.zone.resolve(self.endpoint)
            self._until = now + CACHE_SECONDS
        return self.account.region_of(self._address)

    def switch_on(self) -> None:
        if not self.on:
            self.on = True
            self.come_back(self.delay)

    def switch_off(self) -> None:
        """Without a word: its connection is gone at once, and it does not come back."""
        self.on = False
        self.tries += 1
        if self.region:
            self.account.disconnected(self, self.region)
            self.region = ""

    def drop(self, lingers: float) -> None:
        """It loses its network and comes back, while AWS takes the old connection for alive for some seconds."""
        if self.region:
            self.account.linger(self, self.region, lingers)
            self.lost()
