#!/usr/bin/python
from __future__ import annotations

DOCUMENTATION = r"""
module: iot_readiness_info
short_description: Check whether every region is ready for its endpoints in every mode
description:
  - Runs the checks of a move for all modes at once, so that a region that would refuse devices is known before it is
    needed.
  - Nothing is changed. The permissions to disconnect clients and to change records are checked by requests that AWS has
    to refuse; they appear in AWS's logs, with errors.
options:
  default_endpoint:
    description: The endpoint of things that name none; if empty, they belong to no endpoint.
    type: str
    default: ""
  certificate_days:
    description: A server certificate that expires within so many days blocks a move.
    type: float
    default: 14
  ledger:
    description:
      - SQLite ledger that the fleet's monitor writes. A note says so where no monitor keeps it, or the path is empty.
    type: path
extends_documentation_fragment:
  - region_switch.info
  - region_switch.inventory
  - region_switch.dns
  - region_switch.discovery
  - region_switch.checks
requirements: [boto3, cryptography, dnspython, paho-mqtt]
author: The maintainers of this repository
"""

EXAMPLES = r"""
- name: Check whether both regions are ready
  iot_readiness_info:
    modes:
      "1": {mqtt1.example.com: us-east-1}
      "3": {mqtt1.example.com: ap-northeast-1}
    endpoints: [mqtt1.example.com]
    regions: [us-east-1, ap-northeast-1]
    hosted_zone_id: Z0123456789EXAMPLE
    ca_file: certs/production/ca.crt
  register: readiness
"""

RETURN = r"""
ready:
  description: Whether no finding blocks a move, except waived ones.
  returned: always
  type: bool
findings:
  description: The findings of all checks.
  returned: always
  type: list
  elements: dict
  sample:
    - check: domain_configuration
      blocking: true
      region: ap-northeast-1
      endpoint: mqtt1.example.com
      found: DISABLED
      expected: ENABLED
      advice: run setup.yml --limit ap-northeast-1, or enable it there
lines:
  description: The findings for people, blocking ones first.
  returned: always
  type: list
  elements: str
reasons:
  description: Number of findings that block a move.
  returned: always
  type: int
checked_at:
  description: Time of the checks, ISO 8601 in UTC.
  returned: always
  type: str
"""

from datetime import UTC, datetime
from typing import Any

from ansible.module_utils.region_switch.model import findings, modes
from ansible.module_utils.region_switch.model.option import argument_spec, given
from ansible.module_utils.region_switch.model.options import (
    CheckOptions,
    DiscoveryOptions,
    DnsOptions,
    FleetOptions,
    InventoryOptions,
)
from ansible.module_utils.region_switch.module import run_module
from ansible.module_utils.region_switch.record import ledger_state

ARGUMENT_SPEC: dict[str, Any] = {
    **argument_spec(InventoryOptions, DnsOptions, DiscoveryOptions, CheckOptions),
    "default_endpoint": {"type": "str", "default": ""},
    "certificate_days": {"type": "float", "default": 14},
    "ledger": {"type": "path"},
}


def _act(parameters: dict[str, Any], _check_mode: bool) -> dict[str, Any]:
    from ansible.module_utils.region_switch.aws.clients import Aws
    from ansible.module_utils.region_switch.checks import readiness
    from ansible.module_utils.region_switch.checks.preflight import PreflightOptions
    from ansible.module_utils.region_switch.dns import methods
    from ansible.module_utils.region_switch.fleet import sources

    findings.check_waived(parameters["waive"])
    table = modes.normalise(parameters["modes"], parameters["endpoints"], parameters["regions"])
    options = PreflightOptions(
        given(DnsOptions, parameters),
        given(CheckOptions, parameters),
        sources.chosen(given(FleetOptions, parameters), parameters["default_endpoint"]),
    )
    now = datetime.now(UTC)
    aws = Aws(parameters["regions"])
    dns = methods.method(aws, parameters["hosted_zone_id"])
    found = readiness.assess(aws, dns, options, table, parameters["name_servers"])
    found += ledger_state.unkept(parameters["ledger"], now.timestamp())
    reasons = len(findings.in_force(found, parameters["waive"]))
    return {
        "changed": False,
        "ready": not reasons,
        "findings": findings.as_dicts(found),
        "lines": findings.table(found, parameters["waive"]),
        "reasons": reasons,
        "checked_at": now.isoformat(timespec="seconds"),
    }


def main() -> None:
    run_module(ARGUMENT_SPEC, _act, required_together=[("probe_certificate", "probe_private_key")])


if __name__ == "__main__":
    main()
