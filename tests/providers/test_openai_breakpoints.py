"""Each breakpoint of OpenAI's Responses wire has a TTL of its own, and writes are priced by it."""

from __future__ import annotations

import pytest

from agentnb.models import catalog
from agentnb.models.layers import Block, Layer, Prompt
from agentnb.models.messages import Role, Text, Usage
from agentnb.providers import openai_responses
from agentnb.providers.base import Mark
from agentnb.providers.promptcache import rates_of

SOL = catalog.lookup("openai:gpt-6.2-sol")


def blocks(*texts: str) -> tuple[Block, ...]:
    first, *rest = texts
    return (
        Block(layer=Layer.STATIC, role=Role.SYSTEM, content=Text(first), label=""),
        *(Block(layer=Layer.DYNAMIC, role=Role.USER, content=Text(text), label="") for text in rest),
    )


def breakpoints(*ttls: str) -> tuple[str, list[object]]:
    """The request's TTL and each block's breakpoint, of a request whose blocks have marks with these TTLs."""
    prompt = Prompt(model=SOL.name, blocks=blocks(*map(str, range(len(ttls)))), max_tokens=99)
    marks = tuple(Mark(index=i, ttl=ttl, why="") for i, ttl in enumerate(ttls) if ttl)
    body = openai_responses.encode(prompt, marks, breakpoints=True)
    parts = [part for message in body["input"] for part in message["content"]]
    return body["prompt_cache_options"]["ttl"], [part.get("prompt_cache_breakpoint") for part in parts]


def test_a_breakpoint_says_its_ttl_where_the_request_has_another() -> None:
    plain, short = {"mode": "explicit"}, {"mode": "explicit", "ttl": "30m"}
    assert breakpoints("30m", "", "30m") == ("30m", [plain, None, plain])
    assert breakpoints("12h", "12h", "30m") == ("12h", [plain, plain, short])


def test_writes_are_told_apart_by_their_ttl() -> None:
    details = {"ttl_12h_tokens": 3000, "ttl_30m_tokens": 1000}
    wire = {
        "input_tokens": 9000,
        "output_tokens": 10,
        "input_tokens_details": {
            "cached_tokens": 2000,
            "cache_write_tokens": 4000,
            "cache_write_tokens_details": details,
        },
    }
    usage = openai_responses.decode_usage(wire)
    assert usage == Usage(input=3000, cache_read=2000, cache_write_5m=1000, cache_write_12h=3000, output=10)
    assert Usage.from_json(usage.to_json()) == usage
    assert usage.input_total == 9000


@pytest.mark.parametrize(("ttl", "times"), [("30m", 1.25), ("12h", 2.5)])
def test_the_policy_reckons_with_the_dearer_write(ttl: str, times: float) -> None:
    assert rates_of(SOL, ttl).write == pytest.approx(times)
    assert rates_of(catalog.lookup("openai:gpt-6.3-luna"), ttl).write == pytest.approx(times), "by the usual rates"
