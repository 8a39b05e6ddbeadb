"""What a region shows a device: a TLS server with a certificate of its own, and just enough MQTT 5 behind it."""

from __future__ import annotations

import datetime as dt
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from unittest.mock import patch

from ansible.module_utils.region_switch.checks import probe
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PEM = serialization.Encoding.PEM
# Seconds, for both ends: on a machine that is busy with something else each may have to wait for its turn.
PATIENCE = 60


@dataclass(frozen=True)
class Pair:
    """PEM files of a certificate and its key."""

    certificate: Path
    key: Path

    @property
    def pem(self) -> str:
        return self.certificate.read_text()


class Authority:
    """Signs certificates and writes them to a folder."""

    def __init__(self, folder: Path, name: str = "Test CA") -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = self._builder(self._name, self._key, dt.timedelta(days=365))
        own = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        self.file = folder / f"{name.replace(' ', '-')}.crt"
        self.file.write_bytes(own.sign(self._key, hashes.SHA256()).public_bytes(PEM))

    def issue(self, name: str, lasts: dt.timedelta = dt.timedelta(days=90), file: str = "") -> Pair:
        """Return a certificate for a server name or a client; `lasts` may be negative."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key, lasts)
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        usages = [x509.OID_SERVER_AUTH, x509.OID_CLIENT_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        pair = Pair(self._folder / f"{file or name}.crt", self._folder / f"{file or name}.key")
        pair.certificate.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(PEM))
        plain = serialization.NoEncryption()
        pair.key.write_bytes(key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, plain))
        return pair

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, lasts: dt.timedelta
    ) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=100))
            .not_valid_after(now + lasts)
        )


@dataclass
class Manners:
    """How a server answers: MQTT 5 reason codes, None for closing the connection instead."""

    connack: int | None = 0
    puback: int | None = 0


@dataclass
class Visitor:
    """What a client said."""

    client_id: str
    topic: str = ""
    protocol: str | None = None


@contextmanager
def mqtt_server(
    pair: Pair,
    clients: Path | None = None,
    manners: Manners | None = None,
    address: str = "127.0.0.1",
    port: int = 0,
    alpn: str | None = None,
) -> Iterator[tuple[int, list[Visitor]]]:
    """Yield the port of a server and who came.

    Args:
        clients: CA that client certificates must chain to; None: none is asked for.
        alpn: the protocol that it agrees on where a client asks for it.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    if clients:
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_verify_locations(clients)
    if alpn:
        context.set_alpn_protocols([alpn])
    visitors: list[Visitor] = []
    stopped = threading.Event()
    with patch.object(probe, "TIMEOUT", PATIENCE), socket.create_server((address, port)) as listener:
        listener.settimeout(0.1)
        serving = (listener, context, manners or Manners(), visitors, stopped)
        thread = threading.Thread(target=_serve, args=serving)
        thread.start()
        try:
            yield listener.getsockname()[1], visitors
        finally:
            stopped.set()
            thread.join()


def _serve(
    listener: socket.socket,
    context: ssl.SSLContext,
    manners: Manners,
    visitors: list[Visitor],
    stopped: threading.Event,
) -> None:
    threads = []
    while not stopped.is_set():
        with suppress(TimeoutError):
            connection, _ = listener.accept()
            threads.append(threading.Thread(target=_talk, args=(connection, context, manners, visitors)))
            threads[-1].start()
    for thread in threads:
        thread.join()


def _talk(plain: socket.socket, context: ssl.SSLContext, manners: Manners, visitors: list[Visitor]) -> None:
    plain.settimeout(PATIENCE)
    with (
        suppress(OSError, EOFError),
        plain,
        context.wrap_socket(plain, server_side=True) as connection,
        connection.makefile("rwb") as stream,
    ):
        _, body = _packet(stream)
        # Name (6 bytes), version, flags, keep-alive (2), properties.
        visitor = Visitor(_text(body[11 + body[10] :]), protocol=connection.selected_alpn_protocol())
        visitors.append(visitor)
        if manners.connack is None:
            return
        stream.write(bytes([0x20, 3, 0, manners.connack, 0]))
        stream.flush()
        _, body = _packet(stream)
        visitor.topic = _text(body)
        number = body[2 + len(visitor.topic) :][:2]
        if manners.puback is not None:
            stream.write(bytes([0x40, 3, *number, manners.puback]))
            stream.flush()
            stream.read(1)


def _packet(stream: BinaryIO) -> tuple[int, bytes]:
    kind = stream.read(1)
    if not kind:
        raise EOFError
    length, shift = 0, 0
    while True:
        byte = stream.read(1)[0]
        length |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return kind[0], stream.read(length)


def _text(body: bytes) -> str:
    return body[2 : 2 + int.from_bytes(body[:2], "big")].decode()
