"""The Jinja of prompt files: it looks at a sample's fields, decides and loops, and can do nothing else.

Prompt files are passed around like data, so they are read like data. Jinja's own sandbox hides Python's inner
attributes; what it leaves is taken away here: calls, assignments, macros and includes, texts and loops without bound.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from jinja2 import Environment, StrictUndefined, nodes, pass_environment
from jinja2.exceptions import SecurityError
from jinja2.sandbox import SandboxedEnvironment

from kosmos_eval.data.files import MAX_TEXT

MARKS = {"\ue000", "\ue001"}
MAX_ROUNDS = 10_000
"""So many rounds all loops of one text may go together."""
MAX_NESTED = 2
"""Loops within loops."""

_ALLOWED = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.If, nodes.For, nodes.CondExpr,
    nodes.Filter, nodes.Test, nodes.Getattr, nodes.Getitem, nodes.Slice, nodes.Compare, nodes.Operand, nodes.And,
    nodes.Or, nodes.Not, nodes.List, nodes.Tuple, nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod,
    nodes.Neg, nodes.Pos, nodes.Concat, nodes.Keyword,
)  # fmt: skip
_FILTERS = (
    "abs", "capitalize", "count", "d", "default", "dictsort", "first", "float", "int", "items", "last", "length",
    "list", "lower", "map", "max", "min", "reject", "rejectattr", "reverse", "select", "selectattr", "sort", "string",
    "title", "trim", "truncate", "unique", "upper", "wordcount",
)  # fmt: skip
"""Jinja's filters that give no more than they take."""


class PromptEnvironment(SandboxedEnvironment):
    """Compiles the texts of prompt files. Raises SecurityError for what a prompt may not do."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%"})
    rounds = 0
    """Rounds that the loops of this rendering have gone; whoever renders sets it back."""

    def __init__(self) -> None:
        super().__init__(undefined=StrictUndefined, autoescape=False, keep_trailing_newline=False)
        self.globals.clear()
        self.filters = {name: self.filters[name] for name in _FILTERS}
        self.filters |= {"join": _join, "replace": _replace, "_counted": _counted}

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Arithmetic, of numbers: a text times a number has no bound."""
        if not (isinstance(left, (int, float)) and isinstance(right, (int, float))):
            raise SecurityError(f"`{operator}` is for numbers; texts are joined by `~`")
        return super().call_binop(context, operator, left, right)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        if len(source) > MAX_TEXT:
            raise SecurityError(f"has {len(source)} characters, more than a prompt's text may have ({MAX_TEXT})")
        if MARKS & set(source):
            raise SecurityError("holds U+E000 or U+E001, which mark the places of inserted values")
        tree = super()._parse(source, name, filename)
        _bounded(tree, 0)
        return tree


def _bounded(node: nodes.Node, loops: int) -> None:
    """Refuses what is not allowed below a node, has loops counted and texts joined within bounds."""
    for name, value in node.iter_fields():
        if isinstance(value, nodes.Node):
            setattr(node, name, _checked(value, loops))
        elif isinstance(value, list):
            setattr(node, name, [_checked(v, loops) if isinstance(v, nodes.Node) else v for v in value])


def _checked(node: nodes.Node, loops: int) -> nodes.Node:
    kind = type(node).__name__.lower()
    if not isinstance(node, _ALLOWED):
        hint = "; use a filter, such as `| upper`" if isinstance(node, nodes.Call) else ""
        raise SecurityError(f"line {node.lineno}: {kind!r} is not allowed in a prompt{hint}")
    if isinstance(node, nodes.For):
        loops += 1
        if node.recursive or loops > MAX_NESTED:
            raise SecurityError(f"line {node.lineno}: loops may be {MAX_NESTED} deep and not recursive")
    _bounded(node, loops)
    if isinstance(node, nodes.For):
        node.iter = _filtered(node.iter, "_counted")
    return _filtered(nodes.List(node.nodes, lineno=node.lineno), "join") if isinstance(node, nodes.Concat) else node


def _filtered(node: nodes.Node, name: str) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


@pass_environment
def _counted(environment: Environment, values: Iterable[Any]) -> Iterator[Any]:
    """The values of a loop, for as long as the rounds last."""
    assert isinstance(environment, PromptEnvironment)
    for value in values:
        environment.rounds += 1
        if environment.rounds > MAX_ROUNDS:
            raise SecurityError(f"loops go more than {MAX_ROUNDS} rounds")
        yield value


def _join(values: Iterable[Any], separator: str = "") -> str:
    texts = [str(value) for value in values]
    _within(sum(map(len, texts)) + len(texts) * len(separator))
    return separator.join(texts)


def _replace(text: Any, old: str, new: str) -> str:
    text = str(text)
    _within(len(text) + text.count(old) * len(new))
    return text.replace(old, new)


def _within(length: int) -> None:
    if length > MAX_TEXT:
        raise SecurityError(f"a text of {length} characters, more than one may have ({MAX_TEXT})")
