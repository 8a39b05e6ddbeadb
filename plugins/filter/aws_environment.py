"""The environment of AWS calls, with its secrets on no command line."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

_SECRET_NAME = re.compile(r"(ACCESS_KEY|SECRET|TOKEN|PASSWORD)(?!.*_(FILE|URI)$)", re.IGNORECASE)
# An address with a password in it, such as a proxy's.
_SECRET_VALUE = re.compile(r"://[^/@\s]*:[^/@\s]*@")


def handed_over(environment: Mapping[str, Any], connection: str = "local") -> dict[str, str]:
    """Return the part of an environment that may appear in a command line, for a task's `environment`.

    Ansible puts it in front of the module's command, which it shows with -vvv. Secrets are put into the environment of
    the process that works on the task, in which this filter runs: a module on this machine inherits them.

    Args:
        environment: `{name: value}`.
        connection: the host's `ansible_connection`.

    Raises:
        AnsibleFilterError: secrets for a host that inherits nothing.
    """
    values = {str(name): "" if value is None else str(value) for name, value in environment.items()}
    secrets = {name for name, value in values.items() if _SECRET_NAME.search(name) or _SECRET_VALUE.search(value)}
    if secrets and connection.rpartition(".")[2] != "local":
        raise AnsibleFilterError(
            f"aws_environment: found {', '.join(sorted(secrets))} for a host with ansible_connection {connection}, "
            "expected no secrets, which would appear in its command lines: give that host a profile or an instance role"
        )
    os.environ.update({name: values[name] for name in secrets})
    return {name: value for name, value in values.items() if name not in secrets}


class FilterModule:
    """Makes the filter known to Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"handed_over": handed_over}
