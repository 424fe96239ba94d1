"""Hold definitions: functions, classes, methods, properties, constants, imports, type aliases; and what one file
defines.

Pure values. A file is a tuple of lines and of light entries (name, kind, lines). A Definition is built from its own
slice only when somebody asks for it, so an index keeps no trees.
"""

from __future__ import annotations

import ast
import builtins
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import TypeGuard

from agentnb.canonical import digest_of
from agentnb.context.static.name_usage import uses
from agentnb.context.static.syntax import PARSE_ERRORS, first_line, first_paragraph, header, indent, parse

MEMBER_LIMIT = 30
"""Members that the signature form of a class lists; a class of 200 methods would cost more than most bodies."""
_BUILTINS = frozenset(dir(builtins))


@dataclass(frozen=True, kw_only=True, slots=True)
class Definition:
    """Holds one definition with its exact text. `name` is qualified: by its module, or bare for a cell's."""

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
    references: tuple[str, ...] = ()  # `self.x` is a member of the class around it, or of the one it is called on
    members: tuple[str, ...] = ()  # attributes of values of unknown class
    library: bool = False  # of Python's own library, an installed package, or compiled: not the user's code
    docstring: str = ""  # a library's, whole
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
        """Return the full form: imports, then the source in its frame; for what has no source, its signature."""
        return "\n".join([*self.imports, self.framed or self.source or self.signature])

    def redacted(self, scrub: Callable[[str], str]) -> Definition:
        """Return it with every text that a model could see passed through `scrub`; the same object where nothing
        changes."""
        texts = (self.source, self.framed, self.signature, self.doc, self.docstring)
        clean, imports = tuple(map(scrub, texts)), tuple(map(scrub, self.imports))
        whole = self.whole.redacted(scrub) if self.whole is not None else None
        if (clean, imports) == (texts, self.imports) and whole is self.whole:
            return self
        source, framed, signature, doc, docstring = clean
        return replace(
            self,
            source=source,
            framed=framed,
            signature=signature,
            doc=doc,
            docstring=docstring,
            imports=imports,
            whole=whole,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """Tells where a definition stands. `spans` has a second pair where a property's setter follows its getter.

    `weight` orders several of one name: 2 normal, 1 in a branch that rarely runs, 0 an overload's stub. `columns` is
    set where others share its lines (`a = 1; b = 2`). It has the UTF-8 bytes before it in its first line, and up to its
    end in its last.
    """

    name: str
    kind: str
    spans: tuple[tuple[int, int], ...]
    weight: int = 2
    bases: tuple[str, ...] = ()
    columns: tuple[int, int] | None = None

    @property
    def lines(self) -> tuple[int, int]:
        return self.spans[0][0], self.spans[-1][1]


@dataclass(frozen=True, kw_only=True, slots=True)
class Import:
    """Holds one bound name of one import statement; `line` is the statement with that name alone."""

    bound: str
    target: str  # dotted and absolute: "networkx.Graph"
    line: str
    whole: str = ""  # the module of a plain `import a.b.c`, whose bound name is only `a`

    def serves(self, reference: str) -> bool:
        """Tell whether code that uses `reference` needs this line. `import a.b` does not serve `a.c`."""
        root = reference.partition(".")[0].removesuffix("()")
        if root != self.bound:
            return False
        return not self.whole or self.whole == root or f"{reference}.".startswith(f"{self.whole}.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """Holds one entry of a file's outline: the name inside the file, and its signature at the margin. A class's members
    are entries of their own."""

    name: str
    text: str


@dataclass(frozen=True, kw_only=True)
class ParseError:
    line: int
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.message}" if self.line else self.message


@dataclass(frozen=True, kw_only=True, eq=False)
class FileDefinitions:
    """Holds what one file or cell defines. `error` says why a part of it could not be read; what could be is there.

    `outdated`: none of it could be, and this is what an earlier version of the file defined.
    """

    module: str
    file: str
    lines: tuple[str, ...]
    entries: tuple[Entry, ...]
    imports: tuple[Import, ...]
    stars: tuple[str, ...] = ()  # absolute modules of `from … import *`
    deleted: tuple[str, ...] = ()
    doc: str = ""
    error: ParseError | None = None
    outdated: bool = False
    cell: str = ""
    parsed: tuple[str, ...] | None = None  # for cells with magics: the lines as Python, where `lines` are as typed
    made: Mapping[str, str] = field(default_factory=dict)  # for cells: what their own scope binds; `Model()` if a call
    imported: frozenset[str] = frozenset()  # for cells: of these names what they import counts, not what they define
    library: bool = False

    @cached_property
    def chosen(self) -> Mapping[str, Entry]:
        """Return the entry that each name means: the implementation, not the stub; the branch that runs."""
        found: dict[str, Entry] = {}
        for entry in self.entries:
            if entry.name not in found or entry.weight >= found[entry.name].weight:
                found[entry.name] = entry
        return found

    @cached_property
    def repeated(self) -> frozenset[str]:
        """Return the names that are defined several times."""
        return frozenset(name for name, count in Counter(entry.name for entry in self.entries).items() if count > 1)

    @cached_property
    def by_root(self) -> Mapping[str, Sequence[str]]:
        """Return each top-level name with itself and what stands inside it: `Graph`, `Graph.add_edge`."""
        found: dict[str, list[str]] = {}
        for name in self.chosen:
            found.setdefault(name.partition(".")[0], []).append(name)
        return found

    @cached_property
    def nested(self) -> Mapping[str, str]:
        """Return `outer.<locals>.inner` by what people call it, `outer.inner`, where nothing else is called so."""
        found = {name.replace(".<locals>", ""): name for name in self.chosen if ".<locals>." in name}
        return {called: name for called, name in found.items() if called not in self.chosen}

    @cached_property
    def bound(self) -> frozenset[str]:
        """Return the names that the file binds at its top."""
        return frozenset(self.chosen) | {item.bound for item in self.imports}

    @cached_property
    def by_name(self) -> Mapping[str, Definition]:
        """Return the definitions by their name inside the file: `Graph.add_edge`. Built when looked at."""
        return Built(self)

    def at_line(self, line: int, name: str = "") -> Entry | None:
        """Return the entry whose first line is `line`, or the innermost one around it; `name` settles ties."""
        exact = [entry for entry in self.entries if any(span[0] == line for span in entry.spans)]
        named = [entry for entry in exact if entry.name.rpartition(".")[2] == name]
        if named or exact:
            return (named or exact)[-1]
        around = [entry for entry in self.entries if any(first <= line <= last for first, last in entry.spans)]
        return min(around, key=lambda entry: entry.lines[1] - entry.lines[0], default=None)

    def python_of(self, entry: Entry) -> str:
        """Return the entry's own text, as Python where its cell has magics."""
        return "\n".join(_slice(self, entry, python=True)).strip()

    def build(self, entry: Entry) -> Definition:
        return _build(self, entry)

    def signature(self, entry: Entry, *, members: bool = True) -> str:
        """Return its signature with the first line of its documentation; a class's lists its `members`."""
        return _signature(self, entry, _doc_of("\n".join(_slice(self, entry, python=True))), members=members)

    def members(self, entry: Entry) -> list[tuple[Entry, str]]:
        """Return what a class's signature lists: each public member with its line, MEMBER_LIMIT at most."""
        return [(member, _member_line(self, member)) for member in self.shown.get(entry.name, ())[:MEMBER_LIMIT]]

    @cached_property
    def shown(self) -> Mapping[str, list[Entry]]:
        """Return the public members by their class."""
        found: dict[str, list[Entry]] = {}
        for entry in self.chosen.values():
            owner, _, name = entry.name.rpartition(".")
            if owner and (not name.startswith("_") or name in {"__init__", "__call__"}):
                found.setdefault(owner, []).append(entry)
        return found

    @cached_property
    def outline(self) -> tuple[Line, ...]:
        """Return what the file offers, line by line: public signatures, and what a package imports from its own
        modules. Bodies are no part of it, so most edits leave it as it is."""
        return tuple(_outline(self))


class Built(Mapping[str, Definition]):
    """Holds a file's definitions by name, each built on first use."""

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


# building: an entry's slice -> Definition -----------------------------------------------------------------------------


def _build(file: FileDefinitions, entry: Entry) -> Definition:
    nodes = _nodes(file, entry)
    owner = _owner(file, entry)
    used = uses(nodes, owner=owner.name if owner else "", bases=owner.bases if owner else ())
    # Another cell may have bound what is called like a builtin.
    references = tuple(name for name in used.references if file.cell or name not in _BUILTINS or name in file.bound)
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
        signature=_signature(file, entry, doc if nodes else None),
        doc=doc,
        imports=needed_imports(file.imports, references),
        references=references,
        members=used.members,
        library=file.library,
        docstring=(ast.get_docstring(nodes[0]) or "") if file.library and _is_documented(nodes) else "",
    )


def _is_documented(nodes: Sequence[ast.stmt]) -> TypeGuard[Sequence[ast.FunctionDef]]:
    return bool(nodes) and isinstance(nodes[0], ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)


def needed_imports(imports: Sequence[Import], references: Sequence[str]) -> tuple[str, ...]:
    """Return the import lines that code with these references needs, in the module's order, each once."""
    lines = (item.line for item in imports if any(item.serves(reference) for reference in references))
    return tuple(dict.fromkeys(lines))


def _slice(file: FileDefinitions, entry: Entry, *, python: bool = False) -> list[str]:
    lines = file.parsed if python and file.parsed is not None else file.lines
    found = [line for first, last in entry.spans for line in lines[first - 1 : last]]
    return _cut_out(found, *entry.columns) if _is_part(file, entry) and entry.columns else found


def _is_part(file: FileDefinitions, entry: Entry) -> bool:
    """Tell whether it is cut out of its lines. It is not where they were typed as magics: the columns are those of the
    Python."""
    first, last = entry.lines
    as_typed = file.parsed is None or file.parsed[first - 1 : last] == file.lines[first - 1 : last]
    return entry.columns is not None and as_typed


def _cut_out(lines: list[str], start: int, end: int) -> list[str]:
    last = lines[-1].encode("utf-8", "surrogatepass")[:end].decode("utf-8", "surrogatepass")
    lines = [*lines[:-1], last]
    first = lines[0].encode("utf-8", "surrogatepass")[start:].decode("utf-8", "surrogatepass")
    return [first, *lines[1:]]


def _nodes(file: FileDefinitions, entry: Entry) -> list[ast.stmt]:
    """Return the slice parsed alone. An indented one goes under `if 1:`, which keeps its strings as they are."""
    return _parsed_alone("\n".join(_slice(file, entry, python=True)))


def _parsed_alone(text: str) -> list[ast.stmt]:
    indented = text[:1].isspace()
    try:
        body = parse(f"if 1:\n{text}" if indented else text).body
    except PARSE_ERRORS:
        return []
    return body[0].body if indented and isinstance(body[0], ast.If) else body


@lru_cache(1024)
def _doc_of(text: str) -> str | None:
    """Return the first paragraph of its documentation; None where it does not parse. Of an edited file most is as it
    was."""
    nodes = _parsed_alone(text)
    return first_paragraph(nodes[0]) if nodes else None


def _owner(file: FileDefinitions, entry: Entry) -> Entry | None:
    parent = file.chosen.get(entry.name.rpartition(".")[0])
    return parent if parent and parent.kind == "class" else None


def _text(file: FileDefinitions, entry: Entry, nodes: Sequence[ast.stmt]) -> tuple[str, str]:
    """Return (source, framed): the slice moved left to the margin, and the same under its classes' headers."""
    lines = _slice(file, entry)
    frames = _frames(file, entry)
    if _is_part(file, entry):
        source = "\n".join(lines)
        return source, "\n".join([*_dedented(frames), "    " * len(frames) + source]) if frames else ""
    margin = indent(lines[0])
    inside = _string_lines(nodes) if margin else frozenset()
    source = "\n".join(_moved(lines, margin if nodes else 0, inside))
    if not frames:
        return source, ""
    return source, "\n".join([*_dedented(frames), *_moved(lines, indent(frames[0]), inside)])


def _dedented(frames: Sequence[str]) -> list[str]:
    return [line[indent(frames[0]) :] for line in frames]


def _moved(lines: Sequence[str], margin: int, inside: frozenset[int]) -> list[str]:
    # Under `if 1:` the slice's first line was line 2 of what was parsed.
    return [line if i + 2 in inside else line[min(margin, indent(line)) :] for i, line in enumerate(lines)]


def _frames(file: FileDefinitions, entry: Entry) -> list[str]:
    frames: list[str] = []
    parent = _owner(file, entry)
    while parent:
        lines = _slice(file, parent)
        text = "\n".join(lines)
        frames.insert(0, lines[0][: indent(lines[0])] + header(text))
        parent = _owner(file, parent)
    return frames


def _string_lines(nodes: Sequence[ast.stmt]) -> frozenset[int]:
    """Return the lines that begin inside a string: moving them would change its value."""
    found: set[int] = set()
    for node in (child for top in nodes for child in ast.walk(top)):
        if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)):
            found.update(range(node.lineno + 1, (node.end_lineno or node.lineno) + 1))
    return frozenset(found)


# signatures -----------------------------------------------------------------------------------------------------------


def _outline(file: FileDefinitions) -> Iterator[Line]:
    if file.doc:
        yield Line(name="__doc__", text=f'"""{file.doc}"""')
    for name, entry in file.chosen.items():
        if "." in name or name.startswith("_"):
            continue
        if entry.kind != "class":
            yield Line(name=name, text=file.signature(entry))
            continue
        yield Line(name=name, text=file.signature(entry, members=False))
        yield from (Line(name=member.name, text=line) for member, line in file.members(entry))
    yield from _offered_on(file)


def _offered_on(file: FileDefinitions) -> Iterator[Line]:
    """Yield what a package's `__init__` imports from the package's own modules: that is its interface."""
    top = file.module.partition(".")[0]
    if not file.file.endswith("__init__.py"):
        return
    for item in {item.bound: item for item in file.imports}.values():
        own = item.target.partition(".")[0] == top and item.bound not in file.chosen
        if own and not item.bound.startswith("_"):
            yield Line(name=item.bound, text=item.line)


def _signature(file: FileDefinitions, entry: Entry, doc: str | None, *, members: bool = True) -> str:
    """Return the signature. `doc` is None where the definition does not parse."""
    if entry.kind in {"constant", "type alias"} or doc is None:
        return _one_line(file, entry)
    text = "\n".join(_slice(file, entry, python=True))
    head = header(text)
    if entry.kind == "class":
        return _class_signature(file, entry, head, doc, members=members)
    about = f'  """{first_line(doc)}"""' if doc else ""
    return f"{_mark(entry)}{head} ...{about}"


def _mark(entry: Entry) -> str:
    """Return what the header does not say."""
    return "@property " if entry.kind == "property" else ""


def _class_signature(file: FileDefinitions, entry: Entry, head: str, doc: str, *, members: bool) -> str:
    about = [f'    """{first_line(doc)}"""'] if doc else []
    lines = [f"    {line}" for _, line in file.members(entry)] if members else []
    rest = len(file.shown.get(entry.name, ())) - MEMBER_LIMIT if members else 0
    more = [f"    # and {rest} more members"] if rest > 0 else []
    return "\n".join([head, *about, *lines, *more]) if about or file.shown.get(entry.name) else f"{head} ..."


def _member_line(file: FileDefinitions, member: Entry) -> str:
    if member.kind not in {"method", "property"}:
        return _one_line(file, member)
    return f"{_mark(member)}{header(chr(10).join(_slice(file, member, python=True)))} ..."


def _one_line(file: FileDefinitions, entry: Entry, limit: int = 100) -> str:
    lines = _slice(file, entry)
    first = lines[0].strip()
    return first if len(lines) == 1 and len(first) <= limit else f"{first[:limit]} ..."


@lru_cache(1024)
def without_docs(found: Definition) -> Definition:
    """Return the definition with its docstrings cut to their first line: further out they double the cost and add
    nothing."""
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
    """Return (first line, last line, what stays) of a docstring of three lines or more on lines of its own."""
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
        margin = lines[first + above - 1][: indent(lines[first + above - 1])]
        lines[first + above - 1 : last + above] = [f'{margin}"""{kept} […]"""']
    return "\n".join(lines)
