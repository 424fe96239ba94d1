"""Put what was sent into words: its layers, the prompt cache and the cost. Pure."""

from __future__ import annotations

import re

from agentnb.models.layers import layer_word
from agentnb.view import number_format
from agentnb.view.number_format import count, dollars, number, share
from agentnb.view.style import clean
from agentnb.view.words.run_doc import (
    EXPECTED,
    Doc,
    dicts,
    ended,
    is_forecast,
    part,
    recorded,
    simulated,
    sum_of_known,
)

LAYERS = {
    "STATIC": "tools and instructions: the same in every run",
    "SEMI_STATIC": "the project: outlines of its modules in use, pinned schemas and files; they change rarely",
    "HYDRATION": "cells and definitions of your notebook, each sent once per version",
    "DYNAMIC": "questions, answers, tool results: new with every turn",
}
WORDS = (
    *((layer_word(name), f"{meaning} ({name} in `_agent.layers`)") for name, meaning in LAYERS.items()),
    ("cached", "read from the provider's prompt cache and not processed anew: cheaper and faster"),
    ("until headers", "measured: until the provider's first byte; the rows below divide this time by estimate"),
    ("queue above your usual", "waiting at the provider, beyond what your own calls mostly wait"),
    ("read the prompt", "the model reads the part of the prompt that is not cached (prefill)"),
    ("thinking (not shown)", "tokens that the model wrote for itself, and that you pay for"),
    ("write the answer", "the model writes, token by token (decode)"),
    ("TTFT", "time to first token: how long until the answer begins"),
    ("TPOT", "time per token of the answer, once it has begun"),
    ("≈", "an estimate: providers report sums only"),
)
"""The words of the view, for the fold that explains them."""


def totals_line(doc: Doc) -> str:
    """Return what all calls of the run sent and got; nothing for a single call, whose panel says it."""
    usage, calls = part(doc, "usage"), number(part(doc, "usage").get("calls")) or 0
    tokens = input_tokens(usage)
    if calls < 2 or not tokens:
        return ""
    cached, written = share(usage.get("cache_read") or 0, tokens), count(usage.get("output"))
    return f"All {count(calls)} calls: {count(tokens)} tokens in, {cached} of them cached, {written} out."


def cached_word(doc: Doc) -> str:
    """Return the head of the column of shares: a forecast must not look like a report."""
    return "expected" if is_forecast(doc) else "cached"


def input_tokens(usage: Doc) -> float:
    """Return all input of the calls: new, read from the prompt cache, written to it."""
    parts = ("input", "cache_read", "cache_write_5m", "cache_write_1h", "cache_write_12h")
    return sum(number(usage.get(name)) or 0 for name in parts)


def layer_rows(doc: Doc) -> list[Doc]:
    """Return the four layers; those not known yet are empty, so that the table keeps its height."""
    known = dicts(doc, "layers") if layer_totals(doc)[0] is not None else []
    return known or [{"name": name} for name in LAYERS]


def layers_heading(doc: Doc) -> str:
    if doc.get("state") == "DRY_RUN":
        return "What would be sent"
    if recorded(doc):
        return "What the recorded request sent"
    known = layer_totals(doc)[0] and not is_forecast(doc)
    return "What the last request sent" if ended(doc) or known else "What this request sends"


def layer_words(layer: Doc) -> tuple[str, str]:
    """Return (name, meaning) of a layer, in words."""
    name = clean(layer.get("name") or "?")
    return (layer_word(name), LAYERS[name]) if name in LAYERS else (name, "")


def layer_totals(doc: Doc) -> tuple[float | None, float | None]:
    """Return (tokens, cached tokens) of all layers, or None where no layer says (yet: a request has at least some)."""
    layers = dicts(doc, "layers")
    if not ended(doc) and not any(number(layer.get("tokens")) for layer in layers):
        return None, None
    tokens = [number(layer.get("tokens")) for layer in layers]
    cached = [number(layer.get("cached_tokens")) for layer in layers]
    return sum_of_known(tokens), sum_of_known(cached)


def approximate(layer: Doc) -> str:
    """Return `≈ 1,040`: usage reports totals only, so a layer's share of them is an estimate."""
    mark = "≈ " if layer.get("estimated", True) and number(layer.get("tokens")) is not None else ""
    return mark + count(layer.get("tokens"))


def count_lines(doc: Doc) -> list[str]:
    """Return how far the counts of a forecast may be off; nothing once a reply has reported the sum."""
    error = part(doc, "token_error")
    calls, within = number(error.get("calls")), number(error.get("within"))
    if not error or not is_forecast(doc) or layer_totals(doc)[0] is None:
        return []
    if not calls or within is None:
        return ["≈ Counts are estimates; no reply has checked them yet."]
    last = "that of the last call was" if calls == 1 else f"those of the last {count(calls)} calls were"
    return [f"≈ Counts are estimates; {last} within {100 * within:.1f} % of what was reported."]


def cache_lines(doc: Doc) -> list[str]:
    """Sentences on the prompt cache: minimum, reason, expected against read, warm until."""
    cache = part(doc, "cache")
    prefix, minimum = number(cache.get("prefix")), number(cache.get("minimum"))
    if not prefix:
        return []
    if minimum and prefix < minimum:
        lead = f"Prompt cache: {count(prefix)} of {count(minimum)} tokens"
        return [f"{lead}. A shorter prefix is not kept; it grows with every turn."]
    if recorded(doc):
        return [f"Prompt cache, as recorded: read {count(cache.get('read'))}, wrote {count(cache.get('written'))}."]
    reason = clean(cache.get("reason") or "")
    if reason.startswith("written: first call") and number(cache.get("written")):
        return [_first_call(cache, _at(doc))]
    lines = [
        _cache_reason(reason),
        "" if is_forecast(doc) else _cache_figures(cache, _at(doc), told=reason.startswith("hit")),
    ]
    return [line for line in lines if line]


def _at(doc: Doc) -> object:
    """Return when the last call was made, in seconds since the epoch."""
    return next((step.get("at") for step in reversed(dicts(doc, "steps"))), None)


def _first_call(cache: Doc, at: object) -> str:
    until = number(cache.get("warm_until"))
    then = (
        f" Until {number_format.time_and_day(until, at)} the next question reads them at a fraction of the price."
        if until
        else ""
    )
    return f"First call: {count(cache['written'])} tokens stored.{then}"


def _cache_reason(reason: str) -> str:
    """Return the reason as a sentence that names the prompt cache once."""
    reason = reason.strip().rstrip(".")
    if not reason:
        return ""
    if reason.startswith(EXPECTED):
        return f"Prompt cache, expected: {reason.removeprefix(EXPECTED)}."
    if "prompt cache" in reason:
        return in_sentences(reason)
    joint = " " if reason.startswith(("hit", "miss", "written")) else ": "
    return in_sentences(f"Prompt cache{joint}{reason}")


def in_sentences(reason: str) -> str:
    """Return `miss: the tools changed; the provider says tools_changed` -> one sentence for each part, without
    codes."""
    parts = re.sub(r"(provider says) (\w+)", lambda said: f"{said[1]}: {said[2].replace('_', ' ')}", reason).split("; ")
    return " ".join(f"{part[:1].upper()}{part[1:]}." for part in parts)


def _cache_figures(cache: Doc, at: object, *, told: bool) -> str:
    """Return the figures. `told`: the reason before it has said what was read."""
    pieces = []
    for name, word in (("expected", "expected ≈"), ("read", "" if told else "read"), ("written", "wrote")):
        if word and number(cache.get(name)) is not None:
            pieces.append(f"{word} {count(cache[name])}")
    if number(cache.get("warm_until")) is not None:
        pieces.append(f"warm until {number_format.time_and_day(cache['warm_until'], at)}")
    line = ", ".join(pieces)
    return f"{line[:1].upper()}{line[1:]}." if line else ""


def cost_lines(doc: Doc) -> list[str]:
    """Return what the run cost, and what it would have cost without the prompt cache."""
    cost = part(doc, "cost")
    total, uncached = number(cost.get("total")), number(cost.get("uncached"))
    if cost.get("known") is False:
        return ["Cost: unknown, there is no price for this model."]
    if not total:
        return []
    about = "≈ " if doc.get("state") == "DRY_RUN" else ""
    line = f"Cost: {about}{dollars(total)}"
    if uncached:
        line += f"; without the prompt cache {about}{dollars(uncached)} ({_compared(total, uncached)})"
    pretend = " Simulated: nothing was charged." if simulated(doc) and doc.get("state") != "DRY_RUN" else ""
    return [f"{line}.{pretend}"]


def _compared(total: float, uncached: float) -> str:
    change = round(100 * abs(uncached - total) / uncached)
    if change == 0:
        return "the same"
    return f"{change} % saved" if total < uncached else f"{change} % more: writing costs extra, reading pays it back"


def budget_line(doc: Doc) -> str:
    budget = part(doc, "budget")
    if number(budget.get("limit")) is None:
        return ""
    return f"Budget: {dollars(budget.get('spent') or 0)} of {dollars(budget['limit'])} spent."
