"""Lets tests import the modules' engine under the name Ansible gives it, and start programs that heed signals."""

from __future__ import annotations

import signal
from pathlib import Path

import ansible.module_utils

ansible.module_utils.__path__.append(str(Path(__file__).parent.parent / "module_utils"))

# Tests press Ctrl-C and hang up: what they start must not inherit that these are ignored, as nohup and `&` have it.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
