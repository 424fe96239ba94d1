"""Keep what the extension has of one kernel: `%config AgentNB`, the cells that ran, the session behind the magics."""

from __future__ import annotations

import contextlib
import math
import os
import re
import secrets
import sys
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import dropwhile
from traceback import walk_tb
from typing import TYPE_CHECKING, Any, Protocol

from agentnb.errors import AgentnbError, AnswerMismatch
from agentnb.notebook.config import AgentNB
from agentnb.notebook.hooks.cell_outputs import outputs_before, with_failure
from agentnb.notebook.hooks.display_hooks import Showing
from agentnb.notebook.hooks.failed_cell import FailedCell
from agentnb.notebook.hooks.parting import part_from_page
from agentnb.notebook.hooks.preload import Preload, forget, found_at_once
from agentnb.notebook.lab.comm import FrontEnd
from agentnb.notebook.lab.runs import RunsOnPage, tell_steps
from agentnb.notebook.stale_marks import StaleMarks
from agentnb.settings import Settings, data_directory, from_environment

if TYPE_CHECKING:
    from agentnb.agent.run_document import AgentRun
    from agentnb.agent.tools.typed_answer import TypedAnswer
    from agentnb.context.notebook.notebook_text import NotebookText
    from agentnb.context.notebook.outputs import Output
    from agentnb.context.notebook.trace import Ran
    from agentnb.notebook.hooks.tracing import CellTrace
    from agentnb.notebook.lab.protocol import CodePress, Hello
    from agentnb.session import Session

RESULT = "_agent"
"""The user's variable that holds the last run."""

_UUID = re.compile(r"([0-9a-f]{8})-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")


def short_cell_id(cell_id: str) -> str:
    """Return the front end's id of a cell as it goes into prompts and views. Of a UUID these are the first eight
    digits. Of an address (VS Code's `vscode-notebook-cell:/home/…#W2sZ…`) it is what follows the file, which would name
    this machine."""
    uuid = _UUID.fullmatch(cell_id)
    return uuid.group(1) if uuid else cell_id.rpartition("#")[2]


@dataclass(frozen=True)
class Executed:
    """Holds a cell as it was run, kept until something asks for the notebook's definitions."""

    source: str
    cell_id: str | None
    number: int | None
    failed_at: int = 0  # the line of its code at which it raised an error


@dataclass(frozen=True)
class Ended:
    """Holds a cell that has ended, with what it showed, kept until a task asks for the notebook's cells."""

    source: str
    cell: str
    number: int
    outputs: tuple[Output, ...] = ()
    interrupted: bool = False
    ended: float = math.inf


class Waiting(Protocol):
    """Holds a run that waits for a person's word under a cell."""

    def close(self, said: str) -> None: ...

    def settle(self, document: Mapping[str, Any]) -> None: ...

    def show_again(self) -> None: ...


class Notebook:
    """Keeps what the extension has of one kernel: the cells that ran, and the session once something needs it."""

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self.config = AgentNB(parent=shell)
        self.nonce = secrets.token_hex(2)
        self.cell_id: str | None = None
        self.whole_cell_id: str | None = None
        self._error: BaseException | None = None
        self._shown_before: object = getattr(sys, "last_value", None)
        """The error whose traceback was shown last when the cell began."""
        self.failed: FailedCell | None = None
        """The cell that failed last, while it has not run well since."""
        self._ran: tuple[Ran, ...] = ()
        self._trace: CellTrace | None = None
        self._waiting = list(_cells_before(shell))
        self._ended: list[Ended] | None = None  # None: those before are not looked up yet
        self._ended_since: list[Ended] = []
        self._first = _next_number(shell) - 1  # the cell that loads the extension, whose end is seen
        self._number = _next_number(shell) - 1
        self.showing = Showing(shell, lambda: self.cell_id or f"In[{self._number}]")
        self._session: Session | None = None
        self.stale_marks = StaleMarks()
        self.warned: tuple[str | None, str] | None = None
        """The cell and the task that were not asked yet, since what they point at is not there."""
        self._preload = Preload()
        self._files = set[str]()
        """The files' names of the cells' code, as `inspect` was told them."""
        self.asked_at: float | None = None
        """When the person asked, in seconds of the monotonic clock; None while no magic of ours runs."""
        self.redactions_told: dict[str, set[str]] = {}
        """The marks of redactions that a person has been told of, by thread: once is enough."""
        self.outs: dict[str, tuple[str, TypedAnswer | None]] = {}
        """The variable that takes each run's answer (`--out`), and its type: a run may go on in another cell."""
        self.asked: dict[str, Waiting] = {}
        """The runs of this kernel that wait under a cell with buttons."""
        self.offered: dict[str, int] = {}
        """Counts of the proposed cells that were offered already, by run."""
        self.front_end = FrontEnd(shell)
        self.on_page = RunsOnPage(self.front_end)
        self.front_end.on_page = self._tell_page
        self.front_end.on_code = self._take_code
        self.front_end.on_steps = lambda pressed: tell_steps(self.front_end, pressed, self.session)
        self.front_end.on_again = lambda pressed: self.to_ask_again.add(pressed.cell)
        self.to_ask_again: set[str] = set()

    def _tell_page(self, page: Hello) -> None:
        """Tell the page what became of the runs that it shows as going on. The journal is opened for that."""
        unfinished = any(not shown.over for shown in page.runs)
        self.on_page.tell(page, self.session if unfinished else self.opened, self.asked)
        for asked in self.asked.values():
            asked.show_again()

    def _take_code(self, pressed: CodePress) -> None:
        from agentnb.notebook.lab.answer_code import take

        take(self.front_end, pressed, self.session)

    def on_cell(self, info: Any) -> None:
        """Take IPython's pre_run_cell: remember the cell; parsing waits until a task needs it."""
        if info.store_history or self.cell_id is None:  # a cell that runs within another (`%run`) has no id
            self.whole_cell_id = getattr(info, "cell_id", None) or None
            self.cell_id = short_cell_id(self.whole_cell_id or "") or None
        self._files |= found_at_once(self.shell, info)
        if info.store_history and not info.silent:
            self._number = _next_number(self.shell)
            self._waiting.append(Executed(info.raw_cell, self.cell_id, self._number))
            self.showing.begin()
            self.showing.outputs.begin()
            self._shown_before = getattr(sys, "last_value", None)
        asked = is_traced(info.raw_cell)
        if (asked or self._wants_trace) and not info.silent and not _is_ours(info.raw_cell):
            self._record(info, asked=asked)

    def on_done(self, result: Any) -> None:
        """Take IPython's post_run_cell: remember an error until a cell of code succeeds, and what ran until a task
        asks."""
        if self._trace is not None:
            self._ran = self._trace.end(result.info) or self._ran
        if getattr(getattr(self.shell, "kernel", None), "_allow_stdin", False):  # a person is there
            self._preload.begin(self.settings)
        self._note_outputs(result)
        self._mark_stale(result)
        if result.info is not None and not result.info.silent and not _is_ours(result.info.raw_cell):
            error = result.error_in_exec or result.error_before_exec
            self.showing.end(result)
            self._note_failure(result.info.raw_cell, error)
            if error is not None and _is_of_magic(error):
                return  # the cell asked a question, and that failed: it is no error of the person's code
            self._error = result.error_in_exec or (None if error else self._shown_error())
            self._note_failed_cell(result.info.raw_cell, error or self._error)

    def _shown_error(self) -> BaseException | None:
        """Return the error whose traceback the cell showed though it went on: that of a `%run` or in a `%%capture`."""
        shown = getattr(sys, "last_value", None)
        return shown if shown is not self._shown_before and isinstance(shown, BaseException) else None

    def _note_outputs(self, result: Any) -> None:
        """Keep the cell that has ended with its outputs."""
        info = result.info
        if info is None or not info.store_history or info.silent:
            return
        recorded = self.showing.outputs
        seen = recorded.running and self.showing.sees_all
        outputs = recorded.end()
        error = result.error_in_exec or result.error_before_exec or self._shown_error()
        if not seen:
            outputs = outputs_before(self.shell.history_manager, self._number) or outputs
        if not any(output.kind == "error" for output in outputs):
            outputs = with_failure(outputs, error)
        label = self.cell_id or f"In[{self._number}]"
        stopped = isinstance(error, KeyboardInterrupt)
        self._ended_since.append(Ended(info.raw_cell, label, self._number, outputs, stopped, time.time()))

    def _mark_stale(self, result: Any) -> None:
        """Answers above may rest on what the cell that has ended bound anew."""
        if not self.stale_marks.watches or result.info is None or result.info.silent or _is_ours(result.info.raw_cell):
            return
        session = self.session
        newest = session.log.runs[-1:]
        with contextlib.suppress(Exception):  # a mark that cannot be set must not disturb the user's cell
            self.stale_marks.look(session, newest[0].flow.binds | newest[0].flow.changes if newest else frozenset())

    def _note_failure(self, source: str, error: BaseException | None) -> None:
        """Note that of a cell that failed only what stands above its failure has run."""
        if error is not None and self._waiting and self._waiting[-1].source == source:
            line = line_of_failure(error, self.shell.user_global_ns, inner=_runs_within(source))
            self._waiting[-1] = replace(self._waiting[-1], failed_at=line)

    def _note_failed_cell(self, source: str, error: BaseException | None) -> None:
        """Remember the cell until it runs well; one that a person stopped has not failed."""
        if isinstance(error, Exception):
            self.failed = FailedCell(self._number, self.cell_id, source, error)
        elif error is None and self.failed is not None and self.failed.is_cell(self.cell_id, source):
            self.failed = None

    @property
    def _wants_trace(self) -> bool:
        wanted = self.settings.trace
        return sys.version_info >= (3, 12) if wanted is None else wanted

    def _record(self, info: Any, *, asked: bool) -> None:
        from agentnb.notebook.hooks.tracing import CellTrace

        self._trace = self._trace or CellTrace()
        self._trace.begin(info, asked=asked)

    def record_cell(self, source: str) -> None:
        """Record a cell that one of our magics runs: its definitions count like any other's."""
        self._waiting.append(Executed(source, self.cell_id, self._number))

    def traced(self, ran: tuple[Ran, ...]) -> None:
        """Note what `%%agent_trace` recorded: it goes with the next task."""
        self._ran = ran

    def observe(self, *, failed: bool = False) -> None:
        """Hand what was seen to the session for the task that begins; a trace goes with one task. `failed`: the task is
        about the cell that failed last, though others may have run since."""
        from agentnb.agent.kernel_context import Observed

        note = self._trace.note if self._trace is not None and self.settings.trace else ""
        session = self.session
        notes = (*session.cells.take_notes(), *session.undo.take_notes(), *([note] if note else []))
        session.observed = Observed(
            ran=self._ran,
            error=self.failed.error if failed and self.failed is not None else self._error,
            asked=failed,
            notes=notes,
            shown=self.showing.kept,
            text=self._text(),
            asking=self.cell_id or "",
        )
        self._ran = ()

    def offer_run(self, cells: Collection[str]) -> bool:
        """Show a button on the page that runs these cells; return whether the page has such cells."""
        told, below = self.front_end.notebook(), self.whole_cell_id
        whole = [cell.id for cell in told.cells if short_cell_id(cell.id) in cells] if told is not None else []
        return bool(whole and below) and self.front_end.offer_run(whole, below=below or "")

    def _text(self) -> NotebookText | None:
        """Return the notebook as it is written: as the front end told it last, else as it was saved."""
        from agentnb.context.notebook.notebook_text import NotebookText, TextCell, saved_path, saved_text

        told = self.front_end.notebook()
        if told is not None:
            cells = (
                TextCell(short_cell_id(cell.id), cell.kind, cell.source or "", ran=cell.execution_count is not None)
                for cell in told.cells
            )
            return NotebookText(cells=tuple(cells), live=True)
        path = saved_path(os.environ, self.shell.user_ns)
        saved = saved_text(path, short_cell_id) if path is not None else None
        ran = [(run.source, run.cell) for run in self.session.log.by_number.values()]
        asking = (
            [(text.strip("\n").rstrip(), self.cell_id)]
            if (text := self.cell_text(self._number)) and self.cell_id
            else []
        )
        return saved.called_as([*ran, *asking]) if saved is not None else None

    @property
    def session(self) -> Session:
        """Return the session, opened on first use and brought up to date with settings and executed cells."""
        from agentnb.context.notebook.cells import CellIndex
        from agentnb.session import Session, working_directory

        settings = self.settings
        if self._session is None:
            transform = self.shell.transform_cell
            self._session = Session(
                settings=settings,
                namespace=self.shell.user_ns,
                cells=CellIndex(transform),
                transform=transform,
                project=working_directory(),
                cell_text=self.cell_text,
                apart=partial(part_from_page, self.shell),
            )
        self._session.settings = settings
        for cell in self._waiting:
            self._session.cells.record(cell.source, cell_id=cell.cell_id, number=cell.number, failed_at=cell.failed_at)
        self._waiting.clear()
        self._take_ended(self._session)
        return self._session

    def cell_text(self, number: int) -> str | None:
        """Return the text with which the cell of this number ran, as typed; None where none did in this session."""
        ran = self.shell.history_manager.input_hist_raw if self.shell.history_manager else [""]
        return str(ran[number]) if 0 < number < len(ran) and ran[number] else None

    def _take_ended(self, session: Session) -> None:
        """Bring the session's record of cells up to date; the first time with those that ran before it was loaded."""
        if self._ended is None:
            session.log.session = self.nonce
            self._ended = _ended_before(self.shell, first=self._first)
        for cell in [*self._ended, *self._ended_since]:
            session.log.record(
                cell.source,
                cell=cell.cell,
                number=cell.number,
                outputs=cell.outputs,
                interrupted=cell.interrupted,
                ended=cell.ended,
            )
        self._ended, self._ended_since = [], []

    @property
    def settings(self) -> Settings:
        """Return the settings as they are now: the environment's, with what `%config AgentNB` set on top."""
        return self.config.over(from_environment(os.environ))

    @property
    def full_view(self) -> bool:
        """Tell whether a run is shown with all its panels at once."""
        return self.settings.view == "full"

    @property
    def opened(self) -> Session | None:
        """Return the session as it stands; None before anything needed it."""
        return self._session

    @property
    def name(self) -> str:
        """Return what tells this notebook from its copies: a digest of its path; empty where nobody tells that."""
        from agentnb.canonical import digest
        from agentnb.context.notebook.notebook_text import saved_path

        path = saved_path(os.environ, self.shell.user_ns)
        return digest(str(path))[:16] if path is not None else ""

    @property
    def may_have_asked(self) -> bool:
        """Tell, without opening the journal, whether an answer of this cell's may be kept there."""
        from agentnb.storage import DATABASE

        settings = self.settings
        there = bool(settings.journal) or (data_directory(settings) / DATABASE).exists()
        return self.cell_id is not None and settings.rerun == "keep" and there

    @property
    def execution(self) -> str:
        """Tells this execution of the cell from any other, also across kernels."""
        return f"{self.nonce}:{self.shell.execution_count}"

    def close(self) -> None:
        self._preload.stop()
        forget(self._files)
        from agentnb.context.resolve import inference

        inference.SHARED.end()
        for run_id, asked in list(self.asked.items()):
            asked.close(f"The extension was unloaded. Loaded again, %agent_runs show {run_id} tells how it goes on.")
        if self._trace is not None:
            self._trace.stop()
        if self._session is not None:
            self._session.close()
            self._session = None


Take = Callable[["AgentRun"], "AgentRun"]
"""Take a run that has stopped, and return it as its view is to show it."""


class Result:
    """Puts a run into `_agent`: always the first time, later only where no other has taken its place.

    A run that ends after its cell (`is_later`) tells what became of the value that was asked for.
    """

    def __init__(self, namespace: dict[str, Any], out: str = "", typed: TypedAnswer | None = None) -> None:
        self._namespace = namespace
        self._out = out
        self._typed = typed
        self._last: AgentRun | None = None
        self.is_later = True

    @property
    def is_over(self) -> bool:
        """Tell whether the run has its answer: it may wait for a person."""
        return self._last is not None and self._last.state == "COMPLETED"

    def __call__(self, run: AgentRun) -> AgentRun:
        run = self._with_value(run)
        if self._last is None or self._namespace.get(RESULT) is self._last:
            self._namespace[RESULT] = run
        self._last = run
        return run

    def _with_value(self, run: AgentRun) -> AgentRun:
        """Put what was asked for into its variable, and note it where nothing else tells of it."""
        from agentnb.agent.run_document import with_note

        if self._typed is None:
            self._namespace |= {self._out: run.text} if self._out else {}
            return run
        try:
            self._namespace[self._out] = self._typed.value()
            note = f"The value is in `{self._out}`."
        except AnswerMismatch as error:
            note = str(error)
        return with_note(run, note if self.is_later and run.state == "COMPLETED" else "")


def line_of_failure(error: BaseException, namespace: Mapping[str, Any], *, inner: bool) -> int:
    """Return the line of a cell's own code at which it raised `error`, or could not be compiled. 0 where that is
    unknown.

    `inner` is for cell magics: the code is what they run.
    """
    lines = [
        line
        for frame, line in walk_tb(error.__traceback__)
        if frame.f_globals is namespace and frame.f_code.co_name == "<module>"
    ]
    if not lines:
        return (error.lineno or 0) if isinstance(error, SyntaxError) else 0
    return lines[-1 if inner else 0]


def _is_ours(cell: str) -> bool:
    return cell.lstrip().startswith(("%agent", "%%agent")) and not is_traced(cell)


def _is_of_magic(error: BaseException) -> bool:
    """Tell whether a magic of ours raised it."""
    names = (frame.f_globals.get("__name__") for frame, _ in walk_tb(error.__traceback__))
    return isinstance(error, AgentnbError) and "agentnb.notebook.magics" in names


def _runs_within(cell: str) -> bool:
    """Tell whether a cell magic runs its body as a cell of its own."""
    return _TRACED.sub("", cell, count=1).lstrip().startswith("%%")


_TRACED = re.compile(r"\A\s*%%agent_trace[ \t]*\n\s*(?!\s|%%agent|\Z)")


def is_traced(cell: str) -> bool:
    """Tell whether %%agent_trace stands above code or another's magic: then that is the cell, and recorded."""
    return bool(_TRACED.match(cell))


def traced_lines(lines: list[str]) -> list[str]:
    """Return an input transformer: the body of %%agent_trace is the cell. So its error fails it, its value is shown,
    and it may `await`."""
    if not (lines and lines[0].startswith("%%") and is_traced("".join(lines))):
        return lines
    return list(dropwhile(lambda line: not line.strip(), lines[1:]))


def last_run(namespace: Mapping[str, Any]) -> AgentRun | None:
    """Return the last run that the user's namespace holds. None before the first, or where the name means something
    else."""
    found = namespace.get(RESULT)
    if found is None:
        return None  # at once: a completion asks, too
    from agentnb.agent.run_document import AgentRun

    return found if isinstance(found, AgentRun) else None


def _cells_before(shell: Any) -> list[Executed]:
    """Return the cells that ran before the extension was loaded, from the kernel's history; and the one that loads
    it."""
    raw = shell.history_manager.input_hist_raw if shell.history_manager else [""]
    return [Executed(text, None, i) for i, text in enumerate(raw) if i and text]


def _ended_before(shell: Any, *, first: int) -> list[Ended]:
    """Return the cells before the number `first`, with the outputs that IPython has kept of them."""
    history = shell.history_manager
    raw = history.input_hist_raw if history else [""]
    return [
        Ended(text, f"In[{number}]", number, outputs_before(history, number))
        for number, text in enumerate(raw[:first])
        if number and text
    ]


def _next_number(shell: Any) -> int:
    """Return the number of a cell that is about to run: its place in the history. Whether `execution_count` has it
    already by then, or still, differs between IPython's versions."""
    return len(shell.history_manager.input_hist_raw) if shell.history_manager else int(shell.execution_count)
