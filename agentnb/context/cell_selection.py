"""Choose which cells a question needs, in which form, and why: pointed at, newest, by name, use or rare words.

Pure, on recorded runs. A notebook of up to FEW unsent cells that fits is told in full. Of a larger one, what the
question needs is told, within half of what pasting it all would take. Each other cell gets a line.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace

from agentnb.canonical import digest
from agentnb.context.notebook.cell_runs import CellRun, stem, words_of
from agentnb.context.notebook.cell_text import (
    BRIEF,
    FORMS,
    FULL,
    OUTLINE,
    WHOLE,
    Form,
    cell_body,
    cell_element,
    is_short,
    outline,
)
from agentnb.context.notebook.pointing import Pointed, pointed
from agentnb.context.static.english_words import GRAMMAR

FEW = 15
"""Unsent cells that are told in full without choosing, where they fit."""
SHARE = 0.48
"""Of what pasting all unsent cells would take, for what a turn adds of them when they are many."""
LINE = 8
"""Tokens of the outline for each cell: a line takes more, and about half of the cells get one."""
RARE, NEARLY = 0.5, 0.4
"""A word in at most this share of the cells points at them, the rarer the more. Then the part of the best cell's weight
that a cell needs to come along."""
BY_WORDS = 4
"""Cells that rare words may bring."""
SHOWN = 4
"""Names whose values go along of the cells that are pointed at and have shown nothing."""
MEASURED = 4_000
"""Characters of one text whose tokens are counted; the rest is taken to be alike."""
_MARK = re.compile(r"`([^`\n]{1,200})`|(?<![\w.])@([A-Za-z_]\w*)")
_IDENTIFIER = re.compile(r"[^\W\d]\w*")
_FOLLOWS = re.compile(
    r"\s*(?:and|but|so|why|what about|how about|now|then|ok\w*|und|aber|et|mais|y|pero|e|и|а)\b", re.IGNORECASE
)
_FILLER_WORDS = """
explain cell cells result results output outputs code notebook show tell change fix make need value values plot table
error last above previous mean work use using function large wrong different write please line lines does what why give
find happen happens
"""
_FILLER = GRAMMAR | frozenset(_FILLER_WORDS.split())
"""Words that a question has whatever it is about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldCell:
    """Tells how the thread holds a cell: the number of the run it tells, the form, and the digest."""

    number: int
    form: str
    body: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picked:
    """A run that goes along, as it is told. `body` is the digest of its source and outputs in that form."""

    run: CellRun
    form: Form
    reason: str
    text: str
    tokens: int
    body: str


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


@dataclass(frozen=True, slots=True, kw_only=True)
class CellQuestion:
    """A task and where it stands: what was asked before it, the cells by place, and the one above."""

    task: str
    earlier: str = ""
    placed: tuple[CellRun, ...] = ()
    above: CellRun | None = None


FILLING = 6
"""From this priority on a cell is told only where the thread has nothing of it."""


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
    means = pointed(question.task, runs, by_number=by_number, placed=question.placed, above=question.above)
    named = _names_in(question, runs, means)
    wants = _wanted(question, runs, means, named)
    unsent = [run for run in runs if not _is_held(run, held)]
    everything = _all_that_fit(unsent, count, budget)
    for run in unsent if everything else ():
        wants.setdefault(_key(run), _Want(FULL, "ran since the last turn" if held else "ran before", 9))
    known = {_key(run): run for run in (*runs, *(run for run, _ in means.cells))}
    brief = [run for run in runs if not _is_held(run, held) or held[run.cell].form == OUTLINE.name]
    limit = budget if everything else _limit(brief, count, budget, beside)
    filling = _Filling(held=held, count=count, clean=clean, limit=limit, budget=budget)
    picked = filling.fill(wants, known)
    taken = {_key(item.run) for item in picked}
    rest = tuple(run for run in unsent if _key(run) not in taken)
    again = {run.number: held[run.cell].number for run in rest if run.cell in held}
    text = outline([clean(run) for run in rest], again) if rest else ""
    silent = [run for run, _ in means.cells if not run.outputs]
    shown = [name for run in silent for name in sorted(run.flow.binds - run.flow.imports)]
    names = dict.fromkeys([*named, *shown[:SHOWN]])
    return CellChoice(
        picked=tuple(sorted(picked, key=lambda item: item.run.order)),
        outlined=rest,
        outline_text=text,
        outline_tokens=count(text) if text else 0,
        names=tuple(names),
        involved=_involved(wants, known),
        pointed=means,
    )


def _involved(wants: Mapping[str, _Want], known: Mapping[str, CellRun]) -> frozenset[str]:
    strong = {key for key, want in wants.items() if want.priority < 2}
    by_words = {key for key, want in wants.items() if 3 <= want.priority < 4}
    used = {key for key, want in wants.items() if 4 <= want.priority < 5}
    return frozenset(known[key].cell for key in ((strong or by_words) | used if strong or by_words else ()))


def _key(run: CellRun) -> str:
    return f"{run.cell}:{run.number}"


def _is_held(run: CellRun, held: Mapping[str, HeldCell]) -> bool:
    known = held.get(run.cell)
    return known is not None and known.number == run.number


def _pasted(runs: Iterable[CellRun], count: Callable[[str], int]) -> float:
    """About the tokens that these cells take with all their outputs."""
    return sum(_measured(text, count) for run in runs for text in (run.source, *(each.text for each in run.outputs)))


def _measured(text: str, count: Callable[[str], int]) -> float:
    """Return the tokens of a text, of a long one by its beginning."""
    head = text[:MEASURED]
    return count(head) * len(text) / len(head) if head else 0.0


def _limit(unsent: Sequence[CellRun], count: Callable[[str], int], budget: int, beside: int) -> float:
    """Return what is left of the share for cells, when the outline and what stands beside it are taken off."""
    pasted = _pasted(unsent, count)
    return min(budget, max(pasted * SHARE - beside - LINE * len(unsent), LEAST))


LEAST = 400
"""Tokens for chosen cells, however small the notebook is."""


def _all_that_fit(unsent: Sequence[CellRun], count: Callable[[str], int], budget: int) -> bool:
    if len(unsent) > FEW:
        return False
    return _pasted(unsent, count) <= budget or sum(count(cell_body(run, FULL)) for run in unsent) <= budget


# what is wanted -------------------------------------------------------------------------------------------------------


def _wanted(question: CellQuestion, runs: Sequence[CellRun], means: Pointed, named: Sequence[str]) -> dict[str, _Want]:
    """Return every cell that the question needs, the strongest reason first."""
    spoken = WHOLE if means.at_length else FULL
    bound = [(run, f"{_does(run, name)} {name}") for name in named for run in _makers(name, runs, len(runs))]
    worded = _by_words(question, runs)
    seeds = [run for run, _ in (*means.cells, *bound, *worded[:2])] or list(runs[-1:])
    once, twice = _slices(seeds, runs)
    since = _changed_since(seeds, runs)
    offers = (
        (0, spoken, means.cells),
        (1, FULL, bound),
        (2, spoken, [(run, "the last cell") for run in runs[-1:]]),
        (3, FULL, worded),
        (4, BRIEF, since),
        (4, BRIEF, _last_uses(named, runs)),
        (4, BRIEF, once),
        (5, BRIEF, [(run, "the last cell but one") for run in runs[-2:-1]]),
        (5, BRIEF, twice),
        (6, BRIEF, [(run, "the question is about the notebook") for run in runs if means.entire]),
        (7, BRIEF, [(run, "as short as its line of an outline") for run in runs if is_short(run)]),
    )
    wants: dict[str, _Want] = {}
    for priority, form, found in offers:
        for place, (run, reason) in enumerate(found):
            wants.setdefault(_key(run), _Want(form, reason, priority + place / 1000))
    for place, run in enumerate(_by_use(runs)):
        wants.setdefault(_key(run), _Want(BRIEF, "there was room for it", 8 + place / 1000))
    return wants


def _by_use(runs: Sequence[CellRun]) -> list[CellRun]:
    """Return the cells, those first whose names most later cells use; of equals the newer."""
    later: Counter[str] = Counter()
    uses: dict[str, int] = {}
    for run in reversed(runs):
        uses[_key(run)] = sum(later[name] for name in run.flow.binds - run.flow.imports)
        later.update(run.flow.uses)
    return sorted(runs, key=lambda run: (-uses[_key(run)], -run.order))


def _does(run: CellRun, name: str) -> str:
    return "binds" if name in run.flow.binds else "changes"


def _makers(name: str, runs: Sequence[CellRun], before: int) -> list[CellRun]:
    """Return the last cell before a place that binds the name, and those after it that change its object."""
    found: list[CellRun] = []
    for run in reversed(runs[:before]):
        flow = run.flow
        if name in flow.imports:
            break
        if name in flow.binds:
            found.append(run)
            if name not in flow.uses:
                break
        elif name in flow.changes:
            found.append(run)
        if len(found) == 6:
            break
    return found


_Found = list[tuple[CellRun, str]]


def _slices(seeds: Sequence[CellRun], runs: Sequence[CellRun]) -> tuple[_Found, _Found]:
    """Two steps back along what the cells use."""
    place = {_key(run): number for number, run in enumerate(runs)}
    seen = {_key(run) for run in seeds}
    steps: list[_Found] = []
    now: Sequence[CellRun] = seeds
    for _ in range(2):
        found: _Found = []
        for run in now:
            for name in sorted(run.flow.uses | run.flow.changes):
                for maker in _makers(name, runs, place.get(_key(run), len(runs))):
                    if _key(maker) not in seen:
                        seen.add(_key(maker))
                        found.append((maker, f"{_does(maker, name)} {name}, which cell {run.number} uses"))
        steps.append(found)
        now = [run for run, _ in found]
    return steps[0], steps[1]


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


def _last_uses(named: Sequence[str], runs: Sequence[CellRun]) -> _Found:
    """Return the last cell that uses each name of the question: how it was called, or what became of it."""
    found: _Found = []
    for name in named:
        user = next((run for run in reversed(runs) if name in run.flow.uses and name not in run.flow.binds), None)
        if user is not None:
            found.append((user, f"the last cell that uses {name}"))
    return found


# names and words ------------------------------------------------------------------------------------------------------


def _names_in(question: CellQuestion, runs: Sequence[CellRun], means: Pointed) -> list[str]:
    """Return the notebook's names that the question uses: as they are, inflected, or taken apart."""
    known = dict.fromkeys(name for run in runs for name in sorted(run.flow.binds - run.flow.imports))
    found = names_spoken_of(question.task, known)
    if not found and not means.cells and _goes_on(question):
        found = names_spoken_of(question.earlier, known)
    return found


def _goes_on(question: CellQuestion) -> bool:
    """Is it a follow-up: short, or begun with a word that goes on with something?"""
    return bool(question.earlier) and (len(question.task.split()) <= 10 or bool(_FOLLOWS.match(question.task)))


def names_spoken_of(task: str, known: Iterable[str]) -> list[str]:
    """Of the `known` names those that a text means: "the thick model" is `thick_model`, "sales" is `sale`."""
    marked = {word for match in _MARK.finditer(task) for word in _IDENTIFIER.findall(match.group(1) or match.group(2))}
    words = dict.fromkeys(_IDENTIFIER.findall(task[:20_000]))
    plain = [word for word in words if word.lower() not in GRAMMAR and not (len(word) == 1 and word in "aAiI")]
    stems = {stem(part) for word in plain for part in words_of(word)}
    exact, loose = set(plain) | marked, []
    out = []
    for name in known:
        if name in exact:
            out.append(name)
        elif len(name) > 2:
            parts = {stem(part) for part in words_of(name)}
            if parts and parts <= stems:
                loose.append(name)
    return [*out, *loose]


def _by_words(question: CellQuestion, runs: Sequence[CellRun]) -> list[tuple[CellRun, str]]:
    """Return the cells that share the question's rare words, the best first."""
    spoken = _spoken_stems(question.task)
    if _goes_on(question) and not spoken:
        spoken = _spoken_stems(question.earlier)
    having = {word: [run for run in runs if word in run.stems] for word in sorted(spoken)}
    usual = sum(len(run.stems) for run in runs) / max(1, len(runs))
    scores: dict[str, float] = {}
    shared: dict[str, list[str]] = {}
    for word, found in having.items():
        for run in found if 0 < len(found) <= max(2, len(runs) * RARE) else ():
            weight = math.log((len(runs) + 1) / len(found)) / (0.5 + 0.5 * len(run.stems) / usual)
            scores[_key(run)] = scores.get(_key(run), 0.0) + weight
            shared.setdefault(_key(run), []).append(word)
    best = sorted(runs, key=lambda run: (-scores.get(_key(run), 0.0), -run.order))[:BY_WORDS]
    least = max(max(scores.values(), default=0.0) * NEARLY, 0.01)
    return [
        (run, f"the question's word{'s' if len(shared[_key(run)]) > 1 else ''} {', '.join(shared[_key(run)][:4])}")
        for run in best
        if scores.get(_key(run), 0.0) >= least
    ]


def _spoken_stems(task: str) -> AbstractSet[str]:
    """Return the stems of a question's telling words. One that is written large within a sentence is a name: "May"."""
    large = {match.group().lower() for match in re.finditer(r"(?<=[^\s.!?] )[A-Z]\w+", task)}
    words = {word for word in words_of(task[:20_000]) if word not in _FILLER or word in large}
    return {stem(word) for word in words} | {other for word in words for other in _CALLED.get(stem(word), ())}


_SAID = """
average=mean mean=average maximum=max minimum=min highest=max lowest=min largest=max smallest=min deviation=std
variance=var correlated=corr correlation=corr duplicates=duplicated missing=isna,nan,fillna,dropna remove=drop,del
deleted=drop merge=join join=merge sorted=sort,order random=seed,rng train=fit fitted=train predict=predict
accuracy=score save=csv,write,dump load=read regex=compile regular=compile expression=compile query=select,sql
network=graph group=groupby grouped=groupby picture=imshow,image draw=plot histogram=hist split=train cluster=label
outlier=clip,quantile normalise=scale,scaler standardise=scale,scaler test=assert time=seconds,elapsed
"""
_CALLED: dict[str, tuple[str, ...]] = {
    stem(said): tuple(stem(word) for word in called.split(","))
    for said, _, called in (pair.partition("=") for pair in _SAID.split())
}
"""Words of code for words of people, by the stems of those."""


# filling --------------------------------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class _Filling:
    """Takes the wanted cells by priority: what is pointed at within `budget`, the rest within `limit`."""

    held: Mapping[str, HeldCell]
    count: Callable[[str], int]
    clean: Callable[[CellRun], CellRun]
    limit: float
    budget: int
    spent: int = 0

    def fill(self, wants: Mapping[str, _Want], known: Mapping[str, CellRun]) -> list[Picked]:
        ranked = sorted(wants.items(), key=lambda item: (item[1].priority, -known[item[0]].order))
        found = (self._taken(known[key], want) for key, want in ranked)
        return [item for item in found if item is not None]

    def _taken(self, run: CellRun, want: _Want) -> Picked | None:
        """Return the run in the richest form that is wanted and fits. None where the thread has as much of it."""
        before = self.held.get(run.cell)
        same = before is not None and before.number == run.number
        if same and want.priority >= FILLING:
            return None
        room = (self.budget if want.priority < 1 else self.limit) - self.spent
        clean = None
        for form in (WHOLE, FULL, BRIEF):
            if form.rank > want.form.rank:
                continue
            if same and before is not None and FORMS[before.form].rank >= form.rank:
                return None
            clean = clean or self.clean(run)
            picked = _told(clean, form, want.reason, before, self.count)
            if same and before is not None and before.body == picked.body:
                return None
            if picked.tokens <= room:
                self.spent += picked.tokens
                return replace(picked, run=run)
        return None


def _told(run: CellRun, form: Form, reason: str, before: HeldCell | None, count: Callable[[str], int]) -> Picked:
    """Return the run as the thread gets it. If nothing changed since its last run, tell only that it ran."""
    inner = cell_body(run, form)
    body = digest(inner)
    again = before is not None and before.number != run.number
    attributes = {"replaces": str(before.number) if again and before is not None and before.number else ""}
    if again and before is not None and before.body == body:
        text = cell_element(run, "", state="the same source and outputs", **attributes)
    else:
        more = _HELD_WORDS.get(before.form, "") if before is not None and not again else ""
        text = cell_element(run, inner, more_than=more, **attributes)
    return Picked(run=run, form=form, reason=reason, text=text, tokens=count(text), body=body)


_HELD_WORDS = {OUTLINE.name: "its line", BRIEF.name: "its short form", FULL.name: "its cut form"}
"""A word for the model: how much of a cell was told before."""
