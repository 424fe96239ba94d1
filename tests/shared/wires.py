"""The wires that the adapters speak, for tests: one adapter of each, and the shortest prompt."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from agentnb.canonical import SystemClock
from agentnb.errors import RunInterrupted
from agentnb.models.catalog import lookup
from agentnb.models.layers import Block, Layer, Prompt
from agentnb.models.messages import Role, Text, ToolSpec
from agentnb.providers.anthropic import AnthropicProvider
from agentnb.providers.calling import Calling
from agentnb.providers.google import GoogleProvider
from agentnb.providers.openai import OpenAIProvider
from agentnb.simulator import Simulator


class ChatOnly(OpenAIProvider):
    """OpenAI's adapter after it has learned that its server speaks only Chat."""

    _speaks_chat_only = True


WIRES: dict[str, tuple[type[Calling], str]] = {
    "anthropic": (AnthropicProvider, "anthropic:claude-opus-4-6"),
    "google": (GoogleProvider, "google:gemini-3.8-flash"),
    "responses": (OpenAIProvider, "openai:gpt-4.1"),
    "chat": (ChatOnly, "openai:gpt-4.1"),
}
"""(adapter, model) by wire."""
SIMULATED: dict[str, tuple[type[Calling], str, str]] = {
    "anthropic": (AnthropicProvider, "sim:claude-sonnet-4-6", ""),
    "google": (GoogleProvider, "sim:gemini-3.1-pro-preview", ""),
    "responses": (OpenAIProvider, "sim:gpt-4.1", "/v1"),
    "reasoning": (OpenAIProvider, "sim:gpt-6.1-sol", "/v1"),
    "chat": (ChatOnly, "sim:gpt-4.1", "/v1"),
}
"""(adapter, model, path) by wire, where a simulator answers; OpenAI's once more with a model that thinks."""
INSPECT = ToolSpec(
    "inspect",
    "Look a definition up.",
    {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
)


def adapter_at(wire: str, url: str, *, key: str = "any", scope: str = "sim:of-a-test") -> Calling:
    """The wire's adapter for a server of the test's own: with a scope of the simulator no proxy is asked."""
    adapter, model = WIRES[wire]
    return adapter(lookup(model), clock=SystemClock(), key=key, base_url=url, scope=scope)


@contextmanager
def simulated(wire: str) -> Iterator[tuple[Calling, Simulator]]:
    adapter, model, path = SIMULATED[wire]
    with Simulator(speed=0, record=True) as simulator:
        scope = f"sim:{simulator.instance}"
        made = adapter(lookup(model), clock=SystemClock(), key="any", base_url=simulator.url + path, scope=scope)
        yield made, simulator
        made.close()


def said(text: str, *, layer: Layer = Layer.DYNAMIC, role: Role = Role.USER) -> Block:
    return Block(layer=layer, role=role, content=Text(text))


def hello(adapter: Calling) -> Prompt:
    return Prompt(model=adapter.model.name, blocks=(said("Hello?"),), max_tokens=99)


def cancelled(provider: Calling, ask: Callable[[], object]) -> None:
    """Ask in a thread, and cancel the call until it has ended: by an interrupt, or the test fails."""
    failed: list[BaseException] = []

    def work() -> None:
        try:
            ask()
        except RunInterrupted as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    while thread.is_alive():
        provider.cancel()
        thread.join(timeout=0.05)
    assert len(failed) == 1
