"""A call before it is made: prompt, tokens, breakpoints, what should hit, the first token, the worst case."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from agentnb.agent.call_gaps import layers_seen
from agentnb.agent.conversation.threads import Threads, path_blocks, segment_blocks
from agentnb.agent.conversation.turn_blocks import prompt_tokens, suited
from agentnb.agent.deps import Context, Services
from agentnb.agent.money.budget import Quote
from agentnb.models import catalog, prices
from agentnb.models.catalog import is_simulated
from agentnb.models.layers import Block, Prompt
from agentnb.models.messages import Usage
from agentnb.models.tokens import cached_share
from agentnb.providers import latency
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
    kept_longer,
    known_tokens,
    layer_spans,
    layer_totals,
    message_salt,
    place_marks,
    plan_layers,
    predict,
)


class Preparing:
    """Prepares calls. Nothing here sends, pays or writes."""

    def __init__(self, services: Services, threads: Threads) -> None:
        self._services = services
        self._threads = threads

    def prepare(self, context: Context) -> tuple[Call, Prediction]:
        """The next call on this context, and what of it should hit."""
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
        known = self.known(context, prompt, scope)
        call = Call(
            prompt=prompt,
            marks=(),
            tokens=self._count(context, prompt, known, scope),
            model=model,
            scope=scope,
            at=self._services.clock.now(),
        )
        call = anchored(self.marked(context, call), self._services.ledger, known=len(known))
        return call, self.predict(context, call)

    def marked(self, context: Context, call: Call) -> Call:
        """The call with its breakpoints as the policy wants them, and the cache object that it can use."""
        prompt, model, objects = call.prompt, call.model, self._services.objects
        left_to_it = context.get("marks") == "automatic" and model.provider == "anthropic"
        marks = (automatic_mark if left_to_it else place_marks)(prompt, model, plan=self.plan(context, call))
        bare, held = replace(call, marks=marks), objects.find(prompt, model, call.scope)
        # No provider says whether a call that names an object hits what is cached unasked beyond it: one of the two.
        if held is None or self.predict(context, bare).tokens > held.tokens:
            return bare
        return replace(bare, marks=objects.bind(marks, prompt, held))

    def predict(self, context: Context, call: Call) -> Prediction:
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

    def object_to_come(self, context: Context, call: Call) -> str:
        """What a dry run says of the cache object that the call would be preceded by; empty where there is none."""
        objects = self._services.objects
        if objects.find(call.prompt, call.model, call.scope) is not None:
            return ""
        price = objects.price_of_making(call, self.reuse(context, call))
        if price is None:
            return ""
        tokens = sum(count for count, _ in layer_spans(call)[:2])
        made = f"A cache object of ≈ {tokens:,} tokens would be made first"
        return f"{made}, for ≈ ${price:.4f} of the cache budget; the call would read it."

    def reuse(self, context: Context, call: Call) -> Reuse:
        """How often this call's frame is asked with, by the pauses seen, whatever thread they belonged to."""
        _, frame, _ = self._seen(context, call)
        (_, end), trust = layer_spans(call)[1], self._trust(context)
        bare = replace(call, marks=tuple(mark for mark in call.marks if not mark.holder))
        return Reuse(
            pauses=frame.gaps[frame.supposed :],
            trusted=trust.lasts(UNASKED),
            warm=predict(bare, self._services.ledger, trust).tokens >= call.prefix_tokens(end),
        )

    def known(self, context: Context, prompt: Prompt, scope: str) -> tuple[int, ...]:
        """Tokens of the leading blocks that an earlier reply settled."""
        return known_tokens(prompt.chain, self._sent_like(context, prompt, scope))

    def _sent_like(self, context: Context, prompt: Prompt, scope: str) -> Sent | None:
        return self._services.ledger.newest_like(context["thread"], prompt.model, simulated=is_simulated(scope))

    def _count(self, context: Context, prompt: Prompt, known: tuple[int, ...], scope: str) -> tuple[int, ...]:
        """Tokens by block: as settled by an earlier reply where it sent the same prefix, as reported of the reply's own
        blocks, else estimated."""
        model, sent = catalog.lookup(context["model"]), self._sent_like(context, prompt, scope)
        counter = self._services.samples.counter_for(context["model"])
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

    def expect_first_token(self, context: Context, call: Call, prediction: Prediction) -> latency.Expected:
        """When the first token may be expected, from this user's own calls or the catalogue."""
        return latency.expect_first_token(
            call.model.latency,
            self.first_tokens(context),
            tokens=call.total,
            uncached=max(call.total - prediction.tokens, 0),
            known=call.model.known,
        )

    def first_tokens(self, context: Context) -> list[tuple[int, float]]:
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
        errors = self._services.samples.token_errors(call.model, simulated=is_simulated(call.scope))
        return {
            "layers": layer_totals(call, call.tokens, cached),
            "cache": report.to_json(),
            "latency": None,
            "token_error": {"within": max(errors, default=None), "calls": len(errors)},
        }
