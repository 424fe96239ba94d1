"""Tell which definition a name in the user's words or code means.

It is a cascade: the live object in the namespace, the notebook's cells, the text of files. Inference by astroid comes
last, for what those did not resolve. Live objects are looked at, never asked: no property, `__getattr__` or `__repr__`
runs. No module is imported that the user has not imported. Inference works in a process of its own, in limited time.

The order is one of evidence. The live object is what the kernel would call now, whatever the text says. The text may be
of a cell that was edited and not run again. A method may have been patched. The cells come next, for names that
were deleted or have not run. The text of files is for modules that are not loaded, and it follows imports as Python
would. Inference guesses types, so it is asked only where a name depends on one.

Looking instead of asking has a price: whatever computes its attributes is told by its text alone. The other way costs
more. A property may read a database, and a `__repr__` may take a minute. The user would wait for it with an answer
about something else.

A name can end in three ways. It is a Definition, an Unresolved value (a variable has nothing to define), or
missing, with the nearest name. A wrong definition is worse than none, since the model believes what it is sent. So
where several definitions share a name, only one that stands out is taken.
"""

from __future__ import annotations

import builtins
import re
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from agentnb.canonical import JsonMapping
from agentnb.context.notebook.cells import CellIndex
from agentnb.context.resolve import inference, library
from agentnb.context.resolve.files import FileIndex, module_file, module_name
from agentnb.context.resolve.inference import Place
from agentnb.context.resolve.library import sourceless
from agentnb.context.resolve.objects import LiveObjects
from agentnb.context.resolve.package_search import PackageSearch, packages_in_use
from agentnb.context.resolve.text import CellNames, Texts
from agentnb.context.static.definitions import Definition, FileDefinitions
from agentnb.context.static.name_usage import SELF
from agentnb.context.values import static_inspect
from agentnb.errors import nearest

DOTTED = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*\Z")
_ALIAS = re.compile(r"\w+\s*=\s*(?:(?:functools\.)?partial\(\s*)?([^\W\d][\w.]*)\s*(?:\Z|,.*\)\Z|\)\Z)", re.DOTALL)
RESULT = re.compile(r"[^\W\d]\w*(?:(?:\(\))?\.[^\W\d]\w*)*\Z")
_RETURNS = re.compile(r"\)\s*->\s*[\"']?([^\W\d][\w.]*)")
SHELL_NAMES = frozenset({"In", "Out", "exit", "quit", "get_ipython", "open", "display"})
CLASSES_LIMIT = 50
ALIKE = 0.9
"""Likeness from which a name counts as a slip, where it may as well be a table's column."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Unresolved:
    """Holds a name that has no definition to show. `reason` is a sentence; `nearest` a hint, or empty.

    `kind` is "value" for a variable, "missing" for what is not there, "text" for what is no name at all.
    """

    name: str
    reason: str
    nearest: str = ""
    kind: str = "missing"


_BUILTINS = vars(builtins)


class Resolver:
    """Resolves names of one notebook at one moment. It remembers what it has read and found, so make a new one for each
    task.

    `project` is searched before the import path; `index` is shared by default.
    `patience` is how long the caller waits for inference in all, in seconds.
    """

    def __init__(
        self,
        *,
        cells: CellIndex,
        namespace: JsonMapping,
        project: Path | None = None,
        index: FileIndex | None = None,
        patience: float = inference.SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cells = cells
        self._namespace = namespace
        self._waiting = patience
        self._clock = clock
        self._imports = cells.imports()
        self._texts = Texts(project=project, index=index)
        self._own = CellNames(cells.definitions(), self._texts)
        self._objects = LiveObjects(self._texts, self._own, self._imports)
        self._resolved: dict[str, Definition | Unresolved] = {}
        self._followed: dict[tuple[str, str], Definition | None] = {}
        self._cascade = (
            self._from_namespace,
            self._from_cells,
            self._from_modules,
            self._from_builtins,
            self._bare,
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """Files that could not be read on the way, and definitions that live objects are older than."""
        return (*self._texts.notes, *self._objects.notes)

    def resolve(self, name: str) -> Definition | Unresolved:
        """Return the definition of a dotted name as a user writes it: `clean`, `nx.Graph.add_edge`, `G.add_edge`,
        `np.sin`."""
        name = unicodedata.normalize("NFKC", name.strip().strip("`@").removesuffix("()"))  # as Python reads names
        name = name.replace(".<locals>.", ".")
        if name not in self._resolved:
            self._resolved[name] = self._resolve(name)
        return self._resolved[name]

    def exactly(self, name: str) -> Definition | None:
        """Return the definition that goes by this very name, as one that was found before: nothing is searched or
        inferred."""
        parts = name.replace(".<locals>.", ".").split(".")
        found = self._look(parts, self._cascade)
        return found if found is not None and found.name == name else None

    def mentioned(self, word: str) -> Definition | None:
        """Return the same for a word of the text, which may be no name: no inference, reason or hint."""
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
        """Return the class of a variable, where a cell or the project defines it: such a question is about it."""
        value = self._namespace.get(name, static_inspect.MISSING)
        if value is static_inspect.MISSING or static_inspect.is_a(value, static_inspect.NO_INSTANCES):
            return None
        found = self._objects.of_class(type(value))
        return found if found and not found.library else None

    def whole(self, found: Definition) -> Definition:
        """Return the same with its source, where it is a library's that is told by its signature."""
        if found.source or not found.library:
            return found
        is_module = found.kind == "import"
        text = self._texts.module(found.name, whole=True) if is_module else self._texts.by_name(found.name.split("."))
        return text if text is not None and text.name == found.name else found

    def follow(self, user: Definition, reference: str, receiver: Definition | None = None) -> Definition | None:
        """Return the definition that `reference` in the code of `user` means: in its module's scope, or the notebook's.

        `self.x` means what the class `receiver` has, on whose instance the code runs; else the class around it.
        """
        made, call, rest = reference.partition("()")
        if call and rest:
            owner = self.follow(user, made, receiver)
            if owner is None or owner.kind != "class":
                return owner  # what a function returns is for inference
        parts, place = reference.replace("()", "").split("."), user
        if parts[0] == SELF and len(parts) > 1:
            place = receiver or user
            within = self._inside_module(place)
            parts = [*(within if place.kind == "class" else within[:-1]), *parts[1:]]
        # An attribute that is not found leads to its owner, but not further than to one part: the whole name.
        for end in range(len(parts), 0, -1):
            key = (place.file, ".".join(parts[:end]))
            if key not in self._followed:
                try:
                    self._followed[key] = self._follow(place, self._live_scope(place), parts[:end])
                except RecursionError:
                    self._followed[key] = None
            found = self._followed[key]
            if found is not None:
                return found if found.name != user.name else None
        return None

    def _inside_module(self, found: Definition) -> list[str]:
        """Return the parts of its name inside its module or the notebook, without functions around it."""
        name = found.name.partition(".<locals>")[0]
        if found.origin == "file":
            _, module = self._live_scope(found)
            file = None if module else self._texts.file_containing(found)
            prefix = static_inspect.module_text(module, "__name__") if module else file.module if file else ""
            name = name.removeprefix(f"{prefix}.")
        return name.split(".")

    def receiver(self, name: str) -> Definition | None:
        """Return the class on whose instance a name is called: `Thick` for `thick.fit`, `Thick.fit`.

        The same goes for `later = partial(thick.fit, 3)`.
        """
        owner = name.rpartition(".")[0]
        values = self._live_values(owner.split(".")) if owner else static_inspect.bound_to(self._namespace.get(name))
        if values and len(values) == len(owner.split(".")):
            last = static_inspect.unwrap(values[-1])
            found = self._objects.of_class(last if static_inspect.is_a(last, type) else type(last))
        else:
            made = self.resolve(owner) if owner else None
            found = made if isinstance(made, Definition) else None
            maker = self._cells.made_by(owner) if found is None or found.kind != "class" else ""
            made = self.resolve(maker) if DOTTED.match(maker) else found
            found = made if isinstance(made, Definition) else None
        return found if found and found.kind == "class" and not found.library else None

    def receiver_of(self, user: Definition, reference: str) -> Definition | None:
        """Return the same for a reference in the code of `user`: the class of `model` for `model.fit`."""
        owner = reference.rpartition(".")[0].removesuffix("()")
        if not owner or owner == SELF:
            return None
        if user.origin == "cell" and owner.partition(".")[0] in self._namespace:
            return self.receiver(reference.replace("()", ""))
        found = self.follow(user, owner)
        return found if found and found.kind == "class" and not found.library else None

    def is_of_base(self, user: Definition, reference: str) -> bool:
        """Tell whether a method calls one of a base of its class, as `super().fit` does: on the same instance."""
        base, around = reference.rpartition(".")[0], user.name.rpartition(".")[0]
        found = self.exactly(around) if base and around and user.kind == "method" else None
        bases = re.search(r"class \w+(?:\[.*?\])?\((.*?)\)\s*:", found.signature, re.DOTALL) if found else None
        return bases is not None and base in re.split(r"[\s,]+", bases.group(1))

    def of_code(self, code: CodeType) -> Definition | None:
        """Return the definition whose code object this is; of a nested function the outermost one around it."""
        found = self._objects.of_code(code)
        if found is None or ".<locals>." not in found.name:
            return found
        file = self._texts.file_containing(found)
        outer = found.name.removeprefix(f"{file.module}.").partition(".<locals>.")[0] if file else ""
        return file.by_name.get(outer, found) if file else found

    def members_in_use(self, name: str, *, variable: str = "") -> tuple[Definition, ...]:
        """Return the methods called `name` of the classes whose instances are variables of the notebook.

        Code says `G.nodes` without saying what `G` is; the notebook's own values are the best guess there is. Where the
        notebook has a `variable` of that very name, it is the only guess.
        """
        if variable in self._namespace:
            found = self._objects.walk(self._namespace, [variable, name])
            return (found,) if found is not None and found.source else ()
        codes = dict.fromkeys(
            code for cls in self._classes_of_variables if (code := static_inspect.method_code(cls, name))
        )
        guesses = (self._objects.of_code(code) for code in codes)
        return tuple(definition for definition in guesses if definition is not None)

    @cached_property
    def _classes_of_variables(self) -> list[type]:
        values = (value for name, value in static_inspect.public(self._namespace) if name not in SHELL_NAMES)
        return static_inspect.classes_of(values)[:CLASSES_LIMIT]

    # the cascade ------------------------------------------------------------------------------------------------

    def _resolve(self, name: str) -> Definition | Unresolved:
        if not DOTTED.match(name):
            found = self._of_result(name) if RESULT.match(name) else None
            return found or Unresolved(name=name, reason=f"{name[:60]!r} is not a name", kind="text")
        parts = name.split(".")
        return self._look(
            parts, (*self._cascade, self._of_property, self._from_packages, self._by_inference)
        ) or self._unresolved(name, parts)

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
        return self._objects.walk(self._namespace, parts)

    def _from_cells(self, parts: list[str]) -> Definition | None:
        found = self._own.find(".".join(parts))
        if found is not None and found.kind != "import":
            return self._through_alias(found) or found
        target = self._imports.get(parts[0])
        if target is None:
            return found or self._of_made(parts)
        return self._absolute([*target.split("."), *parts[1:]]) or found

    def _of_made(self, parts: list[str]) -> Definition | None:
        """Return `Model.fit` for `model.fit`, where a cell made `model` by calling a class."""
        maker = self._cells.made_by(parts[0])
        if len(parts) < 2 or not DOTTED.match(maker) or maker.partition(".")[0] == parts[0]:
            return None
        owner = self.resolve(maker)
        return None if isinstance(owner, Unresolved) or owner.kind != "class" else self._member_of(owner, parts[1:])

    def _of_result(self, name: str) -> Definition | None:
        """Return `Model.fit` for `make_model().fit`: a class makes its instances, a function says what it returns, or
        it is inferred."""
        maker, _, rest = name.rpartition("().")
        made = self.resolve(maker)
        if isinstance(made, Unresolved):
            return None
        owner = made if made.kind == "class" else self._returned(made)
        return self._member_of(owner, rest.split(".")) if owner else self._inferred(name)

    def _of_property(self, parts: list[str]) -> Definition | None:
        """Return `Namespace.upper` for `series.str.upper`, where the property `str` says that it returns a
        `Namespace`."""
        if len(parts) < 3 or not self.known(parts[0]):
            return None
        made = self._look(parts[:-1], self._cascade)
        owner = self._returned(made) if made and made.kind == "property" else None
        return self._member_of(owner, parts[-1:]) if owner else None

    def _returned(self, made: Definition) -> Definition | None:
        """Return the class that a function or property says it returns."""
        returns = _RETURNS.search(made.signature)
        owner = self.follow(made, returns.group(1)) if returns else None
        return owner if owner and owner.kind == "class" else None

    def _member_of(self, owner: Definition, rest: list[str]) -> Definition | None:
        return self._own.find(".".join([owner.name, *rest])) or self._absolute([*owner.name.split("."), *rest])

    def _through_alias(self, found: Definition) -> Definition | None:
        """Return `plain` for `alias = plain` and `half = partial(plain, 1)`."""
        match = _ALIAS.match(found.source) if found.kind == "constant" and "." not in found.name else None
        if match is None or match.group(1) == found.name:
            return None
        target = self.resolve(match.group(1))
        return target if isinstance(target, Definition) and target.kind not in {"constant", "import"} else None

    def _from_modules(self, parts: list[str]) -> Definition | None:
        if parts[0] in self._namespace:
            return None  # a variable hides a module of its name
        if len(parts) > 1:
            return self._absolute(parts)
        return self._texts.module(parts[0], project_only=parts[0] not in self._modules)

    @cached_property
    def _modules(self) -> frozenset[str]:
        """Return the modules that the notebook has under any name: `numpy` after `import numpy as np`."""
        values = (
            value for _, value in static_inspect.public(self._namespace) if static_inspect.is_a(value, ModuleType)
        )
        return frozenset(
            [*self._imports.values(), *(static_inspect.module_text(value, "__name__") for value in values)]
        )

    def _absolute(self, parts: list[str]) -> Definition | None:
        """Return a full dotted path: the longest part that is a module, then names inside; live objects first."""
        for end in range(len(parts) - 1, 0, -1):
            loaded = static_inspect.loaded_module(".".join(parts[:end]))
            if loaded is not None:
                found = self._objects.walk(static_inspect.module_dict(loaded), parts[end:], module=loaded)
                if found is not None:
                    return found
                if library.of_module(loaded) and module_file(".".join(parts[: end + 1])) is None:
                    return None  # what a loaded library's module does not hold is not worth reading all of its text
        return self._texts.by_name(parts)

    def _bare(self, parts: list[str]) -> Definition | None:
        """Return `harmonic` for `tides.harmonic` where the notebook imports `tides`, if only one of its modules has it.
        Not for a name of the notebook's own: a variable `clf` is no `pyplot.clf`."""
        if parts[0] in self._namespace or parts[0] in self._cells.names:
            return None
        name = ".".join(parts)
        files = {file.module: file for file in self._surveyed}
        found = [file for file in files.values() if name in file.chosen]
        return found[0].by_name[name] if len(found) == 1 else None

    @cached_property
    def _surveyed(self) -> list[FileDefinitions]:
        """Return the modules that the notebook imports. Loaded ones that are not the user's are left out: `_exported`
        looks at them without reading their files."""
        targets = dict.fromkeys(self._imports.values())
        return self._texts.survey(
            name
            for name in targets
            if not ((loaded := static_inspect.loaded_module(name)) and library.of_module(loaded))
        )

    def _from_packages(self, parts: list[str]) -> Definition | None:
        """Return what the packages in use call so, where the notebook does not: at their top, or anywhere by text."""
        if self.known(parts[0]):
            return None
        return self._exported(parts) or self._search.likeliest(".".join(parts))

    @cached_property
    def _packages(self) -> Mapping[str, Path]:
        return packages_in_use(self._cells.imported(), self._namespace, self._texts.roots)

    @cached_property
    def _search(self) -> PackageSearch:
        return PackageSearch(self._texts, self._packages)

    def _exported(self, parts: list[str]) -> Definition | None:
        """Return `pagerank` for `networkx.pagerank`, where only one of the packages in use has it at its top."""
        found: dict[str, Definition] = {}
        for package in self._packages:
            loaded = static_inspect.loaded_module(package)
            names = static_inspect.module_dict(loaded) if loaded else {}
            definition = self._objects.walk(names, parts, module=loaded) if parts[0] in names else None
            found |= {definition.name: definition} if definition and definition.source else {}
        return next(iter(found.values())) if len(found) == 1 else None

    def _from_builtins(self, parts: list[str]) -> Definition | None:
        return self._objects.walk(_BUILTINS, parts)

    # what a definition's code means ------------------------------------------------------------------------------

    def _live_scope(self, user: Definition) -> tuple[JsonMapping, ModuleType | None]:
        if user.origin == "cell":
            return self._namespace, None
        parts = user.name.split(".")
        for end in range(len(parts) - 1, 0, -1):
            loaded = static_inspect.loaded_module(".".join(parts[:end]))
            if loaded is not None:
                return static_inspect.module_dict(loaded), loaded
        return {}, None

    def _follow(
        self, user: Definition, scope: tuple[JsonMapping, ModuleType | None], parts: list[str]
    ) -> Definition | None:
        names, module = scope
        if parts[0] in names and not (user.origin == "cell" and parts[0] in SHELL_NAMES):
            found = self._objects.walk(names, parts, module=module)
            if found is not None:
                return found
        if user.origin == "cell":
            return self._from_cells(parts)
        file = self._texts.file_containing(user) if not (user.library and module) else None
        found = self._texts.inside(file.module, parts) if file else None
        return found or (self._absolute(parts) if len(parts) > 1 else None)

    # what is left -----------------------------------------------------------------------------------------------

    def _by_inference(self, parts: list[str]) -> Definition | None:
        if len(parts) < 2 or not self.known(".".join(parts)) or self._is_settled(parts):
            return None
        return self._inferred(".".join(parts))

    def _inferred(self, expression: str) -> Definition | None:
        if self._waiting <= 0:
            return None
        begun = self._clock()
        place = inference.SHARED.infer(self._cells.code(), expression, self._waiting)
        self._waiting -= self._clock() - begun
        return self._placed(place)

    def _placed(self, place: Place | None) -> Definition | None:
        if place is None:
            return None
        path, line, name = place
        if path is None:
            return self._own.find(name)
        file = self._texts.read(path, module_name(path))
        entry = file.at_line(line, name) if file else None
        found = file.build(entry) if file and entry else None
        if found is None or path.suffix != ".pyi":
            return found
        return sourceless(found.name, found.kind, found.signature, found.doc)  # a stub is no source

    def _is_settled(self, parts: list[str]) -> bool:
        """Say no where a live object lacks the attribute. It has been searched in full, unless it computes attributes
        when asked."""
        values = self._live_values(parts)
        if not values or len(values) == len(parts):
            return bool(values)
        return not static_inspect.computes_attributes(values[-1])

    def _unresolved(self, name: str, parts: list[str]) -> Unresolved:
        values = self._live_values(parts)
        value = static_inspect.unwrap(values[-1]) if len(values) == len(parts) else static_inspect.MISSING
        if static_inspect.is_a(value, (FunctionType, type)):
            return Unresolved(name=name, reason=f"no source: {self._objects.why_sourceless(value, name)}")
        if value is not static_inspect.MISSING:
            return Unresolved(name=name, kind="value", reason=f"{name} is a variable: it has a value, not a definition")
        ambiguous = [f"{file.module}.{name}" for file in self._surveyed if name in file.chosen] or (
            [] if self.known(parts[0]) else self._search.candidates(name)
        )
        if len(ambiguous) > 1:
            return Unresolved(name=name, reason=f"{name} is ambiguous: {', '.join(ambiguous[:4])}")
        computed = self._is_computed(parts)
        hint = nearest(name, list(self._words(parts)), cutoff=ALIKE if computed else 0.5)
        if computed and not hint:
            reason = f"{name} has no definition: it is made when it is asked for"
            return Unresolved(name=name, kind="value", reason=reason)
        return Unresolved(name=name, reason=f"there is no definition called {name} here", nearest=hint)

    def _is_computed(self, parts: list[str]) -> bool:
        """Tell whether a live object may make it when asked, as a table its columns."""
        values = self._live_values(parts[:-1])
        return bool(values) and len(parts) > 1 and static_inspect.computes_attributes(values[-1])

    def _live_values(self, parts: Sequence[str]) -> list[Any]:
        return static_inspect.along(self._namespace, parts)

    def _words(self, parts: list[str]) -> Iterator[str]:
        if len(parts) == 1:
            yield from self._own.definitions
            yield from (name for name, _ in static_inspect.public(self._namespace) if name not in SHELL_NAMES)
            return
        prefix, values = ".".join(parts[:-1]), self._live_values(parts[:-1])
        if len(values) == len(parts) - 1:
            yield from (f"{prefix}.{name}" for name in static_inspect.stored_names(values[-1]) if name[:1] != "_")
            return
        if not self.known(parts[0]):
            import difflib

            for first in difflib.get_close_matches(parts[0], list(self._words(parts[:1]))):
                meant = ".".join([first, *parts[1:]])
                found = self.resolve(meant)
                if not isinstance(found, Unresolved) or found.kind == "value":
                    yield meant
            return
        owner = self.resolve(".".join(parts[:-1]))
        if isinstance(owner, Unresolved):
            return
        file = self._texts.file_of(owner.name) if owner.kind == "import" else self._texts.file_containing(owner)
        for name in file.chosen if file else ():
            qualified = f"{file.module}.{name}" if file else name
            if qualified.rpartition(".")[0] == owner.name:
                yield f"{prefix}.{name.rpartition('.')[2]}"
