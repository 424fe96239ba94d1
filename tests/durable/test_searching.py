"""Two workers on one journal, crashing at any point, against a model in memory: hypothesis looks for a difference."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, precondition, rule

from agentnb.durable.journal import leases
from agentnb.durable.journal.postgres import PostgresJournal
from agentnb.durable.journal.sqlite.journal import EmbeddedJournal
from agentnb.durable.machine import AgentStateMachine
from agentnb.errors import (
    ContextNotStorable,
    LeaseHeld,
    RunCancelled,
    RunFinished,
    RunPaused,
    StepConflict,
)

pytestmark = pytest.mark.slow
LEASE = 60.0


class KillNine(BaseException):
    """The process is gone: nothing after this is written."""


class Clock:
    def __init__(self):
        self.time = 1_700_000_000.0

    def now(self):
        return self.time

    monotonic = now


class Dying:
    """A journal that dies before or after its next commit, and writes nothing any more."""

    dies = None

    def commit(self, write):
        if self.dies == "before commit":
            raise KillNine
        done = super().commit(write)
        if self.dies == "after commit":
            raise KillNine
        return done

    def mark(self, mark):
        if self.dies:
            raise KillNine
        return super().mark(mark)


class DyingEmbedded(Dying, EmbeddedJournal):
    pass


class DyingPostgres(Dying, PostgresJournal):
    pass


class Expected:
    """What a run must look like."""

    def __init__(self, contexts):
        self.contexts = contexts
        self.status = "running"

    @property
    def step(self):
        return len(self.contexts) - 1


class TwoWorkers(RuleBasedStateMachine):
    runs = Bundle("runs")

    @initialize()
    def begin(self):
        self.place = self.new_place()
        self.clock = Clock()
        self.dead = set()
        self.patch = mock.patch.object(leases, "is_dead", lambda owner: owner in self.dead)
        self.patch.start()
        self.expected: dict[str, Expected] = {}
        self.executed: Counter[tuple[str, int]] = Counter()
        self.repeatable: Counter[tuple[str, int]] = Counter()
        self.superseded: set[tuple[str, int]] = set()
        self.behaviour = "go"
        self.workers = [self.new_worker(), self.new_worker()]
        self.seen, self.cursor = [], 0

    def new_place(self):
        return Path(tempfile.mkdtemp()) / "cache.db"

    def new_journal(self):
        return DyingEmbedded(self.place, clock=self.clock)

    def new_worker(self):
        journal = self.new_journal()
        machine = AgentStateMachine(journal, lease=LEASE)

        @machine.state("WORK")
        def work(context):
            current = machine.current
            self.executed[current.run_id, current.step] += 1
            context["n"] += 1
            context["log"].append("x" * (context["n"] % 5))
            if self.behaviour == "raise":
                raise ValueError("as told")
            if self.behaviour == "refuse":
                return "WORK", {"n": {1, 2}}
            if self.behaviour == "drop":
                context.pop(f"k{context['n'] % 3}", None)
            else:
                context[f"k{context['n'] % 3}"] = context["n"]
            return ("COMPLETED" if self.behaviour == "finish" else "WORK"), context

        return machine

    def teardown(self):
        if hasattr(self, "patch"):
            self.patch.stop()
            for machine in self.workers:
                machine.journal.close()
            if isinstance(self.place, Path):
                shutil.rmtree(self.place.parent)

    @rule(target=runs, number=st.integers(0, 3))
    def create(self, number):
        run_id = f"r{number}"
        if run_id not in self.expected:
            context = {"n": 0, "log": [], "number": number}
            self.workers[0].initialize_run(run_id, "WORK", context)
            self.expected[run_id] = Expected([{"n": 0, "log": [], "number": number}])
        return run_id

    def after(self, context):
        """What the handler makes of a context."""
        n = context["n"] + 1
        new = {**context, "n": n, "log": [*context["log"], "x" * (n % 5)]}
        if self.behaviour == "drop":
            new.pop(f"k{n % 3}", None)
        else:
            new[f"k{n % 3}"] = n
        return new

    @rule(
        run_id=runs,
        who=st.integers(0, 1),
        behaviour=st.sampled_from(["go", "go", "go", "drop", "raise", "refuse", "finish"]),
        dies=st.sampled_from([None, None, None, "before commit", "after commit"]),
    )
    def step(self, run_id, who, behaviour, dies):
        self.behaviour = behaviour
        machine, expected = self.workers[who], self.expected[run_id]
        machine.journal.dies = dies
        superseded = (run_id, who) in self.superseded
        before = None if superseded else self.executed.copy()
        self.superseded.discard((run_id, who))
        try:
            state = machine.execute_step(run_id)
        except (LeaseHeld, RunPaused, RunCancelled, ContextNotStorable) as error:
            self.refused(error, run_id, before)
            if superseded and isinstance(error, ContextNotStorable):  # refused before it could learn of that
                self.superseded.add((run_id, who))
            machine.journal.dies = None
            return
        except StepConflict:  # what a worker that was taken over learns, and nobody else
            assert superseded
            machine.journal.dies = None
            return
        except KillNine:
            self.killed(who, run_id, committed=dies == "after commit" and behaviour not in ("raise", "refuse"))
            return
        machine.journal.dies = None
        if expected.status in ("completed", "failed"):
            assert state == expected.status.upper()
            assert before is None or self.executed == before
        elif behaviour == "raise":
            assert state == "FAILED"
            expected.status = "failed"
            self.repeatable[run_id, expected.step + 1] += 1
        else:
            self.advanced(expected)
            assert state == ("COMPLETED" if expected.status == "completed" else "WORK")

    @rule(
        run_id=runs, who=st.integers(0, 1), behaviours=st.lists(st.sampled_from(["go", "drop", "refuse"]), max_size=8)
    )
    def work_on(self, run_id, who, behaviours):
        """Several steps in a row by one worker: most runs would hardly move by single steps."""
        for behaviour in behaviours:
            if self.expected[run_id].status in ("failed", "paused"):
                self.resume(run_id, who)
            self.step(run_id, who, behaviour, None)

    def advanced(self, expected):
        expected.contexts.append(self.after(expected.contexts[-1]))
        if self.behaviour == "finish":
            expected.status = "completed"

    def refused(self, error, run_id, before):
        expected = self.expected[run_id]
        if isinstance(error, ContextNotStorable):
            self.repeatable[run_id, expected.step + 1] += 1
        else:
            assert before is None or self.executed == before
        if isinstance(error, RunPaused):
            assert expected.status == "paused"
        if isinstance(error, RunCancelled):
            assert expected.status == "cancelled"

    def killed(self, who, run_id, committed):
        expected = self.expected[run_id]
        if committed:
            self.advanced(expected)
        else:
            self.repeatable[run_id, expected.step + 1] += 1
        journal = self.workers[who].journal
        self.dead.add(journal.owner)
        journal.close()
        self.workers[who] = self.new_worker()

    @rule(run_id=runs, who=st.integers(0, 1))
    def pause(self, run_id, who):
        expected = self.expected[run_id]
        try:
            self.workers[who].pause(run_id)
        except RunFinished:
            assert expected.status in ("completed", "failed", "cancelled")
            return
        row = self.workers[who].journal.row(run_id)
        if row.control is None:
            expected.status = "paused"
        else:  # another worker holds it: it will be paused after that one's next step, and this is taken back
            self.workers[1 - who].pause(run_id)
            expected.status = "paused"

    @rule(run_id=runs, who=st.integers(0, 1))
    def resume(self, run_id, who):
        expected = self.expected[run_id]
        try:
            self.workers[who].resume(run_id)
        except RunFinished:
            assert expected.status in ("completed", "cancelled")
            return
        expected.status = "running"

    @rule(run_id=runs)
    def cancel(self, run_id):
        expected = self.expected[run_id]
        try:
            for machine in self.workers:  # whoever holds it does it
                machine.cancel(run_id)
        except RunFinished:
            assert expected.status in ("completed", "cancelled")
            return
        expected.status = "cancelled"

    @rule(run_id=runs, who=st.integers(0, 1))
    def take_over(self, run_id, who):
        """From a worker that is believed dead and is not: the step in its hands may be executed once more, and is
        refused; that is what whoever takes over accepts."""
        expected = self.expected[run_id]
        if expected.status == "running":
            self.workers[who].resume(run_id, take_over=True)
            self.repeatable[run_id, expected.step + 1] += 1
            self.superseded.add((run_id, 1 - who))

    @rule(seconds=st.sampled_from([1.0, 40.0, 100.0]))
    def time_passes(self, seconds):
        self.clock.time += seconds

    @rule(run_id=runs, back=st.integers(0, 5))
    @precondition(lambda self: len(self.expected) < 8)
    def fork(self, run_id, back):
        expected = self.expected[run_id]
        step, name = max(0, expected.step - back), f"fork{len(self.expected)}"
        fork = self.workers[0].fork(run_id, step, name)
        self.expected[name] = Expected([expected.contexts[step]])
        self.expected[name].status = fork.status
        assert fork.context == expected.contexts[step]

    @invariant()
    def all_is_as_expected(self):
        for run_id, expected in getattr(self, "expected", {}).items():
            for machine in self.workers:
                run = machine.get(run_id)
                assert (run.step, run.status, run.context) == (expected.step, expected.status, expected.contexts[-1])
            for step in {0, expected.step // 2, expected.step}:
                assert list(self.workers[1].context_at(run_id, step).items()) == list(expected.contexts[step].items())

    @invariant()
    def nothing_was_executed_twice_without_reason(self):
        for key, count in getattr(self, "executed", {}).items():
            assert count <= 1 + self.repeatable[key]

    @invariant()
    def a_follower_sees_all_once(self):
        if hasattr(self, "cursor"):
            new = self.workers[0].journal.follow(self.cursor)
            self.seen += new
            self.cursor = new[-1].seq if new else self.cursor
            for run_id in self.expected:
                assert [e for e in self.seen if e.run_id == run_id] == self.workers[1].history(run_id)


EXAMPLES = settings.default.max_examples  # of a property that is quick to check; these are not
TwoWorkers.TestCase.settings = settings(
    max_examples=max(1, EXAMPLES * 2 // 5),
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.hypothesis
class TestTwoWorkers(TwoWorkers.TestCase):
    pass


class TwoWorkersOnPostgres(TwoWorkers):
    server = None

    def new_place(self):
        return self.server.empty()

    def new_journal(self):
        return DyingPostgres(self.place, clock=self.clock)


TwoWorkersOnPostgres.TestCase.settings = settings(TwoWorkers.TestCase.settings, max_examples=max(1, EXAMPLES // 8))


@pytest.mark.server
@pytest.mark.hypothesis
class TestTwoWorkersOnPostgres(TwoWorkersOnPostgres.TestCase):
    @pytest.fixture(autouse=True)
    def _with_a_server(self, postgres_server):
        TwoWorkersOnPostgres.server = postgres_server
