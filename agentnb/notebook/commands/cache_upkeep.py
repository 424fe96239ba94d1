"""Do what %agent_cache does: keep prompts warm, and let go of what was kept."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING

from agentnb.canonical import JsonMapping
from agentnb.errors import AgentnbError, InputError, ProviderError, RequestRefused, RunUnknown
from agentnb.models import catalog, prices
from agentnb.models.catalog import LOCAL
from agentnb.models.messages import Usage
from agentnb.notebook.commands.subcommands import show_table
from agentnb.notebook.kernel import last_run
from agentnb.providers.base import Provider
from agentnb.providers.promptcache import (
    Call,
    HeldObject,
    ObjectProvider,
    Warm,
    address_of,
    is_free,
    layer_spans,
    ours,
    span,
    warm_entries,
)
from agentnb.view import number_format
from agentnb.view.tables import Code, Figure

if TYPE_CHECKING:
    from agentnb.session import Session


def last_request(session: Session) -> tuple[str, str] | None:
    """Return (run id, model's address) of the last run that was sent. That is this kernel's last one. Where that was a
    dry run or a user's own machine, it is its thread's. None before the first."""
    run = last_run(session.namespace)
    if run is not None and run.thread and run.state != "DRY_RUN":
        return run.run_id, run.model
    threads = dict.fromkeys([run.thread if run else "", session.thread])
    sent = next(filter(None, map(session.ledger.last_sent, threads)), None)
    with contextlib.suppress(RunUnknown):  # the ledger may remember what the journal no longer has
        return (sent.run_id, session.find_run(sent.run_id).model) if sent else None
    return None


def _last_call(session: Session) -> tuple[Call, Provider, str]:
    """Return the last request, whom it would go to, and its thread."""
    last = last_request(session)
    if last is None:
        raise InputError("there is no request to keep warm yet", todo="Run %%agent first.")
    run_id, address = last
    call = session.agent().last_call(run_id)
    if not call.prompt.blocks:
        raise InputError("the last run made no call: there is nothing to keep warm", todo="Run %%agent again.")
    return call, session.provider(address), session.find_run(run_id).thread


def holders(session: Session) -> list[ObjectProvider]:
    """Return the connections to where cache objects may be. Those are of the set model, of the last one asked, and of
    the ledger's objects. One for each place."""
    last = last_request(session)
    asked = [session.provider(address) for address in (session.model_name(), *([last[1]] if last else []))]
    known = [session.holder_of(held) for held in session.ledger.held()]
    found = [one for one in (*asked, *known) if isinstance(one, ObjectProvider)]
    return list({one.scope: one for one in found}.values())


def close_in(listed: JsonMapping, now: float) -> float:
    """Return the seconds until a listed object ends; 0 where that is not said."""
    try:
        return datetime.fromisoformat(str(listed.get("expireTime"))).timestamp() - now
    except ValueError:
        return 0.0


# --- keeping warm ------------------------------------------------------------------------------------------------


def warm(session: Session) -> None:
    """Fill or renew the prompt cache with what the next call will begin with; it costs, and says what."""
    call, provider, thread = _last_call(session)
    if isinstance(provider, ObjectProvider):
        held = session.objects.find(call.prompt, call.model, call.scope) or _made(session, provider, call, thread)
        _show_held("Prompt cache: cache object", session, [held])
        return
    _warm_prefix(session, call, provider)


def _made(session: Session, provider: ObjectProvider, call: Call, thread: str) -> HeldObject:
    try:
        return session.objects.make(provider, call, thread)
    except RequestRefused as error:
        (static, _), (project, _), _ = layer_spans(call)
        if static + project > call.model.cache.minimum * 1.1:
            raise
        raise InputError(
            f"too little for a cache object: tools, instructions and project have ≈ {static + project:,} tokens, and "
            f"{call.model.label} takes {call.model.cache.minimum:,} or more",
            todo="Pin a schema or add a file (%agent_context), or just ask on: prefixes are cached unasked.",
        ) from error


def _warm_prefix(session: Session, call: Call, provider: Provider) -> None:
    if not provider.can_prewarm:
        raise InputError(
            f"{call.model.label} caches prefixes by itself and offers no way to warm them without a question",
            todo="Ask something: the next call on the same prefix will hit.",
        )
    if call.total < call.model.cache.minimum:
        raise InputError(
            f"nothing can be kept warm yet: the prompt has {call.total:,} tokens, and {call.model.label} caches from "
            f"{call.model.cache.minimum:,} on",
            todo="It grows with every turn.",
        )
    usage = provider.prewarm(provider.encode(call.prompt, call.marks, previous_message=None))
    call = replace(call, at=session.clock.now())
    entries = warm_entries(call, usage)
    session.ledger.record(entries, call.at)
    session.objects.spent += call.price(usage).total or 0.0
    _show_warmed(session, call, usage, entries)


def _show_warmed(session: Session, call: Call, usage: Usage, entries: list[Warm]) -> None:
    cost = call.price(usage).total
    until = max((entry.until for entry in entries), default=call.at)
    row = (
        call.model.label,
        Figure(f"{usage.cache_read:,}"),
        Figure(f"{usage.cache_write:,}"),
        Figure("unknown" if cost is None else number_format.short_dollars(cost)),
        span(until - call.at),
    )
    pretended = f" {_PRETENDED}" if call.scope.startswith("sim:") else ""
    note = f"Nothing was generated. What was read stays warm for its full time again.{pretended}"
    if not entries:
        note = "Nothing is warm: the provider neither read nor wrote anything."
    show_table("Prompt cache: warmed", ("model", "read", "written", "cost", "warm for"), [row], [note])


def extend(session: Session) -> None:
    """Let what is warm stay so: objects for another hour, prefixes by a read of the last request."""
    mine = session.objects.mine()
    if mine:
        _extend_objects(session, mine)
    call, provider, _ = _last_call(session)
    if not isinstance(provider, ObjectProvider):
        _warm_prefix(session, call, provider)
    elif not mine:
        raise InputError("this session holds no cache object", todo="%agent_cache warm makes one; it costs storage.")


def _extend_objects(session: Session, mine: list[HeldObject]) -> None:
    longer, notes = [], []
    for held in mine:
        provider = session.holder_of(held)
        try:
            if provider is not None:
                longer.append(session.objects.extend(provider, held, catalog.lookup(address_of(held))))
        except ProviderError as error:
            notes.append(f"{held.name} was not extended: {error}")
    _show_held("Prompt cache: extended", session, longer, notes)


def _show_held(title: str, session: Session, objects: list[HeldObject], notes: list[str] | None = None) -> None:
    now = session.clock.now()
    rows = [
        (name_of(held), Figure(f"{held.tokens:,}"), span(held.until - now), _storage(held, now), Code(held.name))
        for held in objects
    ]
    stays = f"Spent on keeping prompts warm in this session: ${session.objects.spent:.4f}."
    if any(held.scope.startswith("sim:") for held in objects):
        stays += f" {_PRETENDED}"
    subject = "It is" if len(objects) == 1 else "They are"
    stay = all(held.scope == LOCAL for held in objects)  # files, see CacheObjects.leave
    ends = f"{subject} deleted {'then' if stay else 'when the kernel ends'}, or by %agent_cache clear."
    show_table(title, ("model", "tokens", "lives for", "storage", "name"), rows, [*(notes or []), stays, ends])


def name_of(entry: Warm | HeldObject) -> str:
    """Return the model, and that it is simulated where it is."""
    return f"{'sim:' if entry.scope.startswith('sim:') else ''}{entry.model}"


_PRETENDED = "Simulated: nothing was charged."


def _storage(held: HeldObject, now: float) -> str:
    model = catalog.lookup(address_of(held))
    if is_free(model):
        return "free"
    if not prices.storage_price(model):
        return "unknown"
    return f"${prices.storage_cost(model, tokens=held.tokens, seconds=held.until - now):.4f}"


# --- letting go --------------------------------------------------------------------------------------------------


def clear(session: Session) -> None:
    """Forget the ledger, and delete this session's cache objects."""
    mine = len(session.objects.mine())
    deleted = session.close_objects(cleared=True)
    notes = [
        f"{number_format.plural(session.ledger.forget(), 'entry', 'entries')} forgotten, "
        f"{number_format.plural(deleted, 'cache object')} deleted."
    ]
    left = mine - deleted
    notes += [
        f"{number_format.plural(left, 'cache object')} not deleted: in use by another kernel, or gone already."
    ] * (left > 0)
    notes.append("What providers cached by prefix expires by itself: none of them offers a way to delete it.")
    show_table("Prompt cache: cleared", (), [], notes)


@dataclass
class Pruned:
    """Tells what a pruning did: the deleted names, how many are `used` or `left` for others, and what failed."""

    deleted: list[str] = field(default_factory=list)
    used: int = 0
    left: int = 0
    failed: list[str] = field(default_factory=list)


def prune(session: Session, rest: str) -> None:
    """Drop what has expired; at providers with cache objects, delete ours that nobody uses.

    With `all`, delete also those whose maker may be alive, on any machine, but none that the ledger calls used.
    """
    if rest not in ("", "all"):
        raise InputError(
            f"%agent_cache prune takes nothing or all, not {rest!r}",
            todo="Write %agent_cache prune, or %agent_cache prune all.",
        )
    asked, done = holders(session), Pruned()
    for holder in asked:
        _prune_at(session, holder, done, everything=rest == "all")
    removed = session.storage.prune()
    notes = [f"{number_format.plural(removed, 'expired entry', 'expired entries')} removed from the data directory."]
    notes += (
        _told(done) if asked else ["No provider that was asked keeps cache objects; prefixes expire by themselves."]
    )
    show_table("Prompt cache: pruned", ("cache object deleted",), [(Code(name),) for name in done.deleted], notes)


def _told(done: Pruned) -> list[str]:
    notes = [f"{number_format.plural(len(done.deleted), 'cache object')} deleted."]
    if done.used:
        notes.append(
            f"{number_format.plural(done.used, 'cache object')} in use left alone: %agent_cache clear deletes ours."
        )
    if done.left:
        notes.append(
            f"{done.left} more may be in use by another kernel and were left alone. Each ends within the hour, or by "
            "%agent_cache prune all."
        )
    return notes + done.failed


def _prune_at(session: Session, holder: ObjectProvider, done: Pruned, *, everything: bool) -> None:
    """Delete there what is abandoned, and forget what has expired or is no longer listed."""
    try:
        listed = holder.list_caches()
    except AgentnbError as error:
        done.failed.append(f"Cache objects could not be listed: {error}")
        return
    names = {str(one["name"]) for one in listed}
    for held in session.ledger.held(holder.scope):
        if held.name not in names:
            session.objects.vanished(held.name)
    for one in filter(ours, listed):
        abandoned = session.objects.abandoned(one, holder.scope)
        if abandoned or (everything and abandoned is None):
            _delete(session, holder, str(one["name"]), done)
        elif abandoned is None:
            done.left += 1
        else:
            done.used += 1


def _delete(session: Session, holder: ObjectProvider, name: str, done: Pruned) -> None:
    try:
        holder.delete_cache(name)
        done.deleted.append(name)
        session.objects.vanished(name)
    except ProviderError as error:
        done.failed.append(f"{name} was not deleted: {error}")
