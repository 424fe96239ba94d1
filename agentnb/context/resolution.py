"""A name in the user's words or code -> the definition it means.

A cascade: the live object in the namespace, the notebook's cells, our own index of files, and astroid for what those
did not resolve. Live objects are looked at, never asked: no property, `__getattr__` or `__repr__` runs. No module is
imported that the user has not imported. astroid works in a thread with a time limit.
"""

from __future__ import annotations

import builtins
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from agentnb.context import live
from agentnb.context.cells import CellIndex
from agentnb.context.definitions import Definition, FileDefinitions, first_line, normalise
from agentnb.context.files import SHARED, FileIndex, loaded_file, module_file, module_name, stamp_of, stub_file
from agentnb.errors import nearest

DOTTED = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*\Z")
_ALIAS = re.compile(r"\w+\s*=\s*(?:(?:functools\.)?partial\(\s*)?([^\W\d][\w.]*)\s*(?:\Z|,.*\)\Z|\)\Z)", re.DOTALL)
RESULT = re.compile(r"[^\W\d]\w*(?:(?:\(\))?\.[^\W\d]\w*)*\Z")
_RETURNS = re.compile(r"\)\s*->\s*[\"']?([^\W\d][\w.]*)")
SHELL_NAMES = frozenset({"In", "Out", "exit", "quit", "get_ipython", "open", "display"})
HOPS = 12
"""Base classes of cells followed before they count as circular."""
ASTROID_SECONDS = 3.0
PARTS_LIMIT = 16
"""`from .x import x` of a compiled module makes a name longer at each turn; no name that people write is as long."""
CLASSES_LIMIT = 50
_NO_INSTANCES = (type, ModuleType, FunctionType)
CODE_KINDS = frozenset({"function", "async function", "class"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Unresolved:
    """A name that has no definition to show. `reason` is a sentence; `nearest` a hint, or empty.

    `kind` is "value" for a variable, "missing" for what is not there, "text" for what is no name at all.
    """

    name: str
    reason: str
    nearest: str = ""
    kind: str = "missing"


_Seen = set[tuple[str, str]]
_LITERALS = frozenset({bool, int, float, complex, str, bytes})
_BUILTINS = vars(builtins)


class Resolver:
    """Names of one notebook at one moment: what it has read and found it remembers, so make a new one for each task.

    `project` is searched before the import path; `index` is shared by default.
    `patience` is how long one name may keep astroid busy, in seconds.
    """

    def __init__(
        self,
        *,
        cells: CellIndex,
        namespace: Mapping[str, Any],
        project: Path | None = None,
        index: FileIndex | None = None,
        patience: float = ASTROID_SECONDS,
    ) -> None:
        self._cells = cells
        self._namespace = namespace
        self._index = index or SHARED
        self._patience = patience
        self._roots = tuple(path for path in (project, project / "src") if path.is_dir()) if project else ()
        self._definitions = cells.definitions()
        self._imports = cells.imports()
        self._resolved: dict[str, Definition | Unresolved] = {}
        self._errors: dict[str, str] = {}
        self._files: dict[str, tuple[Path | None, FileDefinitions | None]] = {}
        self._answers: dict[tuple[str, str], Definition | None] = {}
        self._followed: dict[tuple[str, str], Definition | None] = {}
        self._member_codes: dict[str, list[CodeType]] | None = None

        self._cascade = (
            self._from_namespace,
            self._from_cells,
            self._from_modules,
            self._bare,
            self._from_builtins,
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What could not be read on the way: broken files, and cells that did not parse."""
        return (*self._errors.values(), *self._cells.notes)

    def resolve(self, name: str) -> Definition | Unresolved:
        """The definition of a dotted name as a user writes it: `clean`, `nx.Graph.add_edge`, `G.add_edge`, `np.sin`."""
        name = name.strip().strip("`@").removesuffix("()")
        if name not in self._resolved:
            self._resolved[name] = self._resolve(name)
        return self._resolved[name]

    def mentioned(self, word: str) -> Definition | None:
        """The same for a word of the text, which may well be no name: no inference, no reason, no hint."""
        return self._look(word.split("."), self._cascade)

    def known(self, word: str) -> bool:
        """Could this word or dotted name mean something here? Cheap: no file is read."""
        root = word.partition(".")[0]
        if root in self._cells.names:
            return True
        if root in SHELL_NAMES or root.startswith("_"):
            return False
        return root in self._namespace or ("." in word and root in sys.modules)

    def class_of(self, name: str) -> Definition | None:
        """The class of a variable, where a cell or the project defines it: what a question on the variable is about."""
        value = self._namespace.get(name, live.MISSING)
        if value is live.MISSING or live.is_a(value, (type, ModuleType, FunctionType)):
            return None
        found = self._of_class(type(value))
        return found if found and (found.origin == "cell" or self._in_project(found)) else None

    def follow(self, user: Definition, reference: str) -> Definition | None:
        """The definition that `reference` in the code of `user` means: in its module's scope, or the notebook's."""
        parts = reference.replace("()", "").split(".")
        # An attribute that is not found leads to its owner, but no further than to one part: that is the whole name.
        for end in range(len(parts), 0, -1):
            key = (user.file, ".".join(parts[:end]))
            if key not in self._followed:
                try:
                    self._followed[key] = self._follow(user, self._live_scope(user), parts[:end])
                except RecursionError:
                    self._followed[key] = None
            found = self._followed[key]
            if found is not None:
                return found if found.name != user.name else None
        return None

    def of_code(self, code: CodeType) -> Definition | None:
        """The definition whose code object this is; of a nested function the outermost one around it."""
        found = self._of_code(code)
        if found is None or ".<locals>." not in found.name:
            return found
        file = self._file_containing(found)
        outer = found.name.removeprefix(f"{file.module}.").partition(".<locals>.")[0] if file else ""
        return file.by_name.get(outer, found) if file else found

    def members_in_use(self, name: str) -> tuple[Definition, ...]:
        """The methods called `name` of the classes whose instances are variables of the notebook.

        Code says `G.nodes` without saying what `G` is; the notebook's own values are the best guess there is.
        """
        if self._member_codes is None:
            self._member_codes = _member_codes(self._classes_of_variables())
        found = (self._of_code(code) for code in self._member_codes.get(name, ()))
        return tuple(definition for definition in found if definition is not None)

    def _classes_of_variables(self) -> list[type]:
        kinds: dict[type, None] = {}
        for name, value in list(self._namespace.items()):
            if not name.startswith("_") and name not in SHELL_NAMES and not live.is_a(value, _NO_INSTANCES):
                kinds.setdefault(type(value))
        return list(kinds)[:CLASSES_LIMIT]

    # the cascade ------------------------------------------------------------------------------------------------

    def _resolve(self, name: str) -> Definition | Unresolved:
        if not DOTTED.match(name):
            found = self._of_result(name) if RESULT.match(name) else None
            return found or Unresolved(name=name, reason=f"{name[:60]!r} is not a name", kind="text")
        parts = name.split(".")
        return self._look(parts, (*self._cascade, self._by_astroid)) or self._unresolved(name, parts)

    @staticmethod
    def _look(parts: list[str], steps: Sequence[Callable[[list[str]], Definition | None]]) -> Definition | None:
        for look in steps:
            try:
                found = look(parts)
            except RecursionError:
                continue  # packages whose names lead in circles, or code nested beyond reason
            if found is not None:
                return found
        return None

    def _from_namespace(self, parts: list[str]) -> Definition | None:
        if parts[0] not in self._namespace or parts[0] in SHELL_NAMES:
            return None
        return self._walk(self._namespace, parts)

    def _from_cells(self, parts: list[str]) -> Definition | None:
        found = self._in_cells(".".join(parts))
        if found is not None and found.kind != "import":
            return self._through_alias(found) or found
        target = self._imports.get(parts[0])
        if target is None:
            return found or self._of_made(parts)
        return self._absolute([*target.split("."), *parts[1:]]) or found

    def _of_made(self, parts: list[str]) -> Definition | None:
        """`Model.fit` for `model.fit`, where a cell made `model` by calling a class."""
        maker = self._cells.made_by(parts[0])
        if len(parts) < 2 or not DOTTED.match(maker) or maker.partition(".")[0] == parts[0]:
            return None
        owner = self.resolve(maker)
        if isinstance(owner, Unresolved) or owner.kind != "class":
            return None
        member = ".".join(parts[1:])
        return self._in_cells(f"{owner.name}.{member}") or self._by_text([*owner.name.split("."), *parts[1:]])

    def _of_result(self, name: str) -> Definition | None:
        """`Model.fit` for `make_model().fit`: a class makes its instances, a function says what it returns, or astroid
        infers it."""
        maker, _, rest = name.rpartition("().")
        made = self.resolve(maker)
        if isinstance(made, Unresolved):
            return None
        returns = _RETURNS.search(made.signature)
        owner = made if made.kind == "class" else self.follow(made, returns.group(1)) if returns else None
        if owner is not None and owner.kind == "class":
            return self._in_cells(f"{owner.name}.{rest}") or self._by_text([*owner.name.split("."), *rest.split(".")])
        return self._placed(infer(self._cells.code(), name, self._patience))

    def _through_alias(self, found: Definition) -> Definition | None:
        """`plain` for `alias = plain` and `half = partial(plain, 1)`."""
        match = _ALIAS.match(found.source) if found.kind == "constant" and "." not in found.name else None
        if match is None or match.group(1) == found.name:
            return None
        target = self.resolve(match.group(1))
        return target if isinstance(target, Definition) and target.kind not in {"constant", "import"} else None

    def _in_cells(self, name: str, hops: int = HOPS) -> Definition | None:
        """A cell's definition, inherited members too."""
        if name in self._definitions:
            return self._definitions[name]
        owner, _, member = name.rpartition(".")
        holder = self._definitions.get(owner) if owner and hops else None
        if holder is None or holder.kind != "class":
            return None
        for base in holder.references:
            found = self._in_cells(f"{base}.{member}", hops - 1)
            if found is not None:
                return found
        return None

    def _from_modules(self, parts: list[str]) -> Definition | None:
        return self._absolute(parts) if len(parts) > 1 else self._module(parts[0], project_only=True)

    def _absolute(self, parts: list[str]) -> Definition | None:
        """A full dotted path: the longest part of it that is a module, then names inside that; live objects first."""
        for end in range(len(parts) - 1, 0, -1):
            loaded = sys.modules.get(".".join(parts[:end]))
            if live.is_a(loaded, ModuleType):
                names = object.__getattribute__(loaded, "__dict__")
                found = self._walk(names, parts[end:], module=loaded)
                if found is not None:
                    return found
        return self._by_text(parts)

    def _by_text(self, parts: list[str], seen: _Seen | None = None) -> Definition | None:
        """The same by the modules' texts alone."""
        seen = set() if seen is None else seen
        for end in range(len(parts) if len(parts) <= PARTS_LIMIT else 0, 0, -1):
            name = ".".join(parts[:end])
            if self._file_of(name) is not None:
                # What the longest module does not have is not there: a shorter one would only send us back.
                return self._static(name, parts[end:], seen) if parts[end:] else self._module(name)
        return None

    def _bare(self, parts: list[str]) -> Definition | None:
        """`harmonic` for `tides.harmonic` where the notebook imports `tides`, if only one of its modules has it."""
        found = {}
        for target in dict.fromkeys(self._imports.values()):
            file = self._file_of(target)
            if file is not None and ".".join(parts) in file.chosen:
                definition = file.by_name[".".join(parts)]
                found[definition.name] = definition
        return next(iter(found.values())) if len(found) == 1 else None

    def _from_builtins(self, parts: list[str]) -> Definition | None:
        return self._walk(_BUILTINS, parts)

    # live objects -----------------------------------------------------------------------------------------------

    def _walk(
        self, scope: Mapping[str, Any], parts: list[str], *, module: ModuleType | None = None
    ) -> Definition | None:
        value: Any = scope.get(parts[0], live.MISSING)
        owner: Any = module
        for i, part in enumerate(parts[1:], 1):
            if value is live.MISSING:
                return None
            owner, value = value, live.attribute(value, part)
            if value is live.MISSING:
                return self._beyond(owner, parts[i:])
        return None if value is live.MISSING else self._of_value(owner, parts, value)

    def _beyond(self, owner: Any, rest: list[str]) -> Definition | None:
        """An attribute that is not stored on the live object may still stand in the source of its module."""
        if live.is_a(owner, ModuleType):
            return self._static(owner.__name__, rest)
        return None

    def _of_value(self, owner: Any, parts: list[str], value: Any) -> Definition | None:
        name = parts[-1]
        inner = live.unwrap(value)
        if live.is_a(inner, FunctionType) and inner.__name__ == name and "<locals>" not in inner.__qualname__:
            return self._of_code(inner.__code__, inner) or self._as_written(owner, parts)
        if live.is_a(inner, type):
            return self._of_class(inner) or self._compiled(inner, owner)
        if live.is_a(inner, ModuleType):
            return self._module(inner.__name__)
        written = self._as_written(owner, parts)
        if live.is_a(inner, FunctionType):
            is_inner = "<locals>" in inner.__qualname__ or (written is not None and written.kind in CODE_KINDS)
            if written is not None and is_inner and inner.__name__ != name:
                return written  # a decorator without functools.wraps: the user means what he wrote
            return self._of_code(inner.__code__, inner) or written
        return written or self._compiled(inner, owner) or self._plain(owner, name, inner)

    def _as_written(self, owner: Any, parts: list[str]) -> Definition | None:
        """The definition of this very name in the source of what holds it."""
        name = parts[-1]
        if owner is None and len(parts) == 1:
            found = self._in_cells(name)
            if found is not None and found.kind != "import":
                return found
            target = self._imports.get(name, "")
            return self._static(*_split(target)) if "." in target else None
        if live.is_a(owner, ModuleType):
            return self._static(owner.__name__, [name])
        holder = owner if live.is_a(owner, type) else type(owner)
        return self._in_classes(live.bases_of(holder), name)

    def _in_classes(self, classes: Sequence[type], name: str) -> Definition | None:
        """A class attribute; else a field that is only annotated; else the method that sets `self.name`."""
        stored = next((cls for cls in classes if name in live.class_dict(cls)), None)
        if stored is not None:
            return self._member(stored, name)
        for look in (self._member, self._setter):
            for cls in classes:
                found = look(cls, name)
                if found is not None:
                    return found
        return None

    def _setter(self, cls: type, name: str) -> Definition | None:
        found = self._of_class(cls)
        if found is None or not found.source:
            return None
        match = re.search(rf"^[ \t]+self\.{re.escape(name)}\s*(?::[^=\n]+)?=(?!=)", found.source, re.MULTILINE)
        if match is None:
            return None
        line = found.lines[0] + found.source.count("\n", 0, match.start())
        within = [member for member in self._members_of(found) if member.lines[0] <= line <= member.lines[1]]
        return min(within, key=lambda member: member.lines[1] - member.lines[0], default=None)

    def _members_of(self, definition: Definition) -> Iterator[Definition]:
        file = self._file_containing(definition) if definition.origin == "file" else None
        found = file.by_name if file else self._definitions
        prefix = f"{definition.name.removeprefix(f'{file.module}.') if file else definition.name}."
        return (found[name] for name in found if name.startswith(prefix))

    def _member(self, cls: type, name: str) -> Definition | None:
        module, qualname = live.class_name(cls)
        if module == "__main__":
            return self._in_cells(f"{qualname}.{name}")
        file = self._file_of(module)
        return file.by_name.get(f"{qualname}.{name}") if file else None

    def _of_code(self, code: CodeType, function: FunctionType | None = None) -> Definition | None:
        path = Path(code.co_filename)
        if code.co_filename.startswith("<") or not path.is_absolute() or _is_cell_file(code.co_filename):
            return self._in_cells(code.co_qualname)
        file = self._read(path, _module_of(path, function.__module__ if function else ""))
        if file is None:
            return None
        entry = file.at_line(code.co_firstlineno, code.co_name)
        if entry is None or (entry.name.rpartition(".")[2] != code.co_name and code.co_qualname in file.chosen):
            return file.by_name.get(code.co_qualname)  # the file changed since it was loaded
        return file.by_name[entry.name] if file.chosen[entry.name] is entry else file.build(entry)

    def _of_class(self, cls: type) -> Definition | None:
        module, qualname = live.class_name(cls)
        if module == "__main__":
            return self._in_cells(qualname)
        file = self._file_of(module)
        found = file.by_name.get(qualname) if file else None
        # Some packages give their classes a shorter module name than the one they stand in.
        return found or (self._static(module, qualname.split(".")) if file else None)

    def _compiled(self, value: Any, owner: Any) -> Definition | None:
        text = live.compiled_text(value)
        if text is None:
            return None
        name, kind, signature, doc = text
        if "." not in name and live.is_a(owner, ModuleType) and owner is not builtins:
            name = f"{owner.__name__}.{name}"  # numpy's ufuncs do not say where they are from
        doc = " ".join(_prose(doc).split())
        about = f'  """{first_line(doc)}"""' if doc and kind != "class" else ""
        return _sourceless(name, kind, self._stub(name) or f"{signature}{about}", doc)

    def _stub(self, name: str) -> str:
        """The signature that a `.pyi` beside the compiled module gives; an empty string without one."""
        parts = name.split(".")
        for end in range(len(parts) - 1, 0, -1):
            module = ".".join(parts[:end])
            path = stub_file(module)
            file = self._read(path, module) if path else None
            if file is not None:
                found = file.by_name.get(".".join(parts[end:]))
                return found.signature if found else ""
        return ""

    def _plain(self, owner: Any, name: str, value: Any) -> Definition | None:
        """A number or text in a compiled module: `math.pi`."""
        if not live.is_a(owner, ModuleType) or type(value) not in _LITERALS:
            return None
        return _sourceless(f"{owner.__name__}.{name}", "constant", f"{name} = {value!r}"[:200], "")

    def _live_scope(self, user: Definition) -> tuple[Mapping[str, Any], ModuleType | None]:
        if user.origin == "cell":
            return self._namespace, None
        parts = user.name.split(".")
        for end in range(len(parts) - 1, 0, -1):
            loaded = sys.modules.get(".".join(parts[:end]))
            if live.is_a(loaded, ModuleType):
                return object.__getattribute__(loaded, "__dict__"), loaded
        return {}, None

    def _follow(
        self, user: Definition, scope: tuple[Mapping[str, Any], ModuleType | None], parts: list[str]
    ) -> Definition | None:
        names, module = scope
        if parts[0] in names:
            found = self._walk(names, parts, module=module)
            if found is not None:
                return found
        if user.origin == "cell":
            return self._from_cells(parts)
        file = self._file_containing(user)
        found = self._static(file.module, parts) if file else None
        return found or (self._absolute(parts) if len(parts) > 1 else None)

    # files ------------------------------------------------------------------------------------------------------

    def _static(self, module: str, parts: list[str], seen: _Seen | None = None) -> Definition | None:
        """`parts` inside a module by its text alone: its own names, its imports, its star imports, its submodules.

        `seen` holds what this question has asked already: packages import each other in circles, and a star import
        that is followed on every path through them takes minutes.
        """
        key = (module, ".".join(parts))
        if seen is None:
            if key not in self._answers:
                self._answers[key] = self._static(module, parts, set())
            return self._answers[key]
        file = None if key in seen else self._file_of(module)
        if file is None:
            return None
        seen.add(key)
        return (
            self._inside(file, parts, seen)
            or self._imported(file, parts, seen)
            or self._starred(file, parts, seen)
            or self._submodule(module, parts, seen)
        )

    def _inside(self, file: FileDefinitions, parts: list[str], seen: _Seen) -> Definition | None:
        name = ".".join(parts)
        if name in file.chosen:
            return file.by_name[name]
        holder = file.chosen.get(parts[0]) if len(parts) > 1 else None
        for base in holder.bases if holder else ():
            found = self._static(file.module, [*base.split("."), *parts[1:]], seen)
            if found is not None:
                return found
        return None

    def _imported(self, file: FileDefinitions, parts: list[str], seen: _Seen) -> Definition | None:
        for item in reversed(file.imports):
            if item.bound == parts[0] and item.target != f"{file.module}.{parts[0]}":
                return self._by_text([*item.target.split("."), *parts[1:]], seen)
        return None

    def _starred(self, file: FileDefinitions, parts: list[str], seen: _Seen) -> Definition | None:
        for module in file.stars:
            found = self._static(module, parts, seen)
            if found is not None:
                return found
        return None

    def _submodule(self, module: str, parts: list[str], seen: _Seen) -> Definition | None:
        name = f"{module}.{parts[0]}"
        if len(parts) == 1:
            return self._module(name)
        return self._static(name, parts[1:], seen)

    def _module(self, name: str, *, project_only: bool = False) -> Definition | None:
        """A module as a definition: its outline in full form, its import line as the signature."""
        file = self._file_of(name, project_only=project_only)
        if file is None:
            return None
        line = f"import {name}"
        about = f'  """{file.doc}"""' if file.doc else ""
        return Definition(
            name=name,
            kind="import",
            origin="file",
            file=file.file,
            cell="",
            lines=(1, len(file.lines)),
            source=file.outline() or line,
            signature=f"{line}{about}",
            doc=file.doc,
        )

    def _file_of(self, module: str, *, project_only: bool = False) -> FileDefinitions | None:
        if module not in self._files:
            path = module_file(module, self._roots)
            self._files[module] = (path, self._read(path, module) if path else None)
        path, file = self._files[module]
        if project_only and not (path and any(path.is_relative_to(root) for root in self._roots)):
            return None
        return file

    def _file_containing(self, definition: Definition) -> FileDefinitions | None:
        parts = definition.name.split(".")
        files = (self._file_of(".".join(parts[:end])) for end in range(len(parts) - 1, 0, -1))
        return next((file for file in files if file is not None), None)

    def _read(self, path: Path, module: str) -> FileDefinitions | None:
        file = self._index.definitions(path, module=module)
        if file is not None and file.error:
            self._errors[file.file] = f"{file.file} does not parse: {file.error}; the rest of it is used"
        return file

    def _in_project(self, definition: Definition) -> bool:
        file = self._file_containing(definition)
        path = module_file(file.module, self._roots) if file else None
        return path is not None and any(path.is_relative_to(root) for root in self._roots)

    # what is left -----------------------------------------------------------------------------------------------

    def _by_astroid(self, parts: list[str]) -> Definition | None:
        if len(parts) < 2 or not self.known(".".join(parts)) or self._is_settled(parts):
            return None
        return self._placed(infer(self._cells.code(), ".".join(parts), self._patience))

    def _placed(self, place: _Place | None) -> Definition | None:
        if place is None:
            return None
        path, line, name = place
        if path is None:
            return self._in_cells(name)
        file = self._read(path, module_name(path))
        entry = file.at_line(line, name) if file else None
        return file.build(entry) if file and entry else None

    def _is_settled(self, parts: list[str]) -> bool:
        """A live object without the attribute has been searched in full, unless it computes attributes when asked."""
        value = self._namespace.get(parts[0], live.MISSING)
        if value is live.MISSING:
            return False
        for part in parts[1:]:
            following = live.attribute(value, part)
            if following is live.MISSING:
                return not live.computes_attributes(value)
            value = following
        return True

    def _live_value(self, parts: list[str]) -> Any:
        value: Any = self._namespace.get(parts[0], live.MISSING)
        for part in parts[1:]:
            value = value if value is live.MISSING else live.attribute(value, part)
        return live.unwrap(value)

    def _unresolved(self, name: str, parts: list[str]) -> Unresolved:
        value = self._live_value(parts)
        if live.is_a(value, (FunctionType, type)):
            return Unresolved(name=name, reason=f"no source: the file that defines {name} cannot be read")
        if value is not live.MISSING:
            return Unresolved(name=name, kind="value", reason=f"{name} is a variable: it has a value, not a definition")
        ambiguous = self._candidates(name)
        if len(ambiguous) > 1:
            return Unresolved(name=name, reason=f"{name} is ambiguous: {', '.join(ambiguous[:4])}")
        hint = nearest(name, list(self._words(parts)))
        return Unresolved(name=name, reason=f"there is no definition called {name} here", nearest=hint)

    def _candidates(self, name: str) -> list[str]:
        files = (self._file_of(target) for target in dict.fromkeys(self._imports.values()))
        return [f"{file.module}.{name}" for file in files if file is not None and name in file.chosen]

    def _words(self, parts: list[str]) -> Iterator[str]:
        if len(parts) == 1:
            yield from self._definitions
            yield from (name for name in self._namespace if not name.startswith("_") and name not in SHELL_NAMES)
            return
        owner = self.resolve(".".join(parts[:-1]))
        if isinstance(owner, Unresolved):
            return
        file = self._file_of(owner.name) if owner.kind == "import" else self._file_containing(owner)
        for name in file.chosen if file else ():
            qualified = f"{file.module}.{name}" if file else name
            if qualified.rpartition(".")[0] == owner.name:
                yield ".".join([*parts[:-1], name.rpartition(".")[2]])


def _split(target: str) -> tuple[str, list[str]]:
    module, _, name = target.rpartition(".")
    return module, [name]


def _is_cell_file(name: str) -> bool:
    """ipykernel gives cells file names of their own, in a directory of the process: `…/ipykernel_123/456.py`."""
    return "ipykernel_" in name or name.startswith(("<ipython-input-", "/dev/fd"))


def _member_codes(classes: Sequence[type]) -> dict[str, list[CodeType]]:
    found: dict[str, dict[CodeType, None]] = {}
    for cls in classes:
        for name in dict.fromkeys(name for base in live.bases_of(cls) for name in live.class_dict(base)):
            inner = live.unwrap(live.class_attribute(cls, name))
            if live.is_a(inner, FunctionType):
                found.setdefault(name, {})[inner.__code__] = None
    return {name: list(codes) for name, codes in found.items()}


def _module_of(path: Path, claimed: str | None) -> str:
    loaded: object = sys.modules.get(claimed or "")
    if isinstance(loaded, ModuleType) and loaded_file(loaded) == path:
        return loaded.__name__
    return module_name(path)


def _sourceless(name: str, kind: str, signature: str, doc: str) -> Definition:
    return Definition(
        name=name, kind=kind, origin="file", file="", cell="", lines=(0, 0), source="", signature=signature, doc=doc
    )


def _prose(doc: str) -> str:
    """The first paragraph that is not a call signature, as numpy and C modules write docstrings."""
    paragraphs = [part for part in normalise(doc).strip().split("\n\n") if part.strip()]
    prose = (part for part in paragraphs if not re.match(r"[\w.]+\(", part.strip()))
    return next(prose, "")


# astroid --------------------------------------------------------------------------------------------------------------

_Place = tuple[Path | None, int, str]
_CELLS = "<cells>"
_busy = threading.Lock()


def infer(code: str, expression: str, seconds: float = ASTROID_SECONDS) -> _Place | None:
    """Where astroid finds the definition of `expression` after `code`: (file or None for `code` itself, line, name).

    Works in a thread of its own and gives up after `seconds`; while such a thread still runs, the answer is None.
    """
    if not _busy.acquire(blocking=False):
        return None
    out: list[_Place | None] = []
    worker = threading.Thread(target=_infer_into, args=(code, expression, out), daemon=True, name="agentnb-astroid")
    worker.start()
    worker.join(seconds)
    return out[0] if out else None


def _infer_into(code: str, expression: str, out: list[_Place | None]) -> None:
    try:
        out.append(_infer(code, expression))
    except Exception:  # noqa: BLE001 - astroid fails in many ways on other people's code; then it does not know
        out.append(None)
    finally:
        _busy.release()


_seen: dict[str, tuple[int, int]] = {}


def _infer(code: str, expression: str) -> _Place | None:
    import astroid

    manager = astroid.MANAGER
    _forget_changed(manager)
    module = astroid.parse(f"{code}\n{expression}\n", module_name="", path=_CELLS)
    node = module.body[-1].value
    place = _place(node)
    for item in manager.astroid_cache.values():
        if item.file and item.file not in _seen:
            _seen[item.file] = stamp_of(Path(item.file))
    return place


def _forget_changed(manager: Any) -> None:
    """astroid never looks at modification times: when a file that it has read changes, all it knows goes."""
    if any(stamp_of(Path(file)) != stamp for file, stamp in _seen.items()):
        manager.clear_cache()
        _seen.clear()


def _place(node: Any) -> _Place | None:
    """The definition behind an attribute: among its owner's attributes, else what the node is inferred as."""
    for find in (_owner_attributes, _inferred):
        for found in find(node):
            place = _located(found)
            if place is not None:
                return place
    return None


def _owner_attributes(node: Any) -> Iterator[Any]:
    for owner in _safely(node.expr.infer):
        yield from _safely(partial(owner.getattr, node.attrname))


def _inferred(node: Any) -> Iterator[Any]:
    return _safely(node.infer)


def _safely(produce: Callable[[], Any]) -> Iterator[Any]:
    """Astroid's answers as far as it gets; its errors end them."""
    import astroid

    try:
        yield from produce()
    except (astroid.AstroidError, RecursionError, AttributeError):
        return


def _located(found: Any) -> _Place | None:
    found = getattr(found, "_proxied", found)
    kind = type(found).__name__
    if kind not in {"FunctionDef", "AsyncFunctionDef", "ClassDef", "AssignName", "AssignAttr"}:
        return None
    file = found.root().file
    name = found.attrname if kind == "AssignAttr" else found.name
    if file and Path(file).name == _CELLS:
        return None, found.lineno, _name_in_cells(found)
    return (Path(file), found.lineno, name) if file and found.lineno else None


def _name_in_cells(found: Any) -> str:
    """`M.fit`; for `self.w = …` the method that sets it."""
    if hasattr(found, "qname"):
        return str(found.qname()).lstrip(".")
    scope = found.scope()
    owner = str(scope.qname()).lstrip(".")
    if type(scope).__name__ == "FunctionDef":
        return owner
    return f"{owner}.{found.name}" if owner else str(found.name)
