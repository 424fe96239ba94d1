"""Show what %agent_cache has: what is warm, how the policy decides and why, why a call hit or missed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from agentnb.canonical import JsonMapping, JsonObject
from agentnb.errors import AgentnbError, InputError
from agentnb.models import catalog, prices
from agentnb.models.catalog import CacheKind, Model
from agentnb.models.layers import layer_word
from agentnb.models.messages import Usage
from agentnb.notebook.commands import cache_upkeep
from agentnb.notebook.commands.cache_upkeep import close_in, holders, last_request, name_of
from agentnb.notebook.commands.subcommands import dispatch, show_table
from agentnb.notebook.kernel import last_run
from agentnb.providers import latency
from agentnb.providers.promptcache import (
    LAYERS,
    RULE,
    Call,
    Choice,
    HeldObject,
    Plan,
    Prediction,
    Warm,
    is_free,
    kept_at,
    layer_spans,
    life_of,
    ours,
    plan_layers,
    seen,
    span,
)
from agentnb.view import number_format
from agentnb.view.panels import prefix_html
from agentnb.view.plots.latency_plot import latency_svg, picture_html
from agentnb.view.tables import Code, Figure, Stacked
from agentnb.view.words.cost_words import in_sentences

if TYPE_CHECKING:
    from agentnb.agent.run_document import AgentRun
    from agentnb.session import Session

Outlook = tuple[Call, Plan, Prediction, latency.Expected, bool]


def agent_cache(session: Session, line: str) -> None:
    """status | explain | list | warm | extend | clear | prune | latency"""
    plain: dict[str, Callable[[Session], None]] = {
        "status": _status,
        "list": _list,
        "warm": cache_upkeep.warm,
        "extend": cache_upkeep.extend,
        "clear": cache_upkeep.clear,
        "latency": _latency,
    }
    table: dict[str, Callable[[str], None]] = {
        name: partial(_without_words, name, command, session) for name, command in plain.items()
    }
    table["explain"] = partial(_explain, session)
    table["prune"] = partial(cache_upkeep.prune, session)
    dispatch("agent_cache", table, line)


def _without_words(name: str, command: Callable[[Session], None], session: Session, rest: str) -> None:
    if rest:
        raise InputError(
            f"%agent_cache {name} takes nothing after it, not {rest!r}", todo=f"Write %agent_cache {name} alone."
        )
    command(session)


# --- what is there -----------------------------------------------------------------------------------------------


def _status(session: Session) -> None:
    """First comes what the next call may expect. What is warm follows, by model, with the cache objects; then the
    policy."""
    now = session.clock.now()
    warm = [entry for entry in session.ledger.entries() if entry.until > now and session.reaches(entry.scope)]
    longest = {(e.scope, e.model): e for e in sorted(warm, key=lambda e: e.tokens)}.values()
    rows = [_warm_row(entry, now) for entry in sorted(longest, key=lambda e: e.model)]
    held = [held for held in session.ledger.held() if held.until > now and session.reaches(held.scope)]
    rows += [_held_row(session, one, now) for one in held]
    last = last_request(session)
    outlook = session.agent().outlook(last[0]) if last else None
    title, notes = _next_call(outlook) if outlook else ("Prompt cache: warm now", [])
    notes += _warm_notes(len(warm) - len(longest)) if rows else [_NOTHING_WARM]
    show_table(title, ("model", "tokens", "warm for", "until"), rows, notes)
    if last and outlook:
        _policy(session, now, outlook, _other_model(session, last[1]))
    else:
        _policy_before_the_first_call(session)


_NOTHING_WARM = "Nothing is warm: no call yet, or everything has expired."


def _next_call(outlook: Outlook) -> tuple[str, list[str]]:
    """Return what the next call is expected to read, as a headline; why, and when its first token should come."""
    call, _, prediction, first, _ = outlook
    headline = f"Prompt cache: ≈ {prediction.tokens:,} of the next question's ≈ {call.total:,} tokens should be read"
    why = "" if prediction.reason == f"warm prefix of {prediction.tokens:,} tokens" else f"Why: {prediction.reason}."
    return headline, [*filter(None, (why,)), f"First token expected in {first}."]


def _warm_notes(shorter: int) -> list[str]:
    also = f"{number_format.plural(shorter, 'shorter prefix', 'shorter prefixes')} warm too: %agent_cache list."
    proof = "A forecast from your own calls: only the reply tells what was read."
    return [also, proof] if shorter else [proof]


def _warm_row(entry: Warm, now: float) -> tuple[object, ...]:
    until = number_format.time_and_day(entry.until, now)
    return (Stacked(name_of(entry), ("longest prefix",)), Figure(f"≈ {entry.tokens:,}"), span(entry.until - now), until)


def _held_row(session: Session, held: HeldObject, now: float) -> tuple[object, ...]:
    what = f"cache object of {session.objects.used_by(held)}"
    until = number_format.time_and_day(held.until, now)
    return (Stacked(name_of(held), (what,)), Figure(f"{held.tokens:,}"), span(held.until - now), until)


def _policy_before_the_first_call(session: Session) -> None:
    model = catalog.lookup(session.model_name())
    layers = [seen(layer, 1, (), notebook=True) for layer in LAYERS]
    _show_policy(session, model, plan_layers(model, layers, pings=session.keepalive.allowed), (None,) * 3, [])


def _policy(session: Session, now: float, outlook: Outlook, notes: Sequence[str]) -> None:
    """Show how each layer is cached, of its kind, until when it is kept warm, and why."""
    call, plan, _, _, worth = outlook
    spans, held = layer_spans(call), session.objects.find(call.prompt, call.model, call.scope)
    lives = held.until - now if held else None
    warm = [LayerNow(tokens=tokens, until=_warm_until(session, call, end, now), lives=lives) for tokens, end in spans]
    begun = LayerNow(tokens=warm[2].tokens, until=_warm_until(session, call, spans[1][1] + 1, now))
    objects = _object_notes(call.model, held, worth=worth)
    _show_policy(session, call.model, plan, (*warm[:2], begun), [*objects, *notes])


def _object_notes(model: Model, held: HeldObject | None, *, worth: bool) -> list[str]:
    """Tell the rule of cache objects, whether one is due by it, and what becomes of one that there is."""
    if model.cache.kind is not CacheKind.EXPLICIT_OBJECT:
        return []
    if is_free(model):
        return ["What a model on this machine has read is kept on its disk, at no cost."]
    rule = RULE.format(life=span(life_of(model)))
    if held is None:
        return [f"{rule} By the pauses seen, one {'is due' if worth else 'is not due'}."]
    how = "extended as calls use it" if worth else "not extended"
    return [
        rule,
        "A call reads the cache object, unless the provider's own caching is likely to save more.",
        f"By the pauses seen it is {how}.",
    ]


def _other_model(session: Session, address: str) -> list[str]:
    """Return a word where the next task would not go to the model that this policy is about."""
    asked = session.model_name()
    if asked == address:
        return []
    return [f"The model is set to {asked} now: the next task sends it the whole prompt anew."]


@dataclass(frozen=True, kw_only=True)
class LayerNow:
    """Holds a layer's tokens, and until when it is warm (a time of day; None: it is not). Also for how many seconds a
    cache object holds it (None: none does)."""

    tokens: int
    until: str | None
    lives: float | None = None


def _warm_until(session: Session, call: Call, end: int, now: float) -> str | None:
    """Tell when the longest-lived prefix expires that reaches at least to block `end`."""
    known = session.ledger.remembered_of(call.scope, call.model.name)
    until = [known[prefix].until for prefix in call.prompt.chain[end:] if prefix in known]
    until += [h.until for h in session.ledger.held(call.scope) if h.prefix in call.prompt.chain[end:]]
    last = max(until, default=now)
    return number_format.time_and_day(last, now) if last > now else None


def _show_policy(
    session: Session, model: Model, plan: Plan, layers: Sequence[LayerNow | None], notes: Sequence[str]
) -> None:
    pairs = [pair for pair in zip(plan.choices, layers, strict=True) if pair[1] is None or pair[1].tokens]
    minimum = f"{model.label} caches a prefix from {model.cache.minimum:,} tokens on"
    unasked = ", by itself; nothing is charged for writing, and no hit is promised"
    show_table(
        f"Prompt cache: policy for {model.label}",
        ("layer", "tokens", "warm until", "outlives pauses"),
        [_policy_row(model, choice, layer) for choice, layer in pairs],
        [
            *_reasons([choice for choice, layer in pairs if layer is None or layer.lives is None]),
            f"{minimum}{'' if model.cache.breakpoints else unasked}.",
            *_unpriced(model),
            *notes,
            *_money_notes(session, model),
        ],
    )


def _unpriced(model: Model) -> list[str]:
    """Return a word where the policy does not know what it compares."""
    known = prices.cost_of(model, Usage(input=1)).known
    return [] if known else [f"No price is known for {model.label}: the usual rates of writes and reads are assumed."]


def _policy_row(model: Model, choice: Choice, layer: LayerNow | None) -> tuple[object, ...]:
    kind = "marked prefix" if model.cache.breakpoints else "cached unasked"
    until, lives = (layer.until, layer.lives) if layer else (None, None)
    bridged = choice.kept_warm if lives is None else lives
    asked = f"{kind}, {choice.ttl}" if choice.ttl else "not cached"
    return (
        Stacked(layer_word(choice.layer), (asked if lives is None else f"cache object, {span(lives)} left",)),
        Figure(f"≈ {layer.tokens:,}") if layer else "-",
        until or "not warm",
        f"up to {span(bridged)}" if bridged else "-",
    )


def _reasons(choices: Sequence[Choice]) -> list[str]:
    """Return how each layer is kept and what each way costs at the user's pace: one sentence for those alike."""
    alike: dict[tuple[str, str], list[str]] = {}
    for choice in choices:
        way, _, basis = choice.why.partition(": ")
        others = [f"{cost:.1f}x ({_way(name)})" for name, cost in choice.costs.items() if name != way]
        own = choice.costs.get(way)
        compared = (
            f" is cheapest at your pace: {own:.1f}x, against {_named(others)}" if others and own is not None else ""
        )
        alike.setdefault((f"{_way(way)}{compared}", basis), []).append(layer_word(choice.layer))
    return [
        f"Keeping {'prompts' if len(alike) == 1 else _named(layers)} for {way}. {basis[:1].upper()}{basis[1:]}."
        if not way.startswith(_way("not cached"))
        else f"{way[:1].upper()}{way[1:]} for {_named(layers)}. {basis[:1].upper()}{basis[1:]}."
        for (way, basis), layers in alike.items()
    ]


def _way(name: str) -> str:
    """Return `5m kept warm` -> `5 min, kept warm`"""
    ttl, kept, _ = name.partition(" kept warm")
    words = {"5m": "5 min", "1h": "1 hour", "24h": "24 hours", "30m": "30 min", "not cached": "no cache"}.get(ttl, ttl)
    return f"{words}, kept warm" if kept else words


def _named(layers: Sequence[str]) -> str:
    return " and ".join(part for part in (", ".join(layers[:-1]), *layers[-1:]) if part)


def _money_notes(session: Session, model: Model) -> list[str]:
    """Return what keeping prompts warm has cost and may cost, and the pings of this pause and the session."""
    budget, spent, keep = session.settings.cache_budget, session.objects.spent, session.keepalive
    if not budget:
        asked = f" What was asked for by hand cost {number_format.dollars(spent)}." if spent else ""
        return [f"Nothing is paid to keep it warm: %config AgentNB.cache_budget is 0.{asked}"]
    pings = "" if model.cache.breakpoints else f"No pings: {model.label} takes none."
    if model.cache.breakpoints:
        pings = (
            f"Pings: {keep.done} of at most {keep.planned} sent in this pause, {keep.sent} in this session."
            if keep.planned
            else f"No pings in this pause: they would not pay. {keep.sent} sent in this session."
        )
    used = f"{number_format.dollars(spent)} of the cache budget of {number_format.dollars(budget)}"
    return [f"Spent on keeping prompts warm: {used}. {pings}"]


def _list(session: Session) -> None:
    """Show everything remembered, expired prefixes too, and the cache objects that the providers know of."""
    now = session.clock.now()
    entries = session.ledger.entries()
    known = sorted((e for e in entries if session.reaches(e.scope)), key=lambda e: (e.model, -e.tokens))
    models = sorted({name_of(entry) for entry in known})
    rows = [_ledger_row(entry, now, named=len(models) > 1) for entry in known]
    objects, notes = _listed_objects(session, now)
    elsewhere = len(entries) - len(known)
    if elsewhere:
        notes.append(f"Left out: {number_format.plural(elsewhere, 'prefix', 'prefixes')} of servers that have ended.")
    title = f"What was sent to {_named(models)}" if models else "Nothing was sent that a prompt cache could hold"
    show_table(title, ("prefix up to", "tokens", "TTL", "warm for"), rows, notes)
    if objects:
        titles = ("used by", "tokens", "lives for")
        show_table("Prompt cache: cache objects at the provider", titles, objects)


def _ledger_row(entry: Warm, now: float, *, named: bool) -> tuple[object, ...]:
    prefix = Stacked(_in_words(entry.why), (name_of(entry),) if named else ())
    left = span(entry.until - now) if entry.until > now else "expired"
    return (prefix, Figure(f"≈ {entry.tokens:,}"), entry.ttl, left)


def _listed_objects(session: Session, now: float) -> tuple[list[tuple[object, ...]], list[str]]:
    """Return rows and remarks on the cache objects, as their providers list them."""
    rows: list[tuple[object, ...]] = []
    notes: list[str] = []
    for holder in holders(session):
        try:
            listed = holder.list_caches()
        except AgentnbError as error:
            notes.append(f"Cache objects could not be listed: {error}")
            continue
        rows += [_listed_row(session, one, holder.scope, now) for one in listed]
        mine = sum(map(ours, listed))
        lister = "This machine" if kept_at(holder.scope) == catalog.LOCAL else "Google"
        notes.append(f"{lister} lists {number_format.plural(len(listed), 'cache object')}, {mine} of them ours.")
    return rows, [*notes, "agentnb keeps this list itself: no provider lists the prefixes that it holds."]


def _listed_row(session: Session, one: JsonMapping, scope: str, now: float) -> tuple[object, ...]:
    tokens = (one.get("usageMetadata") or {}).get("totalTokenCount") or 0
    held = next((held for held in session.ledger.held(scope) if held.name == one.get("name")), None)
    whose = "not ours" if not ours(one) else session.objects.used_by(held) if held else "nobody known here"
    name = f"{'sim:' if scope.startswith('sim:') else ''}{str(one.get('model', '')).rpartition('/')[2]}"
    which = Stacked(whose, (name, Code(str(one.get("name")))))
    return (which, Figure(f"{tokens:,}"), span(close_in(one, now)))


def _latency(session: Session) -> None:
    """Show the time to first token against prompt tokens: this user's calls and the catalogue's curve."""
    address = session.model_name()
    model = catalog.lookup(address)
    calls = session.samples.first_tokens(address)
    data = latency.plot_data(model.latency, calls)
    title = f"{model.label}: time to first token"
    pairs = [(uncached, seconds) for _, uncached, seconds in calls]
    rows = [
        (n, str(latency.expect_first_token(model.latency, pairs, tokens=n, uncached=n, known=model.known)))
        for n in (2_000, 10_000, 50_000)
    ]
    fit = latency.fit_prefill(pairs)
    known = number_format.plural(len(calls), "call")
    simulated = " These are the simulator's modelled figures." if address.startswith("sim:") else ""
    notes = [
        f"Fitted to {known} of yours: {fit[0]:.2f} s, and {fit[1] * 1000:.3f} s more per 1,000 uncached tokens."
        f"{simulated}"
        if fit
        else f"Not enough data for a fit: {len(calls)} of {latency.MIN_SAMPLES} calls.{simulated}",
        f"The line: {model.latency.source}.",
    ]
    figure = picture_html(latency_svg(title, data), f"{title} against prompt tokens, {known}")
    show_table(title, ("uncached tokens", "first token expected in"), rows, notes, figure=figure)


# --- why ---------------------------------------------------------------------------------------------------------


def _explain(session: Session, rest: str) -> None:
    """Show a run's calls: expected, read, written, the reason in words, and what a miss cost."""
    run = session.find_run(rest.split()[0]) if rest else last_run(session.namespace)
    if run is None:
        raise InputError("there is no call to explain yet", todo="Run %%agent first.")
    title = f"Prompt cache: run {run.run_id}"
    if run.state == "DRY_RUN":
        why = str(run.cache.reason).removeprefix("expected: ")
        row = (why, Figure(f"≈ {run.cache.expected:,}"), Figure(f"≈ {run.cache.prefix:,}"))
        expected, told = ("what to expect, and why", "read", "of input"), _layer_notes(run, "Expected to be read")
        notes = ["Nothing was sent: this is what a call now should read."]
        show_table(title, expected, [row], notes, figure=prefix_html(run.receipt), told=told)
        return
    rows = [_call_row(step) for step in run.receipt["steps"] if step["cache"]]
    notes = [*_loss_notes(run), *_segment_notes(run), *_mark_notes(run), *([] if rows else [_no_call(run)])]
    figure, told = (prefix_html(run.receipt), _layer_notes(run, "Read by layer in the last call")) if rows else ("", [])
    columns = ("what happened, and why", "expected", "read", "written", "of input")
    show_table(title, columns, rows, notes, figure=figure, told=told)


def _no_call(run: AgentRun) -> str:
    """Tell why there is no call to show. None was made, or it ended before the provider told what it read."""
    if not run.receipt["usage"]["calls"]:
        if run.receipt["stopped"]:
            return "It was stopped before a reply began. Whether that call costs something, its provider alone knows."
        return "The run made no call."
    used = run.receipt["usage"]
    total = sum(used[name] for name in ("input", "cache_read", "cache_write_5m", "cache_write_1h"))
    return f"Its call was stopped in mid-reply, after ≈ {total:,} input and ≈ {used['output']:,} output tokens."


def _loss_notes(run: AgentRun) -> list[str]:
    """Return what it cost that a call read less than it could have."""
    lost = [(step["n"], step["cache"]) for step in run.receipt["steps"] if (step["cache"] or {}).get("lost_seconds")]
    return [
        f"Step {n}: {report.get('missed', 0):,} tokens that could have been read were not. That cost "
        f"{_dollars(report['lost_dollars'])}, and the first token came about {report['lost_seconds']:.2f} s later."
        for n, report in lost
    ]


def _dollars(sum_: float | None) -> str:
    return "an unknown sum" if sum_ is None else number_format.dollars(sum_)


def _segment_notes(run: AgentRun) -> list[str]:
    """Tell why the run's prompt was written anew, where it was."""
    return [note for note in run.receipt["notes"] if note.startswith("Prompt begun anew:")]


def _call_row(step: JsonObject) -> tuple[object, ...]:
    report = step["cache"]
    return (
        Stacked(in_sentences(report["reason"]), (f"step {step['n']}",)),
        Figure(f"≈ {report['expected']:,}"),
        report["read"],
        report["written"],
        report["prefix"],
    )


def _mark_notes(run: AgentRun) -> list[str]:
    marks = run.cache.get("marks") or []
    return [f"Breakpoints of the last call: {_in_words('; '.join(marks))}."] if marks else []


def _in_words(marks: str) -> str:
    """Return `end of static` -> `end of Instructions`"""
    for layer in ("SEMI_STATIC", "STATIC"):
        marks = marks.replace(f"end of {layer.lower().replace('_', '-')}", f"end of {layer_word(layer)}")
    return marks


def _layer_notes(run: AgentRun, what: str) -> list[str]:
    parts = [
        f"{layer_word(layer.name)} ≈ {layer.cached_tokens:,} of ≈ {layer.tokens:,}"
        for layer in run.layers
        if layer.tokens
    ]
    return [f"{what}: {'; '.join(parts)}."] if parts else []
