"""Which definitions a task needs, in which form, under a token budget; and why each was chosen or left out.

The names that the task marks or mentions come first, in full; then, ring by ring, what their code refers to. Nothing
here re-orders or re-writes the task's text.
"""

from __future__ import annotations

import builtins
import heapq
import keyword
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from agentnb.canonical import digest
from agentnb.context.notebook.trace import Ran
from agentnb.context.resolve.resolution import DOTTED, Resolver, Unresolved
from agentnb.context.static.definitions import Definition, without_docs
from agentnb.context.static.english_words import is_codelike, is_english
from agentnb.context.static.name_usage import BRANCH, MENTIONED

Mode = Literal["auto", "marks", "none"]
BUDGET = 4000
MARKED = "marked in the task"
"""The reason of what the task names in backticks or as `@name`."""
SCAN_HEAD, SCAN_TAIL = 20_000, 4_000
"""Characters at the start and end of a task that are searched for names; between them lies a pasted log."""
WORDS_LIMIT = 2_000
MARKS_LIMIT = 200
"""Marks that are looked up; a pasted page of documentation has more, and means none of them."""
NOTES_LIMIT = 10
"""Marks that lead nowhere and are told one by one."""
LARGE_SHARE = 0.4
"""A definition that is not named stands in full only if it takes at most this share of the budget."""
FULL_SHARE, FULL_SHARE_RAN = 0.92, 0.97
"""Share of the budget for full bodies, more where it is known what ran; the rest goes to signatures."""
DOC_SHARE = 0.25
"""A named definition keeps its long docstring up to this share of the budget: more is left for what it calls."""
LEAST_LIKELY = 0.04
"""What is less likely than this to be reached is not worth its tokens."""
COST_POWER = 0.5
"""How much a short definition is preferred: likelihood / tokens ** COST_POWER decides who comes next."""
STEP = 0.7
"""Weight of each step away from what was named."""
GUESSED = 0.4
"""Weight of a member that is only guessed from the classes of the notebook's variables."""
GUESSED_OF_MANY = 0.05
"""The same for names that dicts, lists, sets and strings have too: `x.update()` is hardly ever a graph's."""
NEXT_LIMIT = 60
"""Candidates without room in full that are still told by signature, or listed as left out."""
LEFT_OUT_LIMIT = 100
"""Left-out definitions whose reason is kept, the likelier first."""
FOLLOWED_LIMIT = 400
"""Definitions that are looked into; each costs about a millisecond."""

_FENCE = re.compile(r"^[ \t]*+(```++|~~~++)[^\n]*+\n.*?(?:^[ \t]*+\1[ \t]*$|\Z)", re.MULTILINE | re.DOTALL)
_BACKTICK = re.compile(r"(?<!`)`([^`\n]{1,200})`(?!`)")
_AT = re.compile(r"(?<![\w.@/+:%\\-])@([^\W\d]\w*(?:\.[^\W\d]\w*)*)(?![\w/@])")
_CALL = re.compile(r"@?([^\W\d]\w*(?:(?:\([^()]*\))?\.[^\W\d]\w*)*)(?:\(.*\))?\Z", re.DOTALL)
_ARGUMENTS = re.compile(r"\([^()]*\)")
_WORD = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*")
_DECORATED = re.compile(
    r"(?:\([^\n]*\))?[ \t]*(?:#[^\n]*)?\n(?:[ \t]*@[^\n]*\n)*[ \t]*(?:async[ \t]+def|def|class)[ \t]"
)
_FILE_ENDINGS = "csv json py txt md parquet ipynb toml yaml yml html png jpg xlsx zip gz log sql db tsv"
_BUILTINS = frozenset(dir(builtins)) | frozenset(keyword.kwlist)


@dataclass(frozen=True, kw_only=True, slots=True)
class Chosen:
    """A definition that goes into the context. `tokens` is the estimate of its rendered block."""

    definition: Definition
    form: str  # "full" or "signature"
    reason: str
    tokens: int

    @property
    def shown(self) -> str:
        """Digest of what a signature shows: an edit of the body leaves it as it is. Empty for the full form."""
        return digest(self.definition.signature) if self.form == "signature" else ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """What was chosen, in a stable order: marks, then by distance, then by name."""

    chosen: tuple[Chosen, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


# marks ----------------------------------------------------------------------------------------------------------------


def marks(task: str) -> tuple[str, ...]:
    """Backticked names and `@name`s in the order of first mention; the text itself is never touched.

    A backticked call loses its arguments: `f(x).fit` is the mark `f().fit`. Fenced code, e-mail addresses, decorators
    in pasted code, and backticks around anything but a name or a call of one are no marks.
    """
    found: list[tuple[int, str]] = []
    text = _FENCE.sub(lambda match: " " * len(match.group()), task) if "```" in task or "~~~" in task else task
    for match in _BACKTICK.finditer(text):
        name = _CALL.match(match.group(1).strip())
        if name:
            found.append((match.start(), _ARGUMENTS.sub("()", name.group(1))))
    ats = (match for match in _AT.finditer(text) if not _is_decorator(text, match))
    found += [(match.start(), match.group(1)) for match in ats]
    return tuple(dict.fromkeys(name for _, name in sorted(found)))


def _is_decorator(text: str, match: re.Match[str]) -> bool:
    line_start = text.rfind("\n", 0, match.start()) + 1
    return not text[line_start : match.start()].strip() and bool(_DECORATED.match(text, match.end()))


# selection ------------------------------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class _Budget:
    count: Callable[[str], int]
    total: int
    chosen: list[Chosen] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    spent: int = 0
    _whole: set[str] = field(default_factory=set)
    _present: set[str] = field(default_factory=set)

    @property
    def left(self) -> int:
        return self.total - self.spent

    def holds(self, definition: Definition) -> bool:
        """Is it there already, alone or inside its class or function?"""
        parts = definition.name.split(".")
        inside = (".".join(parts[:end]) for end in range(1, len(parts)))
        return definition.name in self._present or any(name in self._whole for name in inside)

    def add(self, definition: Definition, reason: str, *, full_limit: int) -> bool:
        """Take it in the richest form that fits: in full up to `full_limit` tokens, else its signature.

        A long docstring is the first to go.
        """
        cost = whole = 0
        for shown, form, limit in self._forms(definition, full_limit):
            short = f"; in full, {whole:,} tokens did not fit into the {self.left:,} left" if whole else ""
            why = f"{reason}{short}" if form == "signature" else reason
            chosen = measured(Chosen(definition=shown, form=form, reason=why, tokens=0), self.count)
            cost = chosen.tokens
            if cost <= min(limit, self.left):
                self.take(chosen)
                return True
            whole = cost
        self.leave(
            definition, f"{reason}, but {cost:,} tokens did not fit into the {self.left:,} left of {self.total:,}"
        )
        return False

    def _forms(self, definition: Definition, full_limit: int) -> Iterator[tuple[Definition, str, int]]:
        if definition.source and full_limit:
            yield definition, "full", min(full_limit, int(self.total * DOC_SHARE))
            yield without_docs(definition), "full", full_limit
        yield definition, "signature", self.total

    def take(self, chosen: Chosen) -> None:
        self.chosen.append(chosen)
        self.spent += chosen.tokens
        self._present.add(chosen.definition.name)
        if chosen.form == "full":
            self._whole.add(chosen.definition.name)

    def leave(self, definition: Definition, reason: str) -> None:
        self.left_out.setdefault(definition.name, reason)


def measured(chosen: Chosen, count: Callable[[str], int]) -> Chosen:
    """The same with the tokens that it takes as it is rendered."""
    return replace(chosen, tokens=count(render(chosen)))


def select(
    task: str,
    resolver: Resolver,
    *,
    mode: str = "auto",
    count: Callable[[str], int],
    budget: int = BUDGET,
    ran: Sequence[Ran] = (),
) -> Selection:
    """The definitions that `task` touches, then what running them most likely reaches, within `budget` tokens.

    `mode`: "auto" takes marks and known names in the text, "marks" marks only, "none" nothing. `count` gives the
    tokens of a text. `ran` is what a cell really executed (context/trace.py): it comes before what is only likely, and
    the user's functions in a traceback come with what the task names. Marks that mean nothing become notes.
    """
    if mode == "none":
        return Selection()
    notes: list[str] = []
    roots = list(_marked(task, resolver, notes))
    if mode == "auto":
        roots += _mentioned(task, resolver)
    if len(notes) > NOTES_LIMIT:
        notes[NOTES_LIMIT:] = [f"{len(notes) - NOTES_LIMIT} more marked names have no definition here."]
    purse = _Budget(count=count, total=budget)
    roots += _failed(resolver, ran)
    for definition, reason in roots:
        if not purse.holds(definition):
            purse.add(definition, reason, full_limit=budget)
    _Frontier(resolver, purse).fill(ran)
    present = {item.definition.name for item in purse.chosen}
    left_out = [(name, why) for name, why in purse.left_out.items() if name not in present]
    left_out = sorted(left_out[:LEFT_OUT_LIMIT])
    return Selection(chosen=tuple(purse.chosen), left_out=tuple(left_out), notes=(*notes, *resolver.notes))


def _marked(task: str, resolver: Resolver, notes: list[str]) -> Iterator[tuple[Definition, str]]:
    for name in marks(task)[:MARKS_LIMIT]:
        found = resolver.resolve(name)
        if isinstance(found, Unresolved):
            owner = resolver.class_of(name)
            if owner is not None:
                yield owner, f"the class of {name}, {MARKED}"
            elif found.kind == "missing" and not _is_ordinary(name, resolver):
                notes.append(f"{name}: {found.reason}. {found.nearest}".rstrip())
        elif not _is_ordinary(name, resolver):
            yield found, MARKED


def _is_ordinary(name: str, resolver: Resolver) -> bool:
    """Python's own words and file names in backticks ask for no definition."""
    root, _, last = name.partition(".")[0], "", name.rpartition(".")[2]
    return not resolver.known(name) and (root in _BUILTINS or last in _FILE_ENDINGS.split())


def _mentioned(task: str, resolver: Resolver) -> Iterator[tuple[Definition, str]]:
    """Definitions whose names stand in the text. A name that is also an English word needs to be the user's own."""
    for word in _words(task):
        if not resolver.known(word):
            found = resolver.elsewhere(word) if is_codelike(word) else None
            if found is not None:
                yield found, "named in the task"
            continue
        found = resolver.mentioned(word)
        if found is None:
            owner = resolver.class_of(word) if is_codelike(word) else None
            if owner is not None:
                yield owner, f"the class of {word}, named in the task"
        elif found.kind != "import" and _is_meant(word, found):
            yield found, "named in the task"


def _failed(resolver: Resolver, ran: Iterable[Ran]) -> Iterator[tuple[Definition, str]]:
    """The user's own functions in the traceback of a cell that failed, the innermost first."""
    for item in ran:
        found = resolver.of_code(item.code) if item.failed else None
        if found is not None and _is_worth_telling(found, found):
            yield found, item.reason


def _words(task: str) -> Iterator[str]:
    if len(task) > SCAN_HEAD + SCAN_TAIL:
        task = f"{task[:SCAN_HEAD]}\n{task[-SCAN_TAIL:]}"
    words = dict.fromkeys(match.group() for match in _WORD.finditer(task))
    yield from list(words)[:WORDS_LIMIT]


def _is_meant(word: str, found: Definition) -> bool:
    """A cell's own function or class may have any name; a variable or a library's needs to look like code."""
    if "." in word or is_codelike(word):
        return True
    own = found.origin == "cell" and found.kind not in {"constant", "type alias"}
    return not is_english(word, strict=not own)


# what running it reaches ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Candidate:
    definition: Definition
    likely: float
    depth: int
    user: str
    reason: str = ""
    brief: bool = False  # told by its signature, whatever room there is
    alone: bool = False  # what it uses is not told

    @property
    def why(self) -> str:
        return self.reason or f"used by {self.user}"


class _Frontier:
    """Best first: of all that is referred to so far, next comes what is likely to run and short."""

    def __init__(self, resolver: Resolver, purse: _Budget) -> None:
        self._resolver = resolver
        self._purse = purse
        self._best: dict[str, _Candidate] = {}
        self._heap: list[tuple[float, str]] = []
        self._costs: dict[str, int] = {}
        self._followed: set[str] = set()
        self._seen = 1.0
        self._unlikely: dict[str, _Candidate] = {}

    def fill(self, ran: Sequence[Ran]) -> None:
        roots = tuple(self._purse.chosen)
        self._seen = NOT_SEEN if ran else 1.0
        for item in ran:
            found = self._resolver.of_code(item.code)
            if found is not None and _is_worth_telling(found, found):
                likely = max(RAN_LIKELY**item.depth, LEAST_LIKELY)
                # Of another's code that an error passed through only what raised it says more than its name does.
                brief = item.library and not item.raised
                made = _Candidate(found, likely, item.depth, "", item.reason, brief=brief, alone=item.library)
                self._offer(made)
        for chosen in roots:
            self._expand(chosen.definition, 1.0, 0)
            self._tell_overloads(chosen.definition)
        full = int(self._purse.total * (FULL_SHARE_RAN if ran else FULL_SHARE))
        later = [candidate for candidate in self._pop_all() if not self._take_full(candidate, full)]
        self._signatures(later)
        for candidate in self._unlikely.values():
            if candidate.definition.name not in self._best:
                self._purse.leave(candidate.definition, f"{candidate.why}, but the named code hardly ever runs it")
        rest = self._purse.chosen[len(roots) :]
        rest.sort(key=lambda item: (self._best[item.definition.name].depth, item.definition.name))
        self._purse.chosen[len(roots) :] = rest

    def _pop_all(self) -> Iterator[_Candidate]:
        """Candidates by rank; taking one may offer more, and a better offer of the same name stands before it."""
        seen: set[str] = set()
        while self._heap:
            _, name = heapq.heappop(self._heap)
            if name not in seen:
                seen.add(name)
                yield self._best[name]

    def _take_full(self, candidate: _Candidate, full: int) -> bool:
        if self._purse.holds(candidate.definition):
            return True
        cost = self._costs[candidate.definition.name]
        fits = cost <= min(full - self._purse.spent, int(self._purse.total * LARGE_SHARE))
        if not fits or candidate.brief:
            return False
        self._purse.take(Chosen(definition=candidate.definition, form="full", reason=candidate.why, tokens=cost))
        if not candidate.alone:
            self._expand(candidate.definition, candidate.likely, candidate.depth)
        return True

    def _signatures(self, candidates: Iterable[_Candidate]) -> None:
        ranked = sorted(candidates, key=lambda item: (-item.likely, item.definition.name))
        for number, candidate in enumerate(ranked):
            if self._purse.holds(candidate.definition):
                continue
            if number < NEXT_LIMIT:
                self._purse.add(candidate.definition, candidate.why, full_limit=0)
            else:
                self._purse.leave(candidate.definition, f"{candidate.why}, but {NEXT_LIMIT} others are likelier to run")

    def _offer(self, candidate: _Candidate) -> None:
        if self._purse.holds(candidate.definition):
            return
        if candidate.likely < LEAST_LIKELY:
            self._unlikely.setdefault(candidate.definition.name, candidate)
            return
        known = self._best.get(candidate.definition.name)
        if known is not None and known.likely >= candidate.likely:
            return
        definition = known.definition if known else without_docs(candidate.definition)
        self._best[definition.name] = replace(candidate, definition=definition)
        if definition.name not in self._costs:
            self._costs[definition.name] = self._purse.count(
                render(Chosen(definition=definition, form="full", reason="", tokens=0))
            )
        cost = self._costs[definition.name]
        heapq.heappush(self._heap, (-candidate.likely / cost**COST_POWER, definition.name))

    def _expand(self, user: Definition, likely: float, depth: int) -> None:
        if user.name in self._followed or len(self._followed) >= FOLLOWED_LIMIT:
            return
        self._followed.add(user.name)
        for reference, p in self._uses(user):
            found = self._resolver.follow(user, reference)
            if found is not None:
                self._reach(found, user, likely * p * STEP, depth + 1)
        for found in self._wrappers(user):
            self._reach(found, user, likely * STEP, depth + 1)
        for found in self._resolver.implementations(user):
            why = f"registered with {user.name}"
            self._offer(_Candidate(found, likely * STEP * BRANCH * self._seen, depth + 1, user.name, why))
        for member, p in user.members:
            guesses = self._guesses(user, *member.split("."))
            for found in guesses:
                self._reach(found, user, likely * p * STEP * _weight(found) / len(guesses), depth + 1)

    def _tell_overloads(self, named: Definition) -> None:
        """How a function may be called: nothing of it runs."""
        found = self._resolver.overloads(named)
        if found is not None:
            why = f"overloads of {named.name}"
            self._offer(_Candidate(found, STEP, 1, named.name, why, brief=True))

    def _is_foreign(self, found: Definition, user: Definition) -> bool:
        """Another package's code is told by its signature: the model knows it, or will ask. The project's is not."""
        other = found.origin == "file" and found.name.partition(".")[0] != user.name.partition(".")[0]
        return other and not self._resolver.in_project(found)

    def _guesses(self, user: Definition, value: str, member: str) -> list[Definition]:
        """A library's code handles its own classes; the notebook's may handle any, and names its values alike."""
        if user.origin == "cell":
            found = self._resolver.members_in_use(member, variable=value)
            return [one for one in found if not (member.startswith("__") and self._is_foreign(one, user))]
        package = user.name.partition(".")[0]
        return [found for found in self._resolver.members_in_use(member) if found.name.partition(".")[0] == package]

    def _wrappers(self, user: Definition) -> Iterator[Definition]:
        """Decorators that put a function of their own around the user's: whoever calls it runs that first."""
        for name in _DECORATOR.findall(user.source.partition("def ")[0]) if user.kind in _WRAPPED else ():
            found = self._resolver.follow(user, name)
            if found is not None and found.kind == "function" and _INNER.search(found.source):
                yield found

    def _uses(self, user: Definition) -> Iterable[tuple[str, float]]:
        if user.kind == "class" and not self._purse.holds(replace(user, name=f"{user.name}.__init__")):
            return [(f"{user.name.rpartition('.')[2]}.__init__", 1.0)]
        return zip(user.references, user.likelihoods, strict=True)

    def _reach(self, found: Definition, user: Definition, likely: float, depth: int) -> None:
        if not _is_worth_telling(found, user):
            return
        likely *= self._seen
        if found.kind == "property":
            likely = min(1.0, likely / MENTIONED)  # reading it runs it
        foreign = self._is_foreign(found, user)
        self._offer(_Candidate(found, likely, depth, user.name, brief=foreign))
        if found.kind == "class" and not foreign:
            made = self._resolver.follow(found, f"{found.name.rpartition('.')[2]}.__init__")
            if made is not None and made.kind == "method" and _is_worth_telling(made, user):
                self._offer(_Candidate(made, likely, depth, user.name))


RAN_LIKELY = 0.75
"""Weight of what ran, to the power of its depth: nearer calls first; none is too unlikely."""
NOT_SEEN = 0.6
"""Where it is known what ran: weight of what was not seen to."""


_DECORATOR = re.compile(r"^@([\w.]+)", re.MULTILINE)
_INNER = re.compile(r"\n[ \t]+(?:async )?def ")
_WRAPPED = frozenset({"function", "async function", "method"})
_CONTAINERS = frozenset(name for kind in (dict, list, set, str) for name in dir(kind) if not name.startswith("_"))


def _weight(guess: Definition) -> float:
    return GUESSED_OF_MANY if guess.name.rpartition(".")[2] in _CONTAINERS else GUESSED


def _is_worth_telling(found: Definition, user: Definition) -> bool:
    """Python's own library is known to every model; modules and compiled code have nothing to show."""
    if found.kind == "import" or not found.source or (found.name == user.name and found is not user):
        return False
    top = found.name.partition(".")[0]
    return found.origin == "cell" or top not in sys.stdlib_module_names or top == user.name.partition(".")[0]


# rendering ------------------------------------------------------------------------------------------------------------

_ESCAPES = str.maketrans({"&": "&amp;", '"': "&quot;", "<": "&lt;", ">": "&gt;", "\n": " "})


def render(chosen: Chosen, *, replaces: str | None = None) -> str:
    """The block that the model sees. `replaces` is the digest of the older version that it stands for.

    The same definition gives the same bytes on every machine: no absolute paths, counts, addresses or times.
    """
    found = chosen.definition
    place = {"cell": found.cell} if found.origin == "cell" else {"file": found.file}
    attributes = {"name": found.name, **place}
    if found.lines[0]:
        attributes["lines"] = f"{found.lines[0]}-{found.lines[1]}"
    attributes |= {"digest": found.digest, "form": chosen.form}
    if replaces:
        attributes["replaces"] = replaces
    body = found.text if chosen.form == "full" else found.signature
    return f"<definition {attributes_of(attributes)}>\n{body}\n</definition>"


def attributes_of(values: Mapping[str, str]) -> str:
    """A tag's attributes, those left out that are empty: `name="tides.predict" lines="3-9"`."""
    return " ".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in values.items() if value)


__all__ = ["BUDGET", "DOTTED", "Chosen", "Selection", "attributes_of", "marks", "measured", "render", "select"]
