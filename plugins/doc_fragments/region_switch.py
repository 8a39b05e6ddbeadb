"""What the documentation of several modules has in common."""

from __future__ import annotations


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
