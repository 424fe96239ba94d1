"""Hold the cells that ran: source, number, outputs. Each run is a frozen value, recorded once when its cell has
ended. [home of Stemmer]"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, lru_cache
from itertools import pairwise
from typing import Any

from agentnb.context.notebook.cells import AGENT
from agentnb.context.notebook.dataflow import Dataflow, dataflow, references_of
from agentnb.context.notebook.outputs import Output, joined
from agentnb.context.static.english_words import GRAMMAR

_OURS = re.compile(
    r"(?:\s*(?:%(?:load_ext|reload_ext|unload_ext)[ \t]+agentnb|%config[ \t]+AgentNB|%agent_?\w*)\b"
    r"[^\n]*(?:\n|\Z))+\s*\Z"
)
_WORD = re.compile(r"[^\W\d_]{2,}|\d[\d.,]*\d|\d")
_LETTER = re.compile(r"(?<![\w'\"])[A-Za-z](?![\w'\"])")
_CAMEL = re.compile(r"(?<=[a-z][a-z])(?=[A-Z])")


@dataclass(frozen=True)
class CellRun:
    """Holds one run of one cell. `cell` is its id; `order` grows with each run, `version` with each run of the cell.

    `place` is the number by which people know it: its execution count.
    """

    cell: str
    number: int
    source: str
    outputs: tuple[Output, ...] = ()
    version: int = 1
    order: int = 0
    replaces: int = 0  # the number of the run that this one takes the place of
    interrupted: bool = False
    ended: float = math.inf
    """When it ended, in seconds since the epoch; infinite where nobody saw it."""

    @property
    def key(self) -> str:
        """Return the name under which a thread holds the cell."""
        return f"cell:{self.cell}"

    @cached_property
    def identity(self) -> str:
        """Return what tells this run from any other of the notebook."""
        return f"{self.cell}:{self.number}"

    @cached_property
    def flow(self) -> Dataflow:
        return dataflow(self.source)

    @cached_property
    def references(self) -> tuple[str, ...]:
        """Return the dotted names that its code uses."""
        return references_of(self.source)

    @cached_property
    def words(self) -> frozenset[str]:
        """Return the words of source and outputs, in lower case, names taken apart: what a question may share with
        it."""
        text = "\n".join([self.source, *(output.text for output in self.outputs)])
        return frozenset(words_of(text[:40_000]))

    @cached_property
    def stems(self) -> frozenset[str]:
        return frozenset(map(stem, self.words - GRAMMAR))

    @cached_property
    def pairs(self) -> frozenset[str]:
        """Return the stems that stand side by side: "van 6", and "learn rate" of `learning_rate`."""
        text = "\n".join([self.source, *(output.text for output in self.outputs)])
        return pairs_of(text[:40_000])

    @cached_property
    def code_stems(self) -> frozenset[str]:
        return frozenset(map(stem, words_of(self.source[:40_000]) - GRAMMAR))

    @cached_property
    def letters(self) -> frozenset[str]:
        """Return the names of one letter that its source uses."""
        return frozenset(_LETTER.findall(self.source))

    def has(self, *kinds: str) -> bool:
        return any(output.kind in kinds for output in self.outputs)


def words_of(text: str) -> set[str]:
    """Return the words in lower case, numbers as written; `thick_model` and `ThickModel` are two words each."""
    return set(_in_order(text))


def pairs_of(text: str) -> frozenset[str]:
    """Return the stems that stand side by side in one line, two by two, without words of grammar."""
    found: set[str] = set()
    for line in text.split("\n"):
        words = [stem(word) if word not in GRAMMAR else "" for word in _in_order(line)]
        found.update(f"{one} {other}" for one, other in pairwise(words) if one and other)
    return frozenset(found)


def _in_order(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(_CAMEL.sub(" ", plain_letters(text)).replace("_", " "))]


def plain_letters(text: str) -> str:
    """Return the text with letters without their accents: "mélodie" as "melodie"."""
    if text.isascii():
        return text
    return "".join(one for one in unicodedata.normalize("NFKD", text) if not unicodedata.combining(one))


_VERBS = """
began=begin bought=buy broke=break brought=bring built=build came=come caught=catch chose=choose chosen=choose drew=draw
drove=drive fell=fall fallen=fall found=find gave=give given=give grew=grow grown=grow held=hold hid=hide kept=keep
knew=know known=know lent=lend lost=lose made=make meant=mean met=meet paid=pay ran=run rose=rise risen=rise said=say
saw=see seen=see sent=send sold=sell spent=spend taken=take took=take taught=teach thought=think threw=throw told=tell
went=go won=win wrote=write written=write
"""
_PAST = dict(pair.split("=") for pair in _VERBS.split())


@lru_cache(1 << 14)
def stem(word: str) -> str:
    """Return a word without its English endings, a verb in the present: "orders" and "ordered" are "order"."""
    return str(_stemmer().stemWord(_PAST.get(word.lower(), word.lower())))


@cache
def _stemmer() -> Any:  # it comes without types
    import Stemmer

    return Stemmer.Stemmer("english")


@dataclass(kw_only=True)
class CellLog:
    """Holds every cell's newest run, in the order of running. Cells of `%%agent` are conversation: they are not kept.

    `scrub` takes secrets out of outputs; sources are scrubbed when they are told, for they must read as they ran.
    """

    session: str = "session"
    """Tells this kernel's runs from those of another that counted the same numbers."""
    by_number: dict[int, CellRun] = field(default_factory=dict)
    """Every run by its number, also those that a later run replaced."""
    _runs: dict[str, CellRun] = field(default_factory=dict)
    hidden: set[str] = field(default_factory=set)
    hidden_names: tuple[str, ...] = ()
    """Cells, and names whose cells, the person keeps out of what is sent."""
    order: int = 0

    def record(
        self,
        source: str,
        *,
        cell: str,
        number: int,
        outputs: Iterable[Output] = (),
        interrupted: bool = False,
        ended: float = math.inf,
    ) -> CellRun | None:
        """Take in a run that has ended; None for what is no context."""
        source = _whole(source)
        outputs = [replace(each, text=_whole(each.text)) for each in outputs]
        if not source.strip() or is_ours(source):
            return None
        self.order += 1
        before = self._runs.pop(cell, None) or self._before_loading(cell, source)
        run = CellRun(
            cell=cell,
            number=number,
            source=source.strip("\n").rstrip(),
            outputs=joined(outputs),
            version=before.version + 1 if before else 1,
            order=self.order,
            replaces=before.number if before else 0,
            interrupted=interrupted,
            ended=ended,
        )
        self._runs[cell] = self.by_number[number] = run
        return run

    def _before_loading(self, cell: str, source: str) -> CellRun | None:
        """Return the same cell as it ran before the extension was loaded, when no front end's id was known."""
        if cell.startswith("In["):
            return None
        same = (known for known, run in self._runs.items() if known.startswith("In[") and run.source == source.rstrip())
        return self._runs.pop(next(same, ""), None)

    @property
    def runs(self) -> tuple[CellRun, ...]:
        """Return the newest run of each cell, in the order in which they ran; hidden ones left out."""
        found = tuple(self._runs.values())
        return found if self._tells_all else tuple(run for run in found if not self.is_hidden(run))

    @property
    def told_by_number(self) -> dict[int, CellRun]:
        """Return every run by its number, hidden ones left out."""
        found = dict(self.by_number)
        return found if self._tells_all else {number: run for number, run in found.items() if not self.is_hidden(run)}

    @property
    def _tells_all(self) -> bool:
        return not (self.hidden or self.hidden_names)

    def is_hidden(self, run: CellRun) -> bool:
        return self.keeps_out(run.cell, run.source)

    def keeps_out(self, cell: str, source: str) -> bool:
        """Tell whether the person keeps this cell out: itself, or a name that it says."""
        return cell in self.hidden or any(says(source, name) for name in self.hidden_names)

    def of_number(self, number: int) -> CellRun | None:
        """Return the run with this execution count, also one that a later run replaced."""
        found = self.by_number.get(number)
        return None if found is None or self.is_hidden(found) else found

    def of_cell(self, cell: str) -> CellRun | None:
        return self._runs.get(cell)


def says(source: str, name: str) -> bool:
    """Tell whether the name stands in the text as a word."""
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", source) is not None


def is_ours(source: str) -> bool:
    """Tell whether a cell is ours: conversation or set-up, and no context."""
    return (source.lstrip().startswith("%%agent") and bool(AGENT.match(source))) or bool(_OURS.match(source))


def _whole(text: str) -> str:
    """Return the text without half a character (a lone surrogate), which UTF-8 cannot hold: it is written out."""
    return text.encode("utf-8", "backslashreplace").decode()


def cleaned(run: CellRun, scrub: Callable[[str], str], of_output: Callable[[str], str]) -> CellRun:
    """Return the run without secrets."""
    source, outputs = scrub(run.source), tuple(replace(each, text=of_output(each.text)) for each in run.outputs)
    return run if (source, outputs) == (run.source, run.outputs) else replace(run, source=source, outputs=outputs)


def without_values(run: CellRun, said: str) -> CellRun:
    """Return the run with `said` in the place of every output; of an error its type stays."""
    return replace(run, outputs=tuple(replace(each, text=_bare(each, said), name="") for each in run.outputs))


def _bare(output: Output, said: str) -> str:
    kind = re.match(r"[\w.]+(?=:|$)", output.text) if output.kind == "error" else None
    return f"{kind.group()} ({said})" if kind else said
