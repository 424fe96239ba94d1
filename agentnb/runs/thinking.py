"""THINKING: one model call, from the prompt to what its reply teaches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from agentnb.errors import ProviderError, RunInterrupted, StepLimitReached
from agentnb.prompt.layers import Block, Prompt
from agentnb.prompt.tokens import cached_share
from agentnb.providers import catalog, latency, prices
from agentnb.providers.base import Answer, Provider
from agentnb.providers.cassettes import Playing, Replaying
from agentnb.providers.messages import Reply, Usage
from agentnb.providers.promptcache import (
    UNASKED,
    CacheReport,
    Call,
    Plan,
    Prediction,
    Reuse,
    Seen,
    Sent,
    Trust,
    anchored,
    automatic_mark,
    compare,
    kept_longer,
    known_tokens,
    layer_spans,
    layer_totals,
    message_salt,
    observed_hit,
    place_marks,
    plan_layers,
    predict,
    sent_record,
    settle_tokens,
    warm_entries,
)
from agentnb.runs.budget import Quote, affordable_output
from agentnb.runs.conversation import (
    COMPLETED,
    block_text,
    end_note,
    next_state,
    prompt_tokens,
    recorded_reply,
    reply_blocks,
    reply_tokens,
    suited,
    what_came,
)
from agentnb.runs.rhythm import layers_seen, learn_call
from agentnb.runs.services import SHOWN, Context, Services
from agentnb.runs.spending import LOST, Heard, add_up, budget_of, lost_record, lost_usage, note, pay
from agentnb.runs.threads import Threads, path_blocks, segment_blocks, sent_blocks

CALIBRATION_LEAST = 200  # tokens: fewer say more about framing than about the text


class Thinking:
    """Prepares a call, makes it, and settles it."""

    def __init__(self, services: Services, threads: Threads) -> None:
        self._services = services
        self._threads = threads
        self._machine = services.machine

    def prepare(self, context: Context) -> tuple[Prompt, Call, Prediction]:
        model = catalog.lookup(context["model"])
        own = tuple(Block.from_json(item) for item in context["blocks"])
        before = segment_blocks(self._threads, context) + path_blocks(self._threads, context)
        blocks = suited(before + own, model)
        prompt = Prompt(
            model=model.name,
            blocks=blocks,
            max_tokens=context["max_tokens"],
            previous_end=context["previous_end"],
            salt=message_salt(model, blocks),
        )
        scope = self._services.provider_for(context["model"]).scope
        known = self._known(context, prompt, scope)
        call = Call(
            prompt=prompt,
            marks=(),
            tokens=self._count(context, prompt, known, scope),
            model=model,
            scope=scope,
            at=self._services.clock.now(),
        )
        call = anchored(self.marked(context, call), self._services.ledger, known=len(known))
        return prompt, call, self._predict(context, call)

    def marked(self, context: Context, call: Call) -> Call:
        """The call with its breakpoints as the policy wants them, and the cache object that it can use."""
        prompt, model, objects = call.prompt, call.model, self._services.objects
        left_to_it = context.get("marks") == "automatic" and model.provider == "anthropic"
        marks = (automatic_mark if left_to_it else place_marks)(prompt, model, plan=self.plan(context, call))
        return replace(call, marks=objects.bind(marks, prompt, objects.find(prompt, model, call.scope)))

    def _predict(self, context: Context, call: Call) -> Prediction:
        return predict(call, self._services.ledger, self._trust(context))

    def _trust(self, context: Context) -> Trust:
        return Trust(found=self._services.samples.hits(context["model"]))

    def plan(self, context: Context, call: Call) -> Plan:
        """How each layer of this call is to be cached, from the pauses seen and the prices."""
        services = self._services
        pings = services.keepalive.allowed and services.provider_for(context["model"]).can_prewarm
        plan = plan_layers(call.model, self._seen(context, call), pings=pings)
        return kept_longer(plan, call.model) if context.get("cache_retention") else plan

    def _seen(self, context: Context, call: Call) -> list[Seen]:
        return layers_seen(
            self._services.samples,
            call,
            thread=context["thread"],
            now=self._services.clock.now(),
            notebook=bool(context.get("notebook")),
        )

    def _with_object(self, context: Context, call: Call) -> Call:
        """The call bound to a cache object, where the provider keeps such, one pays, and the budget allows it."""
        objects = self._services.objects
        before, existed = objects.spent, objects.find(call.prompt, call.model, call.scope) is not None
        held = objects.ensure(
            self._services.provider_for(context["model"]),
            call,
            thread=context["thread"],
            reuse=self._reuse(context, call),
        )
        if objects.spent > before:
            pay(context, objects.spent - before)
            context["notes"].append(
                f"A cache object holds {held.tokens if held else 0:,} tokens for the next hour: "
                f"{'extended' if existed else 'made'} for ${objects.spent - before:.4f} of the cache budget."
            )
        bare = tuple(mark for mark in call.marks if not mark.holder)
        return replace(call, marks=objects.bind(bare, call.prompt, held))

    def object_to_come(self, context: Context, call: Call) -> str:
        """What a dry run says of the cache object that the call would be preceded by; empty where there is none."""
        objects = self._services.objects
        if objects.find(call.prompt, call.model, call.scope) is not None:
            return ""
        price = objects.price_of_making(call, self._reuse(context, call))
        if price is None:
            return ""
        tokens = sum(count for count, _ in layer_spans(call)[:2])
        made = f"A cache object of ≈ {tokens:,} tokens would be made first"
        return f"{made}, for ≈ ${price:.4f} of the cache budget; the call would read it."

    def _known(self, context: Context, prompt: Prompt, scope: str) -> tuple[int, ...]:
        """Tokens of the leading blocks that an earlier reply settled."""
        return known_tokens(prompt.chain, self._sent_like(context, prompt, scope))

    def _sent_like(self, context: Context, prompt: Prompt, scope: str) -> Sent | None:
        ledger, simulated = self._services.ledger, _is_simulated(scope)
        return ledger.newest_like(context["thread"], prompt.model, simulated=simulated)

    def _reuse(self, context: Context, call: Call) -> Reuse:
        """How often this call's frame is asked with. One that is new in an old thread has yet to show that it lasts:
        the frame before it did not."""
        _, frame, thread = self._seen(context, call)
        (_, end), trust = layer_spans(call)[1], self._trust(context)
        replaced = len(frame.gaps) == frame.supposed and len(thread.gaps) > thread.supposed
        expected = predict(
            replace(call, marks=tuple(m for m in call.marks if not m.holder)), self._services.ledger, trust
        )
        return Reuse(
            pauses=() if replaced else frame.gaps,
            trusted=trust.lasts(UNASKED),
            warm=expected.tokens >= call.prefix_tokens(end),
        )

    def _count(self, context: Context, prompt: Prompt, known: tuple[int, ...], scope: str) -> tuple[int, ...]:
        """Tokens by block: as settled by an earlier reply where it sent the same prefix, as reported of the reply's own
        blocks, else estimated."""
        model, sent = catalog.lookup(context["model"]), self._sent_like(context, prompt, scope)
        counter = self._services.samples.counter(model, simulated=_is_simulated(scope))
        after = prompt.blocks[len(known) - 1].role if known else None
        replied = sent.replied if sent is not None else {}
        new = prompt_tokens(prompt.blocks[len(known) :], counter, model.images, after=after, replied=replied)
        return (*known, *new)

    def quote(self, call: Call) -> Quote | None:
        """The worst case of the next call: nothing hits, everything is written at the dearest TTL asked for."""
        dearest = {"cache_write_1h": call.total} if any(m.ttl == "1h" for m in call.marks) else {}
        usage = Usage(**(dearest or {"cache_write_5m": call.total} if call.marks else {"input": call.total}))
        worst = prices.cost_of(call.model, usage).total
        per_token = prices.cost_of(call.model, Usage(output=1_000_000)).total
        if worst is None or per_token is None:
            return None
        # The estimate of the input can be off before it is calibrated; a budget must hold all the same.
        return Quote(input_cost=worst * 1.25, output_price=per_token / 1_000_000, max_tokens=call.prompt.max_tokens)

    def think(self, context: Context) -> tuple[str, Context]:
        if self._machine.current.replaying:
            return self._replay(context)
        self._check_limit(context)
        self._services.keepalive.stop()
        prompt, call, prediction = self.prepare(context)
        if context.get("replay", "live") in ("live", "record"):
            call = self._with_object(context, call)
        prediction = self._predict(context, call)
        if budget_of(context).limit is not None:
            prompt = replace(prompt, max_tokens=affordable_output(budget_of(context), self.quote(call)))
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
        last = self.expected_view(call, prediction)
        if context.get("stream", True):
            last["latency"] = {"expected": self.expect_first_token(context, call, prediction).to_json()}
        view = {name: context.get(name) for name in SHOWN} | {"last": last}
        self._machine.current.emit("view", context=view)
        self._machine.current.emit("phase", text="waiting for the first token")

    def expect_first_token(self, context: Context, call: Call, prediction: Prediction) -> latency.Expected:
        """When the first token may be expected, from this user's own calls or the catalogue."""
        return latency.expect_first_token(
            call.model.latency,
            self._first_tokens(context),
            tokens=call.total,
            uncached=max(call.total - prediction.tokens, 0),
            known=call.model.known,
        )

    def _first_tokens(self, context: Context) -> list[tuple[int, float]]:
        """(uncached tokens, seconds from connection to first token) of this user's calls of the model."""
        return [(uncached, seconds) for _, uncached, seconds in self._services.samples.first_tokens(context["model"])]

    def expected_view(self, call: Call, prediction: Prediction) -> dict[str, Any]:
        cached = cached_share(call.tokens, prediction.tokens)
        report = CacheReport(
            expected=prediction.tokens,
            read=0,
            written=0,
            prefix=call.total,
            minimum=call.model.cache.minimum,
            reason=f"expected: {prediction.reason}",
        )
        errors = self._services.samples.token_errors(call.model, simulated=_is_simulated(call.scope))
        return {
            "layers": layer_totals(call, call.tokens, cached),
            "cache": report.to_json(),
            "latency": None,
            "token_error": {"within": max(errors, default=None), "calls": len(errors)},
        }

    def _ask(self, call: Call, context: Context) -> Answer:
        provider = self._provider(context)
        wire = provider.encode(call.prompt, call.marks, previous_message=context["previous_message"])
        wire = replace(wire, retry_wait=context.get("retry_wait", wire.retry_wait))
        if budget_of(context).limit is not None:
            wire = replace(wire, attempts=1)  # what was reserved pays for one reply, not for one that broke off too
        emit, heard = self._machine.current.emit, Heard()

        def on_text(kind: str, delta: str) -> None:
            heard.take(kind, delta)
            if self._services.cancelled.is_set():
                raise RunInterrupted("the call was interrupted")
            if kind == "wait":
                emit("phase", text=delta)
            else:
                emit("delta", channel=kind, text=delta)

        self._connect(provider)
        wire = wire if context.get("stream", True) else wire.plain()
        try:
            answer = provider.ask(wire, on_text)
        except (ProviderError, RunInterrupted) as error:
            if error.spent is not None:
                self._lose(call, Usage.from_json(error.spent), heard.texts)
            raise
        return replace(answer, wasted=self._lost(call, answer.wasted, heard.broken)[0])

    def _lost(self, call: Call, reported: Usage, texts: Sequence[str]) -> tuple[Usage, bool]:
        counter = self._services.samples.counter(call.model, simulated=_is_simulated(call.scope))
        return lost_usage(call, reported, texts, counter)

    def _lose(self, call: Call, reported: Usage, texts: Sequence[str]) -> None:
        """The call brought nothing: what it had used is billed, so it is kept with the step's event."""
        usage, estimated = self._lost(call, reported, texts)
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
        reply = answer.reply
        timing = self._timing(context, call, prediction, answer)
        bound = call
        call = self._without_vanished(context, call, answer)
        known = self._known(context, call.prompt, call.scope)
        self._calibrate(call, len(known), reply.usage.input_total - sum(known))
        call = replace(call, tokens=settle_tokens(call, known, reply.usage.input_total))
        report = self._learn(context, call, prediction, reply, vanished=call.marks != bound.marks)
        uncached = reply.usage.input_total - reply.usage.cache_read
        if answer.trace.streamed:
            self._services.samples.learn_first_token(
                context["model"], reply.usage.input_total, uncached, timing.ttft - timing.connect
            )
        cost = prices.cost_of(call.model, reply.usage)
        context["last"] = {
            "layers": layer_totals(call, call.tokens, cached_share(call.tokens, reply.usage.cache_read)),
            "cache": report.to_json(),
            "latency": timing.to_json(),
        }
        if answer.wasted != Usage():
            add_up(context, answer.wasted, prices.cost_of(call.model, answer.wasted))
        self._machine.current.attach(
            seconds=round(timing.total, 6),
            what=what_came(reply),
            latency=timing.to_json(),
            usage=reply.usage.to_json(),
            cost=cost.total,
            cache=report.to_json(),
            stop=reply.stop.value,
        )
        state = advance(context, reply, cost, sent=len(call.prompt.blocks))
        if state == COMPLETED:
            self._services.keepalive.begin(context["model"], call, self.plan(context, call).pings)
        return state, context

    def _settle_recorded(self, context: Context, call: Call, answer: Answer) -> tuple[str, Context]:
        """A recorded reply teaches nothing and costs nothing; everything shown of it says that it is recorded."""
        context["recorded"] = answer.recorded
        note(context, f"Recorded {answer.recorded}: nothing was sent and nothing was spent.")
        free = prices.Cost(total=0.0, uncached=0.0)
        why = f"recorded {answer.recorded}: nothing was sent"
        return self._settle_untaught(context, call, answer, cost=free, why=why, aside=" (recorded)")

    def _settle_uncounted(self, context: Context, call: Call, answer: Answer) -> tuple[str, Context]:
        """A reply of a server that counts nothing: a missing usage is not zero, so our estimate stands in for it."""
        counter = self._services.samples.counter(call.model, simulated=_is_simulated(call.scope))
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
        return advance(context, reply, cost, sent=len(call.prompt.blocks)), context

    def _without_vanished(self, context: Context, call: Call, answer: Answer) -> Call:
        """A cache object that was gone is forgotten; the call was answered without it."""
        names = [mark.holder for mark in call.marks if mark.holder] if answer.fell_back else []
        for name in names:
            self._services.objects.vanished(name)
            context["notes"].append("The cache object had vanished at the provider; the call went out without it.")
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
        )
        services.ledger.record(warm_entries(call, reply.usage), call.at)
        counter = services.samples.counter(call.model, simulated=_is_simulated(call.scope))
        replied = reply_tokens(reply_blocks(reply), reply.usage, counter, call.model)
        sent = sent_record(call, run_id=self._machine.current.run_id, replied=replied)
        services.ledger.remember_sent(context["thread"], sent)
        learn_call(services.samples, call.prompt, thread=context["thread"], at=call.at)
        return report

    def _calibrate(self, call: Call, known: int, reported: int) -> None:
        """Correct the estimator by the blocks that were new, if they are enough to say something."""
        estimated, samples, simulated = sum(call.tokens[known:]), self._services.samples, _is_simulated(call.scope)
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
        timing = replace(timing, expected=self.expect_first_token(context, call, prediction))
        if timing.modelled:
            return timing
        uncached = usage.input_total - usage.cache_read
        queue, count = latency.queue_estimate(timing, uncached, self._first_tokens(context))
        return replace(timing, queue=queue, queue_samples=count)


def _is_simulated(scope: str) -> bool:
    return scope.startswith("sim:")


def advance(context: Context, reply: Reply, cost: prices.Cost, *, sent: int) -> str:
    """The context after a reply, and the state it leads to. `sent` is the number of blocks that the request held."""
    add_up(context, reply.usage, cost)
    context["blocks"] = [*context["blocks"], *(block.to_json() for block in reply_blocks(reply))]
    context["previous_end"] = sent
    context["previous_message"] = reply.message_id or None
    _take_answer(context, reply)
    return next_state(reply)


def _take_answer(context: Context, reply: Reply) -> None:
    context["text"] = reply.text
    note = end_note(reply)
    if note:
        context["notes"].append(note)
