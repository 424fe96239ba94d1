"""Run the built-in agent over one session's services: begin runs, drive them, take a person's word, look ahead.

What happens in which state stands in table.py; this only looks it up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from agentnb.agent.approvals import AWAITING_APPROVAL, COMMAND, EVENT, Answer, Question
from agentnb.agent.deps import Services
from agentnb.agent.money.budget import affordable_output
from agentnb.agent.money.costs import LOST, Lost, lost_calls
from agentnb.agent.request import Limits, Request
from agentnb.agent.request_planner import Preparing
from agentnb.agent.run_document import DRY_RUN, AgentRun, document_of, run_document, state_of
from agentnb.agent.state import AgentState
from agentnb.agent.states.hydrating import Hydrating
from agentnb.agent.table import BEGIN, TABLE, Row
from agentnb.agent.tools.policy import allowed_tools, allows
from agentnb.agent.tools.tool import pick
from agentnb.agent.way_on import with_way_on
from agentnb.canonical import JsonObject
from agentnb.durable.journal import records
from agentnb.durable.machine import AgentStateMachine
from agentnb.durable.states import Handler
from agentnb.errors import AgentnbError, JournalError, RunInterrupted, StorageError
from agentnb.models.layers import Block
from agentnb.models.messages import Usage
from agentnb.providers import latency
from agentnb.providers.promptcache import Call, Plan, Prediction, expected_usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """Holds a request's blocks with their estimated tokens, and how many of these the prompt cache had or should
    have."""

    blocks: tuple[Block, ...]
    tokens: tuple[int, ...]
    cached: int


class BuiltInAgent:
    """Holds the agent's handlers over one set of services. One run at a time."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._machine = services.machine
        self._hydrating = Hydrating(services)
        self._preparing = Preparing(services)
        self._limits = services.limits
        self._latest: tuple[JsonObject, AgentState | None] = ({}, None)
        self.raised: Exception | None = None
        for name, row in TABLE.items():
            self._machine.register_state(name, self._handler(row), leads_to=tuple(row.next.values()))

    def begin(self, request: Request, run_id: str) -> None:
        """Commit the run's step 0: where it hangs in its thread, and under which limits."""
        state, tags = self._hydrating.opening(request, run_id)
        self.begin_with(state, run_id, tags)

    def kept(self, request: Request) -> records.RunSummary | None:
        """Return the run whose answer to this request still holds; None where it has to be asked."""
        return self._hydrating.kept(request)

    def begin_many(self, asked: Iterable[tuple[Request, str]]) -> None:
        """Commit step 0 of many requests, each with its run's name. A run whose name is taken is left as it is."""
        opened = ((run_id, *self._hydrating.opening(request, run_id)) for request, run_id in asked)
        self._machine.initialize_runs(BEGIN, ((run_id, state.to_json(), tags) for run_id, state, tags in opened))

    def begin_with(self, state: AgentState, run_id: str, tags: Mapping[str, str]) -> None:
        """Commit a run's step 0 with this very state."""
        self._machine.initialize_run(run_id, BEGIN, state.to_json(), tags=tags)

    def resume(self, run_id: str, limits: Limits, answers: Mapping[str, object] = MappingProxyType({})) -> None:
        """Make a paused or failed run ready to go on, with new limits where they are given. Executes nothing.

        `answers` may hold "unsure" ("repeat" or "skip"), "accept-versions" and "take-over"; see the machine's resume.
        """
        pick(allowed_tools(limits.allow or ()), self._services.tools)
        self._limits[run_id] = limits
        unsure = answers.get("unsure")
        self._machine.resume(
            run_id,
            unsure=str(unsure) if unsure else None,
            accept_versions=bool(answers.get("accept-versions")),
            take_over=bool(answers.get("take-over")),
        )
        self._services.resumed_at[run_id] = state_of(self._machine.get(run_id).context).replies
        allowed = [
            question
            for question in self.questions(run_id)
            if allows(limits.allow or (), question.tool, question.arguments)
        ]
        self.answer(run_id, [Answer(question=question, approved=True, by=COMMAND) for question in allowed])

    def drive(self, run_id: str) -> AgentRun:
        """Go on to the end, a failure, a pause or a question, and return the run as it stands."""
        try:
            run, before = self._machine.run_to_end(run_id), -1
            while run.status == records.WAITING and run.step != before:  # a word may have come meanwhile
                run, before = self._machine.run_to_end(run_id), run.step
        except (JournalError, StorageError) as error:
            if unwritten := self._services.unwritten.get(run_id):
                spent = sum(Lost.from_json(used).cost.total or 0.0 for used in unwritten)
                error.todo += f" What the reply had cost (${spent:.4f}) is kept in this kernel until the run goes on."
            with_way_on(error, run_id)
            raise
        return AgentRun(document_of(run, self._machine.history(run_id)))

    def may_ask(self, run_id: str) -> bool:
        """Tell whether the run may wait for a person's word: it has tools that act and are not allowed."""
        state = self._state(run_id)
        tools = (self._services.tools[name] for name in state.options.tools)
        return state.options.approval == "ask" and any(t.acts and t.name not in state.options.allow for t in tools)

    def questions(self, run_id: str) -> list[Question]:
        """Return the calls of the run that wait for a person's word."""
        run = self._machine.get(run_id)
        waits = run.state == AWAITING_APPROVAL
        return AgentState.from_json(run.context).waiting(run_id) if waits else []

    def answer(self, run_id: str, answers: Iterable[Answer]) -> int:
        """Journal what a person said; the number of words that counted: of two on one call the first does.

        None of the calls is carried out: `drive` goes on. A paused run that waits goes on waiting.
        """
        if self._machine.get(run_id).status == records.PAUSED:
            self._machine.resume(run_id)
        waiting_now = {question.key for question in self.questions(run_id)}
        counted = 0
        for answer in answers:
            key = answer.question.key
            word = answer.to_json(self._services.scrub)
            counted += key in waiting_now and self._machine.send(run_id, EVENT, word, event_id=key)
        # One word a step: those too that a kernel delivered before it died.
        before, run = -1, self._machine.get(run_id)
        while run.state == AWAITING_APPROVAL and run.step != before:
            self._machine.execute_step(run_id)
            run, before = self._machine.get(run_id), run.step
        return counted

    @property
    def machine(self) -> AgentStateMachine:
        return self._machine

    def as_it_stands(self, run_id: str) -> AgentRun:
        """Return the run as it is committed now, whatever became of it; the error keeps what to do about it."""
        document = document_of(self._machine.get(run_id), self._machine.history(run_id))
        error = self.raised
        if document["error"] is not None and isinstance(error, AgentnbError):
            document["error"] |= {"message": self._services.scrub(error.what), "todo": self._services.scrub(error.todo)}
        return AgentRun(document)

    def last_call(self, run_id: str) -> Call:
        """Return the run's last request as it was sent, which the next one will begin with: for keeping it warm."""
        state = self._state(run_id)
        sent = state.previous_end
        call, _ = self._preparing.prepare(state)
        cut = replace(call.prompt, blocks=call.prompt.blocks[:sent], previous_end=0)
        return self._preparing.marked(state, replace(call, prompt=cut, marks=(), tokens=call.tokens[:sent]))

    def outlook(self, run_id: str) -> tuple[Call, Plan, Prediction, latency.Expected, bool]:
        """Tell how the layers of the next call on this run's prompt are cached, and what of it should hit.

        Also when its first token may be expected, and whether a cache object of its frame pays.
        """
        state = self._state(run_id)
        call, prediction = self._preparing.prepare(state)
        plan = self._preparing.plan(state, call)
        first = self._preparing.expect_first_token(state, call, prediction)
        return call, plan, prediction, first, self._preparing.object_pays(state, call)

    def dry_run(self, request: Request, run_id: str) -> AgentRun:
        """Tell what would be sent, what it would cost and what would hit. Sends nothing and commits nothing."""
        state, _ = self._hydrating.opening(request, run_id)
        state = self._hydrating.fill(state, run_id)
        call, prediction = self._preparing.prepare(state)
        affordable_output(state.budget, self._preparing.quote(call))
        usage = expected_usage(call, prediction.tokens)
        first = self._preparing.expect_first_token(state, call, prediction)
        spending = replace(state.spending, usage=usage, cost=call.price(usage))
        state = replace(state, last=self._preparing.expected_view(call, prediction), spending=spending).noted(
            _would_cost(call, usage),
            "Old steps would be condensed first." if self._preparing.outgrown(state, call) else "",
            self._preparing.object_to_come(state, call),
            f"First token expected in {first}.",
        )
        return AgentRun(run_document(run_id=run_id, standing=DRY_RUN, state=state, steps=()))

    def next_request(self, request: Request, run_id: str) -> Preview:
        """Return the blocks that the request would send. Sends nothing and commits nothing."""
        state, _ = self._hydrating.opening(request, run_id)
        call, prediction = self._preparing.prepare(self._hydrating.fill(state, run_id))
        return Preview(blocks=call.prompt.blocks, tokens=call.tokens, cached=prediction.tokens)

    def last_request(self, run_id: str) -> Preview:
        """Return the blocks that a run's last request sent."""
        state = self._state(run_id)
        call, _ = self._preparing.prepare(state)
        cache = (state.last or {}).get("cache") or {}
        read, end = cache.get("read"), state.previous_end
        cached = read if isinstance(read, int) else 0
        return Preview(blocks=call.prompt.blocks[:end], tokens=call.tokens[:end], cached=cached)

    def _state(self, run_id: str) -> AgentState:
        return AgentState.from_json(self._machine.get(run_id).context)

    def _handler(self, row: Row) -> Handler:
        """Return a row's handler as the machine calls it: JSON in, JSON out, under the run's present limits."""
        handle = row.handler(self._services)

        def step(context: JsonObject) -> tuple[str, JsonObject]:
            self.raised, began = None, self._services.clock.monotonic()
            if self._services.cancelled.is_set():
                raise RunInterrupted("the run was interrupted")
            run_id = self._machine.current.run_id
            # The machine hands back the very dict that the step before has given: then it need not be read again.
            given, known = self._latest
            state = known if known is not None and context is given else AgentState.from_json(context)
            if state is not known:
                state = self._taken_up(state, run_id)
            state = state.limited(self._limits_of(run_id))
            try:
                event, state = handle(state)
            except Exception as error:
                self.raised = error  # the machine keeps its text; whoever asked raises the error itself
                if isinstance(error, RunInterrupted):
                    self._machine.current.attach(stopped=round(self._services.clock.monotonic() - began, 6))
                elif isinstance(error, AgentnbError) and not state.child_of:
                    with_way_on(error, run_id)
                raise
            self._machine.current.emit("view", context=state.shown())
            self._latest = (state.to_json(), state)
            return row.next[event], self._latest[0]

        return step

    def _limits_of(self, run_id: str) -> Limits:
        """Return the limits that the run goes on under; a replayed step has those of its time."""
        current = self._machine.current
        if not current.replaying:
            return self._limits.get(run_id, Limits())
        then = AgentState.from_json(self._machine.context_at(run_id, current.step)).options
        return Limits(max_steps=then.max_steps, budget=then.budget, allow=then.allow)

    def _taken_up(self, state: AgentState, run_id: str) -> AgentState:
        """Return the state as it was read from the journal, with what calls had used that no step holds.

        A replay takes up what was lost by the time of its step.
        """
        current = self._machine.current
        if current.replaying:
            until = (current.step, 0)
            events = [event for event in self._machine.history(run_id) if (event.step, event.kind != "step") <= until]
            return state.with_lost(run_id, lost_calls(events))
        unwritten = self._services.unwritten.get(run_id, [])
        while unwritten:
            self._machine.current.note(**{LOST: unwritten[0]})
            unwritten.pop(0)
        state = self._services.threads.numbered(state)
        return state.with_lost(run_id, lost_calls(self._machine.history(run_id)))


def _would_cost(call: Call, usage: Usage) -> str:
    """Return `Nothing was sent. It would cost $0.008 to send, plus up to $0.061 for the reply.`"""
    send = call.price(usage).total
    reply = call.price(Usage(output=call.prompt.max_tokens)).total
    if send is None or reply is None:
        return f"Nothing was sent. The reply would have at most {call.prompt.max_tokens:,} tokens."
    return f"Nothing was sent. It would cost ${send:.3f} to send, plus up to ${reply:.3f} for the reply."
