"""Where the files of this project are, whichever playbook runs and wherever its inventory comes from."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

# The folder of the playbooks that setup.yml and failover.yml import.
_PLAYBOOKS = "playbooks"


def project_path(path: object, playbook_dir: str) -> str:
    """Return a path as it is meant: one that is relative begins at the project's folder, and ~ is the user's.

    A module takes a relative path from the folder of the playbook, which may be that of the project or the one of the
    playbooks below it, and an inventory may be somewhere else altogether (AWX puts it into its container).

    Args:
        path: empty where none is set, which it stays.
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
