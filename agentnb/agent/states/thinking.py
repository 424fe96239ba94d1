"""Handle THINKING: one model call, from the prompt that was prepared to what its reply teaches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TypeVar

from agentnb.agent.conversation.turn_blocks import (
    block_text,
    end_note,
    event_of,
    misfit_block,
    recorded_reply,
    reply_blocks,
    reply_tokens,
    what_came,
)
from agentnb.agent.deps import Services
from agentnb.agent.money.budget import affordable_output
from agentnb.agent.money.costs import LOST, Heard, Lost, lost_call
from agentnb.agent.money.shared_budget import Purse
from agentnb.agent.request import Limits
from agentnb.agent.request_planner import Preparing
from agentnb.agent.samples import learn_call
from agentnb.agent.state import AgentState, LastCall, Step, StepEvent
from agentnb.agent.states.other_model import with_model
from agentnb.agent.states.pacing import Pacing
from agentnb.agent.states.warming import WarmFirst
from agentnb.agent.tools.typed_answer import answer_text
from agentnb.durable.journal.transactions import no_step
from agentnb.errors import (
    AgentnbError,
    CallTimeout,
    PromptTooLong,
    ProviderError,
    RunInterrupted,
    StepLimitReached,
    StorageError,
    StreamBroken,
)
from agentnb.models import prices
from agentnb.models.catalog import is_simulated
from agentnb.models.contradictions import CONTRADICTS, contradiction
from agentnb.models.messages import Reply, StopReason, Usage
from agentnb.models.tokens import cached_share, scale_to_total
from agentnb.providers import latency
from agentnb.providers.base import CallAnswer, CountingProvider, Provider, Wire
from agentnb.providers.cassettes import Playing, Replaying
from agentnb.providers.promptcache import (
    CacheReport,
    Call,
    ObjectProvider,
    Prediction,
    compare,
    last_frame_index,
    layer_totals,
    observed_hit,
    reply_entries,
    sent_record,
    settle_tokens,
    span,
    warm_entries,
)

T = TypeVar("T")
_READ_PERHAPS = (RunInterrupted, StreamBroken, CallTimeout)
"""Errors of a call that the provider may have read: a refusal or failed connection says that it has not."""
OTHER_WIRE = (
    "The server did not answer at the Responses API, so its Chat Completions were asked. Where it has no such path, "
    "later calls of this session go there at once."
)
CALIBRATION_LEAST = 200  # tokens: fewer say more about framing than about the text


class Thinking:
    """Makes a call and settles it."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._threads = services.threads
        self._preparing = Preparing(services)
        self._machine = services.machine
        self._pacing = Pacing(services)
        self._warm_first = WarmFirst(services)

    def __call__(self, state: AgentState) -> Step:
        """Make one call within the limits: predict it, ask, and take in what the reply teaches."""
        if self._machine.current.replaying:
            return self._replay(state)
        self._check_limit(state)
        run_id = self._machine.current.run_id
        wanted = self._services.limits.get(run_id, Limits()).model
        if wanted and wanted != state.address:
            state = with_model(state, wanted, run_id, self._services)
        self._pacing.hold_back(state)
        if not state.child_of:
            self._services.keepalive.stop()
        before = state.spending.spent
        call, prediction = self._preparing.prepare(state)
        if not state.paused and self._preparing.outgrown(state, call):
            return self._outgrown(state, f"≈ {call.total:,} tokens were to be sent")
        if state.options.replay in ("live", "record"):
            state, call = self._with_object(state, call)
            prediction = self._preparing.predict(state, call)

        def make(call: Call) -> Step:
            self._announce(call, prediction, state)
            with self._warm_first.behind_the_first(state, call) as streams:
                answer = self._ask(call, state, at_first_token=streams)
                streams()
            with self._paid(state, call, answer):
                return self._mended(*self._settle(state, call, prediction, answer))

        try:
            return self._within(state, call, make, before=before)
        except PromptTooLong:
            refused = replace(state, refused=call.total)
            if state.paused or not self._preparing.outgrown(refused, call):
                raise
            return self._outgrown(refused, f"≈ {call.total:,} tokens were too many for the provider")

    def _outgrown(self, state: AgentState, what: str) -> Step:
        self._machine.current.attach(what=what)
        return StepEvent.OUTGROWN, replace(state, waits=state.waits + 1)

    def ask_beside(self, state: AgentState, call: Call) -> tuple[Reply, AgentState]:
        """Make a call whose reply is none of the run's own words: within its budget, and into its sums."""

        self._pacing.hold_back(state)

        def make(call: Call) -> tuple[Reply, AgentState]:
            answer = self._ask(call, state, shown=False)
            with self._paid(state, call, answer):
                return answer.reply, self._summed(state, call, answer)

        return self._within(state, call, make, before=state.spending.spent)

    def _summed(self, state: AgentState, call: Call, answer: CallAnswer) -> AgentState:
        """Take into the run's sums what a call beside it has used."""
        usage = answer.reply.usage
        cost = prices.Cost(total=0.0, uncached=0.0) if answer.recorded else call.price(usage)
        timing = latency.from_trace(answer.trace, output_tokens=usage.output, reasoning=usage.reasoning)
        self._machine.current.attach(seconds=round(timing.total, 6), usage=usage.to_json(), cost=cost.total)
        spending = state.spending.with_call(usage, cost)
        if answer.wasted != Usage():
            spending = spending.with_call(answer.wasted, call.price(answer.wasted))
        return replace(state, spending=spending)

    def _mended(self, event: StepEvent, state: AgentState) -> Step:
        """Take a structured answer: one that does not fit goes back to the model with its faults."""
        check = self._services.faults_of
        if event is not StepEvent.ANSWERED or state.schema is None:
            return event, state
        if check is not None and (faults := check(state.text)):
            block = misfit_block(faults, step=state.replies)
            return StepEvent.DOES_NOT_FIT, replace(state, blocks=(*state.blocks, block))
        return event, replace(state, text=answer_text(state.text))

    def _with_object(self, state: AgentState, call: Call) -> tuple[AgentState, Call]:
        """Return the call bound to a cache object, where the provider keeps such, one pays, and the budget allows
        it."""
        objects, provider = self._services.objects, self._services.provider_for(state.address)
        if not isinstance(provider, ObjectProvider) or state.child_of:  # its parent's call has seen to it
            return state, call
        before, existed = objects.spent, objects.find(call.prompt, call.model, call.scope) is not None
        held = objects.ensure(
            provider,
            call,
            thread=state.thread,
            worth=self._preparing.object_pays(state, call),
            warm=self._preparing.frame_is_warm(state, call),
            replaced=state.segment.replaced,
        )
        if held is not None and objects.spent > before:
            paid = objects.spent - before
            lives = span(held.until - self._services.clock.now())
            state = replace(state, spending=state.spending.paid(paid)).noted(
                f"A cache object holds {held.tokens:,} tokens for the next {lives}: "
                f"{'extended' if existed else 'made'} for ${paid:.4f} of the cache budget."
            )
        return state, self._preparing.marked(state, call)

    @contextmanager
    def _paid(self, state: AgentState, call: Call, answer: CallAnswer) -> Iterator[None]:
        """Journal what a reply had used before anything is made of it: it is paid, whatever fails from here on."""
        if answer.recorded:
            yield
            return
        usage = answer.reply.usage + answer.wasted
        texts = () if usage.input_total else (answer.reply.text,)
        used = lost_call(call, usage, texts, self._services.counter(state.address)).to_json()
        try:
            self._machine.current.note(**{LOST: used})
        except StorageError:  # a full disk: the step's own commit says so
            self._services.unwritten.setdefault(self._machine.current.run_id, []).append(used)
        try:
            yield
        except BaseException:
            self._machine.current.attach(**{LOST: used})
            raise

    def _within(
        self, state: AgentState, call: Call, make: Callable[[Call], tuple[T, AgentState]], *, before: float
    ) -> tuple[T, AgentState]:
        """Make the call with as much output as the run's budget and the shared sum pay for.

        `before` is what the run had spent until then. A mere replay can spend nothing: no budget bounds it.
        """
        if state.options.replay == "replay":
            return make(call)
        if state.budget.limit is not None:
            most = affordable_output(state.budget, self._preparing.quote(call))
            call = replace(call, prompt=replace(call.prompt, max_tokens=most))
        if not state.purse:
            return make(call)
        current = self._machine.current
        purse, key = Purse(self._machine.journal, state.purse), f"{current.run_id}/{current.step}"
        most = purse.reserve(key, self._preparing.quote(call))
        try:
            made, state = make(replace(call, prompt=replace(call.prompt, max_tokens=most)))
        except Exception:
            lost = (current.attached or {}).get(LOST)
            purse.settle(key, (Lost.from_json(lost).cost.total or 0.0) if lost else 0.0)
            raise
        purse.settle(key, state.spending.spent - before)
        return made, state

    def _check_limit(self, state: AgentState) -> None:
        most, made = state.options.max_steps, self._machine.current.step - 1 - state.waits
        if made >= most:
            raise StepLimitReached(
                f"the run reached its limit of {most} step{'s' if most != 1 else ''}",
                todo=f"Nothing is lost: %agent_runs resume {self._machine.current.run_id} --max-steps {made * 2} "
                "goes on.",
            )

    def _announce(self, call: Call, prediction: Prediction, state: AgentState) -> None:
        last = self._preparing.expected_view(call, prediction)
        if state.options.stream:
            first = self._preparing.expect_first_token(state, call, prediction)
            last["latency"] = {"expected": first.to_json()}
        self._machine.current.emit("view", context=replace(state, last=last).shown())
        self._machine.current.emit("phase", text="waiting for the first token")

    def _ask(
        self, call: Call, state: AgentState, *, shown: bool = True, at_first_token: Callable[[], None] = lambda: None
    ) -> CallAnswer:
        provider, emit, heard = self._provider(state), self._machine.current.emit, Heard()

        def on_text(kind: str, delta: str) -> None:
            heard.take(kind, delta)
            if self._services.cancelled.is_set():
                raise RunInterrupted("the call was interrupted")
            if kind == "wait":
                emit("phase", text=delta)
                return
            at_first_token()
            if shown:
                emit("delta", channel=kind, text=delta)

        wire, counter = _wire(provider, call, state), self._services.counter(state.address)
        wire = replace(wire, hands_back=self._services.may_wait)
        self._connect(provider)
        try:
            answer = provider.ask(wire, on_text)
        except AgentnbError as error:
            if isinstance(error, RunInterrupted):
                self._machine.current.attach(streamed=heard.answer)
            if error.spent is not None:
                self._lose(state, call, error, lost_call(call, Usage.from_json(error.spent), heard.texts, counter))
            if isinstance(error, ProviderError):
                self._pacing.refuse(state, error)
            raise
        self._pacing.learn(state, answer.trace.response_headers, answer.reply.usage.input)
        return replace(answer, wasted=lost_call(call, answer.wasted, heard.broken, counter).usage)

    def _lose(self, state: AgentState, call: Call, error: AgentnbError, lost: Lost) -> None:
        """Keep what the call had used with the step's event: it brought nothing and is billed. The prompt cache may
        hold what it sent."""
        ledger = self._services.ledger
        if lost.usage.input_total or isinstance(error, _READ_PERHAPS):
            ledger.remember_cut(state.thread, sent_record(call, run_id=self._machine.current.run_id))
            ledger.record(warm_entries(call, lost.usage), call.at)
        if lost.usage.input_total:
            self._machine.current.attach(**{LOST: lost.to_json()})

    def _connect(self, provider: Provider) -> None:
        """Import the SDK before the first call: that is said, since it takes a second, and interruptible after it."""
        if not provider.connected:
            self._machine.current.emit("phase", text="loading the provider's SDK (first call only)")
            provider.connect()
            self._machine.current.emit("phase", text="waiting for the first token")
        if self._services.cancelled.is_set():
            raise RunInterrupted("the run was interrupted before the call")

    def _provider(self, state: AgentState) -> Provider:
        """Tell who answers: the model, or the cassette where the run was asked to record or to replay."""
        services = self._services
        live = services.provider_for(state.address)
        if state.options.replay == "live":
            return live
        playing = Playing(speed=state.options.replay_speed, wait=services.cancelled.wait, task=state.task)
        return Replaying(live, services.cassette, mode=state.options.replay, clock=services.clock, playing=playing)

    def _settle(self, state: AgentState, call: Call, prediction: Prediction, answer: CallAnswer) -> Step:
        """Take all that a reply teaches into the state, the ledger and the samples; then on."""
        if answer.recorded:
            return self._settle_recorded(state, call, answer)
        if not answer.reply.usage.input_total:
            return self._settle_uncounted(state, call, answer)
        reply, usage = answer.reply, answer.reply.usage
        timing = self._timing(state, call, prediction, answer)
        bound, call = call, self._without_vanished(call, answer)
        if call is not bound:
            state = state.noted("The cache object had vanished at the provider; the call went out without it.")
        elif answer.fell_back:
            state = state.noted(OTHER_WIRE)
        known = self._counted(state, call, self._preparing.known(state, call.prompt, call.scope))
        self._calibrate(call, len(known), usage.input_total - sum(known))
        call = replace(call, tokens=settle_tokens(call, known, usage.input_total))
        report = self._learn(state, call, prediction, reply, vanished=call.marks != bound.marks)
        self._services.objects.keep(self._services.provider_for(state.address), call, thread=state.thread)
        if answer.trace.streamed:
            uncached, seconds = usage.input_total - usage.cache_read, timing.reading
            self._services.samples.learn_first_token(state.address, usage.input_total, uncached, seconds)
        cost = call.price(usage)
        state = self._told(state, call, reply, report=report, timing=timing, cost=cost)
        if not any(note.startswith(CONTRADICTS) for note in state.notes):
            state = state.noted(contradiction(call.model, usage))
        if answer.wasted != Usage():
            wasted = call.price(answer.wasted)
            state = replace(state, spending=state.spending.with_call(answer.wasted, wasted))
        event, state = advance(state, reply, cost, sent=len(call.prompt.blocks))
        if event is StepEvent.ANSWERED and state.schema is None and not state.child_of:  # no ping may ask by a schema
            self._services.keepalive.begin(state.address, call, self._preparing.plan(state, call).pings)
        return event, state

    def _counted(self, state: AgentState, call: Call, known: tuple[int, ...]) -> tuple[int, ...]:
        """Return the known tokens, with those of a new frame's blocks where the provider can count them."""
        provider, last = self._services.provider_for(state.address), last_frame_index(call.prompt)
        if len(known) > last or not isinstance(provider, CountingProvider):
            return known
        with suppress(ProviderError):
            new = provider.shared_tokens(call.prompt, last) - sum(known)
            return (*known, *scale_to_total(call.tokens[len(known) : last + 1], new)) if new > 0 else known
        return known

    def _told(
        self,
        state: AgentState,
        call: Call,
        reply: Reply,
        *,
        report: CacheReport,
        timing: latency.Latency,
        cost: prices.Cost,
        aside: str = "",
    ) -> AgentState:
        """Return the state with the call as the view shows it; the list of steps gets it too."""
        self._machine.current.attach(
            seconds=round(timing.total, 6),
            what=f"{what_came(reply)}{aside}",
            latency=timing.to_json(),
            usage=reply.usage.to_json(),
            cost=cost.total,
            cache=report.to_json(),
            stop=reply.stop.value,
        )
        layers = layer_totals(call, call.tokens, cached_share(call.tokens, reply.usage.cache_read))
        return replace(state, last=LastCall(layers=layers, cache=report.to_json(), latency=timing.to_json()))

    def _settle_recorded(self, state: AgentState, call: Call, answer: CallAnswer) -> Step:
        """Take in a recorded reply: it teaches and costs nothing, and everything shown says that it is recorded."""
        note = f"Recorded {answer.recorded}: nothing was sent and nothing was spent."
        state = replace(state, recorded=answer.recorded).noted(note)
        free = prices.Cost(total=0.0, uncached=0.0)
        why = f"recorded {answer.recorded}: nothing was sent"
        return self._settle_untaught(state, call, answer, cost=free, why=why, aside=" (recorded)")

    def _settle_uncounted(self, state: AgentState, call: Call, answer: CallAnswer) -> Step:
        """Settle a reply of a server that counts nothing. A missing usage is not zero, so our estimate stands in for
        it."""
        counter = self._services.counter(state.address)
        written = sum(counter.count(block_text(part)) for part in answer.reply.content)
        answer = replace(answer, reply=replace(answer.reply, usage=Usage(input=call.total, output=written)))
        state = state.noted("The server reported no usage: tokens and cost are estimates.")
        cost = call.price(answer.reply.usage)
        return self._settle_untaught(state, call, answer, cost=cost, why="the server reported no usage")

    def _settle_untaught(
        self, state: AgentState, call: Call, answer: CallAnswer, *, cost: prices.Cost, why: str, aside: str = ""
    ) -> Step:
        """Settle a reply whose figures are not those of this call: it is taken in, and teaches nothing."""
        reply = answer.reply
        call = replace(call, tokens=settle_tokens(call, (), reply.usage.input_total))
        report = CacheReport(
            expected=0,
            read=reply.usage.cache_read,
            written=reply.usage.cache_write,
            prefix=reply.usage.input_total,
            minimum=call.model.cache.minimum,
            reason=why,
        )
        timing = latency.from_trace(answer.trace, output_tokens=reply.usage.output, reasoning=reply.usage.reasoning)
        state = self._told(state, call, reply, report=report, timing=timing, cost=cost, aside=aside)
        return advance(state, reply, cost, sent=len(call.prompt.blocks))

    def _without_vanished(self, call: Call, answer: CallAnswer) -> Call:
        """Forget a cache object that was gone: the call was answered without it."""
        names = [mark.holder for mark in call.marks if mark.holder] if answer.fell_back else []
        for name in names:
            self._services.objects.vanished(name)
        return replace(call, marks=tuple(mark for mark in call.marks if mark.holder not in names)) if names else call

    def _replay(self, state: AgentState) -> Step:
        """Make the step again with the recorded reply: no model is asked, and nothing is learned twice."""
        current = self._machine.current
        after = AgentState.from_json(self._machine.context_at(current.run_id, current.step))
        events = self._machine.history(current.run_id)
        event = next((event for event in events if event.kind == "step" and event.step == current.step), None)
        if event is None:  # the journal was tampered with
            raise no_step(current.run_id, current.step)
        if after.address != state.address:
            state = with_model(state, after.address, current.run_id, self._services)
        if "stop" not in event.data:  # no reply came: the conversation was to be condensed first
            return self._outgrown(replace(state, refused=after.refused), "")
        reply = recorded_reply(state, after, event.data)
        cost = prices.cost_of(self._services.model(state.address), reply.usage, at=event.at)
        state = replace(state, last=after.last).noted(*(note for note in after.notes if note != end_note(reply)))
        led_to, state = advance(state, reply, cost, sent=after.previous_end, step=after.replies)
        if led_to is not StepEvent.ANSWERED or state.schema is None:
            return led_to, state
        if said := after.blocks[len(state.blocks) :]:
            return StepEvent.DOES_NOT_FIT, replace(state, blocks=(*state.blocks, *said))
        return led_to, replace(state, text=answer_text(state.text))

    def _learn(
        self, state: AgentState, call: Call, prediction: Prediction, reply: Reply, *, vanished: bool
    ) -> CacheReport:
        services = self._services
        previous = services.ledger.last_sent(state.thread)
        observed = observed_hit(call, services.ledger, reply.usage)
        if observed is not None:
            services.samples.learn_hit(state.address, *observed)
        report = compare(
            call,
            prediction,
            reply.usage,
            previous=previous,
            diagnosis=reply.diagnosis,
            earlier=lambda: self._threads.sent(previous),
            vanished=vanished,
            cut=services.ledger.last_cut(state.thread),
        )
        blocks = reply_blocks(reply)
        warm = [*warm_entries(call, reply.usage), *reply_entries(call, reply, blocks)]
        services.ledger.record(warm, call.at)
        replied = reply_tokens(blocks, reply.usage, self._services.counter(state.address), call.model)
        sent = sent_record(call, run_id=self._machine.current.run_id, replied=replied)
        services.ledger.remember_sent(state.thread, sent)
        learn_call(services.samples, call.prompt, thread=state.thread, at=call.at)
        return report

    def _calibrate(self, call: Call, known: int, reported: int) -> None:
        """Correct the estimator by the blocks that were new, if they are enough to say something."""
        estimated, samples, simulated = sum(call.tokens[known:]), self._services.samples, is_simulated(call.scope)
        total = call.total - estimated + reported
        if total > 0:
            samples.learn_token_error(call.model, simulated=simulated, error=abs(estimated - reported) / total)
        if estimated >= CALIBRATION_LEAST:
            samples.learn_tokens(call.model, simulated=simulated, estimated=estimated, reported=reported)

    def _timing(self, state: AgentState, call: Call, prediction: Prediction, answer: CallAnswer) -> latency.Latency:
        """Return what the call took, beside what was expected of it before; the queue of a real call is estimated."""
        usage = answer.reply.usage
        timing = latency.from_trace(answer.trace, output_tokens=usage.output, reasoning=usage.reasoning)
        if not timing.streamed:
            return timing
        timing = replace(timing, expected=self._preparing.expect_first_token(state, call, prediction))
        if timing.modelled or timing.on_server:  # the queue is known
            return timing
        uncached = usage.input_total - usage.cache_read
        queue, count = latency.queue_estimate(timing, uncached, self._preparing.first_tokens(state))
        return replace(timing, queue=queue, queue_samples=count)


def _wire(provider: Provider, call: Call, state: AgentState) -> Wire:
    """Return the request as it goes out, within the run's limits."""
    wire = provider.encode(call.prompt, call.marks, previous_message=state.previous_message)
    wire = replace(wire, retry_wait=state.options.retry_wait)
    if state.budget.limit is not None:
        wire = replace(wire, attempts=1)  # what was reserved pays for one reply, not for one that broke off too
    return wire if state.options.stream else wire.plain()


def advance(state: AgentState, reply: Reply, cost: prices.Cost, *, sent: int, step: int | None = None) -> Step:
    """Tell what a reply is, and the state after it. `sent` is the number of blocks that the request held.

    `step` is the reply's number in the conversation, by default the next one; an old journal has 0.
    """
    step = state.replies + 1 if step is None else step
    begun = state.text if state.paused else ""
    after = replace(
        state,
        spending=state.spending.with_call(reply.usage, cost),
        blocks=(*state.blocks, *reply_blocks(reply, step=step)),
        replies=step,
        previous_end=sent,
        previous_message=reply.message_id or None,
        text=begun + reply.text,
        paused=reply.stop is StopReason.PAUSED,  # then the next reply goes on with this one's text
    )
    return event_of(reply), after.noted(end_note(reply))
