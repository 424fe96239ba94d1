"""What the simulated model says: a report of what it was given, written to be read aloud. Pure and deterministic."""

from __future__ import annotations

import builtins
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace

from agentnb.simulator.model import tool_choice
from agentnb.simulator.model.dialogue import CALL_OVERHEAD, Answer, Ask, Said, Wanted
from agentnb.simulator.model.prompt_parser import Held, Outline, Turn, definitions, outline, turn
from agentnb.simulator.tokenizer import pieces

_LISTED = 5
_EXPLAINED = 2
_QUOTED = 2  # results of tools; of more than that each gets a line
_NOTED = 12


def answer(ask: Ask, *, declined: bool = False, paused: bool = False) -> Answer:
    """The reply to `ask`: tool calls where the question wants them, else text; cut where the request says.

    With `declined` the model says nothing and stops as a refusal does; `paused` it stops in the middle of its text.
    What an unfinished message of its own has said already it does not say again.
    """
    if declined:
        return Answer(stop="refusal")
    held = definitions(ask.said)
    open_turn = turn(ask.said)
    calls = tool_choice.wanted(ask, open_turn, held)
    text = _before_calls(calls) if calls else report(ask, open_turn, held)
    thought = pieces(_thought(open_turn, held), ask.model.tokenizer) if ask.thinks else []
    said = _cut(ask, thought, text.removeprefix(_begun(ask.said)), calls)
    return _paused(said) if paused else said


def _begun(said: Sequence[Said]) -> str:
    """The text of the assistant's message that the conversation ends with."""
    texts: list[str] = []
    for item in reversed(said):
        if item.role != "assistant":
            break
        texts.append(item.text if item.kind == "text" else "")
    return "".join(reversed(texts))


def _paused(said: Answer) -> Answer:
    """The first half of the text. No message may end with a space."""
    end = max(len(said.pieces) // 2, 1)
    while end < len(said.pieces) and said.pieces[end - 1] != said.pieces[end - 1].rstrip():
        end += 1
    return replace(said, pieces=said.pieces[:end], calls=(), call_pieces=(), stop="pause")


def _thought(open_turn: Turn, held: dict[str, Held]) -> str:
    named = tool_choice.named(open_turn.question, held)
    about = f"It names {_listing(named[:4])}. " if named else ""
    results = f" {len(open_turn.results)} tool results came since." if open_turn.results else ""
    return (
        f"The question is: {_quote(open_turn.question, 80)} {about}I hold {_count(len(held), 'definition')}.{results}"
    )


def _before_calls(calls: Sequence[Wanted]) -> str:
    names = list(dict.fromkeys(call.name for call in calls))
    said = [f"`{name}`{_over([call for call in calls if call.name == name])}" for name in names]
    return f"Before I answer I call {_listing(said)}{', all at once' if len(calls) > 1 else ''}."


def _over(calls: Sequence[Wanted]) -> str:
    """` on ``x`` and ``y```: the first argument of each call, where it is short enough to read aloud."""
    first = [str(next(iter(call.arguments.values()), "")) for call in calls]
    short = [f"`{text}`" for text in first if text and len(text) <= 40 and "\n" not in text and "`" not in text]
    return f" on {_listing(short)}" if len(short) == len(calls) else ""


def report(ask: Ask, open_turn: Turn, held: dict[str, Held]) -> str:
    """The answer as markdown: what was asked, what the tools brought, what came along, what a model could do."""
    named = tool_choice.named(open_turn.question, held)
    before = definitions(ask.said[: open_turn.start])
    explained = named[: 1 if open_turn.results else _EXPLAINED]
    parts = [
        _opening(ask, open_turn),
        *_results(open_turn.results),
        *(_explain(held[name], held) for name in explained),
        _along(held, before, explained),
        _beside(open_turn),
        _missing(open_turn, held),
        _closing(held, named, open_turn),
    ]
    return "\n\n".join(part for part in parts if part)


def _opening(ask: Ask, open_turn: Turn) -> str:
    first = f"**Simulated reply.** I stand in for {ask.model.label} and do not reason; I tell what the request brought."
    if not open_turn.question:
        return f"{first} It holds no question."
    which = f"Question {open_turn.earlier + 1} of this conversation" if open_turn.earlier else "You asked"
    return f"{first}\n\n{which}: *{_quote(open_turn.question)}*"


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
        yield f"Methods: {_listing(f'`{name}`' for name in seen.members[:8])}."
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
    other = [f"`{name}`" for name in calls if f"`{name}`" not in mine and not hasattr(builtins, name)][:4]
    said = []
    if mine:
        said.append(f"It calls {_listing(mine)}, which I hold too")
    if other:
        said.append(f"{'and' if mine else 'It calls'} {_listing(other)}, whose source I was not sent")
    return f"{', '.join(said)}." if said else "It calls built-in functions only."


def _along(held: dict[str, Held], before: dict[str, Held], explained: Sequence[str]) -> str:
    """The definitions that were not explained: first those that came with this question, then those from before."""
    rest = [item for name, item in held.items() if name not in explained and not item.listed]
    new = [item for item in rest if before.get(item.name) != item]
    old = [item for item in rest if before.get(item.name) == item]
    if not held:
        return "No definition came with it."
    said = []
    if new:
        said.append(f"{'Also new' if explained else 'New'} with this question: {_named(new)}.")
    if old:
        said.append(f"From before I hold {_named(old)}.")
    return " ".join(said)


def _named(items: Sequence[Held]) -> str:
    more = [f"{len(items) - _LISTED} more"] if len(items) > _LISTED else []
    return _listing([*(_brief(item) for item in items[-_LISTED:]), *more])


def _beside(open_turn: Turn) -> str:
    """The live values that came along, shortened."""
    if not open_turn.values:
        return ""
    shown = _listing(f"`{_shortened(line, 60)}`" for line in open_turn.values[:3] if "`" not in line)
    return f"Live values beside it: {shown}." if shown else ""


def _shortened(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _brief(item: Held) -> str:
    return f"`{item.name}` ({item.where})" if item.where else f"`{item.name}`"


def _missing(open_turn: Turn, held: dict[str, Held]) -> str:
    there = {line.partition(":")[0].strip() for line in open_turn.values}
    named = tool_choice.identifiers(open_turn.question)
    absent = [name for name in named if name not in there and not tool_choice.find(name, held)]
    if not absent or open_turn.results:
        return ""
    verb = "is" if len(absent) == 1 else "are"
    return f"{_listing(f'`{name}`' for name in absent[:4])} {verb} named in the question, but not among what I hold."


def _results(items: Sequence[Said]) -> list[str]:
    """What the tools brought: quoted where they were few, else a line each. Nobody reads a page of quotations."""
    if len(items) <= _QUOTED:
        return [_in_a_line(item) or _quoted(item) for item in items]
    noted = [f"- {_in_a_line(item) or _beginning(item)}" for item in items[:_NOTED]]
    more = [f"- … {len(items) - _NOTED} more"] if len(items) > _NOTED else []
    return ["\n".join(["The tools brought, in this order:\n", *noted, *more])]


def _in_a_line(item: Said) -> str:
    """The result, where a line holds all of it; else nothing."""
    brought = definitions([item])
    if brought and not item.is_error:
        return f"{_by(item)} brought {_listing(_brief(one) for one in brought.values())}."
    lines = item.text.strip().splitlines()
    if not lines:
        return f"{_returned(item)} nothing."
    if len(lines) == 1 and len(lines[0]) <= 80 and "`" not in lines[0]:
        return f"{_returned(item)} `{lines[0]}`."
    return ""


def _by(item: Said) -> str:
    return f"`{item.name}`" if item.name else "The tool"


def _returned(item: Said) -> str:
    return f"{_by(item)} {'failed with' if item.is_error else 'returned'}"


def _beginning(item: Said) -> str:
    lines = item.text.strip().splitlines()
    first = _shortened(lines[0].replace("`", "´"), 60)
    size = f" {len(lines)} lines, the first" if len(lines) > 1 else ""
    return f"{_returned(item)}{size} `{first}`."


def _quoted(item: Said) -> str:
    lines = item.text.strip().splitlines()
    shown = "\n".join(_shortened(line, 240) for line in lines[:4])
    more = f"\n… {len(lines) - 4} more lines" if len(lines) > 4 else ""
    fence = "```" if "```" not in shown else "~~~~"
    return f"{_returned(item)}:\n\n{fence}\n{shown}{more}\n{fence}"


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


def _cut(ask: Ask, thought: Sequence[str], text: str, calls: Sequence[Wanted]) -> Answer:
    """Stop at the first stop sequence, then at the limit of tokens. A call that does not fit whole is left out."""
    limit = ask.max_tokens if ask.max_tokens is not None else ask.model.max_output
    if len(thought) > limit:
        return Answer(thinking=tuple(thought[:limit]), stop="max_tokens")
    said = _cut_text(ask, text, calls, limit - len(thought))
    return replace(said, thinking=tuple(thought))


def _cut_text(ask: Ask, text: str, calls: Sequence[Wanted], limit: int) -> Answer:
    kept, sequence = _stop(text, ask.stops)
    family = ask.model.tokenizer
    tokens = pieces(kept, family)
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
