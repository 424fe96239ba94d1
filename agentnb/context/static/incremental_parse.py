"""Source text -> where each definition stands; of a known file that changed, only the change is parsed.

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

from agentnb.canonical import digest
from agentnb.context.static.definitions import Entry, FileDefinitions, Import, ParseError, Piece
from agentnb.context.static.dispatch import registration
from agentnb.context.static.name_usage import (
    FunctionNode,
    absolute_module,
    annotation_name,
    bindings,
    bound_at_end,
    dotted,
)
from agentnb.context.static.syntax import PARSE_ERRORS, first_line, first_paragraph, many_objects, normalise, parse

PROPERTY_DECORATORS = frozenset({"property", "cached_property", "abstractproperty", "cache_readonly", "lazyproperty"})


def parse_definitions(source: str, *, module: str, file: str, before: FileDefinitions | None = None) -> FileDefinitions:
    """The definitions of a file's text; never raises on broken source: `error` says why, and intact blocks are kept.

    `before` is an earlier version of the same file: the result is the same with it, and sooner there.
    """
    source = normalise(source)
    lines = tuple(source.split("\n"))
    package = module if file.rpartition("/")[2].startswith("__init__.") else module.rpartition(".")[0]
    scanner, error = _Scanner(package, lines), None
    with many_objects(source):
        if before is None or not before.pieces or not scanner.read_change(before):
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
        pieces=tuple(scanner.pieces),
    )


def parse_cell(source: str, *, cell: str, versions: Iterable[str] = ()) -> FileDefinitions:
    """The same for a cell, with what its own scope binds.

    `versions` are the same text as Python where `source` has magics, asked for only as long as none could be parsed;
    one counts only if its lines fall on the same lines.
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
        pieces=tuple(scanner.pieces),
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
        self.pieces: list[Piece] = []
        self.doc = ""
        self._made: Mapping[str, str] = {}
        self._last: Mapping[str, ast.AST] | None = None
        self._places: dict[str, int] = {}
        self._piece = 0  # the first entry of the piece that is being read

    def read(self, text: str) -> ParseError | None:
        """Read all of a file; of one that does not parse, what does."""
        error = self.try_to_read(text)
        if error is not None:
            for part in (self.entries, self.imports, self.stars, self.deleted, self.pieces):
                part.clear()  # what was read before the code became too deep
            self._piece = 0
            self._places.clear()
            self._salvage(text)
        return error

    def try_to_read(self, text: str, *, in_cell: bool = False) -> ParseError | None:
        """Nothing holds on to the syntax tree: it is gone before the garbage collector would look through it."""
        try:
            tree = parse(text)
            self.doc = first_line(first_paragraph(tree))
            self._pieces_of(tree.body, len(self.lines))
            if in_cell:
                self._made, self._last = bindings(tree.body), bound_at_end(tree.body)
        except PARSE_ERRORS as error:
            return _parse_error(error)
        return None

    def made(self) -> Mapping[str, str]:
        """Every name that the scope leaves bound, in order, with the call that made it (`Model()`) or an empty text."""
        names = dict.fromkeys(
            [*(entry.name for entry in self.entries if "." not in entry.name), *(item.bound for item in self.imports)],
            "",
        )
        names |= {name: known if known.endswith("()") else "" for name, known in self._made.items()}
        return names if self._last is None else {name: made for name, made in names.items() if name in self._last}

    def imported(self) -> Iterator[str]:
        """Names that mean what an import binds though the scope defines them too: before it, or in case it fails."""
        likely = {entry.name for entry in self.entries if entry.weight > 1}
        for item in self.imports:
            last = self._last.get(item.bound) if self._last else None
            if isinstance(last, ast.Import | ast.ImportFrom) or item.bound not in likely:
                yield item.bound

    # pieces --------------------------------------------------------------------------------------------------------

    def _pieces_of(self, body: Sequence[ast.stmt], last: int, first: int = 1) -> None:
        """Read the top-level statements of lines `first` to `last`; those that share a line are one piece."""
        starts = [_span(node)[0] for node in body]
        for place, node in enumerate(body):
            self._statement(node, _Where())
            following = starts[place + 1] if place + 1 < len(body) else last + 1
            if following > (node.end_lineno or node.lineno):
                mark = digest("\n".join(self.lines[first - 1 : following - 1]))
                self._end_piece(first, following - 1, mark)
                first = following

    def _end_piece(self, first: int, last: int, mark: str) -> None:
        ends = (len(self.entries), len(self.imports), len(self.stars), len(self.deleted))
        self.pieces.append(Piece(first=first, last=last, digest=mark, ends=ends))
        self._piece = len(self.entries)

    def read_change(self, before: FileDefinitions) -> bool:
        """Take over what is the same as `before` at the top and at the bottom, and parse what lies between.

        False where that cannot be done. A piece begins at the left margin after a complete statement, so neither the
        pieces above it nor those below depend on it, as long as the text between them parses alone.
        """
        old = before.pieces
        above = _same_above(old, self.lines)
        # The first piece has the comments above it too, which would belong to what now stands above them.
        below = min(_same_below(old[above:], self.lines), len(old) - 1)
        first = old[above].first if above < len(old) else old[-1].last + 1
        moved = len(self.lines) - old[-1].last
        last = old[len(old) - below].first - 1 + moved if below else len(self.lines)
        try:
            tree = parse("\n" * (first - 1) + "\n".join(self.lines[first - 1 : last]))
            if not tree.body and (first <= last or not above):
                return False  # lines that only the next piece could own, or a docstring that it has become
            self.doc = before.doc if above else first_line(first_paragraph(tree))
            self._take(before, range(above), 0)
            self._pieces_of(tree.body, last, first)
            self._take(before, range(len(old) - below, len(old)), moved)
        except PARSE_ERRORS:
            return False
        return True

    def _take(self, before: FileDefinitions, places: range, moved: int) -> None:
        """These pieces of the earlier version, `moved` lines further down."""
        for place in places:
            piece = before.pieces[place]
            since = before.pieces[place - 1].ends if place else (0, 0, 0, 0)
            entries, imports, stars, deleted = map(slice, since, piece.ends)
            taken = before.entries[entries]
            self.entries += [_moved(entry, moved) for entry in taken] if moved else taken
            self.imports += before.imports[imports]
            self.stars += before.stars[stars]
            self.deleted += before.deleted[deleted]
            self._end_piece(piece.first + moved, piece.last + moved, piece.digest)

    # statements ----------------------------------------------------------------------------------------------------

    def _salvage(self, text: str) -> None:
        """Of a file that does not parse, the top-level blocks that do: one bad line should not hide the rest."""
        for first, block in top_level_blocks(text):
            try:
                self._block(ast.increment_lineno(parse(block), first).body, _Where())
            except PARSE_ERRORS:
                self._unparsed(first, block)

    def _unparsed(self, first: int, block: str) -> None:
        """The broken block itself, by its first lines: it is what a question on a syntax error is about."""
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
                self._branches(node, where)
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

    def _branches(self, node: ast.If, where: _Where) -> None:
        runs = runs_branch(node.test)
        self._block(node.body, where if runs else where.unlikely())
        self._block(node.orelse, where.unlikely() if runs else where)

    def _function(self, node: FunctionNode, where: _Where) -> None:
        names = [dotted(decorator).removesuffix("()") for decorator in node.decorator_list]
        kind = _function_kind(node, names, where)
        if any(name in {f"{node.name}.setter", f"{node.name}.deleter", f"{node.name}.getter"} for name in names):
            self._join(where.prefix + node.name, _span(node))
        else:
            stub = any(name.rpartition(".")[2] == "overload" for name in names)
            base, types = registration(node, method=where.owner == "class")
            name = node.name if node.name.strip("_") or not base else f"{base.rpartition('.')[2]}[{types}]"
            base = where.prefix + base if base else ""
            self._add(name, kind, _span(node), where, weight=0 if stub else None, registers=base)
        self._block(node.body, where.inside(f"{node.name}.<locals>", "function"))

    def _join(self, name: str, span: tuple[int, int]) -> None:
        place = self._places.get(name, -1)
        if place >= self._piece:
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
        registers: str = "",
    ) -> None:
        full = where.prefix + name
        self._places[full] = len(self.entries)
        weight = where.weight if weight is None else weight
        entry = Entry(name=full, kind=kind, spans=(span,), weight=weight, bases=bases, columns=columns)
        self.entries.append(replace(entry, registers=registers) if registers else entry)

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
    """What is the statement's own where others share its lines; None where it has them for itself."""
    start, end = node.col_offset, node.end_col_offset or 0
    before = lines[node.lineno - 1].encode("utf-8", "surrogatepass")[:start]
    after = lines[(node.end_lineno or node.lineno) - 1].encode("utf-8", "surrogatepass")[end:].strip(b" \t\f;")
    return (start, end) if before.strip() or (after and not after.startswith(b"#")) else None


def _same_above(old: Sequence[Piece], lines: Sequence[str]) -> int:
    """How many pieces at the top are as they were. Not the last of them: `else:` may follow it now."""
    same = 0
    while same < len(old) and _is_at(old[same], lines, 0):
        same += 1
    return same if same == len(old) and old[-1].last == len(lines) else max(same - 1, 0)


def _same_below(old: Sequence[Piece], lines: Sequence[str]) -> int:
    """How many of these, those below what is the same above, are as they were at the bottom."""
    moved = len(lines) - old[-1].last if old else 0
    same = 0
    while same < len(old) and old[-1 - same].first + moved >= old[0].first and _is_at(old[-1 - same], lines, moved):
        same += 1
    return same


def _is_at(piece: Piece, lines: Sequence[str], moved: int) -> bool:
    return digest("\n".join(lines[piece.first - 1 + moved : piece.last + moved])) == piece.digest


def _moved(entry: Entry, lines: int) -> Entry:
    return replace(entry, spans=tuple((first + lines, last + lines) for first, last in entry.spans))


def runs_branch(test: ast.expr) -> bool:
    """Is the body of `if test:` the branch that runs, as far as can be said without running it?"""
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
    """The block without the blank lines and comments at its end, which belong to what follows."""
    lines = block.split("\n")
    while lines and (not lines[-1].strip() or lines[-1].startswith("#")):
        lines.pop()
    return "\n".join(lines)


_DEFINES = re.compile(r"^(class|def|async[ \t]+def)[ \t]+([^\W\d]\w*)", re.MULTILINE)
_BLOCK = re.compile(r"(?!else\b|elif\b|except\b|finally\b)[^\s)\]}#]")


def top_level_blocks(text: str) -> Iterator[tuple[int, str]]:
    """(lines before, text) of each block that begins at the left margin; decorators stay with what they decorate."""
    lines = text.split("\n")
    starts = [i for i, line in enumerate(lines) if _BLOCK.match(line)]
    starts = [i for k, i in enumerate(starts) if k == 0 or not lines[starts[k - 1]].startswith("@")]
    for first, after in itertools.pairwise([*starts, len(lines)]):
        yield first, "\n".join(lines[first:after])
