"""Put a run document into words and figures: the sentences that html, Markdown and plain text share. Pure.

Any field of the document may be missing or null while the run goes on. Any value is believed only to be what it is
checked to be.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from agentnb.canonical import JsonMapping, JsonObject
from agentnb.models.layers import layer_word
from agentnb.view import number_format
from agentnb.view.number_format import count, dollars, number, plural, seconds, share, short_dollars, short_seconds
from agentnb.view.style import AMBER, BLUE, GREY, RED, TEAL, clean

Doc = JsonMapping

# state -> (mark, word, colour). The mark differs for those who cannot tell the colours apart.
STATES = {
    "COMPLETED": ("✓", "Completed", TEAL),
    "FAILED": ("✗", "Failed", RED),
    "PAUSED": ("❚❚", "Paused", AMBER),
    "WAITING": ("◔", "Waiting for you", AMBER),
    "AWAITING_APPROVAL": ("◔", "Waiting for you", AMBER),
    "CANCELLED": ("✗", "Cancelled", GREY),
    "DRY_RUN": ("○", "Dry run", GREY),
    "HYDRATING": ("●", "Collecting context", BLUE),
    "THINKING": ("●", "Asking", BLUE),
    "ACTING": ("●", "Running a tool", BLUE),
    "CONDENSING": ("●", "Condensing", BLUE),
}
ENDED = frozenset({"COMPLETED", "FAILED", "PAUSED", "WAITING", "CANCELLED", "DRY_RUN"})
EXPECTED = "expected: "
LAYERS = {
    "STATIC": "tools and instructions: the same in every run",
    "SEMI_STATIC": "the project: outlines of its modules in use, pinned schemas and files; they change rarely",
    "HYDRATION": "cells and definitions of your notebook, each sent once per version",
    "DYNAMIC": "questions, answers, tool results: new with every turn",
}

WORDS = (
    *((layer_word(name), f"{meaning} ({name} in `_agent.layers`)") for name, meaning in LAYERS.items()),
    ("cached", "read from the provider's prompt cache and not processed anew: cheaper, and sooner there"),
    ("until headers", "measured: until the provider's first byte; the rows below part this time by estimates"),
    ("queue above your usual", "waiting at the provider, beyond what your own calls mostly wait"),
    ("read the prompt", "the model reads the part of the prompt that is not cached (prefill)"),
    ("thinking (not shown)", "tokens that the model wrote for itself, and that you pay for"),
    ("write the answer", "the model writes, token by token (decode)"),
    ("TTFT", "time to first token: how long until the answer begins"),
    ("TPOT", "time per token of the answer, once it has begun"),
    ("≈", "an estimate: providers report sums only"),
)
"""The words of the view, for the fold that explains them."""


def state_word(state: object) -> str:
    """Return `asking` of `THINKING`; a state of the user's own machine keeps its name."""
    name = clean(state or "")
    return STATES[name][1].lower() if name in STATES else name


def part(doc: Doc, name: str) -> Doc:
    value = doc.get(name)
    return value if isinstance(value, Mapping) else {}


def items(doc: Doc, name: str) -> list[Any]:
    value = doc.get(name)
    return list(value) if isinstance(value, list | tuple) else []


def dicts(doc: Doc, name: str) -> list[Doc]:
    return [item for item in items(doc, name) if isinstance(item, Mapping)]


def state_words(doc: Doc) -> tuple[str, str, str]:
    """Return (mark, word, colour). A failed run keeps the state it failed in; one nobody works on is said to be
    unfinished."""
    state = clean(doc.get("state") or "")
    if state not in ENDED and part(doc, "error"):
        return STATES["FAILED"]
    if state not in ENDED and ended(doc):
        return "◌", f"Not finished: it stopped while {state_word(state)}" if state else "Not started", GREY
    if part(doc, "stopped"):
        return "■", "Stopped by you", STATES["PAUSED"][2]
    if state == "WAITING" and questions(doc):
        mark, _, colour = STATES[state]
        calls = [item for item in questions(doc) if not item.get("asks")]
        return mark, f"Waiting for your approval of {plural(len(calls), 'call')}" if calls else ANSWER, colour
    return STATES.get(state) or ("●", state or "Starting", BLUE)


def ended(doc: Doc) -> bool:
    """Tell whether nothing more is coming: what is unknown now stays unknown."""
    return doc.get("state") in tuple(ENDED) or bool(part(doc, "error")) or not isinstance(doc.get("live"), Mapping)


def is_forecast(doc: Doc) -> bool:
    """Tell whether the prompt cache's figures are what is expected, not what a reply reported."""
    reason = part(doc, "cache").get("reason")
    return doc.get("state") == "DRY_RUN" or (isinstance(reason, str) and reason.startswith(EXPECTED))


def simulated(doc: Doc) -> bool:
    return bool(doc.get("simulated") or part(doc, "cost").get("simulated"))


def recorded(doc: Doc) -> str:
    """Return `2026-11-27, claude-sonnet-4-6` of a run whose replies came from a recording; else nothing."""
    return clean(doc.get("recorded") or "")


def labels(doc: Doc) -> list[str]:
    """Return what the figures are not: those of a provider, those of now."""
    return [*(["simulated"] if simulated(doc) else []), *([f"recorded {recorded(doc)}"] if recorded(doc) else [])]


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str) if not isinstance(value, str) else repr(value)
    text = clean(text)
    return text if len(text) <= 120 else f"{text[:117]}…"


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


def run_seconds(doc: Doc) -> float | None:
    """Return the seconds from the question to the end, once the run is over. The clock that ran meanwhile tells them,
    where there was one. Its steps tell them where they say more: a simulated call counts with its modelled time."""
    if not ended(doc):
        return None
    known = [*map(_step_seconds, dicts(doc, "steps")), number(part(doc, "stopped").get("seconds"))]
    return max(_sum(known) or 0.0, number(part(doc, "clock").get("seconds")) or 0.0) or None


def _step_seconds(step: Doc) -> float | None:
    latency = part(step, "latency")
    modelled = number(latency.get("total")) if latency.get("modelled") else None
    return number(step.get("seconds")) if modelled is None else modelled


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
    return _sum(tokens), _sum(cached)


def _sum(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


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
        return [_first_call(cache)]
    lines = [_cache_reason(reason), "" if is_forecast(doc) else _cache_figures(cache, told=reason.startswith("hit"))]
    return [line for line in lines if line]


def _first_call(cache: Doc) -> str:
    until = number(cache.get("warm_until"))
    then = (
        f" Until {number_format.time_of_day(until)[:5]} the next question reads them at a fraction of the price."
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


def _cache_figures(cache: Doc, *, told: bool) -> str:
    """Return the figures. `told`: the reason before it has said what was read."""
    pieces = []
    for name, word in (("expected", "expected ≈"), ("read", "" if told else "read"), ("written", "wrote")):
        if word and number(cache.get(name)) is not None:
            pieces.append(f"{word} {count(cache[name])}")
    if number(cache.get("warm_until")) is not None:
        pieces.append(f"warm until {number_format.time_of_day(cache['warm_until'])}")
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


def error_line(error: Doc) -> str:
    return error_kind(error) + error_message(error)


def error_kind(error: Doc) -> str:
    return clean(error.get("type") or "Error")


def error_message(error: Doc) -> str:
    """Return `: the provider refused the call`, or nothing."""
    message = clean(error.get("message") or "")
    return f": {message}" if message else ""


def refusal_line(doc: Doc) -> str:
    """Tell which tools were refused unasked, and how they are allowed."""
    tools = [
        tool
        for step in dicts(doc, "steps")
        for tool in dicts(step, "tools")
        if tool.get("refused") is True and not part(tool, "decision")
    ]
    refused = list(dict.fromkeys(clean(tool.get("name") or "?") for tool in tools))
    unheard = "The model had a question for you, and nobody was there to answer." if ASKS in refused else ""
    names = ",".join(name for name in refused if name != ASKS)
    told = f"Refused: {names}, which may act and was not allowed. %%agent --allow {names} lets it." if names else ""
    return " ".join(filter(None, (unheard, told)))


def redaction_line(doc: Doc) -> str:
    found = dicts(doc, "redactions")
    if not found:
        return ""
    marks = ", ".join(dict.fromkeys(clean(item.get("mark") or item.get("kind") or "?") for item in found))
    return f"{plural(len(found), 'secret')} left out before sending: {marks}"


def identity_line(doc: Doc) -> str:
    """Return `run r-… · thread main, turn 2 · sim:claude-sonnet-4-6`."""
    return " · ".join(identity(doc))


def identity(doc: Doc) -> list[str]:
    thread = f"thread {clean(doc['thread'])}" if doc.get("thread") else ""
    turn = f", turn {count(doc['turn'])}" if number(doc.get("turn")) is not None else ""
    branch = ", a new branch" if doc.get("branch") else ""
    run = f"run {clean(doc['run_id'])}" if doc.get("run_id") else ""
    model = clean(doc.get("model") or doc.get("label") or "")
    if doc.get("child_of"):
        return [part for part in (run, f"part of {clean(doc['child_of'])}", model) if part]
    return [part for part in (run, f"{thread}{turn}{branch}" if thread else "", model) if part]


def go_on_line(doc: Doc) -> str:
    """Return how a run that stopped before its end goes on; nothing where an error below says it."""
    state, run_id = clean(doc.get("state") or ""), clean(doc.get("run_id") or "")
    paused = state == "PAUSED" and doc.get("error_follows")
    stands = state in ("FAILED", "PAUSED") or (state not in ("", *ENDED) and ended(doc))
    if not run_id or not stands or paused or doc.get("tells_how"):
        return ""
    if part(doc, "stopped"):
        return "%agent_runs resume goes on where it was stopped; running the cell again asks anew."
    return f"What was committed is kept: %agent_runs resume {run_id} goes on from there."


def stopped_line(doc: Doc) -> str:
    """Return `Stopped by you after 4 s, ≈ $0.011`; nothing where nobody stopped the run."""
    if not part(doc, "stopped"):
        return ""
    total = number(part(doc, "cost").get("total"))
    after = f" after {short_seconds(run_seconds(doc))}" if run_seconds(doc) else ""
    return f"Stopped by you{after}{f', ≈ {short_dollars(total)}' if total else ''}"


def tool_line(tool: Doc) -> str:
    """Return `inspect(name='tides.harmonic')`, cut where it is long."""
    arguments = tool.get("arguments")
    pairs = arguments.items() if isinstance(arguments, Mapping) else []
    inside = ", ".join(f"{clean(key)}={_short(value)}" for key, value in pairs)
    return f"{clean(tool.get('name') or 'tool')}({inside})"


def tool_outcome(tool: Doc) -> str:
    word = part(tool, "decision")
    said = f"{_said(word)}, " if word else ""
    return f"{said}{_came_of(tool)}" if word.get("approved") or not word else said.rstrip(", ")


def _came_of(tool: Doc) -> str:
    if tool.get("refused"):
        return "refused"
    word = "failed" if tool.get("is_error") else "done" if tool.get("result") is not None else "not run"
    return f"{word} in {seconds(tool['seconds'])}" if number(tool.get("seconds")) is not None else word


def place(definition: Doc) -> str:
    """Return `tides.py, lines 10-31`, `cell [3], line 1`, or `cell 3f2a, line 1` where its number is not known."""
    lines = definition.get("lines")
    where = clean(definition.get("file") or "") or cell_words(definition)
    if isinstance(lines, list | tuple) and len(lines) == 2 and all(number(x) is not None for x in lines):
        words = f"lines {lines[0]}-{lines[1]}" if lines[0] != lines[1] else f"line {lines[0]}"
        where += f"{', ' if where else ''}{words}"
    return where


def cell_words(definition: Doc) -> str:
    known = number(definition.get("execution"))
    cell = f"[{count(known)}]" if known is not None else clean(definition.get("cell") or "")
    return f"cell {cell}" if cell else ""


def with_cell_numbers(doc: Doc, numbers: Mapping[str, int]) -> JsonObject:
    """Return the document with the number of each definition's cell: it stands beside the cell, and its id nowhere."""
    known = ((item, numbers.get(str(item.get("cell")))) for item in dicts(doc, "definitions"))
    found = [dict(item) | ({} if number is None else {"execution": number}) for item, number in known]
    return dict(doc) | ({"definitions": found} if found else {})


def steps_title(doc: Doc) -> str:
    steps, before = dicts(doc, "steps"), int(number(doc.get("steps_before")) or 0)
    calls = sum(len(dicts(step, "tools")) for step in steps)
    failed = sum(map(is_failed_attempt, steps))
    shown = f", the last {len(steps)} shown" if before else ""
    parts = [plural(len(steps) - failed + before, "step") + shown, plural(calls, "tool call") if calls else ""]
    return ", ".join(filter(None, [*parts, plural(failed, "failed attempt") if failed else ""]))


def left_out_of_steps_line(doc: Doc) -> str:
    """Return where that part of the steps is that a notebook does not keep."""
    before, run_id = number(doc.get("steps_before")), clean(doc.get("run_id") or "")
    if not run_id or not (before or doc.get("steps_cut")):
        return ""
    return f"{plural(before, 'earlier step') if before else 'Whole results'}: %agent_runs show {run_id} --all"


def is_failed_attempt(step: Doc) -> bool:
    """Tell whether nothing of it was committed but that it failed: the next attempt has the same number."""
    return step.get("failed") is True


def plan_words(doc: Doc) -> str:
    """Return `plan: 2 of 5 done`; nothing where the model keeps none."""
    steps = dicts(doc, "plan")
    return f"plan: {sum(item.get('state') == 'done' for item in steps)} of {len(steps)} done" if steps else ""


def plan_now(doc: Doc) -> str:
    """Return `plan: 2 of 5 done, now fit the model`: with the step that the run is at."""
    now = next((clean(item.get("text") or "") for item in dicts(doc, "plan") if item.get("state") == "doing"), "")
    return f"{plan_words(doc)}{f', now {now[:60]}' if now else ''}"


def child_lines(doc: Doc) -> list[str]:
    """Say of each child of the run its task, how it stands, its cost and its time: `✓ read the log · $0.004 · 5 s`."""
    return [" · ".join(filter(None, _child_words(child))) for child in dicts(doc, "children")]


def child_words(doc: Doc) -> str:
    """Return `2 parts delegated`; nothing where the run has done all by itself."""
    found = dicts(doc, "children")
    return f"{plural(len(found), 'part')} delegated" if found else ""


def _child_words(child: Doc) -> tuple[str, ...]:
    mark, word, _ = state_words({"state": child.get("state"), "live": {}})
    cost, taken = number(child.get("cost")), number(child.get("seconds"))
    said = "" if child.get("state") == "COMPLETED" else word
    what = f"{mark} {clean(child.get('task') or '')}"
    return what, said, short_dollars(cost) if cost else "", short_seconds(taken) if taken else ""


def plan_lines(doc: Doc) -> list[str]:
    """Return `✓ load the table`: each step of the plan, with a mark for how it stands."""
    marks = {"done": "✓", "doing": "●"}
    return [f"{marks.get(str(item.get('state')), '○')} {clean(item.get('text') or '')}" for item in dicts(doc, "plan")]


def definitions_title(doc: Doc) -> str:
    found = dicts(doc, "definitions")
    new = sum(1 for item in found if item.get("new"))
    return f"{plural(len(found), 'definition')} in the context" + (f", {new} new" if new else "")


def images_title(doc: Doc) -> str:
    found = dicts(doc, "images")
    new = sum(1 for item in found if item.get("new"))
    return f"{plural(len(found), 'picture')}" + (f", {new} sent with this task" if new else ", sent earlier")


def image_line(item: Doc) -> str:
    """Return `fig · 640 x 480 pixels, 38 kB · ≈ 410 tokens · drawn in 0.2 s · sent with this task`."""
    size = f"{count(item.get('width'))} x {count(item.get('height'))} pixels, {count(item.get('bytes'))} bytes"
    when = "sent with this task" if item.get("new") else "sent earlier, unchanged"
    drawn = f"drawn in {seconds(item['seconds'])}" if number(item.get("seconds")) is not None else ""
    facts = [clean(item.get("name") or "?"), size, f"≈ {count(item.get('tokens'))} tokens", drawn, when]
    return " · ".join(filter(None, facts))


def thumbnail(item: Doc) -> tuple[int, int]:
    """Width and height in pixels at which a picture is shown: 240 at most."""
    width, height = number(item.get("width")) or 1, number(item.get("height")) or 1
    scale = min(1.0, 240 / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def error_lines(doc: Doc) -> list[str]:
    error = part(doc, "error")
    if not error:
        return []
    code = f" [{clean(error['code'])}]" if error.get("code") else ""
    todo = f" {clean(error['todo'])}" if error.get("todo") else ""
    return [f"✗ {error_line(error).rstrip('.')}.{todo}{code}"]


def remark_lines(doc: Doc) -> list[str]:
    told = [*decision_lines(doc), refusal_line(doc), redaction_line(doc)]
    return [*map(clean, items(doc, "notes")), *filter(None, told)]


# --- approvals -----------------------------------------------------------------------------------------------------

VOUCHED = {"button": "by a button", "command": "by command", "terminal": "in the terminal", "program": "by a program"}


def questions(doc: Doc) -> list[Doc]:
    """Return the calls that wait for a person's word."""
    return dicts(part(doc, "approvals"), "waiting")


ANSWER = "Waiting for your answer"
ASKS = "ask_user"
"""The tool by which a model asks the person something."""


def question_heading(doc: Doc) -> str:
    """Return `Run this in your kernel? Nothing of it has run.`"""
    found = questions(doc)
    if all(item.get("asks") for item in found):
        return "The model asks you:"
    if len(found) == 1:
        return f"{_HEADINGS.get(str(found[0].get('tool')), 'Run this?')} Nothing of it has run."
    return f"Run these {count(len(found))} calls? Nothing of them has run."


_HEADINGS = {
    "run_code": "Run this in your kernel?",
    "edit_file": "Change this file?",
    "run_tests": "Run the project's tests?",
}


def question_title(question: Doc) -> str:
    """Return `1. run_code, in your kernel and with your rights`; a question to the person needs none."""
    if question.get("asks"):
        return ""
    name = clean(question.get("tool") or "tool")
    return f"{count(question.get('number'))}. {name}" + (
        ", in your kernel and with your rights" if name == "run_code" else ""
    )


def answer_line(doc: Doc) -> str:
    """Return how a waiting run is answered where no button is at hand."""
    run_id = clean(doc.get("run_id") or "")
    if not questions(doc) or not run_id:
        return ""
    asks = [item for item in questions(doc) if item.get("asks")]
    digest = clean(part(doc, "approvals").get("digest") or "")
    shown = f"{run_id} --digest {digest}" if digest else run_id
    runs = f"%agent_runs approve {shown} lets it run, %agent_runs deny {run_id} WHY tells the model no."
    if not asks:
        return f"Without buttons, or after a restart: {runs}"
    answers = f"%agent_runs answer {run_id} WORDS answers the question"
    also = f"; {runs}" if len(asks) < len(questions(doc)) else "."
    return f"Without buttons, or after a restart: {answers}{also}"


def decision_lines(doc: Doc) -> list[str]:
    """Return what a person said of each call that was asked about."""
    return [_decision_line(item) for item in dicts(part(doc, "approvals"), "decided")]


def _decision_line(item: Doc) -> str:
    reason = f' The model was told: "{clean(item["reason"])}"' if item.get("reason") else ""
    said = _said(item)
    return f"{said[:1].upper()}{said[1:]}: {tool_line(dict(item) | {'name': item.get('tool')})}.{reason}"


def _said(word: Doc) -> str:
    """Return `approved by a button at 15:32:10`"""
    verdict = "answered" if word.get("asks") else "approved" if word.get("approved") else "denied"
    verdict += " as you changed it" if word.get("edited") else ""
    rest = " for the rest of the run" if word.get("rest") else ""
    when = f" at {number_format.time_of_day(word['at'])}" if number(word.get("at")) is not None else ""
    how = VOUCHED.get(str(word.get("by")), "")
    return f"{verdict}{rest}{' ' if how else ''}{how}{when}"
