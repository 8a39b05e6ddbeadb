"""Documentation that several modules share."""

from __future__ import annotations

from pathlib import Path

import ansible.module_utils
import yaml

# Ansible finds a project's module_utils for modules, but not for plugins.
ansible.module_utils.__path__.append(str(Path(__file__).resolve().parents[2] / "module_utils"))

from ansible.module_utils.region_switch.model import option, options  # noqa: E402


def _documented(room: type) -> str:
    return yaml.safe_dump({"options": option.documentation(room)}, sort_keys=False)


class ModuleDocFragment:
    """Modules refer to it as `region_switch` and `region_switch.<fragment>`."""

    DOCUMENTATION = r"""
attributes:
  check_mode:
    description: Reports what would change, and changes nothing.
    support: full
  diff_mode:
    description: Shows the differences.
    support: full
"""

    INFO = r"""
attributes:
  check_mode:
    description: The module changes nothing in any mode.
    support: full
  diff_mode:
    description: The module changes nothing.
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
      - Whether it should exist.
    type: str
    choices: [present, absent]
    default: present
"""

    TIME_LIMIT = r"""
options:
  time_limit:
    description: Seconds that the controller waits for the device's answer.
    type: float
    default: 300
"""

    MODE_TABLE = r"""
options:
  modes:
    description: "The mode table: V({mode: {endpoint: AWS Region}}). Names of modes may be numbers."
    type: raw
    required: true
  endpoints:
    description: The endpoints of the inventory, a list of DNS names.
    type: raw
    required: true
  regions:
    description: The AWS Regions of the inventory, a list.
    type: raw
    required: true
"""

    SERVER_CERTIFICATES = r"""
options:
  directory:
    description: Folder of C(ca.crt), C(ca.key), C(<endpoint>.crt), C(<endpoint>.key), C(<endpoint>.csr).
    type: path
    required: true
  endpoints:
    description: The endpoints, DNS names.
    type: list
    elements: str
    required: true
  ca_certificate:
    description: PEM of a CA that the operator provides, followed by those above it; it becomes C(ca.crt).
    type: str
  ca_common_name:
    description: Common name of the CA that M(server_certificates) makes.
    type: str
    required: true
  server_certificates:
    description: Server certificates that the operator provides, which are imported; none is made for their endpoints.
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
