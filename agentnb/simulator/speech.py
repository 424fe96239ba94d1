"""What the simulated model says: a report of what it was given, written to be read aloud. Pure and deterministic."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from agentnb.simulator import tooluse
from agentnb.simulator.dialogue import CALL_OVERHEAD, Answer, Ask, Said, Wanted
from agentnb.simulator.reading import Held, Outline, Turn, definitions, outline, turn
from agentnb.simulator.tokenizer import pieces

_LISTED = 5
_EXPLAINED = 2


def answer(ask: Ask) -> Answer:
    """The reply to `ask`: tool calls where the question wants them, else text; cut where the request says."""
    held = definitions(ask.said)
    open_turn = turn(ask.said)
    calls = tooluse.wanted(ask, open_turn, held)
    text = _before_calls(calls) if calls else report(ask, open_turn, held)
    return _cut(ask, text, calls)


def _before_calls(calls: Sequence[Wanted]) -> str:
    names = list(dict.fromkeys(call.name for call in calls))
    if len(calls) == 1:
        return f"Before I answer I call `{names[0]}`."
    return f"Before I answer I make {len(calls)} calls at once: {_listing(f'`{name}`' for name in names)}."


def report(ask: Ask, open_turn: Turn, held: dict[str, Held]) -> str:
    """The answer as markdown: what was asked, what came along, what the tools brought, what a model could do."""
    named = tooluse.named(open_turn.question, held)
    parts = [
        _opening(ask, open_turn),
        *(_explain(held[name], held) for name in named[:_EXPLAINED]),
        _others(held, named),
        _missing(open_turn, held),
        *(_result(item) for item in open_turn.results),
        _closing(held, named, open_turn),
    ]
    return "\n\n".join(part for part in parts if part)


def _opening(ask: Ask, open_turn: Turn) -> str:
    first = (
        f"**Simulated reply.** I stand in for {ask.model.label}: I do not reason, I tell what this request brought me."
    )
    if not open_turn.question:
        return f"{first} It holds no question."
    earlier = f" It is question {open_turn.earlier + 1} of this conversation." if open_turn.earlier else ""
    return f"{first}\n\nYou asked: *{_quote(open_turn.question)}*{earlier}"


def _quote(question: str, limit: int = 160) -> str:
    flat = " ".join(question.split()).replace("*", "∗")  # a star of the user's would end the emphasis
    return flat if len(flat) <= limit else f"{flat[:limit].rsplit(' ', 1)[0]} …"


def _explain(item: Held, held: dict[str, Held]) -> str:
    seen = outline(item.source)
    place = f" ({item.where})" if item.where else ""
    newer = " This is its newer version; it replaces the one I was sent before." if item.replaces else ""
    if seen is None:
        return f"I hold **`{item.name}`**{place}, {len(item.source.splitlines())} lines.{newer}"
    doc = f" — {seen.doc}" if seen.doc else ""
    head = f"I hold **`{item.name}`**{place}: `{seen.head}`{doc}{newer}"
    return "\n".join([head, *(f"- {fact}" for fact in _facts(item, seen, held))])


def _facts(item: Held, seen: Outline, held: dict[str, Held]) -> Iterable[str]:
    if seen.required or seen.optional:
        yield _parameters(seen)
    elif seen.kind == "function":
        yield "It takes no arguments."
    if seen.members:
        yield f"Its methods: {_listing(f'`{name}`' for name in seen.members[:8])}."
    if not item.full:
        yield "Of it I was sent the signature only; `inspect` would bring the body."
        return
    if seen.calls:
        yield _called(seen.calls, held)
    if seen.raises:
        yield f"It raises {_listing(f'`{name}`' for name in seen.raises)}."
    if seen.returns:
        yield f"It returns `{seen.returns}`."


def _parameters(seen: Outline) -> str:
    said = []
    if seen.required:
        verb = "is" if len(seen.required) == 1 else "are"
        said.append(f"{_listing(f'`{name}`' for name in seen.required)} {verb} required")
    said += [f"`{name}` defaults to `{default}`" for name, default in seen.optional[:5]]
    return f"Parameters: {'; '.join(said)}."


def _called(calls: tuple[str, ...], held: dict[str, Held]) -> str:
    known = {item.short for item in held.values()} | set(held)
    mine = [f"`{name}`" for name in calls if name in known or name.rpartition(".")[2] in known][:4]
    other = [f"`{name}`" for name in calls if f"`{name}`" not in mine][:4]
    said = []
    if mine:
        said.append(f"It calls {_listing(mine)}, which I hold too")
    if other:
        said.append(f"{'and' if mine else 'It calls'} {_listing(other)}, whose source I was not sent")
    return f"{'; '.join(said)}."


def _others(held: dict[str, Held], named: Sequence[str]) -> str:
    rest = [item for name, item in held.items() if name not in named[:_EXPLAINED]]
    if not rest:
        return "" if held else "No definition came with it."
    shown = _listing([*(_brief(item) for item in rest[-_LISTED:]), *_and_more(len(rest))])
    count = f"{len(rest)} definition{'s' if len(rest) > 1 else ''}"
    return f"{'Beside it' if named else 'I hold'} {count}{' came along' if named else ''}: {shown}."


def _and_more(count: int) -> list[str]:
    return [f"{count - _LISTED} more"] if count > _LISTED else []


def _brief(item: Held) -> str:
    return f"`{item.name}` ({item.where})" if item.where else f"`{item.name}`"


def _missing(open_turn: Turn, held: dict[str, Held]) -> str:
    absent = [name for name in tooluse.identifiers(open_turn.question) if not tooluse.find(name, held)]
    if not absent or open_turn.results:
        return ""
    verb = "is" if len(absent) == 1 else "are"
    return f"{_listing(f'`{name}`' for name in absent[:4])} {verb} named in the question, but not among what I hold."


def _result(item: Said) -> str:
    lines = item.text.strip().splitlines()
    verb = "failed with" if item.is_error else "returned"
    name = f"`{item.name}`" if item.name else "The tool"
    if not lines:
        return f"{name} {verb} nothing."
    if len(lines) == 1 and len(lines[0]) <= 80 and "`" not in lines[0]:
        return f"{name} {verb} `{lines[0]}`."
    shown = "\n".join(line[:100] for line in lines[:4])
    more = f"\n… {len(lines) - 4} more lines" if len(lines) > 4 else ""
    fence = "```" if "```" not in shown else "~~~~"
    return f"{name} {verb}:\n\n{fence}\n{shown}{more}\n{fence}"


def _closing(held: dict[str, Held], named: Sequence[str], open_turn: Turn) -> str:
    if open_turn.results:
        work = "go on from these results"
    elif named:
        work = f"now reason about `{named[0]}` from this source"
    elif held:
        work = "now pick what it needs from these definitions"
    else:
        work = "answer from what it learned in training alone"
    return f"A real model, sent the same, would {work}."


def _listing(words: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    items = list(words)
    return " and ".join(part for part in (", ".join(items[:-1]), items[-1] if items else "") if part)


def _cut(ask: Ask, text: str, calls: Sequence[Wanted]) -> Answer:
    """Stop at the first stop sequence, then at the limit of tokens. A call that does not fit whole is left out."""
    kept, sequence = _stop(text, ask.stops)
    family = ask.model.tokenizer
    tokens = pieces(kept, family)
    limit = ask.max_tokens if ask.max_tokens is not None else len(tokens) + 10**9
    if sequence is not None and len(tokens) <= limit:
        return Answer(pieces=tuple(tokens), stop="stop_sequence", sequence=sequence)
    if len(tokens) > limit:
        return Answer(pieces=tuple(tokens[:limit]), stop="max_tokens")
    call_pieces = [tuple(pieces(json.dumps(dict(call.arguments), ensure_ascii=False), family)) for call in calls]
    fits = _fitting([len(part) + CALL_OVERHEAD for part in call_pieces], limit - len(tokens))
    full = fits == len(calls)
    return Answer(
        pieces=tuple(tokens),
        calls=tuple(calls[:fits]),
        call_pieces=tuple(call_pieces[:fits]),
        stop=("tools" if calls else "end") if full else "max_tokens",
    )


def _fitting(costs: Sequence[int], room: int) -> int:
    spent = 0
    for i, cost in enumerate(costs):
        spent += cost
        if spent > room:
            return i
    return len(costs)


def _stop(text: str, stops: Sequence[str]) -> tuple[str, str | None]:
    """(the text before the stop sequence that comes first, that sequence), or (text, None)."""
    found = [(at, stop) for stop in stops if stop and (at := text.find(stop)) >= 0]
    if not found:
        return text, None
    at, stop = min(found)
    return text[:at], stop
