"""What the documentation of several modules has in common."""

from __future__ import annotations

from pathlib import Path

import ansible.module_utils
import yaml

# Ansible adds a project's module_utils to those that modules import, and not to those that its plugins do.
ansible.module_utils.__path__.append(str(Path(__file__).resolve().parents[2] / "module_utils"))

from ansible.module_utils.region_switch.model import option, options  # noqa: E402


def _documented(room: type) -> str:
    return yaml.safe_dump({"options": option.documentation(room)}, sort_keys=False)


class ModuleDocFragment:
    """Named by modules as `region_switch` and `region_switch.<fragment>`."""

    DOCUMENTATION = r"""
attributes:
  check_mode:
    description: Says what would change and changes nothing.
    support: full
  diff_mode:
    description: Shows what differs.
    support: full
"""

    INFO = r"""
attributes:
  check_mode:
    description: Changes nothing in any mode.
    support: full
  diff_mode:
    description: There is nothing that could differ.
    support: none
"""

    REGION = r"""
options:
  region:
    description:
      - AWS Region. Without it, the environment variables E(AWS_REGION) and E(AWS_DEFAULT_REGION) are read.
    type: str
    aliases: [aws_region]
"""

    STATE = r"""
options:
  state:
    description:
      - Whether it shall exist.
    type: str
    choices: [present, absent]
    default: present
"""

    SERVER_CERTIFICATES = r"""
options:
  server_certificates:
    description: Server certificates of the operator's own, imported for their endpoints; none is made for these.
    type: list
    elements: dict
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
        description: PEM of the private key.
        type: str
        required: true
"""

    INVENTORY = _documented(options.InventoryOptions)
    SCOPE = _documented(options.ScopeOptions)
    DNS = _documented(options.DnsOptions)
    DNS_WAIT = _documented(options.DnsWaitOptions)
    DISCOVERY = _documented(options.DiscoveryOptions)
    FLEET = _documented(options.FleetOptions)
    PACE = _documented(options.PaceOptions)
    CHECKS = _documented(options.CheckOptions)
    APPROVAL = _documented(options.ApprovalOptions)
    RUN = _documented(options.RunOptions)
