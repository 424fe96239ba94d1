"""The built-in agent as a state table: HYDRATING -> THINKING -> (ACTING -> THINKING)* -> COMPLETED.

Each handler takes the run's JSON context and gives the next state and context; the machine commits that as one step.
What a handler needs of the outside (provider, notebook, ledger, clock) comes in `Services`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from agentnb import canonical
from agentnb.canonical import Clock
from agentnb.context.selection import Selection
from agentnb.errors import ActionUnsure, AgentnbError, RunInterrupted, StepLimitReached
from agentnb.prompt.compiler import TurnParts, semi_static_block, static_blocks, turn_blocks
from agentnb.prompt.layers import Block, Prompt
from agentnb.prompt.thread import (
    Turn,
    held_definitions,
    is_branch,
    parent_for,
    path_to,
    segment_for,
    stale_tokens,
)
from agentnb.prompt.tokens import TokenCounter, cached_share
from agentnb.providers import catalog, latency, prices
from agentnb.providers.base import Answer, Provider
from agentnb.providers.messages import Reply, StopReason, ToolCall, Usage
from agentnb.providers.promptcache import (
    CacheReport,
    Call,
    Ledger,
    Prediction,
    compare,
    known_tokens,
    layer_totals,
    place_marks,
    predict,
    sent_record,
    settle_tokens,
    warm_entries,
)
from agentnb.runs.budget import Budget, Quote, affordable_output
from agentnb.runs.conversation import (
    ACTING,
    HYDRATING,
    THINKING,
    block_text,
    next_state,
    open_calls,
    reply_blocks,
    result_block,
    scrubbed,
    tool_record,
    what_came,
)
from agentnb.runs.hydration import Hydrator, Scrubber, with_changed
from agentnb.runs.machine import AgentStateMachine
from agentnb.runs.record import DRY_RUN, AgentRun, document_of, run_document
from agentnb.runs.samples import Samples
from agentnb.runs.threads import Threads
from agentnb.runs.tools import Outcome, Tool, ToolBox, carry_out, pick

Context = dict[str, Any]
OnMain = Callable[[Callable[[], Outcome]], Outcome]

CALIBRATION_LEAST = 200  # tokens: fewer say more about framing than about the text

SHOWN = ("task", "text", "notes", "usage", "cost", "calls", "last", "budget", "definitions", "redactions")
"""The parts of the context that a view needs while the run goes on."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One task and how to carry it out. `cell` and `execution` say who asked; `execution` tells re-runs apart."""

    task: str
    model: str
    thread: str
    tools: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    budget: float | None = None
    max_steps: int = 30
    max_tokens: int = 4096
    context: str = "auto"
    context_tokens: int = 4000
    stale_limit: float = 0.10
    cell: str | None = None
    execution: str = ""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """New limits of a resumed run, as whole sums, not additions; None leaves the old one."""

    max_steps: int | None = None
    budget: float | None = None
    allow: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Services:
    """What the agent needs of the outside. `cancelled` is set, from any thread, to stop the run in flight."""

    machine: AgentStateMachine
    ledger: Ledger
    samples: Samples
    provider_for: Callable[[str], Provider]
    hydrator: Hydrator
    tools: Mapping[str, Tool]
    on_main: OnMain
    clock: Clock
    scrub: Scrubber
    cancelled: threading.Event = field(default_factory=threading.Event)


class BuiltInAgent:
    """The agent's handlers over one set of services. One run at a time."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._machine = services.machine
        self._threads = Threads(services.machine)
        self._limits: dict[str, Limits] = {}
        self.raised: Exception | None = None
        for name, handler in ((HYDRATING, self._hydrate), (THINKING, self._think), (ACTING, self._act)):
            self._machine.register_state(name, self._guarded(handler))

    # --- beginning, driving ---------------------------------------------------------------------------------------

    def begin(self, request: Request, run_id: str) -> None:
        """Commit the run's step 0: where it hangs in its thread, and under which limits."""
        context, tags = self._opening(request, run_id)
        self._machine.initialize_run(run_id, HYDRATING, context, tags=tags)

    def resume(
        self,
        run_id: str,
        limits: Limits,
    ) -> None:
        """Make a paused or failed run ready to go on, with new limits where they are given. Executes nothing."""
        self._limits[run_id] = limits
        self._machine.resume(run_id)

    def drive(self, run_id: str) -> AgentRun:
        """Go on to the end (or to a failure or a pause) and give the run as it stands."""
        run = self._machine.run_to_end(run_id)
        return AgentRun(document_of(run, self._machine.history(run_id)))

    @property
    def machine(self) -> AgentStateMachine:
        return self._machine

    def as_it_stands(self, run_id: str) -> AgentRun:
        """The run as it is committed now, whatever became of it; the error keeps what to do about it."""
        document = document_of(self._machine.get(run_id), self._machine.history(run_id))
        error = self.raised
        if document["error"] is not None and isinstance(error, AgentnbError):
            document["error"] |= {"message": self._services.scrub(error.what), "todo": self._services.scrub(error.todo)}
        return AgentRun(document)

    def dry_run(self, request: Request, run_id: str) -> AgentRun:
        """What would be sent, what it would cost and what would hit. Sends nothing and commits nothing."""
        context, _ = self._opening(request, run_id)
        self._fill(context, run_id)
        prompt, call, prediction = self._prepare(context)
        affordable_output(_budget(context), self._quote(call))
        context["last"] = self._expected_view(call, prediction)
        usage = Usage(cache_read=prediction.tokens, input=max(call.total - prediction.tokens, 0))
        cost = prices.cost_of(call.model, usage)
        context["usage"] = usage.to_json()
        context["cost"] = {"total": cost.total, "uncached": cost.uncached, "known": cost.known}
        context["notes"].append(
            f"Dry run: nothing was sent. ≈ {call.total:,} input tokens; the reply (at most {prompt.max_tokens:,} "
            "tokens) would come on top."
        )
        return AgentRun(run_document(run_id=run_id, state=DRY_RUN, context=context, steps=()))

    def _guarded(self, handler: Callable[[Context], tuple[str, Context]]) -> Any:
        def guarded(context: Context) -> tuple[str, Context]:
            self.raised = None
            if self._services.cancelled.is_set():
                raise RunInterrupted("the run was interrupted")
            _apply_limits(context, self._limits.get(self._machine.current.run_id, Limits()))
            try:
                state, after = handler(context)
            except Exception as error:
                self.raised = error  # the machine keeps its text; whoever asked raises the error itself
                raise
            self._machine.current.emit("view", context={name: after.get(name) for name in SHOWN})
            return state, after

        return guarded

    def _opening(self, request: Request, run_id: str) -> tuple[Context, dict[str, str]]:
        """The context and the tags of step 0."""
        model = catalog.lookup(request.model)
        kind = self._kind(request)
        turns = self._threads.turns(request.thread)
        parent = parent_for(turns, cell=request.cell, execution=request.execution)
        path = path_to(turns, parent)
        root, why = self._root(turns, path, kind=kind, request=request)
        context: Context = {
            "format": 1,
            "task": self._services.scrub(request.task),
            "thread": request.thread,
            "parent": parent.run_id if parent else None,
            "turn": len(path) + 1,
            "branch": is_branch(turns, cell=request.cell, execution=request.execution),
            "model": request.model,
            "label": model.label,
            "simulated": request.model.startswith("sim:"),
            "tools": sorted(request.tools),
            "allow": sorted(request.allow),
            "budget": {"limit": request.budget, "spent": 0.0},
            "max_steps": request.max_steps,
            "max_tokens": min(request.max_tokens, model.max_output),
            "mode": request.context,
            "context_tokens": request.context_tokens,
            "kind": kind,
            "segment_root": root or run_id,
            "blocks": [],
            "notes": [why] if why else [],
            "text": "",
            "previous_end": 0,
            "previous_message": None,
        }
        return context, _tags(context, request)

    def _kind(self, request: Request) -> str:
        """Model, tools and instructions: what a segment freezes by its own. A change of any begins a new one."""
        specs = [tool.spec for tool in pick(request.tools, self._services.tools).values()]
        return canonical.digest_of([request.model, [block.digest for block in static_blocks(specs)]])

    def _root(
        self, turns: Sequence[Turn], path: Sequence[Turn], *, kind: str, request: Request
    ) -> tuple[str | None, str]:
        """(the segment to go on with, or None to begin one; the reason for beginning one, for the user)."""
        root = segment_for(turns, path, kind)
        if root is None:
            changed = "The model or the tools changed" if path else ""
            return None, f"New segment: {changed}, so the prompt is written anew." if changed else ""
        blocks = [*self._threads.segment(root), *self._threads.path(path, root=root, kind=kind)]
        fresh = self._services.hydrator.refresh(held_definitions(blocks), self._counter(request.model).count)
        stale = stale_tokens(blocks, fresh.current)
        total = sum(self._counter(request.model).block(block_text(block.content)) for block in blocks)
        if not path or stale <= request.stale_limit * total:
            return root, ""
        return None, self._priced(request, stale, total)

    def _priced(self, request: Request, stale: int, total: int) -> str:
        """Why the prefix is written anew, with the price of either way."""
        model = catalog.lookup(request.model)
        keep = prices.cost_of(model, Usage(cache_read=stale)).total
        write = prices.cost_of(model, Usage(cache_write_5m=total - stale)).total
        cost = (
            ""
            if keep is None or write is None
            else (f" Keeping it would cost ≈ ${keep:.4f} a call; writing the rest anew costs ≈ ${write:.4f} once.")
        )
        return (
            f"New segment: ≈ {stale:,} of ≈ {total:,} tokens were out of date ({stale / total:.0%}, limit "
            f"{request.stale_limit:.0%}).{cost}"
        )

    def _counter(self, address: str) -> TokenCounter:
        return self._services.samples.counter(catalog.lookup(address))

    # --- HYDRATING ------------------------------------------------------------------------------------------------

    def _hydrate(self, context: Context) -> tuple[str, Context]:
        started = self._services.clock.monotonic()
        run_id = self._machine.current.run_id
        self._machine.current.emit("phase", text="finding the definitions that the task touches")
        self._fill(context, run_id)
        chosen = context["definitions"]
        new = sum(1 for item in chosen if item["new"])
        self._machine.current.attach(
            seconds=round(self._services.clock.monotonic() - started, 6),
            what=f"{len(chosen)} definition{'' if len(chosen) == 1 else 's'} held, {new} new",
        )
        return THINKING, context

    def _fill(self, context: Context, run_id: str) -> None:
        """The turn's own blocks, the segment's where this run begins it, and the list of definitions held."""
        services = self._services
        count = self._counter(context["model"]).count
        path = self._path(context)
        if context["segment_root"] == run_id:
            context["segment_blocks"] = [block.to_json() for block in self._new_segment(context, path)]
        context["previous_end"], context["previous_message"] = self._threads.end_of_last_request(
            path, context["segment_root"]
        )
        before = [*self._segment_blocks(context), *self._path_blocks(context)]
        held = held_definitions(before)
        fresh = services.hydrator.refresh(held, count)
        selection = with_changed(
            services.hydrator.select(
                context["task"], mode=context["mode"], count=count, budget=context["context_tokens"]
            ),
            fresh.changed,
        )
        parts = TurnParts(
            task=context["task"],
            selection=selection,
            values=tuple(services.hydrator.describe_values(context["task"], mode=context["mode"])),
            parts=services.hydrator.parts(count) if context["mode"] != "none" else (),
            removed=fresh.removed,
        )
        blocks = [scrubbed(block, services.scrub) for block in turn_blocks(parts, before)]
        context["blocks"] = [block.to_json() for block in blocks]
        context["definitions"] = _receipt(before, blocks, selection)
        context["notes"] += [*selection.notes, *services.hydrator.cells.notes]
        context["redactions"] = services.scrub.report()

    def _new_segment(self, context: Context, path: Sequence[Turn]) -> list[Block]:
        """STATIC and SEMI_STATIC of a segment that begins here; what the thread held is folded into it."""
        services = self._services
        count = self._counter(context["model"]).count
        specs = [services.tools[name].spec for name in context["tools"]]
        held = held_definitions(self._threads.whole(path))
        project = services.hydrator.snapshot(count, folded=held)
        outline = semi_static_block(project)
        blocks = [*static_blocks(specs), *([outline] if outline else [])]
        return [scrubbed(block, services.scrub) for block in blocks]

    # --- the prompt -----------------------------------------------------------------------------------------------

    def _path(self, context: Context) -> tuple[Turn, ...]:
        turns = self._threads.turns(context["thread"])
        parent = next((turn for turn in turns if turn.run_id == context["parent"]), None)
        return path_to(turns, parent)

    def _path_blocks(self, context: Context) -> tuple[Block, ...]:
        """The blocks of the turns before this one, as this segment sends them."""
        return self._threads.path(self._path(context), root=context["segment_root"], kind=context["kind"])

    def _segment_blocks(self, context: Context) -> tuple[Block, ...]:
        stored = context.get("segment_blocks")
        if stored is None:
            return self._threads.segment(context["segment_root"])
        return tuple(Block.from_json(item) for item in stored)

    def _prepare(self, context: Context) -> tuple[Prompt, Call, Prediction]:
        model = catalog.lookup(context["model"])
        own = tuple(Block.from_json(item) for item in context["blocks"])
        prompt = Prompt(
            model=model.name,
            blocks=self._segment_blocks(context) + self._path_blocks(context) + own,
            max_tokens=context["max_tokens"],
            previous_end=context["previous_end"],
        )
        counter = self._services.samples.counter(model)
        now = self._services.clock.now()
        call = Call(
            prompt=prompt,
            marks=place_marks(prompt, model, pauses=self._services.samples.pauses(context["thread"], now)),
            tokens=self._count(context, prompt, counter),
            model=model,
            scope=self._services.provider_for(context["model"]).scope,
            at=now,
        )
        return prompt, call, predict(call, self._services.ledger)

    def _count(self, context: Context, prompt: Prompt, counter: TokenCounter) -> tuple[int, ...]:
        """Tokens by block: as settled by an earlier reply where it sent the same prefix, else estimated."""
        known = known_tokens(prompt.chain, self._services.ledger.newest_like(context["thread"], prompt.model))
        new = prompt.blocks[len(known) :]
        return (*known, *(counter.block(block_text(block.content)) for block in new))

    def _quote(self, call: Call) -> Quote | None:
        """The worst case of the next call: nothing hits, everything is written at the dearest TTL asked for."""
        dearest = {"cache_write_1h": call.total} if any(m.ttl == "1h" for m in call.marks) else {}
        usage = Usage(**(dearest or {"cache_write_5m": call.total} if call.marks else {"input": call.total}))
        worst = prices.cost_of(call.model, usage).total
        per_token = prices.cost_of(call.model, Usage(output=1_000_000)).total
        if worst is None or per_token is None:
            return None
        # The estimate of the input can be off before it is calibrated; a budget must hold all the same.
        return Quote(input_cost=worst * 1.25, output_price=per_token / 1_000_000, max_tokens=call.prompt.max_tokens)

    # --- THINKING -------------------------------------------------------------------------------------------------

    def _think(self, context: Context) -> tuple[str, Context]:
        self._check_limit(context)
        prompt, call, prediction = self._prepare(context)
        if _budget(context).limit is not None:
            prompt = replace(prompt, max_tokens=affordable_output(_budget(context), self._quote(call)))
            call = replace(call, prompt=prompt)
        self._announce(call, prediction, context)
        answer = self._ask(call, context)
        return self._settle(context, call, prediction, answer)

    def _check_limit(self, context: Context) -> None:
        step = self._machine.current.step
        if step > context["max_steps"]:
            raise StepLimitReached(
                f"the run reached its limit of {context['max_steps']} steps",
                todo=f"Nothing is lost: %agent_runs resume {self._machine.current.run_id} --max-steps "
                f"{context['max_steps'] * 2} goes on.",
            )

    def _announce(self, call: Call, prediction: Prediction, context: Context) -> None:
        view = {name: context.get(name) for name in SHOWN} | {"last": self._expected_view(call, prediction)}
        self._machine.current.emit("view", context=view)
        self._machine.current.emit("phase", text="waiting for the first token")

    def _expected_view(self, call: Call, prediction: Prediction) -> dict[str, Any]:
        cached = cached_share(call.tokens, prediction.tokens)
        report = CacheReport(
            expected=prediction.tokens,
            read=0,
            written=0,
            prefix=call.total,
            minimum=call.model.cache.minimum,
            reason=f"expected: {prediction.reason}",
        )
        return {"layers": layer_totals(call, call.tokens, cached), "cache": report.to_json(), "latency": None}

    def _ask(self, call: Call, context: Context) -> Answer:
        provider = self._services.provider_for(context["model"])
        wire = provider.encode(call.prompt, call.marks, previous_message=context["previous_message"])
        if _budget(context).limit is not None:
            wire = replace(wire, attempts=1)  # what was reserved pays for one reply, not for one that broke off too
        emit = self._machine.current.emit

        def on_text(kind: str, delta: str) -> None:
            if self._services.cancelled.is_set():
                raise RunInterrupted("the call was interrupted")
            emit("delta", channel=kind, text=delta)

        return provider.ask(wire, on_text)

    def _settle(self, context: Context, call: Call, prediction: Prediction, answer: Answer) -> tuple[str, Context]:
        """Everything that a reply teaches goes into the context, the ledger and the samples; then on."""
        reply = answer.reply
        known = known_tokens(call.prompt.chain, self._services.ledger.newest_like(context["thread"], call.model.name))
        self._calibrate(call, len(known), reply.usage.input_total - sum(known))
        call = replace(call, tokens=settle_tokens(call, known, reply.usage.input_total))
        report = self._learn(context, call, prediction, reply)
        timing = self._timing(call, answer)
        cost = prices.cost_of(call.model, reply.usage)
        context["last"] = {
            "layers": layer_totals(call, call.tokens, cached_share(call.tokens, reply.usage.cache_read)),
            "cache": report.to_json(),
            "latency": timing.to_json(),
        }
        _add_up(context, reply.usage, cost)
        if answer.wasted != Usage():
            _add_up(context, answer.wasted, prices.cost_of(call.model, answer.wasted))
        context["blocks"] += [block.to_json() for block in reply_blocks(reply)]
        context["previous_end"] = len(call.prompt.blocks)
        context["previous_message"] = reply.message_id or None
        state = next_state(reply)
        _take_answer(context, reply)
        self._machine.current.attach(
            seconds=round(timing.total, 6),
            what=what_came(reply),
            latency=timing.to_json(),
            usage=reply.usage.to_json(),
            cost=cost.total,
            cache=report.to_json(),
        )
        return state, context

    def _learn(self, context: Context, call: Call, prediction: Prediction, reply: Reply) -> CacheReport:
        services = self._services
        previous = services.ledger.last_sent(context["thread"])
        report = compare(call, prediction, reply.usage, previous=previous, diagnosis=reply.diagnosis)
        services.ledger.record(warm_entries(call, reply.usage), call.at)
        services.ledger.remember_sent(context["thread"], sent_record(call, run_id=self._machine.current.run_id))
        services.samples.learn_call(context["thread"], call.at)
        return report

    def _calibrate(self, call: Call, known: int, reported: int) -> None:
        """Correct the estimator by the blocks that were new, if they are enough to say something."""
        estimated = sum(call.tokens[known:])
        if estimated >= CALIBRATION_LEAST:
            self._services.samples.learn_tokens(call.model, estimated=estimated, reported=reported)

    def _timing(self, call: Call, answer: Answer) -> latency.Latency:
        usage = answer.reply.usage
        timing = latency.from_trace(answer.trace, output_tokens=usage.output)
        if timing.modelled:
            return timing
        uncached = usage.input_total - usage.cache_read
        known = self._services.samples.prefill(call.model)
        queue, count = latency.queue_estimate(timing, uncached, known)
        self._services.samples.learn_prefill(call.model, uncached, timing.ttft - timing.connect)
        return replace(timing, queue=queue, queue_samples=count)

    # --- ACTING ---------------------------------------------------------------------------------------------------

    def _act(self, context: Context) -> tuple[str, Context]:
        box = ToolBox(tools=pick(context["tools"], self._services.tools), allow=frozenset(context["allow"]))
        records = []
        started = self._services.clock.monotonic()
        for call in open_calls(context["blocks"]):
            outcome, seconds = self._timed(box, call)
            context["blocks"].append(result_block(call, outcome).to_json())
            _hold(context, outcome)
            records.append(tool_record(call, outcome, seconds))
        context["redactions"] = self._services.scrub.report()
        self._machine.current.attach(
            seconds=round(self._services.clock.monotonic() - started, 6),
            what=", ".join(f"{r['name']}{' (refused)' if r['refused'] else ''}" for r in records),
            tools=records,
        )
        return THINKING, context

    def _timed(self, box: ToolBox, call: ToolCall) -> tuple[Outcome, float]:
        if self._services.cancelled.is_set():
            raise RunInterrupted("the run was interrupted before a tool ran")
        self._machine.current.emit("phase", text=f"running {call.name}")
        started = self._services.clock.monotonic()
        outcome = box.problem(call) or self._carry_out(box.tools[call.name], call)
        outcome = replace(outcome, text=self._services.scrub(outcome.text))
        return outcome, self._services.clock.monotonic() - started

    def _carry_out(self, tool: Tool, call: ToolCall) -> Outcome:
        if not tool.acts:
            return self._place(tool, call)
        # An acting tool's effect is keyed (run, step, action): after a crash it is reported, never silently repeated.
        action = self._machine.current.action(call.call_id)

        def act() -> dict[str, Any]:
            outcome = self._place(tool, call)
            return {"text": outcome.text, "is_error": outcome.is_error}

        try:
            done = action.run(act)
        except ActionUnsure:
            return Outcome(
                text=f"{tool.name} was interrupted earlier and may have run already. It was not repeated. "
                "Check its effect before relying on it.",
                is_error=True,
            )
        return Outcome(text=done["text"], is_error=done["is_error"])

    def _place(self, tool: Tool, call: ToolCall) -> Outcome:
        if tool.on_main:
            return self._services.on_main(lambda: carry_out(tool, call))
        return carry_out(tool, call)


# --- pure parts ---


def _apply_limits(context: Context, limits: Limits) -> None:
    if limits.max_steps is not None:
        context["max_steps"] = limits.max_steps
    if limits.budget is not None:
        context["budget"] = context["budget"] | {"limit": limits.budget}
    if limits.allow is not None:
        context["allow"] = sorted(limits.allow)


def _budget(context: Context) -> Budget:
    return Budget(limit=context["budget"]["limit"], spent=context["budget"]["spent"])


def _tags(context: Context, request: Request) -> dict[str, str]:
    """What the journal finds the run by."""
    return {
        "thread": context["thread"],
        "cell": request.cell or "",
        "execution": request.execution,
        "parent": context["parent"] or "",
        "kind": context["kind"],
        "root": context["segment_root"],
        "model": context["model"],
        "task": " ".join(context["task"].split())[:80],
    }


def _receipt(path: Sequence[Block], own: Sequence[Block], selection: Selection) -> list[dict[str, Any]]:
    """What the context holds after this turn's blocks: every definition once, in its newest version."""
    new = {str(item["name"]) for block in own for item in block.holds}
    reasons = {chosen.definition.name: chosen.reason for chosen in selection.chosen}
    held = held_definitions([*path, *own])
    return [
        dict(item) | {"new": name in new, "reason": reasons.get(name, f"{item['reason']} (earlier turn)")}
        for name, item in held.items()
        if item["form"] in ("full", "signature")
    ]


def _hold(context: Context, outcome: Outcome) -> None:
    for item in outcome.holds:
        entry = dict(item) | {"new": True}
        context["definitions"] = [d for d in context["definitions"] if d["name"] != item["name"]] + [entry]


def _add_up(context: Context, usage: Usage, cost: prices.Cost) -> None:
    total = Usage.from_json(context["usage"]) + usage if context.get("usage") else usage
    context["usage"] = total.to_json()
    context["calls"] = context.get("calls", 0) + 1
    before = context.get("cost") or {"total": 0.0, "uncached": 0.0, "known": True}
    known = before["known"] and cost.known
    context["cost"] = {
        "total": before["total"] + cost.total if known and cost.total is not None else None,
        "uncached": before["uncached"] + cost.uncached if known and cost.uncached is not None else None,
        "known": known,
    }
    context["budget"] = context["budget"] | {"spent": context["budget"]["spent"] + (cost.total or 0.0)}


def _take_answer(context: Context, reply: Reply) -> None:
    context["text"] = reply.text
    notes = {
        StopReason.MAX_TOKENS: f"The answer was cut off at {reply.usage.output:,} tokens.",
        StopReason.REFUSAL: "The model refused to answer.",
        StopReason.CONTEXT_FULL: "The model's context window is full; begin afresh with -t new.",
    }
    if reply.stop in notes:
        context["notes"].append(notes[reply.stop])
