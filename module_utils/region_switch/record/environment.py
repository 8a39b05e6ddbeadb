"""The environment of a run, for readers of its report: versions, and the options that matter. No secrets."""

from __future__ import annotations

import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from ..model.options import Options
from . import folder

_PACKAGES = ("boto3", "botocore", "dnspython")
_GIT_TIMEOUT = 2.0
# Options that do not affect how a run behaves, or are in its plan: paths of credentials, tokens, lists of clients.
_LEFT_OUT = {
    *("mode", "modes", "endpoints", "regions", "hosted_zone_id", "name_servers", "client_ids", "client_ids_file"),
    *("endpoint_attribute", "rollback", "approve", "run_id", "pause_after_dns", "stale_devices", "reports_directory"),
    *("operator", "ca_file", "certificate_days", "probe_certificate", "probe_private_key", "mqtt_ports"),
}


def versions(reports: Path) -> dict[str, str]:
    """Return `{what: its version}` of this tool (its commit, where `reports` is in its repository) and its parts."""
    ansible = getattr(sys.modules.get("ansible"), "__version__", "")
    found = {"mqtt-region-switch": _commit(reports.resolve().parent), "ansible-core": ansible}
    found |= {"Python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}}
    return {**{name: version for name, version in found.items() if version}, "system": platform.platform(terse=True)}


def chosen(options: Options) -> dict[str, Any]:
    """Return the options that affect how a run behaves."""
    return {name: value for name, value in options.flat.items() if name not in _LEFT_OUT}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _commit(repository: Path) -> str:
    """The commit of this tool's repository, empty if `repository` is not that.

    Git runs commands from a repository's configuration: it is not called on one that others may write to.
    """
    if not (repository / "module_utils" / "region_switch").is_dir() or not folder.ours_alone(repository / ".git"):
        return ""
    command = ["git", "-C", str(repository), "rev-parse", "--short=12", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_GIT_TIMEOUT)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
