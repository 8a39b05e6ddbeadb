"""The clients of one region, with a broker behind them or only in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable

from lab.aws_api.broker import Broker
from lab.aws_api.config import Region
from lab.aws_api.connections import Connection, ConnectionTable, milliseconds


class Fleet:
    """Who is connected to a region.

    Without a broker the control API makes connections, and `moved` is called for each deleted client, so that it may
    appear elsewhere as a real client would.
    """

    def __init__(self, region: Region, moved: Callable[[Connection], None]) -> None:
        self.table = ConnectionTable()
        self.broker = Broker(region.directory, self.table) if region.directory else None
        self._moved = moved

    def start(self) -> None:
        """Follow the broker's log in the background."""
        if self.broker is not None:
            self.broker.refresh()
            threading.Thread(target=self.broker.follow, name="broker-log", daemon=True).start()

    def look_up(self, client_id: str) -> Connection | None:
        if self.broker is not None:
            self.broker.refresh()
        return self.table.get(client_id)

    def connections(self, lag: float = 0.0) -> list[Connection]:
        """Return the connections as they were known `lag` seconds ago."""
        if self.broker is not None:
            self.broker.refresh()
        return self.table.as_of(milliseconds() - int(lag * 1000)) if lag else list(self.table)

    def delete(self, client_id: str, *, clean_session: bool, prevent_will_message: bool = False) -> None:
        """Disconnect a client that has a connection or a session; return when it is cut off."""
        connection = self.table.get(client_id)
        if connection is None:
            return
        if self.broker is not None:
            self.broker.cut(client_id, clean=clean_session, will=not prevent_will_message)
        else:
            self.table.disconnect(client_id, "API_INITIATED_DISCONNECT")
        if clean_session:
            self.table.clean(client_id)
        if self.broker is None and connection.connected:
            self._moved(connection)
