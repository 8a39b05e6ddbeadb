"""Answers over HTTP within a time and a size, however slowly they trickle and however long they claim to be.

The timeouts of sockets count anew with every byte that comes, and urllib3 and botocore keep whatever comes. Here the
read timeout is that of the whole answer, status line and headers with it.
"""

from __future__ import annotations

import functools
import io
import time
from http.client import HTTPResponse
from types import SimpleNamespace
from typing import Any

import boto3

from ..model.errors import SwitchError
from .answers import UnreadableError

# Bytes, headers with them. The longest is a page of ListThings: 250 things, each of 50 attributes with a name of 128
# and a value of 800 characters (https://docs.aws.amazon.com/general/latest/gr/iot-core.html#thing-limits), 11.7 MB.
LONGEST_ANSWER = 16 * 2**20
# Of `iot-data`, where hundreds of answers may be under way at once. GetConnection answers a few hundred bytes.
LONGEST_DATA_ANSWER = 2**16
# Where a socket has no timeout, seconds.
_TIMEOUT = 15.0


class TooLongError(UnreadableError):
    """An answer longer than any that AWS gives."""

    def __init__(self, longest: int) -> None:
        super().__init__(problem=f"an answer of more than {longest} bytes")


class _Limited(io.RawIOBase):
    """What a socket receives from now on, until its timeout is over or too much has come."""

    def __init__(self, sock: Any, longest: int) -> None:
        self._sock = sock
        self._source = sock.makefile("rb", buffering=0)
        self._timeout = sock.gettimeout()
        self._deadline = time.monotonic() + (self._timeout or _TIMEOUT)
        self._longest = longest
        self._left = longest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        seconds = self._deadline - time.monotonic()
        if seconds <= 0:
            raise TimeoutError("timed out")
        if self._left == self._longest:
            # Nothing has come, so the socket's own timeout is the time that is left; most answers come at once.
            count: int | None = self._source.readinto(buffer)
        else:
            count = self._read_within(seconds, buffer)
        self._left -= count or 0
        if self._left < 0:
            raise TooLongError(self._longest)
        return count

    def _read_within(self, seconds: float, buffer: Any) -> int | None:
        self._sock.settimeout(seconds)
        try:
            count: int | None = self._source.readinto(buffer)
        finally:
            self._sock.settimeout(self._timeout)
        return count

    def close(self) -> None:
        self._source.close()
        super().close()


class LimitedResponse(HTTPResponse):
    """An answer that is read within the timeout that its socket has when it is made.

    Raises:
        TimeoutError: reading took longer.
        TooLongError: there is more than `longest` bytes of it.
    """

    longest = LONGEST_ANSWER

    def __init__(self, sock: Any, *arguments: Any, **options: Any) -> None:
        limited = _Limited(sock, self.longest)
        super().__init__(SimpleNamespace(makefile=lambda _: io.BufferedReader(limited)), *arguments, **options)  # type: ignore[arg-type]

    def begin(self) -> None:
        super().begin()
        # Memory for a body is taken before it comes.
        if (self.length or 0) > self.longest:
            raise TooLongError(self.longest)


class LimitedDataResponse(LimitedResponse):
    """An answer of `iot-data`."""

    longest = LONGEST_DATA_ANSWER


def limit(client: Any, response: type[LimitedResponse]) -> None:
    """Have a boto3 client that has sent nothing yet read every answer as such a response.

    Raises:
        SwitchError: this botocore opens its connections in another way.
    """
    try:
        http = client._endpoint.http_session
        pools = {scheme: _pool(pool, response) for scheme, pool in http._pool_classes_by_scheme.items()}
        # Of proxies a manager is made when the first request goes there.
        http._pool_classes_by_scheme = http._manager.pool_classes_by_scheme = pools
    except AttributeError as error:
        raise SwitchError(
            f"boto3: found {boto3.__version__}, whose answers cannot be limited in time and size, expected the version "
            "of requirements.txt: install that"
        ) from error


@functools.cache
def _pool(pool: Any, response: type[LimitedResponse]) -> Any:
    """urllib3's pool of connections, with another class of responses."""
    connection = type("Connection", (pool.ConnectionCls,), {"response_class": response})
    return type("Pool", (pool,), {"ConnectionCls": connection})
