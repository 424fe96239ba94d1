"""What must hold for all inputs: the caching rules, the tokenizer, and what the simulated model says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from agentnb.models.catalog import find, rows
from agentnb.simulator import SimClock, promptcache_rules
from agentnb.simulator.clock import Pacer
from agentnb.simulator.engine import Engine
from agentnb.simulator.http_messages import Incoming
from agentnb.simulator.prefixes import STEP, automatic
from agentnb.simulator.promptcache_rules import CachedPrefix, PromptPiece, chain, plan
from agentnb.simulator.service import Service
from agentnb.simulator.tokenizer import count, pieces

HERE = Path(__file__).parent
FIELDS = [
    *("messages", "system", "tools", "role", "content", "type", "text", "cache_control", "tool_choice", "thinking"),
    *("contents", "parts", "generationConfig", "functionCall", "systemInstruction", "cachedContent", "toolConfig"),
    *("input", "call_id", "prompt_cache_options", "previous_response_id", "tool_calls", "reasoning", "name", "stream"),
]
FAMILIES = sorted({row.tokenizer for row in rows()})

_SIZES = {b"a": 40, b"b": 150, b"c": 700}  # equal bytes have equal tokens
_piece = st.builds(
    lambda data, ttl: PromptPiece(section="messages", data=data, tokens=_SIZES[data], ttl=ttl),
    st.sampled_from(sorted(_SIZES)),
    st.sampled_from([None, None, "5m", "1h"]),
)
_pieces = st.lists(_piece, min_size=1, max_size=30).map(lambda found: hours_first(found))


def hours_first(found: list[PromptPiece]) -> list[PromptPiece]:
    marks = sorted(piece.ttl for piece in found if piece.ttl)  # "1h" sorts before "5m"
    return [
        PromptPiece(section=p.section, data=p.data, tokens=p.tokens, ttl=marks.pop(0) if p.ttl else None) for p in found
    ]


def live_after(made: promptcache_rules.CachePlan) -> dict[str, CachedPrefix]:
    return {
        digest: CachedPrefix(digest=digest, tokens=tokens, ttl=ttl, expires=1.0) for digest, tokens, ttl in made.writes
    }


@given(_pieces, _pieces)
def test_the_parts_add_up_and_nothing_is_read_that_was_not_written(
    first: list[PromptPiece], second: list[PromptPiece]
) -> None:
    one = plan(first, chain(first, {}), {}, minimum=100, lookback=20)
    two = plan(second, chain(second, {}), live_after(one), minimum=100, lookback=20)
    for made, given_pieces in ((one, first), (two, second)):
        assert made.total == sum(piece.tokens for piece in given_pieces)
        assert min(made.read, made.write_5m, made.write_1h, made.plain) >= 0
        assert made.read + made.write_5m + made.write_1h + made.plain == made.total
    assert one.read == 0
    assert two.read <= one.write_5m + one.write_1h
    assert two.read <= common_prefix(first, second)


def common_prefix(first: list[PromptPiece], second: list[PromptPiece]) -> int:
    total = 0
    for a, b in zip(first, second, strict=False):
        if a.data != b.data:
            break
        total += a.tokens
    return total


@given(_pieces)
def test_the_same_request_again_reads_all_that_was_written(found: list[PromptPiece]) -> None:
    digests = chain(found, {})
    one = plan(found, digests, {}, minimum=100, lookback=20)
    two = plan(found, digests, live_after(one), minimum=100, lookback=20)
    assert two.read == one.write_5m + one.write_1h
    assert (two.write_5m, two.write_1h, two.writes) == (0, 0, ())


@given(_pieces, st.integers(1, 25))
def test_a_hit_lies_within_the_lookback_of_a_mark(found: list[PromptPiece], lookback: int) -> None:
    digests = chain(found, {})
    every = [PromptPiece(section=p.section, data=p.data, tokens=p.tokens, ttl="5m") for p in found]
    live = live_after(plan(every[:1], digests[:1], {}, minimum=0, lookback=20))
    made = plan(found, digests, live, minimum=0, lookback=lookback)
    reachable = any(piece.ttl and i < lookback for i, piece in enumerate(found))
    assert bool(made.read) is reachable


@given(_pieces)
def test_what_lies_below_the_minimum_is_ignored(found: list[PromptPiece]) -> None:
    made = plan(found, chain(found, {}), {}, minimum=10**6, lookback=20)
    assert made.plain == made.total


@given(st.integers(0, 40), st.integers(0, 127))
def test_automatic_caching_reads_whole_steps_and_never_the_last_token(steps: int, rest: int) -> None:
    total = steps * STEP + rest
    digests = [f"step {i}" for i in range(steps)]
    first = automatic(total, digests, {}, minimum=1024, ttl="5m")
    live = {digest: CachedPrefix(digest=digest, tokens=end, ttl=ttl, expires=1.0) for digest, end, ttl in first.writes}
    read = automatic(total, digests, live, minimum=1024, ttl="5m").read
    assert first.read == 0
    assert read == ((total - 1) // STEP * STEP if total > 1024 else 0)


@given(st.text(), st.sampled_from(FAMILIES))
def test_tokens_joined_are_the_text(words: str, family: str) -> None:
    cut = pieces(words, family)
    assert "".join(cut) == words
    assert all(cut)
    assert count(words, family) == len(cut)


def test_families_differ() -> None:
    prose = "The relationship between atmospheric pressure and observed elevation remains approximately linear. " * 20
    ratio = count(prose, "claude-5") / count(prose, "claude-4")
    assert 1.2 < ratio < 1.6


_words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60).filter(str.strip)
_MODEL = find("claude-sonnet-4-6")


class Door:
    """The service without sockets: bodies in, outcomes out."""

    def __init__(self) -> None:
        self.engine = Engine(clock=SimClock(), seed=0, record=False)
        self.service = Service(self.engine, Pacer(self.engine.clock, 0))

    def ask(self, **body: Any) -> Any:
        incoming = Incoming(
            method="POST",
            path="/v1/messages",
            query={},
            headers={"x-api-key": "any"},
            raw=b"",
            body={"model": "claude-sonnet-4-6", "max_tokens": 2000, **body},
            request_id="r",
        )
        outcome = self.service.outcome(incoming, None)
        if outcome.on_first_token is not None:
            outcome.on_first_token()
        return outcome


TOOLS = [
    {"name": "inspect", "input_schema": {"type": "object", "properties": {"name": {"type": "string"}}}},
    {
        "name": "run_code",
        "input_schema": {"type": "object", "properties": {"code": {"type": "string"}}, "required": ["code"]},
    },
]


@settings(max_examples=settings.default.max_examples * 3 // 5)
@given(st.lists(_words, min_size=1, max_size=4), st.booleans())
def test_a_conversation_never_fails_never_loops_and_keeps_its_prefix(questions: list[str], thinking: bool) -> None:
    """Whatever is asked: a tool loop ends, usage adds up, and an append-only conversation reads what it wrote."""
    door = Door()
    messages: list[dict[str, Any]] = []
    base = {"tools": TOOLS, "system": "word " * 1200, "cache_control": {"type": "ephemeral"}}
    if thinking:
        base["thinking"] = {"type": "adaptive"}
    known = 0
    for question in questions:
        messages.append({"role": "user", "content": f"inspect `{question}` then run it. {question}"})
        for _ in range(5):
            outcome = door.ask(messages=messages, **base)
            assert outcome.status == 200, outcome.body
            usage = outcome.usage
            assert usage["cache_read_input_tokens"] == known
            assert sum(usage["cache_creation"].values()) == usage["cache_creation_input_tokens"]
            known += usage["cache_creation_input_tokens"]
            content = outcome.body["content"]
            messages.append({"role": "assistant", "content": content})
            calls = [block for block in content if block["type"] == "tool_use"]
            if not calls:
                break
            messages.append(
                {
                    "role": "user",
                    "content": [{"type": "tool_result", "tool_use_id": c["id"], "content": question} for c in calls],
                }
            )
        else:
            raise AssertionError("the tool loop does not end")


@given(_words, st.integers(1, 40))
def test_max_tokens_is_never_passed(question: str, limit: int) -> None:
    outcome = Door().ask(messages=[{"role": "user", "content": f"inspect `{question}`"}], tools=TOOLS, max_tokens=limit)
    assert outcome.usage["output_tokens"] <= limit


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4),
    max_leaves=8,
)
PATHS = {
    "/v1/messages": {"model": "claude-sonnet-4-6", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]},
    "/v1beta/models/gemini-2.5-pro:generateContent": {"contents": [{"role": "user", "parts": [{"text": "x"}]}]},
    "/v1beta/cachedContents": {"model": "models/gemini-2.5-pro", "contents": []},
    "/v1/chat/completions": {"model": "gpt-4.1", "messages": [{"role": "user", "content": "x"}]},
    "/v1/responses": {"model": "gpt-6.1-sol", "input": "x"},
}


@settings(max_examples=settings.default.max_examples * 3)
@given(st.sampled_from(sorted(PATHS)), st.dictionaries(st.sampled_from(FIELDS), _json, max_size=4))
def test_a_body_of_any_shape_gets_an_answer(path: str, changes: dict[str, Any]) -> None:
    body = {**PATHS[path], **changes}
    headers = {"x-api-key": "any", "x-goog-api-key": "any", "authorization": "Bearer any"}
    outcome = Door().service.outcome(
        Incoming(method="POST", path=path, query={}, headers=headers, raw=b"{}", body=body, request_id="r"), None
    )
    assert outcome.status in (200, 400, 403, 404)
    assert "error" in outcome.body or outcome.status == 200


def generate(path: str, question: str, limit: int, *, stream: bool) -> Any:
    """One outcome of each wire for the same question, with tools."""
    said = [{"role": "user", "content": question}]
    parameters = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    function = {"name": "inspect", "parameters": parameters}
    config = {"maxOutputTokens": limit}
    bodies: dict[str, dict[str, Any]] = {
        "/v1/messages": {
            "model": "claude-sonnet-5-5",
            "max_tokens": limit,
            "messages": said,
            "tools": TOOLS,
            "thinking": {"type": "adaptive"},
        },
        "/v1/chat/completions": {
            "model": "gpt-6.1-sol",
            "max_completion_tokens": limit,
            "messages": said,
            "tools": [{"type": "function", "function": function}],
        },
        "/v1/responses": {
            "model": "gpt-6.1-sol",
            "max_output_tokens": limit,
            "input": said,
            "tools": [{"type": "function", **function}],
        },
        "/v1beta/models/gemini-3.1-pro-preview:": {
            "contents": [{"role": "user", "parts": [{"text": question}]}],
            "tools": [{"functionDeclarations": [function]}],
            "generationConfig": config,
        },
    }
    method = ("streamGenerateContent" if stream else "generateContent") if path.endswith(":") else ""
    headers = {"x-api-key": "any", "x-goog-api-key": "any", "authorization": "Bearer any"}
    return Door().service.outcome(
        Incoming(
            method="POST",
            path=path + method,
            query={"alt": "sse"},
            headers=headers,
            raw=b"{}",
            body={**bodies[path], "stream": stream},
            request_id="r",
        ),
        None,
    )


WIRES = ["/v1/messages", "/v1/chat/completions", "/v1/responses", "/v1beta/models/gemini-3.1-pro-preview:"]


@given(st.sampled_from(WIRES), _words, st.booleans(), st.integers(16, 300))
def test_a_stream_takes_as_long_as_its_tokens_and_says_what_plain_says(
    path: str, words: str, calls: bool, limit: int
) -> None:
    question = f"inspect `{words}` and `a.b`" if calls else words
    plain = generate(path, question, limit, stream=False)
    streamed = generate(path, question, limit, stream=True)
    assert streamed.usage == plain.usage
    assert streamed.timing.tokens == sum(event.tokens for event in streamed.events)
    assert all(event.tokens >= 0 for event in streamed.events)
    assert said_in(streamed.events) == plain_text(plain.body)


def said_in(events: Any) -> str:
    """The visible text of a stream, whichever wire it is."""
    data = [line[6:] for event in events for line in event.data.decode().splitlines() if line.startswith("data: {")]
    return "".join(visible(json.loads(line)) for line in data)


def visible(value: dict[str, Any]) -> str:
    if value.get("type") == "response.output_text.delta":
        return value["delta"]
    if value.get("type") == "content_block_delta":
        return value["delta"].get("text", "")
    if "choices" in value:
        return "".join(choice["delta"].get("content") or "" for choice in value["choices"])
    return "".join(part.get("text", "") for part in parts_of(value))


def parts_of(value: dict[str, Any]) -> list[dict[str, Any]]:
    return [part for candidate in value.get("candidates", []) for part in candidate["content"]["parts"]]


def plain_text(body: dict[str, Any]) -> str:
    if "choices" in body:
        return body["choices"][0]["message"]["content"] or ""
    if "output" in body:
        return "".join(part["text"] for item in body["output"] for part in item.get("content", []))
    if "candidates" in body:
        return "".join(part.get("text", "") for part in parts_of(body))
    return "".join(block.get("text", "") for block in body["content"])


def conformance() -> list[tuple[str, str]]:
    """(rule, name of a test as it stands there) of the conformance list."""
    lines = [line for line in (HERE / "CONFORMANCE.md").read_text("utf-8").splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if not line.startswith("| Rule")]
    return [(row[0], name) for row in rows for name in row[-1].split(", ")]


def test_each_rule_of_the_conformance_list_has_its_test() -> None:
    files = {
        file.relative_to(HERE).with_suffix("").as_posix(): re.findall(r"def test_(\w+)", file.read_text("utf-8"))
        for file in HERE.rglob("test_*.py")
    }
    every = [name for names in files.values() for name in names]
    for rule, said in conformance():
        file, _, name = said.strip("| ").rpartition(": ")
        if said.startswith("test_") and not file:  # a whole file
            assert said.split(" ")[0].strip("| ") in files, rule
            continue
        known = files[file] if file else every
        assert name == "the same" or any(name.strip("…_") in one for one in known), (rule, name)
