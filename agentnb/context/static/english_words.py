"""Tell which words of a task are English and which look like code: "data" in a sentence pulls in nothing."""

from __future__ import annotations

import re

_CODELIKE = re.compile(r"_|\d|[a-z][A-Z]|^[A-Z]{2,}|\.")

_GRAMMAR = """
a about after again all also an and any are as at be because been before both but by can could did do does each
else even ever every few for from get give go got had has have he her here him his how i if in into is it its
just let like made make many may me might more most much must my need never no not now of off on once one only
or other our out over own please same say see she should show since so some still such take tell than that the
their them then there these they this those to too under until up us use very want was way we well were what
when where which while who why will with would yes yet you your
"""
_FREQUENT = """
add array average axis base best block bound break build call case cell change check choose class clean clear
close code column compute copy count cost create cut data date day default delete describe display distance draw
edge end error evaluate example explain fast field figure file fill filter find first fit fix flow format frame
function good graph group head help high hour id image index info input insert join key kind last learn length
level limit line list load local log long loop low map mark match max mean measure median merge message min
model month move name new next node norm null number object open order output pair part partial pass path pause
pick piece plan plot point pool pop power predict prefix print process product profile proof quick random range
rank rate ratio read record reduce region remove repeat replace report reset result return reverse right round
row run sample save scale scan score search second select send sequence series set shape share shift short show
shuffle sign signal size skip slice slow small solve sort sound source space split square stack start state step
stop store stream string strip sum suffix sure swap switch table tail task test text thing time title top total
trace train transform tree try turn type union unit update user value variable variance view wait walk weight
wide window wrap write wrong year zero zip
"""

GRAMMAR = frozenset(_GRAMMAR.split())
"""Words that carry a sentence: never a name unless marked."""

ENGLISH = GRAMMAR | frozenset(_FREQUENT.split())
"""Frequent words that libraries also use as names."""


def is_codelike(word: str) -> bool:
    """Tell whether the word's form says that it is a name: `snake_case`, `CamelCase`, `X2`, `NASA`, `a.b`?"""
    return bool(_CODELIKE.search(word))


def is_english(word: str, *, strict: bool) -> bool:
    """Tell whether a sentence would use this word anyway. `strict` also counts frequent nouns and verbs."""
    return word.lower() in (ENGLISH if strict else GRAMMAR) or len(word) == 1
