"""A search over edits, deletions, re-runs, models, tools and inspections for a request that breaks a thread's rules.

What must hold is read from the requests that the simulator received, and compared with the functions as they are.
"""

from __future__ import annotations

import itertools
import sys
from types import ModuleType
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule
from thread_machine import ThreadMachine, search

NAMES = ("alpha", "beta", "gamma", "delta")
MODULE = "thread_search_rates"
MODELS = ("sim:claude-sonnet-4-6", "sim:claude-haiku-4-5")
TOOLS: tuple[tuple[str, ...], ...] = (("inspect",), ("inspect", "run_code"), ())
names = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True)
edits = st.lists(st.tuples(st.sampled_from(NAMES), st.none() | st.integers(0, 3)), max_size=3)


def source_of(name: str, version: int) -> str:
    """A function of some length, so that old versions weigh; `version` stands in its text."""
    return "\n".join([f"def {name}(x):", *(f"    x = x + {version} * {i}" for i in range(12)), "    return x"])


class Search(ThreadMachine):
    """One thread. `truth` is the version of each function that exists, None after a deletion."""

    def __init__(self) -> None:
        super().__init__()
        self.truth: dict[str, int | None] = {}

    @initialize(limit=st.sampled_from([0.0, 0.1, 0.25]), outline=st.booleans())
    def begin(self, limit: float, outline: bool) -> None:
        self.limit = limit
        for name in NAMES:
            self._define(name, 0)
        if outline:
            self.edit_module(0)
            module = ModuleType(MODULE)
            module.__file__ = str(self.folder / f"{MODULE}.py")
            sys.modules[MODULE] = module
            self._cell(f"import {MODULE}", "imports")

    # --- what the user does: some edits, then one question ---

    @rule(edits=edits, asked=names)
    def ask(self, edits: list[tuple[str, int | None]], asked: list[str]) -> None:
        self._edit(edits)
        self._ask(f"Explain {self._listed(asked)}.")

    @rule(edits=edits, asked=names, tools=st.sampled_from(TOOLS), model=st.sampled_from(MODELS))
    def ask_otherwise(
        self, edits: list[tuple[str, int | None]], asked: list[str], tools: tuple[str, ...], model: str
    ) -> None:
        self._edit(edits)
        self._ask(f"Explain {self._listed(asked)}.", tools=tools, model=model)

    @rule(edits=edits, name=st.sampled_from(NAMES))
    def inspect(self, edits: list[tuple[str, int | None]], name: str) -> None:
        self._edit(edits)
        self._ask(f"Inspect `{name}`.", context="none")

    @precondition(lambda self: self.asked)
    @rule(edits=edits, data=st.data(), asked=names)
    def run_again(self, edits: list[tuple[str, int | None]], data: st.DataObject, asked: list[str]) -> None:
        self._edit(edits)
        self._ask(f"Explain {self._listed(asked)} again.", cell=data.draw(st.sampled_from(self.asked)))

    @rule(version=st.integers(0, 3))
    def edit_module(self, version: int) -> None:
        lines = [f"def rate_{i}(kind, year={version}):\n    return {version}\n\n" for i in range(8)]
        (self.folder / f"{MODULE}.py").write_text("\n".join(lines) + "#" * version)

    # --- how ---

    def _edit(self, edits: list[tuple[str, int | None]]) -> None:
        for name, version in edits:
            if version is not None:
                self._define(name, version)
            elif self.truth[name] is not None:
                self._cell(f"del {name}", "delete")
                self.truth[name] = None

    def _define(self, name: str, version: int) -> None:
        self._cell(source_of(name, version), name)
        self.truth[name] = version

    def _cell(self, source: str, cell_id: str) -> None:
        self.number += 1
        self.session.cells.record(source, cell_id=cell_id, number=self.number)
        exec(source, self.session.namespace)

    def _listed(self, asked: list[str]) -> str:
        return " and ".join(f"`{name}`" for name in asked)

    def _ask(self, task: str, cell: str | None = None, **changes: Any) -> None:
        run_id, _ = self.complete(task, cell, thread_stale_limit=self.limit, **({"tools": ("inspect",)} | changes))
        self._check(run_id)

    # --- what must hold ---

    def _check(self, run_id: str) -> None:
        new, sent = self.received()
        assert all(item.status == 200 for item in new)
        for item in new:
            self._check_marks(item.body)
        for request in sent:
            self._check_versions(request)
        self._check_sent_once(sent[0].texts)
        self._check_growth(run_id, sent)
        self.last[run_id] = sent[-1]

    def _check_marks(self, body: dict[str, Any]) -> None:
        marks = [part["cache_control"]["ttl"] for _, part in self.wire.parts_of(body) if "cache_control" in part]
        assert len(marks) <= 4
        assert marks == sorted(marks, key=lambda ttl: ttl == "5m"), "longer TTLs stand before shorter ones"

    def _check_growth(self, run_id: str, sent: list[Any]) -> None:
        context = self.session.machine().get(run_id).context
        parent = context["parent"]
        if parent and self.session.machine().get(parent).context["segment_root"] == context["segment_root"]:
            sent = [self.last[parent], *sent]
        for before, after in itertools.pairwise(sent):
            assert self.wire.kept(before, after) == len(before.blocks), "a request only ever extends the one before it"

    def _check_versions(self, request: Any) -> None:
        assert request.stale <= self.limit * request.total
        held: dict[str, Any] = {}
        for text in request.texts:
            for version in self.wire.versions_in(text):
                held[version.name] = version
        for name in NAMES:
            if name in held:
                self._check_newest(name, held[name])

    def _check_sent_once(self, texts: tuple[str, ...]) -> None:
        """What the turn adds before its task: nothing that the prompt already shows in its newest version."""
        held: dict[str, Any] = {}
        for number, text in enumerate(texts):
            for version in self.wire.versions_in(text):
                old = held.get(version.name)
                same = old is not None and (old.digest, old.form) == (version.digest, version.form)
                assert not (same and number == len(texts) - 2), "one version of a definition is sent once"
                held[version.name] = version

    def _check_newest(self, name: str, version: Any) -> None:
        known = self.truth[name]
        if known is None:
            assert version.text == "", f"{name} was deleted, and the prompt does not say so"
        else:
            assert source_of(name, known) in version.text

    def teardown(self) -> None:
        super().teardown()
        sys.modules.pop(MODULE, None)


@pytest.mark.slow
@pytest.mark.hypothesis
def test_no_order_of_events_breaks_a_thread(wire: ModuleType) -> None:
    search(Search, wire, examples=max(1, settings.default.max_examples // 4), steps=10)
