"""Run children of a run: the parts of its task that the model delegates.

A child is a run of its own in the same journal. Its requests begin with the frozen blocks of its parent's segment, byte
for byte. So the prompt cache has them already. The tools in those blocks are the parent's. The child may use some of
them; a call of any other is refused.

That frame may be too short for the prompt cache. If the parent's last request is not, a child begins with all of it.
Reading it costs less than sending the frame anew to each child.

Its id names the parent, the step and the call: `r-1/7/2`. After a crash the parent's step comes again under the same
names. What has ended is found there and not run a second time; what was cut off goes on.

The first child begins alone. The others begin once it streams: by then the provider has the common prefix.
"""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, InvalidStateError, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, replace

from agentnb.agent.approvals import Proposed
from agentnb.agent.deps import ChildAgent, Services
from agentnb.agent.money.costs import Spending, lost_calls
from agentnb.agent.request import title_of
from agentnb.agent.state import AgentState, Segment
from agentnb.agent.tools.tool import Outcome, ToolBox, shorten
from agentnb.canonical import JsonObject
from agentnb.durable.events import Event
from agentnb.durable.journal import records
from agentnb.durable.journal.records import Run
from agentnb.durable.machine import AgentStateMachine
from agentnb.errors import AgentnbError, JournalError, RunInterrupted, RunUnknown
from agentnb.models.framing import framed, unframed
from agentnb.models.layers import Block, Layer
from agentnb.models.messages import Role, Text
from agentnb.providers.promptcache import Trust

KEPT_BACK = frozenset({"delegate", "propose_cell", "ask_user", "answer"})
"""Tools that no child has: what they bring belongs to the run that the person sees."""
AT_ONCE, MOST = 8, 20
"""Children at work side by side, and those of one reply."""
TOO_MANY = Outcome(text=f"Not begun: one reply may have {MOST} children.", is_error=True)
MOST_READ = 3
"""Children begin with their parent's request up to so many times the least that is cached. If it is longer, a child of
a dozen calls pays more for reading it than it saves."""
LOOK = 0.1  # seconds between two looks at whether the person has stopped the run
NOTE = (
    "You do one part of a larger task, for another agent who reads nothing but your last reply. Give the result there, "
    "whole and short. Nobody is here to answer questions. Of the tools you have these alone: {tools}."
)
ABOVE = " What stands above is that agent's conversation, for you to read. Its task is not yours."


@dataclass(frozen=True, kw_only=True)
class DelegatedPart:
    """Holds one call of `delegate` as it is to be carried out: the child's run, its task and its tools."""

    number: int
    run_id: str
    task: str
    tools: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Tells people of a child: one line. `seconds` are those of its steps."""

    run_id: str
    task: str
    state: str = "HYDRATING"
    cost: float | None = None
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class ChildEnd:
    """Holds what came of a call of `delegate`: its result, and the child as it stands, where there is one."""

    outcome: Outcome
    child: Standing | None = None
    spending: Spending | None = None

    @property
    def seconds(self) -> float:
        return self.child.seconds if self.child else 0.0

    def shown(self) -> JsonObject:
        """Return what the list of steps gets beside the call."""
        return {"child": asdict(self.child)} if self.child else {}


class Children:
    """Runs the children of one run, several at once."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def run(self, state: AgentState, box: ToolBox, calls: Sequence[Proposed]) -> dict[int, ChildEnd]:
        """Carry out these calls of `delegate`; gives what came of each, by its number in the reply.

        Raises RunInterrupted where the person stops the run: its children stop too, and go on with it.
        """
        made = {each.number: self._part(box, each) for each in calls[:MOST]}
        made |= {each.number: TOO_MANY for each in calls[MOST:]}
        parts = [part for part in made.values() if isinstance(part, DelegatedPart)]
        refused = {number: ChildEnd(outcome=part) for number, part in made.items() if isinstance(part, Outcome)}
        return refused | (Batch(self._services, state, box, parts).run() if parts else {})

    def _part(self, box: ToolBox, proposed: Proposed) -> DelegatedPart | Outcome:
        """Return the part that the call asks for, or why there is none."""
        call, current = proposed.call, self._services.machine.current
        if problem := box.problem(call):
            return problem
        offered = [name for name in sorted(box.tools) if name not in KEPT_BACK]
        asked = call.arguments.get("tools")
        names = offered if asked is None else list(asked)
        if missing := [name for name in names if name not in offered]:
            known = ", ".join(offered) or "none"
            said = f"A child cannot have {', '.join(missing)}. It can have: {known}."
            return Outcome(text=unframed(shorten(said)), is_error=True)
        return DelegatedPart(
            number=proposed.number,
            run_id=f"{current.run_id}/{current.step}/{proposed.number}",
            task=self._services.scrub(str(call.arguments["task"])),
            tools=tuple(dict.fromkeys(names)),
        )


class Batch:
    """Holds the children of one reply, from their beginning to their ends."""

    def __init__(self, services: Services, state: AgentState, box: ToolBox, parts: Sequence[DelegatedPart]) -> None:
        self._services, self._state, self._box, self._parts = services, state, box, parts
        self._current = services.machine.current
        self._began = services.clock.monotonic()
        self._streams: Future[ChildEnd] = Future()
        """Done once a child streams; it has no result of its own."""
        self._board = {part.run_id: Standing(run_id=part.run_id, task=title_of(part.task)) for part in parts}
        self._told: JsonObject = {}
        self._above = self._read_too()
        self._agents: queue.SimpleQueue[ChildAgent] = queue.SimpleQueue()

    def run(self) -> dict[int, ChildEnd]:
        # A recorded reply is found by what was asked before it: there children work one after the other.
        most = AT_ONCE if self._state.options.replay == "live" else 1
        workers = min(most, len(self._parts))
        with contextlib.ExitStack() as stack:
            for _ in range(workers):
                self._agents.put(stack.enter_context(self._services.beside()))
            stack.enter_context(self._told_where_stopped())
            with ThreadPoolExecutor(workers) as pool:
                first = pool.submit(self._child, self._parts[0])
                futures = [first]
                try:
                    self._follow({first, self._streams}, all_of_them=False)
                    futures += [pool.submit(self._child, part) for part in self._parts[1:]]
                    self._follow(set(futures))
                except BaseException:  # a stop: each child ends its step in flight, and goes on with its parent
                    pool.shutdown(wait=False, cancel_futures=True)
                    self._pause()
                    raise
        return {part.number: future.result() for part, future in zip(self._parts, futures, strict=True)}

    def _follow(self, waiting: set[Future[ChildEnd]], *, all_of_them: bool = True) -> None:
        """Tell how the children stand until all have ended, or one. Raises what a child raised."""
        while waiting:
            done, waiting = wait(waiting, timeout=LOOK, return_when=FIRST_COMPLETED)
            self._tell()
            for future in done:
                future.result()
            if self._services.cancelled.is_set():
                raise RunInterrupted("the run was interrupted while its children worked")
            if done and not all_of_them:
                return

    def _tell(self) -> None:
        shown: JsonObject = {"children": [asdict(each) for each in self._board.values()]}
        if shown != self._told:
            self._told = shown
            self._current.emit("children", **shown)

    def _pause(self) -> None:
        for part in self._parts:
            with contextlib.suppress(JournalError):  # it has ended, or has not begun
                self._services.machine.pause(part.run_id)

    @contextlib.contextmanager
    def _told_where_stopped(self) -> Iterator[None]:
        """Keep with the stop what the children have used: the step that counts it is not committed."""
        try:
            yield
        except RunInterrupted:
            stood: list[JsonObject] = []
            spending = Spending()
            for part in self._parts:
                with contextlib.suppress(RunUnknown):  # it has not begun
                    child, state = self._stood(self._services.machine, part)
                    stood.append(asdict(child))
                    spending = spending.with_child(state.spending)
            self._current.attach(
                children=stood, children_spent=spending.to_json() | {"budget": {"spent": spending.spent}}
            )
            raise

    def _child(self, part: DelegatedPart) -> ChildEnd:
        agent = self._agents.get()
        stop = agent.machine.events.subscribe(lambda event: self._hear(part, event), run_id=part.run_id)
        try:
            run = self._driven(agent, part)
            ended = self._ended(agent, part, run)
        except RunInterrupted:
            raise
        except AgentnbError as error:
            said = unframed(f"The child could not go on: {error.what}.")
            ended = ChildEnd(outcome=Outcome(text=said, is_error=True))
        finally:
            stop()
            self._agents.put(agent)
        if ended.child:
            self._board[part.run_id] = ended.child
        return ended

    def _driven(self, agent: ChildAgent, part: DelegatedPart) -> Run:
        """Return the child's run, brought to its end. One that has ended, or has failed, is left as it is."""
        machine = agent.machine
        try:
            run = machine.get(part.run_id)
        except RunUnknown:
            if self._current.replaying:
                raise
            agent.begin_with(self._opening(part), part.run_id, self._tags(part))
            run = machine.get(part.run_id)
        if run.status == records.PAUSED:
            machine.resume(part.run_id)
        elif run.status in (records.COMPLETED, records.FAILED, records.CANCELLED):
            return run
        return machine.run_to_end(part.run_id)

    def _opening(self, part: DelegatedPart) -> AgentState:
        """Return the child's state at its beginning: its parent's segment, its own task, and a share of the
        money."""
        parent, left = self._state, self._state.budget.left
        options = replace(
            parent.options,
            tools=part.tools,
            allow=tuple(sorted(self._box.allow)),
            approval="deny",
            budget=None if left is None else left / (len(self._parts) + 1),
            context="none" if parent.options.context == "none" else "marks",
        )
        above = self._above
        told = framed("note", NOTE.format(tools=", ".join(part.tools) or "none") + (ABOVE if above else ""))
        return AgentState(
            task=unframed(part.task),
            thread=part.run_id,
            options=options,
            segment=Segment(root=parent.segment.root),
            child_of=self._current.run_id,
            purse=parent.purse,
            label=parent.label,
            simulated=parent.simulated,
            token_factor=parent.token_factor,
            kind=parent.kind,
            inherited=(*above, Block(layer=Layer.DYNAMIC, role=Role.USER, content=Text(told), label="note")),
            previous_end=parent.previous_end if above else 0,
            replies=parent.replies if above else 0,
        )

    def _read_too(self) -> tuple[Block, ...]:
        """Return what the parent's last request held behind its frame, where children do best to begin with it."""
        parent, services = self._state, self._services
        model, layers = services.model(parent.address), parent.last["layers"] if parent.last else []
        least, tokens = model.cache.minimum, [int(str(layer["tokens"])) for layer in layers]
        hits = Trust(found=services.samples.hits(parent.address)).expects(0.0, 0.0)
        if not (hits and sum(tokens[:2]) < least <= sum(tokens) <= MOST_READ * least):
            return ()
        frame = services.threads.segment(parent.segment.root)
        return (*services.threads.before(parent), *parent.blocks)[len(frame) : parent.previous_end]

    def _tags(self, part: DelegatedPart) -> Mapping[str, str]:
        model = self._state.address
        return {
            records.CHILD_OF: self._current.run_id,
            "thread": part.run_id,
            "model": model,
            "task": title_of(part.task),
        }

    def _hear(self, part: DelegatedPart, event: Event) -> None:
        if event.kind == "delta" or (event.kind in ("step", "failed") and event.state == "THINKING"):
            with contextlib.suppress(InvalidStateError):  # a server that does not stream has read it all by its answer
                self._streams.set_result(ChildEnd(outcome=Outcome(text="")))
        before = self._board[part.run_id]
        cost = (event.data.get("context") or {}).get("cost") or {} if event.kind == "view" else {}
        self._board[part.run_id] = replace(
            before,
            state=event.next_state,
            cost=cost.get("total", before.cost),
            seconds=round(self._services.clock.monotonic() - self._began),
        )

    def _stood(self, machine: AgentStateMachine, part: DelegatedPart) -> tuple[Standing, AgentState]:
        """Return how the child stands by the journal, with what its failed calls had used."""
        run, events = machine.get(part.run_id), list(machine.history(part.run_id))
        state = AgentState.from_json(run.context).with_lost(part.run_id, lost_calls(events))
        cost = state.spending.cost.total if state.spending.cost else 0.0
        seconds = sum(event.data.get("seconds") or 0.0 for event in events if event.kind in ("step", "failed"))
        stands = "PAUSED" if run.status == records.PAUSED else run.state
        return replace(self._board[part.run_id], state=stands, cost=cost, seconds=round(seconds, 6)), state

    def _ended(self, agent: ChildAgent, part: DelegatedPart, run: Run) -> ChildEnd:
        if run.status == records.PAUSED:
            raise RunInterrupted("the run was interrupted while its children worked")
        child, state = self._stood(agent.machine, part)
        price = "at a price that is not known" if child.cost is None else f"for ${child.cost:.4f}"
        if run.status == records.COMPLETED:
            text = f"{state.text}\n\n[The child answered {price}.]"
        else:
            why = f"{run.error.type}: {run.error.message}" if run.error else run.status
            text = f"The child ended without an answer, {price}: {why[:600]}"
        text = unframed(shorten(self._services.scrub.of_output(text)))
        outcome = Outcome(text=text, is_error=run.status != records.COMPLETED)
        return ChildEnd(outcome=outcome, child=child, spending=state.spending)
