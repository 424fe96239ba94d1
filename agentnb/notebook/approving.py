"""Ask a person about calls that act, under the cell or in the terminal, and go on.

No click arrives while a cell runs. So a run that needs a person's word is committed and its cell ends. A click journals
the word; the run then goes on in the background, in the same output.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from IPython.display import display

from agentnb.agent.approvals import TERMINAL, Answer, Question, questions_of
from agentnb.agent.request import Limits
from agentnb.agent.run_document import WAITING, AgentRun
from agentnb.errors import ActionUnsure, AgentnbError
from agentnb.notebook.kernel import Notebook, Take, Waiting
from agentnb.notebook.lab.comm import CellMark
from agentnb.notebook.live.buttons import Buttons
from agentnb.notebook.live.dashboard import someone_watches
from agentnb.notebook.live.live_view import View
from agentnb.notebook.loop import Loop, drive, noted
from agentnb.notebook.proposing import offer, with_texts
from agentnb.view.words.run_doc import Doc

if TYPE_CHECKING:
    from agentnb.agent.built_in import BuiltInAgent

RESUME, ASK_AGAIN = "Resume", "Ask again"
UNSURE = {"Run it again": "repeat", "Go on without it": "skip"}
"""A person's word on a call that was cut off, after a look at its effect."""
SETTLING = 0.7
"""Seconds before the buttons of a question that follows another can be pressed. The second half of a double click must
not approve what nobody has read."""


def approval_here(shell: Any, wanted: str) -> str:
    """Return ask or deny: what was set; else ask where somebody is there to answer."""
    return wanted or ("ask" if at_terminal(shell) or someone_watches() else "deny")


def at_terminal(shell: Any) -> bool:
    """Tell whether this is IPython in a terminal, with a person before it."""
    return getattr(shell, "kernel", None) is None and sys.stdin is not None and sys.stdin.isatty()


class Asked:
    """Holds one run under a cell of this kernel, and the questions that it stops at. Used on the main thread only."""

    def __init__(
        self,
        notebook: Notebook,
        run_id: str,
        *,
        view: View,
        finish: Take,
        earlier: Waiting | None = None,
        again: Callable[[BuiltInAgent, str], object] | None = None,
    ) -> None:
        self._notebook = notebook
        self._run_id = run_id
        self._view = view
        self._finish = finish
        self._earlier = earlier  # the same run under another cell: its view must not go on telling that it waits
        self._loop = Loop(notebook.shell) if view.has_widgets else None
        self._buttons = Buttons(display, self._answered, run_id, later=self._loop.later if self._loop else None)
        self._again = again
        self._cell = notebook.whole_cell_id
        self._asks = self._unsure = False

    def place(self) -> None:
        """Make room for the buttons of questions to come: an output can be made only while the cell runs."""
        if self._view.has_widgets:
            self._buttons.place()

    def over(self, run: AgentRun, *, follows: bool = False) -> None:
        """Take note that the run has stopped: show it as it stands, and the buttons where it waits."""
        run = self._finish(run)
        self._view.finish(with_texts(run.receipt, self._notebook.cell_text))
        self._notebook.on_page.ended(self._run_id)
        self.ask(run, follows=follows)
        offer(self._notebook, run, cell=self._cell, running=False)

    def ask(self, run: AgentRun, *, follows: bool = False) -> None:
        """Show the buttons where the run waits, and take away those of before where it does not."""
        if self._earlier is not None:
            self._earlier.settle(run.receipt)
        waits = run.state == WAITING and run.receipt["approvals"]["waiting"]
        offered = list(UNSURE) if self._unsure else [RESUME, *([ASK_AGAIN] if self._again else [])]
        stands = self._unsure or run.receipt["stopped"] is not None
        if self._view.has_widgets and (waits or stands):
            self._asks = True
            self._notebook.asked[self._run_id] = self  # which takes the buttons away once another answers, or it ends
        if waits and self._view.has_widgets:
            self._buttons.insert = self._insert if self._cell and self._notebook.front_end.is_there else None
            self._buttons.ask(run.receipt, enabled=not follows)
            if follows and self._loop is not None:
                self._loop.after(SETTLING, self._buttons.enable)
        elif stands and self._view.has_widgets:
            self._buttons.offer(offered, "")
        elif self._asks:
            self.close("")  # the view above tells what came of it

    def _insert(self, code: str) -> bool:
        """Put proposed code below the cell that asked, as a cell of the person's; whether a page was there."""
        run = self._notebook.session.find_run(self._run_id)
        mark = CellMark(run=run.run_id, model=run.model)
        return self._notebook.front_end.insert_cell(code, below=str(self._cell), mark=mark)

    def close(self, said: str) -> None:
        """Take the buttons away, and say why; nothing to say leaves no line."""
        self._asks = False
        self._notebook.asked.pop(self._run_id, None)
        self._buttons.close(said)

    def show_again(self) -> None:
        """Show again to a page that has come and may not have heard of the buttons."""
        self._buttons.show_again()

    def settle(self, document: Doc) -> None:
        """Show here, too, where the run is that went on under another cell."""
        self._view.replace(document)
        if self._earlier is not None:
            self._earlier.settle(document)

    def _answered(self, said: Any) -> None:
        """Take a click, between cells: words on calls, or what becomes of a run that was stopped."""
        assert self._loop is not None  # there are buttons
        try:
            if isinstance(said, str):
                self._take_up(self._loop, said)
            else:
                self._go_on(self._loop, said)
        except AgentnbError as error:
            self._buttons.tell(str(error))

    def _take_up(self, loop: Loop, said: str) -> None:
        """Go on with the run where it was stopped, or ask anew, in the same output."""
        session = self._notebook.session
        agent = session.agent(on_main=loop.run_here, alone=True)
        if said == ASK_AGAIN and self._again is not None:
            self._run_id = session.new_run_id()
            self._again(agent, self._run_id)
        else:
            agent.resume(self._run_id, Limits(), {"unsure": UNSURE.get(said)})
        self._buttons.close("")
        self._view.reopen(agent.machine.get(self._run_id))
        self._view.paint()
        drive(agent, self._run_id, self._view, loop, end=lambda: self.ended(agent, follows=True))

    def _go_on(self, loop: Loop, answers: list[Answer]) -> None:
        agent = self._notebook.session.agent(on_main=loop.run_here, alone=True)
        counted = agent.answer(self._run_id, answers)
        run = agent.as_it_stands(self._run_id)
        self._notebook.session.allow_always(run.thread, [item.question.tool for item in answers if item.rest])
        if run.state == WAITING:  # others are still open; or this one was answered elsewhere
            self._view.reopen(agent.machine.get(self._run_id))
            self.over(run)
        elif not counted:
            self._view.replace(run.receipt)
            self.close(
                f"Answered elsewhere before this click, which did nothing. %agent_runs show {self._run_id} tells how "
                f"it stands, %agent_runs resume {self._run_id} goes on where nobody works on it."
            )
        else:
            self._buttons.close("")
            self._view.reopen(agent.machine.get(self._run_id))
            self._view.paint()
            drive(agent, self._run_id, self._view, loop, end=lambda: self.ended(agent, follows=True))

    def ended(self, agent: BuiltInAgent, *, follows: bool = False) -> None:
        """Show how the run stands when the agent has left it. A person says of a call that was cut off what it did."""
        self._unsure = isinstance(agent.raised, ActionUnsure)
        self.over(noted(self._notebook.session, agent.as_it_stands(self._run_id), agent.raised), follows=follows)


def ask_in_terminal(document: Doc, *, read: Callable[[str], str] = input) -> list[Answer]:
    """Return a person's words on the calls that wait, which were shown above; fewer where they leave (Ctrl-C,
    Ctrl-D)."""
    answers: list[Answer] = []
    free: set[str] = set()
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        for question in questions_of(document):
            if question.tool not in free:
                answers.append(_ask_one(question, read))
                free |= {question.tool} if answers[-1].rest else set()
    return answers


def _ask_one(question: Question, read: Callable[[str], str]) -> Answer:
    if question.asks:
        return _ask_back(question, read)
    prompt = f"Run {question.number}. {question.tool}? y: yes, a: yes, and for the rest of this run, n [WHY]: no > "
    while True:
        word, _, rest = read(prompt).strip().partition(" ")
        said = word.lower()
        if said in ("y", "yes", "a") and not rest:
            return Answer(question=question, approved=True, by=TERMINAL, rest=said == "a")
        if said in ("n", "no"):
            return Answer(question=question, approved=False, by=TERMINAL, reason=rest)


def _ask_back(question: Question, read: Callable[[str], str]) -> Answer:
    """Return the model's own question: a number takes that choice, anything else is the answer; nothing is none."""
    choices = [str(choice) for choice in question.arguments.get("choices") or ()]
    listed = ", ".join(f"{number}: {choice}" for number, choice in enumerate(choices, 1))
    said = read(f"{question.arguments.get('question')} ({listed}, or in your own words) > ").strip()
    if said.isdecimal() and 0 < int(said) <= len(choices):
        said = choices[int(said) - 1]
    return Answer(question=question, approved=bool(said), by=TERMINAL, reason=said)
