"""Let a script speak behind the simulator's wires: their checks, prompt cache and usage are as ever."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from agentnb.simulator.model.dialogue import Ask, Spoken, Wanted
from agentnb.simulator.tokenizer import pieces

WIRES = ("anthropic", "google", "openai")
SUM_UP = "will be taken out of it"
"""Words by which a request for a summary is known."""

Reply = tuple[str, Sequence[tuple[str, dict[str, Any]]]]
"""What is said, and the calls as (tool, arguments)."""


@dataclass
class ScriptedModel:
    """Answers its n-th request (from 1) with `reply(n)`, and one for a summary with `summary(text of the request)`."""

    reply: Callable[[int], Reply]
    summary: Callable[[str], str] = lambda text: "Found: nothing."
    asked: int = 0
    summaries: list[str] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    """The text of each request but those for summaries."""

    def __call__(self, ask: Ask, *, declined: bool = False, paused: bool = False) -> Spoken:
        text = "\n".join(item.text for item in ask.said)
        thought = tuple(pieces("I go on.", ask.model.tokenizer)) if ask.thinks else ()
        if SUM_UP in ask.said[-1].text:
            self.summaries.append(self.summary(text))
            return Spoken(thinking=thought, pieces=tuple(pieces(self.summaries[-1], ask.model.tokenizer)))
        self.asked += 1
        self.seen.append(text)
        said, calls = self.reply(self.asked)
        wanted = tuple(Wanted(name=name, arguments=arguments) for name, arguments in calls)
        told = tuple(tuple(pieces(json.dumps(call.arguments), ask.model.tokenizer)) for call in wanted)
        words = tuple(pieces(said, ask.model.tokenizer))
        stop = "tools" if wanted else "end"
        return Spoken(thinking=thought, pieces=words, calls=wanted, call_pieces=told, stop=stop)

    @contextmanager
    def installed(self) -> Iterator[ScriptedModel]:
        """Let every simulator of this process answer so."""
        with ExitStack() as stack:
            for wire in WIRES:
                module = importlib.import_module(f"agentnb.simulator.{wire}.wire")
                stack.enter_context(mock.patch.object(module, "answer", self))
            yield self
