"""Tell what a question's words mean in a notebook: names, inflected or in part, and cells with rare words. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from keyword import iskeyword
from operator import attrgetter

from agentnb.context.notebook.cell_runs import CellRun, pairs_of, plain_letters, stem, words_of
from agentnb.context.notebook.pointing import Pointed, kind_words
from agentnb.context.static.english_words import GRAMMAR

RARE, NEARLY = 0.5, 0.35
"""A word in at most this share of the cells points at them, the rarer the more. Then the part of the best cell's weight
that a cell needs to come along."""
BY_WORDS = 8
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
    exact, loose = set(plain) | marked, []
    stems = {stem(part) for word in plain for part in words_of(word)}
    there = {name.lower() for name in known}
    inflected = {stem(word) for word in plain if word.lower() not in there} | exact
    out = []
    for name in known:
        if name in exact:
            out.append(name)
        elif len(name) > 2 and (parts := _parts_of(name)) and parts <= stems:
            single = len(parts) == 1 and name.lower() not in {word.lower() for word in plain}
            loose += [] if single and not parts <= inflected else [name]
    return [*out, *loose]


@lru_cache(4096)
def _parts_of(name: str) -> frozenset[str]:
    return frozenset(map(stem, words_of(name)))


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
    ways = _ways(task, runs) | {name: {name: _LETTERS} for name in _LETTER.findall(question.task)}
    ways |= {pair: {pair: _SIDE_BY_SIDE} for pair in pairs_of(task[:20_000])}
    usual = sum(len(run.stems) for run in runs) / max(1, len(runs))
    length = {run.identity: 0.5 + 0.5 * min(len(run.stems) / usual, 2.0) for run in runs if usual}
    matched = {run.identity: WordMatch() for run in runs}
    for said, forms in ways.items():
        best: dict[str, tuple[float, bool, str]] = {}
        for form, part in forms.items():
            having = [run.identity for run in runs if form in part(run)]
            rare = len(having) <= max(2, len(runs) * RARE)
            shown = 1 if form == said and not (form.isdigit() and len(form) == 1) else MEANT
            for key in having:
                weight = shown * math.log((len(runs) + 1) / len(having)) / length[key]
                best[key] = max(best.get(key, (0.0, False, "")), (weight, rare, form))
        for key, (weight, rare, form) in best.items():
            known = matched[key]
            words = (*known.words, form) if rare else known.words
            matched[key] = WordMatch(known.weight + weight, known.rare + weight * rare, words)
    return matched


MEANT = 0.5
"""Weight of what code calls a thing, and of a single digit, beside the word that was said. Of several in one cell, the
best counts."""


def by_words(matched: Mapping[str, WordMatch], runs: Sequence[CellRun]) -> list[tuple[CellRun, str]]:
    """Return the cells that share the question's rare words, the best first."""
    best = sorted(runs, key=lambda run: (-matched[run.identity].rare, -run.order))[:BY_WORDS]
    least = max(max((each.rare for each in matched.values()), default=0.0) * NEARLY, 0.01)
    chosen = [(run, matched[run.identity].words[:4]) for run in best if matched[run.identity].rare >= least]
    return [(run, f"{WORDED}{'s' if len(words) > 1 else ''} {', '.join(words)}") for run, words in chosen]


WORDED = "the question's word"
"""The reason of a cell that shares rare words begins so."""


def _spoken_stems(task: str) -> frozenset[str]:
    """Return the stems of a question's telling words. One that is written large within a sentence is a name: "May"."""
    large = {match.group().lower() for match in re.finditer(r"(?<=[^\s.!?] )[A-Z]\w+", task)}
    words = {word for word in words_of(task[:20_000]) if word not in _FILLER or word in large}
    return frozenset(map(stem, words))


_Part = Callable[[CellRun], frozenset[str]]
_EVERYWHERE: _Part = attrgetter("stems")
_IN_CODE: _Part = attrgetter("code_stems")
_LETTERS: _Part = attrgetter("letters")
_SIDE_BY_SIDE: _Part = attrgetter("pairs")


def _ways(task: str, runs: Sequence[CellRun]) -> dict[str, dict[str, _Part]]:
    """Return for each word of a question the stems that mean it, with the part of a cell to search.

    What code calls it is looked for in code alone: a table that says `max` is nearly everywhere.
    """
    spoken = _spoken_stems(task)
    ways = {word: {word: _EVERYWHERE} for word in sorted(spoken | _begun_alike(spoken, runs))}
    for word in sorted(map(stem, words_of(task[:20_000]))):
        for other in _CALLED.get(word, _MOST if word.endswith("est") and word in spoken else ()):
            if other not in ways:
                ways.setdefault(word, {})[other] = _IN_CODE
    return ways


_MOST = tuple(map(stem, ("max", "min", "argmax", "argmin", "idxmax", "idxmin", "nlargest", "nsmallest", "sort")))


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
average=mean typical=median,mean expected=mean most=max,argmax,idxmax,nlargest,counts least=min,argmin,idxmin,nsmallest
top=nlargest,max,idxmax,head best=max,argmax,idxmax,nlargest,score worst=min,idxmin,nsmallest,nlargest,error
maximum=max,argmax,idxmax minimum=min,argmin,idxmin peak=max,argmax,idxmax extreme=max,min,quantile deviation=std
variance=var spread=std,var,quantile,boxplot uncertain=std,sem,interval,bootstrap,errorbar bars=yerr,bar,std
significant=pvalue,ttest,test,sqrt,zscore confidence=interval,bootstrap,quantile correlated=corr relate=corr
depend=corr relationship=corr,scatter,linregress influence=corr,coef,importance important=importance,coef
drive=importance,coef matter=importance,coef,corr weight=coef,importance duplicates=duplicated,drop
missing=isna,nan,fillna,dropna,null gap=isna,nan,interpolate,diff empty=isna,nan,null,none pause=gap,diff,wait,delay
delay=lag,late,wait,gap wait=queue,delay remove=drop,del,filter deleted=drop ignore=drop,exclude,skip,stop,mask,filter
exclude=drop,mask,filter kept=keep,query,loc clean=dropna,fillna,strip,replace outlier=clip,quantile,zscore,iqr
weird=outlier,clip strange=outlier,clip unusual=outlier,quantile merge=join join=merge belong=merge,join,label
combine=merge,concat,join sorted=sort,order rank=sort per=by,groupby each=groupby,by group=groupby,by grouped=groupby
pivot=unstack,crosstab,pivot_table share=normalize,pct,sum percentage=pct,normalize,percent proportion=normalize,mean
ratio=div often=counts,count many=count,len,sum,size number=count,len frequent=counts,common total=sum,cumsum
random=seed,rng simulate=random,rng,seed chance=random,prob probability=prob,proba likely=prob,proba odds=prob
unseen=test,valid,holdout,cv,fold,leave seen=test,valid,holdout,train,leave overfit=train,test,valid split=train,test
train=fit fitted=train predict=predict,guess,forecast forecast=predict,ahead classifier=classify,model,guess,predict
accuracy=score good=score,accuracy,rmse,mae,auc,error well=score,accuracy,error,rmse better=score,accuracy,max
accurate=score,error reliable=score,std tune=grid,search,param,alpha parameter=param,grid error=rmse,mae,abs
normalise=scale,scaler,norm standardise=scale,scaler initialise=init,seed cluster=label,kmeans,dbscan
dimension=pca,svd,components component=pca alike=similar,likeness,corr,distance same=duplicate,similarity,equal
similar=duplicate,similarity,distance,corr compare=merge,diff,versus differ=diff,sub,abs difference=diff,sub
near=nearest,distance,argmin close=nearest,distance neighbour=nearest,argmin,knn far=distance,haversine
trend=polyfit,slope,rolling,diff rise=polyfit,slope,trend,diff,growth grow=growth,pct,diff change=diff,pct,replace
getting=trend,polyfit,slope,diff smooth=rolling,ewm,gaussian,convolve season=month,resample,period
monthly=month,resample weekly=week,resample weekday=dayofweek,day_name late=deadline,due hours=time
time=seconds,elapsed,hour long=days,duration,elapsed,length slow=timeit,elapsed,wait fast=timeit,elapsed,speed
pay=fee,price,cost cost=price,fee expensive=price,cost cheap=price,cost earn=income,revenue,profit
income=revenue,fee,sum save=csv,write,dump,to read=load,open load=read,open convert=astype,to_datetime
parse=split,findall,strptime regex=compile,findall,extract regular=compile expression=compile query=select,sql,execute
database=sql,connect,execute index=set_index,explain encode=dummies,map,onehot axis=xlabel,ylabel,set_xlabel
colour=color,cmap colours=color,cmap legend=label picture=imshow,image draw=plot heat=imshow,heatmap,cmap
histogram=hist,bins distribution=hist,describe,quantile,counts network=graph,edge loop=for,while retry=attempt
limit=max,most,threshold threshold=limit,cut assume=const,constant test=assert mood=sentiment,polarity
feeling=mood,sentiment happy=mood,sentiment topic=lda,nmf,theme similarity=cosine,dot inherit=super,class
mixin=super,mro override=super decorate=wraps,wrapper decorator=wraps,wrapper mittelwert=mean durchschnitt=mean
summe=sum anzahl=count,len viele=count,len,sum meisten=max,counts höchste=max größte=max,nlargest kleinste=min
niedrigste=min beste=max,score schlechteste=min fehlen=missing,isna,nan fehlende=isna,nan verteilung=hist,counts
abweichung=std zusammenhang=corr vergleich=compare,merge preis=price kosten=cost,price dauer=time länge=length,len
entfernung=distance abstand=distance fläche=area zeile=row spalte=column wert=value woche=week monat=month tag=day
jahr=year stunde=hour stadt=city,town land=country alter=age gewicht=weight größe=size unterschied=diff,difference
wahrscheinlich=prob anteil=share,normalize tote=dead,deaths gewinnt=win gewonnen=win moyenne=mean somme=sum
nombre=count,len combien=count,len,sum plus=max,counts meilleur=max,score pire=min manquant=missing,isna,nan
répartition=hist,counts écart=std,diff prix=price coût=cost durée=time longueur=length distance=dist,haversine
surface=area ligne=row colonne=column valeur=value semaine=week mois=month jour=day année=year heure=hour
ville=city,town pays=country âge=age poids=weight taille=size différence=diff part=share,normalize media=mean
promedio=mean suma=sum número=count cuántos=count,len,sum cuántas=count,len,sum mayor=max menor=min mejor=max peor=min
falta=missing,isna precio=price costo=cost duración=time longitud=length distancia=distance fila=row columna=column
valor=value semana=week mes=month día=day año=year hora=hour ciudad=city,town país=country edad=age
"""
_CALLED: dict[str, tuple[str, ...]] = {
    stem(plain_letters(said)): tuple(stem(word) for word in called.split(","))
    for said, _, called in (pair.partition("=") for pair in _SAID.split())
}
"""Words of code for words of people, by the stems of those."""
