"""Forty facts of the first sixty steps, asked for at step 400: each is in the request, or one recall finds it."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import Any

import pytest
from scripted_model import ScriptedModel

from agentnb.agent.tools.tool import Unable, tool

ASKED_AT = 400
NOUNS = ("water", "boat", "harbour", "tide", "north", "morning", "cargo", "signal", "rope", "anchor", "mast", "storm")
METHODS = ("splines", "medians", "neighbours", "polynomials", "nothing at all")


@dataclass(frozen=True)
class Fact:
    """What was said or found at a step; `words` ask for it without naming `value`."""

    step: int
    kind: str
    text: str
    words: str
    value: str


def facts() -> list[Fact]:
    rng, out = random.Random("facts"), []
    for i in range(40):
        step, number = 1 + i * 3 // 2, rng.randrange(1000, 9999)
        kind = ("wish", "number", "decision", "file", "cause")[i % 5]
        text, words, value = {
            "wish": (f"For report R{i} I wish bars of shade {number}.", f"wish report R{i} bars", str(number)),
            "number": (f"The depth of basin B{i} is {number} metres.", f"depth of basin B{i}", str(number)),
            "decision": (
                f"I decide that series S{i} is filled by {METHODS[i % 5]} of order {number}.",
                f"decision series S{i} filled",
                str(number),
            ),
            "file": (f"Batch T{i} went to out/run_{number}.csv.", f"file of batch T{i}", f"out/run_{number}.csv"),
            "cause": (f"unit U{i} fails since logger {number} is an hour off", f"why unit U{i} fails", str(number)),
        }[kind]
        out.append(Fact(step, kind, text, words, value))
    return out


def filler(seed: object, count: int) -> str:
    rng = random.Random(str(seed))
    return " ".join(rng.choice(NOUNS) for _ in range(count))


@pytest.mark.slow
def test_what_was_found_early_is_at_hand_late(book: Any) -> None:
    planted = facts()
    wishes = [fact for fact in planted if fact.kind == "wish"]
    by_step = {fact.step: fact for fact in planted if fact.kind != "wish"}

    @tool(safe=True)
    def look(number: int) -> str:
        """Look at a page."""
        fact = by_step.get(number)
        if fact and fact.kind == "cause":
            raise Unable(f"{filler(number, 40)}: {fact.text}")
        told = fact.text if fact and fact.kind in ("number", "file") else ""
        return f"{filler(number, 150)}. {told} {filler(-number, 150)}."

    def reply(n: int) -> Any:
        n -= len(wishes)  # a turn each came before
        if n < 1:
            return "It is noted.", []
        if n < ASKED_AT:
            fact = by_step.get(n)
            said = fact.text if fact and fact.kind == "decision" else filler(n, 30)
            return f"I go on. {said}", [("look", {"number": n})]
        asked = n - ASKED_AT
        return ("Again.", [("recall", {"words": planted[asked].words})]) if asked < len(planted) else ("Done.", [])

    book.session.extra_tools["look"] = look
    script = ScriptedModel(reply, summary=lambda _: "Found: many pages were read, and nothing of note.")
    options = {"context": "none", "max_steps": 5_000, "stream": False}
    with script.installed():
        for fact in wishes:
            assert book.ask(fact.text, **options).state == "COMPLETED"
        run = book.ask("Read all pages.", **options)
    assert run.state == "COMPLETED", run.error
    request = script.seen[len(wishes) + ASKED_AT - 1]
    recalled = [one.result for step in run.steps for one in step.tools if one.name == "recall"]
    assert len(recalled) == len(planted)
    at_hand = [fact.value in request or fact.value in found for fact, found in zip(planted, recalled, strict=True)]
    lost = [fact for fact, known in zip(planted, at_hand, strict=True) if not known]
    assert sum(at_hand) >= 38, lost
    assert len(script.summaries) >= 3, "it was condensed more than once"
    sizes = [step.usage["input"] + step.usage["cache_read"] for step in run.steps if step.usage]
    assert max(sizes) < 60_000

    steps = {number for found in recalled for number in map(int, re.findall(r"^Step (\d+):", found, re.MULTILINE))}
    assert steps, "each is told with its step"
