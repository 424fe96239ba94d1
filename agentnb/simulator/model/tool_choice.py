"""Which tools the question asks for, and with which arguments. Pure; one round per clause, so it never loops."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentnb.simulator.model.dialogue import Ask, Offer, Wanted
from agentnb.simulator.model.prompt_parser import Held, Turn, outline

_VERBS = {
    "inspect": r"inspect|look at|look up|look into|show me|show the definition|definition of|source of",
    "run_code": r"run|execute|compute|evaluate|calculate",
}
_FENCE = re.compile(r"```[\w+-]*\n(.*?)```", re.DOTALL)
_SPAN = re.compile(r"`([^`\n]+)`|\"([^\"\n]+)\"|“([^”\n]+)”")
_MARK = re.compile(r"(?<![\w@])@([A-Za-z_][\w.]*\w)")
_DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")
_CODE_LIKE = re.compile(r"\b(?:[A-Za-z]\w*_\w+|[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+)\b(?!\()")
_FILE_ENDS = (".py", ".ipynb", ".csv", ".md", ".txt", ".json")
_CODE_PROPERTIES = ("code", "source", "expression", "program", "script")


@dataclass(frozen=True, kw_only=True)
class _Clause:
    """The part of the question that asks for one tool, and the whole clause it stands in."""

    offer: Offer
    text: str
    whole: str


def wanted(ask: Ask, open_turn: Turn, held: Mapping[str, Held]) -> list[Wanted]:
    """The calls to make now; empty where the question asks for none, or has had its rounds."""
    if not ask.offers or ask.choice == "none":
        return []
    calls = _asked(ask.offers, open_turn, held) if ask.choice == "auto" else _forced(ask, open_turn, held)
    return calls if ask.parallel else calls[:1]


def _asked(offers: Sequence[Offer], open_turn: Turn, held: Mapping[str, Held]) -> list[Wanted]:
    """The first clause that still wants a call. Clauses part at `then`; there are no more rounds than clauses."""
    clauses = re.split(r"\bthen\b", open_turn.question, flags=re.IGNORECASE)
    asking = [parts for clause in clauses if (parts := _segments(clause, offers))]
    if open_turn.rounds >= len(asking):
        return []
    made = [(call.name, dict(call.arguments)) for call in open_turn.calls]
    for parts in asking:
        calls = [call for part in parts for call in _calls(part, held)]
        if left := [call for call in calls if (call.name, dict(call.arguments)) not in made]:
            return left
    return []


def _forced(ask: Ask, open_turn: Turn, held: Mapping[str, Held]) -> list[Wanted]:
    offers = [offer for offer in ask.offers if ask.choice in ("any", offer.name)]
    asked = [call for call in _asked(ask.offers, open_turn, held) if ask.choice in ("any", call.name)]
    if asked or not offers:
        return asked
    return [Wanted(name=offers[0].name, arguments=_fill(offers[0], open_turn.question, open_turn.question))]


def _segments(clause: str, offers: Sequence[Offer]) -> list[_Clause]:
    """Cut the clause where each tool's verb begins: what follows it, up to the next verb, is its own."""
    prose = _without_code(clause)
    starts = sorted(
        (match.start(), i) for i, offer in enumerate(offers) if (match := _pattern(offer).search(prose)) is not None
    )
    ends = [*(start for start, _ in starts[1:]), len(clause)][: len(starts)]
    return [
        _Clause(offer=offers[i], text=clause[start:end], whole=clause)
        for (start, i), end in zip(starts, ends, strict=True)
    ]


def _without_code(text: str) -> str:
    """Code blanked out at equal length: a verb inside it asks for nothing. A tool's own name may stand in backticks."""
    blank = _FENCE.sub(lambda match: " " * len(match.group()), text)
    return _SPAN.sub(
        lambda match: match.group() if _DOTTED.fullmatch(_content(match)) else " " * len(match.group()), blank
    )


def _pattern(offer: Offer) -> re.Pattern[str]:
    spaced = re.escape(offer.name).replace("_", "[_ ]")
    verbs = _VERBS.get(offer.name)
    names = rf"\b{spaced}\b" if verbs is None else rf"\b{spaced}\b|(?<![`.\w])(?:{verbs})\b(?![`_])"
    return re.compile(names, re.IGNORECASE)


def _calls(part: _Clause, held: Mapping[str, Held]) -> list[Wanted]:
    offer = part.offer
    if offer.name == "inspect":
        names = _names(part.text) or _names(part.whole)
        absent = [name for name in names if not (found := find(name, held)) or not held[found].full]
        key = _first_string(offer)
        return [
            Wanted(name=offer.name, arguments=_fill(offer, name, part.whole) | {key: name}) for name in absent if key
        ]
    if set(_properties(offer)) & set(_CODE_PROPERTIES):
        return _code_calls(part, held)
    return [Wanted(name=offer.name, arguments=_fill(offer, part.text, part.whole))]


def _code_calls(part: _Clause, held: Mapping[str, Held]) -> list[Wanted]:
    key = next(name for name in _CODE_PROPERTIES if name in _properties(part.offer))
    code = _code(part.text, part.offer, held) or _code(part.whole, part.offer, held)
    return [Wanted(name=part.offer.name, arguments=_fill(part.offer, code, part.whole) | {key: code})] if code else []


def _code(text: str, offer: Offer, held: Mapping[str, Held]) -> str:
    """Fenced code, else the backticked or quoted spans a line each; a name that needs no argument is called."""
    fenced = [code.strip("\n") for code in _FENCE.findall(text)]
    if fenced:
        return "\n".join(fenced)
    spans = [span for span in _spans(text) if span != offer.name]
    expressions = [span for span in spans if not _DOTTED.fullmatch(span)]
    return "\n".join(expressions or [_called(span, held) for span in spans])


def _called(name: str, held: Mapping[str, Held]) -> str:
    found = find(name, held)
    seen = outline(held[found].source) if found else None
    return f"{name}()" if seen is not None and seen.kind == "function" and not seen.required else name


def _names(text: str) -> list[str]:
    """Dotted names in backticks, quotes or after @; where there are none, words that only code would spell so."""
    known_verbs = {"inspect", "run_code"}
    names = [name for name in identifiers(text) if name not in known_verbs]
    loose = [match for match in _CODE_LIKE.findall(text) if match not in known_verbs and not match.endswith(_FILE_ENDS)]
    return list(dict.fromkeys(names or loose or _plain_object(text)))


def _plain_object(text: str) -> list[str]:
    """`inspect omega and phase`: the bare words right after the verb."""
    match = re.match(r"\s*inspect\s+((?:[A-Za-z_]\w*)(?:\s*(?:,|and)\s*[A-Za-z_]\w*)*)", text, re.IGNORECASE)
    words = re.split(r"\s*,\s*|\s+and\s+", match.group(1)) if match else []
    return [word for word in words if word.lower() not in _ARTICLES]


_ARTICLES = {"the", "a", "an", "it", "this", "that", "these", "them", "and", "my", "all", "how", "what", "why", "each"}


def identifiers(text: str) -> list[str]:
    """Dotted names that the text marks: in backticks, in quotes, or by @; `f(x)` marks f."""
    bare = _FENCE.sub("", text)
    spans = [re.sub(r"\(.*\)$", "", span) for span in _spans(bare)]
    marked = [*(span for span in spans if _DOTTED.fullmatch(span)), *_MARK.findall(bare)]
    return list(dict.fromkeys(name for name in marked if not name.endswith(_FILE_ENDS)))


def named(question: str, held: Mapping[str, Held]) -> list[str]:
    """The held definitions that the question names, in its order.

    Marked names and code count first; where nothing is marked, so does any word that is the name of a definition.
    """
    spans = [*_spans(question), *_FENCE.findall(question), *_MARK.findall(question)]
    marked = [word for span in spans for word in _DOTTED.findall(span)]
    words = marked or _DOTTED.findall(question)
    loose = [word for word in _CODE_LIKE.findall(question) if word not in words]
    return list(dict.fromkeys(found for word in [*words, *loose] if (found := find(word, held))))


def find(name: str, held: Mapping[str, Held]) -> str:
    """The full name of the held definition that `name` means, or an empty string; the newest where several do.

    `networkx.density` means `networkx.classes.function.density`: packages offer names where users find them.
    """
    if name in held:
        return name
    ends = [full for full in held if full.endswith(f".{name}") or name.endswith(f".{full}")]
    first, _, rest = name.partition(".")
    offered = [full for full in held if rest and full.startswith(f"{first}.") and full.endswith(f".{rest}")]
    return (ends or offered or [""])[-1]


def _spans(text: str) -> list[str]:
    return [_content(match).strip() for match in _SPAN.finditer(_FENCE.sub("", text))]


def _content(match: re.Match[str]) -> str:
    return next((group for group in match.groups() if group is not None), "")


def _properties(offer: Offer) -> Mapping[str, Any]:
    found = offer.schema.get("properties")
    return found if isinstance(found, Mapping) else {}


def _first_string(offer: Offer) -> str:
    return next((name for name, kind in _properties(offer).items() if _kind(kind) == "string"), "")


def _kind(schema: Any) -> str:
    kind = schema.get("type", "string") if isinstance(schema, Mapping) else "string"
    return str(kind[0] if isinstance(kind, list) and kind else kind)


def _fill(offer: Offer, text: str, whole: str) -> dict[str, Any]:
    """Every required argument (or the first, where none is required), from the words of the question."""
    properties = _properties(offer)
    required = offer.schema.get("required") or list(properties)[:1]
    spans = _spans(text) or _spans(whole) or [text.strip()]
    spans = [span for span in spans if span != offer.name] or [text.strip()]
    filled: dict[str, Any] = {}
    for name in required:
        kind = properties.get(name, {})
        filled[name] = _value(kind, spans, len(filled), whole)
    return filled


def _value(schema: Any, spans: Sequence[str], place: int, question: str) -> Any:
    options = schema.get("enum") if isinstance(schema, Mapping) else None
    if isinstance(options, list) and options:
        return next((option for option in options if re.search(rf"\b{re.escape(str(option))}\b", question)), options[0])
    kind = _kind(schema)
    if kind in ("integer", "number"):
        return _number(question, whole=kind == "integer", place=place)
    plain: dict[str, Any] = {"boolean": True, "object": {}, "null": None, "array": list(spans)}
    return plain[kind] if kind in plain else spans[min(place, len(spans) - 1)]


def _number(question: str, *, whole: bool, place: int) -> float:
    found = re.findall(r"-?\d+" if whole else r"-?\d+(?:\.\d+)?", question) or ["1"]
    text = found[min(place, len(found) - 1)]
    return int(text) if whole else float(text)
