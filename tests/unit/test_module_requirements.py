"""What each Ansible module says that it needs is what it loads."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.imports import third_party

LIBRARY = Path(__file__).parent.parent.parent / "library"
# By the name that Python imports; boto3 brings botocore.
PACKAGES = {
    "boto3": "boto3",
    "botocore": "boto3",
    "cryptography": "cryptography",
    "dns": "dnspython",
    "markupsafe": "markupsafe",
    "matplotlib": "matplotlib",
    "paho": "paho-mqtt",
}
# What no package of Python is.
PROGRAMS = ("openssl", "systemd 247 or newer")


def documented(path: Path) -> dict[str, object]:
    text = path.read_text(encoding="utf-8")
    found: dict[str, object] = yaml.safe_load(text.split('DOCUMENTATION = r"""', 1)[1].split('"""', 1)[0])
    return found


@pytest.mark.parametrize("path", sorted(LIBRARY.glob("[a-z]*.py")), ids=lambda path: path.stem)
def test_requirements_are_what_is_loaded(path: Path) -> None:
    loaded = {PACKAGES[name] for name in third_party(f"library.{path.stem}") if name in PACKAGES}
    requirements = documented(path).get("requirements", [])
    assert isinstance(requirements, list)
    assert [each for each in requirements if each not in PROGRAMS] == sorted(loaded)
