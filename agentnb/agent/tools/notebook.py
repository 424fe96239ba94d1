"""Offer tools on the notebook: look at a name, run code, propose cells, ask the person, keep a plan."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

from agentnb.agent.tools.plan import LONGEST, MOST, PlanItem
from agentnb.agent.tools.proposals import Proposal, text_digest
from agentnb.agent.tools.tool import Outcome
from agentnb.canonical import JsonMapping
from agentnb.models.framing import unframed

MAX_CHOICES = 6
MAX_NAMES = 200
MAX_CELL = 20_000
"""Characters of a proposed cell."""
MAX_SENTENCE = 1_000
"""Characters of what a person reads beside it, or is asked."""
MAX_CHOICE = 100
JOINERS = "\u200c\u200d"
"""They join letters and faces, so texts hold them."""


@dataclass(frozen=True, kw_only=True)
class NotebookTools:
    """Holds the tools over what they need: `look` at a name, `run` or `rehearse` code, `read` a cell. `names` gives
    lines on the names that fit a pattern, and the last one a cell's text by number."""

    look: Callable[[str], Outcome]
    run: Callable[[str], Outcome]
    read: Callable[[int], Outcome]
    names: Callable[[str], list[str]]
    cell_text: Callable[[int], str | None]
    rehearse: Callable[[Sequence[str]], str] = lambda codes: ""

    def inspect(
        self, name: Annotated[str, "The name, dotted where needed, as code in the notebook writes it."]
    ) -> Outcome:
        """Bring one more definition into the conversation: the exact source of a function, class, method or constant of
        the notebook or of a module that it imports, by its name as code would write it (e.g. `clean`, `Model.fit`,
        `nx.Graph.add_edge`). For a variable it gives a short description of its present value. No side effects."""
        return self.look(name)

    def read_cell(self, number: int) -> Outcome:
        """Read a cell at length, by its number."""
        return self.read(number)

    def variables(self, pattern: Annotated[str, "As a shell has it, e.g. `df*`; default: all."] = "*") -> Outcome:
        """List the notebook's names that hold something now: type, and shape or length. No side effects."""
        found = self.names(pattern)
        more = [f"… and {len(found) - MAX_NAMES:,} more; ask with a pattern."] if len(found) > MAX_NAMES else []
        return Outcome(text=unframed("\n".join([*found[:MAX_NAMES], *more])) or "No name.")

    def run_code(self, code: Annotated[str, "Python source; the last expression's value is returned."]) -> Outcome:
        """Run Python in the person's kernel, with their variables, and get what was printed and the value of the last
        expression. Keep it short and prefer reading to writing. Runs only if the person allowed it."""
        return self.run(code)

    def rehearse_code(self, calls: Sequence[JsonMapping]) -> str:
        """Return what the last of these calls would do after the others."""
        return self.rehearse([str(call["code"]) for call in calls])

    def propose_cell(
        self,
        source: Annotated[str, "The whole cell, Python as the notebook runs it."],
        why: Annotated[str, "One sentence for the person."],
        replaces: Annotated[int, "The number of the cell whose place it takes; 0: a new cell."] = 0,
    ) -> Outcome:
        """Propose a cell for the notebook: the person sees it (as a difference where it replaces a cell), and inserts
        or rejects it. It does not run. Prefer it to code in the answer; propose several cells by several calls."""
        before = self.cell_text(replaces) if replaces else None
        made = Proposal(
            source=source.replace("\r\n", "\n").strip("\n"),
            why=why.strip(),
            replaces=replaces,
            digest="" if before is None else text_digest(before),
        )
        what = f"in the place of cell {replaces}" if replaces else "as a new cell"
        return Outcome(text=f"Shown to the person {what}. Nothing has run, and nothing is inserted yet.", proposes=made)

    def proposal_trouble(self, source: str, why: str, replaces: int = 0) -> str:
        """Tell why a proposal cannot be shown; an empty text where it can."""
        if not source.strip():
            return "The cell is empty."
        if len(why) > MAX_SENTENCE:
            return f"`why` has {len(why):,} characters; say it in one sentence."
        source = source.replace("\r\n", "\n")
        if len(source) > MAX_CELL:
            return f"The cell has {len(source):,} characters; at most {MAX_CELL:,} are shown. Propose several cells."
        if replaces and self.cell_text(replaces) is None:
            return f"No cell has run as number {replaces}. Leave `replaces` out for a new cell."
        unseen = next((character for character in source if _is_unseen(character)), "")
        return f"The cell holds U+{ord(unseen):04X}, which nobody sees. Write it as an escape." if unseen else ""

    def ask_user(
        self,
        question: Annotated[str, "One short question."],
        choices: Annotated[list[str], "Likely answers, at most six; the person may write another."],
    ) -> Outcome:
        """Ask the person, who sees the choices as buttons, and wait for the answer. Only where the work depends on it
        and neither the notebook nor a tool can tell."""
        raise AssertionError("a person's word is the result of this tool; it is never carried out")

    def question_trouble(self, question: str, choices: list[str]) -> str:
        """Tell why a question cannot be asked; an empty text where it can."""
        if not question.strip():
            return "The question is empty."
        if len(question) > MAX_SENTENCE:
            return f"The question has {len(question):,} characters; ask in at most {MAX_SENTENCE:,}."
        short = len(choices) <= MAX_CHOICES and len(set(choices)) == len(choices)
        if not short or not all(choice.strip() and len(choice) <= MAX_CHOICE for choice in choices):
            return f"Give at most {MAX_CHOICES} choices, each of 1 to {MAX_CHOICE} characters and none twice."
        return ""

    def plan(self, items: list[PlanItem]) -> Outcome:
        """Keep a list of this task's steps: the person sees it, and you are reminded of it. For work of many steps
        alone. Give the whole list each time that a step begins or is done."""
        done = sum(item.state == "done" for item in items)
        return Outcome(text=f"Kept: {done} of {len(items)} done.", plan=tuple(items))

    def plan_trouble(self, items: list[PlanItem]) -> str:
        """Say why a plan cannot be kept; an empty text where it can."""
        short = all(item.text.strip() and len(item.text) <= LONGEST for item in items)
        fits = short and len(items) <= MOST
        return "" if fits else f"Give at most {MOST} steps, each with a text of at most {LONGEST} characters."

    def delegate(
        self,
        task: Annotated[str, "Whole in itself: the other agent may see nothing of this conversation."],
        tools: Annotated[
            list[str] | None, "Those of your tools that it may use; default: all that it can have."
        ] = None,
    ) -> Outcome:
        """Give a part of the task to another agent and get its answer. Several calls in one reply run side by side:
        for parts that do not need each other. Name the definitions that it needs in backticks."""
        raise AssertionError("a child's run is the result of this tool; it is never carried out here")

    def delegate_trouble(self, task: str, tools: list[str] | None = None) -> str:
        """Say why a part cannot be delegated; an empty text where it can."""
        return "" if task.strip() else "The task is empty."


def _is_unseen(character: str) -> bool:
    """Tell whether a character of code shows nothing, or turns the letters around it."""
    return unicodedata.category(character) in ("Cc", "Cf", "Cs") and character not in "\n\t" + JOINERS
