"""PEM files as they are found on devices: the blocks in them, whatever is around and between the lines.

Both libraries are given the blocks, encoded again, and not the file: comments in any encoding, a byte order mark,
UTF-16, indentation, other ends of lines, files put together without one, and keys beside certificates do no harm then.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import os
import re
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

# A bundle of all public CAs has 0.3 MB.
MOST_BYTES = 8 << 20
# At the begin of a line, or right after the end of another block: not in a comment.
_BEGIN = re.compile(rb"(?:^[\s\"'\xef\xbb\xbf]*|(?<=-----))-----BEGIN ", re.MULTILINE)
_BLOCK = re.compile(_BEGIN.pattern + rb"([^-\n]+)-----(.*?)-----END \1-----", re.MULTILINE | re.DOTALL)
COLUMNS = 64


class PemError(Exception):
    """A file or block that cannot be read; the text is the end of a sentence that begins with the file's name."""


@dataclass(frozen=True)
class Block:
    """One block, RFC 7468.

    Attributes:
        label: what it says it is.
        content: its bytes, decoded.
        encrypted: whether a header says that they are encrypted, RFC 1421, 4.6.1.1.
    """

    label: str
    content: bytes
    encrypted: bool = False


def read(path: Path) -> bytes:
    """The bytes of a file.

    Raises:
        PemError: it cannot be read, is no regular file, or is far too large.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode) and not path.is_dir():
            # Opening a FIFO would wait for ever.
            raise PemError("cannot be read: it is no regular file")
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise PemError(f"cannot be read: {error.strerror}") from error
    if len(content) > MOST_BYTES:
        raise PemError(f"has more than {MOST_BYTES} bytes")
    return content


def blocks(content: bytes) -> list[Block]:
    """The blocks of a file in their order; none where it is no PEM.

    Raises:
        PemError: a block has no end, or is not base64.
    """
    text = _narrow(content)
    found = [_block(match) for match in _BLOCK.finditer(text)]
    if _BEGIN.search(_BLOCK.sub(b"\n", text)):
        raise PemError("holds a block without its line -----END, it is incomplete")
    return found


def encode(some: Iterable[Block]) -> bytes:
    """Write blocks as every library reads them."""
    lines: list[bytes] = []
    for block in some:
        label = block.label.encode()
        body = base64.b64encode(block.content)
        lines += [b"-----BEGIN " + label + b"-----"]
        lines += [body[begin : begin + COLUMNS] for begin in range(0, len(body), COLUMNS)]
        lines += [b"-----END " + label + b"-----", b""]
    return b"\n".join(lines)


@contextmanager
def in_memory(content: bytes) -> Iterator[str]:
    """A path where these bytes can be read for as long as the block runs: Python's ssl takes keys from files only.

    Nothing of it is on a disk, and no other process can open it by a name.
    """
    with _nameless() as file:
        file.write(content)
        file.flush()
        yield f"/proc/self/fd/{file.fileno()}"


def _nameless() -> IO[bytes]:
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("credentials"), "w+b")
    # A Python that was built for a C library of before 2.27.
    return tempfile.TemporaryFile(dir="/dev/shm")


def _narrow(content: bytes) -> bytes:
    """A file as one byte a character where it matters; `\\n` in two characters, as in a JSON string, ends a line."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        content = content.decode("utf-16", "replace").encode()
    elif b"-\0-\0-\0" in content:
        encoding = "utf-16-be" if b"\0-\0-" in content[: content.find(b"-\0-\0") + 4] else "utf-16-le"
        content = content.decode(encoding, "replace").encode()
    for end in (b"\\r\\n", b"\\n", b"\r\n", b"\r"):
        content = content.replace(end, b"\n")
    return content


def _block(match: re.Match[bytes]) -> Block:
    label = match[1].decode("ascii", "replace").strip()
    lines = [line.strip() for line in match[2].splitlines()]
    encrypted = False
    if any(b":" in line for line in lines):
        encrypted = any(line.startswith(b"Proc-Type:") and b"ENCRYPTED" in line for line in lines)
        last = max(index for index, line in enumerate(lines) if b":" in line)
        lines = lines[last + 1 :]
    try:
        content = base64.b64decode(b"".join(b"".join(lines).split()), validate=True)
    except binascii.Error as error:
        raise PemError(f"holds a damaged block {label}: {error}") from error
    return Block(label, content, encrypted)
