"""Resolve a dotted name by text alone: in the index of files, through imports and star imports, and in cells.

Nothing is imported and nobody's code runs; the project's own directories are searched before the import path.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from agentnb.context.notebook.cells import CellDefinitions
from agentnb.context.resolve import library
from agentnb.context.resolve.files import SHARED, FileIndex, module_file, stub_file
from agentnb.context.resolve.outlines import text_of
from agentnb.context.static.definitions import Definition, Entry, FileDefinitions, ParseError
from agentnb.context.static.inheritance import resolution_order
from agentnb.context.values import static_inspect

PARTS_LIMIT = 16
"""`from .x import x` of a compiled module makes a name longer at each turn. Nobody writes one as long."""
_Seen = set[tuple[str, str]]
_Class = tuple[FileDefinitions, str]
"""A class by where it stands and what it is called there."""


class Texts:
    """Holds files' definitions as one question needs them: what was read and found is remembered, what is broken
    noted."""

    def __init__(self, *, project: Path | None = None, index: FileIndex | None = None) -> None:
        self._index = index or SHARED
        self.roots = tuple(path for path in (project, project / "src") if path.is_dir()) if project else ()
        self._errors: dict[str, str] = {}
        self._files: dict[str, tuple[Path | None, FileDefinitions | None]] = {}
        self._answers: dict[tuple[str, str], Definition | None] = {}
        self._classes: dict[tuple[str, str], _Class | None] = {}

    @property
    def notes(self) -> tuple[str, ...]:
        """Files that were broken."""
        return tuple(self._errors.values())

    def by_name(self, parts: list[str], seen: _Seen | None = None) -> Definition | None:
        """Return a full dotted path by the modules' texts alone."""
        seen = set() if seen is None else seen
        for end in range(len(parts) if len(parts) <= PARTS_LIMIT else 0, 0, -1):
            name = ".".join(parts[:end])
            if self.file_of(name) is not None:
                # If the longest module does not have it, it is not there. A shorter one would only send us back.
                if not parts[end:]:
                    return self._hiding(name, [], seen) or self.module(name)
                return self.inside(name, parts[end:], seen) or self._hiding(name, parts[end:], seen)
        return None

    def _hiding(self, name: str, rest: list[str], seen: _Seen) -> Definition | None:
        """Return what hides a module: after `from .col import col`, or a `def col`, the package's `col` is not the
        module."""
        package, _, last = name.rpartition(".")
        file = self.file_of(package) if package else None
        hidden = file is not None and (
            last in file.chosen or any(i.bound == last and i.target.startswith(f"{name}.") for i in file.imports)
        )
        return self.inside(package, [last, *rest], seen) if hidden else None

    def inside(self, module: str, parts: list[str], seen: _Seen | None = None) -> Definition | None:
        """Return `parts` inside a module by its text alone: its own names, its imports, its star imports, its
        submodules.

        `seen` holds what this question has asked already. Packages import each other in circles, and following a star
        import on every path takes minutes.
        """
        key = (module, ".".join(parts))
        if seen is None:
            if key not in self._answers:
                self._answers[key] = self.inside(module, parts, set())
            return self._answers[key]
        file = None if key in seen else self.file_of(module)
        if file is None:
            return None
        seen.add(key)
        return (
            self._own(file, parts, seen)
            or self._imported(file, parts, seen)
            or self._starred(file, parts, seen)
            or self._submodule(module, parts, seen)
        )

    def _own(self, file: FileDefinitions, parts: list[str], seen: _Seen) -> Definition | None:
        name = ".".join(parts)
        name = file.nested.get(name, name)
        known = file.chosen.get(name)
        if known and (known.weight > 1 or len(parts) == 1):
            return file.by_name[name]
        # A member that stands under `if TYPE_CHECKING:` is only a promise of what a base class has.
        return self._inherited(file, parts, seen) or (file.by_name[name] if known else None)

    def _inherited(self, file: FileDefinitions, parts: list[str], seen: _Seen) -> Definition | None:
        """Return a member of a class's bases, or of the class that a name stands for: `Client = _Client`."""
        for end in range(len(parts) - 1, 0, -1):
            name, rest = ".".join(parts[:end]), parts[end:]
            holder = file.chosen.get(name)
            if holder is not None and holder.kind == "class":
                found = self._in_order(resolution_order((file, name), self.bases)[1:], rest, seen)
            else:
                lead = _stands_for(file, holder) if holder else ""
                found = self.inside(file.module, [*lead.split("."), *rest], seen) if lead else None
            if found is not None:
                return found
        return None

    def _in_order(self, classes: Sequence[_Class], rest: list[str], seen: _Seen) -> Definition | None:
        """Return what the first of these classes that has it calls so; what one only promises to type checkers,
        last."""
        having = [(file, name) for file, name in classes if f"{name}.{rest[0]}" in file.chosen]
        having.sort(key=lambda cls: cls[0].chosen[f"{cls[1]}.{rest[0]}"].weight < 2)
        found = (self._own(file, [*name.split("."), *rest], seen) for file, name in having)
        return next(filter(None, found), None)

    def bases(self, cls: _Class) -> list[_Class]:
        """Return the classes that a class's bases mean, those left out that no text tells."""
        file, name = cls
        found = (self._class_in(file.module, base.split(".")) for base in file.chosen[name].bases)
        return [base for base in found if base is not None]

    def _class_in(self, module: str, parts: list[str]) -> _Class | None:
        """Return the class that a name in a module means. One asked for while it is looked up is none."""
        key = (module, ".".join(parts))
        if key not in self._classes:
            self._classes[key] = None
            self._classes[key] = self._as_class(self.inside(module, parts, set()))
        return self._classes[key]

    def class_of(self, parts: list[str]) -> _Class | None:
        """Return the class of a full dotted path."""
        return self._as_class(self.by_name(parts))

    def _as_class(self, found: Definition | None) -> _Class | None:
        file = self.file_containing(found) if found else None
        if found is None or file is None:
            return None
        name = found.name.removeprefix(f"{file.module}.")
        if found.kind == "class":
            return file, name
        lead = _stands_for(file, file.chosen[name]) if name in file.chosen else ""
        return self._class_in(file.module, lead.split(".")) if lead else None

    def _imported(self, file: FileDefinitions, parts: list[str], seen: _Seen) -> Definition | None:
        for item in reversed(file.imports):
            if item.bound == parts[0] and item.target != f"{file.module}.{parts[0]}":
                return self.by_name([*item.target.split("."), *parts[1:]], seen)
        return None

    def _starred(self, file: FileDefinitions, parts: list[str], seen: _Seen) -> Definition | None:
        for module in file.stars:
            found = self.inside(module, parts, seen)
            if found is not None:
                return found
        return None

    def _submodule(self, module: str, parts: list[str], seen: _Seen) -> Definition | None:
        name = f"{module}.{parts[0]}"
        if len(parts) == 1:
            return self.module(name)
        return self.inside(name, parts[1:], seen)

    def module(self, name: str, *, project_only: bool = False, whole: bool = False) -> Definition | None:
        """Return a module as a definition: its outline in full form, its import line as the signature.

        A library's has its outline only where it is asked for as a `whole`.
        """
        file = self.file_of(name, project_only=project_only)
        if file is None:
            return None
        brief = file.library and not whole
        loaded = static_inspect.loaded_module(name) if brief else None
        if loaded is not None:
            return library.of_module(loaded)
        line = f"import {name}"
        about = f'  """{file.doc}"""' if file.doc else ""
        shown = "" if brief else text_of(file.outline) or line
        return Definition(
            name=name,
            kind="import",
            origin="file",
            file=file.file,
            cell="",
            lines=(1, len(file.lines)),
            source=shown,
            signature=f"{line}{about}",
            doc=file.doc,
            library=file.library,
        )

    def file_of(self, module: str, *, project_only: bool = False) -> FileDefinitions | None:
        path, file = self._found(module)
        if project_only and not (path and any(path.is_relative_to(root) for root in self.roots)):
            return None
        return self._noted(file)

    def survey(self, modules: Iterable[str]) -> list[FileDefinitions]:
        """Return the files of these modules, to be looked through for a name. A broken one answers nothing and is left
        out."""
        return [file for module in modules if (file := self._found(module)[1])]

    def _found(self, module: str) -> tuple[Path | None, FileDefinitions | None]:
        if module not in self._files:
            path = module_file(module, self.roots)
            self._files[module] = (path, self._index.definitions(path, module=module) if path else None)
        return self._files[module]

    def file_containing(self, definition: Definition) -> FileDefinitions | None:
        parts = definition.name.split(".")
        files = (self.file_of(".".join(parts[:end])) for end in range(len(parts) - 1, 0, -1))
        return next((file for file in files if file is not None), None)

    def read(self, path: Path, module: str) -> FileDefinitions | None:
        return self._noted(self._index.definitions(path, module=module))

    def _noted(self, file: FileDefinitions | None) -> FileDefinitions | None:
        if file is not None and file.error:
            self._errors[file.file] = _note(file, file.error)
        return file

    def stub_signature(self, name: str) -> str:
        """Return the signature that a `.pyi` beside the compiled module gives; an empty string without one."""
        parts = name.split(".")
        for end in range(len(parts) - 1, 0, -1):
            module = ".".join(parts[:end])
            path = stub_file(module)
            file = self.read(path, module) if path else None
            if file is not None:
                found = file.by_name.get(".".join(parts[end:]))
                # `sin: _UFunc_Nin1_Nout1[…]` says less than the module itself.
                return found.signature if found and found.kind != "constant" else ""
        return ""


class CellNames:
    """Holds the definitions of the notebook's cells, inherited members too: from other cells' classes, or from
    files'."""

    def __init__(self, definitions: CellDefinitions, texts: Texts) -> None:
        self.definitions = definitions
        self._texts = texts

    def find(self, name: str) -> Definition | None:
        """Return a cell's definition, or the member that a cell's class inherits."""
        known = self.definitions.get(name)
        if known is not None:
            return known
        owner, _, member = name.rpartition(".")
        cls = self._class(owner) if owner else None
        found = (self._member(place, member) for place in resolution_order(cls, self._bases)[1:]) if cls else ()
        return next(filter(None, found), None)

    def _class(self, name: str) -> _Class | None:
        cell = self.definitions.cell_of(name)
        name = cell.nested.get(name, name) if cell else name
        entry = cell.chosen.get(name) if cell else None
        return (cell, name) if cell and entry and entry.kind == "class" else None

    def _bases(self, cls: _Class) -> list[_Class]:
        file, name = cls
        if not file.cell:
            return self._texts.bases(cls)
        found = (self._class(base) or self._imported(base) for base in file.chosen[name].bases)
        return [base for base in found if base is not None]

    def _imported(self, base: str) -> _Class | None:
        """Return a base that the notebook imports, by the text of its file."""
        root, _, rest = base.partition(".")
        item = self.definitions.get(root)
        target = item.references[0] if item is not None and item.kind == "import" else ""
        return self._texts.class_of(f"{target}.{rest}".rstrip(".").split(".")) if target else None

    def _member(self, cls: _Class, member: str) -> Definition | None:
        file, name = cls
        return self.definitions.get(f"{name}.{member}") if file.cell else file.by_name.get(f"{name}.{member}")


_STANDS_FOR = re.compile(r"\w+(?:\s*:[^=]+)?\s*=\s*([^\W\d][\w.]*)\s*(?:#.*)?\Z")


def _stands_for(file: FileDefinitions, entry: Entry) -> str:
    """Return the name that a constant is another one for, or an empty text."""
    match = _STANDS_FOR.match(file.python_of(entry)) if entry.kind in {"constant", "type alias"} else None
    return match.group(1) if match and match.group(1) != entry.name else ""


def _note(file: FileDefinitions, error: ParseError) -> str:
    if file.outdated:
        return f"{file.file} no longer parses ({error}): its last version that did is used"
    if file.entries:
        return f"{file.file} does not parse ({error}): the rest of it is used"
    return f"{file.file} cannot be used: {error}"
