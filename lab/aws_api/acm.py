"""ACM with certificate chains as they were imported, and re-imports refused as documented."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from moto.acm.models import AWS_ROOT_CA as AWS_ROOT
from moto.acm.models import CertBundle
from moto.acm.responses import AWSCertificateManagerResponse
from moto.core.responses import ActionResult

from lab.aws_api.errors import AwsError

if TYPE_CHECKING:
    from lab.aws_api.stand_in import StandIn


def key_algorithm(certificate: x509.Certificate) -> str:
    """Return the key's algorithm as ACM names it."""
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA_{key.key_size}"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return {"secp256r1": "EC_prime256v1"}.get(key.curve.name, f"EC_{key.curve.name}")
    return type(key).__name__


class AcmResponse(AWSCertificateManagerResponse):  # type: ignore[misc]
    """moto's ACM; moto appends a certificate of Amazon's to each chain, so nothing would ever compare equal."""

    def __init__(self, stand_in: StandIn) -> None:
        super().__init__()
        self._stand_in = stand_in

    def list_certificates(self) -> ActionResult:
        """Kinder than ACM, which without key types asked for lists RSA keys up to 2048 bits only
        (https://docs.aws.amazon.com/acm/latest/APIReference/API_Filters.html)."""
        summaries: list[dict[str, Any]] = super().list_certificates()._result["CertificateSummaryList"]
        return ActionResult({"CertificateSummaryList": [_named(each) for each in summaries]})

    def describe_certificate(self) -> ActionResult:
        return ActionResult({"Certificate": _named(super().describe_certificate()._result["Certificate"])})

    def import_certificate(self) -> ActionResult:
        given = self._get_param("CertificateArn")
        replaced: CertBundle | None = self.acm_backend._certificates.get(given) if given else None
        if replaced is not None and self._get_param("Tags"):
            raise AwsError("ValidationException", "Tagging is not permitted on re-import.")
        result = super().import_certificate()
        arn = result._result["CertificateArn"]
        bundle = self.acm_backend._certificates[arn]
        bundle.chain = bundle.chain.removesuffix(b"\n" + AWS_ROOT + b"\n").removesuffix(AWS_ROOT + b"\n")
        if replaced is not None:
            self._settle_reimport(replaced, bundle)
        self._stand_in.publish(self.region)
        return result

    def _settle_reimport(self, old: CertBundle, new: CertBundle) -> None:
        """Keep what a re-import keeps; a key of another type or size is refused (ACM user guide)."""
        if key_algorithm(old._cert) != key_algorithm(new._cert):
            self.acm_backend._certificates[old.arn] = old
            raise AwsError(
                "ValidationException",
                f"The key algorithm {key_algorithm(new._cert)} is not that of the certificate to replace,"
                f" {key_algorithm(old._cert)}.",
            )
        new.tags, new.in_use_by = old.tags, old.in_use_by

    def delete_certificate(self) -> ActionResult:
        arn = self._get_param("CertificateArn")
        if self._stand_in.uses_certificate(self.region, arn):
            raise AwsError("ResourceInUseException", f"Certificate {arn} is in use by a domain configuration")
        return super().delete_certificate()


def _named(certificate: dict[str, Any]) -> dict[str, Any]:
    """A description, or an entry of the list, in which what there is not is left out."""
    names = certificate.get("SubjectAlternativeNames") or []
    summaries = {"SubjectAlternativeNameSummaries": names, "HasAdditionalSubjectAlternativeNames": False}
    found = certificate | (summaries if names else {})
    return found if found.get("DomainName") else {key: value for key, value in found.items() if key != "DomainName"}
