"""Run the load generator: `python -m lab.load --config FILE`."""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import signal
import ssl
import sys
import time
from asyncio.sslproto import SSLProtocol
from dataclasses import asdict
from pathlib import Path

import dns.asyncresolver
import dns.exception

from lab import files
from lab.errors import LabError
from lab.load import configuration
from lab.load.client import Client, Resolve, Settings, Totals
from lab.load.configuration import Configuration, Status

LOOKUP_TIMEOUT = 5.0
STATUS_INTERVAL = 0.5
# asyncio keeps 256 KiB for each TLS connection, which suits one that carries more than a few bytes.
TLS_BUFFER = 4096


def main() -> int:
    """Run until stopped; return 2 where the configuration cannot be used."""
    parser = argparse.ArgumentParser(prog="lab.load", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="the generator's configuration")
    try:
        asyncio.run(_run(configuration.read(parser.parse_args().config)))
    except (LabError, OSError) as error:
        sys.stderr.write(f"lab.load: {error}\n")
        return 2
    return 0


async def _run(config: Configuration) -> None:
    SSLProtocol.max_size = TLS_BUFFER
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    settings = Settings(
        config.port, config.keep_alive, config.publish_interval, _context(config), _resolver(config.resolver)
    )
    totals, stream = Totals(), secrets.token_hex(8)
    clients = [
        asyncio.create_task(
            Client(configuration.client_id(number), configuration.endpoint(number), stream, settings, totals).run(
                number / config.connect_rate
            )
        )
        for number in range(1, config.clients + 1)
    ]
    status = asyncio.create_task(_write_status(config, totals))
    ending = asyncio.create_task(ended.wait())
    # A client never ends by itself: one that does has a fault that must be seen.
    done, rest = await asyncio.wait([*clients, status, ending], return_when=asyncio.FIRST_COMPLETED)
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
    for task in done:
        task.result()


def _context(config: Configuration) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=config.ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(config.certificate, config.private_key)
    return context


def _resolver(server: str) -> Resolve:
    """Return a function that queries a DNS server for each connection."""
    asked = dns.asyncresolver.Resolver(configure=False)
    asked.nameservers = [server]

    async def resolve(name: str) -> str:
        try:
            answer = await asked.resolve(name, "A", lifetime=LOOKUP_TIMEOUT)
        except dns.exception.DNSException as error:
            raise OSError(f"{name}: {type(error).__name__}") from error
        return str(answer[0].address)

    return resolve


async def _write_status(config: Configuration, totals: Totals) -> None:
    """Write the status file twice a second."""
    while True:
        connected = {address: number for address, number in totals.connected.items() if number}
        said = Status(
            at=time.time(),
            clients=config.clients,
            connected=connected,
            connects=totals.connects,
            sent=totals.sent,
            acknowledged=totals.acknowledged,
            failures=dict(totals.failures),
        )
        files.write(Path(config.status), json.dumps(asdict(said)) + "\n")
        await asyncio.sleep(STATUS_INTERVAL)


if __name__ == "__main__":
    sys.exit(main())
