"""Choose what the notebook itself adds to a turn: cells with outputs, an outline of others, the names. Pure but for
looking at live names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from agentnb.agent.scrubber import Scrubber
from agentnb.canonical import JsonMapping, JsonObject, digest
from agentnb.context.cell_selection import CellChoice, HeldCell, Picked, choose
from agentnb.context.notebook.basis import content_of
from agentnb.context.notebook.cell_runs import CellLog, CellRun, cleaned, without_values
from agentnb.context.notebook.cell_text import FORMS, OUTLINE, WHOLE, cell_body, cell_element, is_entire
from agentnb.context.notebook.missing import cells_to_run, what_is_missing, what_to_run
from agentnb.context.notebook.namespace import MOST, NameLine, names_of, names_text
from agentnb.context.notebook.notebook_text import CHANGES, HEADING, KEYS, TEXT, NotebookText, parts_of
from agentnb.context.notebook.outputs import steady
from agentnb.context.notebook.pointing import pointed, pointed_words
from agentnb.context.notebook.schema_only import WITHHELD
from agentnb.context.question_words import CellQuestion
from agentnb.prompt.project_parts import HeldParts

CELL, NAME = "cell:", "name:"
"""Prefixes of the names of what a thread holds: of cells, and of lines in the list of names."""

NO_FIGURE = "No cell that ran in this kernel has shown a figure."
NO_PLACE = "The notebook's page is not known here: the order in which cells ran tells what is above."
TEXT_SHARE = 4
"""Markdown and cells that have not run get the fourth part of `context_tokens` at most."""
DEFINITIONS = 4
"""Definitions get the fourth part of `context_tokens` at most, and of that what the cells leave."""


def room_for_definitions(context_tokens: int) -> int:
    """Return the tokens of definitions that a turn may add."""
    return context_tokens // DEFINITIONS


@dataclass(frozen=True, kw_only=True)
class Additions:
    """Holds what a turn adds of the notebook: texts with entries of what they hold, and names that matter."""

    texts: tuple[str, ...] = ()
    holds: tuple[JsonMapping, ...] = ()
    names: tuple[str, ...] = ()
    involved: frozenset[str] = frozenset()
    about_last: bool = True
    """The last cell may be meant: it is involved, or no cell is."""
    used: tuple[str, ...] = ()
    """Names that the involved cells use."""
    meant: str = ""
    """The cells that the task points at by their place, in a sentence for the model."""
    notes: tuple[str, ...] = ()
    tokens: int = 0


@dataclass(frozen=True, kw_only=True)
class NotebookContext:
    """Holds the cells that ran in this kernel, and the names that they bound."""

    log: CellLog
    namespace: JsonMapping
    bound: Callable[[], Iterable[str]]
    scrub: Scrubber
    schema_only: bool = False
    text: NotebookText | None = None
    asking: str = ""

    def question(self, task: str, earlier: tuple[str, ...]) -> CellQuestion:
        """Return the task with its place, where known: the cells by their order in the notebook, and the one above."""
        if self.text is None:
            return CellQuestion(task=task, earlier=earlier)
        runs = {run.cell: run for run in self.log.runs}
        placed = tuple(runs[cell.cell] for cell in self.text.cells if cell.cell in runs)
        over = [runs[cell.cell] for cell in self.text.above(self.asking) if cell.cell in runs]
        above = over[-1] if over and self.text.places(self.asking, self.log.runs) else None
        return CellQuestion(task=task, earlier=earlier, placed=placed, above=above)

    def figure_cells(self, task: str) -> list[CellRun]:
        """Return the cells with figures that the task points at."""
        place = self.question(task, ())
        runs, known = self.log.runs, self.log.told_by_number
        means = pointed(task, runs, by_number=known, placed=place.placed, above=place.above)
        return [run for run, _ in means.cells if run.has("figure")]

    def additions(
        self,
        question: CellQuestion,
        held: HeldParts,
        *,
        count: Callable[[str], int],
        budget: int,
        lines: Sequence[NameLine] | None = None,
    ) -> Additions:
        """Return what the thread lacks of the notebook for this question; `lines` are its names, where just looked
        at."""
        runs = self.log.runs
        names, entries = self._names(held, count, self.lines() if lines is None else lines)
        written, parts = self._written(question.task, held, count, budget // TEXT_SHARE)
        changes = [text for text, part in zip(written, parts, strict=True) if part["name"].startswith(CHANGES)]
        choice = choose(
            question,
            runs,
            held=self._held_cells(held),
            by_number=self.log.told_by_number,
            count=count,
            budget=budget,
            beside=sum(entry["tokens"] for entry in (*entries, *parts)),
            clean=self.clean,
        )
        written = [text for text in written if text not in changes]
        framed = [item.text for item in choice.picked if not item.listed]
        texts = [names, *written, choice.outline_text, *framed, *changes]
        picked = (self._entry(item) for item in choice.picked if not item.older)
        holds = [*entries, *parts, *self._outlined(choice), *picked]
        return Additions(
            texts=tuple(text for text in texts if text),
            holds=tuple(holds),
            names=choice.names,
            involved=choice.involved,
            about_last=not (runs and choice.involved) or runs[-1].cell in choice.involved,
            used=tuple(dict.fromkeys(name for run in runs if run.cell in choice.involved for name in run.references)),
            meant=pointed_words(question.task, choice.pointed, runs),
            notes=(
                *((NO_PLACE,) if choice.pointed.above and question.above is None and len(runs) > 1 else ()),
                *((NO_FIGURE,) if choice.pointed.no_figure else ()),
            ),
            tokens=choice.tokens,
        )

    def missing(self, task: str) -> str:
        """Return what the task points at and is not there, in a sentence."""
        known, names = self.log.by_number, self.namespace.keys()
        return what_is_missing(task, self.log.runs, by_number=known, text=self.text, asking=self.asking, names=names)

    def _text_sent(self) -> NotebookText | None:
        """Return the notebook's text without what the person keeps out."""
        return self.text.without(self.log.keeps_out, asking=self.asking) if self.text is not None else None

    def to_run(self) -> tuple[str, list[str]]:
        """Return the cells to run first, in a sentence, and their ids."""
        cells = cells_to_run(self._text_sent(), self.log.runs, asking=self.asking)
        return self.scrub(what_to_run(cells)), [cell.cell for cell in cells]

    def clean(self, run: CellRun) -> CellRun:
        told = without_values(run, WITHHELD) if self.schema_only else run
        return cleaned(told, self.scrub, self.scrub.of_output)

    def digests(self, held: HeldParts, lines: Iterable[NameLine]) -> dict[str, str]:
        """Return the digests of held cells and names as they are now: their own where nothing of them changed."""
        now = {line.key: line.digest for line in lines}
        found = {}
        for name, item in held.items():
            if name.startswith(CELL):
                run = self.log.of_cell(name.removeprefix(CELL))
                same = run is None or (item["run"] == self._run_id(run))
                found[name] = str(item["digest"]) if same else "ran again"
            elif name.startswith(KEYS):
                found[name] = str(item["digest"])
            elif name.startswith(NAME):
                found[name] = now.get(name, str(item["digest"]))
        return found

    def cells_told(self, held: HeldParts, holds: Iterable[JsonMapping]) -> set[str]:
        """Return the cells whose present source the thread has, counting what is added now."""
        known = {str(item["cell"]): item for item in [*held.values(), *holds] if str(item["name"]).startswith(CELL)}
        return {
            cell
            for cell, item in known.items()
            if item.get("entire") and (run := self.log.of_cell(cell)) is not None and item["run"] == self._run_id(run)
        }

    def read(self, number: int, count: Callable[[str], int]) -> tuple[str, tuple[JsonMapping, ...]]:
        """Return a cell at length by its number, for the model; an empty text where there is none."""
        found = self.log.of_number(number)
        if found is None:
            return "", ()
        run = self.clean(found)
        text = cell_element(run, cell_body(run, WHOLE))
        if self.log.of_cell(run.cell) is not found:  # an older run: it takes no present one's place
            return text, ()
        body = digest(steady(cell_body(run, WHOLE)))
        picked = Picked(run=run, form=WHOLE, reason="read by the model", text=text, tokens=count(text), body=body)
        return text, (self._entry(picked),)

    def _run_id(self, run: CellRun) -> str:
        return f"{self.log.session}:{run.number}"

    def _held_cells(self, held: HeldParts) -> dict[str, HeldCell]:
        found = {}
        for name, item in held.items():
            if not name.startswith(CELL):
                continue
            session, _, number = str(item["run"]).rpartition(":")
            # Any run of this kernel replaces what ran in an earlier one.
            there = int(number) if session == self.log.session else 0
            found[name.removeprefix(CELL)] = HeldCell(number=there, form=str(item["form"]), body=str(item["body"]))
        return found

    def _entry(self, item: Picked) -> JsonObject:
        return self._cell_entry(item.run, item.form.name, item.body, item.text, item.tokens, item.reason)

    def _cell_entry(self, run: CellRun, form: str, body: str, text: str, tokens: int, reason: str) -> JsonObject:
        return {
            "name": run.key,
            "cell": run.cell,
            "execution_count": run.number,
            "version": run.version,
            "run": self._run_id(run),
            "form": form,
            "body": body,
            "content": content_of(run),
            "session": self.log.session,
            "entire": is_entire(run, FORMS[form]),
            "digest": digest(text),
            "tokens": tokens,
            "reason": reason,
        }

    def _outlined(self, choice: CellChoice) -> list[JsonObject]:
        each = choice.outline_tokens // max(1, len(choice.outlined))
        why = "not needed by the question; its line stands in the outline"
        return [self._cell_entry(run, OUTLINE.name, "", choice.outline_text, each, why) for run in choice.outlined]

    def _written(
        self, task: str, held: HeldParts, count: Callable[[str], int], room: int
    ) -> tuple[list[str], list[JsonObject]]:
        """Return what the thread lacks of the notebook's own text, up to `room` tokens."""
        texts: list[str] = []
        entries: list[JsonObject] = []
        text = self._text_sent()
        parts = parts_of(text, self.log.runs, asking=self.asking, task=task) if text is not None else ()
        for part in parts:
            whole = part.key.replace(HEADING, TEXT, 1)  # a cell that was told whole needs no heading
            new = held.get(part.key, {}).get("digest") != part.digest and (part.key == whole or whole not in held)
            told = self.scrub(part.text) if new else ""
            tokens = count(told) if new else 0
            if new and tokens <= room:
                room -= tokens
                texts.append(told)
                entry = {"name": part.key, "digest": part.digest, "form": "text", "tokens": tokens, "reason": ""}
                entries.append(entry)
        undone = held.keys() - {part.key for part in parts} if text is not None and text.live else ()
        for key in sorted(key for key in undone if key.startswith(CHANGES) and held[key]["digest"]):
            run = self.log.of_cell(key.partition(":")[2])
            if run is not None:
                texts.append(cell_element(run, "", state="is in the notebook as it ran"))
                entries.append({"name": key, "digest": "", "form": "text", "tokens": count(texts[-1]), "reason": ""})
        return texts, entries

    def lines(self) -> tuple[NameLine, ...]:
        """Return a line on each of the names as they are now."""
        return names_of(self.namespace, self.bound())

    def _names(
        self, held: HeldParts, count: Callable[[str], int], lines: Sequence[NameLine]
    ) -> tuple[str, list[JsonObject]]:
        """Return the lines that the thread lacks of the list of names."""
        known = {name: item for name, item in held.items() if name.startswith(NAME)}
        new = [line for line in lines if known.get(line.key, {}).get("digest") != line.digest]
        listed = {line.key for line in lines}
        gone = [name.removeprefix(NAME) for name in known if name not in listed]
        gone = [name for name in gone if name not in self.namespace and self.log.runs]
        if not new and not gone:
            return "", []
        more = len([name for name in self.bound() if name in self.namespace]) - MOST
        text = names_text(new, gone, renewed=bool(known), more=more, scrub=self.scrub)
        entries: list[JsonObject] = [
            {"name": line.key, "digest": line.digest, "form": "name", "tokens": count(line.text), "reason": "a name"}
            for line in new
        ]
        entries += [
            {"name": f"{NAME}{name}", "digest": "", "form": "removed", "tokens": 0, "reason": ""} for name in gone
        ]
        return text, entries


def cell_entries(
    held: HeldParts, new: Iterable[JsonMapping], involved: AbstractSet[str] = frozenset()
) -> tuple[JsonObject, ...]:
    """Return the receipt's list of cells: each that the context holds, in the order in which they ran."""
    fresh = {(str(item["name"]), str(item["run"])) for item in new if str(item["name"]).startswith(CELL)}
    cells = [item for name, item in held.items() if name.startswith(CELL)]
    out = []
    for item in sorted(cells, key=lambda item: int(str(item["execution_count"]))):
        is_new = (str(item["name"]), str(item["run"])) in fresh
        reason = str(item["reason"]) if is_new else f"{item['reason']} (earlier turn)"
        shown = ("cell", "execution_count", "version", "digest", "tokens", "form", "content", "session")
        more = {"reason": reason, "new": is_new, "involved": item["cell"] in involved}
        out.append({name: item[name] for name in shown} | more)
    return tuple(out)
