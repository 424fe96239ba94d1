"""Run the agent in a script: a session of its own, and one task after the other."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from agentnb.agent.approvals import PROGRAM, Answer
from agentnb.agent.built_in import BuiltInAgent
from agentnb.agent.run_document import AgentRun
from agentnb.agent.tools.tool import Tool
from agentnb.canonical import JsonObject
from agentnb.durable.diagrams import Drawing
from agentnb.errors import InputError, SettingsError
from agentnb.session import Session
from agentnb.settings import SIMULATED_DEFAULT, from_environment
from agentnb.simulator import SimClock, Simulator


class Agent:
    """Holds the agent outside notebooks: `Agent(model=…, thread=…, tools=[…]).run(task) -> AgentRun`.

    `tools` holds names of built-in tools and functions made with `@agentnb.tool`; by default only `inspect`.
    `namespace` is what it may read (and, with `allow=["run_code"]`, run code in). Raises what the run raised, unless
    `raise_errors=False`: then look at `.state` and `.error`. With a `SimClock` as `clock` the simulator keeps that time
    and never waits: `clock.advance(300)` is a pause of five minutes. Other keywords are settings; raises SettingsError
    on a bad one.

    >>> with agentnb.Agent(model="sim:claude-sonnet-4-6", namespace={"depth": 3.5}) as agent:
    ...     answer = agent.run("What is `depth`?")
    >>> answer.state, len(answer.layers), answer.usage.calls
    ('COMPLETED', 4, 1)

    With `approval="ask"` a run waits for a word on each call that would act.

    >>> agent = agentnb.Agent(tools=["run_code"], namespace={"log": []}, approval="ask")
    >>> waiting = agent.run("Run `log.append(1)` please.")
    >>> waiting.state, agent.approve(waiting).state
    ('WAITING', 'COMPLETED')
    >>> agent.deny(agent.run("Run `log.append(2)` please."), "Once is enough.").state
    'COMPLETED'
    >>> "AWAITING_APPROVAL" in agent.drawing().plain
    True
    >>> agent.close()
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        thread: str | None = None,
        tools: list[str | Tool] | None = None,
        allow: list[str] | None = None,
        namespace: JsonObject | None = None,
        session: Session | None = None,
        clock: SimClock | None = None,
        raise_errors: bool = True,
        **settings: object,
    ) -> None:
        given: list[str | Tool] = list(tools) if tools is not None else ["inspect"]
        if session is not None and settings:
            todo = "Give them to the session, or to run()."
            raise SettingsError("settings beside a session, which has its own", about=", ".join(settings), todo=todo)
        self.session = session or _session(settings, clock)
        self.session.namespace.update(namespace or {})
        _check_tools(given)
        self.session.extra_tools |= {item.name: item for item in given if isinstance(item, Tool)}
        self._names = tuple(item if isinstance(item, str) else item.name for item in given)
        self._model = model
        self._thread = thread
        self._allow = tuple(allow or ())
        self._raise = raise_errors

    def run(self, task: str, **changes: object) -> AgentRun:
        """Carry out one task in this agent's thread. Raises InputError on an empty one, and what the run raised."""
        words: object = task
        if not isinstance(words, str) or not words.strip():
            raise InputError(
                "the task is empty or no text", about=repr(task), todo="Give what you want to know as text."
            )
        request = self.session.request(
            task, model=self._model, thread=self._thread, tools=self._names, allow=self._allow, **changes
        )
        agent = self.session.agent()
        run_id = self.session.new_run_id()
        agent.begin(request, run_id)
        return self._drive(agent, run_id)

    def approve(self, run: AgentRun, *, rest: bool = False) -> AgentRun:
        """Let the calls run that the run waits with (`approval="ask"`); with `rest` their tools, for the rest of it.

        Raises InputError where the run does not wait, and what the run raised.
        """
        return self._answer(run, approved=True, rest=rest)

    def deny(self, run: AgentRun, reason: str = "") -> AgentRun:
        """Tell the model no to the calls that the run waits with, and why. Raises as `approve` does."""
        return self._answer(run, approved=False, reason=reason)

    def _answer(self, run: AgentRun, **word: Any) -> AgentRun:
        agent = self.session.agent()
        answers = [Answer(question=item, by=PROGRAM, **word) for item in agent.questions(run.run_id)]
        if not answers:
            raise InputError("the run does not wait for approval", about=run.run_id, todo="Look at its state.")
        agent.answer(run.run_id, answers)
        return self._drive(agent, run.run_id)

    def _drive(self, agent: BuiltInAgent, run_id: str) -> AgentRun:
        run = agent.drive(run_id)
        if self._raise and agent.raised is not None:
            raise agent.raised
        return run

    def drawing(self, run: AgentRun | None = None) -> Drawing:
        """Return the agent's own state machine as a picture; with a run, how often that run went along each arrow."""
        return self.session.agent().machine.drawing(run.run_id if run else None)

    def close(self) -> None:
        """End keep-alive, delete this session's cache objects, and close the journal. A second time does nothing."""
        self.session.close()

    def __enter__(self) -> Agent:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _session(settings: Mapping[str, object], clock: SimClock | None) -> Session:
    made = from_environment(os.environ).with_changes(**settings)
    if clock is None:
        return Session(settings=made)
    made = made.with_changes(model=made.model or SIMULATED_DEFAULT)
    return Session(settings=made, clock=clock, simulated=Simulator(clock=clock, speed=0).start())


def _check_tools(given: Sequence[object]) -> None:
    """Raises InputError on what is neither a tool's name nor a tool."""
    for item in given:
        if not isinstance(item, str | Tool):
            raise InputError(
                f"{getattr(item, '__name__', repr(item))} is not a tool",
                todo="Decorate the function with @agentnb.tool, or name a built-in tool.",
            )
