"""What runs on devices, and on the monitor's host, is Python 3.9's: hosts are old."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

CLIENTS = Path(__file__).parent.parent.parent.parent / "clients"
FILES = sorted(CLIENTS.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(CLIENTS)) for path in FILES])
def test_syntax_is_that_of_python_3_9(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 9))
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
    # Without it an annotation such as `str | None` fails there when the file is imported.
    assert imports or path.name == "__init__.py"
