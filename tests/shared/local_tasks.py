"""Twelve tasks of a notebook, each with the first reply that is right: a call with its arguments, or an answer.

Nothing of the notebook is sent along (`context="none"`), so that what the task needs has to be asked for.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import agentnb
from agentnb.agent.tools.run_code import run_in
from agentnb.errors import StepLimitReached
from agentnb.models.messages import Reply
from agentnb.providers.local import weights
from agentnb.providers.local.adapter import LocalProvider
from agentnb.settings import data_directory, from_environment

NAMESPACE: Mapping[str, Any] = {
    "prices": [3.5, 4.25, 9.0, 1.25],
    "shop": "Harbour",
    "stations": {"name": ["Kiel", "Husum"], "depth": [3.1, 1.4]},
}
TOOLS = ("inspect", "read_cell", "run_code", "propose_cell", "plan")
Judge = Callable[[Reply], bool]


def calls(name: str, /, **patterns: str) -> Judge:
    """The first call is of this tool, and its arguments match the patterns."""

    def judge(reply: Reply) -> bool:
        if not reply.calls or reply.calls[0].name != name:
            return False
        given = reply.calls[0].arguments
        return all(re.search(pattern, str(given.get(key, "")), re.DOTALL) for key, pattern in patterns.items())

    return judge


def computes(value: float | str) -> Judge:
    """The first call runs code that works on the notebook's variables as they are, and shows this value."""

    def judge(reply: Reply) -> bool:
        if not calls("run_code")(reply):
            return False
        outcome = run_in(dict(NAMESPACE), str(reply.calls[0].arguments.get("code", "")))
        return not outcome.is_error and str(value) in outcome.text

    return judge


def answers(pattern: str) -> Judge:
    """It is an answer at once, which says this."""
    return lambda reply: not reply.calls and re.search(pattern, reply.text, re.IGNORECASE) is not None


TASKS: tuple[tuple[str, Judge], ...] = (
    ("Run code that computes the mean of the list `prices`.", computes(4.5)),
    ("Run code that finds the largest value in `prices`.", computes(9.0)),
    ("How many characters does the text in `shop` have? Run code to find out.", computes(7)),
    ("Inspect the variable `stations` and tell me what it holds.", calls("inspect", name=r"^stations$")),
    ("Look up the source of the function `tide_height`.", calls("inspect", name=r"^tide_height$")),
    ("What does the method `Model.fit` of my module do? Look at its source.", calls("inspect", name=r"^Model\.fit$")),
    ("What did cell 3 print? Read the cell.", calls("read_cell", number=r"^3$")),
    ("Read cell 12 and explain its output.", calls("read_cell", number=r"^12$")),
    (
        "Propose a new cell that sorts `prices` in descending order.",
        calls("propose_cell", source=r"sort.*reverse|reverse.*sort"),
    ),
    ("Propose a cell that draws `prices` as a bar chart with matplotlib.", calls("propose_cell", source=r"\.bar\(")),
    ("What does the abbreviation CSV stand for?", answers("comma.separated")),
    ("In one sentence: what is the median of a list of numbers?", answers("middle|50")),
)

# Written after the prompt and the schema were settled, and never used to change them.
FRESH_TASKS: tuple[tuple[str, Judge], ...] = (
    ("Use code to multiply all the numbers in `prices`.", computes(167.34375)),
    ("What is the smallest price in `prices`? Run code to see.", computes(1.25)),
    ("Run code that spells the text in `shop` backwards.", computes("ruobraH")),
    ("Run code that adds up the depths in `stations`.", computes(4.5)),
    ("Have a look at the variable `prices`.", calls("inspect", name=r"^prices$")),
    ("Show me the source of the class `TideTable`.", calls("inspect", name=r"^TideTable$")),
    ("Inspect `Harbour.open_gates` and explain what it does.", calls("inspect", name=r"^Harbour\.open_gates$")),
    ("Which error did cell 7 raise? Read it.", calls("read_cell", number=r"^7$")),
    ("Read cell 21 for me.", calls("read_cell", number=r"^21$")),
    ("Propose a cell which prints the names of `stations` in upper case.", calls("propose_cell", source=r"upper\(")),
    ("Propose a cell that saves `prices` to the file prices.json.", calls("propose_cell", source=r"json")),
    ("In one sentence: what is a kernel in Jupyter?", answers("process|program|execut|runs|engine")),
)


def home_with_weights(home: Path) -> Path:
    """A data directory of a test's own, in which the weights are those that were fetched on this machine."""
    fetched = weights.directory(data_directory(from_environment(os.environ)))
    weights.directory(home).mkdir(mode=0o700, parents=True)
    home.chmod(0o700)
    for file in fetched.glob("*.gguf"):
        (weights.directory(home) / file.name).symlink_to(file)
    return home


def home_with(model: str, home: Path) -> Path:
    """The same, where these weights were fetched. Elsewhere the test is skipped, in CI it fails."""
    said = f"the weights are not here: python -m agentnb local get {model}"
    if importlib.util.find_spec("xllamacpp") is None:
        said = "a model on this machine needs xllamacpp: make test"
    elif weights.path_of(weights.named(model), home_with_weights(home)) is not None:
        return home
    if os.environ.get("CI"):
        pytest.fail(said)
    pytest.skip(said)


def first_replies(model: str, home: Path, *, tasks: tuple[tuple[str, Judge], ...] = TASKS) -> list[tuple[str, Reply]]:
    """(task, first reply) of each task, each in a conversation of its own."""
    found: list[tuple[str, Reply]] = []
    with agentnb.Agent(model=model, tools=list(TOOLS), home=home, context="none", max_tokens=300) as agent:
        agent.session.namespace.update(NAMESPACE)
        provider = agent.session.provider(model)
        assert isinstance(provider, LocalProvider)
        ask = provider.ask
        replies: list[Reply] = []

        def noted(wire: Any, on_text: Any) -> Any:
            answer = ask(wire, on_text)
            replies.append(answer.reply)
            return answer

        provider.ask = noted  # type: ignore[method-assign]
        for number, (task, _) in enumerate(tasks):
            agent._thread = f"task-{number}"
            with contextlib.suppress(StepLimitReached):
                agent.run(task, max_steps=2)
            found.append((task, replies[-1]))
    return found
