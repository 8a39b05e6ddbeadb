"""HTTP answers bounded in time and size, however slowly they arrive and however long they claim to be.

A socket's timeout restarts with every byte received, and urllib3 and botocore keep everything they receive. Here the
read timeout covers the whole answer, including status line and headers.
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

# Bytes, including headers. The longest is a page of ListThings: 250 things, each of 50 attributes with a name of 128
# and a value of 800 characters (https://docs.aws.amazon.com/general/latest/gr/iot-core.html#thing-limits), 11.7 MB.
LONGEST_ANSWER = 16 * 2**20
# For `iot-data`, where hundreds of answers may arrive at once; those of GetConnection have a few hundred bytes.
LONGEST_DATA_ANSWER = 2**16
# Seconds, where a socket has no timeout.
_TIMEOUT = 15.0


class TooLongError(UnreadableError):
    """An answer longer than any that AWS gives."""

    def __init__(self, longest: int) -> None:
        super().__init__(problem=f"an answer of more than {longest} bytes")


class _Limited(io.RawIOBase):
    """The bytes that a socket receives, until its timeout has passed or there are too many."""

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
            # So far the socket's own timeout is the time left: most answers need only this read.
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
    """An answer that has to be read within its socket's timeout.

    Raises:
        TimeoutError: reading took longer.
        TooLongError: it has more than `longest` bytes.
    """

    longest = LONGEST_ANSWER

    def __init__(self, sock: Any, *arguments: Any, **options: Any) -> None:
        limited = _Limited(sock, self.longest)
        super().__init__(SimpleNamespace(makefile=lambda _: io.BufferedReader(limited)), *arguments, **options)  # type: ignore[arg-type]

    def begin(self) -> None:
        super().begin()
        # Memory is allocated by the announced length.
        if (self.length or 0) > self.longest:
            raise TooLongError(self.longest)


class LimitedDataResponse(LimitedResponse):
    """An answer of `iot-data`."""

    longest = LONGEST_DATA_ANSWER


def limit(client: Any, response: type[LimitedResponse]) -> None:
    """Make a boto3 client that has sent nothing yet read every answer with this class.

    Raises:
        SwitchError: this botocore opens its connections differently.
    """
    try:
        http = client._endpoint.http_session
        pools = {scheme: _pool(pool, response) for scheme, pool in http._pool_classes_by_scheme.items()}
        # The managers of proxies are made later, from the same classes.
        http._pool_classes_by_scheme = http._manager.pool_classes_by_scheme = pools
    except AttributeError as error:
        raise SwitchError(
            f"boto3: version {boto3.__version__} does not let answers be limited in time and size: install "
            "requirements.txt"
        ) from error


@functools.cache
def _pool(pool: Any, response: type[LimitedResponse]) -> Any:
    """urllib3's pool of connections, with another class of responses."""
    connection = type("Connection", (pool.ConnectionCls,), {"response_class": response})
    return type("Pool", (pool,), {"ConnectionCls": connection})
