"""Find the names that a piece of code uses and does not bind itself: where one step on leads.

Pure, on syntax trees. A reference is dotted where the code reads attributes (`nx.Graph.add_edge`). `()` marks the
result of a call (`pd.read_csv().groupby`). A method's first parameter is `self`, whatever it is called. A name imported
inside a function is its full target. Order is the order of appearance.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
_NAMED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_ALIAS_DEPTH = 3
SELF = "self"
"""The root of a reference to a member of the instance or class that a method is called on."""
Bindings = dict[str, str]
"""Bound name -> what is known of it as a reference (`nx.Graph()`, an import's target), or an empty string."""


@dataclass(frozen=True, slots=True)
class Uses:
    """Holds what code uses, each once.

    `members` are attributes of values whose class the code does not tell (`G.nodes` for an unannotated parameter `G`).
    """

    references: tuple[str, ...] = ()
    members: tuple[str, ...] = ()


def uses(nodes: Sequence[ast.stmt], *, owner: str = "", bases: tuple[str, ...] = ()) -> Uses:
    """Return what `nodes` use, which are methods of the class `owner` with `bases` where it is given.

    Empty for code nested too deeply to walk.
    """
    visitor = _FreeNames(owner, bases)
    try:
        visitor.walk(nodes)
    except RecursionError:
        return Uses()
    defined = {node.name for node in nodes if isinstance(node, _NAMED)} | visitor.type_parameters
    return Uses(tuple(name for name in visitor.found if name not in defined), tuple(visitor.members))


def dotted(node: ast.AST) -> str:
    """Return `a.b.c` for a chain of attributes on a name, `a.b().c` through calls; an empty string for anything
    else."""
    parts: list[str] = []
    while True:
        if isinstance(node, ast.Attribute):
            parts.append(f".{node.attr}")
            node = node.value
        elif isinstance(node, ast.Call):
            parts.append("()")
            node = node.func
        elif isinstance(node, ast.Name):
            return node.id + "".join(reversed(parts))
        else:
            return ""


def import_targets(node: ast.Import | ast.ImportFrom, package: str = "") -> Iterator[tuple[str, str]]:
    """Yield (bound name, dotted target) of an import statement; `package` resolves relative ones. Star imports:
    none."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield (alias.asname, alias.name) if alias.asname else (alias.name.partition(".")[0],) * 2
        return
    module = absolute_module(node, package)
    for alias in node.names:
        if alias.name != "*":
            yield alias.asname or alias.name, f"{module}.{alias.name}" if module else alias.name


def absolute_module(node: ast.ImportFrom, package: str) -> str:
    """Return the absolute module of `from … import`, with `package` as the package that the file is in."""
    if not node.level:
        return node.module or ""
    parts = package.split(".") if package else []
    kept = parts[: len(parts) - (node.level - 1)]
    return ".".join([*kept, *([node.module] if node.module else [])])


def annotation_name(node: ast.AST | None) -> str:
    """Return the class that an annotation names: `Graph` of `Graph`, `"Graph"`, `Graph | None`, `Optional[Graph]`."""
    match node:
        case ast.Constant(value=str() as text):
            return text if text.replace(".", "").isidentifier() else ""
        case ast.BinOp(op=ast.BitOr()):
            return annotation_name(node.left) or annotation_name(node.right)
        case ast.Subscript() if dotted(node.value).rpartition(".")[2] in {"Optional", "Annotated", "ClassVar", "Final"}:
            inner = node.slice.elts[0] if isinstance(node.slice, ast.Tuple) and node.slice.elts else node.slice
            return annotation_name(inner)
        case ast.Subscript():
            return dotted(node.value)
        case ast.Name() | ast.Attribute():
            return dotted(node)
        case _:
            return ""


_OPERATORS: Mapping[type[ast.AST], str] = {
    ast.Add: "__add__",
    ast.Sub: "__sub__",
    ast.Mult: "__mul__",
    ast.Div: "__truediv__",
    ast.MatMult: "__matmul__",
    ast.Mod: "__mod__",
    ast.Pow: "__pow__",
    ast.Eq: "__eq__",
    ast.Lt: "__lt__",
}


class _FreeNames(ast.NodeVisitor):
    def __init__(self, owner: str, bases: tuple[str, ...]) -> None:
        self.found: dict[str, None] = {}
        self.members: dict[str, None] = {}
        self.owner = owner
        self.bases = bases
        self.scopes: list[Bindings] = []
        self.type_parameters: set[str] = set()

    def walk(self, nodes: Iterable[ast.AST]) -> None:
        for node in nodes:
            self.visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id == "len" and node.args:
            self._protocol(node.args[0], "__len__")

    # protocols: `G[u]`, `for x in G`, `x in G`, `a + b` call methods of the values' classes

    def visit_Subscript(self, node: ast.Subscript) -> None:
        self._protocol(node.value, "__getitem__" if isinstance(node.ctx, ast.Load) else "__setitem__")
        self.generic_visit(node)

    def visit_For(self, node: ast.For | ast.AsyncFor | ast.comprehension) -> None:
        self._protocol(node.iter, "__iter__")
        self.generic_visit(node)

    visit_AsyncFor = visit_comprehension = visit_For  # noqa: N815 - ast's own naming

    def visit_With(self, node: ast.With | ast.AsyncWith) -> None:
        for item in node.items:
            self._protocol(item.context_expr, "__enter__")
        self.generic_visit(node)

    visit_AsyncWith = visit_With  # noqa: N815 - ast's own naming

    def visit_Compare(self, node: ast.Compare) -> None:
        if isinstance(node.ops[0], ast.In | ast.NotIn):
            self._protocol(node.comparators[0], "__contains__")
        self._protocol(node.left, _OPERATORS.get(type(node.ops[0]), ""))
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        self._protocol(node.left, _OPERATORS.get(type(node.op), ""))
        self.generic_visit(node)

    def _protocol(self, node: ast.AST, method: str) -> None:
        """Do so only for local values: a global's class is a question for whoever resolves it."""
        if method and isinstance(node, ast.Name) and any(node.id in scope for scope in self.scopes):
            self._use(f"{node.id}.{method}")

    # names -----------------------------------------------------------------------------------------------------

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self._use(node.id)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        chain = dotted(node)
        if not chain or chain.startswith("super()"):
            if chain.startswith("super()."):
                for base in self.bases:
                    self._add(f"{base}.{chain.removeprefix('super().')}")
            self.generic_visit(node)
            return
        self._use(chain)
        self._arguments_of(node)

    def _arguments_of(self, node: ast.AST) -> None:
        """Visit arguments. The chain `a(x).b(y).c` was taken as a whole; its calls' arguments still have to be seen."""
        while isinstance(node, ast.Attribute | ast.Call):
            if isinstance(node, ast.Call):
                self.walk([*node.args, *node.keywords])
                node = node.func
            else:
                node = node.value

    def _use(self, chain: str, depth: int = 0) -> None:
        root = chain.partition(".")[0].removesuffix("()")
        known = next((scope[root] for scope in reversed(self.scopes) if root in scope), None)
        rest = chain[len(root) :]
        if known is None:
            self._add(chain)
        elif known.endswith("()"):
            # A local made by a call: its attributes lead on. The bound keeps `a = b.c(); b = a.d()` from circling.
            if rest and depth < _ALIAS_DEPTH:
                self._use(known + rest, depth + 1)
        elif known and (rest or known != SELF):  # `self` alone says nothing
            self._add(known + rest)
        elif rest.startswith(".") and not known:
            self.members[f"{root}.{rest[1:].partition('.')[0].removesuffix('()')}"] = None

    def _add(self, chain: str) -> None:
        chain = chain.removesuffix("()")
        # `f` in `f().x` is called too, and stands before it.
        head, call, _ = chain.partition("()")
        self.found |= dict.fromkeys([head, chain] if call else [chain])

    # scopes ----------------------------------------------------------------------------------------------------

    def visit_FunctionDef(self, node: FunctionNode) -> None:
        self._parameters_of(node)
        self.walk(node.decorator_list)
        self._function(node, node.body)

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815 - ast's own naming

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._function(node, [node.body])

    def _function(self, node: FunctionNode | ast.Lambda, body: Sequence[ast.AST]) -> None:
        arguments = node.args
        named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        starred = [a for a in (arguments.vararg, arguments.kwarg) if a]
        self.walk(a.annotation for a in [*named, *starred] if a.annotation)
        self.walk(default for default in [*arguments.defaults, *arguments.kw_defaults] if default)
        if not isinstance(node, ast.Lambda) and node.returns:
            self.visit(node.returns)
        scope = {a.arg: _instance(annotation_name(a.annotation)) for a in named} | {a.arg: "" for a in starred}
        if self._is_method(node) and named:
            scope[named[0].arg] = SELF
        self._inside(scope | bindings(body), body)

    def _is_method(self, node: ast.AST) -> bool:
        if not self.owner or self.scopes or isinstance(node, ast.Lambda):
            return False
        return not any(dotted(d) == "staticmethod" for d in getattr(node, "decorator_list", ()))

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._parameters_of(node)
        self.walk([*node.decorator_list, *node.bases, *node.keywords])
        outer = self.owner, self.bases
        if not self.scopes:
            self.owner = f"{self.owner}.{node.name}" if self.owner else node.name
            self.bases = tuple(filter(None, map(dotted, node.bases)))
        # Names of a class body are not seen by its methods, so the body opens no scope for them.
        own = bindings(node.body)
        for child in node.body:
            if isinstance(child, _SCOPES):
                self.visit(child)
            else:
                self._inside(own, [child])
        self.owner, self.bases = outer

    def visit_TypeAlias(self, node: ast.AST) -> None:
        """Visit `type Pair[T] = tuple[T, T]`, Python 3.12."""
        self._parameters_of(node)
        self.generic_visit(node)

    def _parameters_of(self, node: ast.AST) -> None:
        self.type_parameters |= {parameter.name for parameter in getattr(node, "type_params", ())}

    def visit_ListComp(self, node: ast.AST) -> None:
        scope = dict.fromkeys(_stored(ast.walk(node)), "")
        self.scopes.append(scope)
        self.generic_visit(node)
        self.scopes.pop()

    visit_SetComp = visit_DictComp = visit_GeneratorExp = visit_ListComp  # noqa: N815

    def _inside(self, scope: Bindings, body: Iterable[ast.AST]) -> None:
        self.scopes.append(scope)
        self.walk(body)
        self.scopes.pop()


def _instance(name: str) -> str:
    return f"{name}()" if name else ""


def bindings(body: Iterable[ast.AST]) -> Bindings:
    """Return what the statements of one scope bind; names declared global or nonlocal are not bound here."""
    found: Bindings = {}
    outside: set[str] = set()
    for node in own_scope(body):
        if isinstance(node, ast.Global | ast.Nonlocal):
            outside.update(node.names)
        else:
            _bind(node, found)
    return {name: known for name, known in found.items() if name not in outside}


def bound_at_end(body: Iterable[ast.AST]) -> dict[str, ast.AST]:
    """Return the names that these statements of one scope leave bound, each with the node that bound it last."""
    found: dict[str, ast.AST] = {}
    for node in own_scope(body):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Del):
            found.pop(node.id, None)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found.update((name, node) for name, _ in import_targets(node))
        else:
            found.update((name, node) for name in _bound_by(node))
    return found


def _bind(node: ast.AST, found: Bindings) -> None:
    if isinstance(node, ast.Import | ast.ImportFrom):
        found.update(import_targets(node))
    elif isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        name = node.targets[0].id
        known = dotted(node.value) if isinstance(node.value, ast.Call) else ""
        found[name] = "" if found.get(name, known) != known or known.startswith(("self", "super()", name)) else known
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        found[node.target.id] = _instance(annotation_name(node.annotation))
    else:
        for name in _bound_by(node):
            found.setdefault(name, "")


def _bound_by(node: ast.AST) -> Iterator[str]:
    if isinstance(node, (*_NAMED, ast.ExceptHandler, ast.MatchAs, ast.MatchStar)) and node.name:
        yield node.name
    elif isinstance(node, ast.MatchMapping) and node.rest:
        yield node.rest
    else:
        yield from _stored([node])


def _stored(nodes: Iterable[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def own_scope(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Yield every node of these statements that runs in their own scope, in source order."""
    stack = list(body)[::-1]
    while stack:
        node = stack.pop()
        yield node
        if not isinstance(node, (*_SCOPES, *_COMPREHENSIONS)):
            stack.extend(reversed(list(ast.iter_child_nodes(node))))
