"""What pydantic-ai, langchain and litellm sent when something broke a prefix: each break is named, with its price.

The files were recorded once by tests/benchmarks/explain/record.py; the clients themselves are not needed here.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from agentnb.explain.judge import Unjudged
from agentnb.explain.report import explain, verdicts
from agentnb.explain.verdict import Verdict

DATA = Path(__file__).parent / "data"
CLIENTS = ("pydantic-ai", "langchain", "litellm")
WRITTEN_NOT_READ = {"claude-opus-5-5": 5.0 - 0.20, "claude-sonnet-5-5": 2.5 - 0.10, "claude-sonnet-4-6": 3.75 - 0.30}
"""$ per million tokens: what a token costs more that is written again instead of read (5 minutes)."""
NAMED = {
    "timestamp": "system block 1 changed; line 1: 'It is 10:04:11 now.' became 'It is 10:05:52 now.'",
    "tools-reordered": "the tools stand in another order: find_customers is where find_orders was",
    "key-order": "tool 1 (find_orders) changed: only the order of keys in its JSON; line 6 is new: '\"year\": {'",
    "uuid": "message block 1 (user) changed; line 1: 'request-id: 5f0c6a1e' became 'request-id: b27d9e44'",
    "tool-description": 'tool 2 (find_customers) changed; line 2: \'"description": "Find customers by number and',
    "model-switched": "the model changed from claude-opus-5-5 to claude-sonnet-5-5",
    "thinking": 'thinking changed from null to {"type": "enabled", "budget_tokens": 2048}, which spoils the messages',
    "picture": "message block 2 (user) changed: a picture with other bytes, image/jpeg of 1,144 letters then",
    "truncated": "2 blocks gone from message block 1 (user) on: 'Order 7 is late.",
    "white-space": "message block 1 (user) changed: only white space; line 1: 'Order 7 is late. Rule 1",
    "tool-choice": 'tool_choice changed from {"type": "auto"} to {"type": "tool", "name": "find_orders"}',
    "mark-moved": "cache_control moved: the call before it marked nothing after system block 1",
    "too-far-back": "The next mark stands 25 blocks later, and a mark looks back over 20",
    "below-minimum": "below the minimum: ≈ 170 of 512 tokens, so nothing was cached",
    "expired": "expired: 7 min since the call before it, where what is cached lasts 5 min",
}


def judged(log: Path) -> tuple[Verdict, Verdict]:
    first, second = verdicts(log)
    assert not isinstance(first, Unjudged)
    assert not isinstance(second, Unjudged)
    return first, second


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("name", NAMED)
def test_each_break_is_named_with_its_line_and_its_price(client: str, name: str) -> None:
    first, second = judged(DATA / f"{client}-{name}.jsonl")

    assert not first.missed
    assert NAMED[name] in second.cause
    assert second.read is not None
    rate = 4.0 - 0.20 if name == "below-minimum" else WRITTEN_NOT_READ[second.model]  # below it nothing is written
    assert second.dollars == pytest.approx((second.could - second.read) * rate / 1e6)
    assert second.dollars > 0


def test_there_is_a_file_for_each_break_by_each_client() -> None:
    named = {f"{client}-{name}" for client in CLIENTS for name in NAMED}
    assert named <= {path.stem for path in DATA.glob("*.jsonl")}


@pytest.mark.parametrize(
    ("client", "model", "rate"),
    [
        ("litellm-chat", "gpt-4.1", 2.0 - 0.50),
        ("langchain-responses", "gpt-6.2-sol", 2.5 - 0.10),
        ("pydantic-ai-gemini", "gemini-2.5-flash", 0.30 - 0.03),
    ],
)
def test_the_other_wires_are_read_as_well(client: str, model: str, rate: float) -> None:
    _, second = judged(DATA / f"{client}-timestamp.jsonl")
    assert (second.model, second.by_rules, second.read) == (model, 0, 0)
    assert "'It is 10:04:11 now.' became 'It is 10:05:52 now.'" in second.cause
    assert second.dollars == pytest.approx(second.could * rate / 1e6)


def test_the_rules_and_the_reply_agree_on_what_hits() -> None:
    for log in DATA.glob("*.jsonl"):
        for verdict in judged(log):
            assert verdict.read is not None
            assert abs(verdict.by_rules - verdict.read) <= 4, log.stem


def test_people_read_cause_and_price_line_by_line() -> None:
    lines = list(explain(DATA / "langchain-timestamp.jsonl"))
    assert lines == [
        "call 1  claude-opus-5-5  input 1,192  read 0: nothing like it was sent before",
        "call 2  claude-opus-5-5  input 1,211  could read 1,192 (sent by call 1), by the rules 0, read 0",
        "    system block 1 changed; line 1: 'It is 10:04:11 now.' became 'It is 10:05:52 now.'",
        "    price: $0.0057",
        "1 of 2 calls read less than they could: 1,192 tokens, $0.0057 in all",
    ]
