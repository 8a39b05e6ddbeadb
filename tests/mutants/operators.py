"""Which mutants are made: operators of Cosmic Ray, and the few that it lacks."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from cosmic_ray.ast import Visitor, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Example, Operator
from cosmic_ray.plugins import get_operator
from parso.python.tree import Name
from parso.tree import NodeOrLeaf

# Of the replacements of an operator, those that shift a bound or turn the sense: the rest die of these tests too.
OF_COSMIC_RAY = (
    *(f"ReplaceBinaryOperator_{swap}" for swap in ("Add_Sub", "Sub_Add", "Mul_Div", "Div_Mul", "Mod_Mul")),
    *(f"ReplaceBinaryOperator_{swap}" for swap in ("BitOr_BitAnd", "BitAnd_BitOr", "FloorDiv_Mul")),
    *(f"ReplaceComparisonOperator_{swap}" for swap in ("Eq_NotEq", "NotEq_Eq", "Is_IsNot", "IsNot_Is")),
    *(f"ReplaceComparisonOperator_{swap}" for swap in ("Lt_LtE", "Lt_GtE", "LtE_Lt", "LtE_Gt")),
    *(f"ReplaceComparisonOperator_{swap}" for swap in ("Gt_GtE", "Gt_LtE", "GtE_Gt", "GtE_Lt")),
    *("ReplaceUnaryOperator_Delete_Not", "ReplaceUnaryOperator_Delete_USub", "ReplaceUnaryOperator_Delete_Invert"),
    *("ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "ReplaceAndWithOr", "ReplaceOrWithAnd", "NumberReplacer"),
    *("ReplaceBreakWithContinue", "ReplaceContinueWithBreak", "RemoveDecorator", "ZeroIterationForLoop"),
)


class SwapNames(Operator):
    """Takes the other one of two functions: the largest for the smallest, any for all."""

    OTHER = {"min": "max", "max": "min", "any": "all", "all": "any"}  # noqa: RUF012

    def mutation_positions(self, node: NodeOrLeaf) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
        following = node.get_next_leaf() if node.type == "name" else None
        called = following is not None and following.type == "operator" and following.value == "("
        if called and node.value in self.OTHER:
            yield node.start_pos, node.end_pos

    def mutate(self, node: NodeOrLeaf, index: int) -> NodeOrLeaf:  # noqa: ARG002 - Cosmic Ray's shape
        node.value = self.OTHER[node.value]
        return node

    @classmethod
    def examples(cls) -> Sequence[Example]:
        return (Example("min(1, 2)", "max(1, 2)"),)


class RemoveStatement(Operator):
    """Leaves out a statement that only has an effect: a call, an assignment to what lives on, a raise."""

    def mutation_positions(self, node: NodeOrLeaf) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
        if node.type == "simple_stmt" and _has_effect(node.children[0]) and not _initializes(node):
            yield node.start_pos, node.end_pos

    def mutate(self, node: NodeOrLeaf, index: int) -> NodeOrLeaf:  # noqa: ARG002 - Cosmic Ray's shape
        first = node.get_first_leaf()
        return Name("pass\n", first.start_pos, first.prefix)

    @classmethod
    def examples(cls) -> Sequence[Example]:
        return (Example("call()\n", "pass\n"),)


class SettleCondition(Operator):
    """Takes a condition for true, then for false."""

    def mutation_positions(self, node: NodeOrLeaf) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
        for condition in _conditions(node):
            yield condition.start_pos, condition.end_pos
            yield condition.start_pos, condition.end_pos

    def mutate(self, node: NodeOrLeaf, index: int) -> NodeOrLeaf:
        place, settled = divmod(index, 2)
        condition = _conditions(node)[place]
        _replace(condition, "False" if settled else "True")
        return node

    @classmethod
    def examples(cls) -> Sequence[Example]:
        return (Example("if x: pass", "if True: pass"), Example("if x: pass", "if False: pass", occurrence=1))


class CatchOther(Operator):
    """Catches what is never raised, for each exception caught; Cosmic Ray's own operator fails at dotted names."""

    def mutation_positions(self, node: NodeOrLeaf) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
        for caught in _caught(node):
            yield caught.start_pos, caught.end_pos

    def mutate(self, node: NodeOrLeaf, index: int) -> NodeOrLeaf:
        _replace(_caught(node)[index], "StopAsyncIteration")
        return node

    @classmethod
    def examples(cls) -> Sequence[Example]:
        return (Example("try: pass\nexcept a.B: pass", "try: pass\nexcept StopAsyncIteration: pass"),)


OWN = (SwapNames, RemoveStatement, SettleCondition, CatchOther)


def mutants(source: str) -> Iterator[str]:
    """Yield the mutated sources, each once; only those that mean something else to a test."""
    operators = [get_operator(f"core/{name}")() for name in OF_COSMIC_RAY] + [operator() for operator in OWN]
    seen = {_meaning(source)}
    for operator in operators:
        for occurrence in range(_count(source, operator)):
            mutated = mutate_code(source, operator, occurrence)
            meaning = mutated and _meaning(mutated)
            if mutated and meaning and meaning not in seen:
                seen.add(meaning)
                yield mutated


class _Counter(Visitor):  # type: ignore[misc]
    def __init__(self, operator: Operator) -> None:
        self.operator = operator
        self.count = 0

    def visit(self, node: NodeOrLeaf) -> NodeOrLeaf:
        self.count += len(list(self.operator.mutation_positions(node)))
        return node


def _count(source: str, operator: Operator) -> int:
    counter = _Counter(operator)
    counter.walk(get_ast(source))
    return counter.count


def _replace(node: NodeOrLeaf, text: str) -> None:
    first = node.get_first_leaf()
    siblings = node.parent.children
    siblings[siblings.index(node)] = Name(text, first.start_pos, first.prefix)


def _has_effect(statement: NodeOrLeaf) -> bool:
    if statement.type == "expr_stmt":
        target, assigned = statement.children[:2]
        # A name alone is the function's own; one that is only annotated is not even that.
        augmented = assigned.type == "operator" and assigned.value not in {"=", ":"}
        return augmented or target.type in {"atom_expr", "power"}
    called = statement.type in {"atom_expr", "power"} and statement.get_last_leaf().value == ")"
    return called or statement.type in {"raise_stmt", "yield_expr"}


def _initializes(statement: NodeOrLeaf) -> bool:
    """Say whether it stores an argument of `__init__`, which no test does without."""
    function = statement.search_ancestor("funcdef")
    return function is not None and function.name.value == "__init__" and statement.children[0].type == "expr_stmt"


def _caught(node: NodeOrLeaf) -> list[NodeOrLeaf]:
    """Return each exception that an `except` clause names."""
    if node.type != "except_clause":
        return []
    named = node.children[1]
    if named.type != "atom":
        return [named]
    inner = named.children[1]
    return [child for child in inner.children if child.type != "operator"] if inner.type == "testlist_comp" else [inner]


def _conditions(node: NodeOrLeaf) -> list[NodeOrLeaf]:
    if node.type == "if_stmt":
        words = [child for child in node.children if child.type == "keyword" and child.value in {"if", "elif"}]
        return [node.children[node.children.index(word) + 1] for word in words]
    if node.type in {"ternary", "test"}:
        return [node.children[2]]
    if node.type in {"comp_if", "sync_comp_if"}:
        return [node.children[1]]
    return []


class _Plain(ast.NodeTransformer):
    """Leaves out what mypy checks, and no test has to: annotations, and that dataclasses are frozen or have slots."""

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        for decorator in node.decorator_list:
            if isinstance(decorator, ast.Call):
                decorator.keywords = [each for each in decorator.keywords if each.arg not in {"frozen", "slots"}]
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)


def _meaning(source: str) -> str | None:
    """Return what tells one program from another, None for what is no program."""
    try:
        return ast.dump(_Plain().visit(ast.parse(source)))
    except SyntaxError:
        return None
