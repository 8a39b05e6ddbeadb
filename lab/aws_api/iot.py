"""IoT's control plane: certificates that are signed, domain configurations that are checked, and the fleet index."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from cryptography import x509
from moto.acm.models import CertBundle, acm_backends
from moto.core.responses import TYPE_RESPONSE, ActionResult, EmptyResult
from moto.core.utils import camelcase_to_underscores, utcnow
from moto.iot.models import FakeDomainConfiguration, FakeThing
from moto.iot.responses import IoTResponse

from lab.aws_api import documents, domains, paging, search, trust
from lab.aws_api.acm import PUBLIC
from lab.aws_api.acm_calls import chain_of
from lab.aws_api.answers import Answers
from lab.aws_api.errors import AwsError

INDEX = "AWS_Things"
# What changes which certificates a region serves and admits, and what they may do.
PUBLISHED = frozenset(
    {
        "CreateCertificateFromCsr",
        "RegisterCertificateWithoutCA",
        "UpdateCertificate",
        "DeleteCertificate",
        "CreateDomainConfiguration",
        "UpdateDomainConfiguration",
        "AttachPolicy",
        "DetachPolicy",
        "AttachPrincipalPolicy",
        "DetachPrincipalPolicy",
        "CreatePolicyVersion",
        "SetDefaultPolicyVersion",
        "AttachThingPrincipal",
        "DetachThingPrincipal",
        "UpdateThing",
    }
)
CERTIFICATE_STATUSES = ("ACTIVE", "INACTIVE", "REVOKED", "PENDING_TRANSFER", "REGISTER_INACTIVE", "PENDING_ACTIVATION")


class IotControlResponse(Answers, IoTResponse):  # type: ignore[misc]
    """moto's IoT with what it lacks or accepts too readily."""

    def call_action(self) -> TYPE_RESPONSE:
        answer = super().call_action()
        if self._get_action() in PUBLISHED:
            self._stand_in.publish(self.region)
        return answer

    # Certificates ------------------------------------------------------------------------------------------------

    def create_certificate_from_csr(self) -> ActionResult:
        try:
            pem = self._stand_in.authority.device(self._get_param("certificateSigningRequest"))
        except ValueError as error:
            raise AwsError(
                "InvalidRequestException", f"The certificate signing request is not valid: {error}"
            ) from error
        active = self._get_bool_param("setAsActive", False)
        certificate = self.iot_backend.register_certificate(pem, None, active, "INACTIVE")
        _note_validity(certificate)
        return ActionResult(
            {
                "certificateId": certificate.certificate_id,
                "certificateArn": certificate.arn,
                "certificatePem": certificate.certificate_pem,
            }
        )

    def register_certificate_without_ca(self) -> ActionResult:
        pem = self._get_param("certificatePem")
        status = self._get_param("status") or "INACTIVE"
        self._check_pem(pem)
        certificate = self.iot_backend.register_certificate_without_ca(pem, status)
        _note_validity(certificate)
        return ActionResult({"certificateId": certificate.certificate_id, "certificateArn": certificate.arn})

    def update_certificate(self) -> ActionResult:
        status = self._get_param("newStatus")
        if status not in CERTIFICATE_STATUSES:
            known = ", ".join(CERTIFICATE_STATUSES)
            raise AwsError("InvalidRequestException", f"newStatus {status!r}: expected one of {known}")
        certificate = self.iot_backend.describe_certificate(self._get_param("certificateId"))
        certificate.last_modified_date = utcnow()
        return super().update_certificate()

    @staticmethod
    def _check_pem(pem: str) -> None:
        try:
            x509.load_pem_x509_certificate(pem.encode())
        except ValueError as error:
            raise AwsError("CertificateValidationException", f"The certificate is not valid PEM: {error}") from error

    # Things and policies -----------------------------------------------------------------------------------------

    def create_thing(self) -> ActionResult:
        payload = self._get_param("attributePayload") or {}
        _refuse(documents.thing_name_problem(self._get_param("thingName")))
        if payload.get("merge"):
            # https://docs.aws.amazon.com/iot/latest/apireference/API_AttributePayload.html
            _refuse("attributePayload.merge: valid when calling UpdateThing or UpdateThingGroup only")
        typed = bool(self._get_param("thingTypeName"))
        _refuse(documents.attributes_problem(payload.get("attributes") or {}, typed=typed))
        return super().create_thing()

    def update_thing(self) -> ActionResult:
        thing = self.iot_backend.describe_thing(self._get_param("thingName"))
        payload = self._get_param("attributePayload") or {"merge": True}
        given, kept = payload.get("attributes") or {}, thing.attributes if payload.get("merge") else {}
        # An attribute without a value is removed
        # (https://docs.aws.amazon.com/iot/latest/apireference/API_AttributePayload.html).
        attributes = {name: value for name, value in {**kept, **given}.items() if value != ""}
        typed = bool(thing.thing_type or self._get_param("thingTypeName")) and not self._get_param("removeThingType")
        _refuse(documents.attributes_problem(attributes, typed=typed))
        return super().update_thing()

    def list_things(self) -> ActionResult:
        """All of them: moto's own pages are of another size than is asked for elsewhere."""
        found, _ = self.iot_backend.list_things(
            attribute_name=self._get_param("attributeName"),
            attribute_value=self._get_param("attributeValue"),
            thing_type_name=self._get_param("thingTypeName"),
            max_results=sys.maxsize,
            token=None,
        )
        return ActionResult({"things": found})

    def create_policy(self) -> ActionResult:
        _refuse(documents.policy_name_problem(self._get_param("policyName")))
        self._check_document()
        return super().create_policy()

    def create_policy_version(self) -> ActionResult:
        self._check_document()
        return super().create_policy_version()

    def _check_document(self) -> None:
        if problem := documents.policy_problem(self._get_param("policyDocument")):
            raise AwsError("MalformedPolicyException", f"Policy document is malformed: {problem}")

    def attach_policy(self) -> ActionResult:
        attached = [policy.name for policy in self.iot_backend.list_attached_policies(self._get_param("target"))]
        if len({*attached, self._get_param("policyName")}) > documents.POLICIES_OF_TARGET:
            raise AwsError(
                "LimitExceededException", f"The limit of {documents.POLICIES_OF_TARGET} attached policies is reached"
            )
        return super().attach_policy()

    def page(self, whole: ActionResult, listing: paging.Listing) -> ActionResult:
        """Return the page of a list that the request asks for."""
        answer, largest = whole._result, self._stand_in.settings.page_size
        principal = {name: value for name, value in self.headers.items() if name.lower().startswith("x-amzn-")}
        scope = f"{self._get_action()} {self.path} {sorted(principal.items())}"
        found = paging.page(listing, answer[listing.items], scope, self._get_param, largest)
        return ActionResult({**answer, listing.next_cursor: None, **found})

    # Endpoint ----------------------------------------------------------------------------------------------------

    def describe_endpoint(self) -> ActionResult:
        region = self._stand_in.configuration.regions.get(self.region)
        if region is None or self._get_param("endpointType") != "iot:Data-ATS":
            return super().describe_endpoint()
        return ActionResult({"endpointAddress": region.ats_endpoint})

    # Domain configurations ---------------------------------------------------------------------------------------

    def create_domain_configuration(self) -> ActionResult:
        name, domain_name = self._get_param("domainConfigurationName"), self._get_param("domainName")
        _refuse(domains.name_problem(name))
        existing = self.iot_backend.domain_configurations
        if name not in existing:
            self._check_new_domain(domain_name)
            self._check_server_certificate(domain_name)
        result = super().create_domain_configuration()
        configuration = existing[name]
        configuration.service_type = configuration.service_type or "DATA"
        self._stand_in.domain_details(self.region)[name] = domains.DEFAULTS | self._given_details()
        self._stand_in.begin_serving(self.region, name)
        return result

    def describe_domain_configuration(self) -> ActionResult:
        name = self._get_param("domainConfigurationName")
        configuration = self.iot_backend.describe_domain_configuration(name)
        details = self._stand_in.domain_details(self.region).get(name, {})
        changed = configuration.last_status_change_date - timedelta(seconds=self._stand_in.settings.status_age_seconds)
        return ActionResult(
            configuration.to_description_dict()
            | details
            | {"lastStatusChangeDate": changed, "serverCertificates": self._server_certificates(configuration)}
        )

    def _server_certificates(self, configuration: FakeDomainConfiguration) -> list[dict[str, Any]]:
        """Return a domain's server certificate with its status: it may have expired, or been replaced, since."""
        known = acm_backends[self.current_account][self.region]._certificates
        found = []
        for item in configuration.server_certificates:
            arn = item["serverCertificateArn"]
            problem = domains.served_problem(known[arn]._cert, configuration.domain_name) if arn in known else "is gone"
            status = {"serverCertificateStatus": "INVALID" if problem else "VALID"}
            found.append({"serverCertificateArn": arn, **status, "serverCertificateStatusDetail": problem})
        return found

    def update_domain_configuration(self) -> ActionResult:
        name, status = self._get_param("domainConfigurationName"), self._get_param("domainConfigurationStatus")
        if status is not None and status not in domains.STATUSES:
            raise AwsError(
                "InvalidRequestException", f"domainConfigurationStatus {status!r}: expected ENABLED or DISABLED"
            )
        configuration = self.iot_backend.describe_domain_configuration(name)
        if status not in (None, configuration.domain_configuration_status):
            configuration.last_status_change_date = utcnow()
        result = super().update_domain_configuration()
        self._stand_in.domain_details(self.region).setdefault(name, dict(domains.DEFAULTS)).update(
            self._given_details()
        )
        return result

    def delete_domain_configuration(self) -> ActionResult:
        name = self._get_param("domainConfigurationName")
        configuration = self.iot_backend.describe_domain_configuration(name)
        if configuration.domain_configuration_status == "ENABLED":
            raise AwsError("InvalidRequestException", f"Domain configuration {name} must be DISABLED before deletion")
        result = super().delete_domain_configuration()
        self._stand_in.domain_details(self.region).pop(name, None)
        return result

    def _check_new_domain(self, domain_name: str | None) -> None:
        configurations = self.iot_backend.domain_configurations
        if len(configurations) >= domains.MAX_CONFIGURATIONS:
            raise AwsError(
                "LimitExceededException", f"The limit of {domains.MAX_CONFIGURATIONS} domain configurations is reached"
            )
        for configuration in configurations.values():
            if domain_name and configuration.domain_name == domain_name:
                raise AwsError(
                    "ResourceAlreadyExistsException",
                    f"Domain name {domain_name} is in use by {configuration.domain_configuration_name}",
                )

    def _check_server_certificate(self, domain_name: str | None) -> None:
        arns = self._get_param("serverCertificateArns") or []
        if len(arns) > 1:
            raise AwsError("InvalidRequestException", f"serverCertificateArns: {len(arns)}, expected 1 at most")
        private = False
        for arn in arns:
            bundle = self._acm_certificate(arn)
            problem = domains.certificate_problem(bundle._cert, domain_name or "")
            _refuse_certificate(arn, problem or domains.chain_problem(chain_of(bundle)))
            roots = (*trust.mozilla(), self._stand_in.authority.certificate)
            private = private or not (bundle.type == PUBLIC or trust.is_public(chain_of(bundle), roots))
        self._check_validation_certificate(domain_name or "", needed=private)

    def _check_validation_certificate(self, domain_name: str, *, needed: bool) -> None:
        """The certificate that proves whose the name is.

        Source: https://docs.aws.amazon.com/iot/latest/developerguide/iot-custom-endpoints-configurable-custom.html
        ("External certificates signed by a private CA", "Creating a validation certificate").
        """
        arn = self._get_param("validationCertificateArn")
        if arn:
            bundle = self._acm_certificate(arn)
            problem = domains.coverage_problem(bundle._cert, domain_name)
            if bundle.type != PUBLIC:
                problem = f"type {bundle.type}, expected {PUBLIC}, a public certificate of ACM's own"
            _refuse_certificate(arn, problem)
        elif needed:
            raise AwsError(
                "CertificateValidationException",
                "The server certificate is self-signed or of a private CA: validationCertificateArn is required",
            )

    def _acm_certificate(self, arn: str) -> CertBundle:
        backend = acm_backends[self.current_account][self.region]
        if arn not in backend._certificates:
            raise AwsError("CertificateValidationException", f"Certificate {arn} does not exist in {self.region}")
        bundle: CertBundle = backend.get_certificate(arn)
        _refuse_certificate(arn, None if bundle.status == "ISSUED" else f"{bundle.status}, expected ISSUED")
        return bundle

    def _given_details(self) -> dict[str, Any]:
        given = {name: self._get_param(name) for name in domains.DEFAULTS}
        return {name: value for name, value in given.items() if value is not None}

    # Fleet index -------------------------------------------------------------------------------------------------

    def update_indexing_configuration(self) -> ActionResult:
        things = self._get_param("thingIndexingConfiguration") or {}
        mode, connectivity = things.get("thingIndexingMode"), things.get("thingConnectivityIndexingMode", "OFF")
        if mode == "OFF" and connectivity != "OFF":
            raise AwsError("InvalidRequestException", "Connectivity cannot be indexed while thingIndexingMode is OFF")
        before = dict(self._indexing())
        answer = super().update_indexing_configuration() or EmptyResult()
        if self._indexing() != before:
            self._stand_in.indexed_again[self.region] = time.monotonic()
        return answer

    def describe_index(self) -> ActionResult:
        name = self._get_param("indexName")
        settings = self._indexing()
        if name != INDEX or settings["thingIndexingMode"] == "OFF":
            raise AwsError("ResourceNotFoundException", f"Index {name} does not exist")
        schema = settings["thingIndexingMode"]
        if settings["thingConnectivityIndexingMode"] != "OFF":
            schema += "_AND_CONNECTIVITY_STATUS"
        status = "BUILDING" if self._is_building() else "ACTIVE"
        return ActionResult({"indexName": name, "indexStatus": status, "schema": schema})

    def _is_building(self) -> bool:
        """Return whether the index is being built: no query is answered meanwhile.

        Source: https://docs.aws.amazon.com/iot/latest/developerguide/managing-index.html
        """
        changed = self._stand_in.indexed_again.get(self.region)
        return changed is not None and time.monotonic() - changed < self._stand_in.settings.index_building_seconds

    def search_index(self) -> ActionResult:
        documents = self._matching()
        sizes = [int(size) for size in (self._get_param("maxResults"), self._stand_in.settings.page_size) if size]
        names, token = search.page(list(documents), self._get_param("nextToken"), min(sizes, default=None))
        return ActionResult({"things": [documents[name] for name in names], "thingGroups": [], "nextToken": token})

    def get_statistics(self) -> ActionResult:
        return ActionResult({"statistics": {"count": len(self._matching())}})

    def _indexing(self) -> dict[str, Any]:
        configuration: dict[str, Any] = self.iot_backend.get_indexing_configuration()["thingIndexingConfiguration"]
        return configuration

    def _matching(self) -> dict[str, dict[str, Any]]:
        """Return the documents of the things that match the request's query, by thing name."""
        settings = self._indexing()
        name = self._get_param("indexName") or INDEX
        if name != INDEX:
            raise AwsError("ResourceNotFoundException", f"Index {name} does not exist")
        if settings["thingIndexingMode"] == "OFF":
            raise AwsError("IndexNotReadyException", "Thing indexing is OFF: update the indexing configuration first")
        if self._is_building():
            raise AwsError("IndexNotReadyException", f"Index {name} is not ready: its status is BUILDING")
        query = self._get_param("queryString") or ""
        if "connectivity." in query and settings["thingConnectivityIndexingMode"] == "OFF":
            raise AwsError("InvalidQueryException", "Connectivity is not indexed: thingConnectivityIndexingMode is OFF")
        documents = self._documents(with_connectivity=settings["thingConnectivityIndexingMode"] != "OFF")
        matches = search.compile_query(query)
        return {name: document for name, document in documents.items() if matches(document)}

    def _documents(self, *, with_connectivity: bool) -> dict[str, dict[str, Any]]:
        lag = self._stand_in.settings.index_lag_seconds
        connections = {item.client_id: item for item in self._stand_in.fleet(self.region).connections(lag)}
        documents = {}
        for thing in list(self.iot_backend.things.values()):
            document = _document(thing)
            if with_connectivity:
                document["connectivity"] = search.connectivity(connections.get(thing.thing_name))
            documents[thing.thing_name] = document
        return documents


def _paged(whole: Callable[[IotControlResponse], ActionResult], listing: paging.Listing) -> Any:
    def listed(self: IotControlResponse) -> ActionResult:
        return self.page(whole(self), listing)

    return listed


for _operation, _listing in paging.IOT.items():
    _method = camelcase_to_underscores(_operation)
    setattr(IotControlResponse, _method, _paged(getattr(IotControlResponse, _method), _listing))


def _refuse(problem: str | None) -> None:
    if problem:
        raise AwsError("InvalidRequestException", problem)


def _refuse_certificate(arn: str, problem: str | None) -> None:
    if problem:
        raise AwsError("CertificateValidationException", f"Certificate {arn}: {problem}")


def _document(thing: FakeThing) -> dict[str, Any]:
    document = {"thingName": thing.thing_name, "thingId": thing.thing_id, "attributes": thing.attributes}
    if thing.thing_type:
        document["thingTypeName"] = thing.thing_type.thing_type_name
    return document


def _note_validity(certificate: Any) -> None:
    parsed = x509.load_pem_x509_certificate(certificate.certificate_pem.encode())
    certificate.validity_not_before = parsed.not_valid_before_utc
    certificate.validity_not_after = parsed.not_valid_after_utc
