"""Run a command in a control group of the lab: `python -m lab.launch GROUP COMMAND…`.

The command takes this process's place, so its supervisor's signals reach it.
"""

from __future__ import annotations

import os
import sys

from lab import cgroup
from lab.errors import LabError


def main(arguments: list[str]) -> None:
    """Join the group and become the command."""
    group, *command = arguments
    try:
        cgroup.join(group)
    except LabError as error:
        sys.exit(f"lab: {error}")
    os.execvp(command[0], command)  # noqa: S606 - the whole point; no shell is involved


if __name__ == "__main__":
    main(sys.argv[1:])
