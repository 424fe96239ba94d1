"""Record what pydantic-ai, langchain and litellm send when something breaks the prefix of a prompt, one break a file.

The clients are no requirement of agentnb. Make an environment of their own, then record:

    uv venv clients && uv pip install --python clients/bin/python \
        'pydantic-ai-slim[anthropic,openai]' langchain-anthropic litellm pillow agentnb-jupyter
    PYTHONPATH=. clients/bin/python tests/benchmarks/explain/record.py tests/explain/data

Each file has two calls, as the clients sent them to the simulator: the second one's prefix is broken. What they send is
kept whole, of the replies only the usage. tests/explain/test_seeded_breaks.py asserts over the files what was broken.
"""

from __future__ import annotations

import base64
import copy
import io
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from agentnb import SimClock, Simulator

START = 1_796_000_000.0
TOPICS = ("orders", "customers", "invoices", "stock", "shipments", "returns", "prices", "suppliers")
RULE = "Rule {n}: before you answer about {topic}, look the {topic} up by their number; never guess a {topic} figure."


def rules(count: int) -> str:
    return "\n".join(RULE.format(n=n, topic=TOPICS[n % len(TOPICS)]) for n in range(1, count + 1))


def tool(name: str, description: str) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {"number": {"type": "integer", "description": "Its number."}, "year": {"type": "integer"}},
        "required": ["number"],
    }
    return {"name": name, "description": description, "schema": schema}


TOOLS = [tool(f"find_{topic}", f"Find {topic} by number and year.") for topic in TOPICS[:3]]


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One call before a client has put it in its own way. `turns` alternate, the user's first; a turn of the user's may
    be several texts. `marked`: which parts carry cache_control."""

    model: str = "claude-opus-5-5"
    system: str = "You answer for a shop.\n" + rules(12)
    tools: list[dict[str, Any]] = field(default_factory=lambda: copy.deepcopy(TOOLS))
    turns: list[Any] = field(
        default_factory=lambda: ["Order 7 is late. " + rules(3), "I see. Which year?", "This one."]
    )
    marked: tuple[str, ...] = ("system", "last")
    thinking: int = 0
    forced: str = ""
    picture: bytes = b""
    beta: str = ""

    def goes_on(self, **changed: Any) -> Ask:
        """Return the next call: two turns more, and what is broken."""
        return replace(self, **({"turns": [*self.turns, "It left on Monday.", "And order 8?"]} | changed))


def picture(quality: int) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.radial_gradient("L").resize((64, 64)).save(out, "JPEG", quality=quality)
    return out.getvalue()


def breaks() -> dict[str, tuple[Ask, Ask, float]]:
    """Return every seeded break by name: two calls, and the seconds between them."""
    one = Ask()
    older = replace(one, model="claude-sonnet-4-6", system=one.system + rules(24))  # takes forced tools and budgets
    more = [*one.turns, "It left on Monday.", "And order 8?"]
    dated = [replace(one, system=f"It is 10:{minute} now.\n{one.system}") for minute in ("04:11", "05:52")]
    ordered = copy.deepcopy(TOOLS)
    for each in ordered:
        each["schema"]["properties"] = dict(reversed(each["schema"]["properties"].items()))
    described = copy.deepcopy(TOOLS)
    described[1]["description"] = "Find customers by number, name and year."
    named = [[f"request-id: {name}\n{one.turns[0]}", *one.turns[1:]] for name in ("5f0c6a1e", "b27d9e44")]
    pictured = replace(one, picture=picture(90))
    short = replace(one, system="You answer for a shop.\n" + rules(4), tools=[], turns=["Order 7?", "Late.", "Why?"])
    long = [*one.turns, "It left on Monday.", [f"Line {n} of the bill: 3 pieces at 4 francs." for n in range(24)]]
    asked = ["And order 8? " + rules(12)]
    return {
        "timestamp": (dated[0], dated[0].goes_on(system=dated[1].system), 100),
        "tools-reordered": (one, one.goes_on(tools=[TOOLS[1], TOOLS[0], TOOLS[2]]), 20),
        "key-order": (one, one.goes_on(tools=ordered), 20),
        "uuid": (replace(one, turns=named[0]), one.goes_on(turns=[*named[1], *more[3:]]), 20),
        "tool-description": (one, one.goes_on(tools=described), 20),
        "model-switched": (one, one.goes_on(model="claude-sonnet-5-5"), 20),
        "thinking": (older, older.goes_on(thinking=2048), 20),
        "picture": (pictured, pictured.goes_on(picture=picture(80)), 20),
        "truncated": (replace(one, turns=more[:2] + asked), replace(one, turns=[*asked, "Late too.", "Order 9?"]), 20),
        "white-space": (one, one.goes_on(turns=[one.turns[0].replace("late. ", "late.  "), *more[1:]]), 20),
        "tool-choice": (older, older.goes_on(forced="find_orders"), 20),
        "mark-moved": (replace(one, marked=("system",), turns=["Order 7. " + rules(12), *one.turns[1:]]),
                       replace(one, turns=["Order 7. " + rules(12), *more[1:]]), 20),
        "too-far-back": (replace(one, turns=["Order 7. " + rules(12), *one.turns[1:]]),
                         replace(one, turns=["Order 7. " + rules(12), *long[1:]]), 20),
        "below-minimum": (short, short.goes_on(), 20),
        "expired": (one, one.goes_on(), 400),
    }  # fmt: skip


# --- the clients -------------------------------------------------------------------------------------------------


def by_pydantic_ai(ask: Ask, url: str) -> None:
    from pydantic_ai.direct import model_request_sync
    from pydantic_ai.messages import (
        BinaryContent,
        CachePoint,
        ModelRequest,
        ModelResponse,
        SystemPromptPart,
        TextPart,
        UserPromptPart,
    )
    from pydantic_ai.models import ModelRequestParameters
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.providers.anthropic import AnthropicProvider
    from pydantic_ai.tools import ToolDefinition

    messages: list[Any] = []
    for i, turn in enumerate(ask.turns):
        if i % 2:
            messages.append(ModelResponse(parts=[TextPart(turn)]))
            continue
        parts: list[Any] = [turn] if isinstance(turn, str) else list(turn)
        if i == 0 and ask.picture:
            parts.append(BinaryContent(ask.picture, media_type="image/jpeg"))
        if "last" in ask.marked and i == len(ask.turns) - 1:
            parts.append(CachePoint())
        messages.append(ModelRequest(parts=[UserPromptPart(parts)]))
    messages[0].parts.insert(0, SystemPromptPart(ask.system))
    settings: dict[str, Any] = {"max_tokens": 4096, "anthropic_cache_instructions": "system" in ask.marked}
    if ask.thinking:
        settings["anthropic_thinking"] = {"type": "enabled", "budget_tokens": ask.thinking}
    if ask.forced:
        settings["tool_choice"] = [ask.forced]
    tools = [
        ToolDefinition(name=t["name"], description=t["description"], parameters_json_schema=t["schema"])
        for t in ask.tools
    ]
    model = AnthropicModel(ask.model, provider=AnthropicProvider(api_key="any", base_url=url))
    model_request_sync(
        model,
        messages,
        model_settings=settings,
        model_request_parameters=ModelRequestParameters(function_tools=tools, allow_text_output=True),
    )


def _spoken(ask: Ask, role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


def _openai_messages(ask: Ask) -> list[dict[str, Any]]:
    """The calls' messages in OpenAI's shape with Anthropic's marks, which langchain and litellm take both."""
    mark = {"cache_control": {"type": "ephemeral"}}
    out = [_spoken(ask, "system", [{"type": "text", "text": ask.system} | (mark if "system" in ask.marked else {})])]
    for i, turn in enumerate(ask.turns):
        parts = [{"type": "text", "text": text} for text in ([turn] if isinstance(turn, str) else turn)]
        if i == 0 and ask.picture:
            address = f"data:image/jpeg;base64,{base64.b64encode(ask.picture).decode()}"
            parts.append({"type": "image_url", "image_url": {"url": address}})
        if "last" in ask.marked and i == len(ask.turns) - 1:
            parts[-1] |= mark
        out.append(_spoken(ask, "assistant" if i % 2 else "user", turn if i % 2 else parts))
    return out


def by_langchain(ask: Ask, url: str) -> None:
    from langchain_anthropic import ChatAnthropic
    from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

    kinds = {"system": SystemMessage, "user": HumanMessage, "assistant": AIMessage}
    messages = [kinds[said["role"]](content=said["content"]) for said in _openai_messages(ask)]
    options = {"thinking": {"type": "enabled", "budget_tokens": ask.thinking}} if ask.thinking else {}
    chat: Any = ChatAnthropic(model=ask.model, api_key="any", base_url=url, max_tokens=4096, max_retries=0, **options)
    tools = [{"name": t["name"], "description": t["description"], "input_schema": t["schema"]} for t in ask.tools]
    if tools:
        chat = chat.bind_tools(tools, **({"tool_choice": ask.forced} if ask.forced else {}))
    chat.invoke(messages)


def by_litellm(ask: Ask, url: str) -> None:
    import litellm

    litellm.suppress_debug_info = True
    tools = [
        {
            "type": "function",
            "function": {"name": t["name"], "description": t["description"], "parameters": t["schema"]},
        }
        for t in ask.tools
    ]
    options: dict[str, Any] = {"tools": tools} if tools else {}
    if ask.thinking:
        options["thinking"] = {"type": "enabled", "budget_tokens": ask.thinking}
    if ask.forced:
        options["tool_choice"] = {"type": "function", "function": {"name": ask.forced}}
    litellm.completion(
        model=f"anthropic/{ask.model}",
        messages=_openai_messages(ask),
        api_base=url,
        api_key="any",
        max_tokens=4096,
        max_retries=0,
        **options,
    )


def by_litellm_chat(ask: Ask, url: str) -> None:
    import litellm

    plain = [_spoken(ask, "system", ask.system)]
    plain += [_spoken(ask, "assistant" if i % 2 else "user", turn) for i, turn in enumerate(ask.turns)]
    litellm.completion(model="openai/gpt-4.1", messages=plain, api_base=f"{url}/v1", api_key="any", max_retries=0)


def by_langchain_responses(ask: Ask, url: str) -> None:
    from langchain_openai import ChatOpenAI

    plain = [_spoken(ask, "system", ask.system)]
    plain += [_spoken(ask, "assistant" if i % 2 else "user", turn) for i, turn in enumerate(ask.turns)]
    ChatOpenAI(model="gpt-6.2-sol", api_key="any", base_url=f"{url}/v1", use_responses_api=True).invoke(plain)


def by_pydantic_ai_gemini(ask: Ask, url: str) -> None:
    from pydantic_ai.direct import model_request_sync
    from pydantic_ai.messages import ModelRequest, ModelResponse, SystemPromptPart, TextPart, UserPromptPart
    from pydantic_ai.models.google import GoogleModel
    from pydantic_ai.providers.google import GoogleProvider

    messages: list[Any] = [
        ModelResponse(parts=[TextPart(turn)]) if i % 2 else ModelRequest(parts=[UserPromptPart(turn)])
        for i, turn in enumerate(ask.turns)
    ]
    messages[0].parts.insert(0, SystemPromptPart(ask.system))
    model_request_sync(GoogleModel("gemini-2.5-flash", provider=GoogleProvider(api_key="any", base_url=url)), messages)


OTHER_WIRES: Mapping[str, Callable[[Ask, str], None]] = {
    "litellm-chat": by_litellm_chat,
    "langchain-responses": by_langchain_responses,
    "pydantic-ai-gemini": by_pydantic_ai_gemini,
}
CLIENTS: Mapping[str, Callable[[Ask, str], None]] = {
    "pydantic-ai": by_pydantic_ai,
    "langchain": by_langchain,
    "litellm": by_litellm,
}


def record(client: Callable[[Ask, str], None], first: Ask, second: Ask, pause: float) -> list[dict[str, Any]]:
    clock = SimClock(START)
    times = []
    with Simulator(speed=0, clock=clock, record=True) as simulator:
        for ask in (first, second):
            times.append(clock.now())
            client(ask, simulator.url)
            clock.advance(pause)
        return [
            {"at": at, "path": each.path, "request": each.body, "response": {_usage_in(each.path): each.usage}}
            for at, each in zip(times, simulator.requests, strict=True)
        ]


def _usage_in(path: str) -> str:
    return "usageMetadata" if "enerateContent" in path else "usage"


def main(target: Path, only: str = "") -> None:
    target.mkdir(parents=True, exist_ok=True)
    for name, (first, second, pause) in breaks().items():
        if name == "timestamp":  # the other wires' minimums are higher
            longer = [replace(each, system=each.system + rules(80)) for each in (first, second)]
            write(target, name, OTHER_WIRES, (*longer, pause), only)
        write(target, name, CLIENTS, (first, second, pause), only)


def write(target: Path, name: str, clients: Mapping[str, Callable[[Ask, str], None]], case: Any, only: str) -> None:
    """Record one break by several clients, a file each."""
    for client, ask in clients.items():
        if only not in f"{client}-{name}":
            continue
        lines = record(ask, *case)
        text = "".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in lines)
        (target / f"{client}-{name}.jsonl").write_text(text)
        print(f"{client}-{name}: {len(text):,} letters")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
