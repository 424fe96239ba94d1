"""Tell what a question's words mean in a notebook: names, inflected or in part, and cells with rare words. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from keyword import iskeyword

from agentnb.context.notebook.cell_runs import CellRun, stem, words_of
from agentnb.context.notebook.pointing import Pointed, kind_words
from agentnb.context.static.english_words import GRAMMAR

RARE, NEARLY = 0.5, 0.4
"""A word in at most this share of the cells points at them, the rarer the more. Then the part of the best cell's weight
that a cell needs to come along."""
BY_WORDS = 6
"""Cells that rare words may bring."""
_MARK = re.compile(r"`([^`\n]{1,200})`|(?<![\w.])@([A-Za-z_]\w*)")
IDENTIFIER = re.compile(r"[^\W\d]\w*")
_FOLLOWS = re.compile(
    r"\s*(?:and|but|so|why|what about|how about|now|then|ok\w*|und|aber|et|mais|y|pero|e|и|а)\b", re.IGNORECASE
)
_FILLER_WORDS = """
explain cell cells result results output outputs code notebook show tell change fix make need value values plot table
error last above previous mean work use using function large wrong different write please line lines does what why give
find happen happens one ones
"""
_FILLER = GRAMMAR | frozenset(_FILLER_WORDS.split())
"""Words that a question has whatever it is about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellQuestion:
    """Holds a task and where it stands: earlier tasks, the newest first, the cells by place, and the one above."""

    task: str
    earlier: tuple[str, ...] = ()
    placed: tuple[CellRun, ...] = ()
    above: CellRun | None = None


def names_in(question: CellQuestion, runs: Sequence[CellRun], means: Pointed) -> list[str]:
    """Return the notebook's names that the question uses: as they are, inflected, or taken apart."""
    known = dict.fromkeys(name for run in runs for name in sorted(run.flow.binds - run.flow.imports))
    methods = (name for run in runs for name in sorted(run.flow.methods) if "_" in name or f".{name}" in question.task)
    written = (name for run in runs for name in sorted(run.flow.defines - run.flow.binds))
    known |= dict.fromkeys([*methods, *written])
    found = names_spoken_of(question.task, known)
    if not found and not means.cells and _goes_on(question):
        before = next((names for task in question.earlier if (names := names_spoken_of(task, known))), [])
        others = _alike(before, known) if _OTHER.search(question.task) else []
        found = [*others, *before]
    return found


_LETTER = re.compile(r"(?<![\w'’])[b-zB-HJ-Z](?![\w'’])")
"""A letter that stands alone: a parameter, as `k` of "a larger k"."""
_OTHER = re.compile(
    r"\b(?:other|others|rest|both|them|these|those|each|either|ander\w*|autres?|otr[oa]s?|altr[oaie]|друг\w*)\b|他の|另",
    re.IGNORECASE,
)


def _alike(names: Sequence[str], known: Iterable[str]) -> list[str]:
    """Return the names that share a part with one of these: `tree_model` beside `logit_model`."""
    parts = {part for name in names for part in words_of(name) if len(part) > 2}
    return [name for name in known if name not in names and parts & words_of(name)][:ALIKE]


ALIKE = 6
"""Names that "the other ones" may mean."""


_WHICH_ALONE = re.compile(r"\b(first|second|third|fourth|previous|other)(?:\s+ones?)?\s*[?.!]*\s*\Z", re.IGNORECASE)


def taken_up(question: CellQuestion) -> str:
    """Return the task, with the noun that a follow-up leaves out: "and the second?" after "the first plot"."""
    which = _WHICH_ALONE.search(question.task)
    if which is None or not _goes_on(question) or kind_words(question.task):
        return question.task
    noun = next(iter(kind_words(question.earlier[0])), "")
    return f"{question.task[: which.end(1)]} {noun}".rstrip()


def _goes_on(question: CellQuestion) -> bool:
    """Tell whether it is a follow-up: short, or begun with a word that goes on with something?"""
    return bool(question.earlier) and (len(question.task.split()) <= 10 or bool(_FOLLOWS.match(question.task)))


def names_spoken_of(task: str, known: Iterable[str]) -> list[str]:
    """Return of the `known` names those that a text means: "the thick model" is `thick_model`, "sales" is `sale`."""
    marked = {word for match in _MARK.finditer(task) for word in IDENTIFIER.findall(match.group(1) or match.group(2))}
    words = dict.fromkeys(IDENTIFIER.findall(task[:20_000]))
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


@dataclass(frozen=True, slots=True)
class WordMatch:
    """Holds a question's words that a cell shares: the weight of all, that of the rare ones, and these."""

    weight: float = 0.0
    rare: float = 0.0
    words: tuple[str, ...] = ()


def match_words(question: CellQuestion, runs: Sequence[CellRun]) -> dict[str, WordMatch]:
    """Return what each cell shares with the question: a word weighs more the fewer cells have it."""
    task = question.task
    if _goes_on(question) and not _spoken_stems(task):
        task = next((earlier for earlier in question.earlier if _spoken_stems(earlier)), task)
    spoken = _spoken_stems(task)
    spoken |= _begun_alike(spoken, runs)
    having = {word: [run for run in runs if word in run.stems] for word in sorted(spoken)}
    having |= {word: [run for run in runs if word in run.code_stems] for word in sorted(_called(task) - spoken)}
    having |= {name: [run for run in runs if name in run.letters] for name in _LETTER.findall(question.task)}
    usual = sum(len(run.stems) for run in runs) / max(1, len(runs))
    matched = {run.identity: WordMatch() for run in runs}
    for word, found in having.items():
        rare = len(found) <= max(2, len(runs) * RARE)
        for run in found:
            length = min(len(run.stems) / usual, 2.0)
            weight = math.log((len(runs) + 1) / len(found)) / (0.5 + 0.5 * length)
            known = matched[run.identity]
            matched[run.identity] = WordMatch(
                known.weight + weight, known.rare + weight * rare, (*known.words, *([word] if rare else []))
            )
    return matched


def by_words(matched: Mapping[str, WordMatch], runs: Sequence[CellRun]) -> list[tuple[CellRun, str]]:
    """Return the cells that share the question's rare words, the best first."""
    best = sorted(runs, key=lambda run: (-matched[run.identity].rare, -run.order))[:BY_WORDS]
    least = max(max((each.rare for each in matched.values()), default=0.0) * NEARLY, 0.01)
    chosen = [(run, matched[run.identity].words[:4]) for run in best if matched[run.identity].rare >= least]
    return [(run, f"the question's word{'s' if len(words) > 1 else ''} {', '.join(words)}") for run, words in chosen]


def _spoken_stems(task: str) -> frozenset[str]:
    """Return the stems of a question's telling words. One that is written large within a sentence is a name: "May"."""
    large = {match.group().lower() for match in re.finditer(r"(?<=[^\s.!?] )[A-Z]\w+", task)}
    words = {word for word in words_of(task[:20_000]) if word not in _FILLER or word in large}
    return frozenset(map(stem, words))


def _called(task: str) -> frozenset[str]:
    """Return the stems of what code calls the things that a question speaks of. They are looked for in code alone: a
    table that says `max` is nearly everywhere."""
    return frozenset(other for word in words_of(task[:20_000]) for other in _CALLED.get(stem(word), ()))


def _begun_alike(spoken: frozenset[str], runs: Sequence[CellRun]) -> frozenset[str]:
    """Return the notebook's words for those that it does not know: such as begin alike, as cognates do.

    The longest that abbreviates a word comes too: `temp` for "temperature".
    """
    known = frozenset(word for run in runs for word in run.stems)
    strange = spoken - known
    heads = {word[:ALIKE_LETTERS] for word in strange if len(word) >= ALIKE_LETTERS}
    own = [word for word in known if word not in _FILLER and not iskeyword(word)]
    short = (max((each for each in own if _abbreviates(each, word)), key=len, default="") for word in strange)
    return frozenset([*(word for word in known if word[:ALIKE_LETTERS] in heads), *filter(None, short)])


def _abbreviates(short: str, word: str) -> bool:
    return len(short) >= max(3, SHORT_SHARE * len(word)) and word.startswith(short)


ALIKE_LETTERS, SHORT_SHARE = 5, 0.3
"""Letters in which words begin alike, and the least part of a word that abbreviates it."""

_SAID = """
average=mean mean=average maximum=max minimum=min highest=max lowest=min largest=max smallest=min deviation=std
variance=var correlated=corr correlation=corr duplicates=duplicated missing=isna,nan,fillna,dropna remove=drop,del
deleted=drop merge=join join=merge sorted=sort,order random=seed,rng train=fit fitted=train predict=predict
accuracy=score save=csv,write,dump load=read regex=compile regular=compile expression=compile query=select,sql
network=graph group=groupby grouped=groupby picture=imshow,image draw=plot histogram=hist split=train cluster=label
outlier=clip,quantile normalise=scale,scaler standardise=scale,scaler test=assert time=seconds,elapsed,hour
trend=polyfit,slope,rolling,diff rise=polyfit,slope,trend,diff,growth grow=growth,pct,diff
getting=trend,polyfit,slope,diff
long=days,duration,elapsed,length pay=fee,price,cost cost=price,fee expensive=price,cost cheap=price,cost
good=score,accuracy,rmse,mae,auc spread=std,var,quantile typical=median,mean often=counts,count top=nlargest,max,idxmax
best=max,idxmax,nlargest worst=min,idxmin,nsmallest rank=sort relate=corr depend=corr important=importance,coef
drive=importance,coef gap=isna,nan,interpolate empty=isna,nan,null clean=dropna,fillna,strip fast=timeit,elapsed
slow=timeit,elapsed convert=astype database=sql,connect axis=xlabel,ylabel colour=color,cmap loop=for,while
better=score,accuracy,max new=test initialise=init same=duplicate,similarity,equal similar=duplicate,similarity
late=deadline,due hours=time
forecast=predict share=normalize,pct percentage=pct,normalize retry=attempt limit=max,most
"""
_CALLED: dict[str, tuple[str, ...]] = {
    stem(said): tuple(stem(word) for word in called.split(","))
    for said, _, called in (pair.partition("=") for pair in _SAID.split())
}
"""Words of code for words of people, by the stems of those."""
