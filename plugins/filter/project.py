"""Paths of this project's files, whichever playbook runs and wherever its inventory is."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

# The folder of the playbooks that setup.yml and failover.yml import.
_PLAYBOOKS = "playbooks"


def project_path(path: object, playbook_dir: str) -> str:
    """Return an absolute path: a relative one begins at the project's folder, and ~ is the user's home.

    A module resolves a relative path from the folder of the playbook, which may be that of the project or the folder
    playbooks in it, and an inventory may be in another place (AWX puts it into its container).

    Args:
        path: if empty, it stays empty.
        playbook_dir: Ansible's variable of this name.
    """
    text = "" if path is None else str(path)
    if not text:
        return ""
    folder = Path(playbook_dir)
    project = folder.parent if folder.name == _PLAYBOOKS else folder
    return os.path.normpath(project / Path(text).expanduser())


class FilterModule:
    """Makes the filter known to Ansible."""

    def filters(self) -> dict[str, Callable[..., str]]:
        return {"project_path": project_path}
