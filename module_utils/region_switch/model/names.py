"""DNS names in the form for comparison, and the region in a data endpoint's name. No I/O."""

from __future__ import annotations

import re

# https://docs.aws.amazon.com/iot/latest/developerguide/iot-connect-devices.html: account-specific-prefix-ats.iot.
# region.amazonaws.com; it never changes.
# Other partitions write prefix.ats.iot.region; suffixes, also of dual stack, as in botocore's partitions.json.
_SUFFIXES = (
    *("amazonaws.com", "api.aws", "amazonaws.com.cn", "api.amazonwebservices.com.cn", "amazonaws.eu"),
    *("api.amazonwebservices.eu", "c2s.ic.gov", "api.aws.ic.gov", "sc2s.sgov.gov", "api.aws.scloud"),
    *("cloud.adc-e.uk", "api.cloud-aws.adc-e.uk", "csp.hci.ic.gov", "api.aws.hci.ic.gov"),
)
_DATA_ENDPOINT = re.compile(rf"[^.]+([-.]ats)?\.iot(?:-fips)?\.([^.]+)\.({'|'.join(map(re.escape, _SUFFIXES))})")


def plain(name: str) -> str:
    """A DNS name in the form for comparison: lower case, no trailing dot."""
    return name.rstrip(".").lower()


def region_of(host: str) -> str | None:
    """The AWS Region in the host name of an iot:Data-ATS endpoint; None of other host names."""
    found = _DATA_ENDPOINT.fullmatch(host)
    return found[2] if found else None
