"""Put tool calls into words, and a person's word on those that wait for one. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping

from agentnb.view import number_format
from agentnb.view.number_format import count, number, seconds
from agentnb.view.style import clean
from agentnb.view.words.run_doc import Doc, dicts, part, questions


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str) if not isinstance(value, str) else repr(value)
    text = clean(text)
    return text if len(text) <= 120 else f"{text[:117]}…"


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


VOUCHED = {"button": "by a button", "command": "by command", "terminal": "in the terminal", "program": "by a program"}
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
