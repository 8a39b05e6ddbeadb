"""What a run was made with, for whoever reads its report later: versions, and the options that matter. No secrets."""

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
# Options that say how a run behaved. Left out: credentials' paths, tokens, lists of clients, and what is in the plan.
_OPTIONS = (
    *("sweep", "discovery", "dns_policy", "dns_timeout", "dns_consecutive", "ttl", "resolvers", "waves"),
    *("max_stragglers", "max_in_flight", "landing_timeout", "delete_connection_rate", "subscriptions_per_client"),
    *("prevent_will_message", "clean_session", "restore", "preflight", "waive", "unmapped_clients", "source_gone"),
    *("require_approval", "approval_drift", "max_clients", "max_endpoints", "min_share", "max_share", "ledger"),
)


def versions(reports: Path) -> dict[str, str]:
    """Return `{what: its version}` of this tool (its commit, where `reports` is in its repository) and its parts."""
    ansible = getattr(sys.modules.get("ansible"), "__version__", "")
    found = {"mqtt-region-switch": _commit(reports.resolve().parent), "ansible-core": ansible}
    found |= {"Python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}}
    return {**{name: version for name, version in found.items() if version}, "system": platform.platform(terse=True)}


def chosen(options: Options) -> dict[str, Any]:
    """Return the options that say how a run behaved."""
    return {name: getattr(options, name) for name in _OPTIONS}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _commit(repository: Path) -> str:
    """The commit of this tool's repository, empty where `repository` is another one or none.

    Git runs what a repository's configuration names: one that others may write to is not asked.
    """
    if not (repository / "module_utils" / "region_switch").is_dir() or not folder.ours_alone(repository / ".git"):
        return ""
    command = ["git", "-C", str(repository), "rev-parse", "--short=12", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_GIT_TIMEOUT)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
