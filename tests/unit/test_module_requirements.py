"""What each Ansible module says that it needs is what it loads."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ansible.module_utils.region_switch.module import PACKAGES

from tests.imports import third_party

LIBRARY = Path(__file__).parent.parent.parent / "library"
# boto3 brings botocore; without matplotlib a report has no pictures.
LOADED = {**PACKAGES, "botocore": "boto3", "matplotlib": "matplotlib"}
# What no package of Python is.
PROGRAMS = ("openssl", "systemd 247 or newer")


def documented(path: Path) -> dict[str, object]:
    text = path.read_text(encoding="utf-8")
    found: dict[str, object] = yaml.safe_load(text.split('DOCUMENTATION = r"""', 1)[1].split('"""', 1)[0])
    return found


@pytest.mark.parametrize("path", sorted(LIBRARY.glob("[a-z]*.py")), ids=lambda path: path.stem)
def test_requirements_are_what_is_loaded(path: Path) -> None:
    loaded = {LOADED[name] for name in third_party(f"library.{path.stem}") if name in LOADED}
    requirements = documented(path).get("requirements", [])
    assert isinstance(requirements, list)
    assert [each for each in requirements if each not in PROGRAMS] == sorted(loaded)
