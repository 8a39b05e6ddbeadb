"""What the bench needs of the article's clients beside the article: numbered messages, which the ledger counts.

The number outlives a restart of the process, so that what is lost in one is seen to be missing.
"""

import json
import time
import uuid
from pathlib import Path


class Numbers:
    """The sequence of one client, in a file."""

    def __init__(self, path):
        self._path = Path(path)
        if not self._path.exists():
            self._path.write_text(f"{uuid.uuid4().hex[:16]} 0")
        self.stream, number = self._path.read_text().split()
        self._number = int(number)

    def payload(self, client_id):
        """Return the next message."""
        self._number += 1
        self._path.write_text(f"{self.stream} {self._number}")
        return json.dumps(
            {"client_id": client_id, "stream": self.stream, "sequence": self._number, "sent_at": time.time()}
        )


def publish_regularly(numbers, client_id, interval, publish):
    """Publish for ever, connected or not: what becomes of a message meanwhile is the library's business."""
    while True:
        publish(f"fleet/{client_id}/messages", numbers.payload(client_id))
        time.sleep(interval)
