"""Which modules of the product and the lab import which, read from their text."""

from __future__ import annotations

import ast
from collections.abc import Iterator
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


def imported(name: str, path: Path) -> Iterator[str]:
    """The modules of MODULES that one imports, wherever in it."""
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names if each.name in MODULES)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module.removeprefix(SHIPPED)] if node.module else [])])
            for each in node.names:
                yield from [full for full in (f"{source}.{each.name}",) if full in MODULES] or [source]


IMPORTS = {name: {each for each in imported(name, path) if each in MODULES} for name, path in MODULES.items()}


def third_party(name: str) -> set[str]:
    """Packages of others, and of Python, that a module imports, by their first names; also through what it imports."""
    found: set[str] = set()
    seen: set[str] = set()
    left = {name}
    while left:
        each = left.pop()
        seen.add(each)
        for node in ast.walk(ast.parse(MODULES[each].read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                found.add(node.module.partition(".")[0])
        left |= IMPORTS[each] - seen
    return found
