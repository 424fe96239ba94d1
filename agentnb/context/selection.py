"""Choose which definitions a task needs and in which form, under a token budget; say why for each.

First comes what the task names, then the user's functions that a cell ran, then what their code uses. Two steps are
told in full, one more by signature. That is the user's own code. A library's is told by its signature and the parts of
its docstring that matter. It is told where the task names it, or the user's code that is told uses it.
"""

from __future__ import annotations

import builtins
import keyword
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from agentnb.canonical import digest
from agentnb.context.notebook.trace import Ran
from agentnb.context.resolve.resolution import DOTTED, Resolver, Unresolved
from agentnb.context.static.definitions import Definition, without_docs
from agentnb.context.static.docstrings import brief
from agentnb.context.static.english_words import is_codelike, is_english
from agentnb.context.static.name_usage import SELF
from agentnb.models.framing import attributes_of, unframed

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
FULL_STEPS, STEPS = 2, 3
"""Steps from what is named that are told in full, and at all."""
LARGE_SHARE = 0.4
"""A definition that is not named stands in full only if it takes at most this share of the budget."""
DOC_SHARE = 0.25
"""A named definition keeps its long docstring up to this share of the budget; its callees get more."""
LIBRARY_SHARE = 0.15
"""Share of the budget for library text that the task names. Share of the chosen text for what only code uses."""
LEAST_LIBRARY = 200
"""Tokens that what only the code uses may take even beside little code."""
LEFT_OUT_LIMIT = 100
"""Left-out definitions whose reason is kept."""

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
_SOURCE = re.compile(
    r"\b(?:source(?: code)?|implementation|implemented|implements?|body|internals?|under the hood|code of)\b",
    re.IGNORECASE,
)
"""Words by which a task asks for a library's code itself."""
_TO_MAKE = (
    r"\b(?:write|make|define|create|add|implement|propose)\b[^.?!\n`]*"
    r"\b(?:function|method|class|dataclass|variable|called|named)"
)
_BUILTINS = frozenset(dir(builtins)) | frozenset(keyword.kwlist)


@dataclass(frozen=True, kw_only=True, slots=True)
class Chosen:
    """Holds a definition that goes into the context. `tokens` is the estimate of its rendered block."""

    definition: Definition
    form: str  # "full" or "signature"
    reason: str
    tokens: int
    told: str = ""  # a library's signature as it goes along, with the parts of its docstring that matter

    @property
    def shown(self) -> str:
        """Digest of what a signature shows: an edit of the body leaves it as it is. Empty for the full form."""
        return digest(self.definition.signature) if self.form == "signature" else ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """Holds what was chosen, in a stable order: marks, then by distance, then by name."""

    chosen: tuple[Chosen, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


# marks ----------------------------------------------------------------------------------------------------------------


def marks(task: str) -> tuple[str, ...]:
    """Backticked names and `@name`s in the order of first mention; the text itself is never touched.

    A backticked call loses its arguments: `f(x).fit` is the mark `f().fit`. No marks are fenced code, e-mail addresses,
    decorators in pasted code, and backticks around anything but a name or call.
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
class _TokenRoom:
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
        """Tell whether it is there already, alone or inside its class or function."""
        parts = definition.name.split(".")
        inside = (".".join(parts[:end]) for end in range(1, len(parts)))
        return definition.name in self._present or any(name in self._whole for name in inside)

    def add(self, definition: Definition, reason: str, *, full_limit: int, told: str = "") -> str:
        """Take it in the richest form that fits: in full up to `full_limit` tokens, else its signature. Return that
        form, or an empty text where none fits.

        A long docstring is the first to go.
        """
        cost = whole = 0
        for shown, form, limit in self._forms(definition, full_limit):
            short = f"; in full, {whole:,} tokens did not fit into the {self.left:,} left" if whole else ""
            why = f"{reason}{short}" if form == "signature" else reason
            text = told if form == "signature" else ""
            chosen = measured(Chosen(definition=shown, form=form, reason=why, tokens=0, told=text), self.count)
            cost = chosen.tokens
            if cost <= min(limit, self.left):
                self.take(chosen)
                return form
            whole = cost
        self.leave(
            definition, f"{reason}, but {cost:,} tokens did not fit into the {self.left:,} left of {self.total:,}"
        )
        return ""

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
    """Return the same with the tokens that it takes as it is rendered."""
    return replace(chosen, tokens=count(render(chosen)))


@dataclass(frozen=True, slots=True)
class _Root:
    """Holds one name in the task. `receiver` is the class on whose instance it is called, `name` what the task calls
    it."""

    definition: Definition
    reason: str
    name: str = ""
    receiver: Definition | None = None


def select(
    task: str,
    resolver: Resolver,
    *,
    mode: str = "auto",
    count: Callable[[str], int],
    budget: int = BUDGET,
    ran: Sequence[Ran] = (),
    used: Iterable[str] = (),
    code: str = "",
) -> Selection:
    """Return the definitions that `task` touches, then what their code uses, within `budget` tokens.

    `mode`: "auto" takes marks and known names in the text, "marks" marks only, "none" nothing. `count` gives the tokens
    of a text. `ran` is what a cell really executed (context/trace.py), and `used` what the cells use that the question
    is about. The user's functions among them come next, in the order of their calls. `code` is what the notebook runs:
    which parameters it passes to a library. Marks that mean nothing become notes.
    """
    if mode == "none":
        return Selection()
    notes: list[str] = []
    roots = list(_marked(task, resolver, notes))
    if mode == "auto":
        roots += _mentioned(task, resolver)
    if len(notes) > NOTES_LIMIT:
        notes[NOTES_LIMIT:] = [f"{len(notes) - NOTES_LIMIT} more marked names have no definition here."]
    purse = _TokenRoom(count=count, total=budget)
    own = [*(root for root in roots if not root.definition.library), *_failed(resolver, ran)]
    _Walk(resolver, purse).take(own, [*_executed(resolver, ran), *_used(resolver, used)])
    foreign = [*(root for root in roots if root.definition.library), *_failed(resolver, ran, library=True)]
    _add_libraries(foreign, resolver, purse, task=task, code=f"{task}\n{code}")
    present = {item.definition.name for item in purse.chosen}
    left_out = [(name, why) for name, why in purse.left_out.items() if name not in present]
    left_out = sorted(left_out[:LEFT_OUT_LIMIT])
    return Selection(chosen=tuple(purse.chosen), left_out=tuple(left_out), notes=(*notes, *resolver.notes))


def _marked(task: str, resolver: Resolver, notes: list[str]) -> Iterator[_Root]:
    for name in marks(task)[:MARKS_LIMIT]:
        # `df.isna().sum` names `df.isna` too.
        calls = [name[: match.start()] for match in re.finditer(r"\(\)\.", name)]
        made = [(part, resolver.resolve(part)) for part in calls]
        yield from (_root(part, found, MARKED, resolver) for part, found in made if isinstance(found, Definition))
        found = resolver.resolve(name)
        if isinstance(found, Unresolved):
            owner = resolver.class_of(name)
            if owner is not None:
                yield _Root(owner, f"the class of {name}, {MARKED}")
            elif found.kind == "missing" and not (_is_ordinary(name, resolver) or _is_to_be_made(name, task)):
                notes.append(f"{name}: {found.reason}. {found.nearest}".rstrip())
        elif not _is_ordinary(name, resolver):
            yield _root(name, found, MARKED, resolver)


def _root(name: str, found: Definition, reason: str, resolver: Resolver) -> _Root:
    return _Root(found, reason, name, None if found.library else resolver.receiver(name))


def _is_ordinary(name: str, resolver: Resolver) -> bool:
    """Know Python's own words and file names: in backticks they ask for no definition."""
    root, _, last = name.partition(".")[0], "", name.rpartition(".")[2]
    return not resolver.known(name) and (root in _BUILTINS or last in _FILE_ENDINGS.split())


def _is_to_be_made(name: str, task: str) -> bool:
    """Tell whether the task gives this name to something that is to be written: no definition can be there yet."""
    return re.search(rf"{_TO_MAKE}\s+`{re.escape(name)}\b", task, re.IGNORECASE) is not None


def _mentioned(task: str, resolver: Resolver) -> Iterator[_Root]:
    """Yield definitions whose names stand in the text. A name that is also an English word needs to be the user's
    own."""
    for word in _words(task):
        if not resolver.known(word):
            continue
        found = resolver.mentioned(word)
        if found is None:
            owner = resolver.class_of(word) if is_codelike(word) else None
            if owner is not None:
                yield _Root(owner, f"the class of {word}, named in the task")
        elif found.kind != "import" and _is_meant(word, found):
            yield _root(word, found, "named in the task", resolver)


def _failed(resolver: Resolver, ran: Iterable[Ran], *, library: bool = False) -> Iterator[_Root]:
    """Yield the user's own functions in the traceback of a cell that failed, the innermost first; or a `library`'s."""
    for item in ran:
        found = resolver.of_code(item.code) if (item.library if library else item.failed) else None
        if found is not None and found.library == library:
            yield _Root(found, item.reason)


def _executed(resolver: Resolver, ran: Iterable[Ran]) -> Iterator[_Root]:
    """Yield the user's functions that a cell ran, in the order of their first calls."""
    for item in ran:
        found = resolver.of_code(item.code) if not (item.failed or item.library) else None
        if found is not None and not found.library:
            yield _Root(found, item.reason)


def _used(resolver: Resolver, names: Iterable[str]) -> Iterator[_Root]:
    """Yield what cells use of the user's modules; what other cells define stands in those."""
    for name in names:
        found = resolver.mentioned(name) if resolver.known(name) else None
        if found is not None and not found.library and found.origin != "cell" and found.kind != "import":
            yield _Root(found, "used by a cell that the question is about")


def _words(task: str) -> Iterator[str]:
    if len(task) > SCAN_HEAD + SCAN_TAIL:
        task = f"{task[:SCAN_HEAD]}\n{task[-SCAN_TAIL:]}"
    words = dict.fromkeys(match.group() for match in _WORD.finditer(task))
    yield from list(words)[:WORDS_LIMIT]


def _is_meant(word: str, found: Definition) -> bool:
    """Judge by the name. A cell's own function or class may have any name; a variable or a library's needs to look like
    code."""
    if "." in word or is_codelike(word):
        return True
    own = found.origin == "cell" and found.kind not in {"constant", "type alias"}
    return not is_english(word, strict=not own)


# what their code uses -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _UsedName:
    """Holds one use by the code of `user`."""

    definition: Definition
    user: str
    receiver: Definition | None = None


class _Walk:
    """Goes from what is named to what its code uses, ring by ring, and takes what fits."""

    def __init__(self, resolver: Resolver, purse: _TokenRoom) -> None:
        self._resolver = resolver
        self._purse = purse
        self._seen: set[tuple[str, str]] = set()

    def take(self, roots: Sequence[_Root], ran: Sequence[_Root]) -> None:
        total = self._purse.total
        for root in roots:
            if not self._purse.holds(root.definition):
                self._purse.add(root.definition, root.reason, full_limit=total)
        for item in ran:
            if not self._purse.holds(item.definition):
                self._purse.add(without_docs(item.definition), item.reason, full_limit=int(total * LARGE_SHARE))
        ring = [_UsedName(root.definition, "", receiver=root.receiver) for root in (*roots, *ran)]
        for step in range(1, STEPS + 1):
            ring = [use for user in ring for use in self._taken(user, step)]

    def _taken(self, user: _UsedName, step: int) -> Iterator[_UsedName]:
        """Yield what the code of `user` uses and the budget takes; a signature leads no further."""
        for use in self._uses(user):
            key = use.definition.name, use.receiver.name if use.receiver else ""
            if key in self._seen or use.definition.library or not _is_worth_telling(use.definition, user.definition):
                continue
            self._seen.add(key)
            full = int(self._purse.total * LARGE_SHARE) if step <= FULL_STEPS else 0
            held = self._purse.holds(use.definition)
            form = (
                "full"
                if held
                else self._purse.add(without_docs(use.definition), f"used by {use.user}", full_limit=full)
            )
            if form == "full" or (use.definition.kind == "class" and step <= FULL_STEPS):
                yield use

    def _uses(self, user: _UsedName) -> Iterator[_UsedName]:
        found, name = user.definition, user.definition.name
        if found.kind == "class" and not self._purse.holds(replace(found, name=f"{name}.__init__")):
            made = self._resolver.follow(found, f"{SELF}.__init__")
            yield from [_UsedName(made, name, receiver=found)] if made and made.kind == "method" else []
            return
        for reference in found.references:
            used = self._resolver.follow(found, reference, user.receiver)
            if used is not None:
                is_own = reference.startswith(f"{SELF}.") or self._resolver.is_of_base(found, reference)
                yield _UsedName(
                    used, name, receiver=user.receiver if is_own else self._receiver(found, reference, used)
                )
        for member in found.members:
            yield from (_UsedName(guess, name) for guess in self._guesses(found, *member.split(".")))

    def _guesses(self, user: Definition, value: str, member: str) -> list[Definition]:
        """Guess by the method's name. A cell may handle any class in use, and names its values alike; a module's code
        handles its own package's."""
        if user.origin == "cell":
            named = self._resolver.known(value)
            return (
                list(self._resolver.members_in_use(member, variable=value))
                if named or member not in _CONTAINERS
                else []
            )
        package = f"{user.name.partition('.')[0]}."
        return [found for found in self._resolver.members_in_use(member) if found.name.startswith(package)]

    def _receiver(self, user: Definition, reference: str, used: Definition) -> Definition | None:
        return self._resolver.receiver_of(user, reference) if used.kind in {"method", "property"} else None


_CONTAINERS = frozenset(name for kind in (dict, list, set, str) for name in dir(kind) if not name.startswith("_"))
"""Names that dicts, lists, sets and strings have too: `x.update()` is hardly ever a method of the user's."""


def _is_worth_telling(found: Definition, user: Definition) -> bool:
    """Leave out what has no text. Modules and compiled code have nothing to show."""
    return found.kind != "import" and bool(found.source) and (found.name != user.name or found is user)


def _add_libraries(roots: Sequence[_Root], resolver: Resolver, purse: _TokenRoom, *, task: str, code: str) -> None:
    """Add library code that the task names, in full only where it asks for the source. Then add what the chosen user's
    code uses, as room allows."""
    asked = bool(_SOURCE.search(task))
    limit = purse.total if asked else int(purse.total * LIBRARY_SHARE)
    own, told = purse.spent, 0
    for root in roots:
        found = resolver.whole(root.definition) if asked else root.definition
        told_as = brief(found.signature, found.docstring, name=root.name.rpartition(".")[2], code=code)
        if purse.holds(found) or (found.kind == "import" and not found.doc):
            continue
        before = purse.spent
        if told < limit:
            purse.add(found, root.reason, full_limit=purse.total if asked else 0, told=told_as)
        else:
            purse.leave(found, f"{root.reason}, but {limit:,} tokens are the most for library code")
        told += purse.spent - before
    share = max(LIBRARY_SHARE / (1 - LIBRARY_SHARE) * own, min(LEAST_LIBRARY, limit))
    for chosen in [item for item in purse.chosen if item.form == "full" and not item.definition.library]:
        for reference in chosen.definition.references:
            used, name = resolver.follow(chosen.definition, reference), reference.rpartition(".")[2]
            named = used is not None and used.name.rpartition(".")[2] == name  # and not only its owner
            if used is None or not (named and used.library and _is_foreign(used)) or purse.holds(used):
                continue
            reason = f"used by {chosen.definition.name}"
            told_as = brief(used.signature, used.docstring, name=name, code=chosen.definition.source)
            made = Chosen(definition=used, form="signature", reason=reason, tokens=0, told=told_as)
            made = measured(made, purse.count)
            if told + made.tokens <= min(share, told + purse.left):
                purse.take(made)
                told += made.tokens


def _is_foreign(found: Definition) -> bool:
    """Leave Python's own library out: it is known to every model, and so is what a module is for."""
    return found.kind != "import" and found.name.partition(".")[0] not in sys.stdlib_module_names


# rendering ------------------------------------------------------------------------------------------------------------


def render(chosen: Chosen, *, replaces: str | None = None) -> str:
    """Return the block that the model sees. `replaces` is the digest of the older version that it stands for.

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
    body = found.text if chosen.form == "full" else chosen.told or found.signature
    return f"<definition {attributes_of(attributes)}>\n{unframed(body)}\n</definition>"


__all__ = ["BUDGET", "DOTTED", "Chosen", "Selection", "marks", "measured", "render", "select"]
