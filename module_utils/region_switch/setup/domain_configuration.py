"""AWS IoT domain configurations: the custom domain names of a region."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..aws.clients import AwsClient
from ..model.errors import RefusedError
from ..model.names import plain
from ..module import Result, changed, changes


def described(iot: AwsClient, name: str) -> dict[str, Any] | None:
    """A domain configuration's description; None where it does not exist."""
    return iot.find("DescribeDomainConfiguration", domainConfigurationName=name)


def configurations(iot: AwsClient) -> Iterator[dict[str, Any]]:
    """The descriptions of a region's domain configurations, except AWS's own."""
    for each in iot.pages("ListDomainConfigurations", "domainConfigurations", ("nextMarker", "marker")):
        name = each["domainConfigurationName"]
        if not name.lower().startswith("iot:") and (found := described(iot, name)) is not None:
            yield found


def ensure_domain_configuration(iot: AwsClient, parameters: dict[str, Any], check_mode: bool) -> Result:
    """Make the domain configuration present as given, or absent.

    One that exists for the domain name under another name is used unchanged.

    Raises:
        RefusedError: a change that AWS cannot make to an existing configuration.
    """
    name = parameters["name"]
    current = described(iot, name)
    if parameters["state"] == "absent":
        before = _state(current) if current else {}
        if current and not check_mode:
            _delete(iot, name, before)
        return _result(name, None, before, {})
    adopted = _of_domain(iot, parameters["domain_name"]) if current is None else None
    found = current or adopted
    before = _state(found) if found else {}
    difference = changes(before, _wanted(parameters, new=found is None))
    if found is None:
        return _created(iot, parameters, difference, check_mode)
    name = found.get("domainConfigurationName", name)
    refuse_fixed(name, before, difference)
    arn = found.get("domainConfigurationArn")
    if adopted or not parameters["update"]:
        return {**_result(name, arn, before, before), "warnings": _differences(iot.region, name, before, difference)}
    after = {**before, **difference}
    if difference and not check_mode:
        iot.call("UpdateDomainConfiguration", domainConfigurationName=name, **_update(after))
    return _result(name, arn, before, after)


def _of_domain(iot: AwsClient, domain_name: str | None) -> dict[str, Any] | None:
    wanted = plain(domain_name or "")
    return next((each for each in configurations(iot) if wanted and plain(each.get("domainName", "")) == wanted), None)


def _created(iot: AwsClient, parameters: dict[str, Any], state: dict[str, Any], check_mode: bool) -> Result:
    name = parameters["name"]
    answer = {} if check_mode else _create(iot, name, parameters, state)
    return _result(name, answer.get("domainConfigurationArn"), {}, state)


def _differences(region: str, name: str, before: dict[str, Any], difference: dict[str, Any]) -> list[str]:
    return [
        f"domain configuration {name} in {region}: its {key.replace('_', ' ')} is {before.get(key)}, not {wanted}, and "
        "stays so, since setup.yml did not make it"
        for key, wanted in difference.items()
    ]


def refuse_fixed(name: str, before: dict[str, Any], difference: dict[str, Any]) -> None:
    """Refuse changes that UpdateDomainConfiguration cannot make.

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
    # Without `status`, a configuration that somebody DISABLED stays disabled.
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
    """Parameters that the create and the update request share."""
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
            f"domain configuration {name}: creating it needs domain_name and server_certificate_arn: give both"
        )
    request = {"domainName": state["domain_name"], "serverCertificateArns": [state["server_certificate_arn"]]}
    if parameters["validation_certificate_arn"]:
        request["validationCertificateArn"] = parameters["validation_certificate_arn"]
    answer = iot.call("CreateDomainConfiguration", domainConfigurationName=name, **request, **_settings(state))
    if state["status"] == "DISABLED":
        iot.call("UpdateDomainConfiguration", domainConfigurationName=name, domainConfigurationStatus="DISABLED")
    return answer


def _delete(iot: AwsClient, name: str, state: dict[str, Any]) -> None:
    # AWS refuses to delete one that is enabled.
    if state["status"] != "DISABLED":
        iot.call("UpdateDomainConfiguration", domainConfigurationName=name, domainConfigurationStatus="DISABLED")
    iot.call("DeleteDomainConfiguration", domainConfigurationName=name)


def _result(name: str, arn: str | None, before: dict[str, Any], after: dict[str, Any]) -> Result:
    return changed(before, after, name=name, arn=arn, status=after.get("status"))
