"""Whether a client's messages arrive, by the monitor's ledger."""

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
# Without any arrival for so long, no monitor writes the ledger: each client publishes at least once a minute.
ALIVE = 180.0


def wait_for_arrival(parameters: dict[str, Any], check_mode: bool) -> Result:  # noqa: ARG001 - changes nothing
    """Wait until a new message of a client arrives; return its region.

    The region is None where no monitor writes the ledger: no message of any client arrived for three minutes.

    Raises:
        NotConvergedError: none arrived within the timeout.
        RefusedError: the client ID is not valid.
    """
    ledger, timeout = Path(parameters["ledger"]), float(parameters["timeout"])
    client_id = refuse_other_names(parameters["client_id"])
    since = time.time()
    if not _region_of_arrival(ledger, since - ALIVE):
        return {"changed": False, "region": None}
    while not (region := _region_of_arrival(ledger, since, client_id)):
        if time.time() - since > timeout:
            raise NotConvergedError(
                f"{client_id}: found no message of it in {ledger} within {timeout:.0f} s: "
                "check that the monitor runs, and where the device is connected"
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
        # Not created or not filled yet, or damaged.
        return None
    return str(found[0]) if found else None
