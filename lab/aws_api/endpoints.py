"""The host names that AWS serves its APIs under, by TLS, and an HTTP proxy to them.

A program that has the proxy (`HTTPS_PROXY`) and the lab's CA (`AWS_CA_BUNDLE`), and no `AWS_ENDPOINT_URL`,
uses the same host names as in production. A name that AWS does not have is not found, and a request that is signed
for another service or region than its host's is refused.

Sources: AWS General Reference, "AWS IoT Core endpoints and quotas" and the same of ACM, Route 53, STS and Service
Quotas; IAM user guide, "Troubleshoot Signature Version 4": the credential's scope has to be the endpoint's.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any

from lab import files
from lab.aws_api.config import Region
from lab.aws_api.pki import Authority

# Where the WSGI environment has the name of the endpoint that was asked.
HOST = "lab.endpoint"
PORT = "443"
LONGEST_LINE = 8192
# Of each region, by the first part of the name; services as `server.Call` has them.
REGIONAL = {
    "iot": "iot",
    "data-ats.iot": "iot-data",
    "acm": "acm",
    "sts": "sts",
    "servicequotas": "service-quotas",
}
# The one region that requests of a service without regions are signed for.
GLOBAL_REGION = "us-east-1"
GLOBAL = {"route53": "route53", "sts": "sts", "iam": "iam"}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Endpoint:
    """What a host name is for: the service and the region that requests are signed for."""

    service: str
    region: str


def endpoints(regions: Iterable[Region]) -> dict[str, Endpoint]:
    """Return the endpoints of an account that has these regions, by host name."""
    found = {f"{part}.amazonaws.com": Endpoint(service, GLOBAL_REGION) for part, service in GLOBAL.items()}
    for region in regions:
        for part, service in REGIONAL.items():
            found[f"{part}.{region.name}.amazonaws.com"] = Endpoint(service, region.name)
        found[region.ats_endpoint] = Endpoint("iot-data", region.name)
    return found


def problem(endpoint: Endpoint, service: str, region: str) -> str | None:
    """Return why an endpoint refuses a request that is signed for a service and a region, or None."""
    if region != endpoint.region:
        return f"Credential should be scoped to a valid region, not '{region}'."
    if service != endpoint.service:
        return f"Credential should be scoped to correct service: '{endpoint.service}'."
    return None


# Serves a connection: a socket that TLS has been made on, its client's address, and the name that was asked for.
Serve = Callable[[ssl.SSLSocket, Any, str], None]


class Proxy(ThreadingTCPServer):
    """An HTTP proxy that knows CONNECT, and no other names than the endpoints'."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], contexts: Mapping[str, ssl.SSLContext], serve: Serve) -> None:
        super().__init__(address, _Tunnel)
        self.contexts = contexts
        self.serve = serve


class _Tunnel(StreamRequestHandler):
    """One connection to the proxy: RFC 9110, 9.3.6."""

    server: Proxy
    # What follows the request is TLS, of which nothing may be taken.
    rbufsize = 0

    def handle(self) -> None:
        method, target = self._request()
        name, _, port = target.rpartition(":")
        context = self.server.contexts.get(name.lower())
        if method != "CONNECT":
            self._answer(HTTPStatus.METHOD_NOT_ALLOWED)
        elif context is None or port != PORT:
            log.info("%s: no endpoint of AWS", target)
            self._answer(HTTPStatus.BAD_GATEWAY)
        else:
            self._answer(HTTPStatus.OK)
            self._serve(context, name.lower())

    def _request(self) -> tuple[str, str]:
        method, _, rest = self._line().partition(" ")
        while self._line():
            pass
        return method, rest.partition(" ")[0]

    def _line(self) -> str:
        return self.rfile.readline(LONGEST_LINE).decode("latin-1").strip()

    def _answer(self, status: HTTPStatus) -> None:
        self.wfile.write(f"HTTP/1.1 {status.value} {status.phrase}\r\n\r\n".encode())

    def _serve(self, context: ssl.SSLContext, name: str) -> None:
        try:
            with context.wrap_socket(self.connection, server_side=True) as secured:
                self.server.serve(secured, self.client_address, name)
        except (ssl.SSLError, ConnectionError) as error:
            # A client that does not know the lab's CA ends so.
            log.info("%s: %s", name, error)


def contexts(names: Iterable[str], authority: Authority, directory: Path) -> dict[str, ssl.SSLContext]:
    """Return TLS of each name with a certificate of the lab's CA; its files are kept in a directory."""
    found = {}
    for name in names:
        path = directory / f"{name}.pem"
        files.write(path, authority.server(name), 0o600)
        found[name] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        found[name].load_cert_chain(path)
    return found
