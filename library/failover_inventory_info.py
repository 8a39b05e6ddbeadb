#!/usr/bin/python
from __future__ import annotations

DOCUMENTATION = r"""
module: failover_inventory_info
short_description: Check the inventory of a fleet
description:
  - Checks that every mode of the table has an existing region for every endpoint, and the settings of DNS. Nothing is
    written. With O(caller_hint), AWS is asked who is calling; with O(setup), also for zone, regions and records.
options:
  resolvers:
    description: The recursive resolvers that a move asks, a list of addresses, each with or without a port.
    type: raw
  record_ttl:
    description: TTL of the records in seconds.
    type: raw
  hosted_zone_id:
    description: ID of the Route 53 hosted zone of the endpoints.
    type: raw
  setup:
    description:
      - If given, the requirements of set-up are checked as well, before it writes anything. Each endpoint has to be in
        the hosted zone, with a unique name as domain configuration, and without a foreign record; each region has to
        exist and to admit the caller. A region that does not answer is skipped.
      - The hosted zone has to be the one that O(resolvers) use, as far as they show. It has to be public, its own name
        servers are those that they know for it, and no endpoint is below a delegation in it. Without O(resolvers) this
        is not checked; an empty list means those of the system.
      - An endpoint that a region does not serve yet needs a server certificate of a public CA there, or a public
        certificate that proves the ownership of its name.
      - O(hosted_zone_id) and O(record_ttl) are required with it.
    type: dict
    suboptions:
      initial_mode:
        description: The mode whose regions are used for endpoints without a record.
        type: raw
        required: true
      issuing_region:
        description: The AWS Region in which client certificates are issued.
        type: raw
        required: true
      regions:
        description: The AWS Regions to set up.
        type: list
        elements: str
        required: true
      validation_certificate_arns:
        description: "Per region the ARNs of public certificates: V({region: {endpoint: ARN}})."
        type: dict
        default: {}
      server_certificate_arns:
        description: "Per region the ARNs of server certificates in ACM: V({region: {endpoint: ARN}})."
        type: dict
        default: {}
      server_certificates:
        description: Server certificates to import, as for M(server_certificates).
        type: list
        elements: dict
        default: []
        suboptions:
          endpoint:
            description: The endpoint.
            type: str
            required: true
          certificate:
            description: PEM of the certificate; its chain may follow.
            type: str
            required: true
          chain:
            description: PEM of the chain.
            type: str
          private_key:
            description: PEM of the private key, which is not used.
            type: str
            required: true
      waive:
        description: V([hosted_zone]) accepts a hosted zone that resolvers do not use.
        type: list
        elements: str
        default: []
  caller_hint:
    description:
      - If given, AWS is asked who is calling once the inventory is correct, in one region after the other, at most 8
        seconds each, until one answers. Unlike M(amazon.aws.aws_caller_info), this does not depend on one region.
      - The text is the remedy in the error when no region answers.
    type: str
extends_documentation_fragment:
  - region_switch.info
  - region_switch.mode_table
requirements: [boto3, cryptography, dnspython]
author: The maintainers of this repository
"""

EXAMPLES = r"""
- name: Check the mode table
  failover_inventory_info:
    modes: "{{ failover_modes }}"
    endpoints: "{{ iot_endpoints }}"
    regions: "{{ groups['regions'] }}"

- name: Check also the settings of DNS
  failover_inventory_info:
    modes: "{{ failover_modes }}"
    endpoints: "{{ iot_endpoints }}"
    regions: "{{ groups['regions'] }}"
    resolvers: [192.0.2.53, "[2001:db8::53]:5353"]
    record_ttl: 60
    caller_hint: Check the network and the credentials.

- name: Check also that the regions can be set up
  failover_inventory_info:
    modes: "{{ failover_modes }}"
    endpoints: "{{ iot_endpoints }}"
    regions: "{{ groups['regions'] }}"
    record_ttl: 60
    hosted_zone_id: Z0123456789ABCDEFGHIJ
    setup:
      initial_mode: "1"
      issuing_region: us-east-1
      regions: "{{ groups['regions'] }}"
"""

RETURN = r"""
modes:
  description: The mode table with all names as strings.
  returned: always
  type: dict
caller:
  description: The caller of AWS, and the region that answered.
  returned: when O(caller_hint) is given
  type: dict
  sample: {account: "123456789012", arn: "arn:aws:iam::123456789012:user/operator", region: us-east-1}
"""

from dataclasses import asdict
from typing import Any

from ansible.module_utils.region_switch.model.inventory import check, check_setup
from ansible.module_utils.region_switch.module import MODE_TABLE_SPEC, SERVER_CERTIFICATES_OPTION, run_module

ARGUMENT_SPEC: dict[str, Any] = {
    **MODE_TABLE_SPEC,
    "resolvers": {"type": "raw"},
    "record_ttl": {"type": "raw"},
    "hosted_zone_id": {"type": "raw"},
    "setup": {
        "type": "dict",
        "options": {
            "initial_mode": {"type": "raw", "required": True},
            "issuing_region": {"type": "raw", "required": True},
            "regions": {"type": "list", "elements": "str", "required": True},
            "validation_certificate_arns": {"type": "dict", "default": {}},
            "server_certificate_arns": {"type": "dict", "default": {}},
            "server_certificates": {**SERVER_CERTIFICATES_OPTION, "default": []},
            "waive": {"type": "list", "elements": "str", "default": []},
        },
    },
    "caller_hint": {"type": "str"},
}


_INVENTORY = ("modes", "endpoints", "regions", "resolvers", "record_ttl", "hosted_zone_id")
_SETUP = ("initial_mode", "issuing_region", "validation_certificate_arns", "server_certificate_arns")


def _act(parameters: dict[str, Any], _check_mode: bool) -> dict[str, Any]:
    from ansible.module_utils.region_switch.aws.caller import identify
    from ansible.module_utils.region_switch.aws.clients import Aws
    from ansible.module_utils.region_switch.checks import account, ownership

    modes = check(**{name: parameters[name] for name in _INVENTORY})
    setup = parameters["setup"]
    if setup:
        wanted = check_setup(modes, parameters["regions"], **{name: setup[name] for name in _SETUP})
        public = ownership.public_endpoints(setup["server_certificates"])
    result: dict[str, Any] = {"changed": False, "modes": modes}
    if parameters["caller_hint"] is not None:
        result["caller"] = asdict(identify(parameters["regions"], parameters["caller_hint"]))
    if setup:
        answering = account.check(
            Aws(parameters["regions"]),
            setup["regions"],
            parameters["hosted_zone_id"],
            wanted,
            int(parameters["record_ttl"]),
            parameters["resolvers"],
            setup["waive"],
        )
        own, validation = setup["server_certificate_arns"], setup["validation_certificate_arns"]
        choices = [ownership.Choice(each, own.get(each) or {}, validation.get(each) or {}) for each in answering]
        ownership.check(choices, parameters["endpoints"], public)
    return result


def main() -> None:
    run_module(ARGUMENT_SPEC, _act, required_by={"setup": ["hosted_zone_id", "record_ttl"]})


if __name__ == "__main__":
    main()
