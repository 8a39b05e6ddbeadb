"""A TLS handshake within this process: whether a key in a token really signs, which loading it does not show."""

from __future__ import annotations

import ssl
from collections.abc import Callable

# Each side has at most a few flights.
MOST_ROUNDS = 10


def signs(load: Callable[[ssl.SSLContext], None]) -> ssl.SSLError | None:
    """Use a key in a handshake with a server of this process; return what went wrong, or None.

    Args:
        load: gives a context the certificate and its key.

    Raises:
        OSError: they cannot be loaded.
    """
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for context in (server, client):
        load(context)
    # Nobody is verified: the certificate's issuer and dates are another question.
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [client.wrap_bio(to_client, to_server), server.wrap_bio(to_server, to_client, server_side=True)]
    try:
        for _ in range(MOST_ROUNDS):
            sides = [side for side in sides if not _done(side)]
    except ssl.SSLError as error:
        return error
    return None


def _done(side: ssl.SSLObject) -> bool:
    try:
        side.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True
