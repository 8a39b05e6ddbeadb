"""Whether a client's messages arrive: what the fleet's monitor sees of it."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from ..model.device_names import refuse_other_names
from ..model.errors import NotConvergedError
from ..module import Result
from ..record import ledger as ledgers

POLL = 0.2
# A ledger in which nothing at all arrived for so long is one that nobody keeps: each client says something a minute.
ALIVE = 180.0


def wait_for_arrival(parameters: dict[str, Any], check_mode: bool) -> Result:  # noqa: ARG001 - changes nothing
    """Wait for a message of a client that arrives from now on; return its region.

    The region is None where nobody keeps the ledger: nothing of any client arrived in it for three minutes.

    Raises:
        NotConvergedError: none did within the time.
        RefusedError: the client ID is none.
    """
    ledger, timeout = Path(parameters["ledger"]), float(parameters["timeout"])
    client_id = refuse_other_names(parameters["client_id"])
    since = time.time()
    if not _region_of_arrival(ledger, since - ALIVE):
        return {"changed": False, "region": None}
    while not (region := _region_of_arrival(ledger, since, client_id)):
        if time.time() - since > timeout:
            raise NotConvergedError(
                f"{client_id}: found no message of it in {ledger} within {timeout:.0f} s, expected one: "
                "see that the monitor runs, and where the device is connected"
            )
        time.sleep(POLL)
    return {"changed": False, "region": region}


def _region_of_arrival(ledger: Path, since: float, client_id: str | None = None) -> str | None:
    query = "SELECT region FROM message WHERE arrived_at >= ?"
    try:
        with closing(ledgers.open_ledger(ledger)) as connection:
            if client_id is None:
                found = connection.execute(query, (since,)).fetchone()
            else:
                found = connection.execute(f"{query} AND client_id = ?", (since, client_id)).fetchone()
    except sqlite3.DatabaseError:
        # Made, but not yet filled by its writer, or not made yet; or damaged.
        return None
    return str(found[0]) if found else None
