"""Put a run into words: its name, steps, plan, children, definitions, pictures and errors. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from agentnb.canonical import JsonObject
from agentnb.view.number_format import count, number, plural, seconds, short_dollars, short_seconds
from agentnb.view.style import clean
from agentnb.view.words.call_words import decision_lines, refusal_line
from agentnb.view.words.run_doc import (
    ENDED,
    Doc,
    dicts,
    ended,
    is_failed_attempt,
    items,
    part,
    run_seconds,
    state_words,
)


def error_line(error: Doc) -> str:
    return error_kind(error) + error_message(error)


def error_kind(error: Doc) -> str:
    return clean(error.get("type") or "Error")


def error_message(error: Doc) -> str:
    """Return `: the provider refused the call`, or nothing."""
    message = clean(error.get("message") or "")
    return f": {message}" if message else ""


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
    rest = plural(before, "earlier step") if before else "All calls and whole results"
    return f"{rest}: %agent_runs show {run_id} --all"


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
