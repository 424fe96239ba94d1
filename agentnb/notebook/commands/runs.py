"""Do what %agent_runs does. Each subcommand shows one table or one run."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from IPython.display import display

from agentnb.agent.approvals import AWAITING_APPROVAL, COMMAND, Answer, Question, shown_digest
from agentnb.agent.request import Limits
from agentnb.agent.run_document import state_of
from agentnb.agent.tools.running.names import listed
from agentnb.agent.tools.running.undo import STAYS
from agentnb.durable.journal import records
from agentnb.durable.machine import Replay
from agentnb.errors import InputError, terminal_width
from agentnb.notebook import flags
from agentnb.notebook.commands.run_list import list_runs
from agentnb.notebook.commands.subcommands import dispatch, show_table
from agentnb.notebook.flags import ANSWER_FLAGS, RESUME_FLAGS
from agentnb.notebook.kernel import RESULT, Notebook, Result
from agentnb.notebook.run_task import show_run
from agentnb.view.exact_text import exact
from agentnb.view.number_format import plural
from agentnb.view.tables import Code
from agentnb.view.words.run_doc import state_word

if TYPE_CHECKING:
    from agentnb.agent.built_in import BuiltInAgent
    from agentnb.session import Session


def agent_runs(notebook: Notebook, line: str) -> None:
    """list | show | watch | resume | approve | deny | answer | undo | pause | fork | replay | export"""
    session = notebook.session
    table: dict[str, Callable[[str], None]] = {
        "list": lambda rest: list_runs(notebook, rest),
        "show": lambda rest: _show(session, rest),
        "watch": lambda rest: _watch(notebook, rest),
        "resume": lambda rest: _resume(notebook, rest),
        "approve": lambda rest: _answer(notebook, rest, approved=True),
        "deny": lambda rest: _answer(notebook, rest, approved=False),
        "answer": lambda rest: _answer(notebook, rest, approved=True, asked=True),
        "undo": lambda rest: _undo(session, rest),
        "pause": lambda rest: _pause(session, rest),
        "fork": lambda rest: _fork(session, rest),
        "replay": lambda rest: _replay(session, rest),
        "export": lambda rest: _export(session, rest),
    }
    dispatch("agent_runs", table, line)


def _show(session: Session, rest: str) -> None:
    """Show a run with all its panels; --all: with all its steps too, which a notebook does not keep."""
    from agentnb.view.render import bundle, whole
    from agentnb.view.style import WIDTH

    words = [word for word in rest.split() if word != "--all"]
    receipt = session.find_run(_one_run(session, " ".join(words))).receipt
    width = terminal_width(WIDTH)
    everything = "--all" in rest.split()
    display(whole(receipt, width=width) if everything else bundle(receipt, full=True, width=width), raw=True)


def _watch(notebook: Notebook, rest: str) -> None:
    """Show a run that goes on elsewhere, until it stops."""
    from agentnb.notebook.commands.watch import RunWatch

    session = notebook.session
    notebook.shell.user_ns[RESULT] = RunWatch(notebook, session.full_run_id(_one_run(session, rest))).watch()


def _one_run(session: Session, rest: str) -> str:
    """Return the run that was named, or the newest one."""
    if rest:
        return rest.split()[0]
    newest = session.runs(1)
    if not newest:
        raise InputError("the journal holds no run yet", todo="Run %%agent first.")
    return newest[0].run_id


def _resume(notebook: Notebook, rest: str) -> None:
    """Go on with a paused or failed run from its last committed step."""
    session = notebook.session
    word, _, line = ("", "", rest) if rest.startswith("-") else rest.partition(" ")
    given, words = flags.split_line(line, RESUME_FLAGS)
    if words:
        raise InputError(
            "%agent_runs resume wants one run", todo="Write e.g. %agent_runs resume r-20260101-120000-ab12"
        )
    run_id = session.full_run_id(word) if word else _last_stopped(session)
    limits = Limits(**flags.options_given(given))
    if limits.model:
        limits = replace(limits, model=session.model_name(limits.model))
    finish = Result(notebook.shell.user_ns, *notebook.outs.get(run_id, ()))
    show_run(notebook, prepare=lambda agent: agent.resume(run_id, limits, given), run_id=run_id, finish=finish)


def _last_stopped(session: Session) -> str:
    """Return the newest run that was stopped or that failed: what `resume` alone means."""
    found = session.runs(200)
    stopped = (run.run_id for run in found if run.status == records.PAUSED or run.failed_in)
    if (run_id := next(stopped, None)) is None:
        raise InputError("no run was stopped, and none has failed", todo="%agent_runs list shows how they stand.")
    return str(run_id)


def _answer(notebook: Notebook, rest: str, *, approved: bool, asked: bool = False) -> None:
    """Take a person's word on the calls that a run waits with; the run then goes on under this cell.

    `asked`: on the model's own questions, which approving says nothing to.
    """
    command = "answer" if asked else "approve" if approved else "deny"
    word, _, line = rest.partition(" ")
    run_id = notebook.session.full_run_id(_wanted_run(word, command))
    given, words = flags.split_line(line, ANSWER_FLAGS)
    if asked and not words:
        raise InputError("%agent_runs answer wants the answer", todo="Write e.g. %agent_runs answer RUN the first one")
    if approved and words and not asked:
        raise InputError(f"%agent_runs approve takes no words, and {words!r} is none of its flags", todo=_LIKE)
    chosen = calls_meant(notebook.session, run_id, flags.count(given, "call"))
    if approved:
        chosen = [item for item in chosen if item.asks == asked]
    if not chosen:
        todo = "%agent_runs approve lets calls run, %agent_runs answer RUN WORDS answers a question."
        raise InputError(f"%agent_runs {command} fits no call that waits", about=run_id, todo=todo)
    if approved and not asked:
        _check_shown(notebook.session, run_id, str(given.get("digest", "")))
    always = bool(given.get("rest"))
    answers = [Answer(question=item, approved=approved, by=COMMAND, rest=always, reason=words) for item in chosen]
    finish = Result(notebook.shell.user_ns, *notebook.outs.get(run_id, ()))
    show_run(notebook, prepare=lambda agent: _give(agent, run_id, answers), run_id=run_id, finish=finish)


_LIKE = "e.g. %agent_runs approve RUN --digest HEX --call 1 --rest, or %agent_runs deny RUN WHY"


def _check_shown(session: Session, run_id: str, digest: str) -> None:
    """Check that an approval is of what was shown. Where it names no digest, or another one, the calls are shown and
    none runs."""
    wanted = shown_digest(calls_meant(session, run_id, None))
    if digest != wanted:
        _show(session, run_id)
        what = "other calls wait by now" if digest else "an approval names what was shown"
        todo = f"Read it above; then %agent_runs approve {run_id} --digest {wanted}"
        raise InputError(f"{what}; nothing was approved", about=run_id, todo=todo)


def calls_meant(session: Session, run_id: str, number: int | None) -> list[Question]:
    """Return the calls that are meant. Raises InputError where nothing waits, or no call has this number."""
    run = session.machine().get(run_id)
    found = state_of(run.context).waiting(run_id) if run.state == AWAITING_APPROVAL else []
    if not found:
        raise InputError(
            f"the run does not wait for approval; it is {run.status}",
            about=run_id,
            todo=f"%agent_runs show {run_id} tells how it stands.",
        )
    chosen = [question for question in found if number in (None, question.number)]
    if not chosen:
        known = ", ".join(str(question.number) for question in found)
        raise InputError(f"no call with the number {number} waits; there is {known}", about=run_id, todo=_LIKE)
    return chosen


def _give(agent: BuiltInAgent, run_id: str, answers: list[Answer]) -> None:
    """Raises InputError where somebody was quicker: the first word on a call counts."""
    if agent.answer(run_id, answers) < len(answers):
        raise InputError(
            "a call was answered already, and the first word counts",
            about=run_id,
            todo=f"%agent_runs show {run_id} tells what was said, %agent_runs resume {run_id} goes on with it.",
        )


def _undo(session: Session, rest: str) -> None:
    """Take back what the newest code that a model ran in this kernel did to its names."""
    if rest:
        raise InputError("%agent_runs undo takes no words", todo="It takes back the newest code that a model ran here.")
    undone = session.undo.undo(session.namespace)
    if undone is None:
        todo = "It takes back code of run_code that ran in this kernel."
        raise InputError("there is no code of a model's to take back", todo=todo)
    rows = [
        (name, did, "changed since; left as it is" if name in undone.since else was)
        for names, did, was in (
            (undone.did.made, "made", "gone"),
            (undone.did.changed, "changed", "as it was"),
            (undone.did.deleted, "deleted", "there again"),
        )
        for name in names
    ]
    notes = (
        [f"Changes inside {listed(undone.did.unseen)}, if any, stay: no copy was kept."] if undone.did.unseen else []
    )
    notes.append(STAYS)
    if undone.more:
        notes.append(f"Again takes back the code before it ({undone.more} more).")
    begins = exact(undone.code.strip().partition("\n")[0][:60])
    show_table(f"Taken back: {begins}", ("name", "the code had", "now"), rows, notes)


def _pause(session: Session, rest: str) -> None:
    """Ask a run that goes on elsewhere (another kernel, a worker) to stop after its present step."""
    run_id = session.full_run_id(_wanted_run(rest, "pause"))
    session.machine().pause(run_id)
    note = f"It stops after its present step; %agent_runs resume {run_id} goes on."
    show_table("Run paused", ("run",), [(Code(run_id),)], [note])


def _fork(session: Session, rest: str) -> None:
    """Begin a new run from a step of an old one; nothing is executed yet."""
    run_id, step = session.origin(_wanted_run(rest, "fork").replace(" ", ":"))
    new = session.fork(run_id, step)
    note = f"Nothing was executed: %agent_runs resume {new} goes on from there."
    show_table("Run forked", ("new run", "from", "step"), [(Code(new), Code(run_id), step)], [note])


def _replay(session: Session, rest: str) -> None:
    """Make every step again with the recorded replies and results: no model is asked, nothing acts, nothing is
    committed."""
    run_id = session.full_run_id(_one_run(session, rest))
    agent = session.agent()
    last = agent.machine.get(run_id).step
    rows = [_replay_row(agent.machine.replay(run_id, step), step) for step in range(1, last + 1)]
    differ = sum(row[-1] != SAME for row in rows)
    steps = plural(last, "step")
    title = (
        f"{differ} of {steps} differ{'s' * (differ == 1)} from what was recorded"
        if differ
        else f"{steps}, all as recorded"
    )
    notes = ["No model was asked: replies came from the journal."] * bool(last)
    notes += ["A difference means that the notebook or agentnb has changed since."] * bool(differ)
    show_table(
        title if last else "Nothing to replay: the run has made no step yet", ("step", "leads to", ""), rows, notes
    )


SAME = "as recorded"


def _replay_row(replay: Replay, step: int) -> tuple[object, ...]:
    differing = [
        name
        for name in sorted({*replay.context, *replay.recorded_context})
        if replay.context.get(name) != replay.recorded_context.get(name)
    ]
    was = f"recorded: {state_word(replay.recorded_state)}" if replay.next_state != replay.recorded_state else ""
    otherwise = f"differs in {', '.join(differing)}" if differing else ""
    return step, state_word(replay.next_state), "; ".join(filter(None, (was, otherwise))) or SAME


def _wanted_run(rest: str, command: str) -> str:
    if not rest:
        raise InputError(
            f"%agent_runs {command} wants a run", todo=f"Write e.g. %agent_runs {command} r-20260101-120000-ab12"
        )
    return rest


def _export(session: Session, rest: str) -> None:
    word, _, target = rest.partition(" ")
    if not word or not target.strip():
        raise InputError("%agent_runs export wants a run and a file", todo="Write e.g. %agent_runs export RUN run.json")
    run = session.find_run(word)
    file = Path(target.strip()).expanduser()
    try:
        file.write_text(json.dumps(run.receipt, ensure_ascii=False, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    except OSError as error:
        todo = "Name a file in a directory that exists and can be written."
        raise InputError(f"the file cannot be written: {error.strerror}", about=str(file), todo=todo) from error
    show_table("Run exported", ("run", "file", "bytes"), [(Code(run.run_id), str(file), f"{file.stat().st_size:,}")])
