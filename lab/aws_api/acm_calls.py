"""The calls of ACM: chains as they were imported, imports refused as documented, certificates requested."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from cryptography import x509
from moto.acm.models import AWS_ROOT_CA as AWS_ROOT
from moto.acm.models import CertBundle
from moto.acm.responses import AWSCertificateManagerResponse
from moto.core.responses import ActionResult

from lab.aws_api import imports, paging
from lab.aws_api.acm import PublicCertificate
from lab.aws_api.answers import Answers
from lab.aws_api.errors import AwsError

# What ListCertificates gives where no key types are asked for
# (https://docs.aws.amazon.com/acm/latest/APIReference/API_Filters.html).
LISTED_KEY_TYPES = ("RSA_1024", "RSA_2048")
# https://docs.aws.amazon.com/acm/latest/APIReference/API_RequestCertificate.html: of those, what the lab makes.
PUBLIC_KEY_ALGORITHMS = ("RSA_2048", "EC_prime256v1")


class AcmResponse(Answers, AWSCertificateManagerResponse):  # type: ignore[misc]
    """moto's ACM; moto appends a certificate of Amazon's to each chain, so nothing would ever compare equal."""

    def list_certificates(self) -> ActionResult:
        """Source: https://docs.aws.amazon.com/acm/latest/APIReference/API_ListCertificates.html and API_Filters.html"""
        includes = self._get_param("Includes") or {}
        types = includes.get("keyTypes") or LISTED_KEY_TYPES
        found: list[dict[str, Any]] = super().list_certificates()._result["CertificateSummaryList"]
        summaries = [_named(each) for each in found if each["KeyAlgorithm"] in types]
        if not includes.get("keyTypes"):
            summaries = [each for each in summaries if each.get("DomainName") or each["SubjectAlternativeNames"]]
        scope = f"{sorted(types)} {self._get_param('CertificateStatuses')}"
        largest = self._stand_in.settings.page_size
        return ActionResult(paging.page(paging.ACM, summaries, scope, self._get_param, largest))

    def describe_certificate(self) -> ActionResult:
        return ActionResult({"Certificate": _named(super().describe_certificate()._result["Certificate"])})

    def get_certificate(self) -> ActionResult:
        bundle: CertBundle = self.acm_backend.get_certificate(self._get_param("CertificateArn"))
        if bundle.status == "PENDING_VALIDATION":
            # https://docs.aws.amazon.com/acm/latest/APIReference/API_GetCertificate.html
            raise AwsError("RequestInProgressException", f"Certificate {bundle.arn} is not issued yet")
        found: dict[str, Any] = super().get_certificate()._result
        # Where there is no chain moto answers an empty one.
        return ActionResult({name: value for name, value in found.items() if value})

    def request_certificate(self) -> ActionResult:
        """Source: https://docs.aws.amazon.com/acm/latest/APIReference/API_RequestCertificate.html"""
        if self._get_param("CertificateAuthorityArn"):
            return super().request_certificate()
        name, others = self._get_param("DomainName"), self._get_param("SubjectAlternativeNames") or []
        algorithm = self._get_param("KeyAlgorithm") or "RSA_2048"
        if algorithm not in PUBLIC_KEY_ALGORITHMS:
            raise AwsError("ValidationException", f"KeyAlgorithm {algorithm}: the lab makes {PUBLIC_KEY_ALGORITHMS}")
        names = list(dict.fromkeys([name, *others]))
        pem = self._stand_in.authority.public(names, algorithm)
        bundle = PublicCertificate(self._stand_in.certificate_owner(), self.region, names, pem)
        bundle.status = "PENDING_VALIDATION"
        bundle.tags.add(self._get_param("Tags") or [])
        self.acm_backend._certificates[bundle.arn] = bundle
        return ActionResult({"CertificateArn": bundle.arn})

    def import_certificate(self) -> ActionResult:
        given = self._get_param("CertificateArn")
        replaced: CertBundle | None = self.acm_backend._certificates.get(given) if given else None
        if replaced is not None and self._get_param("Tags"):
            raise AwsError("ValidationException", "Tagging is not permitted on re-import.")
        try:
            self._check_import(replaced)
        except imports.ImportRefusedError as error:
            raise AwsError("ValidationException", str(error)) from error
        result = super().import_certificate()
        arn = result._result["CertificateArn"]
        bundle = self.acm_backend._certificates[arn]
        bundle.chain = bundle.chain.removesuffix(b"\n" + AWS_ROOT + b"\n").removesuffix(AWS_ROOT + b"\n")
        if replaced is not None:
            bundle.tags, bundle.in_use_by = replaced.tags, replaced.in_use_by
        self._stand_in.publish(self.region)
        return result

    def _check_import(self, replaced: CertBundle | None) -> None:
        parts = [self._get_param(name) for name in ("Certificate", "PrivateKey", "CertificateChain")]
        certificate, key, chain = (_blob(part) for part in parts)
        leaf = imports.check(certificate or b"", key or b"", chain)
        if replaced is None:
            return
        if replaced.type != "IMPORTED":
            raise imports.ImportRefusedError(f"Certificate {replaced.arn} was not imported.")
        imports.check_replacement(replaced._cert, leaf)

    def delete_certificate(self) -> ActionResult:
        arn = self._get_param("CertificateArn")
        if self._stand_in.uses_certificate(self.region, arn):
            raise AwsError("ResourceInUseException", f"Certificate {arn} is in use by a domain configuration")
        return super().delete_certificate()


def chain_of(bundle: CertBundle) -> list[x509.Certificate]:
    """Return a certificate and those above it."""
    above = x509.load_pem_x509_certificates(bundle.chain) if bundle.chain.strip() else []
    return [bundle._cert, *above]


def _blob(value: str | None) -> bytes | None:
    try:
        return None if value is None else base64.b64decode(value)
    except binascii.Error as error:
        raise imports.ImportRefusedError("The certificate is not PEM-encoded or is not valid.") from error


def _named(certificate: dict[str, Any]) -> dict[str, Any]:
    """A description, or an entry of the list, in which what there is not is left out."""
    names = certificate.get("SubjectAlternativeNames") or []
    summaries = {"SubjectAlternativeNameSummaries": names, "HasAdditionalSubjectAlternativeNames": False}
    found = certificate | (summaries if names else {})
    return found if found.get("DomainName") else {key: value for key, value in found.items() if key != "DomainName"}
