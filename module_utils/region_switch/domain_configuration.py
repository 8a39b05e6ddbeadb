"""AWS IoT domain configurations: the custom domain names of a region."""

from __future__ import annotations

from typing import Any

from .aws import AwsClient
from .errors import RefusedError
from .module import Result, changes
from .route53 import plain


def ensure_domain_configuration(iot: AwsClient, parameters: dict[str, Any], check_mode: bool) -> Result:
    """Make the domain configuration present as given, or absent.

    Raises:
        RefusedError: a change that AWS cannot make to an existing configuration.
    """
    name = parameters["name"]
    current = iot.find("DescribeDomainConfiguration", domainConfigurationName=name)
    before = _state(current) if current else {}
    if parameters["state"] == "absent":
        if current and not check_mode:
            _delete(iot, name, before)
        return _result(name, None, before, {})
    difference = changes(before, _wanted(parameters, new=current is None))
    after = {**before, **difference}
    answer = current or {}
    if current is not None:
        refuse_fixed(name, before, difference)
        if difference and not check_mode:
            iot.call("UpdateDomainConfiguration", domainConfigurationName=name, **_update(after))
    elif not check_mode:
        answer = _create(iot, name, parameters, after)
    return _result(name, answer.get("domainConfigurationArn"), before, after)


def refuse_fixed(name: str, before: dict[str, Any], difference: dict[str, Any]) -> None:
    """Refuse what UpdateDomainConfiguration cannot change.

    Source: https://docs.aws.amazon.com/iot/latest/developerguide/iot-custom-endpoints-managing.html

    Raises:
        RefusedError: another domain name or server certificate is wanted.
    """
    for key, thing in (("domain_name", "domain name"), ("server_certificate_arn", "server certificate")):
        if key in difference:
            raise RefusedError(
                f"domain configuration {name}: found {thing} {before.get(key)}, expected {difference[key]}, which AWS "
                "cannot change: delete it (state: absent) and create it again, while no failover needs it"
            )


def _wanted(parameters: dict[str, Any], *, new: bool) -> dict[str, Any]:
    keys = ("domain_name", "server_certificate_arn", "status", "tls_security_policy")
    wanted = {key: parameters[key] for key in (*keys, "authentication_type", "application_protocol")}
    # One that somebody DISABLED stays so where nothing else is asked for.
    status = wanted["status"] or ("ENABLED" if new else None)
    return {**wanted, "status": status, "domain_name": plain(wanted["domain_name"]) if wanted["domain_name"] else None}


def _state(found: dict[str, Any]) -> dict[str, Any]:
    certificates = found.get("serverCertificates") or [{}]
    return {
        "domain_name": plain(found.get("domainName", "")),
        "server_certificate_arn": certificates[0].get("serverCertificateArn"),
        "status": found.get("domainConfigurationStatus"),
        "tls_security_policy": (found.get("tlsConfig") or {}).get("securityPolicy"),
        "authentication_type": found.get("authenticationType"),
        "application_protocol": found.get("applicationProtocol"),
    }


def _settings(state: dict[str, Any]) -> dict[str, Any]:
    """What both the create and the update request take."""
    settings: dict[str, Any] = {
        "authenticationType": state.get("authentication_type"),
        "applicationProtocol": state.get("application_protocol"),
    }
    if state.get("tls_security_policy"):
        settings["tlsConfig"] = {"securityPolicy": state["tls_security_policy"]}
    return {key: value for key, value in settings.items() if value is not None}


def _update(state: dict[str, Any]) -> dict[str, Any]:
    return {"domainConfigurationStatus": state["status"], **_settings(state)}


def _create(iot: AwsClient, name: str, parameters: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    if not state.get("domain_name") or not state.get("server_certificate_arn"):
        raise RefusedError(
            f"domain configuration {name}: found none, expected domain_name and server_certificate_arn to create it: "
            "give both"
        )
    request = {"domainName": state["domain_name"], "serverCertificateArns": [state["server_certificate_arn"]]}
    if parameters["validation_certificate_arn"]:
        request["validationCertificateArn"] = parameters["validation_certificate_arn"]
    answer = iot.call("CreateDomainConfiguration", domainConfigurationName=name, **request, **_settings(state))
    if state["status"] == "DISABLED":
        iot.call("UpdateDomainConfiguration", domainConfigurationName=name, domainConfigurationStatus="DISABLED")
    return answer


def _delete(iot: AwsClient, name: str, state: dict[str, Any]) -> None:
    # AWS deletes only what is disabled.
    if state["status"] != "DISABLED":
        iot.call("UpdateDomainConfiguration", domainConfigurationName=name, domainConfigurationStatus="DISABLED")
    iot.call("DeleteDomainConfiguration", domainConfigurationName=name)


def _result(name: str, arn: str | None, before: dict[str, Any], after: dict[str, Any]) -> Result:
    diff = {"before": before, "after": after}
    return {"changed": before != after, "name": name, "arn": arn, "status": after.get("status"), "diff": diff}
