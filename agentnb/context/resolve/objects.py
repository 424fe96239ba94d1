"""Resolve a dotted name by the live objects. They are looked at, never asked, and lead to their source's text."""

from __future__ import annotations
import __future__

import builtins
import linecache
import re
import time
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from types import CodeType, FunctionType, ModuleType
from typing import Any

from agentnb.canonical import JsonMapping
from agentnb.context.resolve import library
from agentnb.context.resolve.files import path_of, stamp_of
from agentnb.context.resolve.library import sourceless
from agentnb.context.resolve.text import CellNames, Texts
from agentnb.context.static.definitions import Definition, FileDefinitions
from agentnb.context.static.scanner import parse_cell
from agentnb.context.static.syntax import first_line, normalise
from agentnb.context.values import static_inspect

STARTED = time.time()
CODE_KINDS = frozenset({"function", "async function", "class"})
_SETS = re.compile(r"^[ \t]+(?:def [^\n]*:[ \t]*)?self\.(\w+)\s*(?::[^=\n]+)?=(?!=)", re.MULTILINE)
_LITERALS = frozenset({bool, int, float, complex, str, bytes})


class LiveObjects:
    """Leads from a scope of live objects to definitions. `imports` are the names that cells bind by importing."""

    def __init__(self, texts: Texts, cells: CellNames, imports: Mapping[str, str]) -> None:
        self._texts = texts
        self._cells = cells
        self._imports = imports
        self._ran: dict[str, FileDefinitions | None] = {}
        self._set: dict[tuple[FileDefinitions, str], dict[str, int]] = {}
        self.notes: dict[str, None] = {}
        """Definitions of cells that what lives was not made of."""

    def walk(self, scope: JsonMapping, parts: list[str], *, module: ModuleType | None = None) -> Definition | None:
        value: Any = scope.get(parts[0], static_inspect.MISSING)
        owner: Any = module
        for i, part in enumerate(parts[1:], 1):
            if value is static_inspect.MISSING:
                return None
            owner, value = value, static_inspect.attribute(value, part)
            if value is static_inspect.MISSING:
                return self._beyond(owner, parts[i:])
        return None if value is static_inspect.MISSING else self._of_value(owner, parts, value)

    def _beyond(self, owner: Any, rest: list[str]) -> Definition | None:
        """Return an attribute that the live object does not store by the source of its module or class."""
        if static_inspect.is_a(owner, ModuleType):
            return self._texts.inside(static_inspect.module_text(owner, "__name__"), rest)
        if len(rest) > 1 or static_inspect.is_a(owner, (FunctionType, *static_inspect.COMPILED)):
            return None
        return self._in_classes(_classes_of(owner), rest[0])

    def _of_value(self, owner: object, parts: list[str], value: object) -> Definition | None:
        name = parts[-1]
        inner = static_inspect.unwrap(value)
        told = self._of_library(value, inner)
        if told is not None:
            return told
        called, qualified = (
            static_inspect.function_name(inner) if static_inspect.is_a(inner, FunctionType) else ("", "")
        )
        if called == name and "<locals>" not in qualified:
            return self.of_code(inner.__code__, inner) or self._as_written(owner, parts)
        if static_inspect.is_a(inner, type):
            return self._alias(owner, parts, value) or self.of_class(inner) or self._compiled(inner, owner, name)
        if static_inspect.is_a(inner, ModuleType):
            return self._texts.module(static_inspect.module_text(inner, "__name__"))
        written = self._as_written(owner, parts)
        if static_inspect.is_a(inner, FunctionType):
            is_inner = "<locals>" in qualified or (written is not None and written.kind in CODE_KINDS)
            is_inner = is_inner or called == "<lambda>"
            if written is not None and is_inner and called != name:
                return written  # a decorator without functools.wraps: the user means what he wrote
            return self.of_code(inner.__code__, inner) or written
        return written or self._compiled(inner, owner, name) or self._plain(owner, name, inner)

    def _of_library(self, value: Any, inner: Any) -> Definition | None:
        """Return a library's function, class or module by the object itself. Anything else is told as the user's own
        is."""
        if static_inspect.is_a(inner, FunctionType):
            is_property = static_inspect.is_a(value, (property, cached_property))
            known = library.is_library_function(inner.__code__)
            return library.of_function(inner.__code__, inner, is_property=is_property) if known else None
        if static_inspect.is_a(inner, ModuleType):
            return library.of_module(inner)
        if static_inspect.is_a(inner, type) and not static_inspect.is_generic(value):
            return library.of_class(inner)
        return None

    def _alias(self, owner: object, parts: list[str], value: object) -> Definition | None:
        """Follow no alias: `Rows = list[dict]` and `Number: TypeAlias = int` mean what is written, not the class that
        they lead to."""
        written = self._as_written(owner, parts) if owner is None or static_inspect.is_a(owner, ModuleType) else None
        return written if written and (written.kind == "type alias" or static_inspect.is_generic(value)) else None

    def _as_written(self, owner: Any, parts: list[str]) -> Definition | None:
        """Return the definition of this very name in the source of what holds it."""
        name = parts[-1]
        if owner is None and len(parts) == 1:
            found = self._cells.find(name)
            if found is not None and found.kind != "import":
                return found
            target = self._imports.get(name, "")
            return self._texts.inside(*_split(target)) if "." in target else None
        if static_inspect.is_a(owner, ModuleType):
            return self._texts.inside(static_inspect.module_text(owner, "__name__"), [name])
        return self._in_classes(_classes_of(owner), name)

    def _in_classes(self, classes: Sequence[type], name: str) -> Definition | None:
        """Return a class attribute; else a field that is only annotated; else the method that sets `self.name`."""
        stored = next((cls for cls in classes if name in static_inspect.class_dict(cls)), None)
        if stored is not None and library.is_library_class(stored):
            value = static_inspect.class_dict(stored)[name]
            return self._of_library(value, static_inspect.unwrap(value))
        if stored is not None:
            return self._member(stored, name)
        own = [cls for cls in classes if not library.is_library_class(cls)]
        for look in (self._member, self._setter):
            for cls in own:
                found = look(cls, name)
                if found is not None:
                    return found
        return None

    def _setter(self, cls: type, name: str) -> Definition | None:
        file, qualname = self._home(cls)
        if file is None or qualname not in file.chosen:
            return None
        line = self._lines_set(file, qualname).get(name)
        if line is None:
            return None
        members = (member for key, member in file.chosen.items() if key.startswith(f"{qualname}."))
        within = [member for member in members if member.lines[0] <= line <= member.lines[1]]
        closest = min(within, key=lambda member: member.lines[1] - member.lines[0], default=None)
        return self._named(file, closest.name) if closest else None

    def _lines_set(self, file: FileDefinitions, qualname: str) -> Mapping[str, int]:
        """Return the line on which a class first sets each attribute of its `self`. Its text, which may be 10,000 lines
        long, is looked through once for all names."""
        key = file, qualname
        if key not in self._set:
            entry, found = file.chosen[qualname], dict[str, int]()
            source, line, done = file.python_of(entry), entry.lines[0], 0
            for match in _SETS.finditer(source):
                line, done = line + source.count("\n", done, match.start()), match.start()
                found.setdefault(match[1], line)
            self._set[key] = found
        return self._set[key]

    def _member(self, cls: type, name: str) -> Definition | None:
        file, qualname = self._home(cls)
        return self._named(file, f"{qualname}.{name}")

    def of_class(self, cls: type) -> Definition | None:
        known = library.of_class(cls)
        if known is not None:
            return known
        file, name = self._home(cls)
        found = self._named(file, name)
        if file is not None and found is not None:
            self._note_patched(cls, file, name)
        return found

    def _note_patched(self, cls: type, file: FileDefinitions, name: str) -> None:
        """Note which methods of a class were replaced since it was made: its text is told all the same."""
        for member, value in list(static_inspect.class_dict(cls).items()):
            entry, inner = file.chosen.get(f"{name}.{member}"), static_inspect.unwrap(value)
            if entry is None or entry.kind != "method" or not static_inspect.is_a(inner, FunctionType):
                continue
            decorated = file.python_of(entry).startswith("@")  # then it may be any function, rightly
            if not decorated and inner.__code__.co_qualname != entry.name:
                runs = static_inspect.function_name(inner)[1]
                self.notes[
                    f"{name}.{member} was replaced in the kernel: {runs} runs, not what the class's text says"
                ] = None

    def _named(self, file: FileDefinitions | None, name: str) -> Definition | None:
        """Return a definition of this file; of a cell, with what other cells import for it."""
        if file is None:
            return None
        return self._cells.find(name) if file is self._cells.definitions.cell_of(name) else file.by_name.get(name)

    def _home(self, cls: type) -> tuple[FileDefinitions | None, str]:
        """Return (the file or cell that a class stands in, its name there)."""
        module, qualname = static_inspect.class_name(cls)
        if module == "__main__":
            return self._cells.definitions.cell_of(qualname) or self._file_of_methods(cls, qualname), qualname
        file = self._texts.file_of(module)
        if file is None or qualname in file.chosen:
            return file, qualname
        # Some packages give their classes a shorter module name than the one they stand in.
        own = self._file_of_methods(cls, qualname)
        found = None if own else self._texts.inside(module, qualname.split("."))
        file = self._texts.file_containing(found) if found else own
        return file, found.name.removeprefix(f"{file.module}.") if found and file else qualname

    def _file_of_methods(self, cls: type, qualname: str) -> FileDefinitions | None:
        """Return the place of a class's first method. Made by `%run` or a magic, the class is not where it says."""
        inner = (static_inspect.unwrap(value) for value in static_inspect.class_dict(cls).values())
        codes = (function.__code__ for function in inner if static_inspect.is_a(function, FunctionType))
        own = (code for code in codes if code.co_qualname.startswith(f"{qualname}."))
        return next((file for code in own if (file := self._file_of(code)) and qualname in file.chosen), None)

    def of_code(self, code: CodeType, function: FunctionType | None = None) -> Definition | None:
        """Return the definition whose code this is."""
        if _is_no_file(code.co_filename):
            return self._of_cell_code(code)
        if library.is_library_function(code):
            return library.of_function(code, function)
        file = self._file_of(code, static_inspect.plain(function.__module__) if function else "")
        found = _at_code(file, code) if file else None
        if found is not None and _is_edited(code.co_filename) and not _is_made_of(code, found.framed or found.source):
            self.notes[f"{found.name} was edited since it was imported: the kernel runs the earlier version"] = None
        return found

    def why_sourceless(self, value: Any, name: str) -> str:
        """Tell why a function or class has no text to show."""
        if static_inspect.is_a(value, FunctionType) and _is_no_file(value.__code__.co_filename):
            return f"{name} was made by code that stands in no cell and no file"
        return f"the file that defines {name} cannot be read"

    def _of_cell_code(self, code: CodeType) -> Definition | None:
        """Return a function as the cells have it. Where a condition chose, or no cell has it, return the code's own
        source."""
        name = code.co_qualname
        known, cell = self._cells.find(name), self._cells.definitions.cell_of(name)
        if known and cell and name not in cell.repeated and _text_of(code).strip() == "\n".join(cell.lines).strip():
            return known
        file = self._file_of(code)
        ran = _at_code(file, code) if file else None
        variant = self._cells.definitions.variant(name, ran.source) if ran else None
        if variant or ran is None:
            return variant or known
        if known is None or known.kind == "import":
            return ran
        if cell and cell.parsed is None and ran.source != known.source:
            self.notes[
                f"{name} was defined again, but its earlier version is in use: run again what was made of it"
            ] = None
        return known

    def _file_of(self, code: CodeType, module: str = "") -> FileDefinitions | None:
        """Return the file that the code was compiled from; else the text that IPython keeps to show it."""
        if not _is_no_file(code.co_filename):
            path = path_of(code.co_filename)
            return self._texts.read(path, library.module_of(path, module))
        if code.co_filename not in self._ran:
            text = _text_of(code)
            self._ran[code.co_filename] = parse_cell(text, cell="In[?]") if text else None
        return self._ran[code.co_filename]

    def _compiled(self, value: Any, owner: Any, called: str) -> Definition | None:
        text = static_inspect.compiled_text(value)
        if text is None:
            return None
        name, kind, signature, doc = text
        if "." not in name and static_inspect.is_a(owner, ModuleType) and vars(builtins).get(name) is not value:
            # numpy's ufuncs do not say where they are from, and `types.FunctionType` is called `function`.
            inside = name if name in static_inspect.module_dict(owner) else called
            name = f"{static_inspect.module_text(owner, '__name__')}.{inside}"
        doc = " ".join(_prose(doc).split())
        about = f'  """{first_line(doc)}"""' if doc and kind != "class" else ""
        return sourceless(name, kind, self._typed(name, signature) + about, doc)

    def _typed(self, name: str, signature: str) -> str:
        """Return what the stub says, which is long to read, only where the object itself tells no parameters."""
        return (self._texts.stub_signature(name) if "(...)" in signature else "") or signature

    def _plain(self, owner: Any, name: str, value: Any) -> Definition | None:
        """Return a number or text in a compiled module: `math.pi`."""
        if not static_inspect.is_a(owner, ModuleType) or type(value) not in _LITERALS:
            return None
        full = f"{static_inspect.module_text(owner, '__name__')}.{name}"
        return sourceless(full, "constant", f"{name} = {value!r}"[:200], "")


def _split(target: str) -> tuple[str, list[str]]:
    module, _, name = target.rpartition(".")
    return module, [name]


def _is_no_file(name: str) -> bool:
    """Know a cell's name: ipykernel gives cells file names of their own, in a directory of the process:
    `…/ipykernel_123/456.py`."""
    return "ipykernel_" in name or name.startswith(("<", "/dev/fd")) or not path_of(name).is_absolute()


def _text_of(code: CodeType) -> str:
    """Return the text of what ran as no file, where IPython keeps it."""
    entry = linecache.cache.get(code.co_filename, ())
    return "".join(entry[2]) if len(entry) == 4 else ""


def _is_edited(file: str) -> bool:
    """Tell whether a file was written after this kernel began: one that was not is as it was imported."""
    return stamp_of(path_of(file))[0] > STARTED * 1e9


@lru_cache(1024)
def _is_made_of(code: CodeType, text: str) -> bool:
    """Tell whether the code is what compiling a definition's text gives. Nothing of it is run."""
    try:
        flags = code.co_flags & __future__.annotations.compiler_flag
        made = compile(text, "<text>", "exec", flags=flags, dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    waiting = [made]
    while waiting:
        one = waiting.pop()
        if one.co_name == code.co_name and _does(one) == _does(code):
            return True
        waiting += [item for item in one.co_consts if isinstance(item, CodeType)]
    return False


def _does(code: CodeType) -> tuple[object, ...]:
    """Return what a function does, whatever line it stands on."""
    held = tuple(_does(item) if isinstance(item, CodeType) else repr(item) for item in code.co_consts)
    return code.co_code, code.co_names, code.co_varnames, held


def _classes_of(owner: Any) -> tuple[type, ...]:
    return static_inspect.bases_of(owner if static_inspect.is_a(owner, type) else type(owner))


def _at_code(file: FileDefinitions, code: CodeType) -> Definition | None:
    entry = file.at_line(code.co_firstlineno, code.co_name)
    other = entry is None or (entry.name.rpartition(".")[2] != code.co_name)
    if entry is None or (other and code.co_qualname in file.chosen):
        return file.by_name.get(code.co_qualname)  # the file changed since it was loaded
    return file.by_name[entry.name] if file.chosen[entry.name] is entry else file.build(entry)


def _prose(doc: str) -> str:
    """Return the first paragraph that is not a call signature, as numpy and C modules write docstrings."""
    paragraphs = [part for part in normalise(doc).strip().split("\n\n") if part.strip()]
    prose = (part for part in paragraphs if not re.match(r"[\w.]+\(", part.strip()))
    return next(prose, "")
