"""Run the AWS API stand-in: `python -m lab.aws_api --config FILE`."""

from __future__ import annotations

import argparse
import logging
import sys
import threading
from pathlib import Path
from typing import Any

from moto.moto_server.werkzeug_app import MotoRequestHandler
from werkzeug.serving import BaseWSGIServer, make_server
from werkzeug.wrappers import Response

from lab.aws_api import config, endpoints
from lab.aws_api.config import Configuration
from lab.aws_api.endpoints import Proxy
from lab.aws_api.server import Application
from lab.aws_api.stand_in import StandIn


class Handler(MotoRequestHandler):  # type: ignore[misc]
    """Keeps connections open between calls and leaves the record of calls to the request log."""

    protocol_version = "HTTP/1.1"
    # An answer is one packet, and goes at once.
    wbufsize = -1
    disable_nagle_algorithm = True
    endpoint: str | None = None

    def run_wsgi(self) -> None:
        """Answer a request; werkzeug's own closes the connection after each, and takes twice the time."""
        self.environ = self.make_environ()
        response = Response.from_app(self.server.app, self.environ, buffered=True)
        body = response.get_data()
        self.send_response(response.status_code)
        for name, value in {**response.headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def make_environ(self) -> dict[str, Any]:
        """Return the WSGI environment, with the name of the endpoint where it was asked by one."""
        environ: dict[str, Any] = super().make_environ()
        return environ | ({endpoints.HOST: self.endpoint} if self.endpoint else {})

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing."""


def main() -> int:
    """Serve until killed; return 1 after a one-line error."""
    parser = argparse.ArgumentParser(prog="lab.aws_api", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="the stand-in's configuration")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        configuration = config.load(arguments.config)
        stand_in = StandIn(configuration)
        server = make_server(
            configuration.address, configuration.port, Application(stand_in), threaded=True, request_handler=Handler
        )
    except (config.ConfigurationError, OSError, ValueError) as error:
        sys.stderr.write(f"lab.aws_api: {error}\n")
        return 1
    stand_in.start()
    if configuration.proxy_port is not None:
        threading.Thread(target=_proxy(configuration, stand_in, server).serve_forever, daemon=True).start()
    server.serve_forever()
    return 0


def _proxy(configuration: Configuration, stand_in: StandIn, server: BaseWSGIServer) -> Proxy:
    """Return the proxy to the endpoints, each of which is answered by the server."""
    names = list(endpoints.endpoints(configuration.regions.values()))
    served = endpoints.contexts(names, stand_in.authority, configuration.state_directory / "endpoints")
    handlers = {name: type("EndpointHandler", (Handler,), {"endpoint": name}) for name in names}
    return Proxy(
        (configuration.address, configuration.proxy_port or 0),
        served,
        lambda connection, address, name: handlers[name](connection, address, server),
    )


if __name__ == "__main__":
    sys.exit(main())
