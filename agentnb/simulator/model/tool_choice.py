"""Choose the tools that the question asks for, and their arguments. Pure; one round per clause, so it never loops.

Only tools that stand in the request are called, with what their schema asks for. The arguments come from the words of
the question and from what the conversation holds. A verb whose arguments cannot be found calls nothing; a tool's own
name does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentnb.simulator.http_messages import WireMapping, WireObject
from agentnb.simulator.model.dialogue import Ask, Offer, Wanted
from agentnb.simulator.model.prompt_parser import Conversation
from agentnb.simulator.model.written_code import write

_VERBS = {
    "inspect": r"inspect|look at|look up|look into|show me|show the definition|definition of|source of",
    "run_code": r"run|execute|compute|evaluate|calculate",
    "read_cell": r"(?:read|show|show me|look at) cells?",
    "propose_cell": r"propose|insert|write|make|define|create|implement|fix|repair|mend|correct|plot|draw|chart",
    "plan": r"make a plan|plan (?:how|to|the|this|it)",
    "ask_user": r"ask me|ask the user",
    "edit_file": r"edit|replace|change",
    "read_file": r"read|open",
    "search_code": r"search(?: for)?|grep|find (?:all|every|where)",
    "list_files": r"list (?:all |the |my )*files|which files",
    "run_tests": r"run (?:all |the |my )*tests",
    "delegate": r"delegate",
    "recall": r"recall|remember",
}
_MANY = {"inspect": "name", "read_cell": "cell", "read_file": "file", "delegate": "rest"}
"""Tools that are called once for each thing named, and the kind of that thing."""
_KINDS = {
    "code": "code source expression program script",
    "cell": "cell number cell_number execution_count",
    "replaces": "replaces",
    "file": "path file filename file_path",
    "name": "name names",
    "steps": "steps items todos",
    "why": "why reason",
    "rest": "query pattern text question task instructions topic",
}
_KIND_OF = {parameter: kind for kind, parameters in _KINDS.items() for parameter in parameters.split()}
_FENCE = re.compile(r"```[\w+-]*\n(.*?)```", re.DOTALL)
_SPAN = re.compile(r"`([^`\n]+)`|\"([^\"\n]+)\"|“([^”\n]+)”")
_MARK = re.compile(r"(?<![\w@])@([A-Za-z_][\w.]*\w)")
_DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")
_FILE = re.compile(r"[\w./-]+\.(?:py|ipynb|csv|md|txt|json|toml|yaml|yml|cfg|html)\b")
_CELL = re.compile(r"\b(?:[Cc]ells?|In|Out)\b[ \[]*((?:\d{1,6}\]?(?:\s*,\s*|\s+and\s+|\s*)?)+)")


@dataclass(frozen=True, kw_only=True)
class _Clause:
    """Holds the part of the question that asks for one tool, its `rest` without the verb, and its whole clause."""

    offer: Offer
    text: str
    rest: str
    whole: str
    by_name: bool
    forced: bool = False


def wanted(ask: Ask, held: Conversation) -> list[Wanted]:
    """Return the calls to make now; none where the question asks for none, or has had its rounds."""
    if not ask.offers or ask.choice == "none":
        return []
    calls = _asked(ask.offers, held)
    if ask.choice != "auto":
        calls = [call for call in calls if ask.choice in ("any", call.name)] or _forced(ask, held)
    return calls if ask.parallel else calls[:1]


def _asked(offers: Sequence[Offer], held: Conversation) -> list[Wanted]:
    """Return the first clause that still wants a call. Clauses part at `then`; there are no more rounds than
    clauses."""
    clauses = re.split(r"\bthen\b", held.question, flags=re.IGNORECASE)
    asking = [parts for clause in clauses if (parts := _segments(clause, offers))]
    if held.rounds >= len(asking):
        return []
    made = [(call.name, dict(call.arguments)) for call in held.calls]
    for parts in asking:
        calls = [call for part in parts for call in _calls(part, held)]
        if left := [call for call in calls if (call.name, dict(call.arguments)) not in made]:
            return left
    return []


def _forced(ask: Ask, held: Conversation) -> list[Wanted]:
    offer = next((offer for offer in ask.offers if ask.choice in ("any", offer.name)), None)
    if offer is None:
        return []
    text = held.question
    part = _Clause(offer=offer, text=text, rest=text, whole=text, by_name=True, forced=True)
    return _calls(part, held)[:1] or [Wanted(name=offer.name, arguments=_fill(part, held, {}) or {})]


def _segments(clause: str, offers: Sequence[Offer]) -> list[_Clause]:
    """Cut the clause where each tool's verb begins: what follows it, up to the next verb, is its own.

    Where two verbs begin at one place the longer one counts: `run the tests` runs no code.
    """
    prose = _without_code(clause)
    found: dict[int, tuple[int, Offer, bool]] = {}
    for offer in offers:
        match = _pattern(offer).search(prose)
        if match is not None and match.end() > found.get(match.start(), (0,))[0]:
            found[match.start()] = (match.end(), offer, match["own"] is not None)
    starts = sorted(found)
    return [
        _Clause(offer=offer, text=clause[start:end], rest=clause[after:end], whole=clause, by_name=own)
        for start, end in zip(starts, [*starts[1:], len(clause)], strict=False)
        for after, offer, own in [found[start]]
    ]


def _without_code(text: str) -> str:
    """Return the text with code blanked out at equal length: a verb inside it asks for nothing. A tool's own name may
    stand in backticks."""
    blank = _FENCE.sub(lambda match: " " * len(match.group()), text)
    return _SPAN.sub(lambda m: m.group() if _DOTTED.fullmatch(_content(m)) else " " * len(m.group()), blank)


def _pattern(offer: Offer) -> re.Pattern[str]:
    """Return the tool's own name (marked, or after `use`, where it is a plain word), or one of its verbs."""
    own, verbs = rf"\b{re.escape(offer.name).replace('_', '[_ ]')}\b", _VERBS.get(offer.name)
    if verbs and "_" not in offer.name:
        own = rf"(?:`|\b(?:use|call) ){own}"
    by_verb = rf"|(?<![`.\w])(?:{verbs})\b(?![`_])" if verbs else ""
    return re.compile(f"(?P<own>{own}){by_verb}", re.IGNORECASE)


def _calls(part: _Clause, held: Conversation) -> list[Wanted]:
    """Return the calls of one clause: one for each named thing, where the tool takes one at a time."""
    offer, kind = part.offer, _MANY.get(part.offer.name)
    key = next((name for name in _properties(offer) if kind and _KIND_OF.get(name) == kind), "")
    things = [{key: thing} for thing in _things(part, kind or "", held)] if key else [{}]
    filled = [_fill(part, held, given) for given in things]
    return [Wanted(name=offer.name, arguments=arguments) for arguments in filled if arguments is not None]


def _things(part: _Clause, kind: str, held: Conversation) -> list[Any]:
    """List what the clause names of a kind. What is held in full is not inspected again."""
    if kind == "cell":
        return _cells(part, held)
    if kind == "rest":
        return list(dict.fromkeys(_spans(part.rest))) or [part.rest.strip(" .,:;!?\n") or part.whole.strip()]
    if kind == "file":
        return list(dict.fromkeys(_FILE.findall(part.text)))
    names = _names(part.text, held) or _names(part.whole, held)
    return [name for name in names if not (found := held.find(name)) or not held.definitions[found].full]


def _fill(part: _Clause, held: Conversation, given: WireObject) -> WireObject | None:
    """Return every required argument (or the first, where none is required), or None where one cannot be found.

    Of the optional arguments those are given that the clause speaks of: which cell is replaced, and why.
    """
    properties = _properties(part.offer)
    needed = part.offer.schema.get("required") or [*properties][:1]
    extra = [name for name in properties if name not in needed and _KIND_OF.get(name) in ("why", "replaces")]
    filled: WireObject = {}
    spelled = 0
    for name in [*given, *(name for name in [*needed, *extra] if name not in given)]:
        value = given[name] if name in given else _known(name, part, held)
        if value is None and name in needed:
            if not part.forced and _KIND_OF.get(name) and (not part.by_name or _KIND_OF[name] == "code"):
                return None
            value, spelled = _spelled(part, spelled), spelled + 1
        if value is not None:
            filled[name] = _fitting(properties.get(name, {}), value, len(filled), part)
    return filled


def _known(name: str, part: _Clause, held: Conversation) -> Any:
    """Return what the clause says for a parameter of this name; None where it says nothing."""
    kind = _KIND_OF.get(name)
    if kind == "code":
        return _code(part.text, part.offer, held) or _code(part.whole, part.offer, held) or None
    if kind == "cell":
        return next(iter(_cells(part, held)), None)
    if kind == "replaces":
        written = write(held)
        return written.replaces if written else None
    if kind == "file":
        return next(iter(_FILE.findall(part.text)), None)
    if kind == "name":
        return next(iter(_names(part.text, held)), None)
    if kind == "why":
        written = write(held) if part.offer.name == "propose_cell" else None
        return f"Simulated: {written.what if written else 'the task asks for it'}."
    rest = part.rest.strip(" .,:;!?\n") or part.whole.strip()
    if kind == "steps":
        return [step.strip() for step in re.split(r"[,;\n]|\band\b", rest) if step.strip()] or None
    return (next(iter(_spans(part.rest)), rest) or None) if kind == "rest" else None


def _spelled(part: _Clause, place: int) -> str:
    """Return the marked words of the clause one after the other; without any the clause itself."""
    spans = [span for span in _spans(part.text) or _spans(part.whole) if span != part.offer.name]
    return spans[min(place, len(spans) - 1)] if spans else part.text.strip()


def _cells(part: _Clause, held: Conversation) -> list[int]:
    named = [int(number) for match in _CELL.findall(part.text) for number in re.findall(r"\d{1,6}", match)]
    above = re.search(r"\b(?:above|last|previous)\b", part.text) is not None
    return list(dict.fromkeys(named or ([*held.cells][-1:] if above else [])))


def _code(text: str, offer: Offer, held: Conversation) -> str:
    """Return code to run: fenced, else the marked spans a line each. Code to propose: what the task asks to write."""
    fenced = [code.strip("\n") for code in _FENCE.findall(text)]
    if fenced:
        return "\n".join(fenced)
    if offer.name == "propose_cell":
        written = write(held)
        return written.code if written else ""
    spans = [span for span in _spans(text) if span != offer.name]
    return "\n".join([span for span in spans if not _DOTTED.fullmatch(span)] or spans)


def _names(text: str, held: Conversation) -> list[str]:
    """Marked names; where there are none, words that are spelled like code or name a live value."""
    words = [word for word in _DOTTED.findall(text) if "." in word or "_" in word or word in held.values]
    names = identifiers(text) or [word for word in words if not _FILE.fullmatch(word)]
    return list(dict.fromkeys(name for name in names if name not in _VERBS))


def identifiers(text: str) -> list[str]:
    """Return the dotted names that the text marks: in backticks, in quotes, or by @; `f(x)` marks f."""
    spans = [re.sub(r"\(.*\)$", "", span) for span in _spans(text)]
    marked = [*(span for span in spans if _DOTTED.fullmatch(span)), *_MARK.findall(_FENCE.sub("", text))]
    return list(dict.fromkeys(name for name in marked if not _FILE.fullmatch(name)))


def _spans(text: str) -> list[str]:
    return [_content(match).strip() for match in _SPAN.finditer(_FENCE.sub("", text))]


def _content(match: re.Match[str]) -> str:
    return next((group for group in match.groups() if group is not None), "")


def _properties(offer: Offer) -> WireMapping:
    found = offer.schema.get("properties")
    return found if isinstance(found, Mapping) else {}


def _fitting(schema: Any, value: Any, place: int, part: _Clause) -> Any:
    """Return the value as the schema wants it. A value of another type is taken from the clause's words."""
    schema = schema if isinstance(schema, Mapping) else {}
    if "$ref" in schema:
        schema = part.offer.schema.get("$defs", {}).get(str(schema["$ref"]).rpartition("/")[2], {})
    options = schema.get("enum")
    if isinstance(options, list) and options:
        named = (option for option in options if re.search(rf"\b{re.escape(str(option))}\b", part.whole))
        return next(named, options[0])
    either = schema.get("anyOf") or schema.get("oneOf")
    if isinstance(either, list) and either:
        return _fitting(either[0], value, place, part)
    kinds = schema.get("type", "string")
    kind = kinds[0] if isinstance(kinds, list) and kinds else kinds
    if kind == "array" and schema.get("prefixItems"):
        return [_fitting(each, value, i, part) for i, each in enumerate(schema["prefixItems"])]
    if kind == "array":
        values = value if isinstance(value, list) else _spans(part.text) or _spans(part.whole) or [value]
        return [_fitting(schema.get("items"), one, i, part) for i, one in enumerate(values)]
    if kind == "object":
        inner, free = _properties(Offer(name="", schema=schema)), schema.get("additionalProperties")
        names = schema.get("required") or (["value"] if free else [])
        return {name: _fitting(inner.get(name, free), value, i, part) for i, name in enumerate(names)}
    if kind in ("integer", "number"):
        return value if isinstance(value, int) else _number(part.whole, whole=kind == "integer", place=place)
    return {"boolean": True, "null": None}.get(kind, value if isinstance(value, str) else str(value))


def _number(question: str, *, whole: bool, place: int) -> float:
    found = re.findall(r"-?\d{1,15}" if whole else r"-?\d{1,15}(?:\.\d{1,15})?", question) or ["1"]
    text = found[min(place, len(found) - 1)]
    return int(text) if whole else float(text)
