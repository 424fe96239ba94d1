"""What stands beside a function: the implementations registered with it (singledispatch), and its overloads. Pure."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from agentnb.context.static.definitions import Entry, FileDefinitions
from agentnb.context.static.name_usage import FunctionNode, dotted

NAMED_BESIDE = re.compile(r"([^\W\d]\w*(?:\.[^\W\d]\w*)*)\[[^\[\]]{1,200}\]\Z")
"""`area[Circle]`, an implementation that has no name of its own, and `area[overload]`."""
_DISPATCHING = re.compile(r"^[ \t]*@(?:\w+\.)*singledispatch(?:method)?\b", re.MULTILINE)


def registration(node: FunctionNode, *, method: bool) -> tuple[str, str]:
    """(what a function is registered with, for which types) by its decorators; empty texts for any other function."""
    written = [(dotted(item).removesuffix("()"), item) for item in node.decorator_list]
    found = [(name.removesuffix(".register"), item) for name, item in written if name.endswith(".register")]
    kinds = [kind for _, item in found if (kind := _types(_dispatched_on(node, item, method=method)))]
    return (found[0][0], ", ".join(kinds)) if kinds else ("", "")


def _dispatched_on(node: FunctionNode, decorator: ast.expr, *, method: bool) -> ast.AST | None:
    """What says the type: the decorator's argument, or else the annotation of the first parameter."""
    if isinstance(decorator, ast.Call) and decorator.args:
        return decorator.args[0]
    parameters = [*node.args.posonlyargs, *node.args.args][1 if method else 0 :]
    return parameters[0].annotation if parameters else None


def _types(node: ast.AST | None) -> str:
    """Types by the last part of their names: `int | ndarray`. A text is a name, as `app.register("area")` has it."""
    match node:
        case ast.BinOp(op=ast.BitOr()):
            return f"{_types(node.left)} | {_types(node.right)}"
        case ast.Constant(value=None):
            return "None"
        case ast.Call() if dotted(node) == "type()":
            return _types(node.args[0]) if node.args else ""
        case ast.Subscript():
            return _types(node.value)
        case ast.Name() | ast.Attribute():
            return dotted(node).rpartition(".")[2]
        case _:
            return ""


def dispatches(source: str) -> bool:
    """Is the function of this text one that others are registered with?"""
    return bool(_DISPATCHING.search(source.partition("def ")[0]))


def registered_with(file: FileDefinitions, name: str) -> Iterator[Entry]:
    """The file's entries that are registered with what it calls `name`."""
    return (entry for entry in file.chosen.values() if entry.registers == name)


def overloads(file: FileDefinitions, name: str) -> Entry | None:
    """The overloads of a function that has a body too, as one entry."""
    entry = file.chosen.get(name)
    if entry is None or not entry.weight:
        return None
    stubs = [span for other in file.entries if other.name == name and not other.weight for span in other.spans]
    return Entry(name=f"{name}[overload]", kind="overloads", spans=tuple(stubs), weight=0) if stubs else None
