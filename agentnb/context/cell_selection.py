"""Choose which cells a question needs, in which form, and why: pointed at, by name, use or rare words, newest.

Pure, on recorded runs. A notebook of up to FEW unsent cells that fits is told in full. Of a larger one, what the
question needs is told, within about half of what pasting it all would take. Each other cell gets a line.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from agentnb.canonical import digest
from agentnb.context.notebook.cell_runs import CellRun, words_of
from agentnb.context.notebook.cell_text import (
    BRIEF,
    FORMS,
    FULL,
    OUTLINE,
    WHOLE,
    Form,
    cell_body,
    cell_element,
    entry,
    is_short,
    outline,
    outline_line,
)
from agentnb.context.notebook.outputs import steady
from agentnb.context.notebook.pointing import Pointed, pointed
from agentnb.context.question_words import (
    IDENTIFIER,
    WORDED,
    CellQuestion,
    WordMatch,
    by_words,
    match_words,
    names_in,
    names_spoken_of,
    taken_up,
)

FEW = 15
"""Unsent cells that are told in full without choosing, where they fit."""
SHARE = 0.47
"""Of what pasting all unsent cells would take, for what a turn adds of them when they are many."""
SHOWN = 4
"""Names whose values go along of the cells that are pointed at and have shown nothing."""
MEASURED = 4_000
"""Characters of one text whose tokens are counted; the rest is taken to be alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldCell:
    """Tells how the thread holds a cell: the number of the run it tells, the form, and the digest."""

    number: int
    form: str
    body: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picked:
    """Holds a run that goes along, as it is told. `body` is the digest of its source and outputs in that form.

    `older`: the thread holds a newer run of its cell, whose place it does not take. `listed`: it is told as an entry
    of the outline.
    """

    run: CellRun
    form: Form
    reason: str
    text: str
    tokens: int
    body: str
    older: bool = False
    listed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CellChoice:
    """Holds what the turn adds: cells in the order of running, cells that only get a line, names that matter."""

    picked: tuple[Picked, ...] = ()
    outlined: tuple[CellRun, ...] = ()
    outline_text: str = ""
    outline_tokens: int = 0
    names: tuple[str, ...] = ()
    involved: frozenset[str] = frozenset()
    """The cells that an answer rests on: pointed at or named, what those use, else those that share its words."""
    pointed: Pointed = field(default_factory=Pointed)

    @property
    def tokens(self) -> int:
        return sum(item.tokens for item in self.picked) + self.outline_tokens


FILLING = 6
"""From this priority on a cell is told only where the thread has nothing of it."""


VAGUE = 4_000
"""Tokens for cells where the question names nothing and shares no rare word: any of them may be meant."""
VALUE = 40
"""Tokens that the value of a name in the question, or what its definition uses, takes beside the task."""
NO_ROOM = 10
"""Tokens that no cell goes into."""


@dataclass(frozen=True, slots=True)
class _Want:
    form: Form
    reason: str
    priority: float


def choose(
    question: CellQuestion,
    runs: Sequence[CellRun],
    *,
    held: Mapping[str, HeldCell],
    by_number: dict[int, CellRun],
    count: Callable[[str], int],
    budget: int,
    beside: int = 0,
    clean: Callable[[CellRun], CellRun] = lambda run: run,
) -> CellChoice:
    """Return the cells that this turn adds to what the thread holds, within `budget` tokens.

    `beside` are the tokens that the turn adds beside them. `clean` takes secrets out.
    """
    task = taken_up(question)
    means = pointed(task, runs, by_number=by_number, placed=question.placed, above=question.above)
    named = names_in(question, runs, means)
    beside += VALUE * len(named)
    wants = _wanted(question, runs, means, named)
    unsent = [run for run in runs if not _is_held(run, held)]
    everything = _all_that_fit(unsent, count, budget)
    for run in unsent if everything else ():
        want = wants.get(run.identity, _Want(FULL, "ran since the last turn" if held else "ran before", 9))
        wants[run.identity] = want if want.form.rank >= FULL.rank else replace(want, form=FULL)
    known = {run.identity: run for run in (*runs, *(run for run, _ in means.cells))}
    brief = [run for run in runs if not _is_held(run, held) or held[run.cell].form == OUTLINE.name]
    lines = {} if everything else {run.identity: count(outline_line(clean(run))) for run in unsent}
    limit = _pasted(brief, count) * SHARE - beside - sum(lines.values())
    if all(want.priority >= 4 or want.reason == LAST for want in wants.values()):
        limit = max(limit, VAGUE)
    limit = budget if means.entire or everything else min(limit, budget)
    newest = {run.cell: run.number for run in runs}
    filling = _Filling(
        lines=lines, held=held, newest=newest, count=count, clean=clean, limit=limit, budget=budget, past=_past(runs)
    )
    picked = filling.fill(wants, known)
    taken = {item.run.identity for item in picked}
    rest = tuple(run for run in unsent if run.identity not in taken)
    again = {run.number: held[run.cell].number for run in rest if run.cell in held}
    listed = {item.run.identity: item.text for item in picked if item.listed}
    there = [run for run in runs if run.identity in listed or (run.identity not in taken and not _is_held(run, held))]
    text = outline([clean(run) for run in there], again, listed) if there else ""
    silent = [run for run, _ in means.cells if not run.outputs]
    shown = [name for run in silent for name in sorted(run.flow.binds - run.flow.imports)]
    names = dict.fromkeys([*named, *shown[:SHOWN]])
    return CellChoice(
        picked=tuple(sorted(picked, key=lambda item: item.run.order)),
        outlined=rest,
        outline_text=text,
        outline_tokens=max(count(text) - sum(item.tokens for item in picked if item.listed), 0) if text else 0,
        names=tuple(names),
        involved=_involved(wants, known),
        pointed=means,
    )


def _involved(wants: Mapping[str, _Want], known: Mapping[str, CellRun]) -> frozenset[str]:
    by_words = {key for key, want in wants.items() if want.reason.startswith(WORDED)}
    strong = {key for key, want in wants.items() if want.priority < 2} - by_words
    used = {key for key, want in wants.items() if _is_used(want.priority) and want.reason != LAST}
    return frozenset(known[key].cell for key in ((strong or by_words) | used if strong or by_words else ()))


def _is_used(priority: float) -> bool:
    return int(priority) in (2, 4) or SOURCES <= priority < FILLING


def _is_held(run: CellRun, held: Mapping[str, HeldCell]) -> bool:
    known = held.get(run.cell)
    return known is not None and known.number == run.number


def _pasted(runs: Iterable[CellRun], count: Callable[[str], int]) -> float:
    """Estimate the tokens that these cells take with all their outputs."""
    return sum(_measured(text, count) for run in runs for text in (run.source, *(each.text for each in run.outputs)))


def _measured(text: str, count: Callable[[str], int]) -> float:
    """Return the tokens of a text, of a long one by its beginning."""
    head = text[:MEASURED]
    return count(head) * len(text) / len(head) if head else 0.0


def _all_that_fit(unsent: Sequence[CellRun], count: Callable[[str], int], budget: int) -> bool:
    if len(unsent) > FEW:
        return False
    return _pasted(unsent, count) <= budget or sum(count(cell_body(run, FULL)) for run in unsent) <= budget


# what is wanted -------------------------------------------------------------------------------------------------------


def _wanted(question: CellQuestion, runs: Sequence[CellRun], means: Pointed, named: Sequence[str]) -> dict[str, _Want]:
    """Return every cell that the question needs, the strongest reason first."""
    spoken = WHOLE if means.at_length else FULL
    bound = [(run, f"{_does(run, name)} {name}") for name in named for run in _makers(name, runs, len(runs))]
    matched = match_words(question, runs)
    worded = by_words(matched, runs)
    beside = _beside([run for run, _ in (*bound, *worded)], question.placed or runs, means.beside)
    clear = [*means.cells, *beside, *bound]
    said = frozenset(IDENTIFIER.findall(question.task))
    meant = [run for run, _ in (*means.cells, *beside, *(one for one in bound if one[1].rpartition(" ")[2] in said))]
    seeds = [run for run, _ in (*clear, *worded[:2])] or list(runs[-1:])
    since = _changed_since(seeds, runs)
    last = [(run, LAST) for run in runs[-1:]]
    offers = (
        (0, spoken, [*means.cells, *beside]),
        (1, FULL, _by_share([*bound, *worded], matched)),
        (2, FULL, _raised_in(meant, runs)),
        (2, FULL, _mended(meant, runs)),
        (2, spoken, [] if clear or runs[-1:] == [run for run, _ in worded[:1]] else last),
        (MADE, FULL, _making(question.task, runs)),
        (4, FULL, _called(meant, runs)),
        (4, BRIEF, _called([run for run, _ in worded], runs)),
        (4, BRIEF, since),
        (4, BRIEF, _last_uses(named, runs)),
        (4, BRIEF, _sources([run for run, _ in means.cells], runs)),
        (5, BRIEF, last),
        (5, BRIEF, [(run, "the last cell but one") for run in runs[-2:-1]]),
        (5.2, BRIEF, _last_uses(sorted(_made([run for run, _ in worded[:2]])), runs)),
        (SOURCES, BRIEF, _sources(seeds, runs)),
        (6, BRIEF, [(run, "the question is about the notebook") for run in runs if means.entire]),
        (7, BRIEF, [(run, "is as short as its summary would be") for run in runs if is_short(run)]),
    )
    wants: dict[str, _Want] = {}
    for priority, form, found in offers:
        for place, (run, reason) in enumerate(found):
            wants.setdefault(run.identity, _Want(form, reason, priority + place / 1000))
    spare = sorted(_by_use(runs), key=lambda run: -matched[run.identity].weight / _size(run))
    for place, run in enumerate(spare):
        wants.setdefault(run.identity, _Want(BRIEF, "there was room for it", 8 + place / 1000))
    return wants


def _by_share(found: _Found, matched: Mapping[str, WordMatch]) -> _Found:
    """Return each cell once, those first that share most of the question's words."""
    weights = {run.identity: matched[run.identity].weight for run, _ in found}
    once: dict[str, tuple[CellRun, str]] = {}
    for run, why in found:
        weights[run.identity] += MAKES * why.startswith(("sets", "defines"))
        once.setdefault(run.identity, (run, why))
    return sorted(once.values(), key=lambda one: -weights[one[0].identity])


MAKES = 2.0
"""Weight of each name in the question that a cell makes: as much as two rare words."""


def _size(run: CellRun) -> int:
    """Return about how many characters the run takes where it is told."""
    return 80 + len(run.source) + sum(len(output.text) for output in run.outputs[:3])


LAST = "the last cell"
SOURCES = 5.5
"""Priority of the cells that made what the question's cells use: an answer rests on them, though few facts do."""


def _making(task: str, runs: Sequence[CellRun]) -> _Found:
    """Return the first cells that give a value to a column, key or attribute that the question names."""
    found: _Found = []
    for part in names_spoken_of(task, dict.fromkeys(part for run in runs for part in sorted(run.flow.parts))):
        found += [(run, f"makes {part}") for run in runs if part in run.flow.parts][:MAKERS]
    return found


MADE, MAKERS = 2.9, 1
"""Priority of a cell that makes a column that is named, and how many such cells come for each name."""


def _beside(found: Sequence[CellRun], order: Sequence[CellRun], step: int) -> _Found:
    """Return the cell before or after the first of those found."""
    places = [place + step for place, run in enumerate(order) if step and found and run.cell == found[0].cell]
    return [(order[place], "stands beside the cell that is named") for place in places if 0 <= place < len(order)]


def _raised_in(seeds: Sequence[CellRun], runs: Sequence[CellRun]) -> _Found:
    """Return the cells whose lines stand in the traceback of an error that is spoken of."""
    texts = (output.text for run in seeds for output in run.outputs if output.kind == "error")
    lines = {line.strip() for text in texts for line in text.split("\n")[1:] if len(line.strip()) > SHORT_LINE}
    lines = {line for line in lines if not any(line in run.source for run in seeds)}
    return [(run, "an error was raised in it") for run in runs if any(line in run.source for line in lines)]


def _mended(seeds: Sequence[CellRun], runs: Sequence[CellRun]) -> _Found:
    """Return the next cell after one that failed that is much like it: it was written anew there."""
    found: _Found = []
    for run in (run for run in seeds if run.has("error")):
        later = [other for other in runs if other.order > run.order and _is_like(run, other)]
        found += [(other, f"is much like cell {run.number}, which failed") for other in later[:1]]
    return found


def _is_like(run: CellRun, other: CellRun) -> bool:
    mine, its = words_of(run.source), words_of(other.source)
    return len(mine & its) > LIKE * len(mine | its)


LIKE = 0.5
"""Share of common words above which one source is taken for the other written anew."""


SHORT_LINE = 8
"""Characters of a line of code that may stand anywhere."""


def _called(seeds: Sequence[CellRun], runs: Sequence[CellRun]) -> _Found:
    """Return the cells that define the functions and methods which these cells call, and which those call in turn."""
    found: _Found = []
    seen, now = {run.identity for run in seeds}, seeds
    functions, methods = _definers(runs)
    for _ in range(CALLED_STEPS if seeds else 0):
        step = [
            (maker, f"defines {name}, which cell {run.number} calls")
            for run in now
            for name in sorted(run.flow.uses | run.flow.calls)
            if (maker := (methods if name in run.flow.calls else functions).get(name)) and maker.identity not in seen
        ]
        step = list({run.identity: (run, why) for run, why in reversed(step)}.values())[::-1]
        seen |= {run.identity for run, _ in step}
        found += step
        now = [run for run, _ in step]
    return found


CALLED_STEPS = 2


def _definers(runs: Sequence[CellRun]) -> tuple[dict[str, CellRun | None], dict[str, CellRun | None]]:
    """Return by name the last cell that defines each function and class; None where it was bound anew later.

    The second map has also the methods of classes.
    """
    functions: dict[str, CellRun | None] = {}
    methods: dict[str, CellRun | None] = {}
    for run in runs:
        flow = run.flow
        for found, defined in ((functions, flow.defines), (methods, flow.defines | flow.methods)):
            found.update(dict.fromkeys(flow.binds - flow.imports))
            found.update(dict.fromkeys(defined, run))
    return functions, methods


def _by_use(runs: Sequence[CellRun]) -> list[CellRun]:
    """Return the cells, those first whose names most later cells use; of equals the newer."""
    later: Counter[str] = Counter()
    uses: dict[str, int] = {}
    for run in reversed(runs):
        uses[run.identity] = sum(later[name] for name in run.flow.binds - run.flow.imports)
        later.update(run.flow.uses)
    return sorted(runs, key=lambda run: (-uses[run.identity], -run.order))


def _does(run: CellRun, name: str) -> str:
    flow = run.flow
    return "defines" if name in flow.methods | flow.defines else "sets" if name in flow.binds else "changes"


def _makers(name: str, runs: Sequence[CellRun], before: int) -> list[CellRun]:
    """Return the last cell before a place that binds the name, and those after it that change its object."""
    found: list[CellRun] = []
    imported = False
    for run in reversed(runs[:before]):
        flow = run.flow
        imported = imported or name in flow.imports
        if imported:  # then only a cell that writes the module made it
            found += [run] if name in flow.defines - flow.binds else []
        elif name in flow.binds or name in flow.methods or name in flow.defines:
            found.append(run)
            if name not in flow.uses:
                break
        elif name in flow.changes:
            found.append(run)
        if len(found) == 6:
            break
    return found


_Found = list[tuple[CellRun, str]]


def _sources(seeds: Sequence[CellRun], runs: Sequence[CellRun]) -> _Found:
    """Return the cells that made what these cells use, one step back."""
    place = {run.identity: number for number, run in enumerate(runs)}
    return [
        (maker, f"{_does(maker, name)} {name}, which cell {run.number} uses")
        for run in seeds
        for name in sorted(run.flow.uses | run.flow.changes)
        for maker in _makers(name, runs, place.get(run.identity, len(runs)))
    ]


def _changed_since(seeds: Sequence[CellRun], runs: Sequence[CellRun]) -> _Found:
    """Return the later cells that change what a cell of the question made, or use it to change something else."""
    found: _Found = []
    for run in seeds:
        own = run.flow.binds - run.flow.imports
        for later in runs:
            changed = sorted((own | run.flow.changes) & later.flow.changes)
            used = sorted(own & later.flow.uses) if later.flow.changes else []
            if later.order > run.order and (changed or used):
                why = f"changes {changed[0]}" if changed else f"uses {used[0]} to change something"
                found.append((later, f"{why} after cell {run.number}"))
    return found


def _made(cells: Iterable[CellRun]) -> set[str]:
    return {name for run in cells for name in run.flow.binds - run.flow.imports}


def _last_uses(named: Sequence[str], runs: Sequence[CellRun]) -> _Found:
    """Return the last cell that uses each of these names: how it was called, or what became of it."""
    found: _Found = []
    for name in named:
        user = next((run for run in reversed(runs) if name in run.flow.uses and name not in run.flow.binds), None)
        if user is not None:
            found.append((user, f"the last cell that uses {name}"))
    return found


# filling --------------------------------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class _Filling:
    """Takes the wanted cells by priority: what is pointed at within `budget`, the rest within `limit`."""

    lines: Mapping[str, int]
    """Tokens of the line that each cell would have in the outline: one that is told has none."""
    held: Mapping[str, HeldCell]
    newest: Mapping[str, int]
    """The number of each cell's newest run: an older one that is named is told as such."""
    count: Callable[[str], int]
    clean: Callable[[CellRun], CellRun]
    limit: float
    budget: int
    past: Mapping[str, str]
    spent: int = 0

    def fill(self, wants: Mapping[str, _Want], known: Mapping[str, CellRun]) -> list[Picked]:
        ranked = sorted(wants.items(), key=lambda item: (item[1].priority, -known[item[0]].order))
        found = (self._taken(known[key], want) for key, want in ranked)
        return [item for item in found if item is not None]

    def _taken(self, run: CellRun, want: _Want) -> Picked | None:
        """Return the run in the richest form that is wanted and fits. None where the thread has as much of it."""
        before = self.held.get(run.cell)
        if before is None and self.newest.get(run.cell, 0) > run.number:
            before = HeldCell(number=self.newest[run.cell], form=OUTLINE.name)
        same = before is not None and before.number == run.number
        if same and want.priority >= FILLING:
            return None
        saved = self.lines.get(run.identity, 0)
        room = (self.budget if want.priority < SURE else min(self.budget, self.limit)) - self.spent + saved
        if room < NO_ROOM:
            return None
        clean = None
        for form in (WHOLE, FULL, BRIEF):
            if form.rank > want.form.rank:
                continue
            if same and before is not None and FORMS[before.form].rank >= form.rank:
                return None
            clean = clean or self.clean(run)
            past = self.past.get(run.identity, "")
            if self.lines and want.priority >= LISTED and before is None and not past and not run.interrupted:
                picked = _listed(clean, form, want.reason, self.count)
            else:
                picked = _told(clean, form, want.reason, before, self.count, past=past)
            if same and before is not None and before.body == picked.body:
                return None
            if picked.tokens <= room:
                self.spent += picked.tokens - saved
                return replace(picked, run=run)
        return None


SURE = 1.005
"""Below this priority a cell is told beyond half of the notebook: those pointed at, and the five best."""
LISTED = 1
"""From this priority on the outline tells a cell: the question does not point at it."""


def _listed(run: CellRun, form: Form, reason: str, count: Callable[[str], int]) -> Picked:
    """Return the run as an entry of the outline."""
    text, body = entry(run, form), digest(steady(cell_body(run, form)))
    return Picked(run=run, form=form, reason=reason, text=text, tokens=count(text), body=body, listed=True)


def _past(runs: Sequence[CellRun]) -> dict[str, str]:
    """Return by run, in words, which of its functions and classes a later cell defines anew."""
    found: dict[str, str] = {}
    later: dict[str, CellRun] = {}
    for run in reversed(runs):
        gone = sorted(name for name in run.flow.defines & run.flow.binds if name in later)
        if gone:
            found[run.identity] = ", ".join(f"{name} is defined anew in cell {later[name].number}" for name in gone)
        later |= dict.fromkeys((run.flow.defines & run.flow.binds) - run.flow.uses - later.keys(), run)
    return found


def _told(
    run: CellRun, form: Form, reason: str, before: HeldCell | None, count: Callable[[str], int], *, past: str
) -> Picked:
    """Return the run as the thread gets it. If nothing changed since its last run, tell only that it ran.

    `past` says which cell bound its names anew.
    """
    inner = cell_body(run, form)
    body = digest(steady(inner))
    if before is not None and before.number > run.number:
        text = cell_element(run, inner, older_than=str(before.number))
        return Picked(run=run, form=form, reason=reason, text=text, tokens=count(text), body=body, older=True)
    again = before is not None and before.number != run.number
    attributes = {
        "replaces": str(before.number) if again and before is not None and before.number else "",
        "past": past,
    }
    if again and before is not None and before.body == body:
        text = cell_element(run, "", state="the same source and outputs", **attributes)
    else:
        more = _HELD_WORDS.get(before.form, "") if before is not None and not again else ""
        text = cell_element(run, inner, more_than=more, **attributes)
    return Picked(run=run, form=form, reason=reason, text=text, tokens=count(text), body=body)


_HELD_WORDS = {OUTLINE.name: "its line", BRIEF.name: "its short form", FULL.name: "its cut form"}
"""A word for the model: how much of a cell was told before."""
