"""Run a model's Python in a namespace: what it printed, the last expression's value, or a short traceback."""

from __future__ import annotations

import ast
import contextlib
import io
import traceback
import types
from collections.abc import Callable
from typing import Any

from agentnb.agent.tools.tool import Outcome, shorten
from agentnb.models.framing import unframed


def run_in(namespace: dict[str, Any], code: str, *, transform: Callable[[str], str] = str) -> Outcome:
    """Run `code` in `namespace`: what it printed, the last expression's repr, and a short traceback if it failed.

    A KeyboardInterrupt passes through: it is the user's, not the code's.
    """
    printed = io.StringIO()
    value: Any = None
    try:
        body, last = _split_last(transform(code))
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            exec(body, namespace)  # noqa: S102 - running the code is the tool's purpose, and it was allowed by name
            value = eval(last, namespace) if last is not None else None  # noqa: S307 - likewise
            shown = "" if value is None else repr(value)
    except Exception as error:  # noqa: BLE001 - the code is the model's: whatever it raises goes back to it
        trace = "".join(traceback.format_exception(error.with_traceback(_own_frames(error.__traceback__))))
        return Outcome(text=unframed(shorten(f"{printed.getvalue()}{trace}")), is_error=True)
    return Outcome(text=unframed(shorten(f"{printed.getvalue()}{shown}")) or "(no output)")


def _split_last(code: str) -> tuple[types.CodeType, types.CodeType | None]:
    tree = ast.parse(code)
    last = None
    if tree.body and isinstance(tree.body[-1], ast.Expr):
        expression = tree.body.pop()
        assert isinstance(expression, ast.Expr)
        last = compile(ast.Expression(expression.value), "<run_code>", "eval")
    return compile(tree, "<run_code>", "exec"), last


def _own_frames(trace: types.TracebackType | None) -> types.TracebackType | None:
    """Return the traceback from the model's code on: our own frames would only confuse it."""
    while trace is not None and trace.tb_frame.f_code.co_filename != "<run_code>":
        trace = trace.tb_next
    return trace
