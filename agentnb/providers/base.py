"""Define the seam between us and a provider: encode (pure) -> send (I/O) -> decode (pure)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

from agentnb.canonical import JsonMapping
from agentnb.models.catalog import Model
from agentnb.models.layers import Prompt
from agentnb.models.messages import Reply, Usage, inside
from agentnb.providers.transport import LONGEST_WAIT, CallTrace


@dataclass(frozen=True, kw_only=True)
class Mark:
    """Holds a cache breakpoint: it stands on the block with this index in render order. `ttl` is "5m", "30m" or "1h".

    `holder` is the provider's name of the cache object that holds everything up to and with this block. Google keeps
    such objects; for a mark inside the request it is empty. An `automatic` mark is left to the provider to place at the
    last block (Anthropic's top-level cache_control).
    """

    index: int
    ttl: str
    why: str
    holder: str = ""
    automatic: bool = False


@dataclass(frozen=True, kw_only=True)
class Wire:
    """Holds one request as its provider wants it. `body` is plain JSON; `marks` are the breakpoints inside it.

    `form` tells the wires of one provider apart ("responses" and "chat"). `fallback` says the same in another way, for
    a server that refuses this one. `attempts`: how often a reply that breaks off may be asked for; each costs.
    `retry_wait` is the most seconds to wait where a provider asks for that. One that asks for more is not asked again.
    `hands_back`: nothing is waited for here; a refusal that asks for a wait is raised at once.
    `layers` are the digests of the request's layers, where replies are recorded by them. `parts` names what stands in
    each, as "name digest". `stream` False asks for the whole reply at once, for servers and proxies that cannot stream.
    """

    body: JsonMapping
    marks: tuple[Mark, ...] = ()
    form: str = ""
    fallback: Wire | None = None
    attempts: int = 3
    retry_wait: float = LONGEST_WAIT
    hands_back: bool = False
    layers: Mapping[str, str] = field(default_factory=dict)
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    stream: bool = True

    def otherwise(self) -> Wire:
        """Return the fallback, within this request's limits."""
        assert self.fallback is not None, "asked for only where there is one"
        return replace(self.fallback, attempts=self.attempts, retry_wait=self.retry_wait, hands_back=self.hands_back)

    @property
    def most_tokens(self) -> int:
        """Return how many tokens the reply may have, as the body says on its own wire."""
        said = [self.body.get("max_tokens"), self.body.get("max_output_tokens")]
        return max(n for n in (0, *said, inside(self.body, "config").get("maxOutputTokens")) if isinstance(n, int))

    def plain(self) -> Wire:
        """Return the same request, asked for in one piece."""
        return replace(self, stream=False, fallback=self.fallback and self.fallback.plain())


@dataclass(frozen=True, kw_only=True)
class CallAnswer:
    """Holds a reply and the timeline of the call that brought it.

    `wasted` is what replies that broke off had used by then; `fell_back` says that the wire's fallback was answered.
    `recorded` is the date and the model of a reply from a cassette; empty for a live one.
    """

    reply: Reply
    trace: CallTrace
    wasted: Usage = field(default_factory=Usage)
    fell_back: bool = False
    recorded: str = ""


OnText = Callable[[str, str], None]
"""Called with ("text" | "thinking" | "tool", delta) while a reply streams. ("restart", "") says that it begins anew,
and what was shown before is void. ("wait", SENTENCE) says why nothing comes for a while."""


class Decoder(Protocol):
    """Folds a provider's raw events into one Reply. Pure: it sees JSON only."""

    def feed(self, event: JsonMapping) -> tuple[str, str] | None: ...

    def reply(self, *, request_id: str | None = None) -> Reply: ...

    def spent(self) -> Usage: ...


@runtime_checkable
class CountingProvider(Protocol):
    """Knows exactly how many tokens prompts share that begin with the same blocks."""

    def shared_tokens(self, prompt: Prompt, last: int) -> int: ...


class Provider(Protocol):
    """Holds one model behind one connection.

    `scope` names whose prompt cache it is: the endpoint, or the simulator's instance. `account` names whose limits
    count: the scope, with a short digest of the key.
    """

    model: Model
    scope: str

    @property
    def account(self) -> str: ...

    def encode(self, prompt: Prompt, marks: tuple[Mark, ...], *, previous_message: str | None) -> Wire: ...

    def send(self, wire: Wire) -> Iterator[JsonMapping]: ...

    def decoder(self, wire: Wire | None = None) -> Decoder: ...

    @property
    def connected(self) -> bool: ...

    def connect(self) -> None: ...

    def ask(self, wire: Wire, on_text: OnText) -> CallAnswer: ...

    @property
    def can_prewarm(self) -> bool: ...

    def prewarm(self, wire: Wire) -> Usage: ...

    def cancel(self) -> None: ...

    def close(self) -> None: ...
