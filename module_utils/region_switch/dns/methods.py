"""The registry of DNS methods."""

from __future__ import annotations

import time

from ..aws.clients import Aws
from .method import Clock, DnsMethod, Sleep
from .route53_cname import Route53Cname

# Each is constructed with the AWS clients, the ID of the hosted zone, a monotonic clock and a sleep.
METHODS = {"route53_cname": Route53Cname}
DEFAULT = "route53_cname"


def method(aws: Aws, hosted_zone_id: str, clock: Clock = time.monotonic, sleep: Sleep = time.sleep) -> DnsMethod:
    """The method of the endpoints in a hosted zone."""
    return METHODS[DEFAULT](aws, hosted_zone_id, clock, sleep)
