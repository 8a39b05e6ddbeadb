"""Whether the endpoint could be reached at an address, before a connection that works is given up for it.

`probe(config: Config, address: str, timeout: float) -> str` blocks for at most `timeout` seconds: call it in a thread.
"""

from __future__ import annotations

import time

from mqtt_fleet import tls
from mqtt_fleet.attempt import Attempt, ConnectError
from mqtt_fleet.config import Config
from mqtt_fleet.credentials import only_sdk_has_key

DIAGNOSE_SECONDS = 3.0
# AWS IoT Core closes so where the policy has no iot:Connect for the client ID.
CLOSED_WITHOUT_CONNACK = "the broker closed the connection: may the certificate connect with this client ID?"


def probe(config: Config, address: str, timeout: float) -> str:
    """Return why no TLS connection with the endpoint's certificate is possible to an address; "" where it can.

    TCP, through the proxy where one is configured, and TLS with the client's own certificate, whose refusal counts as
    well, but where its key is in a token that only the SDK can use. No MQTT is spoken: nobody's session is taken over,
    and no CONNECT counts against a quota.

    Args:
        address: an IP address as `resolve.Lookup` has it; "": those that the name has at this moment.
        timeout: seconds for everything together. A broker that says nothing against the certificate takes one of them,
            since in TLS 1.3 the refusal comes after the handshake.

    Returns:
        One line that names the endpoint, the phase and the address, such as "mqtt1.example.com: TLS with
        203.0.113.7:8883: certificate expired on 2026-01-02T03:04:05Z: …".
    """
    attempt = Attempt(config.endpoint)
    deadline = time.monotonic() + timeout
    try:
        with tls.secure(config, attempt, deadline, address) as secured:
            # Without the client's certificate the broker has something to refuse.
            problem = "" if only_sdk_has_key(config) else tls.late_refusal(config, secured, deadline)
    except ConnectError as error:
        return str(error)
    return str(attempt.error(problem)) if problem else ""


def diagnose(config: Config, attempt: Attempt) -> str:
    """Why an attempt gets no further in TLS, or not to the CONNACK: what `probe` says of its address; blocks.

    In TLS 1.3 a broker refuses a client's certificate after the handshake, so that the library sees nothing but an end.
    """
    return probe(config, "" if config.proxy else attempt.address, DIAGNOSE_SECONDS)
