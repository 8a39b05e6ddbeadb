"""Request quotas that are enforced, as token buckets.

Source: AWS General Reference, "AWS IoT Core endpoints and quotas" and "ACM endpoints and quotas".
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from lab.aws_api import service_quotas

# Per account and region; requests a second.
RATES = {
    # https://docs.aws.amazon.com/acm/latest/userguide/acm-limits.html
    ("acm", "ImportCertificate"): 1.0,
    ("iot-data", "DeleteConnection"): 100.0,
    ("iot-data", "GetConnection"): 100.0,
    # https://docs.aws.amazon.com/general/latest/gr/iot_device_management.html
    ("iot", "SearchIndex"): 15.0,
    ("iot", "DescribeEndpoint"): 10.0,
    ("iot", "CreateDomainConfiguration"): 1.0,
    ("iot", "DescribeDomainConfiguration"): 10.0,
    ("iot", "UpdateDomainConfiguration"): 10.0,
    ("iot", "DeleteDomainConfiguration"): 10.0,
    ("iot", "RegisterCertificateWithoutCA"): 10.0,
    ("iot", "UpdateCertificate"): 10.0,
    ("iot", "AttachPolicy"): 15.0,
}
# The other operations of the control plane, which `Settings.every_quota` puts in force: a second one where the Regions
# of service_quotas.SELECT_REGIONS have a lower default.
# https://docs.aws.amazon.com/general/latest/gr/iot-core.html ("AWS IoT Core API throttling limits"),
# https://docs.aws.amazon.com/general/latest/gr/iot_device_management.html ("fleet indexing API limits"),
# https://docs.aws.amazon.com/acm/latest/userguide/acm-limits.html ("API rate quotas") and
# https://docs.aws.amazon.com/general/latest/gr/servicequotas.html.
OTHER_RATES: dict[tuple[str, str], tuple[float, float]] = {
    **{
        (service, operation): (rate, rate)
        for service, rate, operations in (
            ("iot", 1.0, "UpdateIndexingConfiguration"),
            (
                "iot",
                10.0,
                "CreateKeysAndCertificate CreatePolicy CreatePolicyVersion DeleteCertificate DeletePolicy "
                "DeletePolicyVersion DescribeCACertificate DescribeCertificate DescribeIndex GetPolicy "
                "ListCACertificates ListCertificates ListDomainConfigurations ListPolicies ListPolicyPrincipals "
                "ListPolicyVersions ListPrincipalThings ListTargetsForPolicy ListThingTypes ListThings "
                "RegisterCACertificate RegisterCertificate SetDefaultPolicyVersion",
            ),
            (
                "iot",
                15.0,
                "AttachPrincipalPolicy CreateCertificateFromCsr CreateThingType DetachPolicy DetachPrincipalPolicy "
                "GetPolicyVersion GetStatistics ListAttachedPolicies ListPrincipalPolicies",
            ),
            ("iot", 20.0, "GetIndexingConfiguration ListThingPrincipals"),
            ("iot", 350.0, "DescribeThing"),
            ("acm", 5.0, "AddTagsToCertificate RemoveTagsFromCertificate RequestCertificate"),
            ("acm", 8.0, "ListCertificates"),
            ("acm", 10.0, "DeleteCertificate DescribeCertificate GetCertificate ListTagsForCertificate"),
            ("service-quotas", 5.0, "GetServiceQuota"),
            ("service-quotas", 10.0, "ListServiceQuotas"),
        )
        for operation in operations.split()
    },
    **{
        ("iot", operation): (100.0, 50.0)
        for operation in (
            "AttachThingPrincipal", "CreateThing", "DeleteThing", "DescribeThingType", "DetachThingPrincipal",
            "UpdateThing",
        )
    },
}  # fmt: skip
# Per client ID besides; requests a second.
CLIENT_RATE = 1.0
PER_CLIENT = ("DeleteConnection", "GetConnection")


def default_rate(service: str, operation: str, region: str, *, every: bool = True) -> float | None:
    """Return AWS's default quota in requests a second, None where there is none; `every`: OTHER_RATES as well."""
    if (rate := RATES.get((service, operation))) is not None or not every:
        return rate
    usual, select = OTHER_RATES.get((service, operation), (None, None))
    return select if region in service_quotas.SELECT_REGIONS else usual


# At the broker: MQTT's CONNECT and each topic filter of a SUBSCRIBE, an account, and CONNECT a client ID.
CONNECT, SUBSCRIBE, CONNECT_PER_CLIENT = "Connect", "Subscribe", "ConnectPerClientId"


def broker_rates(region: str, allowed: Mapping[str, float]) -> dict[str, float]:
    """Return what a region's broker enforces, a second; `allowed` is in the place of AWS's defaults."""
    defaults = {
        CONNECT: service_quotas.default(service_quotas.CONNECT, region),
        SUBSCRIBE: service_quotas.default(service_quotas.SUBSCRIBE, region),
        CONNECT_PER_CLIENT: CLIENT_RATE,
    }
    return {name: allowed.get(name, rate) for name, rate in defaults.items()}


@dataclass
class Bucket:
    """A token bucket that holds one second's worth of tokens.

    Attributes:
        rate: tokens a second, and how many it holds (one at least).
        tokens: what is in it at `updated`, seconds of a monotonic clock.
    """

    rate: float
    updated: float
    tokens: float = field(default=-1.0)

    def __post_init__(self) -> None:
        if self.tokens < 0:
            self.tokens = self.capacity

    @property
    def capacity(self) -> float:
        return max(self.rate, 1.0)

    def take(self, now: float) -> bool:
        """Take one token if there is one."""
        self.tokens = min(self.capacity, self.tokens + (now - self.updated) * self.rate)
        self.updated = now
        if self.tokens < 1.0:
            return False
        self.tokens -= 1.0
        return True


class Quotas:
    """The buckets of one account, by region, operation and, where AWS counts so, client ID."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: dict[tuple[str, ...], Bucket] = {}

    def exceeded(
        self,
        service: str,
        operation: str,
        region: str,
        client_id: str | None = None,
        allowed: float | None = None,
        *,
        every: bool = True,
    ) -> str | None:
        """Count a request and say which quota it exceeds, or None.

        Args:
            allowed: in the place of AWS's default.
            every: whether OTHER_RATES are in force.
        """
        with self._lock:
            rate = default_rate(service, operation, region, every=every) if allowed is None else allowed
            if rate is not None and not self._take((service, operation, region), rate):
                return f"{operation}: Rate exceeded ({rate:g} requests per second in {region})"
            if client_id is not None and operation in PER_CLIENT:
                key = (service, operation, region, client_id)
                if not self._take(key, CLIENT_RATE):
                    return f"{operation}: Rate exceeded ({CLIENT_RATE:g} request per second for one client ID)"
        return None

    def reset(self) -> None:
        with self._lock:
            self._buckets.clear()

    def _take(self, key: tuple[str, ...], rate: float) -> bool:
        now = self._clock()
        bucket = self._buckets.setdefault(key, Bucket(rate, now))
        bucket.rate = rate
        return bucket.take(now)
