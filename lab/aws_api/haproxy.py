"""A region's TLS endpoint: which certificates HAProxy serves and which client certificates it admits.

Everything is written to HAProxy's files and pushed through its socket, so that a restart changes nothing. The files of
policies and quotas need no push: the broker's plugin and HAProxy's script look at them whenever they are asked.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from lab import files

TIMEOUT = 5.0
RETRY_PAUSE = 0.25

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Served:
    """What a region serves.

    Attributes:
        certificates: one PEM of certificate, chain and key by server name.
        active: the certificateIds that are admitted.
        policies: what they may do, as `device_policies.render` has it.
        quotas: requests a second at the broker, by name.
    """

    certificates: dict[str, str]
    active: frozenset[str]
    policies: str
    quotas: dict[str, float]


class EndpointError(RuntimeError):
    """HAProxy refused a command."""


class Endpoint:
    """HAProxy of one region, reached through its files and its socket."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._list = directory / "crt-list.txt"
        self._active = directory / "active_certificates.txt"
        self._pushed: dict[str, str] = {}
        self._lock = threading.Lock()
        self._unheard: Served | None = None
        self._retrying: threading.Thread | None = None

    def publish(self, served: Served) -> None:
        """Serve exactly this from now on, and after a restart of HAProxy."""
        with self._lock:
            self._write(served)
            self._unheard = None if self._push(served) else served
            if self._unheard is not None and self._retrying is None:
                self._retrying = threading.Thread(target=self._retry, name=f"push-{self._directory.name}", daemon=True)
                self._retrying.start()

    def _retry(self) -> None:
        """Push again until it takes effect: HAProxy may have read its files just before they were written."""
        while True:
            time.sleep(RETRY_PAUSE)
            with self._lock:
                if self._unheard is None or self._push(self._unheard):
                    self._unheard = self._retrying = None
                    return

    def _push(self, served: Served) -> bool:
        try:
            self._push_certificates(served.certificates)
            self._push_active(served.active)
        except (OSError, EndpointError) as error:
            if self._retrying is None:
                log.info("%s: not pushed yet, trying again (%s)", self._directory.name, error)
            self._pushed.clear()
            return False
        return True

    def _path(self, name: str) -> Path:
        return self._directory / "certs" / f"{name}.pem"

    def _write(self, served: Served) -> None:
        for name, pem in served.certificates.items():
            files.write(self._path(name), pem, 0o600)
        lines = "".join(f"{self._path(name)} {name}\n" for name in sorted(served.certificates))
        files.write(self._list, lines)
        files.write(self._directory / "policies.txt", served.policies)
        files.write(
            self._directory / "quotas.txt", "".join(f"{name} {rate:g}\n" for name, rate in served.quotas.items())
        )
        files.write(self._active, "".join(f"{item}\n" for item in sorted(served.active)))
        wanted = {self._path(name) for name in served.certificates}
        for path in (self._directory / "certs").glob("*.pem"):
            if path not in wanted:
                path.unlink()

    def _push_certificates(self, certificates: dict[str, str]) -> None:
        known = {line for line in self._command("show ssl cert").splitlines() if line.startswith("/")}
        listed = {line.split()[0] for line in self._command(f"show ssl crt-list {self._list}").splitlines()
                  if line.startswith("/") and line != str(self._list)}  # fmt: skip
        for name, pem in certificates.items():
            path = str(self._path(name))
            if path not in known:
                self._command(f"new ssl cert {path}", "New empty")
            if path not in known or self._pushed.get(name) != pem:
                self._command(f"set ssl cert {path} <<\n{pem.strip()}\n", "Transaction created")
                self._command(f"commit ssl cert {path}", "Success")
            if path not in listed:
                self._command(f"add ssl crt-list {self._list} <<\n{path} {name}\n", "Success")
            self._pushed[name] = pem
        for path in listed - {str(self._path(name)) for name in certificates}:
            self._command(f"del ssl crt-list {self._list} {path}", "deleted")
            self._command(f"del ssl cert {path}", "deleted")
        self._pushed = dict(certificates)

    def _push_active(self, active: frozenset[str]) -> None:
        shown = self._command(f"show acl {self._active}").splitlines()
        known = {line.split()[1] for line in shown if line.startswith("0x")}
        for item in sorted(active - known):
            self._command(f"add acl {self._active} {item}")
        for item in sorted(known - active):
            self._command(f"del acl {self._active} {item}")

    def _command(self, command: str, expected: str = "") -> str:
        """Run a command of HAProxy's runtime API and return its answer.

        Raises:
            EndpointError: the answer does not contain what was expected.
            OSError: HAProxy cannot be reached.
        """
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(TIMEOUT)
            connection.connect(str(self._directory / "haproxy.sock"))
            connection.sendall(command.encode() + b"\n")
            connection.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
        if expected not in answer:
            # The command's first line only: what follows may be a private key.
            raise EndpointError(f"{command.splitlines()[0]}: {answer.strip()!r}, expected {expected!r}")
        return answer
