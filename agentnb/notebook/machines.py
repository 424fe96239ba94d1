"""Give a task, by `--machine NAME`, to the user's own state machine, in a variable of the notebook."""

from __future__ import annotations

from IPython.display import display

from agentnb import canonical
from agentnb.agent.run_document import AgentRun, document_of
from agentnb.canonical import JsonMapping
from agentnb.durable.machine import AgentStateMachine
from agentnb.errors import InputError, JournalError, nearest, terminal_width
from agentnb.notebook.interrupts import told
from agentnb.notebook.kernel import Notebook, Take
from agentnb.view.render import bundle
from agentnb.view.style import WIDTH

ANSWERS = ("text", "answer", "result")
"""Keys of a final context that are shown as the answer, in this order; else the whole context is."""


def run_machine(notebook: Notebook, name: str, task: str, *, max_steps: int | None, finish: Take) -> None:
    """Begin a run of the machine `name` with the context {"task": task}, drive it to its end and show it.

    The handlers are the notebook's own code, so they run here, on the main thread; an interrupt pauses the run.
    Raises JournalError when the run failed.
    """
    machine = _find(notebook.shell.user_ns, name)
    states = list(machine.states)
    if not states:
        raise InputError(f"the machine {name} has no state yet", todo=f"Register one: @{name}.state('BEGIN')")
    run_id = notebook.session.new_run_id()
    machine.initialize_run(run_id, states[0], {"task": task}, tags={"task": task[:80], "machine": name})
    go_on = f"{name}.resume({run_id!r}) and {name}.run_to_end({run_id!r}) go on."
    try:
        with told(f"interrupted: run {run_id} keeps its committed steps", todo=go_on):
            machine.run_to_end(run_id, max_steps=max_steps)
    finally:
        run = _as_it_stands(machine, run_id, name)
        finish(run)
        failed = run.error is not None
        shown = bundle(run.receipt, error_follows=failed, full=notebook.full_view, width=terminal_width(WIDTH))
        display(shown, raw=True)
    if run.error is not None:
        raise JournalError(
            f"run {run_id} failed: {run.error.message}",
            about=f"state {machine.get(run_id).failed_in}",
            todo=f"Mend the handler; {go_on}",
        )


def _find(namespace: JsonMapping, name: str) -> AgentStateMachine:
    found = namespace.get(name)
    if isinstance(found, AgentStateMachine):
        return found
    known = [other for other, value in namespace.items() if isinstance(value, AgentStateMachine)]
    hint = nearest(name, known) or (f"Known: {', '.join(known)}." if known else "")
    raise InputError(
        f"{name!r} is no AgentStateMachine of this notebook",
        todo=f"{hint} Make one: {name} = agentnb.AgentStateMachine('runs')".strip(),
    )


def _as_it_stands(machine: AgentStateMachine, run_id: str, name: str) -> AgentRun:
    run = machine.get(run_id)
    document = document_of(run, machine.history(run_id))
    context = run.context if isinstance(run.context, dict) else {}
    answer = next((str(context[key]) for key in ANSWERS if key in context), None)
    if answer is None:
        answer = f"```json\n{canonical.dump(context).decode()}\n```"
    return AgentRun(document | {"text": answer, "label": f"state machine {name}", "model": name})
