"""`python unshared_memory.py COMMAND…`: runs it as on a file system that shares no memory between processes.

A filter of system calls answers ENODEV where a file is mapped shared and writable, as JFFS2, 9p and some FUSE do:
seccomp(2), https://www.kernel.org/doc/html/latest/userspace-api/seccomp_filter.html.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys

SET_NO_NEW_PRIVILEGES, SET_SECCOMP, FILTER = 38, 22, 2
# include/uapi/linux/bpf_common.h, seccomp.h: load a word, jump where equal, jump where a bit is set, return.
LOAD, EQUAL, ANY, RETURN = 0x20, 0x15, 0x45, 0x06
ALLOW, ANSWER = 0x7FFF0000, 0x00050000
NUMBER, PROTECTION, FLAGS = 0, 16 + 2 * 8, 16 + 3 * 8
MMAP = {"x86_64": 9, "aarch64": 222}
WRITE, SHARED, ANONYMOUS = 2, 1, 32


def deny() -> None:
    """From here on, for this process and its children."""
    # (code, argument, how many to pass over where true, where false)
    program = [
        (LOAD, NUMBER, 0, 0),
        (EQUAL, MMAP[platform.machine()], 0, 6),
        (LOAD, PROTECTION, 0, 0),
        (ANY, WRITE, 0, 4),
        (LOAD, FLAGS, 0, 0),
        (ANY, ANONYMOUS, 2, 0),
        (ANY, SHARED, 0, 1),
        (RETURN, ANSWER | errno.ENODEV, 0, 0),
        (RETURN, ALLOW, 0, 0),
    ]
    code = b"".join(struct.pack("=HBBI", code, true, false, value) for code, value, true, false in program)
    buffer = ctypes.create_string_buffer(code)
    filters = struct.pack("@HP", len(program), ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    for arguments in ((SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0), (SET_SECCOMP, FILTER, filters, 0, 0)):
        if libc.prctl(*arguments):
            raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    deny()
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 - it is what this program is for
