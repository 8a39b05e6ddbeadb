"""Findings: what the checks found before anything is changed, in one list. No I/O."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from typing import Any

from .errors import ROUTE53, AwsError, CredentialsError, RefusedError, many, one_line, printable

LINES_IN_ERROR = 3
# The names of all checks.
CHECKS = frozenset(
    {
        "change_guardrail",
        "connection_api",
        "device_certificate",
        "dns_lag",
        "dns_server",
        "domain_configuration",
        "domain_configuration_differs",
        "fleet_index",
        "hosted_zone",
        "max_clients",
        "max_endpoints",
        "message_figures",
        "mqtt_probe",
        "no_clients",
        "permission",
        "policy_region",
        "quota",
        "record",
        "record_protection",
        "record_ttl",
        "region_api",
        "report_room",
        "server_certificate",
        "server_certificate_differs",
        "share",
        "unmapped_clients",
    }
)


@dataclass(frozen=True)
class Finding:
    """One result of a check.

    Attributes:
        check: name of the check, by which an operator may waive it.
        blocking: whether a move is refused for it; otherwise it is only reported.
        region: AWS Region, empty where it concerns none.
        endpoint: the endpoint's domain name, empty where it concerns none.
        found: the problem, or the value that differs from `expected`.
        expected: the value to compare `found` with, empty where nothing is compared.
        advice: the remedy.
    """

    check: str
    blocking: bool
    region: str
    endpoint: str
    found: str
    expected: str
    advice: str

    def line(self) -> str:
        where = " ".join(part for part in (self.region, self.endpoint) if part)
        place = f"{self.check} ({where})" if where else self.check
        problem = f"found {self.found}, expected {self.expected}" if self.expected else self.found
        return printable(": ".join(part for part in (place, problem, self.advice) if part))


def unanswered(check: str, region: str, error: AwsError) -> Finding:
    """The finding for a check that AWS did not answer; of the check `permission` where the caller has no permission.

    Raises:
        CredentialsError: there are no usable credentials; every check would fail alike.
    """
    if isinstance(error, CredentialsError):
        raise error
    if error.credentials or not error.denied:
        found = f"{error.operation}: {error.code} ({error.text})"
        advice = error.advice if error.credentials else "run again, since the check has no result"
        return Finding(check, True, region, "", found, "", advice)
    said = error.action
    action = said if ":" in said else f"{'route53' if error.operation in ROUTE53 else 'iot'}:{error.operation}"
    advice = "allow it in IAM (playbooks/iam_policies.yml writes the policy)"
    return Finding("permission", True, region, "", f"{action} denied ({error.text})", "", advice)


def check_waived(names: Iterable[str]) -> None:
    """Refuse names that are not names of checks.

    Raises:
        RefusedError: an unknown name; the error suggests the check that was probably meant.
    """
    for name in names:
        if name not in CHECKS:
            alike = get_close_matches(name, CHECKS, n=1, cutoff=0)
            raise RefusedError(
                f"waive: found {one_line(name)}, expected the name of a check such as {alike[0]}: correct "
                "failover_waive, the runbook lists the checks"
            )


def in_force(findings: Iterable[Finding], waived: Collection[str]) -> list[Finding]:
    """The blocking findings that are not waived, sorted by region, endpoint and check."""
    blocking = [finding for finding in findings if finding.blocking and finding.check not in waived]
    return sorted(blocking, key=lambda each: (each.region, each.endpoint, each.check, each.found))


def refuse(findings: Sequence[Finding], waived: Collection[str]) -> None:
    """Return when every blocking finding is waived.

    Raises:
        RefusedError: states the number of reasons and the first of them; the table has all.
    """
    reasons = in_force(findings, waived)
    if not reasons:
        return
    shown = "; ".join(finding.line() for finding in reasons[:LINES_IN_ERROR])
    rest = len(reasons) - LINES_IN_ERROR
    more = f"; and {rest} more" if rest > 0 else ""
    count = many(len(reasons), "reason")
    raise RefusedError(f"preflight: found {count} against this move, nothing was changed: {shown}{more}")


def table(findings: Iterable[Finding], waived: Collection[str]) -> list[str]:
    """Lines for people, one per finding: first those that block the move, then the waived ones, then notes."""
    kinds = {"refused": 0, "waived": 1, "note": 2}
    rows = [(_kind(finding, waived), finding) for finding in findings]
    rows.sort(key=lambda row: (kinds[row[0]], row[1].region, row[1].endpoint, row[1].check, row[1].found))
    return [f"{kind:<8}{finding.line()}" for kind, finding in rows]


def _kind(finding: Finding, waived: Collection[str]) -> str:
    if not finding.blocking:
        return "note"
    return "waived" if finding.check in waived else "refused"


def as_dicts(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    """The findings for JSON."""
    return [asdict(finding) for finding in findings]
