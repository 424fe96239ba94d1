"""Define tools: functions that a model may call, and the policy that says which of them may run unasked."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, overload

from agentnb.agent.tools.arguments import WrongArguments, schema_of, taken
from agentnb.agent.tools.plan import PlanItem
from agentnb.agent.tools.policy import allows
from agentnb.agent.tools.proposals import Proposal
from agentnb.canonical import JsonMapping
from agentnb.context.notebook.schema_only import WITHHELD
from agentnb.context.redaction.redactor import cut_point
from agentnb.errors import InputError, RunInterrupted, ToolUnknown, nearest
from agentnb.models.framing import unframed
from agentnb.models.messages import ToolCall, ToolSpec

MAX_RESULT = 6000  # characters of one tool result; the rest is cut and said to be cut


class Unable(Exception):
    """A tool cannot do what the call says; the text says why, for the model."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Holds what a tool gave. `holds` lists definitions that the text brings into the conversation. `proposes` is a
    cell to show to a person. `plan` is the run's plan from now on."""

    text: str
    is_error: bool = False
    refused: bool = False
    proposes: Proposal | None = None
    plan: tuple[PlanItem, ...] | None = None
    holds: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Tool:
    """Holds a function that a model may call.

    `acts` tools change something: they run only when allowed by name. `on_main` tools touch the user's namespace and
    run on the kernel's main thread. Of an `asks` tool a person's word is the result. `ours` are
    those that come built in: a replay looks again with them, and calls no other. One that
    `shows_values` tells less where values are to stay at home. `take` checks arguments and gives
    them as `call` wants them; it raises WrongArguments. `trouble` says, or raises, why a call would fail, before a
    person is asked.
    """

    name: str
    description: str
    parameters: JsonMapping
    call: Callable[..., Any]
    acts: bool = True
    on_main: bool = True
    asks: bool = False
    delegates: bool = False
    ours: bool = False
    shows_values: bool = True
    take: Callable[[Mapping[str, Any]], dict[str, Any]] = dict
    trouble: Callable[..., str] = field(default=lambda **_: "")
    rehearse: Callable[[Sequence[JsonMapping]], str] | None = None
    """Tells what the last of these calls would do after the others; called where the tool runs."""

    @property
    def spec(self) -> ToolSpec:
        return ToolSpec(self.name, self.description, self.parameters)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.call(*args, **kwargs)


@overload
def tool(function: Callable[..., Any], /) -> Tool: ...
@overload
def tool(*, name: str = ..., safe: bool = ...) -> Callable[[Callable[..., Any]], Tool]: ...
def tool(
    function: Callable[..., Any] | None = None, /, *, name: str = "", safe: bool = False
) -> Tool | Callable[[Callable[..., Any]], Tool]:
    """Make a function a tool: `@agentnb.tool` or `@agentnb.tool(safe=True)`.

    The docstring is what the model reads; the annotations give the schema. A `safe` tool has no side effects and
    runs without being allowed by name. One with a built-in tool's name takes its place. Raises InputError on a name
    that not every provider takes.

    >>> @agentnb.tool(safe=True)
    ... def tide(port: str) -> float:
    ...     "Metres of tide at a port."
    ...     return 3.2
    >>> with agentnb.Agent(model="sim:claude-sonnet-4-6", tools=[tide]) as agent:
    ...     answer = agent.run("Use `tide` for Dover.")
    >>> [use.name for step in answer.steps for use in step.tools]
    ['tide']
    """

    def make(given: Callable[..., Any]) -> Tool:
        return tool_of(given, name=_fit_for_all(name or given.__name__), acts=not safe)

    return make if function is None else make(function)


def tool_of(function: Callable[..., Any], *, name: str = "", **said: Any) -> Tool:
    """Return the tool that a function is: description from its docstring, schema and check from its signature."""
    return Tool(
        name=name or function.__name__,
        description=inspect.cleandoc(function.__doc__ or function.__name__),
        parameters=schema_of(function),
        call=function,
        take=partial(taken, function),
        **said,
    )


def _fit_for_all(name: str) -> str:
    """Return the name, where all providers take it: the strictest of their rules."""
    if re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_-]{0,63}", name):
        return name
    raise InputError(
        "a tool's name begins with a letter or _, and has at most 64 plain letters, digits, _ and -",
        about=repr(name),
        todo="Name it with @agentnb.tool(name=…).",
    )


# --- policy ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ToolBox:
    """Holds the tools of one run, and which of those that act may run unasked."""

    tools: Mapping[str, Tool]
    allow: frozenset[str] = field(default_factory=frozenset)

    def specs(self) -> tuple[ToolSpec, ...]:
        return tuple(tool.spec for _, tool in sorted(self.tools.items()))

    def may_run(self, call: ToolCall) -> bool:
        """Exact names only: a prefix or pattern that is allowed for one tool must not let another through."""
        tool = self.tools[call.name]
        return not tool.asks and (not tool.acts or allows(self.allow, call.name, call.arguments))

    def asks(self, call: ToolCall) -> bool:
        """Tell whether a person's word is all that the call lacks."""
        return call.name in self.tools and not self.may_run(call) and self.problem(call, approved=True) is None

    def problem(self, call: ToolCall, *, approved: bool = False) -> Outcome | None:
        """Tell why this call cannot be carried out, in words for the model; None when it can. `approved`: a person was
        asked about this very call."""
        if call.name not in self.tools:
            known = ", ".join(sorted(self.tools)) or "none"
            said = f"There is no tool called {call.name}. The tools are: {known}."
            return Outcome(text=unframed(shorten(said)), is_error=True)
        tool = self.tools[call.name]
        if trouble := _trouble(tool, call.arguments):
            return trouble
        if approved or self.may_run(call):
            return None
        said = (
            f"Refused: {call.name} may act on the notebook, and it was not allowed. Give the code or the "
            f"steps instead. (The person can allow it with --allow {call.name}.)"
        )
        return Outcome(text=NOBODY if tool.asks else said, is_error=True, refused=True)


def _trouble(tool: Tool, arguments: Mapping[str, Any]) -> Outcome | None:
    """Return what is wrong with a call's arguments, or with its effect where the tool knows that beforehand."""
    try:
        said = tool.trouble(**tool.take(arguments))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the user's code: what it raises goes to the model
        said = _said_of(error, tool)
    return Outcome(text=unframed(shorten(said)), is_error=True) if said else None


def pick(names: Iterable[str], available: Mapping[str, Tool]) -> dict[str, Tool]:
    """Return the named tools. Raises ToolUnknown with the nearest name."""
    chosen = {}
    for name in names:
        try:
            chosen[name] = available[name]
        except KeyError:
            hint = nearest(name, list(available))
            raise ToolUnknown(
                f"no tool is called {name!r}", todo=f"{hint} Known: {', '.join(sorted(available))}.".strip()
            ) from None
    return chosen


def carry_out(tool: Tool, call: ToolCall) -> Outcome:
    """Run a tool that may run. Its own failure is an outcome for the model to read, not ours."""
    try:
        result = tool.call(**tool.take(call.arguments))
    except RunInterrupted:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the user's code: what it raises goes to the model
        return Outcome(text=unframed(shorten(_said_of(error, tool))), is_error=True)
    if not isinstance(result, Outcome):
        return Outcome(text=unframed(shorten(result if isinstance(result, str) else repr(result))))
    # An error may quote what the model gave: a name of any length, a tag of ours.
    return replace(result, text=unframed(shorten(result.text))) if result.is_error else result


def _said_of(error: BaseException, tool: Tool) -> str:
    match error:
        case WrongArguments():
            return f"Wrong arguments for {tool.name}: {error}."
        case Unable():
            return str(error)
        case _:
            return f"{type(error).__name__}: {error}"


def without_result(tool: Tool) -> Tool:
    """Return the tool as used where no value is to be sent: it runs, and tells only whether it failed."""
    if not tool.shows_values:
        return tool

    def call(**arguments: Any) -> Outcome:
        outcome = carry_out(tool, ToolCall("", tool.name, arguments))
        said = "It failed" if outcome.is_error else "It ran"
        return Outcome(text=f"{said}. What it gave is {WITHHELD}.", is_error=outcome.is_error, refused=outcome.refused)

    return replace(tool, call=call)


def shorten(text: str, limit: int = MAX_RESULT) -> str:
    """Return text within the limit: its beginning and its end, and how much was cut between. No secret is cut in two.

    What was cut once stays as it is.
    """
    if len(text) <= limit or (len(text) <= limit + _CUT_MARK and "characters cut …]" in text):
        return text
    head, _ = cut_point(text, limit * 2 // 3, reach=KEY_TEXT)
    _, tail = cut_point(text, len(text) - limit // 3, reach=KEY_TEXT)
    return f"{text[:head]}\n[… {tail - head:,} characters cut …]\n{text[tail:]}"


NO_ANSWER = "Go on with the likeliest answer, and say which you took."
NOBODY = f"Nobody is here to answer. {NO_ANSWER}"
_CUT_MARK = 60
"""Characters that the note of a cut has at most."""
KEY_TEXT = 4000
"""Characters that a private key written as text may have."""
