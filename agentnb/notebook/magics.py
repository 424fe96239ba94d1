"""Register %%agent, %agent, %agent_cache, %agent_runs and %agent_context. [home of IPython]

Loading registers magics and hooks and imports nothing heavy; the session behind them opens on first use.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from time import monotonic
from typing import Any

from IPython.core.magic import Magics, cell_magic, line_cell_magic, line_magic, magics_class, no_var_expand
from IPython.display import display

from agentnb.errors import InputError, terminal_width
from agentnb.fleet import changing
from agentnb.notebook import flags
from agentnb.notebook.hooks.failed_cell import task_about
from agentnb.notebook.interrupts import before_the_run, told
from agentnb.notebook.kernel import RESULT, Notebook, last_run, traced_lines

MAGICS = ("agent", "agent_trace", "agent_cache", "agent_runs", "agent_context")


@magics_class
class AgentMagics(Magics):
    """Holds the magics over one Notebook."""

    def __init__(self, shell: Any, notebook: Notebook) -> None:
        super().__init__(shell)
        self._notebook = notebook

    @no_var_expand
    @line_cell_magic
    def agent(self, line: str, cell: str | None = None) -> None:
        given, words = flags.split_line(line, flags.AGENT_FLAGS)
        task = "\n".join(part for part in (words, cell) if part and part.strip())
        fix, failed = bool(given.get("fix")), self._notebook.failed
        explain = not fix and not task.strip() and cell is None and failed is not None
        if fix or explain:
            tutor = str(given.get("style", self._notebook.settings.style)) == "tutor"
            task = task_about(failed, task, fix=fix and not tutor)
        elif not task.strip() and not given:
            from agentnb.notebook.commands.subcommands import show_guide

            show_guide()
            return
        elif not task.strip():
            raise InputError(
                "the task is empty", todo="Write what you want to know below %%agent, or after %agent on its line."
            )
        self._notebook.asked_at = monotonic()
        with told("interrupted", todo="%agent_runs list shows whether the run had begun; resume goes on with it."):
            with before_the_run():
                if not self._notebook.may_have_asked:
                    flags.check_key(given, self._notebook.settings)
                from agentnb.notebook.run_task import AgentCall
            AgentCall(self._notebook, given, about_failure=fix or explain).run(task.strip("\n"))

    agent.__doc__ = flags.usage("%%agent", flags.AGENT_FLAGS)

    @no_var_expand
    @cell_magic
    def agent_trace(self, line: str, cell: str) -> None:
        """%%agent_trace

        Run the cell and record which functions of yours it really executed, also in threads that it starts. Their
        definitions go with the next task. On Python 3.11 the recording makes calls about four times slower. From 3.12
        on it costs next to nothing, and every cell is recorded (`AgentNB.trace`).
        """
        from agentnb.context.notebook.trace import recording

        if line.strip():
            raise InputError("%%agent_trace takes no flags", todo="Put the code below it.")
        # The cell's body runs as the cell itself (kernel.traced_lines); a magic of ours runs within this one.
        self._notebook.record_cell(cell)
        with recording() as record:
            self._notebook.shell.run_cell(cell, store_history=False)
        self._notebook.traced(record.ran)

    @no_var_expand
    @line_magic
    def agent_cache(self, line: str) -> None:
        """%agent_cache status | explain [RUN] | list | warm | extend | clear | prune [all] | latency

        Tell what is warm in the provider's prompt cache until when. For the last call, tell what was expected to hit,
        what did, and why not. `warm` and `extend` keep what the next call begins with warm, and cost what they say.
        `clear` forgets the ledger and deletes this kernel's cache objects. `prune` deletes those that nobody uses, with
        `all` also those that another machine may use. `latency` plots the time to the first token.
        """
        with told("%agent_cache was interrupted"):
            from agentnb.notebook.commands import cache

            cache.agent_cache(self._notebook.session, line)

    @no_var_expand
    @line_magic
    def agent_runs(self, line: str) -> None:
        """%agent_runs list [N] | show [RUN] [--all] | watch [RUN] | resume [RUN] | approve RUN | deny RUN [WHY]
        | answer RUN WORDS | undo | pause RUN | fork RUN STEP | replay [RUN] | export RUN FILE

        The runs in the journal, those of earlier kernels too. RUN is a run's id, or enough of its beginning or end.
        `resume` takes -m MODEL, --budget USD, --max-steps N, and --allow NAMES. --unsure repeat|skip is for an action
        that may have happened before the run was cut off. `approve` and `deny` answer a run that waits: all of its
        calls, or one with --call N. `approve --rest` lets the tool run unasked for the rest of the run. `replay` asks
        no model: it takes the recorded replies.
        """
        self._notebook.asked_at = monotonic()
        with told("%agent_runs was interrupted"):
            from agentnb.notebook.commands import runs

            runs.agent_runs(self._notebook, line)

    @no_var_expand
    @line_magic
    def agent_context(self, line: str) -> None:
        """%agent_context show | why NAME | prompt [TASK] | stale | pin NAME | unpin NAME | add FILE | hide NAME |
        unhide NAME | allow MARK | disallow MARK

        What the conversation holds, and why a cell or definition was sent or left out. `prompt` shows the exact text of
        the last request, or of the one that a task would send. What is hidden, a cell by its number or a name, is sent
        no more. A pinned definition goes with every task. An added file stands in the project section and is sent again
        when it changes.
        """
        with told("%agent_context was interrupted"):
            from agentnb.notebook.commands import context

            context.agent_context(self._notebook.session, last_run(self._notebook.shell.user_ns), line)


def _below_the_cell() -> changing.Show:
    handle = display(changing.EMPTY, raw=True, display_id=True)
    return lambda bundle: handle.update(dict(bundle), raw=True)


def load(shell: Any) -> None:
    """Register magics, hooks, completion, `%config AgentNB` and the display of runs. Symmetric to `unload`."""
    if getattr(shell, _MARK, None) is not None:
        return
    notebook = Notebook(shell)
    setattr(shell, _MARK, notebook)
    shell.register_magics(AgentMagics(shell, notebook))
    shell.events.register("pre_run_cell", notebook.on_cell)
    shell.events.register("post_run_cell", notebook.on_done)
    notebook.showing.start()
    notebook.front_end.start()
    shell.configurables.append(notebook.config)
    shell.input_transformers_cleanup.append(question_lines)
    shell.input_transformers_cleanup.insert(_before_cell_magics(shell), bare_magic)
    shell.input_transformers_cleanup.insert(_before_cell_magics(shell), traced_lines)
    notebook.matcher = matcher = _matcher(notebook)  # type: ignore[attr-defined]
    if shell.Completer is not None:
        shell.Completer.custom_matchers.append(matcher)
    _greet(shell)
    changing.use(_below_the_cell if hasattr(shell, "kernel") else None)
    shell.display_formatter.mimebundle_formatter.for_type_by_name(
        "agentnb.agent.run_document", "AgentRun", _bundle(notebook)
    )


def _greet(shell: Any) -> None:
    """Say how to ask, where a person is there for the first time on this machine."""
    from agentnb.notebook.hooks.first_contact import greet_once

    kernel = getattr(shell, "kernel", None)
    here = sys.stdin is not None and sys.stdin.isatty() if kernel is None else getattr(kernel, "_allow_stdin", False)
    if here and (line := greet_once()):
        from agentnb.view.style import WIDTH, line_html, wrap, wrapped

        text = wrapped(line, width=terminal_width(WIDTH))
        display({"text/plain": text, "text/html": wrap(line_html(line))}, raw=True)  # a page breaks it between words


def unload(shell: Any) -> None:
    """Take back everything that `load` did."""
    notebook = getattr(shell, _MARK, None)
    if notebook is None:
        return
    shell.events.unregister("pre_run_cell", notebook.on_cell)
    shell.events.unregister("post_run_cell", notebook.on_done)
    notebook.showing.stop()
    notebook.front_end.stop()
    for kind in ("line", "cell"):
        for name in MAGICS:
            shell.magics_manager.magics[kind].pop(name, None)
    shell.magics_manager.registry.pop("AgentMagics", None)
    shell.configurables.remove(notebook.config)
    shell.input_transformers_cleanup.remove(question_lines)
    shell.input_transformers_cleanup.remove(traced_lines)
    shell.input_transformers_cleanup.remove(bare_magic)
    if shell.Completer is not None and notebook.matcher in shell.Completer.custom_matchers:
        shell.Completer.custom_matchers.remove(notebook.matcher)
    formatter = shell.display_formatter.mimebundle_formatter
    formatter.deferred_printers.pop(("agentnb.agent.run_document", "AgentRun"), None)
    for known in [cls for cls in formatter.type_printers if cls.__module__ == "agentnb.agent.run_document"]:
        formatter.type_printers.pop(known)
    changing.use(None)
    notebook.close()
    shell.user_ns.pop(RESULT, None)
    delattr(shell, _MARK)


def _before_cell_magics(shell: Any) -> int:
    """Return where a transformer must stand to see a cell magic's lines: before IPython makes a call of them."""
    names = [getattr(transform, "__name__", "") for transform in shell.input_transformers_cleanup]
    return names.index("cell_magic") if "cell_magic" in names else len(names)


_MARK = "_agentnb_notebook"


def _bundle(notebook: Notebook) -> Callable[..., dict[str, Any]]:
    """Return how a run looks that is a cell's value."""

    def bundle_of(run: Any, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        from agentnb.view.render import bundle
        from agentnb.view.style import WIDTH

        return bundle(run.receipt, full=notebook.full_view, width=terminal_width(WIDTH))

    return bundle_of


_QUESTION = re.compile(
    r"(?P<indent>\s*)%(?P<magic>agent|agent_context(?=[ \t]+prompt))[ \t]+(?P<line>\S.*\?)[ \t]*\n?\Z"
)


def question_lines(lines: list[str]) -> list[str]:
    """Turn `%agent … ?` into the call it means: IPython takes a question mark at a line's end for a help request."""
    out = []
    for line in lines:
        match = _QUESTION.match(line)
        if match is None:
            out.append(line)
        else:
            out.append(f"{match['indent']}get_ipython().run_line_magic({match['magic']!r}, {match['line']!r})\n")
    return out


_BARE = re.compile(r"%%agent(?P<line>[ \t][^\n]*)?\n?\Z")


def bare_magic(lines: list[str]) -> list[str]:
    """Return an input transformer: `%%agent` with nothing below it is a call all the same. IPython would refuse it."""
    match = _BARE.match("".join(lines).rstrip())
    if match is None or (match["line"] or "").rstrip().endswith("?"):
        return lines
    return [f"get_ipython().run_cell_magic('agent', {(match['line'] or '').strip()!r}, '\\n')\n"]


def _matcher(notebook: Notebook) -> Callable[[Any], Any]:
    from agentnb.notebook.completion import matcher_for

    return matcher_for(notebook)
