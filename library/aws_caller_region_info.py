#!/usr/bin/python
from __future__ import annotations

DOCUMENTATION = r"""
module: aws_caller_region_info
short_description: Tell who calls AWS, by the first region that answers
description:
  - Asks one region after the other for the caller's identity, 8 seconds each at most, until one answers. Unlike
    M(amazon.aws.aws_caller_info), it does not depend on any one region.
options:
  regions:
    description: The AWS Regions to ask, in this order.
    type: list
    elements: str
    required: true
  hint:
    description: What the error advises when no region answers.
    type: str
    default: Check the network and the credentials.
extends_documentation_fragment:
  - region_switch.info
requirements: [boto3]
author: The maintainers of this repository
"""

EXAMPLES = r"""
- name: Ask AWS who is calling
  aws_caller_region_info:
    regions: [us-east-1, ap-northeast-1]
"""

RETURN = r"""
account:
  description: Number of the account.
  returned: always
  type: str
  sample: "123456789012"
arn:
  description: ARN of the user or role.
  returned: always
  type: str
  sample: arn:aws:iam::123456789012:user/operator
region:
  description: The region that answered.
  returned: always
  type: str
  sample: us-east-1
"""

from dataclasses import asdict
from typing import Any

from ansible.module_utils.region_switch.caller import identify
from ansible.module_utils.region_switch.module import run_module

ARGUMENT_SPEC: dict[str, Any] = {
    "regions": {"type": "list", "elements": "str", "required": True},
    "hint": {"type": "str", "default": "Check the network and the credentials."},
}


def _act(parameters: dict[str, Any], _check_mode: bool) -> dict[str, Any]:
    return {"changed": False, **asdict(identify(parameters["regions"], parameters["hint"]))}


def main() -> None:
    run_module(ARGUMENT_SPEC, _act)


if __name__ == "__main__":
    main()
