"""A controller without the packages of requirements.txt: each module says in one line what to install."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import ansible
import pytest
from ansible.module_utils.region_switch.module import PACKAGES

from .test_module_requirements import documented

REPOSITORY = Path(__file__).parent.parent.parent
SITE = Path(ansible.__file__).parent.parent
# What ansible-core itself brings along.
CORE = ("ansible", "jinja2", "markupsafe", "packaging", "yaml", "_yaml")
LIBRARY = REPOSITORY / "library"
MODULES = sorted(path.stem for path in LIBRARY.glob("*.py"))
NEEDY = {
    name for name in MODULES if set(PACKAGES.values()) & set(documented(LIBRARY / f"{name}.py").get("requirements", []))
}
# Loads the modules, and runs those that need a package, with a value for each option.
RUNS = """
import contextlib, importlib, io, json, sys
import ansible.module_utils
from ansible.module_utils import testing
ansible.module_utils.__path__.append(sys.argv[1])
needy, others = json.loads(sys.argv[2])

def value(option):
    if "choices" in option:
        return option["choices"][0]
    if option["type"] == "dict":
        return values(option.get("options", {}))
    return {"list": [], "bool": False, "int": 1, "float": 1}.get(option["type"], "some text")

def values(options):
    return {name: value(option) for name, option in options.items()}

def said(name):
    module, printed = importlib.import_module(name), io.StringIO()
    arguments = testing.patch_module_args(values(module.ARGUMENT_SPEC))
    with arguments, contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        module.main()
    return json.loads(printed.getvalue())

for name in others:
    importlib.import_module(name)
print(json.dumps({name: said(name) for name in needy}))
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    """The results of the modules in a Python that has ansible-core alone."""
    plain = tmp_path_factory.mktemp("plain")
    for name in CORE:
        if (SITE / name).exists():
            (plain / name).symlink_to(SITE / name)
    code = f"import sys\nsys.path[:0] = [{str(plain)!r}, {str(LIBRARY)!r}]\n{RUNS}"
    names = json.dumps([sorted(NEEDY), sorted(set(MODULES) - NEEDY)])
    command = [sys.executable, "-I", "-S", "-c", code, str(REPOSITORY / "module_utils"), names]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    found: dict[str, dict[str, object]] = json.loads(ended.stdout)
    return found


@pytest.mark.parametrize("module", sorted(NEEDY))
def test_module_says_what_to_install(module: str, said: dict[str, dict[str, object]]) -> None:
    result = said[module]
    line = str(result["msg"])

    assert result["failed"] is True
    assert "exception" not in result
    assert line.startswith("Failed to import the required Python library (")
    assert f"'s Python {sys.executable}." in line
    assert "pip install --require-hashes -r requirements.txt" in line
    assert len(line.splitlines()) == 1


def test_those_that_ask_aws_cannot_do_without() -> None:
    assert {name for name in MODULES if name.startswith(("iot_", "failover_", "route53_"))} <= NEEDY


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
