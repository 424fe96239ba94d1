"""Say what the request brought: a few plain sentences, one quoted line, and code where the task asks for it. Pure."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from agentnb.simulator.model import tool_choice
from agentnb.simulator.model.dialogue import CALL_OVERHEAD, Answer, Ask, Said, Wanted
from agentnb.simulator.model.prompt_parser import Cell, Conversation, head, parsed, read
from agentnb.simulator.model.written_code import write
from agentnb.simulator.tokenizer import pieces

_LISTED = 5
_NOTED = 12
_WORD = re.compile(r"[A-Za-z_]\w*")
_CELLS = re.compile(r"\b(?:cells?|In|Out)\b[ \[]*(\d{1,6})", re.IGNORECASE)


def answer(ask: Ask, *, declined: bool = False, paused: bool = False) -> Answer:
    """Return the reply to `ask`: tool calls where the question wants them, else text; cut where the request says.

    With `declined` the model says nothing and stops as a refusal does; `paused` it stops in the middle of its text.
    What an unfinished message of its own has said already it does not say again.
    """
    if declined:
        return Answer(stop="refusal")
    held = read(ask.said)
    calls = tool_choice.wanted(ask, held)
    text = _before_calls(calls) if calls else report(ask.model.label, held)
    thought = f"The question is: {_shortened(' '.join(held.question.split()), 80)} I hold {_all(held) or 'nothing'}."
    said = _cut(
        ask, pieces(thought, ask.model.tokenizer) if ask.thinks else [], text.removeprefix(_begun(ask.said)), calls
    )
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


def _before_calls(calls: Sequence[Wanted]) -> str:
    return f"First I call {_listing(dict.fromkeys(f'`{call.name}`' for call in calls))}."


def report(label: str, held: Conversation) -> str:
    """Return the answer as Markdown: that it is simulated, what the tools brought, what was given, one line of it."""
    opening = f"**Simulated reply**: {label} was not asked, and this model does not reason."
    if not held.question:
        return f"{opening} The request holds no question."
    named = _named(held)
    told = [opening, _given(held, named), *([] if held.results else [_quoted(held, named), _missing(held, named)])]
    return "\n\n".join(part for part in (" ".join(filter(None, told)), *_results(held.results), _code(held)) if part)


def _named(held: Conversation) -> list[str]:
    """What the question names: definitions by their full name, values, cells by number. Marked names come first."""
    marked = tool_choice.identifiers(held.question)
    words = [*marked, *([] if marked else _WORD.findall(held.question))]
    known = [found for word in words if (found := held.find(word) or (word if word in held.values else ""))]
    cells = [f"cell {number}" for number in _CELLS.findall(held.question) if int(number) in held.cells]
    return list(dict.fromkeys([*cells, *known]))


def _given(held: Conversation, named: Sequence[str]) -> str:
    """`I was given cells 1 to 3, the definition of `clean` and the values `df` and `x`.`"""
    given = _all(held, named)
    return f"I was given {given}." if given else "Nothing of the notebook came with the question."


def _all(held: Conversation, named: Sequence[str] = ()) -> str:
    definitions = sorted(held.definitions, key=lambda name: name not in named)
    values = sorted(held.values, key=lambda name: name not in named)
    return _listing(
        filter(
            None,
            [
                _group("cell", [_numbered(cell) for cell in [*held.cells.values()][-_LISTED:]], len(held.cells)),
                _group("definition", [_placed(held, name) for name in definitions[:_LISTED]], len(definitions)),
                _group("value", [f"`{name}`" for name in values[:_LISTED]], len(values)),
            ],
        )
    )


def _group(thing: str, shown: Sequence[str], count: int) -> str:
    more = [f"{count - len(shown)} more"] if count > len(shown) else []
    return f"the {thing}{'' if count == 1 else 's'} {_listing([*shown, *more])}" if shown else ""


def _numbered(cell: Cell) -> str:
    return f"{cell.number} with its output" if cell.output else str(cell.number)


def _placed(held: Conversation, name: str) -> str:
    found = held.definitions[name]
    return f"`{name}`{f' ({found.place})' if found.place else ''}{'' if found.full else ', its signature only'}"


def _quoted(held: Conversation, named: Sequence[str]) -> str:
    """One line of what was given, to the letter: of what the question names, else of the newest that says something."""
    for name in named:
        if name.startswith("cell "):
            return _shows(held.cells[int(name.removeprefix("cell "))])
        if name in held.values:
            return _cited("Its value now", held.values[name])
        return _defined(held, name)
    if held.failure.strip():
        return _cited("The error is", held.failure.strip().splitlines()[0])
    words = set(_WORD.findall(held.question))
    shown = [cell for cell in held.cells.values() if cell.output.strip()]
    using = [cell for cell in shown if words & set(_WORD.findall(cell.source)) - _COMMON]
    if using or shown:
        return _shows((using or shown)[-1])
    return _cited("One value is", [*held.values.values()][-1]) if held.values else ""


_COMMON = {"a", "in", "is", "for", "and", "or", "not", "if", "as", "with", "from", "import", "print", "def", "return"}


def _shows(cell: Cell) -> str:
    """The line of the cell's output that holds a figure, else the last line of its output, else of its source."""
    lines = [line.strip() for line in (cell.output.strip() or cell.source).splitlines() if line.strip()]
    figure = next((line for line in reversed(lines) if re.search(r"\d", line)), lines[-1] if lines else "")
    return _cited(f"Cell {cell.number} {'shows' if cell.output.strip() else 'ends with'}", figure)


def _defined(held: Conversation, name: str) -> str:
    node = parsed(held.definitions[name].source)
    if node is None:
        return _cited(f"`{name}` begins with", held.definitions[name].source.strip().partition("\n")[0])
    doc = next((line for line in (ast.get_docstring(node) or "").splitlines() if line.strip()), "")
    return f"{_cited('Its head is', head(node))}{f' {doc.strip()}' if doc else ''}"


def _cited(before: str, line: str) -> str:
    return f"{before} `{_shortened(line.replace('`', '´'), 120)}`." if line.strip() else ""


def _missing(held: Conversation, named: Sequence[str]) -> str:
    known = {*named, *held.values}
    marked = tool_choice.identifiers(held.question)
    absent = [name for name in marked if name not in known and not held.find(name)][:4]
    verb = "is" if len(absent) == 1 else "are"
    return f"{_listing(f'`{name}`' for name in absent)} {verb} not among it." if absent else ""


def _results(items: Sequence[Said]) -> Iterator[str]:
    """What the tools brought, a line each."""
    if items:
        more = [f"- … {len(items) - _NOTED} more"] if len(items) > _NOTED else []
        yield "\n".join([*(f"- {_in_a_line(item)}" for item in items[:_NOTED]), *more])


def _in_a_line(item: Said) -> str:
    name, brought = f"`{item.name or 'the tool'}`", read([item])
    if brought.definitions and not item.is_error:
        return f"{name} brought {_all(brought)}."
    lines = item.text.strip().splitlines() or ["nothing"]
    size = f" {len(lines)} lines, the first" if len(lines) > 1 else ""
    return _cited(f"{name} {'failed with' if item.is_error else 'returned'}{size}", lines[0])


def _code(held: Conversation) -> str:
    written = None if held.results else write(held)
    return f"Here is {written.what}:\n\n```python\n{written.code}\n```" if written else ""


def _shortened(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


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
