"""Index the notebook's own code: every executed cell, the last definition of each name, and what its imports bind.

`inspect.getsource` fails for every class that a cell defines, so the cells' texts are kept here as they run. What a
name means follows the kernel. A later binding replaces an earlier one, and `del` removes it. A cell that is edited and
run again replaces only what it binds anew.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from agentnb.context.static.definitions import Definition, FileDefinitions, Import
from agentnb.context.static.name_usage import SELF, dotted, uses
from agentnb.context.static.scanner import parse_cell
from agentnb.context.static.syntax import PARSE_ERRORS, parse

PYTHON_BODIES = frozenset({"time", "capture", "prun", "agent_trace", "memit", "snakeviz", "scalene", "pyinstrument"})
"""Cell magics that run their body as Python in the user's namespace. The bodies of all others define nothing there."""
AGENT = re.compile(r"\s*%%?agent(?:\s|$)")
LINE_MAGIC = re.compile(r"^([ \t]*)(?:[%!][^\n]*[^\n\\]|\?{1,2}[\w.]+|[\w.]+\?{1,2})$", re.MULTILINE)
"""A magic, a shell command or a request for help, on one line that does not go on."""
ASSIGNED_MAGIC = re.compile(r"^([ \t]*[\w, \t]*\w[ \t]*=[ \t]*)[%!][^\n]*[^\n\\]$", re.MULTILINE)
CELL_MAGIC = re.compile(r"\s*%%(\w[\w.]*)[^\n]*\n?")
RESET = re.compile(r"^%(?:reset\b(?! -s)|xdel\s+(\w+))", re.MULTILINE)
CONSTANT_LIMIT = 2000
"""Characters of an assignment that still counts as a constant; longer ones are data."""
NOTE_LIMIT = 50
CODE_LIMIT = 100_000


@dataclass(frozen=True, slots=True)
class _Bound:
    """Holds a bound name: bound to the entry or import of `cell`, or to a value of its own."""

    cell: FileDefinitions
    entry: bool = False
    item: Import | None = None
    made: str = ""  # `Model()` for `model = Model(…)`
    order: int = 0  # the newest has the highest


@dataclass(frozen=True, kw_only=True, slots=True)
class CellVersion:
    """Holds one cell as it last ran: `version` counts its runs, `defines` what it bound, `uses` the names it needs."""

    cell: str
    version: int
    defines: tuple[str, ...]
    uses: tuple[str, ...]


class CellIndex:
    """Holds the notebook's definitions. `transform` turns a cell's text into Python: `ip.transform_cell`."""

    def __init__(self, transform: Callable[[str], str]) -> None:
        self._transform = transform
        self._bound: dict[str, _Bound] = {}
        self._texts: dict[str, str] = {}
        self._joined: tuple[object, str] = None, ""  # the version, and its cells as one text
        self._latest: dict[str, tuple[int, FileDefinitions]] = {}
        self._order = 0
        self._targets: dict[str, str] = {}
        self._modules: dict[str, None] = {}  # of `from a import *` and of `import a.b`, which binds only `a`
        self.notes: list[str] = []
        self.numbers: dict[str, int] = {}
        """The number that each cell had when it last ran: for people, who do not see its id. It is in no prompt."""
        self.version = 0
        """Grows with every recorded cell: what was made of an older version is stale."""

    def record(self, source: str, *, cell_id: str | None, number: int | None, failed_at: int = 0) -> None:
        """Take in one executed cell. What cannot be parsed becomes a note; nothing is raised.

        `failed_at` is the line at which it raised, counted from its first line of code; 0 if it did not. What stands
        from that statement on has not run: it replaces nothing.
        """
        label = cell_id or (f"In[{number}]" if number is not None else "In[?]")
        code = python_part(source)
        self.version += 1
        if number is not None:
            self.numbers[label] = number
        if code is None:
            return
        cell = self._parse(label, code)
        if cell.error:
            self._note(f"{label if number is None else f'In[{number}]'} did not parse: {cell.error}")
        else:
            self._texts.pop(label, None)
            self._texts[label] = "\n".join(cell.parsed or cell.lines)
            self._joined = None, ""
            self._forget(code)
        self._bind(cell, ran=not (cell.error or failed_at))
        if failed_at and not cell.error:
            self._bind(_above(cell, failed_at), ran=True)
        version, _ = self._latest.pop(label, (0, cell))
        self._latest[label] = (version + 1, cell)

    def _parse(self, label: str, code: str) -> FileDefinitions:
        """Parse a cell. Most are plain Python, or plain but for lines that are magics. IPython's transformer comes
        last: it takes ten times as long as parsing."""
        return parse_cell(code, cell=label, versions=(make(code) for make in (_without_magics, self._python)))

    def versions(self) -> tuple[CellVersion, ...]:
        """Return the cells with code, in the order of their last run."""
        return tuple(_version(cell, version) for version, cell in self._latest.values())

    def code(self, limit: int = CODE_LIMIT) -> str:
        """Return the newest cells as one Python text, oldest first, at most `limit` characters of whole cells."""
        key = self.version, limit
        if self._joined[0] != key:
            kept: list[str] = []
            for text in reversed(self._texts.values()):
                if len(text) <= limit:
                    limit -= len(text)
                    kept.append(text)
            self._joined = key, "\n".join(reversed(kept))
        return self._joined[1]

    def _python(self, code: str) -> str:
        # The transformer drops blank lines at the start; they keep later lines on the lines that the user sees.
        lead = "\n" * (len(code) - len(code.lstrip("\n")))
        try:
            return lead + self._transform(code)
        except Exception as error:  # noqa: BLE001 - input transformers are the user's and other extensions' code
            self._note(f"a cell could not be transformed to Python: {type(error).__name__}")
            return code

    def take_notes(self) -> tuple[str, ...]:
        """Return what could not be read since this was last asked."""
        taken = tuple(self.notes)
        self.notes.clear()
        return taken

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)
        del self.notes[:-NOTE_LIMIT]

    def _forget(self, code: str) -> None:
        for match in RESET.finditer(code):
            for name in [match.group(1)] if match.group(1) else self._bound.copy():
                self._unset(name)

    def _bind(self, cell: FileDefinitions, *, ran: bool) -> None:
        """Take in what the cell binds; where it has not run, only what nothing else has bound."""
        imports = {item.bound: item for item in cell.imports}
        self._modules |= dict.fromkeys([*cell.stars, *(item.whole for item in cell.imports if item.whole)])
        for name, made in cell.made.items():
            if not ran and name in self._bound:
                continue
            if name in cell.chosen and name not in cell.imported:
                kept = cell.chosen[name].kind != "constant" or is_simple(cell, name)
                self._set(name, _Bound(cell, entry=kept, made=made))
            else:
                self._set(name, _Bound(cell, item=imports.get(name), made=made))
        for name in cell.deleted if ran else ():
            if name not in cell.made:
                self._unset(name)

    def _set(self, name: str, bound: _Bound) -> None:
        """Set in place: another thread may be looking, and a name that is bound anew is never away."""
        self._order += 1
        self._bound[name] = replace(bound, order=self._order)
        if bound.item:
            self._targets[name] = bound.item.target
        else:
            self._targets.pop(name, None)

    def _unset(self, name: str) -> None:
        self._bound.pop(name, None)
        self._targets.pop(name, None)

    def definitions(self) -> CellDefinitions:
        """Qualified name -> its last definition: functions, classes and members, simple constants, imports.

        A view: cells that run later show in it.
        """
        return CellDefinitions(self._bound)

    def made_by(self, name: str) -> str:
        """Return `Model` for a variable that its cell made by calling `Model(…)`; else an empty text."""
        bound = self._bound.get(name)
        return bound.made.removesuffix("()") if bound else ""

    def order_of(self, name: str) -> int:
        """Return a number that grows whenever the name is bound anew; 0 where no cell binds it."""
        bound = self._bound.get(name)
        return bound.order if bound else 0

    @property
    def names(self) -> AbstractSet[str]:
        """Return every name that a cell has bound, values too. A view."""
        return self._bound.keys()

    def imports(self) -> Mapping[str, str]:
        """Bound name -> dotted target: `nx` -> `networkx`, `G` -> `networkx.Graph`. As it is now."""
        return dict(self._targets)

    def imported(self) -> list[str]:
        """Return the dotted targets of all that cells import: `networkx`, `networkx.Graph`, `xml.etree`; each once."""
        return list(dict.fromkeys([*self.imports().values(), *self._modules.copy()]))


class CellDefinitions(Mapping[str, Definition]):
    """Holds the last definitions by name, built when looked at, with the import lines that each needs from the
    notebook.

    A view of what may change meanwhile in another thread: `get` a name rather than ask for it twice.
    """

    def __init__(self, bound: dict[str, _Bound]) -> None:
        self._bound = bound

    def _imports_of(self, references: Iterable[str]) -> tuple[str, ...]:
        """Sorted: running an import cell again must not change what uses it."""
        found = set()
        for reference in references:
            bound = self._bound.get(reference.partition(".")[0].removesuffix("()"))
            if bound and bound.item and bound.item.serves(reference):
                found.add(bound.item.line)
        return tuple(sorted(found))

    def __getitem__(self, name: str) -> Definition:
        bound = self._bound[name.partition(".")[0]]
        if bound.item and bound.item.bound == name:
            return _import_definition(bound.item, bound.cell.cell)
        if not bound.entry:
            raise KeyError(name)
        return self._with_imports(bound.cell.by_name[bound.cell.nested.get(name, name)])

    def _with_imports(self, found: Definition) -> Definition:
        return replace(found, imports=self._imports_of(found.references))

    def cell_of(self, name: str) -> FileDefinitions | None:
        """Return the cell that defines the name, or the class or function that it stands in."""
        bound = self._bound.get(name.partition(".")[0])
        return bound.cell if bound and bound.entry else None

    def variant(self, name: str, source: str) -> Definition | None:
        """Return, of a cell's definitions of that name, the one with this text: a condition may have chosen
        it."""
        bound = self._bound.get(name.partition(".")[0])
        if bound is None or name not in bound.cell.repeated:
            return None
        built = (bound.cell.build(entry) for entry in bound.cell.entries if entry.name == name)
        found = next((definition for definition in built if definition.source == source), None)
        return self._with_imports(found) if found else None

    def __iter__(self) -> Iterator[str]:
        for name, bound in sorted(self._bound.copy().items(), key=lambda item: item[1].order):
            if bound.item:
                yield name
            elif bound.entry:
                yield from bound.cell.by_root[name]

    def __contains__(self, name: object) -> bool:
        bound = self._bound.get(str(name).partition(".")[0])
        if bound is None:
            return False
        known = bound.entry and (name in bound.cell.chosen or name in bound.cell.nested)
        return known or bool(bound.item and bound.item.bound == name)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _above(cell: FileDefinitions, line: int) -> FileDefinitions:
    """Return the cell up to the statement that failed at `line` of its code."""
    lines = cell.parsed or cell.lines
    line += next((number for number, text in enumerate(lines) if text.strip()), 0)
    body = parse("\n".join(lines)).body
    failed = next((node for node in body if (node.end_lineno or node.lineno) >= line), None)
    decorators = getattr(failed, "decorator_list", [])
    first = min([node.lineno for node in (failed, *decorators) if node is not None], default=1)
    return parse_cell("\n".join(lines[: first - 1]), cell=cell.cell)


def _version(cell: FileDefinitions, version: int) -> CellVersion:
    defines = cell.made
    try:
        used = uses(parse("\n".join(cell.parsed or cell.lines)).body).references
    except PARSE_ERRORS:
        used = ()
    names = dict.fromkeys(name.partition(".")[0].partition("()")[0] for name in used)
    names.pop(SELF, None)
    return CellVersion(
        cell=cell.cell,
        version=version,
        defines=tuple(defines),
        uses=tuple(name for name in names if name not in defines and name not in _BUILTINS),
    )


_BUILTINS = frozenset(dir(builtins)) | {"get_ipython"}


def _import_definition(item: Import, cell: str) -> Definition:
    return Definition(
        name=item.bound,
        kind="import",
        origin="cell",
        file="",
        cell=cell,
        lines=(0, 0),
        source=item.line,
        signature=item.line,
        doc="",
        references=(item.target,),
    )


def python_part(source: str) -> str | None:
    """Return the Python of a cell: all of it, or the body of a cell magic that runs it here. None where there is
    none."""
    source = source.replace("\r\n", "\n").replace("\r", "\n")
    if not source.strip() or AGENT.match(source):
        return None
    magic = CELL_MAGIC.match(source)
    if magic is None:
        return source
    if magic.group(1) not in PYTHON_BODIES:
        return None
    body = python_part(source[magic.end() :])
    # Blank lines keep the body on the lines that the user sees.
    return None if body is None else "\n" * magic.group(0).count("\n") + body


def _without_magics(code: str) -> str:
    return ASSIGNED_MAGIC.sub(r"\1...", LINE_MAGIC.sub(r"\1pass", code))


def is_simple(cell: FileDefinitions, name: str) -> bool:
    """Tell whether its cell binds the name once, to literals and names, or by a call that only defines."""
    entry = cell.chosen[name]
    text = cell.python_of(entry)
    if len(text) > CONSTANT_LIMIT or name in cell.repeated:
        return False
    try:
        nodes = list(ast.walk(parse(text)))
    except PARSE_ERRORS:
        return False
    calls = (dotted(node.func).rpartition(".")[2] for node in nodes if isinstance(node, ast.Call))
    return not any(isinstance(node, _NOT_SIMPLE) for node in nodes) and all(call in DEFINING for call in calls)


DEFINING = frozenset(
    {
        *("namedtuple", "NamedTuple", "TypedDict", "NewType", "TypeVar", "ParamSpec", "Enum", "IntEnum", "StrEnum"),
        *("Path", "PurePath", "Decimal", "Fraction", "timedelta", "date", "frozenset", "range", "partial", "compile"),
    }
)
"""Calls that make a definition or a plain value from what is written, and do nothing else."""
_NOT_SIMPLE = (
    ast.Await,
    ast.Yield,
    ast.YieldFrom,
    ast.ListComp,
    ast.SetComp,
    ast.DictComp,
    ast.GeneratorExp,
    ast.NamedExpr,
)
