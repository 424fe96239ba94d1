"""Say what the request brought: a few plain sentences, one quoted line, and code where the task asks for it. Pure."""

from __future__ import annotations

import itertools
import json
import keyword
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from agentnb.simulator.model import tool_choice
from agentnb.simulator.model.dialogue import CALL_OVERHEAD, Ask, Said, Spoken, Wanted
from agentnb.simulator.model.prompt_parser import Cell, Conversation, failing, read
from agentnb.simulator.model.structured import value_text
from agentnb.simulator.model.written_code import write
from agentnb.simulator.tokenizer import pieces

_LISTED = 5
_NOTED = 12
_WORD = re.compile(r"[A-Za-z_]\w*")
_ABOVE = re.compile(r"\b(?:the|last|previous) (?:cell|output|result|table|plot)s?(?: above)?\b|\babove\b")
_ERROR = re.compile(r"[\w.]+(?:Error|Exception|Interrupt)\b")
_FIGURE = re.compile(r".*\d")
_CELLS = re.compile(r"\b(?:cells?|In|Out)\b[ \[]*(\d{1,6})", re.IGNORECASE)


def answer(ask: Ask, *, declined: bool = False, paused: bool = False) -> Spoken:
    """Return the reply to `ask`: tool calls where the question wants them, else text; cut where the request says.

    With `declined` the model says nothing and stops as a refusal does. `paused`: it stops in the middle of its text.
    What an unfinished message of its own has said already it does not say again.
    """
    if declined:
        return Spoken(stop="refusal")
    held = read(ask.said)
    summing = bool(ask.said) and _SUM_UP.match(ask.said[-1].text) is not None
    calls = [] if summing else tool_choice.wanted(ask, held)
    text = _summary(held) if summing else _first(calls) if calls else _final(ask, held)
    thought = f"The question is: {_shortened(' '.join(held.question.split()), 80)} I hold {_all(held) or 'nothing'}."
    thinking = pieces(thought, ask.model.tokenizer) if ask.thinks else []
    said = _cut(ask, thinking, text.removeprefix(_begun(ask.said)), calls)
    return _paused(said) if paused else said


_SUM_UP = re.compile(r"\(Not from the person: .{1,200} will be taken out of it", re.DOTALL)


def _summary(held: Conversation) -> str:
    """List the calls since the question, so that none is made again."""
    lines = [f"- called {call.name} {json.dumps(dict(call.arguments))}" for call in held.calls]
    return "\n".join(dict.fromkeys(["Simulated summary: no model has read this.", *lines]))


def _final(ask: Ask, held: Conversation) -> str:
    """Return the answer: as the request's schema has it, else in words."""
    return report(ask.model.label, held) if ask.schema is None else value_text(ask.schema, held.question)


def _begun(said: Sequence[Said]) -> str:
    """Return the text of the assistant's message that the conversation ends with."""
    texts: list[str] = []
    for item in reversed(said):
        if item.role != "assistant":
            break
        texts.append(item.text if item.kind == "text" else "")
    return "".join(reversed(texts))


def _paused(said: Spoken) -> Spoken:
    """Return the first half of the text. No message may end with a space."""
    end = max(len(said.pieces) // 2, 1)
    while end < len(said.pieces) and said.pieces[end - 1] != said.pieces[end - 1].rstrip():
        end += 1
    return replace(said, pieces=said.pieces[:end], calls=(), call_pieces=(), stop="pause")


def _first(calls: Sequence[Wanted]) -> str:
    return f"First I call {_listing(dict.fromkeys(f'`{call.name}`' for call in calls))}."


def report(label: str, held: Conversation) -> str:
    """Return the answer as Markdown: that it is simulated, what the tools brought, what was given, one line of it."""
    opening = f"**Simulated reply**: {label} was not asked, and this model does not reason."
    if not held.question:
        return f"{opening} The request holds no question."
    named, given = _named(held), _all(held, _named(held))
    told = f"I was given {given}." if given else "Nothing of the notebook came with the question."
    code = "" if held.results else _hint(held) if held.tutors else _code(held)
    looked = [] if held.results else [_quoted(held, named), "" if code else _missing(held)]
    parts = [" ".join(filter(None, [opening, told, *looked])), _results(held.results), code]
    return "\n\n".join(filter(None, parts))


def _hint(held: Conversation) -> str:
    """Return what a tutor says in the place of code: one question."""
    _, line, kind = failing(held)
    if line:
        return f"A question first: which values does {_code_span(line)} meet, and why do they end in {kind}?"
    return "A question first: what should come out for `[3, 1, 2]`, worked out by hand?"


def _named(held: Conversation) -> list[str]:
    """List the cells, definitions (by full name) and values that the question names. Marked names come first."""
    marked = tool_choice.identifiers(held.question)
    words = [*marked, *([] if marked else _WORD.findall(held.question))]
    known = [found for word in words if (found := held.find(word) or (word if word in held.values else ""))]
    cells = [f"cell {number}" for number in _CELLS.findall(held.question) if int(number) in held.cells]
    if not cells and _ABOVE.search(held.question):
        cells = [f"cell {number}" for number in [*held.cells][-1:]]
    return list(dict.fromkeys([*cells, *known]))


def _all(held: Conversation, named: Sequence[str] = ()) -> str:
    """Return `cells 1 and 2 (with output), the definition `clean` (cell 1) and the values `df` and `x``"""
    cells = [f"{cell.number}{' (with output)' if cell.output else ''}" for cell in held.cells.values()]
    places = {name: f" ({found.place})" if found.place else "" for name, found in held.definitions.items()}
    definitions = [f"`{name}`{places[name]}" for name in sorted(places, key=lambda name: name not in named)]
    values = [f"`{name}`" for name in sorted(held.values, key=lambda name: name not in named)]
    groups = {"cell": cells[-_LISTED:], "definition": definitions[:_LISTED], "value": values[:_LISTED]}
    counts = {"cell": len(cells), "definition": len(definitions), "value": len(values)}
    return _listing(_group(thing, shown, counts[thing]) for thing, shown in groups.items() if shown)


def _group(thing: str, shown: Sequence[str], count: int) -> str:
    more = [f"{count - len(shown)} more"] if count > len(shown) else []
    article = "" if thing == "cell" else "the "
    return f"{article}{thing}{'' if count == 1 else 's'} {_listing([*shown, *more])}"


def _quoted(held: Conversation, named: Sequence[str]) -> str:
    """Return one given line, to the letter: of what the question names, else of the newest that says something."""
    first = next(iter(named), "")
    if first.startswith("cell "):
        return _shows(held.cells[int(first.removeprefix("cell "))])
    if first in held.values:
        return _cited("Its value now is", held.values[first])
    if first:
        lines = held.definitions[first].source.strip().splitlines() or [first]
        end = f" It ends with {_code_span(lines[-1].strip())}." if len(lines) > 1 else ""
        return f"`{first}` begins with {_code_span(lines[0])}.{end}"
    if held.failure.strip():
        return _cited("The error is", next(line for line in held.failure.splitlines() if line.strip()))
    words = set(_WORD.findall(held.question)) - set(keyword.kwlist)
    shown = [cell for cell in held.cells.values() if cell.output.strip()]
    if shown:
        return _shows(([cell for cell in shown if words & set(_WORD.findall(cell.source))] or shown)[-1])
    return _cited("One value is", [*held.values.values()][-1]) if held.values else ""


def _shows(cell: Cell) -> str:
    """Return the output line that names an error or holds a figure; else the last line of output or source."""
    lines = [line.strip() for line in (cell.output.strip() or cell.source).splitlines() if line.strip()]
    telling = [line for pattern in (_ERROR, _FIGURE) for line in reversed(lines) if pattern.match(line)]
    figure = next(iter([*telling, *lines[-1:]]), "")
    return _cited(f"Cell {cell.number} {'shows' if cell.output.strip() else 'ends with'}", figure)


def _cited(before: str, line: str) -> str:
    return f"{before} {_code_span(line.rstrip().removesuffix('.'))}." if line.strip() else ""


def _code_span(line: str) -> str:
    return f"`{_shortened(line.replace('`', '´'), 120)}`"


def _missing(held: Conversation) -> str:
    marked = tool_choice.identifiers(held.question)
    absent = [f"`{name}`" for name in marked if name not in held.values and not held.find(name)][:4]
    return f"{_listing(absent)} {'is' if len(absent) == 1 else 'are'} not among it." if absent else ""


def _results(items: Sequence[Said]) -> str:
    """List what the tools brought, a line each; of a single result that is longer, quote the beginning."""
    if len(items) == 1 and len(lines := items[0].text.strip().splitlines()) > 1 and not read(items).definitions:
        fence = "```" if "```" not in items[0].text else "~~~~"
        more = [f"… {len(lines) - 6} more lines"] if len(lines) > 6 else []
        return "\n".join(
            [f"{_returned(items[0])}:\n", fence, *(_shortened(one, 240) for one in lines[:6]), *more, fence]
        )
    more = [f"- … {len(items) - _NOTED} more"] if len(items) > _NOTED else []
    return "\n".join([*(f"- {_in_a_line(item)}" for item in items[:_NOTED]), *more])


def _returned(item: Said) -> str:
    return f"`{item.name or 'the tool'}` {'failed with' if item.is_error else 'returned'}"


def _in_a_line(item: Said) -> str:
    brought = read([item])
    if item.name == "propose_cell" and not item.is_error:
        return "A cell is proposed below. It has not run."
    if brought.definitions and not item.is_error:
        return f"`{item.name}` brought {_all(brought)}."
    lines = item.text.strip().splitlines() or ["nothing"]
    size = f" {len(lines)} lines, the first" if len(lines) > 1 else ""
    return _cited(f"{_returned(item)}{size}", lines[0])


def _code(held: Conversation) -> str:
    written = write(held)
    return f"Here is {written.what}:\n\n```python\n{written.code}\n```" if written else ""


def _shortened(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _listing(words: Iterable[str]) -> str:
    """Return `a`, `a and b`, `a, b and c`."""
    items = list(words)
    return " and ".join(part for part in (", ".join(items[:-1]), items[-1] if items else "") if part)


def _cut(ask: Ask, thought: Sequence[str], text: str, calls: Sequence[Wanted]) -> Spoken:
    """Stop at the first stop sequence, then at the limit of tokens. A call that does not fit whole is left out."""
    limit = ask.max_tokens if ask.max_tokens is not None else ask.model.max_output
    if len(thought) > limit:
        return Spoken(thinking=tuple(thought[:limit]), stop="max_tokens")
    said = _cut_text(ask, text, calls, limit - len(thought))
    return replace(said, thinking=tuple(thought))


def _cut_text(ask: Ask, text: str, calls: Sequence[Wanted], limit: int) -> Spoken:
    kept, sequence = _stop(text, ask.stops)
    family = ask.model.tokenizer
    tokens = pieces(kept, family)
    if sequence is not None and len(tokens) <= limit:
        return Spoken(pieces=tuple(tokens), stop="stop_sequence", sequence=sequence)
    if len(tokens) > limit:
        return Spoken(pieces=tuple(tokens[:limit]), stop="max_tokens")
    call_pieces = [tuple(pieces(json.dumps(dict(call.arguments), ensure_ascii=False), family)) for call in calls]
    spent = itertools.accumulate(len(part) + CALL_OVERHEAD for part in call_pieces)
    fits = sum(1 for cost in spent if cost <= limit - len(tokens))
    return Spoken(
        pieces=tuple(tokens),
        calls=tuple(calls[:fits]),
        call_pieces=tuple(call_pieces[:fits]),
        stop="max_tokens" if fits < len(calls) else "tools" if calls else "end",
    )


def _stop(text: str, stops: Sequence[str]) -> tuple[str, str | None]:
    """Return (the text before the stop sequence that comes first, that sequence), or (text, None)."""
    found = [(at, stop) for stop in stops if stop and (at := text.find(stop)) >= 0]
    if not found:
        return text, None
    at, stop = min(found)
    return text[:at], stop
