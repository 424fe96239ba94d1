"""What %agent_cache does: what is warm, why a call hit or missed, and what keeps a prompt warm or lets it go."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from IPython.display import display

from agentnb.errors import InputError
from agentnb.notebook.commands import dispatch, show_table
from agentnb.notebook.kernel import last_run
from agentnb.notebook.latency_plot import latency_svg
from agentnb.notebook.tables import Code, Figure
from agentnb.providers import catalog, latency, prices
from agentnb.providers.catalog import Model
from agentnb.providers.messages import Usage
from agentnb.providers.promptcache import (
    LAYERS,
    Call,
    Choice,
    Held,
    ObjectProvider,
    Plan,
    Warm,
    layer_spans,
    ours,
    plan_layers,
    seen,
    warm_entries,
)

if TYPE_CHECKING:
    from agentnb.providers.base import Provider
    from agentnb.runs.record import AgentRun
    from agentnb.runs.session import Session


def agent_cache(session: Session, line: str) -> None:
    """status | explain | list | warm | extend | clear | prune | latency"""
    table: dict[str, Callable[[str], None]] = {
        "status": lambda _: _status(session),
        "explain": lambda _: _explain(session),
        "list": lambda _: _list(session),
        "warm": lambda _: _warm(session),
        "extend": lambda _: _extend(session),
        "clear": lambda _: _clear(session),
        "prune": lambda _: _prune(session),
        "latency": lambda _: _latency(session),
    }
    dispatch("agent_cache", table, line)


# --- what is there -----------------------------------------------------------------------------------------------


def _status(session: Session) -> None:
    """What is warm now, longest prefix of each model first, with the seconds that are left; and the policy."""
    now = session.clock.now()
    warm = [entry for entry in session.ledger.entries() if entry.until > now and _reachable(session, entry)]
    longest = {(e.scope, e.model, e.why, e.ttl): e for e in sorted(warm, key=lambda e: e.tokens)}.values()
    rows = [_warm_row(entry, now) for entry in sorted(longest, key=lambda e: (e.model, -e.tokens))]
    rows += [_held_row(held, now) for held in session.ledger.held() if held.until > now]
    notes = [f"{len(warm) - len(longest)} shorter prefixes are warm too: %agent_cache list."] * (
        len(warm) > len(longest)
    )
    notes += _money_notes(session)
    notes.append("What is listed is what our calls left warm; the reply's usage is the only proof that a prefix hit.")
    if not rows:
        notes.insert(0, "Nothing is warm: no call yet, or everything has expired.")
    show_table("Prompt cache: warm now", ("model", "prefix ends at", "tokens", "TTL", "warm for", "until"), rows, notes)
    _policy(session, now)


def _policy(session: Session, now: float) -> None:
    """How each layer is cached, of which kind, until when it is kept warm, and why; and what comes next."""
    run = last_run(session.namespace)
    if run is None or run.state == "DRY_RUN":
        model = catalog.lookup(session.model_name())
        layers = [seen(layer, 1, (), notebook=True) for layer in LAYERS]
        _show_policy(session, model, plan_layers(model, layers, pings=session.keepalive.allowed), (None,) * 3, [])
        return
    call, plan, prediction, first = session.agent().outlook(run.run_id)
    spans = layer_spans(call)
    next_ = (
        f"The next call begins with ≈ {call.total:,} tokens, of which ≈ {prediction.tokens:,} are expected to hit: "
        f"{prediction.reason}. First token expected in {first}."
    )
    held = max((mark.index for mark in call.marks if mark.holder), default=-1)
    warm = [
        LayerNow(tokens=tokens, until=_warm_until(session, call, end, now), held=end <= held) for tokens, end in spans
    ]
    begun = LayerNow(tokens=warm[2].tokens, until=_warm_until(session, call, spans[1][1] + 1, now))
    _show_policy(session, call.model, plan, (*warm[:2], begun), [next_])


@dataclass(frozen=True, kw_only=True)
class LayerNow:
    """A layer's tokens, until when it is warm (seconds since the epoch; None: it is not), and whether a cache object
    holds it."""

    tokens: int
    until: float | None
    held: bool = False


def _warm_until(session: Session, call: Call, end: int, now: float) -> float | None:
    """When the longest-lived prefix expires that reaches at least to block `end`."""
    known = session.ledger.remembered_of(call.scope, call.model.name)
    until = [known[prefix].until for prefix in call.prompt.chain[end:] if prefix in known]
    until += [h.until for h in session.ledger.held(call.scope) if h.prefix in call.prompt.chain[end:]]
    return max((at for at in until if at > now), default=None)


def _show_policy(
    session: Session, model: Model, plan: Plan, layers: Sequence[LayerNow | None], notes: Sequence[str]
) -> None:
    pairs = list(zip(plan.choices, layers, strict=True))
    rows = [_policy_row(model, choice, layer) for choice, layer in pairs if layer is None or layer.tokens]
    minimum = f"{model.label} caches a prefix from {model.cache.minimum:,} tokens on"
    unasked = ", by itself; nothing is charged for writing, and no hit is promised"
    costs = _costs([choice for choice, layer in pairs if layer is None or layer.tokens])
    show_table(
        "Prompt cache: policy by layer",
        ("layer", "tokens", "kind", "TTL", "warm until", "bridges pauses of", "why"),
        rows,
        [f"{minimum}{'' if model.cache.breakpoints else unasked}.", *costs, *notes, *_keepalive_notes(session)],
    )


def _policy_row(model: Model, choice: Choice, layer: LayerNow | None) -> tuple[object, ...]:
    kind = "marked prefix" if model.cache.breakpoints else "cached unasked"
    kind = "cache object" if layer and layer.held else kind
    until = layer.until if layer else None
    return (
        choice.layer,
        Figure(f"≈ {layer.tokens:,}") if layer else "-",
        kind if choice.ttl else "not cached",
        ("1h" if layer and layer.held else choice.ttl) or "-",
        time.strftime("%H:%M:%S", time.localtime(until)) if until else "not warm",
        _bridged(choice, layer),
        choice.why,
    )


def _bridged(choice: Choice, layer: LayerNow | None) -> str:
    if layer and layer.held:
        return "up to 60 min, longer by each call"
    return f"up to {choice.kept_warm / 60:.0f} min" if choice.ttl else "-"


def _costs(choices: Sequence[Choice]) -> list[str]:
    """What each way would have cost over the pauses seen, one sentence for the layers that are alike."""
    by_costs: dict[str, list[str]] = {}
    for choice in choices:
        costs = ", ".join(f"{name} {cost:.1f}" for name, cost in choice.costs.items())
        by_costs.setdefault(costs, []).append(choice.layer)
    return [
        f"Policy: a token of {' or '.join(layers)} over such calls costs, in input prices: {costs}."
        for costs, layers in by_costs.items()
        if "," in costs
    ]


def _keepalive_notes(session: Session) -> list[str]:
    """The pings of this pause and of the session, beside what the user allowed."""
    keep = session.keepalive
    if not session.settings.cache_budget:
        return ["No pings: they are sent only within %config AgentNB.cache_budget, which is 0."]
    if not keep.planned:
        return [f"No pings in this pause: they would not pay. {keep.sent} sent in this session."]
    return [f"Pings: {keep.done} of at most {keep.planned} sent in this pause, {keep.sent} in this session."]


def _money_notes(session: Session) -> list[str]:
    budget, spent = session.settings.cache_budget, session.objects.spent
    if not budget:
        return ["Nothing is spent on keeping prompts warm: %config AgentNB.cache_budget is 0."]
    return [f"Spent on keeping prompts warm: ${spent:.4f} of the cache budget of ${budget:.2f}."]


def _held_row(held: Held, now: float) -> tuple[object, ...]:
    clock = time.strftime("%H:%M:%S", time.localtime(held.until))
    left = _span(held.until - now)
    return (held.model, f"cache object {held.name}", Figure(f"{held.tokens:,}"), "1h", left, clock)


def _reachable(session: Session, entry: Warm) -> bool:
    """A simulator's entries die with it; another kernel's simulator is not ours."""
    return not entry.scope.startswith("sim:") or entry.scope == session.provider(f"sim:{entry.model}").scope


def _warm_row(entry: Warm, now: float) -> tuple[object, ...]:
    simulated = "sim:" if entry.scope.startswith("sim:") else ""
    clock = time.strftime("%H:%M:%S", time.localtime(entry.until))
    return (
        f"{simulated}{entry.model}",
        entry.why,
        Figure(f"≈ {entry.tokens:,}"),
        entry.ttl,
        _span(entry.until - now),
        clock,
    )


def _span(seconds: float) -> str:
    return f"{int(seconds // 60)} min {int(seconds % 60):02d} s" if seconds >= 60 else f"{int(seconds)} s"


def _list(session: Session) -> None:
    """Everything remembered, expired prefixes too, and the cache objects that the provider knows of."""
    now = session.clock.now()
    rows: list[tuple[object, ...]] = [
        (e.model, e.why, Code(e.prefix), f"≈ {e.tokens:,}", e.ttl, _span(e.until - now) if e.until > now else "expired")
        for e in session.ledger.entries()
    ]
    provider = session.provider(session.model_name())
    notes = []
    if isinstance(provider, ObjectProvider):
        listed = provider.list_caches()
        rows += [_listed_row(one) for one in listed]
        notes.append(
            f"{provider.model.provider} lists {len(listed)} cache objects, {sum(map(ours, listed))} of them ours."
        )
    else:
        notes.append(f"{provider.model.label}'s provider has no way to list what it holds; this is our ledger.")
    show_table(
        "Prompt cache: the ledger", ("model", "prefix ends at", "digest", "tokens", "TTL", "warm for"), rows, notes
    )


def _listed_row(one: dict[str, Any]) -> tuple[object, ...]:
    tokens = (one.get("usageMetadata") or {}).get("totalTokenCount") or 0
    whose = f"cache object {one.get('name')}" + ("" if ours(one) else " (not ours)")
    return (
        str(one.get("model", "")).rpartition("/")[2],
        whose,
        "",
        f"{tokens:,}",
        "",
        f"until {one.get('expireTime')}",
    )


def _latency(session: Session) -> None:
    """Time to first token against prompt tokens: this user's calls and the catalogue's curve."""
    address = session.model_name()
    model = catalog.lookup(address)
    calls = session.samples.first_tokens(address)
    data = latency.plot_data(model.latency, calls)
    title = f"{model.label}: time to first token"
    pairs = [(uncached, seconds) for _, uncached, seconds in calls]
    rows = [
        (f"{n:,}", str(latency.expect_first_token(model.latency, pairs, tokens=n, uncached=n, known=model.known)))
        for n in (2_000, 10_000, 50_000)
    ]
    fit = latency.fit_prefill(pairs)
    simulated = " These are the simulator's modelled figures." if address.startswith("sim:") else ""
    notes = [
        f"Fit over {len(calls)} calls: {fit[0]:.2f} s + {fit[1] * 1000:.3f} s per 1,000 uncached tokens.{simulated}"
        if fit
        else f"Not enough data for a fit: {len(calls)} of {latency.MIN_SAMPLES} calls.{simulated}",
        f"The catalogue's curve: {model.latency.source}.",
    ]
    display({"image/svg+xml": latency_svg(title, data), "text/plain": title}, raw=True)
    show_table(title, ("uncached tokens", "first token expected in"), rows, notes)


# --- keeping warm, letting go ------------------------------------------------------------------------------------


def _last(session: Session) -> tuple[AgentRun, Call, Provider]:
    """The last run of this kernel, its last request, and whom it would go to."""
    run = last_run(session.namespace)
    if run is None or run.state == "DRY_RUN":
        raise InputError("there is no request to keep warm yet", todo="Run %%agent first.")
    return run, session.agent().last_call(run.run_id), session.provider(run.model)


def _warm(session: Session) -> None:
    """Fill or renew the prompt cache with what the next call will begin with; it costs, and says what."""
    _, call, provider = _last(session)
    if isinstance(provider, ObjectProvider):
        held = session.objects.find(call.prompt, call.model, call.scope)
        if held is None:
            held = session.objects.make(provider, call, session.thread)
        _show_held("Prompt cache: cache object", session, [held])
        return
    if not provider.can_prewarm:
        raise InputError(
            f"{call.model.label} caches prefixes by itself and offers no way to warm them without a question",
            todo="Ask something: the next call on the same prefix will hit.",
        )
    usage = provider.prewarm(provider.encode(call.prompt, call.marks, previous_message=None))
    entries = warm_entries(call, usage)
    session.ledger.record(entries, session.clock.now())
    _show_warmed(session, call, usage, entries)


def _show_warmed(session: Session, call: Call, usage: Usage, entries: list[Warm]) -> None:
    cost = prices.cost_of(call.model, usage).total
    until = max((entry.until for entry in entries), default=session.clock.now())
    row = (
        call.model.label,
        Figure(f"{usage.cache_read:,}"),
        Figure(f"{usage.cache_write:,}"),
        "unknown" if cost is None else f"${cost:.6f}",
        _span(until - session.clock.now()),
    )
    note = "A read renews the TTL. Nothing was generated."
    if not entries:
        note = f"Nothing is warm: the prefix is below the minimum of {call.model.cache.minimum:,} tokens."
    show_table("Prompt cache: warmed", ("model", "read", "written", "cost", "warm for"), [row], [note])


def _extend(session: Session) -> None:
    """Let what is warm stay so: objects for another hour, prefixes by a read of the last request."""
    _, _, provider = _last(session)
    if not isinstance(provider, ObjectProvider):
        _warm(session)
        return
    mine = [held for held in session.objects.mine() if held.scope == provider.scope]
    if not mine:
        raise InputError("this session holds no cache object", todo="%agent_cache warm makes one; it costs storage.")
    longer = [session.objects.extend(provider, held, catalog.lookup(held.model)) for held in mine]
    _show_held("Prompt cache: extended", session, longer)


def _show_held(title: str, session: Session, objects: list[Held]) -> None:
    now = session.clock.now()
    rows = [
        (held.model, Code(held.name), Figure(f"{held.tokens:,}"), _span(held.until - now), _storage(held, now))
        for held in objects
    ]
    show_table(title, ("model", "name", "tokens", "lives for", "storage until then"), rows, _money_notes(session))


def _storage(held: Held, now: float) -> str:
    model = catalog.lookup(held.model)
    return f"${prices.storage_cost(model, tokens=held.tokens, seconds=held.until - now):.4f}"


def _clear(session: Session) -> None:
    """Forget the ledger, and delete this session's cache objects."""
    deleted = session.close_objects()
    count = session.ledger.forget()
    note = "What providers cached by prefix expires by itself: neither Anthropic nor OpenAI offers a way to delete it."
    rows = [(str(count), str(deleted))]
    show_table("Prompt cache: ledger cleared", ("entries forgotten", "cache objects deleted"), rows, [note])


def _prune(session: Session) -> None:
    """Drop what has expired; at a provider with cache objects, delete ours that no thread of this session uses."""
    removed = session.storage.prune()
    provider = session.provider(session.model_name())
    if not isinstance(provider, ObjectProvider):
        note = f"{provider.model.label}'s provider keeps no cache objects; its entries expire by themselves."
        show_table("Prompt cache: pruned", ("expired rows removed",), [(str(removed),)], [note])
        return
    used = {held.name for held in session.objects.mine()}
    stale = [one for one in provider.list_caches() if ours(one) and one["name"] not in used]
    for one in stale:
        provider.delete_cache(str(one["name"]))
        session.ledger.drop(str(one["name"]))
    rows = [(str(removed), str(len(stale)))]
    show_table("Prompt cache: pruned", ("expired rows removed", "cache objects deleted"), rows)


# --- why ---------------------------------------------------------------------------------------------------------


def _explain(session: Session) -> None:
    """The last run's calls: expected, read, written, the reason in words, and what a miss cost."""
    run = last_run(session.namespace)
    if run is None:
        raise InputError("there is no call to explain yet", todo="Run %%agent first.")
    rows = [_call_row(step) for step in run.receipt["steps"] if step["cache"]]
    if not rows:
        rows = [("-", f"≈ {run.cache.expected:,}", "-", "-", "-", run.cache.reason)]
    notes = [*_loss_notes(run), *_mark_notes(run), *_layer_notes(run)]
    show_table(
        f"Prompt cache: run {run.run_id}", ("step", "expected", "read", "written", "input", "reason"), rows, notes
    )


def _loss_notes(run: AgentRun) -> list[str]:
    """What it cost that a call read less than it could have."""
    lost = [(step["n"], step["cache"]) for step in run.receipt["steps"] if (step["cache"] or {}).get("lost_seconds")]
    return [
        f"Step {n}: {report.get('missed', 0):,} tokens that could have been read were not; that cost "
        f"{_dollars(report['lost_dollars'])} and about {report['lost_seconds']:.2f} s until the first token (modelled)."
        for n, report in lost
    ]


def _dollars(sum_: float | None) -> str:
    return "an unknown sum" if sum_ is None else f"${sum_:.6f}"


def _call_row(step: dict[str, Any]) -> tuple[object, ...]:
    report = step["cache"]
    return (
        step["n"],
        Figure(f"≈ {report['expected']:,}"),
        report["read"],
        report["written"],
        report["prefix"],
        report["reason"],
    )


def _mark_notes(run: AgentRun) -> list[str]:
    marks = run.cache.get("marks") or []
    return [f"Breakpoints of the last call: {'; '.join(marks)}."] if marks else []


def _layer_notes(run: AgentRun) -> list[str]:
    parts = [f"{layer.name} ≈ {layer.cached_tokens:,} of ≈ {layer.tokens:,}" for layer in run.layers if layer.tokens]
    return [f"Read by layer: {'; '.join(parts)}."] if parts else []
