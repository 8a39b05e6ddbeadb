"""A disk that forgets: what was not flushed to it is gone when its power is cut, or only a part of it is there.

The kernel sees it as an ordinary block device with a volatile cache: a loop device over a file of this program's own
file system (FUSE, https://www.kernel.org/doc/html/latest/filesystems/fuse.html, spoken without a library). A flush of
the device arrives here as an fsync. Between two flushes each sector that is written is kept apart; a cut of the power
keeps a random part of those, since a disk writes them in an order of its own.

`python -m tests.modules.forgetful_disk IMAGE FOLDER [SHARE]`: serves FOLDER/disk with what is in IMAGE until it is told
to cut the power, by SIGUSR1: nothing is written or flushed any more, and IMAGE is what the disk has kept. SHARE: how
much of what was not flushed is kept, 0 to 1; without it, one of none, half and all. Needs root.
"""

from __future__ import annotations

import ctypes
import errno
import os
import random
import signal
import stat
import struct
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

SECTOR = 512
SHARES = (0.0, 0.5, 1.0)
ROOT, DISK = 1, 2
MOST_WRITE = 1 << 17
# include/uapi/linux/fuse.h
LOOKUP, FORGET, GETATTR, SETATTR, OPEN, READ, WRITE, STATFS, RELEASE, FSYNC = 1, 2, 3, 4, 14, 15, 16, 17, 18, 20
FLUSH, INIT, OPENDIR, RELEASEDIR, ACCESS, INTERRUPT, BATCH_FORGET = 25, 26, 27, 29, 34, 36, 42
NO_ANSWER = (FORGET, INTERRUPT, BATCH_FORGET)
IN_HEADER = struct.Struct("=IIQQIIII")
OUT_HEADER = struct.Struct("=IiQ")
BIG_WRITES = 1 << 5


class Disk:
    """The image, and what was written since the last flush."""

    def __init__(self, image: Path, shares: Sequence[float]) -> None:
        self._shares = shares
        self._image = os.open(image, os.O_RDWR)
        self.size = os.fstat(self._image).st_size
        self._unflushed: dict[int, bytes] = {}
        self.cut = False

    def read(self, offset: int, length: int) -> bytes:
        found = bytearray(os.pread(self._image, length, offset))
        for sector in range(offset // SECTOR, (offset + length) // SECTOR):
            if sector in self._unflushed:
                at = sector * SECTOR - offset
                found[at : at + SECTOR] = self._unflushed[sector]
        return bytes(found)

    def write(self, offset: int, data: bytes) -> None:
        if offset % SECTOR or len(data) % SECTOR:
            raise OSError(errno.EINVAL, "not whole sectors")
        if self.cut:
            raise OSError(errno.EIO, "the power is cut")
        for at in range(0, len(data), SECTOR):
            self._unflushed[(offset + at) // SECTOR] = data[at : at + SECTOR]

    def flush(self) -> None:
        if self.cut:
            raise OSError(errno.EIO, "the power is cut")
        for sector, data in self._unflushed.items():
            os.pwrite(self._image, data, sector * SECTOR)
        self._unflushed.clear()

    def cut_power(self) -> None:
        """Keep a share of the unflushed sectors."""
        share = random.choice(self._shares)
        if not self.cut:
            self._unflushed = {at: data for at, data in self._unflushed.items() if random.random() < share}
            self.flush()
            self.cut = True


class Server:
    """Answers the kernel's requests for the one file."""

    def __init__(self, disk: Disk, folder: Path) -> None:
        self._disk = disk
        self._device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={self._device},rootmode=40000,user_id=0,group_id=0,max_read={MOST_WRITE}"
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mount(b"forgetful", os.fsencode(folder), b"fuse", 0, options.encode()):
            raise OSError(ctypes.get_errno(), f"mounting {folder}")
        self._answers: dict[int, Callable[[int, bytes], bytes]] = {
            INIT: self._init,
            LOOKUP: self._lookup,
            GETATTR: lambda node, _: struct.pack("=QII", 3600, 0, 0) + self._attributes(node),
            SETATTR: lambda node, _: struct.pack("=QII", 3600, 0, 0) + self._attributes(node),
            OPEN: lambda *_: struct.pack("=QII", 0, 0, 0),
            OPENDIR: lambda *_: struct.pack("=QII", 0, 0, 0),
            READ: self._read,
            WRITE: self._write,
            STATFS: lambda *_: struct.pack("=5Q10I", 1, 1, 1, 2, 2, 4096, 255, 4096, *[0] * 7),
            FSYNC: self._fsync,
        }
        self._answers.update(dict.fromkeys((RELEASE, RELEASEDIR, FLUSH, ACCESS), lambda *_: b""))

    def serve(self) -> None:
        """Answer until the file system is unmounted."""
        while True:
            try:
                request = os.read(self._device, MOST_WRITE + 4096)
            except OSError as error:
                if error.errno == errno.ENODEV:
                    return
                if error.errno in (errno.EINTR, errno.ENOENT):
                    continue
                raise
            _, code, unique, node, *_ = IN_HEADER.unpack_from(request)
            if code in NO_ANSWER:
                continue
            problem, answer = 0, b""
            try:
                if code not in self._answers:
                    raise OSError(errno.ENOSYS, "unknown request")
                answer = self._answers[code](node, request[IN_HEADER.size :])
            except OSError as error:
                problem = -(error.errno or errno.EIO)
            os.write(self._device, OUT_HEADER.pack(OUT_HEADER.size + len(answer), problem, unique) + answer)

    @staticmethod
    def _init(_: int, body: bytes) -> bytes:
        major, _minor, ahead, _flags = struct.unpack_from("=4I", body)
        return struct.pack("=4IHHIIHHI7I", major, 31, ahead, BIG_WRITES, 8, 8, MOST_WRITE, 1, 0, 0, *[0] * 8)[:64]

    def _lookup(self, _: int, name: bytes) -> bytes:
        if name.rstrip(b"\0") != b"disk":
            raise OSError(errno.ENOENT, "one file only")
        return struct.pack("=4QII", DISK, 1, 3600, 3600, 0, 0) + self._attributes(DISK)

    def _attributes(self, node: int) -> bytes:
        mode, size = (stat.S_IFDIR | 0o700, 0) if node == ROOT else (stat.S_IFREG | 0o600, self._disk.size)
        return struct.pack("=6Q10I", node, size, size // SECTOR, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)

    def _read(self, _: int, body: bytes) -> bytes:
        _handle, offset, size = struct.unpack_from("=QQI", body)
        return self._disk.read(offset, size)

    def _write(self, _: int, body: bytes) -> bytes:
        _handle, offset, size = struct.unpack_from("=QQI", body)
        self._disk.write(offset, body[40 : 40 + size])
        return struct.pack("=II", size, 0)

    def _fsync(self, *_: object) -> bytes:
        self._disk.flush()
        return b""


def main() -> None:
    disk = Disk(Path(sys.argv[1]), [float(share) for share in sys.argv[3:]] or SHARES)
    signal.signal(signal.SIGUSR1, lambda *_: disk.cut_power())
    Server(disk, Path(sys.argv[2])).serve()


if __name__ == "__main__":
    main()
