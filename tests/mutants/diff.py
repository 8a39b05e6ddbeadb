"""What a mutant changes, in words that stay true while the lines around it move. No I/O."""

from __future__ import annotations

import ast
import difflib


def describe(source: str, mutant: str) -> dict[str, str]:
    """Return `{"where": function, "old": its lines, "new": what stands for them}`, with single blanks."""
    before, after = source.splitlines(), mutant.splitlines()
    blocks = difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
    changed = [block for block in blocks if block[0] != "equal"]
    start, end = changed[0][1], changed[-1][2]
    old = " ".join(before[start:end])
    new = " ".join(after[changed[0][3] : changed[-1][4]])
    return {"where": _function(source, end), "old": _single(old), "new": _single(new)}


def _single(text: str) -> str:
    return " ".join(text.split()).replace("( ", "(").replace("[ ", "[")


def _function(source: str, line: int) -> str:
    """Return the qualified name of the innermost function or class around a line; empty at the top."""
    names: list[str] = []
    body = ast.parse(source).body
    while True:
        around = next((node for node in body if _first_line(node) <= line <= (node.end_lineno or 0)), None)
        if not isinstance(around, ast.ClassDef | ast.FunctionDef):
            return ".".join(names)
        names.append(around.name)
        body = around.body


def _first_line(node: ast.stmt) -> int:
    return min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))])
