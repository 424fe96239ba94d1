"""Plan a call before it is made: prompt, tokens, breakpoints, what should hit, the first token, the worst case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from agentnb.agent.conversation.memory import OUTPUT, Sized, TokenRates, due, opening_of
from agentnb.agent.conversation.turn_blocks import prompt_tokens, suited
from agentnb.agent.deps import Services
from agentnb.agent.money.budget import Quote
from agentnb.agent.samples import layers_seen
from agentnb.agent.segments.window import ceiling
from agentnb.agent.state import AgentState, LastCall
from agentnb.models.catalog import is_simulated
from agentnb.models.layers import Block, Prompt
from agentnb.models.messages import Usage
from agentnb.models.tokens import cached_share
from agentnb.providers import latency
from agentnb.providers.promptcache import (
    TTL_SECONDS,
    UNASKED,
    CacheReport,
    Call,
    Plan,
    Prediction,
    Seen,
    Sent,
    Trust,
    anchored,
    automatic_mark,
    is_free,
    kept_longer,
    known_tokens,
    last_frame_index,
    layer_spans,
    layer_totals,
    pays,
    place_marks,
    plan_layers,
    predict,
    rates_of,
    salt_of,
    worth_unasked,
    written_for,
)


class Preparing:
    """Prepares calls. Nothing here sends, pays or writes."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._threads = services.threads

    def prepare(self, state: AgentState, instead: Sequence[Block] = ()) -> tuple[Call, Prediction]:
        """Return the next call on this state, or with these blocks instead, and what of it should hit."""
        model = self._services.model(state.address)
        blocks = suited(instead or (*self._threads.before(state), *state.blocks), model)
        prompt = Prompt(
            model=model.name,
            blocks=blocks,
            max_tokens=state.options.max_tokens,
            previous_end=state.previous_end,
            salt=salt_of(model, blocks, state.options.effort),
            effort=model.effort.taken(state.options.effort),
            show_thinking=model.effort.quiet,
        )
        scope = self._services.provider_for(state.address).scope
        known = self.known(state, prompt, scope)
        call = Call(
            prompt=prompt,
            marks=(),
            tokens=self._count(state, prompt, known, scope),
            model=model,
            scope=scope,
            at=self._services.clock.now(),
        )
        call = anchored(self.marked(state, call), self._services.ledger, known=len(known))
        return call, self.predict(state, call)

    def outgrown(self, state: AgentState, call: Call) -> bool:
        """Tell whether something is to be condensed before this call is made."""
        return due(*self.sized(state, call)) is not None

    def sized(self, state: AgentState, call: Call) -> tuple[Sized, TokenRates]:
        """Return the call's conversation with its sizes, and what its tokens cost beside plain input."""
        frame, blocks = last_frame_index(call.prompt) + 1, (*self._threads.before(state), *state.blocks)
        conversation, rates = blocks[frame:], rates_of(call.model, "5m")
        plain, reply = (call.price(usage).total for usage in (Usage(input=1000), Usage(output=1000)))
        sized = Sized(
            blocks=conversation,
            tokens=call.tokens[frame:],
            frame=sum(call.tokens[:frame]),
            opening=opening_of(conversation),
            replies=state.replies,
            ceiling=ceiling(call.model, state.options, refused=state.refused),
            touched=state.touched,
        )
        return sized, TokenRates(
            read=rates.read, write=rates.write, output=reply / plain if plain and reply else OUTPUT
        )

    def marked(self, state: AgentState, call: Call) -> Call:
        """Return the call with its breakpoints as the policy wants them, and the cache object that it can use."""
        prompt, model, objects = call.prompt, call.model, self._services.objects
        left_to_it = state.options.marks == "automatic" and model.provider == "anthropic"
        marks = (automatic_mark if left_to_it else place_marks)(prompt, model, plan=self.plan(state, call))
        bare, held = replace(call, marks=marks), objects.find(prompt, model, call.scope)
        # No provider says whether a call that names an object also hits what is cached unasked beyond it.
        trust = self._trust(state)
        if held is None or worth_unasked(bare, self._services.ledger, trust) > held.tokens:
            return bare
        if is_free(model) and predict(bare, self._services.ledger, trust).tokens >= held.tokens:
            return bare  # the server on this machine has it in its memory
        return replace(bare, marks=objects.bind(marks, prompt, held))

    def predict(self, state: AgentState, call: Call) -> Prediction:
        previous = self._sent_like(state, call.prompt, call.scope)
        return predict(call, self._services.ledger, self._trust(state), previous=previous)

    def _trust(self, state: AgentState) -> Trust:
        return Trust(found=self._services.samples.hits(state.address))

    def plan(self, state: AgentState, call: Call) -> Plan:
        """Return how each layer of this call is to be cached, from the pauses seen and the prices."""
        services = self._services
        pings = services.keepalive.allowed and services.provider_for(state.address).can_prewarm
        plan = plan_layers(call.model, self._seen(state, call), pings=pings)
        return kept_longer(plan, call.model) if state.options.cache_retention else plan

    def _seen(self, state: AgentState, call: Call) -> list[Seen]:
        return layers_seen(
            self._services.samples,
            call,
            thread=state.thread,
            now=self._services.clock.now(),
            notebook=state.notebook,
        )

    def object_to_come(self, state: AgentState, call: Call) -> str:
        """Tell, for a dry run, which cache object would be made before the call; empty where none would."""
        objects = self._services.objects
        if objects.find(call.prompt, call.model, call.scope) is not None:
            return ""
        price = objects.price_of_making(call)
        if price is None or not self.object_pays(state, call) or self.frame_is_warm(state, call):
            return ""
        tokens = sum(count for count, _ in layer_spans(call)[:2])
        made = f"A cache object of ≈ {tokens:,} tokens would be made first"
        return f"{made}, for ≈ ${price:.4f} of the cache budget; the call would read it."

    def object_pays(self, state: AgentState, call: Call) -> bool:
        """Tell whether a cache object of this call's frame pays, by the pauses seen, whatever thread they belonged
        to."""
        _, frame, _ = self._seen(state, call)
        return pays(call.model, frame.gaps[frame.supposed :], unasked=self._trust(state).lasts(UNASKED))

    def frame_is_warm(self, state: AgentState, call: Call) -> bool:
        """Tell whether what an object would hold is expected to hit now without one."""
        bare = replace(call, marks=tuple(mark for mark in call.marks if not mark.holder))
        return self.predict(state, bare).tokens >= call.prefix_tokens(layer_spans(call)[1][1])

    def known(self, state: AgentState, prompt: Prompt, scope: str) -> tuple[int, ...]:
        """Return the tokens of the leading blocks that an earlier reply settled."""
        return known_tokens(prompt.chain, self._sent_like(state, prompt, scope))

    def _sent_like(self, state: AgentState, prompt: Prompt, scope: str) -> Sent | None:
        return self._services.ledger.newest_like(state.thread, prompt.model, simulated=is_simulated(scope))

    def _count(self, state: AgentState, prompt: Prompt, known: tuple[int, ...], scope: str) -> tuple[int, ...]:
        """Return the tokens by block. They are settled by an earlier reply with the same prefix, reported of the
        reply's own blocks, or estimated."""
        sent, counter = self._sent_like(state, prompt, scope), self._services.counter(state.address)
        after = prompt.blocks[len(known) - 1].role if known else None
        replied, images = sent.replied if sent is not None else {}, self._services.model(state.address).images
        new = prompt_tokens(prompt.blocks[len(known) :], counter, images, after=after, replied=replied)
        return (*known, *new)

    def quote(self, call: Call) -> Quote | None:
        """Return the worst case of the next call: nothing hits, everything is written at the dearest TTL asked for."""
        longest = max((mark.ttl for mark in call.marks), key=TTL_SECONDS.__getitem__, default="")
        usage = written_for(call.model, longest, call.total) if longest else Usage(input=call.total)
        worst = call.price(usage).total
        per_token = call.price(Usage(output=1_000_000)).total
        if worst is None or per_token is None:
            return None
        # The estimate of the input can be off before it is calibrated; a budget must hold all the same.
        return Quote(input_cost=worst * 1.25, output_price=per_token / 1_000_000, max_tokens=call.prompt.max_tokens)

    def expect_first_token(self, state: AgentState, call: Call, prediction: Prediction) -> latency.Expected:
        """Tell when the first token may be expected, from this user's own calls or the catalogue."""
        return latency.expect_first_token(
            call.model.latency,
            self.first_tokens(state),
            tokens=call.total,
            uncached=max(call.total - prediction.tokens, 0),
            known=call.model.known,
        )

    def first_tokens(self, state: AgentState) -> list[tuple[int, float]]:
        """Return (uncached tokens, seconds from connection to first token) of this user's calls of the model."""
        return [(uncached, seconds) for _, uncached, seconds in self._services.samples.first_tokens(state.address)]

    def expected_view(self, call: Call, prediction: Prediction) -> LastCall:
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
