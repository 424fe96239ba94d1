"""THINKING: one model call, from the prompt that was prepared to what its reply teaches."""

from __future__ import annotations

from dataclasses import replace

from agentnb.agent.call_gaps import learn_call
from agentnb.agent.conversation.threads import Threads, sent_blocks
from agentnb.agent.conversation.turn_blocks import (
    COMPLETED,
    block_text,
    end_note,
    next_state,
    recorded_reply,
    reply_blocks,
    reply_tokens,
    what_came,
)
from agentnb.agent.deps import SHOWN, Context, Services
from agentnb.agent.money.budget import affordable_output
from agentnb.agent.money.costs import LOST, Heard, add_up, budget_of, lost_record, lost_usage, note, pay
from agentnb.agent.money.shared_budget import Purse
from agentnb.agent.request_planner import Preparing
from agentnb.errors import (
    AgentnbError,
    BudgetExceeded,
    CallTimeout,
    ProviderError,
    RunInterrupted,
    StepLimitReached,
    StreamBroken,
)
from agentnb.models import catalog, prices
from agentnb.models.catalog import is_simulated
from agentnb.models.messages import Reply, StopReason, Usage
from agentnb.models.tokens import cached_share
from agentnb.providers import latency
from agentnb.providers.base import Answer, Provider, Wire
from agentnb.providers.cassettes import Playing, Replaying
from agentnb.providers.promptcache import (
    CacheReport,
    Call,
    ObjectProvider,
    Prediction,
    compare,
    layer_totals,
    observed_hit,
    sent_record,
    settle_tokens,
    span,
    warm_entries,
)

_READ_PERHAPS = (RunInterrupted, StreamBroken, CallTimeout)
"""How a call ends that the provider may have read: a refusal or a failed connection says that it has not."""
CALIBRATION_LEAST = 200  # tokens: fewer say more about framing than about the text


class Thinking:
    """Makes a call and settles it."""

    def __init__(self, services: Services, threads: Threads) -> None:
        self._services = services
        self._threads = threads
        self._preparing = Preparing(services, threads)
        self._machine = services.machine

    def _with_object(self, context: Context, call: Call) -> Call:
        """The call bound to a cache object, where the provider keeps such, one pays, and the budget allows it."""
        objects, provider = self._services.objects, self._services.provider_for(context["model"])
        if not isinstance(provider, ObjectProvider):
            return call
        before, existed = objects.spent, objects.find(call.prompt, call.model, call.scope) is not None
        held = objects.ensure(
            provider,
            call,
            thread=context["thread"],
            reuse=self._preparing.reuse(context, call),
            replaced=bool(context.get("frame_replaced")),
        )
        if held is not None and objects.spent > before:
            pay(context, objects.spent - before)
            lives = span(held.until - self._services.clock.now())
            context["notes"].append(
                f"A cache object holds {held.tokens:,} tokens for the next {lives}: "
                f"{'extended' if existed else 'made'} for ${objects.spent - before:.4f} of the cache budget."
            )
        return self._preparing.marked(context, call)

    def think(self, context: Context) -> tuple[str, Context]:
        if self._machine.current.replaying:
            return self._replay(context)
        self._check_limit(context)
        self._services.keepalive.stop()
        before = context["budget"]["spent"]
        call, prediction = self._preparing.prepare(context)
        if context.get("replay", "live") in ("live", "record"):
            call = self._with_object(context, call)
            prediction = self._preparing.predict(context, call)
        if budget_of(context).limit is not None:
            call = replace(call, prompt=replace(call.prompt, max_tokens=self._affordable(context, call)))
        if "purse" in context:
            return self._call_from_purse(context, call, prediction, before)
        return self._make_call(context, call, prediction)

    def _make_call(self, context: Context, call: Call, prediction: Prediction) -> tuple[str, Context]:
        self._announce(call, prediction, context)
        return self._settle(context, call, prediction, self._ask(call, context))

    def _call_from_purse(
        self, context: Context, call: Call, prediction: Prediction, before: float
    ) -> tuple[str, Context]:
        """The call within the sum that this run shares with others; `before` is what the run had spent until then."""
        current = self._machine.current
        purse, key = Purse(self._machine.journal, context["purse"]), f"{current.run_id}/{current.step}"
        most = purse.reserve(key, self._preparing.quote(call))
        call = replace(call, prompt=replace(call.prompt, max_tokens=most))
        try:
            state, context = self._make_call(context, call, prediction)
        except AgentnbError:
            lost = (current.attached or {}).get(LOST)
            purse.settle(key, (lost["cost"]["total"] or 0.0) if lost else 0.0)
            raise
        purse.settle(key, context["budget"]["spent"] - before)
        return state, context

    def _affordable(self, context: Context, call: Call) -> int:
        """The tokens that the budget still pays for. Raises BudgetExceeded, which says how the run goes on."""
        try:
            return affordable_output(budget_of(context), self._preparing.quote(call))
        except BudgetExceeded as error:
            go_on = f"%agent_runs resume {self._machine.current.run_id} --budget USD goes on with more."
            raise BudgetExceeded(error.what, todo=f"{error.todo} {go_on}") from None

    def _check_limit(self, context: Context) -> None:
        step = self._machine.current.step - context.get("waits", 0)
        if step > context["max_steps"]:
            raise StepLimitReached(
                f"the run reached its limit of {context['max_steps']} step{'s' if context['max_steps'] != 1 else ''}",
                todo=f"Nothing is lost: %agent_runs resume {self._machine.current.run_id} --max-steps "
                f"{context['max_steps'] * 2} goes on.",
            )

    def _announce(self, call: Call, prediction: Prediction, context: Context) -> None:
        last = self._preparing.expected_view(call, prediction)
        if context.get("stream", True):
            first = self._preparing.expect_first_token(context, call, prediction)
            last["latency"] = {"expected": first.to_json()}
        view = {name: context.get(name) for name in SHOWN} | {"last": last}
        self._machine.current.emit("view", context=view)
        self._machine.current.emit("phase", text="waiting for the first token")

    def _ask(self, call: Call, context: Context) -> Answer:
        provider, emit, heard = self._provider(context), self._machine.current.emit, Heard()

        def on_text(kind: str, delta: str) -> None:
            heard.take(kind, delta)
            if self._services.cancelled.is_set():
                raise RunInterrupted("the call was interrupted")
            if kind == "wait":
                emit("phase", text=delta)
            else:
                emit("delta", channel=kind, text=delta)

        wire, counter = _wire(provider, call, context), self._services.samples.counter_for(context["model"])
        self._connect(provider)
        try:
            answer = provider.ask(wire, on_text)
        except (ProviderError, RunInterrupted) as error:
            if error.spent is not None:
                used = lost_usage(call, Usage.from_json(error.spent), heard.texts, counter)
                self._lose(context, call, error, *used)
            raise
        return replace(answer, wasted=lost_usage(call, answer.wasted, heard.broken, counter)[0])

    def _lose(self, context: Context, call: Call, error: AgentnbError, usage: Usage, estimated: bool) -> None:
        """The call brought nothing: what it had used is billed, so it is kept with the step's event; and the prompt
        cache may hold what it sent."""
        ledger = self._services.ledger
        if usage.input_total or isinstance(error, _READ_PERHAPS):
            ledger.remember_cut(context["thread"], sent_record(call, run_id=self._machine.current.run_id))
            ledger.record(warm_entries(call, usage), call.at)
        if usage.input_total:
            self._machine.current.attach(**{LOST: lost_record(call, usage, estimated=estimated)})

    def _connect(self, provider: Provider) -> None:
        """Before the first call the SDK is imported: said, since it takes a second, and interruptible after it."""
        if not provider.connected:
            self._machine.current.emit("phase", text="loading the provider's SDK (first call only)")
            provider.connect()
            self._machine.current.emit("phase", text="waiting for the first token")
        if self._services.cancelled.is_set():
            raise RunInterrupted("the run was interrupted before the call")

    def _provider(self, context: Context) -> Provider:
        """Who answers: the model, or the cassette where the run was asked to record or to replay."""
        services = self._services
        live = services.provider_for(context["model"])
        mode = context.get("replay", "live")
        if mode == "live":
            return live
        playing = Playing(speed=context.get("replay_speed", 0.0), wait=services.cancelled.wait, task=context["task"])
        return Replaying(live, services.cassette, mode=mode, clock=services.clock, playing=playing)

    def _settle(self, context: Context, call: Call, prediction: Prediction, answer: Answer) -> tuple[str, Context]:
        """Everything that a reply teaches goes into the context, the ledger and the samples; then on."""
        if answer.recorded:
            return self._settle_recorded(context, call, answer)
        if not answer.reply.usage.input_total:
            return self._settle_uncounted(context, call, answer)
        reply, usage = answer.reply, answer.reply.usage
        timing = self._timing(context, call, prediction, answer)
        bound, call = call, self._without_vanished(context, call, answer)
        known = self._preparing.known(context, call.prompt, call.scope)
        self._calibrate(call, len(known), usage.input_total - sum(known))
        call = replace(call, tokens=settle_tokens(call, known, usage.input_total))
        report = self._learn(context, call, prediction, reply, vanished=call.marks != bound.marks)
        if answer.trace.streamed:
            uncached, seconds = usage.input_total - usage.cache_read, timing.ttft - timing.connect
            self._services.samples.learn_first_token(context["model"], usage.input_total, uncached, seconds)
        cost = prices.cost_of(call.model, usage)
        self._tell(context, call, reply, report=report, timing=timing, cost=cost)
        if answer.wasted != Usage():
            add_up(context, answer.wasted, prices.cost_of(call.model, answer.wasted))
        state = advance(context, reply, cost, sent=len(call.prompt.blocks))
        if state == COMPLETED:
            self._services.keepalive.begin(context["model"], call, self._preparing.plan(context, call).pings)
        return state, context

    def _tell(
        self,
        context: Context,
        call: Call,
        reply: Reply,
        *,
        report: CacheReport,
        timing: latency.Latency,
        cost: prices.Cost,
        aside: str = "",
    ) -> None:
        """The call as the view and the list of steps show it."""
        context["last"] = {
            "layers": layer_totals(call, call.tokens, cached_share(call.tokens, reply.usage.cache_read)),
            "cache": report.to_json(),
            "latency": timing.to_json(),
        }
        self._machine.current.attach(
            seconds=round(timing.total, 6),
            what=f"{what_came(reply)}{aside}",
            latency=timing.to_json(),
            usage=reply.usage.to_json(),
            cost=cost.total,
            cache=report.to_json(),
            stop=reply.stop.value,
        )

    def _settle_recorded(self, context: Context, call: Call, answer: Answer) -> tuple[str, Context]:
        """A recorded reply teaches nothing and costs nothing; everything shown of it says that it is recorded."""
        context["recorded"] = answer.recorded
        note(context, f"Recorded {answer.recorded}: nothing was sent and nothing was spent.")
        free = prices.Cost(total=0.0, uncached=0.0)
        why = f"recorded {answer.recorded}: nothing was sent"
        return self._settle_untaught(context, call, answer, cost=free, why=why, aside=" (recorded)")

    def _settle_uncounted(self, context: Context, call: Call, answer: Answer) -> tuple[str, Context]:
        """A reply of a server that counts nothing: a missing usage is not zero, so our estimate stands in for it."""
        counter = self._services.samples.counter_for(context["model"])
        written = sum(counter.count(block_text(part)) for part in answer.reply.content)
        answer = replace(answer, reply=replace(answer.reply, usage=Usage(input=call.total, output=written)))
        note(context, "The server reported no usage: tokens and cost are estimates.")
        cost = prices.cost_of(call.model, answer.reply.usage)
        return self._settle_untaught(context, call, answer, cost=cost, why="the server reported no usage")

    def _settle_untaught(
        self, context: Context, call: Call, answer: Answer, *, cost: prices.Cost, why: str, aside: str = ""
    ) -> tuple[str, Context]:
        """A reply whose figures are not those of this call: it is taken in, and nothing is learned from it."""
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
        timing = latency.from_trace(answer.trace, output_tokens=reply.usage.output)
        self._tell(context, call, reply, report=report, timing=timing, cost=cost, aside=aside)
        return advance(context, reply, cost, sent=len(call.prompt.blocks)), context

    def _without_vanished(self, context: Context, call: Call, answer: Answer) -> Call:
        """A cache object that was gone is forgotten; the call was answered without it."""
        names = [mark.holder for mark in call.marks if mark.holder] if answer.fell_back else []
        for name in names:
            self._services.objects.vanished(name)
            note(context, "The cache object had vanished at the provider; the call went out without it.")
        return replace(call, marks=tuple(mark for mark in call.marks if mark.holder not in names)) if names else call

    def _replay(self, context: Context) -> tuple[str, Context]:
        """The step again with the recorded reply: no model is asked, and nothing is learned twice."""
        current = self._machine.current
        after = self._machine.context_at(current.run_id, current.step)
        events = self._machine.history(current.run_id)
        event = next(event for event in events if event.kind == "step" and event.step == current.step)
        reply = recorded_reply(context["blocks"], after, event.data)
        context["last"] = after["last"]
        cost = prices.cost_of(catalog.lookup(context["model"]), reply.usage, at=event.at)
        return advance(context, reply, cost, sent=after["previous_end"]), context

    def _learn(
        self, context: Context, call: Call, prediction: Prediction, reply: Reply, *, vanished: bool
    ) -> CacheReport:
        services = self._services
        previous = services.ledger.last_sent(context["thread"])
        observed = observed_hit(call, services.ledger, reply.usage)
        if observed is not None:
            services.samples.learn_hit(context["model"], *observed)
        report = compare(
            call,
            prediction,
            reply.usage,
            previous=previous,
            diagnosis=reply.diagnosis,
            earlier=lambda: sent_blocks(self._threads, self._machine, previous),
            vanished=vanished,
            cut=services.ledger.last_cut(context["thread"]),
        )
        services.ledger.record(warm_entries(call, reply.usage), call.at)
        counter = services.samples.counter_for(context["model"])
        replied = reply_tokens(reply_blocks(reply), reply.usage, counter, call.model)
        sent = sent_record(call, run_id=self._machine.current.run_id, replied=replied)
        services.ledger.remember_sent(context["thread"], sent)
        learn_call(services.samples, call.prompt, thread=context["thread"], at=call.at)
        return report

    def _calibrate(self, call: Call, known: int, reported: int) -> None:
        """Correct the estimator by the blocks that were new, if they are enough to say something."""
        estimated, samples, simulated = sum(call.tokens[known:]), self._services.samples, is_simulated(call.scope)
        total = call.total - estimated + reported
        if total > 0:
            samples.learn_token_error(call.model, simulated=simulated, error=abs(estimated - reported) / total)
        if estimated >= CALIBRATION_LEAST:
            samples.learn_tokens(call.model, simulated=simulated, estimated=estimated, reported=reported)

    def _timing(self, context: Context, call: Call, prediction: Prediction, answer: Answer) -> latency.Latency:
        """What the call took, beside what was expected of it before; the queue of a real call is estimated."""
        usage = answer.reply.usage
        timing = latency.from_trace(answer.trace, output_tokens=usage.output)
        if not timing.streamed:
            return timing
        timing = replace(timing, expected=self._preparing.expect_first_token(context, call, prediction))
        if timing.modelled:
            return timing
        uncached = usage.input_total - usage.cache_read
        queue, count = latency.queue_estimate(timing, uncached, self._preparing.first_tokens(context))
        return replace(timing, queue=queue, queue_samples=count)


def _wire(provider: Provider, call: Call, context: Context) -> Wire:
    """The request as it goes out, within the run's limits."""
    wire = provider.encode(call.prompt, call.marks, previous_message=context["previous_message"])
    wire = replace(wire, retry_wait=context.get("retry_wait", wire.retry_wait))
    if budget_of(context).limit is not None:
        wire = replace(wire, attempts=1)  # what was reserved pays for one reply, not for one that broke off too
    return wire if context.get("stream", True) else wire.plain()


def advance(context: Context, reply: Reply, cost: prices.Cost, *, sent: int) -> str:
    """The context after a reply, and the state it leads to. `sent` is the number of blocks that the request held."""
    add_up(context, reply.usage, cost)
    context["blocks"] = [*context["blocks"], *(block.to_json() for block in reply_blocks(reply))]
    context["previous_end"] = sent
    context["previous_message"] = reply.message_id or None
    _take_answer(context, reply)
    return next_state(reply)


def _take_answer(context: Context, reply: Reply) -> None:
    context["text"] = (context["text"] if context.get("paused") else "") + reply.text
    context["paused"] = reply.stop is StopReason.PAUSED  # then the next reply goes on with this one's text
    note = end_note(reply)
    if note:
        context["notes"].append(note)
