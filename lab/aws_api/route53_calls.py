"""The calls of Route 53: changes that take time and are refused as AWS refuses them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from moto.core.responses import ActionResult
from moto.route53.models import DelegationSet
from moto.route53.responses import Route53

from lab.aws_api.answers import Answers
from lab.aws_api.errors import AwsError, InvalidChangeBatchError
from lab.aws_api.route53 import (
    GUARDRAILS,
    MAX_PROTECTIONS,
    PRIVATE_NAME_SERVERS,
    Change,
    Protections,
    apex_records,
    apply_batch,
    full_name,
    guarded,
    kept,
    new_zone_id,
    protected,
    records_of,
)


class Route53Response(Answers, Route53):  # type: ignore[misc]
    """moto's Route 53 with changes that take time and are refused as AWS refuses them."""

    def create_hosted_zone(self) -> ActionResult:
        """Create a zone with name servers of its own: zones of one name never share any.

        Source: https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/zone-public-considerations.html; those of a
        private one are reserved, and are not published
        (https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/hosted-zone-private-considerations.html).
        """
        answer = super().create_hosted_zone()
        zone = answer.result["HostedZone"]
        del self.backend.zones[zone.resource_id]
        zone.resource_id = new_zone_id()
        self.backend.zones[zone.resource_id] = zone
        answer.result["Location"] = f"https://route53.amazonaws.com/2013-04-01{zone.id}"
        servers = PRIVATE_NAME_SERVERS if zone.private_zone else self._stand_in.next_name_servers()
        zone.delegation_set = DelegationSet(zone.caller_reference, servers, None)
        zone.delegation_set.id = ""
        zone.rrsets = apex_records(zone.name, servers)
        answer.result["DelegationSet"] = None if zone.private_zone else zone.delegation_set
        return answer

    def get_hosted_zone(self) -> ActionResult:
        """Describe a zone with its Change Guardrails.

        Source: https://docs.aws.amazon.com/Route53/latest/APIReference/API_GetHostedZone.html, Features.
        """
        answer = super().get_hosted_zone()
        if on := self._stand_in.settings.change_guardrails:
            listed = [{"Name": name, "Status": "ENABLED" if name in on else "DISABLED"} for name in GUARDRAILS]
            answer.result["HostedZone"].features = {"ChangeGuardrails": listed}
        return answer

    def change_resource_record_sets(self) -> ActionResult | tuple[str, dict[str, Any]]:
        try:
            return self._change_record_sets()
        except InvalidChangeBatchError as error:
            if self._stand_in.settings.invalid_change_batch == error.code:
                return error.by_its_name(), {"status": 400, "content-type": "text/xml"}
            raise

    def _change_record_sets(self) -> ActionResult:
        zone = self.backend.get_hosted_zone(self._get_param("HostedZoneId"))
        self._refuse_while_busy(zone.id)
        before = records_of(zone)
        changes = self._get_param("ChangeBatch.Changes")
        after = apply_batch(before, changes, zone.name, self._protections(zone.id))
        if refused := guarded(before, after, changes, self._stand_in.settings.change_guardrails):
            raise InvalidChangeBatchError(refused)
        zone.rrsets = [kept(record) for record in after.values()]
        # The name servers of the lab have the zones that are delegated to them, and no others of their names.
        served = zone.resource_id in self._stand_in.configuration.hosted_zones
        change = self._stand_in.zones.publish(zone.name, before, after, served)
        self._stand_in.last_changes[zone.id] = change
        return ActionResult({"ChangeInfo": self._info(change)})

    def _refuse_while_busy(self, zone_id: str) -> None:
        """Refuse a batch while another one of the zone is being processed.

        Source: https://docs.aws.amazon.com/Route53/latest/APIReference/API_ChangeResourceRecordSets.html, Errors.
        """
        last = self._stand_in.last_changes.get(zone_id)
        if self._stand_in.settings.one_change_at_a_time and last and self._info(last)["Status"] == "PENDING":
            raise AwsError(
                "PriorRequestNotComplete",
                "The request was rejected because Route 53 was still processing a prior request.",
            )

    def get_change(self) -> ActionResult:
        change_id = self._get_param("Id").removeprefix("/change/")
        change = self._stand_in.zones.changes.get(change_id)
        if change is None:
            raise AwsError("NoSuchChange", f"Could not find resource with ID: {change_id}")
        return ActionResult({"ChangeInfo": self._info(change)})

    def create_resource_record_set_protections(self) -> ActionResult:
        protections, wanted = self._protection_batch()
        known = [key for key in wanted if key in protections]
        if known and len(known) == len(wanted):
            raise AwsError("ProtectionAlreadyExists", f"[{', '.join(map(protected, known))} already exists]")
        if known:
            raise self._refused_protections(known, "already exists")
        protections |= wanted
        return ActionResult({})

    def delete_resource_record_set_protections(self) -> ActionResult:
        protections, wanted = self._protection_batch()
        unknown = [key for key in wanted if key not in protections]
        if unknown:
            raise self._refused_protections(unknown, "does not exist")
        for key in wanted:
            del protections[key]
        return ActionResult({})

    def list_resource_record_set_protections(self) -> ActionResult:
        """List all in one page."""
        zone = self.backend.get_hosted_zone(self._get_param("HostedZoneId"))
        name = self._get_param("StartRecordName")
        first = (full_name(name), self._get_param("StartRecordType") or "") if name else ("", "")
        listed = [
            {"RecordName": name, "RecordType": kind, "Comment": comment}
            for (name, kind), comment in sorted(self._protections(zone.id).items())
            if (name, kind) >= first
        ]
        return ActionResult({"ResourceRecordSetProtections": listed})

    def _protections(self, zone_id: str) -> Protections:
        return self._stand_in.protections.setdefault(zone_id, {})

    def _protection_batch(self) -> tuple[Protections, Protections]:
        """Return the zone's protections and those of the request."""
        zone = self.backend.get_hosted_zone(self._get_param("HostedZoneId"))
        items = self._get_param("Protections")
        if len(items) > MAX_PROTECTIONS:
            raise AwsError("InvalidInput", f"Protections: {len(items)}, expected {MAX_PROTECTIONS} at most")
        wanted = {(full_name(item["RecordName"]), item["RecordType"]): item.get("Comment") for item in items}
        foreign = [key for key in wanted if not ("." + key[0]).endswith("." + full_name(zone.name))]
        if foreign:
            raise self._refused_protections(foreign, f"is not in zone {full_name(zone.name)}")
        return self._protections(zone.id), wanted

    @staticmethod
    def _refused_protections(keys: list[tuple[str, str]], reason: str) -> AwsError:
        said = ", ".join(f"{protected(key)} {reason}" for key in keys)
        return AwsError("InvalidResourceRecordSetProtectionBatch", f"[{said}]")

    def _info(self, change: Change) -> dict[str, Any]:
        settings = self._stand_in.settings
        status = change.status(datetime.now(UTC), settings.insync_delay_seconds, settings.insync_ignores)
        return {"Id": f"/change/{change.id}", "Status": status, "SubmittedAt": change.submitted_at}
