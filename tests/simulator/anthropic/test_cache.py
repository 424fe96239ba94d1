"""Anthropic's published caching rules, seen through the real SDK. The table of sources is CONFORMANCE.md."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anthropic
import pytest

from agentnb.simulator import SimClock, Simulator
from agentnb.simulator.clock import Pacer
from agentnb.simulator.engine import Engine
from agentnb.simulator.http_messages import Incoming
from agentnb.simulator.service import Service

LONG = "The tide at the pier follows the moon and the sun. " * 150  # about 1,650 tokens, above Sonnet 4.6's minimum
MARK = {"type": "ephemeral"}
HOUR = {"type": "ephemeral", "ttl": "1h"}


def text(words: str, mark: Any = None) -> dict[str, Any]:
    return {"type": "text", "text": words, **({"cache_control": mark} if mark else {})}


def user(*blocks: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def assistant(words: str) -> dict[str, Any]:
    return {"role": "assistant", "content": [text(words)]}


def parts(message: Any) -> tuple[int, int, int]:
    """(plain, read, written)"""
    usage = message.usage
    return usage.input_tokens, usage.cache_read_input_tokens, usage.cache_creation_input_tokens


def test_nothing_is_cached_unasked(send: Any) -> None:
    for _ in range(2):
        assert parts(send("hello", system=LONG))[1:] == (0, 0)


def test_a_marked_prefix_is_written_then_read(send: Any) -> None:
    first = send("one", system=[text(LONG, MARK)])
    second = send("two", system=[text(LONG, MARK)])
    assert parts(first)[1] == 0
    assert parts(first)[2] > 1024
    assert parts(second)[1:] == (parts(first)[2], 0)
    assert first.usage.cache_creation.ephemeral_5m_input_tokens == parts(first)[2]
    assert first.usage.cache_creation.ephemeral_1h_input_tokens == 0


def test_the_top_level_mark_stands_on_the_last_block(send: Any) -> None:
    first = send([user(text(LONG))], cache_control=MARK)
    assert parts(first)[0] < 10
    second = send([user(text(LONG)), assistant("yes"), user(text("go on"))], cache_control=MARK)
    assert parts(second)[1] == parts(first)[2]
    assert 0 < parts(second)[2] < 30
    assert parts(second)[0] < 10


def test_below_the_minimum_nothing_happens_and_nothing_is_said(send: Any) -> None:
    short = "word " * 900
    assert parts(send("q", system=[text(short, MARK)]))[1:] == (0, 0)
    assert parts(send("q", system=[text(short, MARK)]))[1:] == (0, 0)


@pytest.mark.parametrize(("model", "cached"), [("claude-sonnet-5-5", True), ("claude-haiku-4-5", False)])
def test_the_minimum_is_the_models_own(send: Any, model: str, *, cached: bool) -> None:
    system = [text("word " * 600 if cached else "word " * 3000, MARK)]
    assert bool(parts(send("q", system=system, model=model))[2]) is cached


@pytest.mark.parametrize("ttl", ["5m", "1h"])
def test_an_entry_lives_for_its_ttl_and_a_read_renews_it(sim: Simulator, send: Any, ttl: str) -> None:
    seconds = {"5m": 300, "1h": 3600}[ttl]
    system = [text(LONG, {"type": "ephemeral", "ttl": ttl})]
    send("one", system=system)
    for _ in range(3):
        sim.clock.advance(seconds - 1)
        assert parts(send("again", system=system))[1] > 0
    sim.clock.advance(seconds)
    assert parts(send("late", system=system))[1] == 0


def test_an_entry_keeps_the_ttl_that_it_was_written_with(sim: Simulator, send: Any) -> None:
    send("one", system=[text(LONG, MARK)])
    assert parts(send("two", system=[text(LONG, HOUR)]))[1] > 0
    sim.clock.advance(301)
    assert parts(send("three", system=[text(LONG, HOUR)]))[1] == 0


@pytest.mark.parametrize(("seconds", "hits"), [(299.9, True), (300.1, False)])
def test_the_ttl_counts_from_the_start_of_the_request(
    make_sim: Any, make_client: Any, seconds: float, *, hits: bool
) -> None:
    clock = SimClock()
    client = make_client(make_sim(speed=1, clock=clock))
    begun = clock.now()
    ask = {"model": "claude-sonnet-4-6", "max_tokens": 400, "system": [text(LONG, MARK)]}
    client.messages.create(messages=[user(text("one"))], **ask)
    assert clock.now() > begun + 1  # the modelled reply took that long, its first token half a second
    clock.advance(begun + seconds - clock.now())
    assert bool(parts(client.messages.create(messages=[user(text("two"))], **ask))[1]) is hits


def test_a_fifth_mark_is_refused(send: Any) -> None:
    system = [text(f"{i} {LONG}", MARK) for i in range(4)]
    assert parts(send("four are fine", system=system))[2] > 0
    with pytest.raises(anthropic.BadRequestError, match=r"A maximum of 4 blocks with cache_control .* Found 5"):
        send([user(text("five", MARK))], system=system)
    with pytest.raises(anthropic.BadRequestError, match="Found 5"):
        send("the top-level one counts", system=system, cache_control=MARK)


def test_marks_in_tool_results_count_too(send: Any) -> None:
    call = {"type": "tool_use", "id": "t1", "name": "look", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": [text(LONG, MARK)]}
    turn = [user(text("look")), {"role": "assistant", "content": [call]}, user(result)]
    assert parts(send(turn, tools=[tool("look")]))[2] > 1024
    with pytest.raises(anthropic.BadRequestError, match="Found 5"):
        send(turn, tools=[tool("look")], system=[text(f"{i}", MARK) for i in range(4)])


def tool(name: str, words: str = "Looks.") -> dict[str, Any]:
    return {
        "name": name,
        "description": words,
        "input_schema": {"type": "object", "properties": {"a": {"type": "string"}}},
    }


def test_an_hour_must_not_stand_after_five_minutes(send: Any) -> None:
    with pytest.raises(anthropic.BadRequestError, match="must not come after a ttl='5m'"):
        send([user(text("q", HOUR))], system=[text(LONG, MARK)])


def test_mixed_ttls_split_the_written_tokens(send: Any) -> None:
    reply = send([user(text(LONG, MARK))], system=[text(LONG, HOUR)])
    made = reply.usage.cache_creation
    assert made.ephemeral_1h_input_tokens > 1024
    assert made.ephemeral_5m_input_tokens > 1024
    assert made.ephemeral_1h_input_tokens + made.ephemeral_5m_input_tokens == parts(reply)[2]


def test_an_hours_entry_outlives_the_tail(sim: Simulator, send: Any) -> None:
    first = send([user(text(LONG, MARK))], system=[text(LONG, HOUR)])
    sim.clock.advance(1000)
    later = send([user(text(LONG, MARK))], system=[text(LONG, HOUR)])
    assert parts(later)[1] == first.usage.cache_creation.ephemeral_1h_input_tokens
    assert later.usage.cache_creation.ephemeral_5m_input_tokens == first.usage.cache_creation.ephemeral_5m_input_tokens


def blocks(count: int, mark_at: int | None = None) -> list[dict[str, Any]]:
    """`count` blocks of one user message, the first of them long; one of them marked."""
    return [text(LONG if i == 0 else f"block {i}", MARK if i == mark_at else None) for i in range(count)]


@pytest.mark.parametrize(("added", "hits"), [(19, True), (20, False)])
def test_a_mark_looks_back_over_twenty_positions(send: Any, added: int, *, hits: bool) -> None:
    send([user(*blocks(1, mark_at=0))])
    later = send([user(*blocks(1 + added, mark_at=added))])
    assert bool(parts(later)[1]) is hits


def test_a_second_mark_saves_what_the_lookback_misses(send: Any) -> None:
    send([user(*blocks(1, mark_at=0))])
    both = blocks(41, mark_at=40)
    both[0]["cache_control"] = MARK
    assert parts(send([user(*both)]))[1] > 1024


def test_only_marked_positions_can_be_read(send: Any) -> None:
    send([user(*blocks(5, mark_at=4))])
    assert parts(send([user(*blocks(3, mark_at=2))]))[1] == 0  # a shorter prefix was never marked


def changed(what: str) -> dict[str, Any]:
    """A request in which one thing differs from the usual one."""
    ask: dict[str, Any] = {
        "tools": [tool("look"), tool("run", LONG)],
        "system": [text(LONG, MARK)],
        "messages": [user(text("earlier"), text(LONG, MARK)), assistant("ok"), user(text("now", MARK))],
    }
    ask["tools"][-1]["cache_control"] = MARK
    if what == "tools":
        ask["tools"][0]["description"] += "!"
    if what == "order of tools":
        ask["tools"] = [tool("run", LONG), {**tool("look"), "cache_control": MARK}]
    if what == "system":
        ask["system"][0]["text"] += "!"
    if what == "first message":
        ask["messages"][0]["content"][0]["text"] += "!"
    if what == "tool_choice":
        ask["tool_choice"] = {"type": "none"}
    if what == "image":
        ask["messages"][2]["content"].insert(0, IMAGE)
    if what == "model":
        ask["model"] = "claude-sonnet-5"
    return ask


PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}


@pytest.mark.parametrize(
    ("what", "levels"),
    [
        ("nothing", 3),
        ("model", 0),
        ("tools", 0),
        ("order of tools", 0),
        ("system", 1),
        ("first message", 2),
        ("tool_choice", 2),
        ("image", 2),
    ],
)
def test_what_a_change_invalidates(client: Any, what: str, levels: int) -> None:
    """Levels still read: 0 none, 1 tools, 2 tools and system, 3 messages too."""
    usual = {"model": "claude-sonnet-4-6", "max_tokens": 50}
    first = client.messages.create(**{**usual, **changed("nothing")})
    sizes = [0, *(client_size(client, usual, n) for n in (1, 2)), parts(first)[2]]
    again = client.messages.create(**{**usual, **changed(what)})
    assert parts(again)[1] == sizes[levels]


def client_size(client: Any, usual: dict[str, Any], levels: int) -> int:
    """The cached size of tools, or of tools and system, read with a request of its own."""
    ask = changed("nothing") | {"messages": [user(text("other"))]}
    if levels == 1:
        ask.pop("system")
    return parts(client.messages.create(**{**usual, **ask}))[1]


def test_a_bare_string_equals_one_text_block(send: Any) -> None:
    send([{"role": "user", "content": LONG}], cache_control=MARK)
    assert parts(send([user(text(LONG))], cache_control=MARK))[1] > 1024


def test_the_marks_are_no_part_of_the_prefix(send: Any) -> None:
    send([user(text(LONG, MARK), text("a", MARK))])
    moved = send([user(text(LONG), text("a"), text("b", MARK))])
    assert parts(moved)[1] > 1024


def test_reordered_keys_inside_a_call_miss(send: Any) -> None:
    def turn(arguments: dict[str, int]) -> list[Any]:
        call = {"type": "tool_use", "id": "t1", "name": "look", "input": arguments}
        result = {"type": "tool_result", "tool_use_id": "t1", "content": [text(LONG)]}
        return [user(text("q")), {"role": "assistant", "content": [call]}, user(result)]

    send(turn({"a": 1, "b": 2}), tools=[tool("look")], cache_control=MARK)
    assert parts(send(turn({"a": 1, "b": 2}), tools=[tool("look")], cache_control=MARK))[1] > 1024
    assert parts(send(turn({"b": 2, "a": 1}), tools=[tool("look")], cache_control=MARK))[1] == 0


def test_prewarming_fills_and_generates_nothing(send: Any) -> None:
    warm = send("hi", system=[text(LONG, MARK)], max_tokens=0)
    assert (warm.content, warm.stop_reason, warm.usage.output_tokens) == ([], "max_tokens", 0)
    assert parts(send("hi", system=[text(LONG, MARK)]))[1] == parts(warm)[2] > 0


def test_prewarming_does_not_stream(client: Any) -> None:
    with (
        pytest.raises(anthropic.BadRequestError, match="not supported with streaming"),
        client.messages.stream(model="claude-sonnet-4-6", max_tokens=0, messages=[user(text("q"))]),
    ):
        pass


def test_workspaces_do_not_share(sim: Simulator, make_client: Any) -> None:
    ask = {"model": "claude-sonnet-4-6", "max_tokens": 9, "system": [text(LONG, MARK)], "messages": [user(text("q"))]}
    written = [parts(make_client(sim, api_key=key).messages.create(**ask))[2] for key in ("one", "two", "one")]
    assert written[0] == written[1] > 0
    assert written[2] == 0


def test_a_prefix_is_readable_once_the_first_reply_begins() -> None:
    """Below the sockets, where the moment between two requests can be held still."""
    engine = Engine(clock=SimClock(), seed=0, record=False)
    service = Service(engine, Pacer(engine.clock, 0))
    ask = {"model": "claude-sonnet-4-6", "max_tokens": 9, "system": [text(LONG, MARK)], "messages": [user(text("q"))]}

    def arrive() -> Any:
        head = {"x-api-key": "any"}
        return service.outcome(
            Incoming(method="POST", path="/v1/messages", query={}, headers=head, raw=b"", body=ask, request_id="r"),
            None,
        )

    first, meanwhile = arrive(), arrive()
    assert first.usage == meanwhile.usage  # both write: the second could not read what is still being computed
    first.on_first_token()
    assert arrive().usage["cache_read_input_tokens"] == first.usage["cache_creation_input_tokens"] > 0


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("nothing", None),
        ("model", "model_changed"),
        ("tools", "tools_changed"),
        ("system", "system_changed"),
        ("first message", "messages_changed"),
        ("tool_choice", "unavailable"),
    ],
)
def test_diagnostics_name_what_changed(client: Any, what: str, reason: str | None) -> None:
    usual = {"model": "claude-sonnet-4-6", "max_tokens": 50}
    opening = {"diagnostics": {"previous_message_id": None}}
    first = client.messages.create(**{**usual, **changed("nothing"), **opening})
    asking = {"diagnostics": {"previous_message_id": first.id}}
    again = client.messages.create(**{**usual, **changed(what), **asking})
    assert first.diagnostics is None
    found = again.diagnostics and again.diagnostics.cache_miss_reason
    assert (found and found.type) == reason
    if reason and reason != "unavailable":
        missed = first.usage.cache_creation_input_tokens - again.usage.cache_read_input_tokens
        assert found.cache_missed_input_tokens == missed > 0


def test_diagnostics_of_an_unknown_message(send: Any) -> None:
    reply = send("q", diagnostics={"previous_message_id": "msg_gone"})
    assert reply.diagnostics.cache_miss_reason.type == "previous_message_not_found"


def test_the_state_page_tells_what_is_warm(sim: Simulator, send: Any, get: Callable[[str], Any]) -> None:
    written = parts(send("q", system=[text(LONG, HOUR)]))[2]
    state = get(f"{sim.url}/sim/state")
    assert state["instance"] == sim.instance
    assert [(entry["tokens"], entry["ttl"], entry["seconds_left"]) for entry in state["entries"]] == [
        (written, "1h", 3600)
    ]
