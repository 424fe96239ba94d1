"""Tools: functions that a model may call, and the policy that says which of them may run unasked."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, overload

<<<<<<< HEAD
from agentnb.agent.tools.arguments import WrongArguments, schema_of, taken
from agentnb.agent.tools.policy import allows
from agentnb.agent.tools.proposals import Proposal
=======
from agentnb.canonical import JsonMapping, JsonObject
>>>>>>> state
from agentnb.context.notebook.schema_only import WITHHELD
from agentnb.context.redaction.redactor import cut_point
from agentnb.errors import InputError, ToolUnknown, nearest
from agentnb.models.framing import unframed
from agentnb.models.messages import ToolCall, ToolSpec

MAX_RESULT = 6000  # characters of one tool result; the rest is cut and said to be cut


class Unable(Exception):
    """A tool cannot do what the call says; the text says why, for the model."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a tool gave. `holds` lists definitions that the text brings into the conversation, `proposes` is a cell that
    a person is to be shown."""

    text: str
    is_error: bool = False
    refused: bool = False
<<<<<<< HEAD
    proposes: Proposal | None = None
    holds: tuple[Mapping[str, Any], ...] = ()
=======
    holds: tuple[JsonMapping, ...] = ()
>>>>>>> state


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A function that a model may call.

    `acts` tools change something: they run only when allowed by name. `on_main` tools touch the user's namespace and
    run on the kernel's main thread. Of an `asks` tool a person's word is the result. One that
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
    shows_values: bool = True
    take: Callable[[Mapping[str, Any]], dict[str, Any]] = dict
    trouble: Callable[..., str] = field(default=lambda **_: "")

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
    """

    def make(given: Callable[..., Any]) -> Tool:
        return tool_of(given, name=_fit_for_all(name or given.__name__), acts=not safe)

    return make if function is None else make(function)


def tool_of(function: Callable[..., Any], *, name: str = "", **said: Any) -> Tool:
    """The tool that a function is: description from its docstring, schema and check from its signature."""
    return Tool(
        name=name or function.__name__,
        description=inspect.cleandoc(function.__doc__ or function.__name__),
        parameters=schema_of(function),
        call=function,
        take=partial(taken, function),
        **said,
    )


def _fit_for_all(name: str) -> str:
    """The name, where all providers take it: the strictest of their rules."""
    if re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_-]{0,63}", name):
        return name
    raise InputError(
        "a tool's name has 1 to 64 letters (a to z, A to Z), digits, _ and -, and no digit or - at its beginning",
        about=repr(name),
        todo="Name it with @agentnb.tool(name=…).",
    )


<<<<<<< HEAD
=======
# --- schema: pure ------------------------------------------------------------------------------------------------

_JSON_TYPES: dict[Any, str] = {str: "string", int: "integer", float: "number", bool: "boolean", dict: "object"}


def schema_of(function: Callable[..., Any]) -> JsonObject:
    """A JSON schema of type object from a signature. Raises InputError on a parameter that JSON cannot carry."""
    hints = typing.get_type_hints(function)
    properties: JsonObject = {}
    required = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise InputError(
                f"the tool {function.__name__} has the parameter {parameter}, which JSON cannot carry by name",
                todo="Give it plain named parameters.",
            )
        properties[parameter.name] = schema_of_type(hints.get(parameter.name, str), f"{function.__name__}.{parameter}")
        if parameter.default is parameter.empty:
            required.append(parameter.name)
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def schema_of_type(hint: Any, where: str) -> JsonObject:
    """The JSON schema of one annotation: str, int, float, bool, dict, list[...], Literal[...], Optional."""
    if hint in _JSON_TYPES:
        return {"type": _JSON_TYPES[hint]}
    origin, inner = get_origin(hint), get_args(hint)
    if hint is list or origin is list:
        return {"type": "array", "items": schema_of_type(inner[0], where) if inner else {}}
    if origin is dict:
        return {"type": "object"}
    if origin is Literal:
        return {"enum": list(inner)}
    if origin in (Union, types.UnionType):
        rest = [part for part in inner if part is not type(None)]
        if len(rest) == 1:
            return schema_of_type(rest[0], where)
        return {"anyOf": [schema_of_type(part, where) for part in rest]}
    if hint is Any:
        return {}
    raise InputError(
        f"the tool parameter {where} has the type {hint!r}, which has no JSON form",
        todo="Use str, int, float, bool, dict, list[...] or Literal[...].",
    )


>>>>>>> state
# --- policy ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ToolBox:
    """The tools of one run, and which of those that act may run unasked."""

    tools: Mapping[str, Tool]
    allow: frozenset[str] = field(default_factory=frozenset)

    def specs(self) -> tuple[ToolSpec, ...]:
        return tuple(tool.spec for _, tool in sorted(self.tools.items()))

    def may_run(self, call: ToolCall) -> bool:
        """Exact names only: a prefix or pattern that is allowed for one tool must not let another through."""
        tool = self.tools[call.name]
        return not tool.asks and (not tool.acts or allows(self.allow, call.name, call.arguments))

    def asks(self, call: ToolCall) -> bool:
        """Whether a person's word is all that the call lacks."""
        return call.name in self.tools and not self.may_run(call) and self.problem(call, approved=True) is None

    def problem(self, call: ToolCall, *, approved: bool = False) -> Outcome | None:
        """Why this call cannot be carried out, in words for the model; None when it can. `approved`: a person was
        asked about this very call."""
        if call.name not in self.tools:
            known = ", ".join(sorted(self.tools)) or "none"
            return Outcome(text=f"There is no tool called {call.name}. The tools are: {known}.", is_error=True)
        if not approved and self.tools[call.name].asks:
            return _trouble(self.tools[call.name], call.arguments) or Outcome(text=NOBODY, is_error=True, refused=True)
        if not approved and not self.may_run(call):
            return Outcome(
                text=f"Refused: {call.name} may act on the notebook, and it was not allowed. Give the code or the "
                f"steps instead. (The person can allow it with --allow {call.name}.)",
                is_error=True,
                refused=True,
            )
        return _trouble(self.tools[call.name], call.arguments)


<<<<<<< HEAD
def _trouble(tool: Tool, arguments: Mapping[str, Any]) -> Outcome | None:
    """What is wrong with a call's arguments; or with what it would do, where the tool can say so beforehand."""
    try:
        said = tool.trouble(**tool.take(arguments))
    except Exception as error:  # noqa: BLE001 - a tool is the user's code: whatever it raises goes to the model
        said = _said_of(error, tool)
    return Outcome(text=shorten(said), is_error=True) if said else None
=======
def _bad_arguments(tool: Tool, arguments: JsonMapping) -> Outcome | None:
    known = set(tool.parameters["properties"])
    missing = [name for name in tool.parameters["required"] if name not in arguments]
    unknown = sorted(set(arguments) - known)
    if not missing and not unknown:
        return None
    parts = [f"missing: {', '.join(missing)}" if missing else "", f"unknown: {', '.join(unknown)}" if unknown else ""]
    return Outcome(text=f"Wrong arguments for {tool.name}: {'; '.join(filter(None, parts))}.", is_error=True)
>>>>>>> state


def pick(names: Iterable[str], available: Mapping[str, Tool]) -> dict[str, Tool]:
    """The named tools. Raises ToolUnknown with the nearest name."""
    chosen = {}
    for name in names:
        if name not in available:
            hint = nearest(name, list(available))
            raise ToolUnknown(
                f"no tool is called {name!r}", todo=f"{hint} Known: {', '.join(sorted(available))}.".strip()
            )
        chosen[name] = available[name]
    return chosen


def carry_out(tool: Tool, call: ToolCall) -> Outcome:
    """Run a tool that may run. Its own failure is an outcome for the model to read, not ours."""
    try:
        result = tool.call(**tool.take(call.arguments))
    except Exception as error:  # noqa: BLE001 - a tool is the user's code: whatever it raises goes to the model
        return Outcome(text=unframed(shorten(_said_of(error, tool))), is_error=True)
    return result if isinstance(result, Outcome) else Outcome(text=unframed(shorten(_as_text(result))))


def _said_of(error: Exception, tool: Tool) -> str:
    match error:
        case WrongArguments():
            return f"Wrong arguments for {tool.name}: {error}."
        case Unable():
            return str(error)
        case _:
            return f"{type(error).__name__}: {error}"


def without_result(tool: Tool) -> Tool:
    """The tool as it may be used where no value is to be sent: it runs, and only whether it failed is told."""
    if not tool.shows_values:
        return tool

    def call(**arguments: Any) -> Outcome:
        outcome = carry_out(tool, ToolCall("", tool.name, arguments))
        said = "It failed" if outcome.is_error else "It ran"
        return Outcome(text=f"{said}. What it gave is {WITHHELD}.", is_error=outcome.is_error, refused=outcome.refused)

    return replace(tool, call=call)


def _as_text(result: Any) -> str:
    return result if isinstance(result, str) else repr(result)


def shorten(text: str, limit: int = MAX_RESULT) -> str:
    """Text within the limit: its beginning and its end, and how much was cut between. No secret is cut in two."""
    if len(text) <= limit:
        return text
    head, _ = cut_point(text, limit * 2 // 3, reach=KEY_TEXT)
    _, tail = cut_point(text, len(text) - limit // 3, reach=KEY_TEXT)
    return f"{text[:head]}\n[… {tail - head:,} characters cut …]\n{text[tail:]}"


NO_ANSWER = "Go on with the likeliest answer, and say which you took."
NOBODY = f"Nobody is here to answer. {NO_ANSWER}"
KEY_TEXT = 4000
"""Characters that a private key written as text may have."""
<<<<<<< HEAD
=======


# --- the built-in tools ------------------------------------------------------------------------------------------

INSPECT = ToolSpec(
    "inspect",
    "Bring one more definition into the conversation: the exact source of a function, class, method or constant of "
    "the notebook or of a module that it imports, by its name as code would write it (e.g. `clean`, `Model.fit`, "
    "`nx.Graph.add_edge`). For a variable it gives a short description of its present value. No side effects.",
    {
        "type": "object",
        "properties": {
            "name": {
                "type": "string",
                "description": "The name, dotted where needed, as code in the notebook writes it.",
            }
        },
        "required": ["name"],
        "additionalProperties": False,
    },
)

READ_CELL = ToolSpec(
    "read_cell",
    "Bring a cell of the notebook into the conversation at length: its source and all of its outputs as they were when "
    "it ran. For cells that the outline lists, and for those whose outputs were cut. No side effects.",
    {
        "type": "object",
        "properties": {
            "number": {"type": "integer", "description": "The cell's number, as `number` or the outline gives it."},
            "part": {"enum": ["all", "source"], "description": "`source` leaves the outputs out; default `all`."},
        },
        "required": ["number"],
        "additionalProperties": False,
    },
)

RUN_CODE = ToolSpec(
    "run_code",
    "Run Python in the person's kernel, with their variables, and get what was printed and the value of the last "
    "expression. Keep it short and prefer reading to writing. Runs only if the person allowed it.",
    {
        "type": "object",
        "properties": {
            "code": {"type": "string", "description": "Python source; the last expression's value is returned."}
        },
        "required": ["code"],
        "additionalProperties": False,
    },
)


def built_in(
    *, look: Callable[[str], Outcome], run: Callable[[str], Outcome], read: Callable[..., Outcome]
) -> dict[str, Tool]:
    """The built-in tools over what they need: `look(name)`, `run(code)`, `read(number, part)`, parameters named so."""
    made = (
        Tool(
            name=READ_CELL.name,
            description=READ_CELL.description,
            parameters=READ_CELL.parameters,
            call=read,
            acts=False,
            on_main=False,
        ),
        Tool(
            name=INSPECT.name,
            description=INSPECT.description,
            parameters=INSPECT.parameters,
            call=look,
            acts=False,
            on_main=False,
        ),
        Tool(
            name=RUN_CODE.name,
            description=RUN_CODE.description,
            parameters=RUN_CODE.parameters,
            call=run,
        ),
    )
    return {item.name: item for item in made}


def run_in(namespace: JsonObject, code: str, *, transform: Callable[[str], str] = str) -> Outcome:
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
    """The traceback from the model's code on: our own frames would only confuse it."""
    while trace is not None and trace.tb_frame.f_code.co_filename != "<run_code>":
        trace = trace.tb_next
    return trace
>>>>>>> state
