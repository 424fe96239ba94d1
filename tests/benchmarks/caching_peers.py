"""One peer's session, in the peer's own environment: `python caching_peers.py NAME TTL URL < session.json`.

Goes through the session that caching_session.py tells of, against the simulator at URL, with the peer's own prompt
caching switched on for tools, system prompt and messages. Only the standard library and the peer are imported.
Prints one JSON line: {"version": …, "answers": number of turns}.
"""

from __future__ import annotations

import json
import sys
import urllib.request
from importlib.metadata import version
from typing import Any

MODEL = "claude-sonnet-4-6"


class World:
    """The clock of the simulator and the results of the tool."""

    def __init__(self, url: str, session: dict[str, Any]) -> None:
        self._url = url
        self._session = session

    def advance(self, seconds: float) -> None:
        body = json.dumps({"advance": seconds}).encode()
        asked = urllib.request.Request(f"{self._url}/sim/clock", body, {"content-type": "application/json"})
        urllib.request.urlopen(asked).close()

    def inspect(self, name: str) -> str:
        self.advance(self._session["step_seconds"])
        return str(self._session["results"][name])


def pydantic_ai(url: str, ttl: str, session: dict[str, Any]) -> int:
    from pydantic_ai import Agent
    from pydantic_ai.models.anthropic import AnthropicModel, AnthropicModelSettings
    from pydantic_ai.providers.anthropic import AnthropicProvider

    world = World(url, session)
    settings = AnthropicModelSettings(
        max_tokens=4096,
        anthropic_cache_tool_definitions=ttl,
        anthropic_cache_instructions=ttl,
        anthropic_cache_messages=ttl,
    )
    model = AnthropicModel(MODEL, provider=AnthropicProvider(api_key="simulated", base_url=url))
    agent = Agent(model, instructions=session["system"], model_settings=settings)

    @agent.tool_plain
    def inspect(name: str) -> str:
        """Look up a definition or a variable by its name: its source, or what it holds."""
        return world.inspect(name)

    history: Any = None
    for turn in session["turns"]:
        world.advance(turn["pause"])
        history = agent.run_sync(turn["text"], message_history=history).all_messages()
    return len(session["turns"])


def langchain(url: str, ttl: str, session: dict[str, Any]) -> int:
    from langchain.agents import create_agent
    from langchain_anthropic import ChatAnthropic
    from langchain_anthropic.middleware import AnthropicPromptCachingMiddleware

    world = World(url, session)

    def inspect(name: str) -> str:
        """Look up a definition or a variable by its name: its source, or what it holds."""
        return world.inspect(name)

    model = ChatAnthropic(model=MODEL, base_url=url, api_key="simulated", max_tokens=4096)
    middleware = [AnthropicPromptCachingMiddleware(ttl=ttl)]
    agent = create_agent(model, [inspect], system_prompt=session["system"], middleware=middleware)
    messages: list[Any] = []
    for turn in session["turns"]:
        world.advance(turn["pause"])
        asked = [*messages, {"role": "user", "content": turn["text"]}]
        messages = agent.invoke({"messages": asked}, {"recursion_limit": 200})["messages"]
    return len(session["turns"])


PEERS = {"pydantic-ai": ("pydantic-ai-slim", pydantic_ai), "langchain": ("langchain-anthropic", langchain)}


def main() -> None:
    name, ttl, url = sys.argv[1:4]
    package, drive = PEERS[name]
    print(json.dumps({"version": version(package), "answers": drive(url, ttl, json.load(sys.stdin))}))


if __name__ == "__main__":
    main()
