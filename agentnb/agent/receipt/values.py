"""Type the parts of a run document: frozen records whose keys are attributes too. Pure.

A part is a dict, so that whoever reads the document as JSON goes on as before: `json.dumps`, `part["tokens"]`,
`pandas.DataFrame(run.layers)`. It is typed, so that an editor completes `part.tokens` and a slip is found. The schema
of the whole document lies beside this file (run_schema.json); the names here are its names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any, ClassVar, NoReturn, TypeVar

from agentnb.canonical import JsonMapping, JsonObject

T = TypeVar("T", bound="Record")


class Record(dict[str, Any]):
    """Hold one part of a run document: a dict that nobody changes, its keys being attributes too.

    A key that is declared and that an older document lacks is None as an attribute. Any other raises AttributeError,
    which names the keys that are there. A change raises TypeError: make a copy by `dict(part)`.
    """

    _parts: ClassVar[dict[str, type[Record]]] = {}

    def __init__(self, document: JsonMapping) -> None:
        super().__init__({key: _part(value, self._parts.get(key, Record)) for key, value in document.items()})

    def __getattr__(self, name: str) -> Any:
        if name in self:
            return self[name]
        if name in type(self).__annotations__:
            return None
        raise AttributeError(f"there is no {name!r} here; known: {', '.join(self)}")

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self, *type(self).__annotations__})

    def __repr__(self) -> str:
        return f"{type(self).__name__}({super().__repr__()})"

    def __reduce__(self) -> tuple[type[Record], tuple[JsonObject]]:
        return type(self), (dict(self),)

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("a run's record is not changed; change a copy: dict(record)")

    __setitem__ = __delitem__ = __setattr__ = __delattr__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse


def _part(value: object, kind: type[Record]) -> object:
    """Return a value of a document with every dict inside it made a record."""
    if isinstance(value, Mapping):
        return kind({str(key): item for key, item in value.items()})
    if isinstance(value, list | tuple):
        return [_part(item, kind) for item in value]
    return value


def parts_of(value: object, kind: type[T]) -> list[T]:
    """Return a document's list of parts as records of one kind."""
    return [kind(item) for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


class RunUsage(Record):
    """Count the tokens over all calls of a run, as the provider reported them. The parts of the input do not overlap.

    >>> run.usage.input + run.usage.cache_read + run.usage.cache_write_5m + run.usage.cache_write_1h == run.cache.prefix
    True
    >>> run.usage.output > run.usage.reasoning, run.usage.calls
    (True, 1)
    """

    input: int
    """Input tokens that were neither read from the prompt cache nor written to it."""
    cache_read: int
    """Input tokens that were read from the prompt cache."""
    cache_write_5m: int
    """Input tokens that were written to the prompt cache for the provider's usual time (5 or 30 minutes)."""
    cache_write_1h: int
    """Input tokens that were written to the prompt cache for an hour."""
    output: int
    """Tokens that the model made, its thinking included."""
    reasoning: int
    """The part of `output` that was spent on thinking."""
    calls: int
    """Calls to the model that are in these sums; None in a step, which is one call."""


class QueueEstimate(Record):
    """Estimate the seconds that a call stood in the provider's queue, which no API reports."""

    seconds: float | None
    """Seconds; None where there are too few calls to tell."""
    samples: int
    """Calls on which the estimate rests."""


class ServerTimes(Record):
    """Holds seconds of one call as a server on this machine measured them; None where a provider tells nothing."""

    queue: float
    """Seconds that were neither the connection nor the server's work on this call."""
    prefill: float
    """Seconds in which the prompt was read."""
    decode: float
    """Seconds in which the reply was written."""


class RunLatency(Record):
    """Time one call in seconds, from its beginning to the last token. All are None where nothing was sent.

    >>> last = run.latency
    >>> last.connect <= last.headers <= last.first_event <= last.ttft <= last.total, last.tpot > 0
    (True, True)
    >>> last.attempts, last.retry_wait, last.modelled, last.streamed, last.on_server, last.queue_estimate.samples
    (1, 0.0, True, True, None, 0)
    """

    _parts: ClassVar[dict[str, type[Record]]] = {"queue_estimate": QueueEstimate, "on_server": ServerTimes}
    connect: float | None
    """Seconds until the connection was open."""
    headers: float | None
    """Seconds until the answer's headers had come."""
    first_event: float | None
    """Seconds until the stream's first event."""
    ttft: float | None
    """Time to first token: seconds until the first text, thinking or tool call."""
    tpot: float | None
    """Time per output token: seconds between two tokens; None for an answer that was not streamed."""
    total: float | None
    """Seconds until the last token, with earlier attempts and the waits between them."""
    queue_estimate: QueueEstimate
    """The part of `ttft` that was spent in the provider's queue, as an estimate."""
    on_server: ServerTimes | None
    """The server's own figures, where it is a model on this machine."""
    attempts: int
    """Attempts that the call took; 1 as a rule."""
    retry_wait: float
    """Seconds of earlier attempts and of the waits after them."""
    modelled: bool
    """True where the figures are the simulator's model, not measured."""
    streamed: bool
    """False where the answer came in one piece, so that `ttft` is when all of it was there."""


class RunLayer(Record):
    """Weigh one of the four layers of the last request: STATIC, SEMI_STATIC, HYDRATION or DYNAMIC.

    >>> [layer.name for layer in run.layers]
    ['STATIC', 'SEMI_STATIC', 'HYDRATION', 'DYNAMIC']
    >>> [(layer.tokens > layer.cached_tokens, len(layer.digest), layer.estimated) for layer in run.layers[:1]]
    [(True, 16, True)]
    """

    name: str
    """The layer."""
    tokens: int
    """Tokens of the layer: estimates, scaled to the total that the provider reported."""
    cached_tokens: int
    """Tokens of it that were read from the prompt cache, by the same scale."""
    digest: str
    """The first 16 hex digits of the content's SHA-256: equal texts have equal digests."""
    estimated: bool
    """True: providers report the sum alone, so a layer's tokens are an estimate."""


class RunTool(Record):
    """Hold one tool call of a step, without secrets."""

    name: str
    """The tool."""
    arguments: Record
    """The arguments by name."""
    result: str
    """Text that the model got back."""
    is_error: bool
    """True where the tool failed."""
    refused: bool
    """True where the call was not carried out."""
    seconds: float
    """Seconds that it took."""
    child: Record | None
    """The run that the call delegated: `run_id`, `task`, `state`, `cost` and `seconds`; None for any other call."""
    decision: Record | None
    """A person's word on it: `approved`, `rest`, `reason`, `by` and `at`; None where nobody was asked."""


class RunCache(Record):
    """Compare one call with the prompt cache: what was expected to hit beside what did, in tokens.

    >>> run.cache.read + run.cache.written <= run.cache.prefix
    True
    >>> run.cache.expected, run.cache.minimum, run.cache.reason
    (0, 1024, 'written: first call with this prefix, nothing is warm yet')
    >>> run.cache.marks, run.cache.warm_until > run.steps[-1].at
    (['end of static (5m)', 'end of the request (5m)'], True)
    >>> run.cache.missed, run.cache.lost_dollars, run.cache.lost_seconds
    (0, None, None)
    """

    expected: int
    """Tokens that the ledger predicted to be read from the prompt cache."""
    read: int
    """Tokens that the provider reported as read."""
    written: int
    """Tokens that the provider reported as written."""
    prefix: int
    """Tokens of the whole input."""
    minimum: int
    """Tokens below which the model's provider caches nothing."""
    reason: str
    """Reason why the call hit or missed."""
    warm_until: float | None
    """Seconds since the epoch until which the prompt is warm; None: it is not."""
    marks: list[str]
    """Breakpoints of the request, in words."""
    missed: int
    """Tokens that should have been read and were not."""
    lost_dollars: float | None
    """US dollars that the miss cost; None where there was none, or no price is known."""
    lost_seconds: float | None
    """Seconds that the miss cost, modelled."""


class RunStep(Record):
    """Hold one committed step of a run. A step of THINKING is one call to the model.

    >>> [step.state for step in run.steps][:2]
    ['HYDRATING', 'THINKING']
    >>> asked = run.steps[1]
    >>> asked.n, asked.next, asked.what, asked.failed, asked.tools, asked.at > run.steps[0].at
    (2, 'COMPLETED', 'answered', False, [], True)
    >>> asked.cost == run.cost, asked.usage.output == run.usage.output, asked.cache == run.cache
    (True, True, True)
    >>> asked.latency.total == asked.seconds  # the simulator's figures are modelled
    True
    """

    _parts: ClassVar[dict[str, type[Record]]] = {
        "latency": RunLatency,
        "usage": RunUsage,
        "cache": RunCache,
        "tools": RunTool,
    }
    n: int
    """The step's number, from 1."""
    state: str
    """The state whose handler made the step."""
    next: str
    """The state that it led to."""
    failed: bool
    """True where the step failed, so that the run keeps its state."""
    at: float
    """Seconds since the epoch at which it was committed."""
    seconds: float | None
    """Seconds that it took."""
    what: str
    """A few words on what it did."""
    latency: RunLatency | None
    """The call's latency; None without a call."""
    usage: RunUsage | None
    """The call's tokens; None without a call."""
    cost: float | None
    """US dollars of the call; None without a call, or where no price is known."""
    cache: RunCache | None
    """The call's prompt cache; None without a call."""
    tools: list[RunTool]
    """Tool calls that the step carried out."""


class RunFailure(Record):
    """Tell why a run failed, as its journal has it."""

    type: str
    """The exception's class."""
    code: str
    """Its stable code, as in `%agent_runs show`; empty for an error that is none of agentnb's."""
    message: str
    """Sentences: what happened, to which object, and what to do."""
    todo: str
    """The command that goes on; empty where none does."""


def run_schema() -> JsonObject:
    """Return the JSON Schema (draft 2020-12) of the run document `agentnb.run.v1`.

    >>> agentnb.run_schema()["properties"]["schema"]["const"]
    'agentnb.run.v1'
    """
    text = files("agentnb.agent.receipt").joinpath("run_schema.json").read_text(encoding="utf-8")
    schema: JsonObject = json.loads(text)
    return schema
