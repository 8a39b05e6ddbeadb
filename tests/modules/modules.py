"""Runs a module of `library/` in this process, as Ansible does."""

from __future__ import annotations

import importlib
import io
import json
from contextlib import redirect_stdout
from typing import Any
from unittest import mock

from ansible.module_utils import _internal
from ansible.module_utils.common import warnings
from ansible.module_utils.testing import patch_module_args

from .conftest import AwsApi


def run(name: str, parameters: dict[str, Any], check: bool = False) -> dict[str, Any]:
    """Run the module and return what it printed: its result, with `failed` where it did."""
    arguments = {**parameters, "_ansible_check_mode": check, "_ansible_diff": True}
    printed = io.StringIO()
    module = importlib.import_module(name)
    # A process runs one module; here, those of the runs before would be shown again.
    warnings._global_warnings.clear()
    # Where another test has loaded Ansible's own side, warnings would go to its screen.
    on_a_host = mock.patch.object(_internal, "is_controller", False)
    with on_a_host, patch_module_args(arguments), redirect_stdout(printed):
        try:
            module.main()
        except SystemExit:
            pass
        else:
            raise AssertionError(f"{name} ended without a result")
    result: dict[str, Any] = json.loads(printed.getvalue().splitlines()[-1])
    return result


def run_ok(name: str, parameters: dict[str, Any], check: bool = False) -> dict[str, Any]:
    result = run(name, parameters, check)
    assert not result.get("failed"), result["msg"]
    return result


def error_of(name: str, parameters: dict[str, Any]) -> str:
    """The one line with which the module fails."""
    result = run(name, parameters)
    assert result.get("failed"), result
    assert "\n" not in result["msg"]
    assert "Traceback" not in json.dumps(result)
    return str(result["msg"])


def last_request(aws_api: AwsApi) -> int:
    """The number of the newest request that the stand-in logged."""
    requests = aws_api.requests()
    return int(requests[-1]["n"]) if requests else 0
