"""A controller without the packages of requirements.txt: each module says in one line what to install."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import ansible
import pytest
from ansible.module_utils.region_switch import PACKAGES

REPOSITORY = Path(__file__).parent.parent.parent
SITE = Path(ansible.__file__).parent.parent
# What ansible-core itself brings along.
CORE = ("ansible", "jinja2", "markupsafe", "packaging", "yaml", "_yaml")
MODULES = sorted(path.stem for path in (REPOSITORY / "library").glob("*.py"))
# These run where nothing is installed.
ON_DEVICES = {"endpoint_lookup_info", "mqtt_device_client", "mqtt_device_identity"}
IMPORTS = """
import importlib, json, sys
import ansible.module_utils
ansible.module_utils.__path__.append(sys.argv[1])
said = {}
for name in sys.argv[2:]:
    try:
        importlib.import_module(name)
        said[name] = ""
    except ModuleNotFoundError as error:
        said[name] = str(error)
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What each module says when it is loaded by a Python that has ansible-core alone; "" where nothing is wrong."""
    plain = tmp_path_factory.mktemp("plain")
    for name in CORE:
        if (SITE / name).exists():
            (plain / name).symlink_to(SITE / name)
    code = f"import sys\nsys.path[:0] = [{str(plain)!r}, {str(REPOSITORY / 'library')!r}]\n{IMPORTS}"
    command = [sys.executable, "-I", "-S", "-c", code, str(REPOSITORY / "module_utils"), *MODULES]
    found: dict[str, str] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return found


@pytest.mark.parametrize("module", MODULES)
def test_module_says_what_to_install(module: str, said: dict[str, str]) -> None:
    if module in ON_DEVICES:
        assert said[module] == ""
    elif said[module]:
        assert said[module].startswith(f"Python {sys.executable}: found no ")
        assert "pip install --require-hashes -r requirements.txt" in said[module]
        assert len(said[module].splitlines()) == 1


def test_those_that_ask_aws_cannot_do_without(said: dict[str, str]) -> None:
    assert {name for name in MODULES if name.startswith(("iot_", "failover_", "route53_"))} <= {
        name for name, line in said.items() if line
    }


def imported(path: Path) -> set[str]:
    """Packages that a file imports when it is loaded."""
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            found |= {each.name.split(".")[0] for each in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(str(node.module).split(".")[0])
    return found - sys.stdlib_module_names - {"ansible"}


def test_every_package_that_is_imported_is_known() -> None:
    # Who draws pictures does so without them, too.
    drawing = {REPOSITORY / "module_utils/region_switch/report/charts.py"}
    files = set((REPOSITORY / "module_utils").rglob("*.py")) - drawing

    assert set().union(*map(imported, files)) <= set(PACKAGES)
    locked = (REPOSITORY / "requirements.in").read_text()
    assert [package for package in PACKAGES.values() if f"\n{package}==" not in locked] == []
