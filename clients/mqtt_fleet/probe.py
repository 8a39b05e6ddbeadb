"""Whether a place can be used, found out beside the connection that there is."""

from __future__ import annotations

import socket
import ssl

from mqtt_fleet.config import Config
from mqtt_fleet.transport import ALPN_PORT, ALPN_PROTOCOL


def probe(config: Config, address: str, timeout: float) -> str:
    """Why no TLS connection with the endpoint's certificate can be made to an address; "" where it can."""
    try:
        context = ssl.create_default_context(cafile=str(config.ca))
        context.load_cert_chain(config.certificate, config.private_key)
        if config.port == ALPN_PORT:
            context.set_alpn_protocols([ALPN_PROTOCOL])
        with socket.create_connection((address, config.port), timeout) as plain:
            plain.settimeout(timeout)
            context.wrap_socket(plain, server_hostname=config.endpoint).close()
    except (OSError, ValueError) as error:
        return f"{address}: {error}"
    return ""
