"""Shared by the modules in `library/`: common options, and how a module runs and returns its result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule, env_fallback, missing_required_lib

from .model.errors import SwitchError, printable

REGION_OPTION: dict[str, Any] = {
    "type": "str",
    "aliases": ["aws_region"],
    "fallback": (env_fallback, ["AWS_REGION", "AWS_DEFAULT_REGION"]),
}
SERVER_CERTIFICATES_OPTION: dict[str, Any] = {
    "type": "list",
    "elements": "dict",
    "options": {
        "endpoint": {"type": "str", "required": True},
        "certificate": {"type": "str", "required": True},
        "chain": {"type": "str"},
        "private_key": {"type": "str", "required": True, "no_log": True},
    },
}
# For the modules server_certificates and acm_server_certificates.
SERVER_CERTIFICATES_SPEC: dict[str, Any] = {
    "directory": {"type": "path", "required": True},
    "endpoints": {"type": "list", "elements": "str", "required": True},
    "ca_certificate": {"type": "str"},
    "ca_common_name": {"type": "str", "required": True},
    "server_certificates": SERVER_CERTIFICATES_OPTION,
}
# Not converted by Ansible, so that values other than text are refused.
MODE_TABLE_SPEC: dict[str, Any] = {
    name: {"type": "raw", "required": True} for name in ("modes", "endpoints", "regions")
}
STATE_OPTION: dict[str, Any] = {"type": "str", "choices": ["present", "absent"], "default": "present"}

# Packages of requirements.txt that the engine imports, each with the name that it is installed by.
PACKAGES = {
    "boto3": "boto3",
    "botocore": "botocore",
    "cryptography": "cryptography",
    "dns": "dnspython",
    "jinja2": "jinja2",
    "paho": "paho-mqtt",
}

# The keys of a result that people read; the rest is data and is returned unchanged.
_FOR_PEOPLE = ("diff", "lines", "msg")

Result = dict[str, Any]


class FailedResultError(SwitchError):
    """An error that comes with return values."""

    def __init__(self, message: str, result: Result) -> None:
        super().__init__(message)
        self.result = result


def run_module(
    argument_spec: Mapping[str, Any], action: Callable[[dict[str, Any], bool], Result], **constraints: Any
) -> None:
    """Run a module: `action(parameters, check_mode)` returns its result, at least `{"changed": bool}`.

    A SwitchError becomes the module's one-line failure, and so does a missing package, since the action itself imports
    what needs PACKAGES. A result may carry `diff`, and `warnings`, which Ansible shows.
    """
    module = AnsibleModule(argument_spec=dict(argument_spec), supports_check_mode=True, **constraints)
    try:
        result = action(module.params, bool(module.check_mode))
    except FailedResultError as error:
        module.fail_json(msg=str(error), **for_people(error.result))
    except SwitchError as error:
        module.fail_json(msg=str(error))
    except ModuleNotFoundError as error:
        module.fail_json(msg=_missing_package(error))
    else:
        for line in result.pop("warnings", []):
            module.warn(printable(line))
        module.exit_json(**for_people(result))


def _missing_package(error: ModuleNotFoundError) -> str:
    package = (error.name or "").partition(".")[0]
    if package not in PACKAGES:
        raise error
    locked = "together with the rest of requirements.txt (pip install --require-hashes -r requirements.txt)"
    return str(missing_required_lib(PACKAGES[package], locked))


def for_people(result: Mapping[str, Any]) -> Result:
    """A module's result; in the texts that Ansible shows to people, control characters are escaped."""
    return {key: _printable(value) if key in _FOR_PEOPLE else value for key, value in result.items()}


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        # Ansible shows texts of several lines, such as a policy.
        return "\n".join(printable(line) for line in value.split("\n"))
    if isinstance(value, Mapping):
        return {_printable(key): _printable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_printable(each) for each in value]
    return value


def changed(before: Any, after: Any, **found: Any) -> Result:
    """A result with these return values: changed where `before` and `after` differ, which are its diff."""
    return {"changed": before != after, **found, "diff": {"before": before, "after": after}}


def changes(current: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of `wanted` that differ from `current`; None in `wanted` keeps the current value."""
    return {key: value for key, value in wanted.items() if value is not None and current.get(key) != value}
