"""Which modules of the product and the lab import which, read from their text."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent
# What Ansible calls the packages in `module_utils` where it runs a module.
SHIPPED = "ansible.module_utils."
# Folder of packages: the packages in it that are ours.
PACKAGES = {
    "module_utils": ("region_switch", "mqtt_device"),
    "clients": ("mqtt_fleet", "mqtt_monitor"),
    ".": ("lab", "library"),
}


def modules() -> dict[str, Path]:
    """`{dotted name: file}` of the product and the lab."""
    found = {}
    for folder, packages in PACKAGES.items():
        for package in packages:
            for path in sorted((REPOSITORY / folder / package).rglob("*.py")):
                parts = path.relative_to(REPOSITORY / folder).with_suffix("").parts
                found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


@cache
def statements(name: str) -> list[ast.Import | ast.ImportFrom]:
    """The imports of a module, wherever in it."""
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]


def imported(name: str) -> Iterator[str]:
    """What a module imports, by dotted names: of MODULES as far as it is there."""
    package = name.split(".") if MODULES[name].name == "__init__.py" else name.split(".")[:-1]
    for node in statements(name):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        else:
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module.removeprefix(SHIPPED)] if node.module else [])])
            named = (f"{source}.{each.name}" for each in node.names)
            yield from (each if each in MODULES else source for each in named)


IMPORTS = {name: {each for each in imported(name) if each in MODULES} for name in MODULES}


def third_party(name: str) -> set[str]:
    """Packages of others, and of Python, that a module imports, by their first names; also through what it imports."""
    found: set[str] = set()
    seen: set[str] = set()
    left = {name}
    while left:
        each = left.pop()
        seen.add(each)
        for node in statements(each):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif not node.level and node.module:
                found.add(node.module.partition(".")[0])
        left |= IMPORTS[each] - seen
    return found
