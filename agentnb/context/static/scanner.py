"""Read source text and tell where each definition stands.

Pure: text in, values out, and nothing raises on broken source.
"""

from __future__ import annotations

import ast
import itertools
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agentnb.context.static.definitions import Entry, FileDefinitions, Import, ParseError
from agentnb.context.static.name_usage import (
    FunctionNode,
    absolute_module,
    annotation_name,
    bindings,
    bound_at_end,
    dotted,
)
from agentnb.context.static.syntax import PARSE_ERRORS, first_line, first_paragraph, normalise, parse

PROPERTY_DECORATORS = frozenset({"property", "cached_property", "abstractproperty", "cache_readonly", "lazyproperty"})


def parse_definitions(source: str, *, module: str, file: str) -> FileDefinitions:
    """Return the definitions of a file's text; never raises on broken source: `error` says why, and intact blocks are
    kept."""
    source = normalise(source)
    lines = tuple(source.split("\n"))
    package = module if file.rpartition("/")[2].startswith("__init__.") else module.rpartition(".")[0]
    scanner = _Scanner(package, lines)
    error = scanner.read(source)
    return FileDefinitions(
        module=module,
        file=file,
        lines=lines,
        entries=tuple(scanner.entries),
        imports=tuple(scanner.imports),
        stars=tuple(scanner.stars),
        deleted=tuple(scanner.deleted),
        doc=scanner.doc,
        error=error,
    )


def parse_cell(source: str, *, cell: str, versions: Iterable[str] = ()) -> FileDefinitions:
    """Return the same for a cell, with what its own scope binds.

    `versions` are the same text as Python where `source` has magics. They are asked for until one parses, and one
    counts only if its lines stay in place.
    """
    typed = normalise(source)
    for python in itertools.chain([typed], map(normalise, versions)):
        scanner = _Scanner("", tuple(python.split("\n")))
        error = scanner.try_to_read(python, in_cell=True)
        if error is None:
            break
    else:
        scanner.read(python)
    moved = python.rstrip("\n").count("\n") != typed.rstrip("\n").count("\n")
    return FileDefinitions(
        module="",
        file="",
        cell=cell,
        lines=scanner.lines if moved else tuple(typed.split("\n")),
        parsed=None if moved or python == typed else scanner.lines,
        entries=tuple(scanner.entries),
        imports=tuple(scanner.imports),
        stars=tuple(scanner.stars),
        deleted=tuple(scanner.deleted),
        error=error,
        made=scanner.made(),
        imported=frozenset(scanner.imported()),
    )


class _Scanner:
    def __init__(self, package: str, lines: tuple[str, ...]) -> None:
        self.package = package
        self.lines = lines
        self.entries: list[Entry] = []
        self.imports: list[Import] = []
        self.stars: list[str] = []
        self.deleted: list[str] = []
        self.doc = ""
        self._made: Mapping[str, str] = {}
        self._last: Mapping[str, ast.AST] | None = None
        self._places: dict[str, int] = {}

    def read(self, text: str) -> ParseError | None:
        """Read all of a file; of one that does not parse, what does."""
        error = self.try_to_read(text)
        if error is not None:
            for part in (self.entries, self.imports, self.stars, self.deleted):
                part.clear()  # what was read before the code became too deep
            self._places.clear()
            self._salvage(text)
        return error

    def try_to_read(self, text: str, *, in_cell: bool = False) -> ParseError | None:
        try:
            tree = parse(text)
            self.doc = first_line(first_paragraph(tree))
            self._block(tree.body, _Where())
            if in_cell:
                self._made, self._last = bindings(tree.body), bound_at_end(tree.body)
        except PARSE_ERRORS as error:
            return _parse_error(error)
        return None

    def made(self) -> Mapping[str, str]:
        """Return every name that the scope leaves bound, in order, with the call that made it (`Model()`) or ""."""
        names = dict.fromkeys(
            [*(entry.name for entry in self.entries if "." not in entry.name), *(item.bound for item in self.imports)],
            "",
        )
        names |= {name: known if known.endswith("()") else "" for name, known in self._made.items()}
        return names if self._last is None else {name: made for name, made in names.items() if name in self._last}

    def imported(self) -> Iterator[str]:
        """Yield names that mean what an import binds, though also defined here: before it, or in case it
        fails."""
        likely = {entry.name for entry in self.entries if entry.weight > 1}
        for item in self.imports:
            last = self._last.get(item.bound) if self._last else None
            if isinstance(last, ast.Import | ast.ImportFrom) or item.bound not in likely:
                yield item.bound

    # statements ----------------------------------------------------------------------------------------------------

    def _salvage(self, text: str) -> None:
        """Read the top-level blocks that parse of a file that does not: one bad line should not hide the rest."""
        for first, block in top_level_blocks(text):
            try:
                self._block(ast.increment_lineno(parse(block), first).body, _Where())
            except PARSE_ERRORS:
                self._unparsed(first, block)

    def _unparsed(self, first: int, block: str) -> None:
        """Keep the broken block itself, by its first lines: it is what a question on a syntax error is about."""
        found = _DEFINES.search(block)
        if found is not None:
            kind = {"class": "class", "def": "function"}.get(found.group(1), "async function")
            self._add(found.group(2), kind, (first + 1, first + _trimmed(block).count("\n") + 1), _Where())

    def _block(self, body: Sequence[ast.stmt], where: _Where) -> None:
        for node in body:
            self._statement(node, where)

    def _statement(self, node: ast.stmt, where: _Where) -> None:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self._function(node, where)
            case ast.ClassDef():
                bases = tuple(filter(None, map(annotation_name, node.bases)))
                self._add(node.name, "class", _span(node), where, bases=bases)
                self._block(node.body, where.inside(node.name, "class"))
            case ast.Import() | ast.ImportFrom() if where.owner == "module":
                self._import(node)
            case ast.Assign() | ast.AnnAssign():
                self._assignment(node, where)
            case ast.Delete() if where.owner == "module":
                names = (name for target in node.targets for name in ast.walk(target) if isinstance(name, ast.Name))
                self.deleted.extend(name.id for name in names if isinstance(name.ctx, ast.Del))
            case ast.If():
                runs = runs_branch(node.test)
                self._block(node.body, where if runs else where.unlikely())
                self._block(node.orelse, where.unlikely() if runs else where)
            case _:
                self._compound(node, where)

    def _compound(self, node: ast.stmt, where: _Where) -> None:
        if type(node).__name__ == "TypeAlias":  # `type X = …`, Python 3.12
            name = dotted(getattr(node, "name", node))
            self._add(name, "type alias", _span(node), where, columns=_columns(node, self.lines))
        elif isinstance(node, ast.Try | ast.TryStar):
            self._block([*node.body, *node.orelse, *node.finalbody], where)
            for handler in node.handlers:
                self._block(handler.body, where.unlikely())
        elif isinstance(node, ast.With | ast.AsyncWith | ast.For | ast.AsyncFor | ast.While):
            self._block([*node.body, *getattr(node, "orelse", [])], where)
        elif isinstance(node, ast.Match):
            for case in node.cases:
                self._block(case.body, where)

    def _function(self, node: FunctionNode, where: _Where) -> None:
        names = [dotted(decorator).removesuffix("()") for decorator in node.decorator_list]
        kind = _function_kind(node, names, where)
        if any(name in {f"{node.name}.setter", f"{node.name}.deleter", f"{node.name}.getter"} for name in names):
            self._join(where.prefix + node.name, _span(node))
        else:
            stub = any(name.rpartition(".")[2] == "overload" for name in names)
            self._add(node.name, kind, _span(node), where, weight=0 if stub else None)
        self._block(node.body, where.inside(f"{node.name}.<locals>", "function"))

    def _join(self, name: str, span: tuple[int, int]) -> None:
        place = self._places.get(name, -1)
        if place >= 0:
            self.entries[place] = replace(self.entries[place], spans=(*self.entries[place].spans, span))

    def _add(
        self,
        name: str,
        kind: str,
        span: tuple[int, int],
        where: _Where,
        *,
        bases: tuple[str, ...] = (),
        weight: int | None = None,
        columns: tuple[int, int] | None = None,
    ) -> None:
        full = where.prefix + name
        self._places[full] = len(self.entries)
        weight = where.weight if weight is None else weight
        self.entries.append(Entry(name=full, kind=kind, spans=(span,), weight=weight, bases=bases, columns=columns))

    def _assignment(self, node: ast.Assign | ast.AnnAssign, where: _Where) -> None:
        if where.owner == "function":
            return
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        alias = isinstance(node, ast.AnnAssign) and dotted(node.annotation).rpartition(".")[2] == "TypeAlias"
        kind, columns = "type alias" if alias else "constant", _columns(node, self.lines)
        for target in targets:
            for name in ast.walk(target) if isinstance(target, ast.Tuple | ast.List) else [target]:
                if isinstance(name, ast.Name):
                    self._add(name.id, kind, _span(node), where, columns=columns)

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                self.imports.append(_plain_import(alias))
            return
        module = absolute_module(node, self.package)
        written = "." * node.level + (node.module or "")
        for alias in node.names:
            if alias.name == "*":
                self.stars.append(module)
                continue
            line = f"from {written} import {alias.name}" + (f" as {alias.asname}" if alias.asname else "")
            target = f"{module}.{alias.name}" if module else alias.name
            self.imports.append(Import(bound=alias.asname or alias.name, target=target, line=line))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Where:
    prefix: str = ""
    owner: str = "module"
    weight: int = 2

    def inside(self, name: str, owner: str) -> _Where:
        return _Where(prefix=f"{self.prefix}{name}.", owner=owner, weight=self.weight)

    def unlikely(self) -> _Where:
        return replace(self, weight=1)


def _plain_import(alias: ast.alias) -> Import:
    if alias.asname:
        return Import(bound=alias.asname, target=alias.name, line=f"import {alias.name} as {alias.asname}")
    root = alias.name.partition(".")[0]
    return Import(bound=root, target=root, line=f"import {alias.name}", whole=alias.name)


def _function_kind(node: FunctionNode, decorators: list[str], where: _Where) -> str:
    if where.owner == "class":
        lasts = {name.rpartition(".")[2] for name in decorators}
        return "property" if lasts & PROPERTY_DECORATORS else "method"
    return "async function" if isinstance(node, ast.AsyncFunctionDef) else "function"


def _span(node: ast.stmt) -> tuple[int, int]:
    decorators = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(decorator.lineno for decorator in decorators)])
    return first, node.end_lineno or node.lineno


def _columns(node: ast.stmt, lines: Sequence[str]) -> tuple[int, int] | None:
    """Return what is the statement's own where others share its lines; None where it has them for itself."""
    start, end = node.col_offset, node.end_col_offset or 0
    before = lines[node.lineno - 1].encode("utf-8", "surrogatepass")[:start]
    after = lines[(node.end_lineno or node.lineno) - 1].encode("utf-8", "surrogatepass")[end:].strip(b" \t\f;")
    return (start, end) if before.strip() or (after and not after.startswith(b"#")) else None


def runs_branch(test: ast.expr) -> bool:
    """Tell whether the body of `if test:` is the branch that runs, as far as can be said without running it?"""
    match test:
        case ast.Constant():
            return bool(test.value)
        case ast.UnaryOp(op=ast.Not()):
            return not runs_branch(test.operand)
        case ast.Name() | ast.Attribute():
            return dotted(test).rpartition(".")[2] != "TYPE_CHECKING"
        case ast.Compare(ops=[op], comparators=[ast.Tuple(elts=elts)]) if dotted(test.left) == "sys.version_info":
            wanted = tuple(e.value for e in elts if isinstance(e, ast.Constant) and isinstance(e.value, int))
            return _compares(op, sys.version_info[: len(wanted)], wanted)
        case ast.Compare(ops=[op], comparators=[ast.Constant(value=str() as text)]) if dotted(test.left) in _SYSTEM:
            return _compares(op, _SYSTEM[dotted(test.left)], text)
        case ast.Call(args=[ast.Constant(value=str() as text)]) if dotted(test.func) == "sys.platform.startswith":
            return sys.platform.startswith(text)
        case _:
            return True


_SYSTEM = {"sys.platform": sys.platform, "os.name": os.name}


def _compares(op: ast.cmpop, left: Any, right: Any) -> bool:
    order: int = (left > right) - (left < right)
    outcomes = {ast.GtE: order >= 0, ast.Gt: order > 0, ast.LtE: order <= 0, ast.Lt: order < 0, ast.Eq: order == 0}
    return outcomes.get(type(op), bool(order) or not isinstance(op, ast.NotEq))


def _parse_error(error: BaseException) -> ParseError:
    if isinstance(error, SyntaxError):
        return ParseError(line=error.lineno or 0, message=error.msg or "invalid syntax")
    if isinstance(error, RecursionError | MemoryError):
        return ParseError(line=0, message="nested too deeply to be parsed")
    return ParseError(line=0, message=str(error))


def _trimmed(block: str) -> str:
    """Return the block without the blank lines and comments at its end, which belong to what follows."""
    lines = block.split("\n")
    while lines and (not lines[-1].strip() or lines[-1].startswith("#")):
        lines.pop()
    return "\n".join(lines)


_DEFINES = re.compile(r"^(class|def|async[ \t]+def)[ \t]+([^\W\d]\w*)", re.MULTILINE)
_BLOCK = re.compile(r"(?!else\b|elif\b|except\b|finally\b)[^\s)\]}#]")


def top_level_blocks(text: str) -> Iterator[tuple[int, str]]:
    """Yield (lines before, text) of each block that begins at the left margin; decorators stay with what they
    decorate."""
    lines = text.split("\n")
    starts = [i for i, line in enumerate(lines) if _BLOCK.match(line)]
    starts = [i for k, i in enumerate(starts) if k == 0 or not lines[starts[k - 1]].startswith("@")]
    for first, after in itertools.pairwise([*starts, len(lines)]):
        yield first, "\n".join(lines[first:after])
