"""Rate limits of the simulator: token buckets on each wire, in the provider's own words and headers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnb.errors import InputError
from agentnb.simulator import SimClock, Simulator
from agentnb.simulator.limits import Left, OverLimit, RateLimits

LONG = "The tide tables, read aloud: " + "high water, low water, " * 900
SCOPE = ("key", "model")


@given(limit=st.integers(1, 1000), asked=st.lists(st.tuples(st.integers(1, 400), st.floats(0, 30)), max_size=30))
def test_no_minute_sees_more_than_twice_the_limit_and_a_wait_is_enough(
    limit: int, asked: list[tuple[int, float]]
) -> None:
    """A bucket that refills all the time lets at most its content and a minute's refill through in a minute."""
    clock = SimClock(0.0)
    limits = RateLimits(clock.now)
    limits.set({"tokens": limit})
    taken: list[tuple[float, int]] = []
    for tokens, pause in asked:
        clock.advance(pause)
        if tokens > limit:
            with pytest.raises(OverLimit) as refused:
                limits.admit(SCOPE, tokens)
            assert refused.value.wait is None
            continue
        left = admitted(limits, clock, tokens)
        assert 0 <= left.left <= limit
        taken.append((clock.now(), tokens))
        assert sum(n for at, n in taken if at > clock.now() - 60) <= 2 * limit + 1


def admitted(limits: RateLimits, clock: SimClock, tokens: int) -> Left:
    """At once, or after the wait that the refusal names."""
    try:
        return limits.admit(SCOPE, tokens)[0]
    except OverLimit as error:
        clock.advance((error.wait or 0.0) + 1e-6)
        return limits.admit(SCOPE, tokens)[0]


def test_limits_are_apart_by_key_and_model_and_can_be_lifted() -> None:
    limits = RateLimits(SimClock().now)
    limits.set({"requests": 1})
    limits.admit(SCOPE, 5)
    limits.admit(("other", "model"), 5)
    with pytest.raises(OverLimit):
        limits.admit(SCOPE, 5)
    limits.set({})
    assert limits.admit(SCOPE, 5) == ()


@pytest.mark.parametrize("wrong", [{"requests": 0}, {"tokens": "many"}, {"tokens": True}, {"bytes": 5}])
def test_a_limit_that_is_none(wrong: Any) -> None:
    with pytest.raises(InputError):
        Simulator(limits=wrong)


def test_anthropic_counts_what_was_not_read_from_the_prompt_cache(
    make_sim: Callable[..., Simulator], make_client: Callable[..., Any]
) -> None:
    import anthropic

    sim = make_sim(limits={"tokens": 6000, "requests": 50})
    client = make_client(sim)
    system = [{"type": "text", "text": LONG, "cache_control": {"type": "ephemeral"}}]

    def ask(**options: Any) -> Any:
        messages: Any = [{"role": "user", "content": "Hello?"}]
        given = {"model": "claude-sonnet-4-6", "max_tokens": 50, "messages": messages, "system": system, **options}
        return client.messages.with_raw_response.create(**given)

    first = ask()
    used = first.parse().usage
    assert int(first.headers["anthropic-ratelimit-input-tokens-limit"]) == 6000
    left = int(first.headers["anthropic-ratelimit-input-tokens-remaining"])
    assert left == 6000 - used.input_tokens - used.cache_creation_input_tokens
    assert first.headers["anthropic-ratelimit-requests-remaining"] == "49"
    for _ in range(5):
        ask()  # nearly all of it is read from the prompt cache
    with pytest.raises(anthropic.RateLimitError, match="6,000 input tokens per minute") as caught:
        ask(system=LONG.upper())
    wait = int(caught.value.response.headers["retry-after"])
    sim.clock.advance(wait)
    ask(system=LONG.upper())


def test_openai_counts_everything_and_a_request_above_the_limit_never_passes(
    make_sim: Callable[..., Simulator], http: Any
) -> None:
    import openai

    sim = make_sim(limits={"tokens": 7000})
    client = openai.OpenAI(api_key="any", base_url=f"{sim.url}/v1", max_retries=0, http_client=http)

    def ask(text: str) -> Any:
        return client.responses.with_raw_response.create(model="gpt-4.1", input=text)

    first = ask(LONG)
    assert first.headers["x-ratelimit-limit-tokens"] == "7000"
    usage = first.parse().usage
    with pytest.raises(openai.RateLimitError, match=r"tokens per min \(TPM\)") as caught:
        ask(LONG)
    assert caught.value.code == "rate_limit_exceeded"
    sim.clock.advance(float(caught.value.response.headers["retry-after-ms"]) / 1000)
    assert ask(LONG).parse().usage.input_tokens_details.cached_tokens > 0, "it counts, though it is cached"
    with pytest.raises(openai.RateLimitError, match="request too large") as caught:
        ask(LONG * 3)
    assert "retry-after" not in caught.value.response.headers
    assert usage.output_tokens > 0


def test_google_names_the_wait_in_the_body(make_sim: Callable[..., Simulator], http: Any) -> None:
    from google import genai
    from google.genai import errors, types

    sim = make_sim(limits={"requests": 2})
    options = types.HttpOptions(base_url=sim.url, api_version="v1beta", httpx_client=http)
    client = genai.Client(api_key="any", http_options=options)

    def ask() -> Any:
        return client.models.generate_content(model="gemini-2.5-flash", contents="Hello?")

    ask(), ask()
    with pytest.raises(errors.ClientError, match="exceeded your current quota") as caught:
        ask()
    assert "retry-after" not in caught.value.response.headers
    (info,) = caught.value.details["error"]["details"]
    assert info["@type"].endswith("google.rpc.RetryInfo")
    assert info["retryDelay"] == "30.0s"
    sim.clock.advance(30)
    ask()


def test_limits_from_outside(sim: Simulator, http: Any, get: Callable[[str], Any]) -> None:
    assert http.post(f"{sim.url}/sim/limits", json={"requests": 3}).json() == {"limits": {"requests": 3}}
    assert get(f"{sim.url}/sim/state")["limits"] == {"requests": 3}
    assert http.post(f"{sim.url}/sim/limits", json={"requests": -1}).status_code == 400
