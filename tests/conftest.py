"""Lets tests import the modules' engine under the name Ansible gives it."""

from __future__ import annotations

from pathlib import Path

import ansible.module_utils

ansible.module_utils.__path__.append(str(Path(__file__).parent.parent / "module_utils"))
