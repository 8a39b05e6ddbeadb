"""Moving an MQTT fleet between AWS IoT Core regions: the engine of the modules in `library/`.

PRIVATE to this repository: only the modules here use it, and it changes with them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

# Packages of requirements.txt that modules import, each under the name that it is installed by.
PACKAGES = {
    "boto3": "boto3",
    "botocore": "botocore",
    "cryptography": "cryptography",
    "dns": "dnspython",
    "jinja2": "jinja2",
    "paho": "paho-mqtt",
}


class MissingPackages(MetaPathFinder):
    """Says what to install for a package that nothing else finds.

    Ansible shows an error of an import as it is, also where a module has not begun yet.
    """

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:  # noqa: ARG002 - Python's signature
        if name in PACKAGES:
            raise ModuleNotFoundError(missing(name), name=name)
        return None


def missing(name: str) -> str:
    """The line for whoever runs a Python without one of PACKAGES."""
    return (
        f"Python {sys.executable}: found no {PACKAGES[name]}, expected the packages of requirements.txt: install them "
        "for it (pip install --require-hashes -r requirements.txt), or set ansible_python_interpreter to a Python that "
        "has them"
    )


# Asked last.
sys.meta_path.append(MissingPackages())
