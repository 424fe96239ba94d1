"""Source text -> Definitions: functions, classes, methods, properties, constants, imports, type aliases.

Pure: text in, values out, and nothing raises on broken source. A file is scanned once into light entries (name, kind,
lines); a Definition is built from its own slice only when somebody asks for it, so a file of 10,000 lines costs one
`ast.parse`, and an index needs to keep no trees.
"""

from __future__ import annotations

import ast
import builtins
import io
import itertools
import re
import sys
import tokenize
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from agentnb.canonical import digest_of
from agentnb.context.references import FunctionNode, absolute_module, annotation_name, dotted, uses

PROPERTY_DECORATORS = frozenset({"property", "cached_property", "abstractproperty", "cache_readonly", "lazyproperty"})
MEMBER_LIMIT = 30
"""Members that the signature form of a class lists; a class of 200 methods would cost more than most bodies."""
_BUILTINS = frozenset(dir(builtins))
PARSE_ERRORS = (SyntaxError, ValueError, RecursionError, MemoryError)


@dataclass(frozen=True, kw_only=True, slots=True)
class Definition:
    """One definition with its exact text. `name` is qualified: by its module, or bare for a cell's."""

    name: str
    kind: str  # function | async function | class | method | property | constant | import | type alias
    origin: str  # "file" or "cell"
    file: str  # relative to its package's parent, or to the project; "" for cells
    cell: str  # cell id, or "In[3]"; "" for files
    lines: tuple[int, int]  # first (decorators included) and last, 1-based; (0, 0) where there is no source
    source: str  # exact text with LF line ends; "" for what is compiled
    signature: str
    doc: str
    imports: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    likelihoods: tuple[float, ...] = ()  # of each reference, that running this reaches it
    members: tuple[tuple[str, float], ...] = ()  # attributes of values of unknown class, with likelihoods
    whole: Definition | None = None  # what this was before its docstrings were cut
    framed: str = ""  # a member's text as it stands in the file, under the headers of its classes; else ""

    @property
    def digest(self) -> str:
        """Digest of what the model sees in full form. Where it stands is not part of it: edits above change nothing.

        One with its docstrings cut has the digest of the whole: it is the same version of the same definition.
        """
        if self.whole is not None:
            return self.whole.digest
        return digest_of([self.name, self.text])

    @property
    def text(self) -> str:
        """The full form: imports, then the source in its frame; for what has no source, its signature."""
        return "\n".join([*self.imports, self.framed or self.source or self.signature])

    def redacted(self, scrub: Callable[[str], str]) -> Definition:
        """With every text that a model could see passed through `scrub`; the same object where nothing changes."""
        clean = replace(
            self,
            source=scrub(self.source),
            framed=scrub(self.framed),
            signature=scrub(self.signature),
            doc=scrub(self.doc),
            imports=tuple(map(scrub, self.imports)),
            whole=self.whole.redacted(scrub) if self.whole is not None else None,
        )
        return self if clean == self else clean


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """Where a definition stands. `spans` has a second pair where a property's setter follows its getter.

    `weight` orders several of one name: 2 normal, 1 in a branch that does not run as a rule, 0 an overload's stub.
    """

    name: str
    kind: str
    spans: tuple[tuple[int, int], ...]
    weight: int = 2
    bases: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[int, int]:
        return self.spans[0][0], self.spans[-1][1]


@dataclass(frozen=True, kw_only=True, slots=True)
class Import:
    """One bound name of one import statement; `line` is the statement with that name alone."""

    bound: str
    target: str  # dotted and absolute: "networkx.Graph"
    line: str
    whole: str = ""  # the module of a plain `import a.b.c`, whose bound name is only `a`

    def serves(self, reference: str) -> bool:
        """Does code that uses `reference` need this line? `import a.b` does not serve `a.c`."""
        root = reference.partition(".")[0].removesuffix("()")
        if root != self.bound:
            return False
        return not self.whole or self.whole == root or f"{reference}.".startswith(f"{self.whole}.")


@dataclass(frozen=True, kw_only=True)
class ParseError:
    line: int
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.message}" if self.line else self.message


@dataclass(frozen=True, kw_only=True, eq=False)
class FileDefinitions:
    """What one file or cell defines. `error` says why a part of it could not be read; what could be is there."""

    module: str
    file: str
    lines: tuple[str, ...]
    entries: tuple[Entry, ...]
    imports: tuple[Import, ...]
    stars: tuple[str, ...] = ()  # absolute modules of `from … import *`
    deleted: tuple[str, ...] = ()
    doc: str = ""
    error: ParseError | None = None
    cell: str = ""
    parsed: tuple[str, ...] | None = None  # for cells with magics: the lines as Python, where `lines` are as typed

    @cached_property
    def chosen(self) -> Mapping[str, Entry]:
        """The entry that each name means: the implementation, not the stub; the branch that runs."""
        found: dict[str, Entry] = {}
        for entry in self.entries:
            if entry.name not in found or entry.weight >= found[entry.name].weight:
                found[entry.name] = entry
        return found

    @cached_property
    def bound(self) -> frozenset[str]:
        """Names that the file binds at its top."""
        return frozenset(self.chosen) | {item.bound for item in self.imports}

    @cached_property
    def by_name(self) -> Mapping[str, Definition]:
        """Definitions by their name inside the file: `Graph.add_edge`. Built when looked at."""
        return Built(self)

    @cached_property
    def constants(self) -> tuple[str, ...]:
        return tuple(name for name, entry in self.chosen.items() if entry.kind in {"constant", "type alias"})

    def at_line(self, line: int, name: str = "") -> Entry | None:
        """The entry whose first line is `line`, or the innermost one around it; `name` settles ties."""
        exact = [entry for entry in self.entries if any(span[0] == line for span in entry.spans)]
        named = [entry for entry in exact if entry.name.rpartition(".")[2] == name]
        if named or exact:
            return (named or exact)[-1]
        around = [entry for entry in self.entries if any(first <= line <= last for first, last in entry.spans)]
        return min(around, key=lambda entry: entry.lines[1] - entry.lines[0], default=None)

    def build(self, entry: Entry) -> Definition:
        return _build(self, entry)

    def outline(self) -> str:
        """Signatures with first doc lines of the public names, for the semi-static layer."""
        parts = [f'"""{self.doc}"""'] if self.doc else []
        for name, entry in self.chosen.items():
            if "." not in name and not name.startswith("_"):
                parts.append(self.by_name[name].signature if entry.kind != "constant" else _one_line(self, entry))
        return "\n".join(parts)


class Built(Mapping[str, Definition]):
    """A file's definitions by name, each built on first use."""

    def __init__(self, file: FileDefinitions) -> None:
        self._file = file
        self._built: dict[str, Definition] = {}

    def __getitem__(self, name: str) -> Definition:
        if name not in self._built:
            self._built[name] = _build(self._file, self._file.chosen[name])
        return self._built[name]

    def __contains__(self, name: object) -> bool:
        return name in self._file.chosen

    def __iter__(self) -> Iterator[str]:
        return iter(self._file.chosen)

    def __len__(self) -> int:
        return len(self._file.chosen)


# scanning: text -> entries ------------------------------------------------------------------------------------------


def normalise(text: str) -> str:
    """LF line ends and no byte order mark, so that a checkout on any system gives the same bytes."""
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def parse_definitions(
    source: str, *, module: str, file: str, cell: str = "", parsed: str | None = None
) -> FileDefinitions:
    """The definitions of `source`; never raises on broken source: `error` says why, and intact blocks are kept.

    `parsed` is the same text as Python where `source` has magics; it counts only if its lines fall on the same lines.
    """
    source = normalise(source)
    python = normalise(parsed) if parsed is not None else source
    if python.rstrip("\n").count("\n") != source.rstrip("\n").count("\n"):
        source = python
    package = module if file.rpartition("/")[2].startswith("__init__.") else module.rpartition(".")[0]
    scanner = _Scanner(package)
    error = scanner.read(python)
    return FileDefinitions(
        module=module,
        file=file,
        cell=cell,
        lines=tuple(source.split("\n")),
        parsed=None if python == source else tuple(python.split("\n")),
        entries=tuple(scanner.entries),
        imports=tuple(scanner.imports),
        stars=tuple(scanner.stars),
        deleted=tuple(scanner.deleted),
        doc=scanner.doc,
        error=error,
    )


def parse(text: str) -> ast.Module:
    """`ast.parse` without the warnings that old escape sequences in other people's strings raise."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(text)


class _Scanner:
    def __init__(self, package: str) -> None:
        self.package = package
        self.entries: list[Entry] = []
        self.imports: list[Import] = []
        self.stars: list[str] = []
        self.deleted: list[str] = []
        self.doc = ""
        self._places: dict[str, int] = {}

    def read(self, text: str) -> ParseError | None:
        try:
            tree = parse(text)
            self.doc = first_line(first_paragraph(tree))
            self._block(tree.body, _Where())
        except PARSE_ERRORS as error:
            self._salvage(text)
            return _parse_error(error)
        return None

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
                self.deleted.extend(target.id for target in node.targets if isinstance(target, ast.Name))
            case ast.If():
                self._branches(node, where)
            case _:
                self._compound(node, where)

    def _compound(self, node: ast.stmt, where: _Where) -> None:
        if type(node).__name__ == "TypeAlias":  # `type X = …`, Python 3.12
            self._add(dotted(getattr(node, "name", node)), "type alias", _span(node), where)
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
            self._add(node.name, kind, _span(node), where, weight=0 if stub else None)
        self._block(node.body, where.inside(f"{node.name}.<locals>", "function"))

    def _join(self, name: str, span: tuple[int, int]) -> None:
        if name in self._places:
            place = self._places[name]
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
    ) -> None:
        full = where.prefix + name
        self._places[full] = len(self.entries)
        weight = where.weight if weight is None else weight
        self.entries.append(Entry(name=full, kind=kind, spans=(span,), weight=weight, bases=bases))

    def _assignment(self, node: ast.Assign | ast.AnnAssign, where: _Where) -> None:
        if where.owner == "function":
            return
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        alias = isinstance(node, ast.AnnAssign) and dotted(node.annotation).rpartition(".")[2] == "TypeAlias"
        for target in targets:
            for name in ast.walk(target) if isinstance(target, ast.Tuple | ast.List) else [target]:
                if isinstance(name, ast.Name):
                    self._add(name.id, "type alias" if alias else "constant", _span(node), where)

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
        case _:
            return True


def _compares(op: ast.cmpop, left: tuple[object, ...], right: tuple[int, ...]) -> bool:
    order = (left > right) - (left < right)
    outcomes = {ast.GtE: order >= 0, ast.Gt: order > 0, ast.LtE: order <= 0, ast.Lt: order < 0, ast.Eq: order == 0}
    return outcomes.get(type(op), True)


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


# building: an entry's slice -> Definition -----------------------------------------------------------------------------


def _build(file: FileDefinitions, entry: Entry) -> Definition:
    nodes = _nodes(file, entry)
    owner = _owner(file, entry)
    used = uses(nodes, owner=owner.name if owner else "", bases=owner.bases if owner else ())
    references = tuple(name for name in used.references if name not in _BUILTINS or name in file.bound)
    source, framed = _text(file, entry, nodes)
    doc = first_paragraph(nodes[0]) if nodes else ""
    return Definition(
        name=f"{file.module}.{entry.name}" if file.module else entry.name,
        kind=entry.kind,
        origin="cell" if file.cell else "file",
        file=file.file,
        cell=file.cell,
        lines=entry.lines,
        source=source,
        framed=framed,
        signature=_signature(file, entry, nodes, doc),
        doc=doc,
        imports=needed_imports(file.imports, references),
        references=references,
        likelihoods=tuple(used.references[name] for name in references),
        members=tuple(used.members.items()),
    )


def needed_imports(imports: Sequence[Import], references: Sequence[str]) -> tuple[str, ...]:
    """The import lines that code with these references needs, in the module's order, each once."""
    lines = (item.line for item in imports if any(item.serves(reference) for reference in references))
    return tuple(dict.fromkeys(lines))


def _slice(file: FileDefinitions, entry: Entry, *, python: bool = False) -> list[str]:
    lines = file.parsed if python and file.parsed is not None else file.lines
    return [line for first, last in entry.spans for line in lines[first - 1 : last]]


def _nodes(file: FileDefinitions, entry: Entry) -> list[ast.stmt]:
    """The slice parsed alone. An indented one goes under `if 1:`, which keeps its strings as they are."""
    text = "\n".join(_slice(file, entry, python=True))
    indented = text[:1].isspace()
    try:
        body = parse(f"if 1:\n{text}" if indented else text).body
    except PARSE_ERRORS:
        return []
    return body[0].body if indented and isinstance(body[0], ast.If) else body


def _owner(file: FileDefinitions, entry: Entry) -> Entry | None:
    parent = file.chosen.get(entry.name.rpartition(".")[0])
    return parent if parent and parent.kind == "class" else None


def _text(file: FileDefinitions, entry: Entry, nodes: Sequence[ast.stmt]) -> tuple[str, str]:
    """(source, framed): the slice moved left to the margin, and the same under its classes' headers."""
    lines = _slice(file, entry)
    frames = _frames(file, entry)
    margin = _indent(lines[0])
    inside = _string_lines(nodes) if margin else frozenset()
    source = "\n".join(_moved(lines, margin if nodes else 0, inside))
    if not frames:
        return source, ""
    outer = _indent(frames[0])
    return source, "\n".join([*(line[outer:] for line in frames), *_moved(lines, outer, inside)])


def _moved(lines: Sequence[str], margin: int, inside: frozenset[int]) -> list[str]:
    # Under `if 1:` the slice's first line was line 2 of what was parsed.
    return [line if i + 2 in inside else line[min(margin, _indent(line)) :] for i, line in enumerate(lines)]


def _frames(file: FileDefinitions, entry: Entry) -> list[str]:
    frames: list[str] = []
    parent = _owner(file, entry)
    while parent:
        lines = _slice(file, parent)
        text = "\n".join(lines)
        frames.insert(0, lines[0][: _indent(lines[0])] + header(text))
        parent = _owner(file, parent)
    return frames


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _string_lines(nodes: Sequence[ast.stmt]) -> frozenset[int]:
    """Lines that begin inside a string: moving them would change its value."""
    found: set[int] = set()
    for node in (child for top in nodes for child in ast.walk(top)):
        if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)):
            found.update(range(node.lineno + 1, (node.end_lineno or node.lineno) + 1))
    return frozenset(found)


# signatures -----------------------------------------------------------------------------------------------------------


def header(text: str) -> str:
    """`def f(a, b=1) -> int:` or `class A(B):` on one line, without comments, from text that begins at or before it."""
    out: list[str] = []
    depth = 0
    previous: tokenize.TokenInfo | None = None
    for token in _tokens(text):
        if token.type in {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}:
            if token.type == tokenize.NEWLINE:
                out.clear()  # that was a decorator
                previous = None
            continue
        if token.string == ")" and depth == 1 and out[-1] == ",":
            out.pop()  # what a parameter list broken over lines leaves behind
        out.append(_gap(previous, token) + token.string)
        depth += (token.string in {"(", "[", "{"}) - (token.string in {")", "]", "}"})
        if token.string == ":" and depth == 0 and out[0].strip() in {"def", "class", "async"}:
            break
        previous = token
    return "".join(out)


def _tokens(text: str) -> Iterator[tokenize.TokenInfo]:
    try:
        yield from tokenize.generate_tokens(io.StringIO(text).readline)
    except (tokenize.TokenError, SyntaxError):
        return


def _gap(previous: tokenize.TokenInfo | None, token: tokenize.TokenInfo) -> str:
    if previous is None:
        return ""
    if previous.end[0] != token.start[0]:
        return "" if previous.string in {"(", "[", "{"} or token.string in {")", "]", "}"} else " "
    return " " if previous.end[1] != token.start[1] else ""


def _signature(file: FileDefinitions, entry: Entry, nodes: Sequence[ast.stmt], doc: str) -> str:
    if entry.kind in {"constant", "type alias"} or not nodes:
        return _one_line(file, entry)
    text = "\n".join(_slice(file, entry, python=True))
    head = header(text)
    if entry.kind == "class":
        return _class_signature(file, entry, head, doc)
    about = f'  """{first_line(doc)}"""' if doc else ""
    mark = "@property " if entry.kind == "property" else ""
    return f"{mark}{head} ...{about}"


def _class_signature(file: FileDefinitions, entry: Entry, head: str, doc: str) -> str:
    about = [f'    """{first_line(doc)}"""'] if doc else []
    members = [member for member in file.chosen.values() if _is_shown_member(entry, member)]
    lines = [f"    {_member_line(file, member)}" for member in members[:MEMBER_LIMIT]]
    rest = len(members) - MEMBER_LIMIT
    more = [f"    # and {rest} more members"] if rest > 0 else []
    return "\n".join([head, *about, *lines, *more]) if about or lines else f"{head} ..."


def _is_shown_member(entry: Entry, member: Entry) -> bool:
    owner, _, name = member.name.rpartition(".")
    return owner == entry.name and (not name.startswith("_") or name in {"__init__", "__call__"})


def _member_line(file: FileDefinitions, member: Entry) -> str:
    if member.kind not in {"method", "property"}:
        return _one_line(file, member)
    mark = "@property " if member.kind == "property" else ""
    return f"{mark}{header(chr(10).join(_slice(file, member, python=True)))} ..."


def _one_line(file: FileDefinitions, entry: Entry, limit: int = 100) -> str:
    lines = _slice(file, entry)
    first = lines[0].strip()
    return first if len(lines) == 1 and len(first) <= limit else f"{first[:limit]} ..."


def without_docs(found: Definition) -> Definition:
    """The definition with its docstrings cut to their first line: further out they double the cost and add nothing."""
    try:
        tree = parse(found.source)
    except PARSE_ERRORS:
        return found
    cuts = [cut for node in ast.walk(tree) if (cut := _docstring(node))]
    if not cuts:
        return found
    above = found.framed.count("\n") - found.source.count("\n") if found.framed else 0
    framed = _cut(found.framed, cuts, above) if found.framed else ""
    return replace(found, source=_cut(found.source, cuts, 0), framed=framed, whole=found)


def _docstring(node: ast.AST) -> tuple[int, int, str] | None:
    """(first line, last line, what stays) of a docstring of three lines or more that stands on lines of its own."""
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return None
    text, body = ast.get_docstring(node), node.body[0]
    last = body.end_lineno or body.lineno
    if not text or last - body.lineno < 2 or body.lineno == node.lineno:
        return None
    return body.lineno, last, first_line(first_paragraph(node)).replace("\\", "/").replace('"', "'")


def _cut(text: str, cuts: Sequence[tuple[int, int, str]], above: int) -> str:
    lines = text.split("\n")
    for first, last, kept in sorted(cuts, reverse=True):
        margin = lines[first + above - 1][: _indent(lines[first + above - 1])]
        lines[first + above - 1 : last + above] = [f'{margin}"""{kept} […]"""']
    return "\n".join(lines)


# docstrings -----------------------------------------------------------------------------------------------------------


def first_paragraph(node: ast.AST) -> str:
    """The first paragraph of a docstring, its lines joined by single spaces."""
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module):
        return ""
    text = ast.get_docstring(node) or ""
    lines = text.split("\n\n")[0].split("\n")
    # A title's underline is no prose.
    return " ".join(" ".join(line for line in lines if line.strip("=-~*# ")).split())


def first_line(doc: str, limit: int = 120) -> str:
    """The first sentence or so of a first paragraph."""
    sentence, stop, _ = doc.partition(". ")
    line = sentence + stop.strip()
    return line if len(line) <= limit else f"{line[: limit - 1].rstrip()}…"
