"""What a call is expected to read, and what is said of what it did read: for people, exact and bounded."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnb.models.catalog import lookup
from agentnb.models.layers import Block, Layer, Prompt
from agentnb.models.messages import Content, Role, Text, ToolResult, ToolSpec, Usage
from agentnb.providers.promptcache import (
    Call,
    Ledger,
    Sent,
    Trust,
    anchored,
    compare,
    first_change,
    observed_hit,
    place_marks,
    predict,
    sent_record,
    warm_entries,
)

SONNET = lookup("anthropic:claude-sonnet-4-6")
GEMINI = lookup("google:gemini-3.1-pro-preview")
GPT = lookup("openai:gpt-4.1")


class Memory(dict[str, bytes]):
    def set(self, key: str, value: bytes, *, ttl: float | None = None) -> None:
        self[key] = value

    def delete(self, key: str) -> None:
        self.pop(key, None)

    def keys(self, prefix: str = "") -> list[str]:  # type: ignore[override]
        return sorted(key for key in dict.keys(self) if key.startswith(prefix))


def block(content: Content | str, layer: Layer = Layer.DYNAMIC, role: Role = Role.USER, **more: object) -> Block:
    given = Text(content) if isinstance(content, str) else content
    return Block(layer=layer, role=role, content=given, **more)  # type: ignore[arg-type]


def call_of(blocks: list[Block], tokens: list[int], *, model=SONNET, at: float = 1000.0) -> Call:  # type: ignore[no-untyped-def]
    prompt = Prompt(model=model.name, blocks=tuple(blocks), max_tokens=10)
    marks = place_marks(prompt, model)
    return Call(prompt=prompt, marks=marks, tokens=tuple(tokens), model=model, scope="s", at=at)


def sent(blocks: list[Block], run: str = "r") -> Sent:
    return sent_record(call_of(blocks, [1] * len(blocks)), run_id=run)


def change(old: list[Block], new: list[Block]) -> str:
    return first_change(call_of(new, [1] * len(new)).prompt, sent(old), lambda: old)


# --- where a prompt differs ---------------------------------------------------------------------------------------


def test_a_change_far_inside_a_long_text_is_shown_with_its_line() -> None:
    lines = [f"line {i} of the project" for i in range(4000)]
    before, after = "\n".join(lines), "\n".join([*lines[:3217], "rate = 0.25", *lines[3218:]])
    said = change([block(before, Layer.SEMI_STATIC)], [block(after, Layer.SEMI_STATIC)])
    assert "Project block 1 changed" in said
    assert "line 3218: 'line 3217 of the project' became 'rate = 0.25'" in said
    assert "after 'line 3216 of the project'" in said


def test_a_change_far_inside_a_long_line_is_shown() -> None:
    said = change([block("x" * 50_000 + "old tail")], [block("x" * 50_000 + "new tail")])
    assert "old tail" in said
    assert "new tail" in said
    assert len(said) < 400


def test_a_changed_tool_and_a_changed_result_are_shown_too() -> None:
    tool = ToolSpec("inspect", "Look it up.", {"type": "object", "properties": {"name": {"type": "string"}}})
    said = change(
        [block(tool, Layer.STATIC, Role.TOOLS, label="inspect")],
        [block(replace(tool, description="Look it down."), Layer.STATIC, Role.TOOLS, label="inspect")],
    )
    assert "Instructions block 1 changed (inspect: " in said
    assert "Look it down" in said
    result = change([block(ToolResult("1", "inspect", "a\nb"))], [block(ToolResult("1", "inspect", "a\nc"))])
    assert "Conversation message 1" in result
    assert "line 2: 'b' became 'c'" in result


def test_the_definition_that_changed_is_named() -> None:
    old = block("def f(): 1", Layer.HYDRATION, holds=({"name": "m.f", "digest": "1"}, {"name": "m.g", "digest": "2"}))
    new = block("def f(): 2", Layer.HYDRATION, holds=({"name": "m.f", "digest": "3"}, {"name": "m.g", "digest": "2"}))
    assert "definition m.f" in change([old], [new])
    assert "m.g" not in change([old], [new])


@given(old=st.text(max_size=3000), new=st.text(max_size=3000))
def test_any_two_texts_give_a_short_line(old: str, new: str) -> None:
    said = change([block(old)], [block(new)])
    assert (said == "") == (old == new)
    assert len(said) < 800
    assert "\n" not in said


def test_what_came_and_what_went_is_told_from_what_changed() -> None:
    old = "<tree>\na.py\nb.py\n</tree>"
    assert "line 3 is new: 'rate = 1' (after 'a.py')" in change(
        [block(old)], [block(old.replace("b.py", "rate = 1\nb.py"))]
    )
    assert "line 2 is gone: 'a.py' (after '<tree>')" in change([block(old)], [block(old.replace("a.py\n", ""))])
    assert "line 6 is new: 'c.py'" in change([block(old)], [block(f"{old}\n\nc.py")]), "an empty line is no news"
    assert "only blank lines" in change([block(old)], [block(f"{old}\n\n")])


def test_tools_that_came_and_went_are_named() -> None:
    def tools(*names: str) -> list[Block]:
        made = [ToolSpec(name, "Do it.", {"type": "object"}) for name in names]
        told = block("You answer.", Layer.STATIC, Role.SYSTEM)
        return [*(block(tool, Layer.STATIC, Role.TOOLS, label=f"tool {tool.name}") for tool in made), told]

    assert (
        change(tools("inspect", "run_code"), tools("inspect", "look")) == "the tools changed: run_code gone; look new"
    )
    assert change(tools("inspect"), tools("inspect", "look")) == "the tools changed: look new"
    assert change(tools("look"), tools()) == "the tools changed: look gone"


def test_a_hit_that_could_have_been_longer_says_what_changed() -> None:
    """The static prefix hits as expected; that the project's text changed is the news."""
    ledger = Ledger(Memory())
    old = [block("a", Layer.STATIC, Role.SYSTEM), block("b", Layer.SEMI_STATIC, Role.SYSTEM), block("c")]
    first = call_of(old, [1500, 900, 900])
    ledger.record(warm_entries(first, Usage(cache_write_1h=3300)), 1000)
    second = call_of([old[0], block("B", Layer.SEMI_STATIC, Role.SYSTEM), old[2]], [1500, 900, 900], at=1010.0)
    came = Usage(cache_read=1500, cache_write_1h=1800)
    report = compare(second, predict(second, ledger), came, previous=sent_record(first, run_id="r"))
    assert report.reason.startswith("hit: 1,500 of 3,300")
    assert "the rest could not be: Project block 2 changed" in report.reason
    assert report.missed == 1800


def test_whole_steps_are_no_miss() -> None:
    """gpt-4.1 caches in steps of 128: what the previous call's last step lacked is not lost."""
    ledger = Ledger(Memory())
    first = call_of([block("a"), block("b")], [2400, 35], model=GPT)
    ledger.record(warm_entries(first, Usage(input=2435)), 1000)
    second = call_of([block("a"), block("b"), block("c")], [2400, 35, 223], model=GPT, at=1010.0)
    came = Usage(input=354, cache_read=2304)
    report = compare(second, predict(second, ledger), came, previous=sent_record(first, run_id="r"))
    assert report.missed == 0
    assert report.lost_dollars is None


def test_a_prompt_that_only_goes_on_has_no_change() -> None:
    assert change([block("a")], [block("a"), block("b")]) == ""
    assert change([block("a"), block("b")], [block("a")]) == ""


# --- what is expected, and what came ------------------------------------------------------------------------------


@given(
    tokens=st.lists(st.integers(min_value=1, max_value=5000), min_size=1, max_size=6),
    counted=st.integers(min_value=1, max_value=60_000),
    reported=st.integers(min_value=1, max_value=60_000),
    model=st.sampled_from([SONNET, GEMINI, GPT]),
)
def test_never_more_is_expected_than_is_sent(tokens: list[int], counted: int, reported: int, model: object) -> None:
    """Another kernel's reply counted the prefix; this kernel's estimate of the same blocks may be far off."""
    ledger = Ledger(Memory())
    blocks = [block(f"block {i}") for i in range(len(tokens))]
    first = call_of(blocks, tokens, model=model)
    ledger.record(warm_entries(first, Usage(cache_write_1h=counted) if model is SONNET else Usage(input=counted)), 1000)
    again = call_of([*blocks, block("more")], [max(1, n // 3) for n in tokens] + [7], model=model, at=1010.0)
    again = anchored(again, ledger, known=0)
    expected = predict(again, ledger)
    assert expected.tokens <= again.total
    report = compare(again, expected, Usage(input=reported), previous=None)
    assert report.expected <= report.prefix


def test_what_was_too_small_to_be_cached_is_told_from_what_was_sent_now() -> None:
    """Gemini: the first call lay below the minimum, the second does not; its own estimate was too low."""
    ledger = Ledger(Memory())
    first = call_of([block("a"), block("b")], [2000, 1500], model=GEMINI)
    ledger.record(warm_entries(first, Usage(input=3500)), 1000)
    second = call_of([block("a"), block("b"), block("c")], [2000, 1500, 100], model=GEMINI, at=1010.0)
    expected = predict(second, ledger)
    assert "below the minimum: ≈ 3,600 of 4,096" in expected.reason
    second = replace(second, tokens=(2000, 1500, 2493))
    report = compare(second, expected, Usage(input=5993), previous=sent_record(first, run_id="r"))
    assert report.reason == (
        "nothing read: what the call before it sent too, 3,500 tokens, is below the minimum of 4,096"
    )
    alone = compare(second, expected, Usage(input=5993), previous=None)
    assert alone.reason == "nothing read: first call with this prefix, nothing was warm yet"


def test_hits_that_nobody_promised_have_words() -> None:
    ledger = Ledger(Memory())
    call = call_of([block("a"), block("b")], [3000, 2000], model=GPT)
    nothing = predict(call, ledger)
    first = compare(call, nothing, Usage(input=3976, cache_read=1024), previous=None)
    assert "at a first request" in first.reason
    later = compare(call, nothing, Usage(input=3976, cache_read=1024), previous=sent_record(call, run_id="r"))
    assert "none was expected" in later.reason
    cut = sent_record(replace(call, at=call.at - 20), run_id="r")
    own = compare(call, nothing, Usage(input=3976, cache_read=1024), previous=None, cut=cut)
    assert own.reason.endswith("warmed by the call of 20 s ago, which ended without a reply")
    small = compare(call, nothing, Usage(input=4500, cache_read=500), previous=None)
    assert "below the published minimum of 1,024" in small.reason


def test_an_expired_prefix_costs_dollars_and_seconds() -> None:
    ledger = Ledger(Memory())
    blocks = [block("a"), block("b")]
    first = call_of(blocks, [9000, 9000])
    ledger.record(warm_entries(first, Usage(cache_write_5m=18000)), 1000)
    again = call_of([*blocks, block("c")], [9000, 9000, 100], at=1500.0)
    expected = predict(again, ledger)
    report = compare(again, expected, Usage(cache_write_5m=18100), previous=sent_record(first, run_id="r"))
    assert "expired 3 min ago (5m TTL)" in report.reason
    assert report.missed == 18_000
    assert report.lost_dollars == pytest.approx(18_000 * (3.75 - 0.30) / 1_000_000)
    assert report.lost_seconds
    assert report.lost_seconds > 0


def test_what_another_version_wrote_is_left_alone() -> None:
    """The data directory is shared: an entry with other fields, or none at all, is as good as lost."""
    memory = Memory()
    ledger = Ledger(memory)
    call = call_of([block("a"), block("b")], [3000, 2000])
    ledger.record(warm_entries(call, Usage(cache_write_1h=5000)), 1000)
    ledger.remember_sent("t", sent_record(call, run_id="r"))
    for key in list(memory.keys()):
        memory[key] = b'{"fields": "of another version"}' if key.startswith("warm") else b"\xff no JSON"
    memory["object/x"] = b"[]"
    assert ledger.entries() == ledger.held() == []
    assert ledger.last_sent("t") is None
    assert predict(call, ledger).tokens == 0


# --- what is learned of hits that nobody promises -----------------------------------------------------------------


def test_the_prior_is_the_published_time() -> None:
    assert Trust().expects(200, 300)
    assert not Trust().expects(400, 300)
    assert Trust().lasts(300) == 300


def test_hits_after_a_longer_pause_are_learned_and_so_are_misses() -> None:
    longer = Trust(found=[(500.0, 1)] * 5)
    assert longer.expects(400, 300)
    assert longer.lasts(300) == 600
    assert "5 of 5 calls after more than 5 min hit" in longer.words(450)
    shorter = Trust(found=[(200.0, 0)] * 5)
    assert not shorter.expects(200, 300)
    assert shorter.lasts(300) == 60


@given(found=st.lists(st.tuples(st.floats(0, 20_000), st.integers(0, 1)), max_size=64), age=st.floats(0, 50_000))
def test_trust_is_a_share(found: list[tuple[float, int]], age: float) -> None:
    trust = Trust(found=found)
    assert 0 <= trust.share(age, 300) < 1
    assert trust.share(age, 300) >= trust.share(age + 100, 300), "a longer pause is never more likely to be outlived"
    assert trust.words(age)
    assert 0 <= trust.lasts(300) <= 7200


def test_the_ledger_predicts_by_what_was_learned() -> None:
    ledger = Ledger(Memory())
    blocks = [block("a"), block("b")]
    first = call_of(blocks, [3000, 2000], model=GPT)
    ledger.record(warm_entries(first, Usage(input=5000)), 1000)
    later = call_of([*blocks, block("c")], [3000, 2000, 10], model=GPT, at=1480.0)
    doubted = predict(later, ledger)
    assert doubted.tokens == 0
    assert "not expected to be there still" in doubted.reason
    hopeful = predict(later, ledger, Trust(found=[(450.0, 1)] * 6))
    assert hopeful.tokens == 4992
    assert "6 of 6 calls" in hopeful.reason
    assert observed_hit(later, ledger, Usage(input=18, cache_read=4992)) == (480.0, 1)
    assert observed_hit(later, ledger, Usage(input=5010)) == (480.0, 0)
    assert observed_hit(call_of(blocks, [3000, 2000]), ledger, Usage()) is None, "Anthropic: breakpoints decide"
