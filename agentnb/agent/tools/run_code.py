"""Run a model's Python in a namespace: what it printed, the last expression's value, or a short traceback."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import io
import sys
import traceback
import types
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from agentnb.agent.tools.tool import Outcome, shorten
from agentnb.models.framing import unframed

OTHER_LOOP = (
    "run_code awaits in a loop of its own: tasks, locks and clients of earlier cells belong to the kernel's loop. "
    "Make them anew in this code, or propose a cell that awaits them.\n"
)


def run_in(namespace: dict[str, Any], code: str, *, transform: Callable[[str], str] = str) -> Outcome:
    """Run `code` in `namespace`: what it printed, the last expression's repr, and a short traceback if it failed.

    A KeyboardInterrupt passes through: it is the user's, not the code's. The code may await, as a cell does.
    """
    printed = io.StringIO()
    value: Any = None
    try:
        parts = _parts(transform(code))
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed), _ends_itself_alone(namespace):
            if any(part.co_flags & inspect.CO_COROUTINE for part in parts):
                value = _awaited(_run_awaiting(parts, namespace))
            else:
                for part in parts:
                    value = eval(part, namespace)  # noqa: S307 - running it is the tool's purpose; it was allowed
            shown = "" if value is None else repr(value)
    except SystemExit as error:
        said = f"{printed.getvalue()}SystemExit: {error.code}"
        return Outcome(text=unframed(shorten(said)), is_error=error.code not in (None, 0))
    except Exception as error:  # noqa: BLE001 - the code is the model's: whatever it raises goes back to it
        trace = "".join(traceback.format_exception(error.with_traceback(_own_frames(error.__traceback__))))
        trace += OTHER_LOOP if isinstance(error, RuntimeError) and "different loop" in str(error) else ""
        return Outcome(text=unframed(shorten(f"{printed.getvalue()}{trace}")), is_error=True)
    return Outcome(text=unframed(shorten(f"{printed.getvalue()}{shown}")) or "(no output)")


@contextlib.contextmanager
def _ends_itself_alone(namespace: dict[str, Any]) -> Iterator[None]:
    """Let `exit` and `quit` end the code. Those of a notebook end its kernel, and all of the user's values with it."""
    there = {name: namespace.get(name) for name in ("exit", "quit")}
    shells = {
        name: end for name, end in there.items() if type(end).__module__.split(".")[0] in ("IPython", "ipykernel")
    }
    namespace.update(dict.fromkeys(shells, sys.exit))
    try:
        yield
    finally:
        namespace.update({name: end for name, end in shells.items() if namespace.get(name) is sys.exit})


def _parts(code: str) -> list[types.CodeType]:
    """Return the code up to its last expression, and the last expression alone where there is one."""
    tree = ast.parse(code)
    made: list[ast.Module | ast.Expression] = [tree]
    if tree.body and isinstance(tree.body[-1], ast.Expr):
        expression = tree.body.pop()
        assert isinstance(expression, ast.Expr)
        made.append(ast.Expression(expression.value))
    kinds = ("exec", "eval")
    return [
        compile(part, "<run_code>", kind, flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        for part, kind in zip(made, kinds, strict=False)
    ]


async def _run_awaiting(parts: list[types.CodeType], namespace: dict[str, Any]) -> object:
    value: Any = None
    for part in parts:
        value = eval(part, namespace)  # noqa: S307 - likewise
        if part.co_flags & inspect.CO_COROUTINE:
            value = await value
    return value


def _awaited(work: Coroutine[Any, Any, object]) -> object:
    """Run it to its end in a loop of its own: the kernel's stands still while a cell runs.

    An interrupt ends it at once. What it began and did not await is cancelled.
    """
    with _outside_of_loops():
        loop = asyncio.new_event_loop()
        try:
            return loop.run_until_complete(work)
        finally:
            left = asyncio.all_tasks(loop)
            for task in left:
                task.cancel()
            if left:
                loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()


@contextlib.contextmanager
def _outside_of_loops() -> Iterator[None]:
    """Let another loop run on this thread while the one that runs the cell stands still."""
    outer = asyncio._get_running_loop()
    if outer is None:
        yield
        return
    task = asyncio.current_task(outer)
    if task is not None:
        asyncio.tasks._leave_task(outer, task)
    asyncio._set_running_loop(None)
    try:
        yield
    finally:
        asyncio._set_running_loop(outer)
        if task is not None:
            asyncio.tasks._enter_task(outer, task)


def _own_frames(trace: types.TracebackType | None) -> types.TracebackType | None:
    """Return the traceback from the model's code on: our own frames would only confuse it."""
    while trace is not None and trace.tb_frame.f_code.co_filename != "<run_code>":
        trace = trace.tb_next
    return trace
