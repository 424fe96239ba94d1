"""Tell what one cell binds, changes in place and uses: the names that tie cells together. Pure, on text."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterable
from dataclasses import dataclass

from agentnb.context.notebook.cells import ASSIGNED_MAGIC, LINE_MAGIC, python_part
from agentnb.context.static.name_usage import uses
from agentnb.context.static.syntax import PARSE_ERRORS, parse

_BUILTINS = frozenset(dir(builtins)) | {"display", "get_ipython"}
_CHANGING = """
add append appendleft clear compile discard extend extendleft fit fit_transform insert load_state_dict load_weights
move_to_end partial_fit pop popitem popleft put remove resize reverse setdefault set_params shuffle sort step subtract
train update write zero_grad add_node add_edge add_nodes_from add_edges_from remove_node remove_edge
"""
CHANGING = frozenset(_CHANGING.split())
"""Methods that change the object they are called on."""
_FIRST_CHANGED = frozenset({"heappush", "heappop", "heapify", "shuffle", "setattr", "delattr", "put", "copyto"})
"""Functions that change their first argument."""


_MAKING = frozenset({"assign", "agg", "aggregate", "with_columns"})
"""Methods whose keywords are columns of what they return."""
CONTAINERS = frozenset(name for kind in (dict, list, set, str) for name in dir(kind))
"""Methods of what everybody uses: their names lead to no class of the user's."""


@dataclass(frozen=True, slots=True)
class Dataflow:
    """Holds the flow of one cell: `binds` are names given a value, of them `imports` those that an import binds.

    `defines` are its functions and classes, or those of the module that it writes. `methods` are those of its classes,
    and `calls` the methods that it calls.
    `changes` are names whose object is changed in place; `uses` are names read before the cell binds them.
    `parts` are the columns, keys and attributes that it gives a value.
    """

    binds: frozenset[str] = frozenset()
    imports: frozenset[str] = frozenset()
    defines: frozenset[str] = frozenset()
    methods: frozenset[str] = frozenset()
    calls: frozenset[str] = frozenset()
    changes: frozenset[str] = frozenset()
    uses: frozenset[str] = frozenset()
    parts: frozenset[str] = frozenset()
    shows_only: bool = False
    """It binds and changes nothing: it only looks."""


_WRITTEN = re.compile(r"\s*%%(?:writefile|file)[^\n]*\.py\s*\n")
"""Head of a cell that writes a module."""


def dataflow(source: str) -> Dataflow:
    """Return the names of a cell's source; none where it is no Python. A module that it writes binds nothing here."""
    module = _WRITTEN.match(source)
    code = source[module.end() :] if module else python_part(source)
    if not code:
        return Dataflow(shows_only=True)
    try:
        found = _Names()
        for node in _statements(code):
            found.visit(node)
    except PARSE_ERRORS:
        return Dataflow()
    if module:
        return Dataflow(defines=frozenset(found.defines), methods=frozenset(found.methods))
    binds, changes = frozenset(found.binds), frozenset(found.changes - found.fresh)
    return Dataflow(
        binds=binds,
        imports=frozenset(found.imports),
        defines=frozenset(found.defines),
        methods=frozenset(found.methods),
        calls=frozenset(found.calls - CONTAINERS),
        changes=changes,
        uses=frozenset(found.uses - _BUILTINS),
        parts=frozenset(found.parts),
        shows_only=not (binds or changes),
    )


def references_of(source: str) -> tuple[str, ...]:
    """Return the dotted names that a cell's code uses and does not define."""
    code = python_part(source)
    try:
        return uses(_statements(code)).references if code else ()
    except PARSE_ERRORS:
        return ()


def _statements(code: str) -> list[ast.stmt]:
    return parse(ASSIGNED_MAGIC.sub(r"\1...", LINE_MAGIC.sub(r"\1pass", code))).body


class _Names(ast.NodeVisitor):
    def __init__(self) -> None:
        self.binds: set[str] = set()
        self.imports: set[str] = set()
        self.defines: set[str] = set()
        self.methods: set[str] = set()
        self.calls: set[str] = set()
        self.changes: set[str] = set()
        self.fresh: set[str] = set()  # changed only after the cell itself made them
        self.uses: set[str] = set()
        self.parts: set[str] = set()
        self._local: list[set[str]] = []

    def visit_Name(self, node: ast.Name) -> None:
        if any(node.id in scope for scope in self._local):
            return
        if isinstance(node.ctx, ast.Load):
            if node.id not in self.binds:
                self.uses.add(node.id)
        elif not self._local:
            self.binds.add(node.id)

    def visit_Assign(self, node: ast.Assign) -> None:
        self.visit(node.value)
        for target in node.targets:
            self._target(target)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.visit(node.annotation)
        if node.value is not None:
            self.visit(node.value)
            self._target(node.target)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.visit(node.value)
        root = root_of(node.target)
        if root and root not in self.binds:
            self.uses.add(root)
        if isinstance(node.target, ast.Name):
            self._change(node.target)
        else:
            self._target(node.target)

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        self.visit(node.iter)
        self._target(node.target)
        for part in (*node.body, *node.orelse):
            self.visit(part)

    visit_AsyncFor = visit_For  # noqa: N815

    def visit_Delete(self, node: ast.Delete) -> None:
        for target in node.targets:
            if not isinstance(target, ast.Name):
                self._target(target)

    def _target(self, node: ast.expr) -> None:
        """Note what is assigned to: a name is bound; of `a.b` and `a[b]` the object `a` is changed."""
        if isinstance(node, ast.Name):
            self.visit(node)
        elif isinstance(node, ast.Tuple | ast.List):
            for part in node.elts:
                self._target(part)
        elif isinstance(node, ast.Starred):
            self._target(node.value)
        else:
            self._change(node)
            self._part(node)
            self.generic_visit(node)

    def _part(self, node: ast.expr) -> None:
        """Note `b` of `a.b`, `a["b"]` and `a.loc[rows, "b"]`, to which a value is given."""
        if isinstance(node, ast.Attribute):
            self.parts.add(node.attr)
        elif isinstance(node, ast.Subscript):
            self._texts(node.slice.elts if isinstance(node.slice, ast.Tuple | ast.List) else [node.slice])

    def _texts(self, nodes: Iterable[ast.expr | None]) -> None:
        found = (node.value for node in nodes if isinstance(node, ast.Constant))
        self.parts.update(value for value in found if isinstance(value, str) and value.isidentifier())

    def visit_Dict(self, node: ast.Dict) -> None:
        self._texts(node.keys)
        self.generic_visit(node)

    def _change(self, node: ast.expr) -> None:
        root = root_of(node)
        if root and not any(root in scope for scope in self._local):
            self.changes.add(root)
            if root in self.binds:
                self.fresh.add(root)

    def visit_Call(self, node: ast.Call) -> None:
        function = node.func
        inplace = any(
            word.arg == "inplace" and isinstance(word.value, ast.Constant) and word.value.value is True
            for word in node.keywords
        )
        if isinstance(function, ast.Attribute):
            self.calls.add(function.attr)
            if function.attr in _MAKING:
                self.parts.update(word.arg for word in node.keywords if word.arg)
            in_torch = function.attr.endswith("_") and not function.attr.startswith("_")
            if inplace or in_torch or function.attr in CHANGING:
                self._change(function.value)
            if function.attr in _FIRST_CHANGED and node.args:
                self._change(node.args[0])
        elif isinstance(function, ast.Name) and function.id in _FIRST_CHANGED and node.args:
            self._change(node.args[0])
        for word in node.keywords:
            if word.arg in ("out", "ax"):
                self._change(word.value)
        self.generic_visit(node)

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> None:
        names = {alias.asname or alias.name.partition(".")[0] for alias in node.names if alias.name != "*"}
        if not self._local:
            self.binds |= names
            self.imports |= names

    visit_ImportFrom = visit_Import  # noqa: N815

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for part in (*node.decorator_list, *node.args.defaults, *filter(None, node.args.kw_defaults)):
            self.visit(part)
        self._named(node.name)
        arguments = node.args
        given = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        given += [each for each in (arguments.vararg, arguments.kwarg) if each]
        self._inside(node.body, {each.arg for each in given})

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for part in (*node.decorator_list, *node.bases):
            self.visit(part)
        self._named(node.name)
        made = (part.name for part in node.body if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef))
        self.methods.update(name for name in made if not name.startswith("__"))
        self._inside(node.body, set())

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._inside([node.body], {each.arg for each in node.args.args})

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> None:
        local = {name.id for part in node.generators for name in ast.walk(part.target) if isinstance(name, ast.Name)}
        self._local.append(local)
        self.generic_visit(node)
        self._local.pop()

    visit_ListComp = visit_SetComp = visit_GeneratorExp = visit_DictComp = _comprehension  # noqa: N815

    def _named(self, name: str) -> None:
        if not self._local:
            self.binds.add(name)
            self.defines.add(name)

    def _inside(self, body: list[ast.stmt] | list[ast.expr], names: set[str]) -> None:
        """Visit a function's or class's body: its own names are no names of the notebook's."""
        stored = {
            part.id
            for node in body
            for part in ast.walk(node)
            if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)
        }
        self._local.append(names | stored)
        for node in body:
            self.visit(node)
        self._local.pop()


def root_of(node: ast.expr) -> str:
    """Return `df` of `df.loc[0].x`; an empty text for what begins with no name."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""
