"""Where an outbox's numbers come from, and whether the file still is the one that they were given in.

A file goes back to an earlier state where a root file system lives in memory, a backup is put back, or a golden image
or a card is copied. Its next messages would then have numbers that were used before, and whoever drops what was seen of
a stream and number would drop them. This cannot be detected from the file itself, only from its surroundings.
"""

from __future__ import annotations

import fcntl
import os
import struct
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

MACHINE_ID = Path("/etc/machine-id")
# FS_IOC_GETVERSION, ioctl_iflags(2): _IOR('v', 1, long). Many file systems give a number that was free another inode.
GET_GENERATION = 2 << 30 | struct.calcsize("l") << 16 | ord("v") << 8 | 1


@dataclass(frozen=True)
class Origin:
    """What a stream of numbers belongs to; when any of it differs, the stream is not continued.

    Attributes:
        boot_id: see Clock; a device that was off may have been given an earlier state of its disk.
        file: device, inode and generation of the outbox.
    """

    client_id: str
    machine_id: str
    boot_id: str
    file: str

    def continues(self, earlier: Origin) -> bool:
        """Whether these are the same; unknown where the kernel has no boot ID."""
        return self == earlier and bool(self.boot_id)


def machine_id() -> str:
    """The installation's ID, machine-id(5); "" where there is none."""
    try:
        return MACHINE_ID.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


def file_identity(path: Path) -> str:
    """Return what differs for another file in the same place, which is created if absent; "" where that fails.

    To be called while SQLite does not have the file open: whatever descriptor of a file a process closes, all its locks
    on the file are gone, fcntl(2), and another process that closes the file then takes SQLite's log away with it
    (https://sqlite.org/howtocorrupt.html, 2.2).
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError:
        return ""
    try:
        status = os.fstat(descriptor)
        return f"{status.st_dev}:{status.st_ino}:{_generation(descriptor)}"
    finally:
        os.close(descriptor)


def _generation(descriptor: int) -> int:
    with suppress(OSError):
        answer = fcntl.ioctl(descriptor, GET_GENERATION, bytes(struct.calcsize("l")))
        return int.from_bytes(answer[:4], "little")
    return 0


def changed_at(path: Path) -> int:
    """When the file was changed last, in nanoseconds, which nobody can set; 0 where there is no file."""
    try:
        return path.stat().st_ctime_ns
    except OSError:
        return 0


@dataclass(frozen=True)
class Reached:
    """How far an outbox's numbers had come.

    Attributes:
        stream: the newest stream's ID.
        highest: the outbox's highest number.
        ended: `changed_at` of the outbox when it was closed; 0: it was not.
    """

    stream: str
    highest: int
    ended: int = 0

    def precedes(self, stream: str, highest: int, opened: int) -> bool:
        """Whether an outbox with these, and last changed then, can be the one that had come so far."""
        return self.stream == stream and self.highest <= highest and self.ended in (0, opened)


class Mark:
    """A file beside the outbox that says how far that had come; not waited for, since a power cut is another boot."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written: Reached | None = None

    def write(self, reached: Reached) -> None:
        """Note it. In place and always as long, which a full disk allows; without the file, a new stream is begun."""
        if reached == self._written:
            return
        line = f"{reached.stream:<64} {reached.highest:020} {reached.ended:020}\n"
        with suppress(OSError):
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.pwrite(descriptor, line.encode(), 0)
                self._written = reached
            finally:
                os.close(descriptor)

    def read(self) -> Reached | None:
        """What was noted; None where nothing is."""
        try:
            stream, highest, ended = self._path.read_text(encoding="ascii").split()
            return Reached(stream, int(highest), int(ended))
        except (OSError, ValueError):
            return None
