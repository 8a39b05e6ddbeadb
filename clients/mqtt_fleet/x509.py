"""What a certificate says, read from its DER: a device has no library for it beside Python's own."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

# X.690, tags of DER.
INTEGER, OBJECT_IDENTIFIER, UTC_TIME, SEQUENCE, CONSTRUCTED = 0x02, 0x06, 0x17, 0x30, 0xA0
VERSION = CONSTRUCTED

RSA, ELLIPTIC_CURVE = "1.2.840.113549.1.1.1", "1.2.840.10045.2.1"
# RFC 8017, RFC 8410, RFC 3279.
ALGORITHMS = {
    RSA: "RSA",
    "1.2.840.113549.1.1.10": "RSA-PSS",
    ELLIPTIC_CURVE: "ECC",
    "1.3.101.112": "Ed25519",
    "1.3.101.113": "Ed448",
    "1.2.840.10040.4.1": "DSA",
}
# RFC 5480, SEC 2, RFC 5639.
CURVES = {
    "1.2.840.10045.3.1.1": "P-192",
    "1.3.132.0.33": "P-224",
    "1.2.840.10045.3.1.7": "P-256",
    "1.3.132.0.34": "P-384",
    "1.3.132.0.35": "P-521",
    "1.3.132.0.10": "secp256k1",
    "1.3.36.3.3.2.8.1.1.7": "brainpoolP256r1",
    "1.3.36.3.3.2.8.1.1.11": "brainpoolP384r1",
    "1.3.36.3.3.2.8.1.1.13": "brainpoolP512r1",
}


@dataclass(frozen=True)
class PublicKey:
    """A certificate's key.

    Attributes:
        algorithm: "RSA", "ECC", "Ed25519", …, or an object identifier.
        bits: of an RSA key's modulus, else 0.
        curve: "P-256", … or an object identifier; "" for other algorithms.
    """

    algorithm: str
    bits: int = 0
    curve: str = ""

    def __str__(self) -> str:
        size = f" of {self.bits} bits" if self.bits else ""
        return f"{self.algorithm}{size}{' ' if self.curve else ''}{self.curve}"


def validity(certificate: bytes) -> tuple[float, float]:
    """(not before, not after) of an X.509 certificate in DER, in epoch seconds, RFC 5280, 4.1.

    Raises:
        ValueError, IndexError: it is none.
    """
    tag, period, _ = element(_before_validity(certificate))
    if tag != SEQUENCE:
        raise ValueError("holds no validity period")
    tag, begins, rest = element(period)
    end_tag, ends, _ = element(rest)
    return _time(tag, begins), _time(end_tag, ends)


def public_key(certificate: bytes) -> PublicKey:
    """The key in an X.509 certificate in DER, RFC 5280, 4.1.

    Raises:
        ValueError, IndexError: it is none.
    """
    rest = _before_validity(certificate)
    # Validity, subject.
    for _ in range(2):
        _, _, rest = element(rest)
    tag, information, _ = element(rest)
    if tag != SEQUENCE:
        raise ValueError("holds no public key")
    _, algorithm, rest = element(information)
    tag, identifier, parameters = element(algorithm)
    if tag != OBJECT_IDENTIFIER:
        raise ValueError("names no algorithm")
    name = _dotted(identifier)
    if name == RSA:
        _, key, _ = element(rest)
        # The first octet counts unused bits.
        _, numbers, _ = element(key[1:])
        _, modulus, _ = element(numbers)
        return PublicKey(ALGORITHMS[name], bits=int.from_bytes(modulus, "big").bit_length())
    if name == ELLIPTIC_CURVE:
        tag, curve, _ = element(parameters)
        dotted = _dotted(curve) if tag == OBJECT_IDENTIFIER else "without a name"
        return PublicKey(ALGORITHMS[name], curve=CURVES.get(dotted, dotted))
    return PublicKey(ALGORITHMS.get(name, name))


def _before_validity(certificate: bytes) -> bytes:
    _, certificate, _ = element(certificate)
    _, fields, _ = element(certificate)
    tag, _, rest = element(fields)
    # Version (which the first has not), serial number, signature algorithm, issuer.
    for _ in range(3 if tag == VERSION else 2):
        _, _, rest = element(rest)
    return rest


def element(content: bytes) -> tuple[int, bytes, bytes]:
    """Return the tag and the value of the first element, and what follows it.

    Raises:
        ValueError, IndexError: there is no whole one.
    """
    length, begin = content[1], 2
    if length & 0x80:
        begin = 2 + (length & 0x7F)
        length = int.from_bytes(content[2:begin], "big")
    if len(content) < begin + length:
        raise ValueError("is incomplete")
    return content[0], content[begin : begin + length], content[begin + length :]


def _dotted(value: bytes) -> str:
    """An object identifier in numbers, X.690, 8.19."""
    arcs = [0]
    for octet in value:
        arcs[-1] = arcs[-1] << 7 | octet & 0x7F
        if not octet & 0x80:
            arcs.append(0)
    first = min(2, arcs[0] // 40)
    return ".".join(str(arc) for arc in (first, arcs[0] - 40 * first, *arcs[1:-1]))


def _time(tag: int, value: bytes) -> float:
    text = value.decode("ascii")
    if tag == UTC_TIME:
        text = ("19" if text[:2] >= "50" else "20") + text
    moment = datetime.datetime.strptime(text, "%Y%m%d%H%M%SZ")
    return moment.replace(tzinfo=datetime.timezone.utc).timestamp()
