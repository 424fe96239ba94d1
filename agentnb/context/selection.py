"""Which definitions a task needs, in which form, under a token budget; and why each was chosen or left out.

The names that the task marks or mentions come first, in full; then, ring by ring, what their code refers to. Nothing
here re-orders or re-writes the task's text.
"""

from __future__ import annotations

import builtins
import keyword
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal

from agentnb.context.definitions import Definition
from agentnb.context.resolution import DOTTED, Resolver, Unresolved
from agentnb.context.words import is_codelike, is_english

Mode = Literal["auto", "marks", "none"]
BUDGET = 4000
SCAN_HEAD, SCAN_TAIL = 20_000, 4_000
"""Characters at the start and end of a task that are searched for names; between them lies a pasted log."""
WORDS_LIMIT = 2_000
RINGS = 1
NEAR_SHARE = 0.25
"""A definition one step on stands in full only if it takes at most this share of the budget."""

_FENCE = re.compile(r"^[ \t]*(```+|~~~+)[^\n]*\n.*?(?:^[ \t]*\1[ \t]*$|\Z)", re.MULTILINE | re.DOTALL)
_BACKTICK = re.compile(r"(?<!`)`([^`\n]{1,200})`(?!`)")
_AT = re.compile(r"(?<![\w.@/+:%\\-])@([^\W\d]\w*(?:\.[^\W\d]\w*)*)(?![\w/@])")
_CALL = re.compile(r"@?([^\W\d]\w*(?:\.[^\W\d]\w*)*)(?:\(.*\))?\Z", re.DOTALL)
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """What was chosen, in a stable order: marks, then by distance, then by name."""

    chosen: tuple[Chosen, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


# marks ----------------------------------------------------------------------------------------------------------------


def marks(task: str) -> tuple[str, ...]:
    """Backticked names and `@name`s in the order of first mention; the text itself is never touched.

    Fenced code, e-mail addresses, decorators in pasted code, and backticks around anything but a name or a call of
    one are no marks.
    """
    found: list[tuple[int, str]] = []
    text = _FENCE.sub(lambda match: " " * len(match.group()), task) if "```" in task or "~~~" in task else task
    for match in _BACKTICK.finditer(text):
        name = _CALL.match(match.group(1).strip())
        if name:
            found.append((match.start(), name.group(1)))
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

    @property
    def left(self) -> int:
        return self.total - sum(item.tokens for item in self.chosen)

    @property
    def names(self) -> frozenset[str]:
        return frozenset(item.definition.name for item in self.chosen)

    def holds(self, definition: Definition) -> bool:
        """Is it there already, alone or inside its class?"""
        alone = {item.definition.name for item in self.chosen}
        whole = {item.definition.name for item in self.chosen if item.form == "full"}
        parts = definition.name.split(".")
        return definition.name in alone or any(".".join(parts[:end]) in whole for end in range(1, len(parts)))

    def add(self, definition: Definition, reason: str, *, full_limit: int) -> bool:
        """Take it in the richest form that fits: in full up to `full_limit` tokens, else its signature."""
        forms = ("full", "signature") if definition.source else ("signature",)
        cost = 0
        for form in forms:
            chosen = measured(Chosen(definition=definition, form=form, reason=reason, tokens=0), self.count)
            cost = chosen.tokens
            if cost <= (min(full_limit, self.left) if form == "full" else self.left):
                self.chosen.append(chosen)
                return True
        self.left_out[definition.name] = f"{reason}; over the budget: {cost} tokens, {self.left} left"
        return False


def measured(chosen: Chosen, count: Callable[[str], int]) -> Chosen:
    return replace(chosen, tokens=count(render(chosen)))


def select(
    task: str, resolver: Resolver, *, mode: str = "auto", count: Callable[[str], int], budget: int = BUDGET
) -> Selection:
    """The definitions that `task` touches, and what those need one step on, within `budget` tokens.

    `mode`: "auto" takes marks and known names in the text, "marks" marks only, "none" nothing. `count` gives the
    tokens of a text. Marks that mean nothing become notes.
    """
    if mode == "none":
        return Selection()
    notes: list[str] = []
    roots = list(_marked(task, resolver, notes))
    if mode == "auto":
        roots += _mentioned(task, resolver)
    purse = _Budget(count=count, total=budget)
    for definition, reason in roots:
        if not purse.holds(definition):
            purse.add(definition, reason, full_limit=budget)
    _one_step_on(resolver, purse, budget)
    left_out = tuple(sorted((name, why) for name, why in purse.left_out.items() if name not in purse.names))
    return Selection(chosen=tuple(purse.chosen), left_out=left_out, notes=(*notes, *resolver.notes))


def _marked(task: str, resolver: Resolver, notes: list[str]) -> Iterator[tuple[Definition, str]]:
    for name in marks(task):
        found = resolver.resolve(name)
        if isinstance(found, Unresolved):
            owner = resolver.class_of(name)
            if owner is not None:
                yield owner, f"the class of {name}, marked"
            elif found.kind == "missing" and not _is_ordinary(name, resolver):
                notes.append(f"{name}: {found.reason}. {found.nearest}".rstrip())
        elif not _is_ordinary(name, resolver):
            yield found, "marked"


def _is_ordinary(name: str, resolver: Resolver) -> bool:
    """Python's own words and file names in backticks ask for no definition."""
    root, _, last = name.partition(".")[0], "", name.rpartition(".")[2]
    return not resolver.known(name) and (root in _BUILTINS or last in _FILE_ENDINGS.split())


def _mentioned(task: str, resolver: Resolver) -> Iterator[tuple[Definition, str]]:
    """Definitions whose names stand in the text. A name that is also an English word needs to be the user's own."""
    for word in _words(task):
        if not resolver.known(word):
            continue
        found = resolver.resolve(word)
        if isinstance(found, Unresolved):
            owner = resolver.class_of(word) if is_codelike(word) else None
            if owner is not None:
                yield owner, f"the class of {word}, named in the task"
        elif found.kind != "import" and _is_meant(word, found):
            yield found, "named in the task"


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


def _one_step_on(resolver: Resolver, purse: _Budget, budget: int) -> None:
    ring = list(purse.chosen)
    for _ in range(RINGS):
        start = len(purse.chosen)
        for definition, user in sorted(_needed(ring, resolver), key=lambda pair: pair[0].name):
            if not purse.holds(definition):
                limit = 0 if _is_foreign(definition, user) else int(budget * NEAR_SHARE)
                purse.add(definition, f"used by {user.name}", full_limit=limit)
        ring = purse.chosen[start:]


def _needed(ring: Iterable[Chosen], resolver: Resolver) -> Iterator[tuple[Definition, Definition]]:
    seen: set[str] = set()
    for chosen in ring:
        user = chosen.definition
        references = (f"{user.name.rpartition('.')[2]}.__init__",) if _is_big_class(chosen) else user.references
        for reference in references:
            found = resolver.follow(user, reference)
            if found is not None and found.name not in seen and _is_worth_telling(found, user):
                seen.add(found.name)
                yield found, user


def _is_worth_telling(found: Definition, user: Definition) -> bool:
    """Python's own library is known to every model; modules and compiled code have nothing to show."""
    if found.kind == "import" or not found.source:
        return False
    top = found.name.partition(".")[0]
    return found.origin == "cell" or top not in sys.stdlib_module_names or top == user.name.partition(".")[0]


def _is_big_class(chosen: Chosen) -> bool:
    return chosen.form == "signature" and chosen.definition.kind == "class"


def _is_foreign(definition: Definition, user: Definition) -> bool:
    """Another package's code is told by its signature: the model knows it, or will ask."""
    return definition.origin == "file" and definition.name.partition(".")[0] != user.name.partition(".")[0]


# rendering ------------------------------------------------------------------------------------------------------------

_ESCAPES = MappingProxyType({"&": "&amp;", '"': "&quot;", "<": "&lt;", ">": "&gt;", "\n": " "})


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
    head = " ".join(f'{key}="{_escaped(value)}"' for key, value in attributes.items() if value)
    body = found.text if chosen.form == "full" else found.signature
    return f"<definition {head}>\n{body}\n</definition>"


def _escaped(text: str) -> str:
    return "".join(_ESCAPES.get(character, character) for character in text)


__all__ = ["BUDGET", "DOTTED", "Chosen", "Selection", "marks", "render", "select"]
