"""Tell a model what this kernel has: definitions, values, the project outline, all redacted. One object per session."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from types import FunctionType, MappingProxyType, MethodType, ModuleType

from agentnb.agent.hydration.notebook_context import CELL, NAME, Additions, NotebookContext
from agentnb.agent.hydration.project_context import Pins, ProjectContext, digests_now
from agentnb.agent.hydration.project_instructions import course_of
from agentnb.agent.scrubber import Scrubber
from agentnb.agent.tools.tool import Outcome, shorten
from agentnb.canonical import JsonMapping
from agentnb.context.notebook.cell_runs import CellLog
from agentnb.context.notebook.cells import CellIndex
from agentnb.context.notebook.displays import Shown, names_of, of_latest, speaks_of_figure
from agentnb.context.notebook.namespace import NameLine, line_of, ran_into
from agentnb.context.notebook.notebook_text import KEYS, NotebookText
from agentnb.context.notebook.schema_only import WITHHELD, describe_schema
from agentnb.context.notebook.trace import Ran, frames_of
from agentnb.context.notebook.tracebacks import describe_failure
from agentnb.context.resolve.held import HeldNames, HeldNow
from agentnb.context.resolve.resolution import Resolver, Unresolved
from agentnb.context.selection import Chosen, Selection, marks, measured, render, select
from agentnb.context.static.definitions import Definition
from agentnb.context.values import description, static_inspect
from agentnb.context.values.pictures import Drawn, draw, draw_shown, is_drawable, open_in_pyplot
from agentnb.models.framing import framed
from agentnb.prompt.blocks import Project, receipt_entry
from agentnb.prompt.project_parts import OUTLINE, TREE, AnyPart, HeldParts

_NO_DEFINITIONS = (OUTLINE, TREE, CELL, NAME, *KEYS)
MAX_VALUES = 12
ASIDE = 200
"""Characters of a value that the task does not mark."""
MAX_PICTURES = 4
_WORDS = ("auto", "cells")
"""The modes in which the words of a task count, not its marks alone."""
_WORD = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")
_SCAN = 20_000  # characters of the task that are searched for variable names; a pasted log goes on for much longer


@dataclass(frozen=True, kw_only=True)
class Observed:
    """Holds what the kernel saw just before the task: functions of a traced cell, the error of a failed one.

    `asked`: the task is about the error, whatever its words. `notes` say what it could not see; `shown` are the figures
    that are kept, the newest last. `text` is the notebook as it is written, where that can be had. `asking` is the
    asking cell's id.
    """

    ran: tuple[Ran, ...] = ()
    error: BaseException | None = None
    asked: bool = False
    notes: tuple[str, ...] = ()
    shown: tuple[Shown, ...] = ()
    text: NotebookText | None = None
    asking: str = ""

    @property
    def reached(self) -> tuple[Ran, ...]:
        """Return the functions to prefer: those of the traceback, then those that ran."""
        return (*(frames_of(self.error) if self.error is not None else ()), *self.ran)


@dataclass(frozen=True, kw_only=True)
class Freshness:
    """Tells what became of held definitions: digests as they are now, versions to send again, names that are gone.

    `parts` are the project's, as they are now, and `lines` the list of names. `notes` say whose file could not be read.
    `held` is what was compared, `seen_at` the number of cells that had run by then.
    """

    held: HeldParts
    seen_at: int
    current: Mapping[str, str]
    changed: tuple[Chosen, ...] = ()
    removed: tuple[str, ...] = ()
    parts: tuple[AnyPart, ...] = ()
    lines: tuple[NameLine, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Hydrator:
    """Holds the notebook as the agent sees it, redacted. `project` is the directory that counts as the user's own code.

    `seen` remembers the names that once resolved in this session. Only such a name can be said to be removed. In a
    fresh kernel most names of a lasting thread are merely not there yet.
    """

    cells: CellIndex
    namespace: JsonMapping
    scrub: Scrubber
    project: Path | None = None
    pins: Pins = field(default_factory=Pins)
    observed: Observed = field(default_factory=Observed)
    seen: set[str] = field(default_factory=set)
    log: CellLog = field(default_factory=CellLog)
    schema_only: bool = False
    remembered: HeldNames = field(default_factory=HeldNames)
    opened: dict[str, Freshness] = field(default_factory=dict)

    @property
    def notebook(self) -> NotebookContext:
        """Return the cells that ran, and the names that they bound."""
        return NotebookContext(
            log=self.log,
            namespace=self.namespace,
            bound=self._own_names,
            scrub=self.scrub,
            schema_only=self.schema_only,
            text=self.observed.text,
            asking=self.observed.asking,
        )

    def course(self) -> str:
        """Return what the course tells its tutors, without secrets."""
        return self.scrub(course_of(self.project))

    def names_like(self, pattern: str) -> list[str]:
        """Return a line on each of the notebook's own names that hold something now and fit a shell's pattern."""
        fitting = (name for name in self._own_names() if fnmatchcase(name, pattern) and name in self.namespace)
        return [self.scrub(line) for name in fitting if (line := line_of(name, self.namespace[name]))]

    def _own_names(self) -> list[str]:
        """Return the names that cells have bound to something of their own: an import is a package's."""
        left_out = {*self.cells.imports(), *self.pins.hidden}
        names = [*self.cells.names, *ran_into(self.namespace, self.cells.names, self.cells.imported())]
        return [name for name in names if name not in left_out and not name.startswith("_")]

    def additions(
        self,
        task: str,
        earlier: tuple[str, ...],
        held: HeldParts,
        *,
        mode: str,
        count: Callable[[str], int],
        budget: int,
        lines: Sequence[NameLine] | None = None,
    ) -> Additions:
        """Return what the thread lacks of the notebook: cells, their outputs, names, the notebook's own text.

        `earlier` are the tasks before this one, the newest first. `lines` are the names, where just looked at.
        """
        if mode not in _WORDS:
            return Additions()
        notebook = self.notebook
        question = notebook.question(task, earlier)
        return notebook.additions(question, held, count=count, budget=budget, lines=lines)

    def read_cell(self, number: int, *, count: Callable[[str], int]) -> Outcome:
        """Return one cell at length, for the `read_cell` tool."""
        text, holds = self.notebook.read(number, count)
        if text:
            return Outcome(text=text, holds=holds)
        known = ", ".join(str(run.number) for run in self.log.runs[-30:]) or "none"
        return Outcome(text=f"No cell has the number {number}. The cells that ran: {known}.", is_error=True)

    def select(
        self, task: str, *, mode: str, count: Callable[[str], int], budget: int, used: Iterable[str] = ()
    ) -> Selection:
        """Return the definitions that the task touches, what they need one step on, and those that are pinned.

        `used` are names that the cells use which the task is about.
        """
        resolver = self._resolver()
        ran, own = self.observed.reached if mode == "auto" else (), self._own_imports()
        found = select(
            task,
            resolver,
            mode="none" if mode == "cells" else mode,
            count=count,
            budget=budget,
            ran=ran,
            used=[name for name in used if name.partition(".")[0] in own],
            code=self.cells.code(),
        )
        chosen = {item.definition.name: item for item in found.chosen}
        notes = [*found.notes, *self.observed.notes]
        for name in self.pins.names:
            pinned, note = self._pinned(name, resolver, count=count, budget=budget)
            notes += [note] if note else []
            chosen |= {pinned.definition.name: pinned} if pinned else {}
        self.seen.update(chosen)
        kept = tuple(self._clean(item) for item in chosen.values() if not self.pins.hides(item.definition))
        return replace(found, chosen=kept, notes=tuple(notes))

    def _own_imports(self) -> set[str]:
        """Return the names that cells import from the project's modules."""
        tops = {name: static_inspect.loaded_module(to.partition(".")[0]) for name, to in self.cells.imports().items()}
        return {name for name, module in tops.items() if module is not None and self.of_project.is_own(module)}

    def why_not_in_full(self, name: str, *, count: Callable[[str], int], budget: int) -> str:
        """Return what is to be said of a name that is pinned; empty where it goes along in full."""
        return self._pinned(name, self._resolver(), count=count, budget=budget)[1]

    def _pinned(
        self, name: str, resolver: Resolver, *, count: Callable[[str], int], budget: int
    ) -> tuple[Chosen | None, str]:
        """Return what goes along of a pinned name, and a note where that is less than all of it."""
        found = resolver.resolve(name)
        if isinstance(found, Unresolved):
            return None, f"{name} is pinned, but {found.reason}. {found.nearest}".rstrip()
        full = _in_full(resolver.whole(found), "pinned", count)
        if full.tokens <= budget:
            return full, ""
        short = _chosen(found, "signature", "pinned, but too large to go along in full", count)
        return short, (
            f"{name} is pinned by its signature only: it has ≈ {full.tokens:,} tokens. A task may add {budget:,} of "
            "definitions (a quarter of AgentNB.context_tokens). Pin the parts of it that matter."
        )

    def refresh(self, held: HeldParts, count: Callable[[str], int]) -> Freshness:
        """Return the held definitions and parts compared with what is there now."""
        self.remembered.look_anew()
        parts = self.parts(count, held)
        notebook = self.notebook
        lines = notebook.lines()
        current = digests_now(parts, held) | notebook.digests(held, lines)
        removed = [name for name, digest in current.items() if not digest and not name.startswith(_NO_DEFINITIONS)]
        resolver, changed, notes = self._resolver(), [], list[str]()
        for name, item in held.items():
            if item["form"] not in ("full", "signature"):
                continue
            now = self._now(name, str(item["form"]), resolver)
            if now is not None and (item["digest"] == now.digest or (now.shown and now.shown == item.get("shown"))):
                current[name] = str(item["digest"])
                notes += now.notes
            elif (made := self._as_held(name, item, "changed since it was sent", resolver, count)) is not None:
                current[name] = made.definition.digest
                changed.append(made)
            elif name in self.seen:
                removed.append(name)
                current[name] = ""
        return Freshness(
            held=held,
            seen_at=self.cells.version,
            current=current,
            changed=tuple(item for item in changed if not self.pins.hides(item.definition)),
            removed=tuple(removed),
            parts=parts,
            lines=lines,
            notes=tuple(dict.fromkeys([*resolver.notes, *notes])),
        )

    def keep(self, turn: str, fresh: Freshness | None) -> None:
        """Keep for the filling of a turn what was found at its opening."""
        self.opened.clear()
        self.opened.update({turn: fresh} if fresh is not None else {})

    def kept(self, turn: str, held: HeldParts) -> Freshness | None:
        """Return what was found when the turn was opened, where it holds the same and no cell has run since."""
        known = self.opened.pop(turn, None)
        same = known is not None and known.seen_at == self.cells.version and known.held == held
        return known if same else None

    def defined_again(self, gone: Iterable[str], count: Callable[[str], int]) -> tuple[Chosen, ...]:
        """Return the definitions among `gone`, which the thread takes for removed, that are there again."""
        resolver, names = self._resolver(), [name for name in gone if not name.startswith(_NO_DEFINITIONS)]
        back = (found for name in names if (found := _by_its_name(resolver, name)) is not None)
        shown = (found for found in back if not self.pins.hides(found))
        return tuple(self._clean(_in_full(found, "defined again", count)) for found in shown)

    def _now(self, name: str, form: str, resolver: Resolver) -> HeldNow | None:
        """Return what a held definition is now; it is resolved only where something that it depends on has changed."""
        allowed = ",".join(sorted(self.pins.allow))  # what may be said of secrets changes the text
        known = self.remembered.known(name, f"{form} {allowed}", self.cells, self.namespace)
        if known is not None:
            self.seen.add(name)
            return known
        before = set(resolver.notes)
        found = _by_its_name(resolver, name, form=form)
        if found is None:
            return None
        self.seen.add(name)
        made = self._clean(Chosen(definition=found, form=form, reason="", tokens=0))
        notes = tuple(note for note in resolver.notes if note not in before)
        seen = HeldNow(digest=made.definition.digest, shown=made.shown, notes=notes, cell=found.cell)
        self.remembered.keep(f"{form} {allowed}", found, seen, self.cells, self.namespace)
        return seen

    def _as_held(
        self, name: str, item: JsonMapping, reason: str, resolver: Resolver, count: Callable[[str], int]
    ) -> Chosen | None:
        """Return a held definition in its present version and in the form in which it is held."""
        form = str(item["form"])
        found = _by_its_name(resolver, name, form=form) if form in ("full", "signature") else None
        return self._clean(_chosen(found, form, reason, count)) if found is not None else None

    def older_definitions(self, held: HeldParts) -> tuple[str, ...]:
        """Return the names of those definitions that are gone, or read otherwise now."""
        self.remembered.look_anew()
        resolver = self._resolver()
        return tuple(name for name, item in held.items() if self._is_older(name, item, resolver))

    def _is_older(self, name: str, item: JsonMapping, resolver: Resolver) -> bool:
        now, inside = self._now(name, str(item["form"]), resolver), item.get("inside")
        if inside and (now is None or now.cell == inside):
            return False  # it is told with its cell, which it came in
        if now is None:
            return name in self.seen
        return now.digest != item["digest"] and not (now.shown and now.shown == item.get("shown"))

    def described_now(self, name: str) -> str | None:
        """Return the description of a variable as it would stand beside a task; None where there is no such
        variable."""
        return self._described(name) if self._is_data(name) else None

    def look(self, name: str, *, count: Callable[[str], int]) -> Outcome:
        """Return one more definition by name, or a variable's value, for the `inspect` tool."""
        name = name.strip().strip("`@")
        skill = self.of_project.skill(name, count)
        if skill is not None:
            return Outcome(text=skill.render(), holds=(skill.hold,))
        resolver = self._resolver()
        found = resolver.resolve(name)
        if name in self.pins.hidden or (not isinstance(found, Unresolved) and self.pins.hides(found)):
            return Outcome(text=f"The person keeps {name} out of this conversation.", is_error=True)
        if not isinstance(found, Unresolved):
            chosen = self._clean(_in_full(resolver.whole(found), "inspected by the model", count))
            self.seen.add(chosen.definition.name)
            return Outcome(text=render(chosen), holds=(receipt_entry(chosen),))
        if name in self.namespace:
            return Outcome(text=shorten(self._described(name)))
        hint = f" {found.nearest}" if found.nearest else ""
        return Outcome(text=f"{found.reason}{hint}", is_error=True)

    def describe_values(self, task: str, *, mode: str, involved: Iterable[str] = ()) -> tuple[str, ...]:
        """Return short descriptions of live variables: those that the task names, in that order, then those that it
        involves. Shown figures follow, where the task speaks of such."""
        words = _words(task, mode)
        data = self._data_named([*words, *involved])
        marked = _words(task, "marks")
        named = [self._described(name, description.LIMIT if name in marked else ASIDE) for name in data[:MAX_VALUES]]
        if len(data) > MAX_VALUES:
            named.append(self.scrub(f"(named too, and not described: {', '.join(data[MAX_VALUES:][:MAX_VALUES])})"))
        figures = (
            self.scrub.of_output(_shown_in_words(name, item)) for name, item in self._figures(task, mode).items()
        )
        return (*self._other_names(words), *named, *figures)

    def draw_pictures(self, task: str, *, mode: str) -> dict[str, Drawn]:
        """Pictures of the figures and images that the task names or speaks of. The same picture twice is kept once."""
        named = self._data_named(_words(task, mode))[:MAX_VALUES]
        works = [(name, partial(self._draw_named, name)) for name in named]
        works += [(name, partial(self._draw_shown, name, item)) for name, item in self._figures(task, mode).items()]
        out: dict[str, Drawn] = {}
        for name, work in works if not self.schema_only else ():
            drawn = work() if len(out) < MAX_PICTURES else None
            seen = [item.image.data for item in out.values() if item.image is not None]
            if drawn is not None and (drawn.image is None or drawn.image.data not in seen):
                out[name] = drawn
        return out

    def _draw_named(self, name: str) -> Drawn | None:
        value = self.namespace[name]
        return draw(value, text=self._described(name)) if is_drawable(value) else None

    def _draw_shown(self, name: str, shown: Shown) -> Drawn | None:
        text = self.scrub.of_output(_shown_in_words(name, shown))
        if shown.value is not None:
            return draw(shown.value(), text=text)
        return draw_shown(shown.data, text=text) if shown.data else Drawn(image=None, why=shown.why)

    def _figures(self, task: str, mode: str) -> dict[str, Shown]:
        """Return the shown figures by name, where the task speaks of such and names none of its own.

        They are those of the cells that it points at, else the newest cell's.
        """
        named = self._data_named(_words(task, mode))
        if mode not in _WORDS or self.schema_only or any(is_drawable(self.namespace[name]) for name in named):
            return {}
        speaks = speaks_of_figure(task[:_SCAN], names_data=bool(named))
        meant = self.notebook.figure_cells(task) if speaks or _OUTPUT.search(task) else []
        if not (speaks or meant):
            return {}
        here = [item for item in self.observed.shown if item.value is None or item.value() is not None]
        found = [item for item in here if any(item.cell == run.cell for run in meant)]
        if meant and not found:
            told = ((run, output.text) for run in meant for output in run.outputs if output.kind == "figure")
            found = [Shown(cell=run.cell, text=text, why="its picture is not kept any more") for run, text in told]
        found = found or list(of_latest(here))
        if not found and open_in_pyplot() is not None:
            found = [Shown(cell="", value=open_in_pyplot)]
        return names_of(found[-MAX_PICTURES:], self.cells.numbers)

    def _described(self, name: str, limit: int = description.LIMIT) -> str:
        if self.schema_only:
            return self.scrub(describe_schema(name, self.namespace[name]))
        return self.scrub.of_output(description.describe(name, self.namespace[name], limit=limit))

    def _data_named(self, words: Iterable[str]) -> list[str]:
        return [name for name in dict.fromkeys(words) if self._is_data(name)]

    def _other_names(self, words: Iterable[str]) -> list[str]:
        """Return what the task calls by another name than the one its definition is sent under: `dmp: json.dumps`."""
        imports = self.cells.imports()
        mentioned = (word.partition(".")[0] for word in words)
        bound = {word: imports[word] for word in mentioned if word in imports}
        return [f"{word}: {target}" for word, target in bound.items() if target.rpartition(".")[2] != word]

    def without_last(self) -> Hydrator:
        """Return the same for a task that means other cells than the last: its error and functions stay away."""
        seen = self.observed
        return self if seen.asked else replace(self, observed=replace(seen, ran=(), error=None))

    def failure(self, *, mode: str, selection: Selection) -> str:
        """Return the error of the cell that has just failed: where, and the locals of the innermost frames. Of
        functions that the selection lacks in full, the statements around are told."""
        if self.observed.error is None or mode not in _WORDS:
            return ""
        told = (item for item in selection.chosen if item.form == "signature" and not item.definition.library)
        short = {item.definition.name for item in told} | {name for name, _ in selection.left_out}
        if self.schema_only:
            return framed("error", f"{type(self.observed.error).__name__} ({WITHHELD})")
        return self.scrub.of_output(describe_failure(self.observed.error, project=self.project, short=short))

    def snapshot(self, count: Callable[[str], int], *, folded: Sequence[Chosen]) -> Project:
        """Return what SEMI_STATIC freezes: packages, files, outlines, added files, and these definitions of the
        thread."""
        return Project(packages=self.of_project.packages(), parts=self.parts(count), folded=tuple(folded))

    @property
    def of_project(self) -> ProjectContext:
        """Return what the project's files tell."""
        return ProjectContext(
            cells=self.cells,
            namespace=self.namespace,
            scrub=self.scrub,
            project=self.project,
            pins=self.pins,
            seen=self.seen,
            log=self.log,
        )

    def parts(self, count: Callable[[str], int], held: HeldParts = MappingProxyType({})) -> tuple[AnyPart, ...]:
        """Return the project's parts as they are now."""
        return self.of_project.parts(count, held)

    def as_they_are(self, held: HeldParts, count: Callable[[str], int]) -> tuple[Chosen, ...]:
        """Return the held definitions that still exist, in their present version and in the form in which they are
        held."""
        resolver = self._resolver()
        alone = {name: item for name, item in held.items() if not item.get("inside")}  # others go with their cell
        made = (self._as_held(n, item, str(item.get("reason", "")), resolver, count) for n, item in alone.items())
        return tuple(item for item in made if item is not None)

    def _clean(self, chosen: Chosen) -> Chosen:
        """Return the definition without secrets: taken out before anything is hashed."""
        clean = chosen.definition.redacted(self.scrub)
        return chosen if clean is chosen.definition else replace(chosen, definition=clean)

    def _resolver(self) -> Resolver:
        return Resolver(cells=self.cells, namespace=self.namespace, project=self.project)

    def _is_data(self, name: str) -> bool:
        if name.startswith("_") or name not in self.namespace or name in self.pins.hidden:
            return False
        value = self.namespace[name]
        return not (static_inspect.is_a(static_inspect.unwrap(value), _CODE) or name in _SHELL_NAMES)


_OUTPUT = re.compile(r"\b(?:outputs?|results?|shows?|shown|see|looks? like)\b", re.IGNORECASE)
"""Words that speak of what a cell shows, whatever that is."""


def _words(task: str, mode: str) -> list[str]:
    """Return the words of the task that may name something, marks first."""
    if mode == "none":
        return []
    return [*marks(task), *(_WORD.findall(task[:_SCAN]) if mode in _WORDS else ())]


def _shown_in_words(name: str, shown: Shown) -> str:
    return f"{name}: {shown.text}" if shown.value is None else description.describe(name, shown.value())


def _chosen(found: Definition, form: str, reason: str, count: Callable[[str], int]) -> Chosen:
    return measured(Chosen(definition=found, form=form, reason=reason, tokens=0), count)


def _in_full(found: Definition, reason: str, count: Callable[[str], int]) -> Chosen:
    return _chosen(found, "full", reason, count)


def _by_its_name(resolver: Resolver, name: str, *, form: str = "full") -> Definition | None:
    """Return the definition that still goes by the name under which it is held. A part of the project has no such
    name."""
    found = resolver.exactly(name)
    return resolver.whole(found) if found is not None and form == "full" else found


def with_changed(selection: Selection, changed: Iterable[Chosen], notes: Iterable[str] = ()) -> Selection:
    """Return the selection, then every held definition that changed though the task does not touch it; each note
    once."""
    chosen = {item.definition.name: item for item in selection.chosen}
    for item in changed:
        chosen.setdefault(item.definition.name, item)
    said = tuple(dict.fromkeys([*selection.notes, *notes]))
    return replace(selection, chosen=tuple(chosen.values()), notes=said)


_CODE = (type, ModuleType, FunctionType, MethodType, *static_inspect.COMPILED)
"""Types that are code, not data. A model that can be called is data all the same."""
_SHELL_NAMES = frozenset({"In", "Out", "exit", "quit", "get_ipython"})
