"""Carry out one use of %agent or %%agent: from flags to a request, a run, its view and `_agent`."""

from __future__ import annotations

import keyword
import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from IPython.display import display

from agentnb.agent.run_document import WAITING, AgentRun, with_note
from agentnb.agent.state import AgentState
from agentnb.canonical import JsonObject
from agentnb.errors import InputError, RunInterrupted, Stopped, terminal_width
from agentnb.models import catalog
from agentnb.models.messages import Content, Role
from agentnb.notebook import flags
from agentnb.notebook.approving import Asked, approval_here, ask_in_terminal, at_terminal
from agentnb.notebook.hooks.failed_cell import PROPOSES
from agentnb.notebook.interrupts import Held, before_the_run
from agentnb.notebook.kernel import RESULT, Notebook, Result, Take
from agentnb.notebook.live.live_view import View
from agentnb.notebook.live.value_view import show_value
from agentnb.notebook.loop import Loop, drive, noted
from agentnb.notebook.machines import run_machine
from agentnb.notebook.main_thread import MainThread
from agentnb.notebook.proposing import offer, offer_again, with_texts
from agentnb.view.number_format import time_and_day
from agentnb.view.render import bundle
from agentnb.view.style import WIDTH
from agentnb.view.words.run_words import with_cell_numbers

if TYPE_CHECKING:
    from agentnb.agent.built_in import BuiltInAgent
    from agentnb.agent.request import Request
    from agentnb.agent.tools.typed_answer import TypedAnswer
    from agentnb.session.session import Session

GO_ON = "%agent_runs resume goes on from there; running the cell again asks anew."
KEPT = (
    "Kept from {when}: the question and what it used are the same, so nothing was asked. "
    '%config AgentNB.rerun = "ask" asks each time.'
)
_TAKEN = frozenset({RESULT, "In", "Out", "get_ipython"})


class AgentCall:
    """Holds one use of %agent or %%agent: flags to request, run, view, result."""

    def __init__(self, notebook: Notebook, given: dict[str, str | bool], *, about_failure: bool = False) -> None:
        self._notebook = notebook
        self._given = given
        self._about_failure = about_failure
        self._session = notebook.session
        self._typed = self._typed_answer()
        self._out = str(given.get("out") or "")
        self._result = Result(notebook.shell.user_ns, self._out, self._typed)
        self._result.is_later = bool(given.get("bg"))

    def run(self, task: str) -> None:
        """Carry the task out and show it. `_agent` is set before a failure is raised."""
        if "machine" in self._given:
            most = flags.options_given(self._given).get("max_steps")
            named = str(self._given["machine"])
            run_machine(self._notebook, named, task, max_steps=most, finish=self._result)
            return
        with before_the_run():
            self._notebook.observe(failed=self._about_failure)
            request = self._request(task)
            self._warn(request)
            run_id = self._session.new_run_id()
            if self._given.get("dry-run"):
                self._finish(self._session.agent().dry_run(request, run_id))
                return
            kept = self._kept(request)
            if kept is None:
                flags.check_key(self._given, self._session.settings)
        if kept is not None:
            self._show_kept(kept)
        else:
            self._ask(request, run_id)
        is_later = kept is None and bool(self._given.get("bg"))
        if self._typed is not None and self._result.is_over and not is_later:
            show_value(self._out, self._typed.value())

    def _ask(self, request: Request, run_id: str) -> None:
        start = begin_run if self._given.get("bg") else show_run
        if self._out:
            self._notebook.outs[run_id] = (self._out, self._typed)
        try:
            start(
                self._notebook,
                prepare=lambda agent: agent.begin(request, run_id),
                run_id=run_id,
                finish=self._result,
                again=lambda agent, new: agent.begin(replace(request, execution=f"{request.execution}/{new}"), new),
            )
        finally:
            self._result.is_later = True

    def _typed_answer(self) -> TypedAnswer | None:
        """Return what takes the value of `--as`; None where the answer is text."""
        if "as" not in self._given:
            return None
        from agentnb.agent.tools.typed_answer import TypedAnswer

        if "out" not in self._given:
            raise InputError(
                "--as wants --out, the variable for the value", todo="Write e.g. --out rows --as list[Row]."
            )
        made = TypedAnswer(str(self._given["as"]), self._notebook.shell.user_ns)
        self._session.answer = made
        return made

    def _kept(self, request: Request) -> AgentRun | None:
        """Return the cell's answer of before, where it asks the same in the same way of what has not changed."""
        session, notebook = self._session, self._notebook
        is_pressed = notebook.whole_cell_id in notebook.to_ask_again
        notebook.to_ask_again.discard(str(notebook.whole_cell_id))
        if is_pressed or session.settings.rerun == "ask" or "thread" in self._given:
            return None
        found = session.agent().kept(request)
        if found is None or (self._typed is not None and not self._typed.came_before(_said_in(session, found.run_id))):
            return None
        if found.tags["thread"] != session.thread:  # after a restart the conversation goes on where the answer stands
            session.begin_thread(found.tags["thread"])
        return session.find_run(found.run_id)

    def _show_kept(self, run: AgentRun) -> None:
        """Show an answer that was kept. On a page that has our extension, a button below it asks again."""
        notebook, cell = self._notebook, self._notebook.whole_cell_id
        self._result.is_later = False
        run = self._result(with_note(run, KEPT.format(when=_asked_at(run, self._session.clock.now()))))
        shown = with_cell_numbers(with_texts(run.receipt, notebook.cell_text), self._session.cells.numbers)
        display(bundle(dict(shown) | {"kept": True}, full=notebook.full_view, width=terminal_width(WIDTH)), raw=True)
        offer_again(notebook, run, cell=cell)
        if cell is not None:
            notebook.front_end.offer_run([cell], below=cell)

    def _warn(self, request: Request) -> None:
        """Warn before anything is paid that the task points at what is not there. Asked again, it is asked all the
        same."""
        asked = (request.cell, request.task)
        if request.context not in ("auto", "cells") or asked == self._notebook.warned or request.origin is not None:
            return
        notebook = self._session.hydrator().notebook
        missing = notebook.missing(request.task)
        if missing:
            self._notebook.warned = asked
            told, cells = notebook.to_run()
            there = " The button below runs them." if self._notebook.offer_run(cells) else ""
            raise InputError(
                f"{missing}; nothing was asked", todo=f"{told}{there} Run this cell again to ask all the same."
            )

    def _request(self, task: str) -> Request:
        given = self._given
        thread = given.get("thread")
        if thread == "new":
            thread = f"session-{secrets.token_hex(4)}"
            self._session.begin_thread(thread)
            self._session.servers.list_anew()
        self._check_out()
        origin = self._session.origin(str(given["from"])) if "from" in given else None
        if origin is not None and thread is None:
            thread = self._session.find_run(origin[0]).thread
        options = flags.options_given(given)
        if given.get("fix"):
            options["tools"] = tuple(dict.fromkeys([*options.get("tools", self._session.settings.tools), PROPOSES]))
        schema = self._schema(options.get("model"))
        if self._typed is not None and schema is None:
            from agentnb.agent.tools.typed_answer import ASKED, NAME

            task = f"{task}\n\n{ASKED}"
            options["tools"] = (*options.get("tools", self._session.settings.tools), NAME)
        approval = approval_here(self._notebook.shell, self._session.settings.approval)
        return self._session.request(
            task,
            thread=thread,
            **(options | {"approval": approval}),
            origin=origin,
            schema=schema,
            cell=self._notebook.cell_id,
            execution=self._notebook.execution,
            tags={"notebook": self._notebook.name} if self._notebook.name else {},
        )

    def _schema(self, model: str | None) -> JsonObject | None:
        """Return the schema by which the model is asked for the value. None where text or a tool brings the answer."""
        takes = self._typed is not None and catalog.lookup(self._session.model_name(model)).structured
        return self._typed.schema if takes and self._typed is not None else None

    def _check_out(self) -> None:
        name = self._given.get("out")
        if name is None:
            return
        if not str(name).isidentifier() or keyword.iskeyword(str(name)):
            raise InputError(f"--out wants a variable's name, not {name!r}", todo="Write e.g. --out answer.")
        if name in _TAKEN:
            raise InputError(
                f"--out cannot be {name!r}: IPython or agentnb keeps its own there", todo="Choose another name."
            )

    def _finish(self, run: AgentRun) -> None:
        self._result(run)
        shown = with_cell_numbers(run.receipt, self._session.cells.numbers)
        display(bundle(shown, full=self._notebook.full_view, width=terminal_width(WIDTH)), raw=True)


def _said_in(session: Session, run_id: str) -> list[Content]:
    """Return what the model said and called in a run."""
    blocks = AgentState.from_json(session.machine().get(run_id).context).blocks
    return [block.content for block in blocks if block.role is Role.ASSISTANT]


def _asked_at(run: AgentRun, now: float) -> str:
    return time_and_day(run.receipt["steps"][0]["at"], now) if run.receipt["steps"] else "an earlier time"


def show_run(
    notebook: Notebook,
    *,
    prepare: Callable[[BuiltInAgent], object],
    run_id: str,
    finish: Take,
    again: Callable[[BuiltInAgent, str], object] | None = None,
    since: float | None = None,
) -> None:
    """Drive one run from the main thread with its live view; then `finish`, then raise what the run raised.

    `since` is when the person asked, by the session's clock; None: when this cell began.
    Where it stops at a question, ask: in a terminal at once, else with buttons that outlive the cell. Where a person
    stops it, buttons resume it, or ask `again` under a new run's id.
    """
    session = notebook.session
    main = MainThread(cancel=session.cancel)
    with before_the_run():
        agent = session.agent(on_main=main.run_here)
        prepare(agent)
        machine, earlier = agent.machine, notebook.asked.get(run_id)
        if earlier is not None:
            earlier.close("It went on in another cell.")

    def hear(event: Any) -> None:
        view.feed(event)
        main.touch()

    with Held() as opening:  # an interrupt must not leave a view that nothing finishes
        view = View(notebook, agent.machine.get(run_id), since=notebook.asked_at if since is None else since)
        stop = machine.events.subscribe(hear, run_id=run_id)
        notebook.on_page.began(run_id, notebook.whole_cell_id)
    try:
        if opening.interrupted:
            raise KeyboardInterrupt
        main.serve(lambda: agent.drive(run_id), paint=view.paint)
    except (KeyboardInterrupt, RunInterrupted):
        agent.raised = RunInterrupted("stopped")  # what is said of it is known below
    finally:
        with Held() as held:  # a second interrupt must not leave half a picture and no `_agent`
            stop()
            run = finish(noted(session, agent.as_it_stands(run_id)))
            shown = with_texts(run.receipt, notebook.cell_text)
            view.finish(shown, error_follows=agent.raised is not None or main.interrupted)
            notebook.on_page.ended(run_id)
            notebook.stale_marks.shown(run, view.replace)
            Asked(notebook, run_id, view=view, finish=finish, earlier=earlier, again=again).ask(run)
            offer(notebook, run, cell=notebook.whole_cell_id, running=True)
    if isinstance(agent.raised, RunInterrupted):
        raise Stopped("Stopped by you", todo=GO_ON) from None
    if agent.raised is not None:
        raise agent.raised
    if held.interrupted:
        raise RunInterrupted(f"interrupted after run {run_id} had ended; its outcome is in `_agent`")
    if run.state == WAITING and at_terminal(notebook.shell):
        answers = ask_in_terminal(run.receipt)
        if answers:
            show_run(
                notebook,
                prepare=lambda agent: agent.answer(run_id, answers),
                run_id=run_id,
                finish=finish,
                since=session.clock.monotonic() - view.spent,
            )


def begin_run(
    notebook: Notebook,
    *,
    prepare: Callable[[BuiltInAgent], object],
    run_id: str,
    finish: Take,
    again: Callable[[BuiltInAgent, str], object] | None = None,
) -> None:
    """Begin a run in the background and come back at once; its view goes on under the cell.

    The agent works in a thread. The kernel's own loop paints the view, and runs there what must run on the main thread.
    So a long cell holds such a tool back until it ends. `%agent_runs pause RUN` stops it between two steps.
    """
    session = notebook.session
    loop = Loop(notebook.shell)
    agent = session.agent(on_main=loop.run_here, alone=True)
    prepare(agent)
    # The notebook is read now, while no cell runs; the thread only asks and acts.
    agent.machine.execute_step(run_id)
    view = View(notebook, agent.machine.get(run_id), since=notebook.asked_at)
    view.begin()
    view.paint()
    notebook.on_page.began(run_id, notebook.whole_cell_id)
    asked = Asked(notebook, run_id, view=view, finish=finish, again=again)
    if agent.may_ask(run_id):
        asked.place()
    drive(agent, run_id, view, loop, end=lambda: asked.ended(agent))
