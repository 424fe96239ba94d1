"""%%agent, %agent, %agent_cache, %agent_runs and %agent_context. [home of IPython]

Loading registers magics and hooks and imports nothing heavy; the session behind them opens on first use.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_cell_magic, line_magic, magics_class, no_var_expand
from traitlets import Bool, Float, Int, Unicode
from traitlets.config.configurable import Configurable

from agentnb.errors import InputError
from agentnb.notebook import flags
from agentnb.settings import Settings, from_environment

if TYPE_CHECKING:
    from agentnb.runs.record import AgentRun, LiveDocument
    from agentnb.runs.session import Session

RESULT = "_agent"
MAGICS = ("agent", "agent_cache", "agent_runs", "agent_context")


class AgentNB(Configurable):
    """What `%config AgentNB` sets for this kernel. Empty and zero mean: as the environment or the default says."""

    model = Unicode("", help="provider:model, or sim:model").tag(config=True)
    budget = Float(0.0, help="US dollars a run may cost; 0 means no limit").tag(config=True)
    max_steps = Int(0, help="steps a run may take; 0 means the default, 30").tag(config=True)
    max_tokens = Int(0, help="tokens a reply may have; 0 means the default, 4096").tag(config=True)
    context_tokens = Int(0, help="tokens of definitions a turn may add; 0 means the default, 4000").tag(config=True)
    allow = Unicode("", help="tools that may act, comma-separated").tag(config=True)
    live = Bool(True, help="show the dashboard while a run goes on").tag(config=True)

    def over(self, settings: Settings) -> Settings:
        """The settings with what was set here on top."""
        return settings.with_changes(
            model=self.model or None,
            budget=self.budget or None,
            max_steps=self.max_steps or None,
            max_tokens=self.max_tokens or None,
            context_tokens=self.context_tokens or None,
            allow=tuple(part.strip() for part in self.allow.split(",") if part.strip()) or None,
        )


@dataclass(frozen=True)
class Executed:
    """A cell as it was run, kept until something asks for the notebook's definitions."""

    source: str
    cell_id: str | None
    number: int | None


class Notebook:
    """What the extension keeps of one kernel: the cells that ran, and the session once something needs it."""

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self.config = AgentNB()
        self.nonce = secrets.token_hex(2)
        self.cell_id: str | None = None
        self._waiting = list(_cells_before(shell))
        self._session: Session | None = None

    def on_cell(self, info: Any) -> None:
        """IPython's pre_run_cell: remember the cell; parsing waits until a task needs it."""
        self.cell_id = getattr(info, "cell_id", None) or None
        if info.store_history and not info.silent:
            self._waiting.append(Executed(info.raw_cell, self.cell_id, self.shell.execution_count))

    @property
    def session(self) -> Session:
        """The session, opened on first use and brought up to date with settings and executed cells."""
        from agentnb.context.cells import CellIndex
        from agentnb.runs.session import Session

        settings = self.config.over(from_environment(os.environ))
        if self._session is None:
            transform = self.shell.transform_cell
            self._session = Session(
                settings=settings,
                namespace=self.shell.user_ns,
                cells=CellIndex(transform),
                transform=transform,
                project=Path.cwd(),
            )
        self._session.settings = settings
        for cell in self._waiting:
            self._session.cells.record(cell.source, cell_id=cell.cell_id, number=cell.number)
        self._waiting.clear()
        return self._session

    @property
    def execution(self) -> str:
        """Tells this execution of the cell from any other, also across kernels."""
        return f"{self.nonce}:{self.shell.execution_count}"

    def close(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None


def _cells_before(shell: Any) -> list[Executed]:
    """The cells that ran before the extension was loaded, from the kernel's own history of this session."""
    raw = shell.history_manager.input_hist_raw if shell.history_manager else [""]
    current = shell.execution_count
    return [Executed(text, None, i) for i, text in enumerate(raw) if i and text and i != current]


@magics_class
class AgentMagics(Magics):
    """The magics over one Notebook."""

    def __init__(self, shell: Any, notebook: Notebook) -> None:
        super().__init__(shell)
        self._notebook = notebook

    @no_var_expand
    @line_cell_magic
    def agent(self, line: str, cell: str | None = None) -> None:
        given, words = flags.split_line(line, flags.AGENT_FLAGS)
        task = "\n".join(part for part in (words, cell) if part and part.strip())
        if not task.strip():
            raise InputError(
                "the task is empty", todo="Write what you want to know below %%agent, or after %agent on its line."
            )
        AgentCall(self._notebook, given).run(task.strip("\n"))

    agent.__doc__ = flags.usage("%%agent", flags.AGENT_FLAGS)

    @no_var_expand
    @line_magic
    def agent_cache(self, line: str) -> None:
        """%agent_cache status | explain | list | clear

        What is warm in the provider's prompt cache until when; and, for the last call, what was expected to hit, what
        did, and why not.
        """
        from agentnb.notebook import commands

        commands.agent_cache(self._notebook.session, line)

    @no_var_expand
    @line_magic
    def agent_runs(self, line: str) -> None:
        """%agent_runs list [N] | show RUN | resume RUN [--max-steps N] [--budget USD] [--allow NAMES] | export RUN FILE

        The runs in the journal, those of earlier kernels too. RUN is a run's id, or enough of its beginning or end.
        """
        from agentnb.notebook import commands

        commands.agent_runs(self._notebook, line)

    @no_var_expand
    @line_magic
    def agent_context(self, line: str) -> None:
        """%agent_context show | why NAME

        What the conversation holds, and why a definition was sent or left out.
        """
        from agentnb.notebook import commands

        commands.agent_context(self._notebook.session, self.shell.user_ns.get(RESULT), line)


class AgentCall:
    """One use of %agent or %%agent: flags to request, run, view, result."""

    def __init__(self, notebook: Notebook, given: dict[str, str | bool]) -> None:
        self._notebook = notebook
        self._given = given
        self._session = notebook.session

    def run(self, task: str) -> None:
        """Carry the task out and show it. `_agent` is set before a failure is raised."""
        request = self._request(task)
        run_id = self._session.new_run_id()
        if self._given.get("dry-run"):
            self._finish(self._session.agent().dry_run(request, run_id))
            return
        show_run(
            self._notebook,
            prepare=lambda agent: agent.begin(request, run_id),
            run_id=run_id,
            finish=self._finish_quietly,
        )

    def _request(self, task: str) -> Any:
        given = self._given
        thread = given.get("thread")
        if thread == "new":
            self._session.thread = thread = f"session-{secrets.token_hex(4)}"
        changes = self._session.settings.with_changes(
            context=given.get("context"),
            max_steps=flags.number(given, "max-steps", int),
            budget=flags.number(given, "budget", float),
        )
        self._check_out()
        return self._session.request(
            task,
            model=given.get("model"),
            thread=thread,
            tools=flags.names(given, "tools"),
            allow=flags.names(given, "allow"),
            context=changes.context,
            max_steps=changes.max_steps,
            budget=changes.budget,
            cell=self._notebook.cell_id,
            execution=self._notebook.execution,
        )

    def _check_out(self) -> None:
        name = self._given.get("out")
        if name is not None and not str(name).isidentifier():
            raise UsageError(f"--out wants a variable's name, not {name!r}")

    def _finish_quietly(self, run: AgentRun) -> None:
        self._notebook.shell.user_ns[RESULT] = run
        name = self._given.get("out")
        if name:
            self._notebook.shell.user_ns[str(name)] = run.text

    def _finish(self, run: AgentRun) -> None:
        from IPython.display import display

        from agentnb.notebook.render import bundle

        self._finish_quietly(run)
        display(bundle(run.receipt), raw=True)


def show_run(
    notebook: Notebook, *, prepare: Callable[[Any], None], run_id: str, finish: Callable[[AgentRun], None]
) -> None:
    """Drive one run from the main thread with its live view; then `finish`, then raise what the run raised."""
    from agentnb.notebook.serving import MainThread
    from agentnb.notebook.viewing import View
    from agentnb.runs.record import LiveDocument

    session = notebook.session
    main = MainThread(cancel=session.cancel)
    agent = session.agent(on_main=main.run_here)
    prepare(agent)
    machine = agent.machine
    live: LiveDocument = LiveDocument(run_id, machine.get(run_id).context, session.clock.monotonic())
    view = View(live, clock=session.clock, widgets=notebook.config.live and hasattr(notebook.shell, "kernel"))
    stop = machine.events.subscribe(lambda event: (view.feed(event), main.touch()), run_id=run_id)
    try:
        _serve(main, agent, run_id, view)
    finally:
        stop()
        run = agent.as_it_stands(run_id)
        finish(run)
        view.finish(run.receipt)
    if agent.raised is not None:
        raise agent.raised


def _serve(main: Any, agent: Any, run_id: str, view: Any) -> None:
    from agentnb.errors import RunInterrupted

    try:
        main.serve(lambda: agent.drive(run_id), paint=view.paint)
    except (KeyboardInterrupt, RunInterrupted):
        raise RunInterrupted(
            f"interrupted: run {run_id} keeps its committed steps",
            todo=f"%agent_runs resume {run_id} goes on from there.",
        ) from None


def load(shell: Any) -> None:
    """Register magics, hooks, completion, `%config AgentNB` and the display of runs. Symmetric to `unload`."""
    if getattr(shell, _MARK, None) is not None:
        return
    notebook = Notebook(shell)
    setattr(shell, _MARK, notebook)
    shell.register_magics(AgentMagics(shell, notebook))
    shell.events.register("pre_run_cell", notebook.on_cell)
    shell.configurables.append(notebook.config)
    notebook.matcher = matcher = _matcher()  # type: ignore[attr-defined]
    if shell.Completer is not None:
        shell.Completer.custom_matchers.append(matcher)
    shell.display_formatter.mimebundle_formatter.for_type_by_name("agentnb.runs.record", "AgentRun", _bundle_of)


def unload(shell: Any) -> None:
    """Take back everything that `load` did."""
    notebook = getattr(shell, _MARK, None)
    if notebook is None:
        return
    shell.events.unregister("pre_run_cell", notebook.on_cell)
    for kind in ("line", "cell"):
        for name in MAGICS:
            shell.magics_manager.magics[kind].pop(name, None)
    shell.magics_manager.registry.pop("AgentMagics", None)
    shell.configurables.remove(notebook.config)
    if shell.Completer is not None and notebook.matcher in shell.Completer.custom_matchers:
        shell.Completer.custom_matchers.remove(notebook.matcher)
    _forget_formatter(shell)
    notebook.close()
    shell.user_ns.pop(RESULT, None)
    delattr(shell, _MARK)


_MARK = "_agentnb_notebook"


def _forget_formatter(shell: Any) -> None:
    formatter = shell.display_formatter.mimebundle_formatter
    formatter.deferred_printers.pop(("agentnb.runs.record", "AgentRun"), None)
    for known in [cls for cls in formatter.type_printers if cls.__module__ == "agentnb.runs.record"]:
        formatter.type_printers.pop(known)


def _bundle_of(run: Any, include: Any = None, exclude: Any = None) -> dict[str, Any]:
    from agentnb.notebook.render import bundle

    return bundle(run.receipt)


def _matcher() -> Callable[[Any], Any]:
    from agentnb.notebook.completion import match

    return match
