"""Find the first thing that kept a call from reading what the call before it sent, with its text. Pure.

Compared are two judged calls. What differs first in render order is the cause: a block, or a setting that spoils all
after it. Where nothing differs, it is the minimum, a mark, the lookback, the time, or the provider.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence

from agentnb.explain.judge import JudgedCall
from agentnb.providers.promptcache import TTL_SECONDS, changed_line, span
from agentnb.simulator.promptcache_rules import PromptPiece

_SHOWN = 80  # letters that are shown of a block


def shared_pieces(before: JudgedCall, now: JudgedCall) -> int:
    """Return how many leading blocks both calls sent."""
    pairs = zip(before.judged.pieces, now.judged.pieces, strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: _same(*pair), pairs))


def _same(one: PromptPiece, other: PromptPiece) -> bool:
    return (one.section, one.data) == (other.section, other.data)


def cause_of(before: JudgedCall, now: JudgedCall) -> str:
    """Return why this call did not read all that the call before it sent."""
    old, new = before.judged, now.judged
    if old.row.name != new.row.name:
        return f"the model changed from {old.row.name} to {new.row.name}: each has a prompt cache of its own"
    if old.scope[0].partition(":")[0] != new.scope[0].partition(":")[0]:
        return "another key sent this call: prompt caches are kept apart by account"
    same = shared_pieces(before, now)
    setting, at = _changed_setting(before, now)
    if setting and at <= same:
        return setting
    if same < len(old.pieces):
        return _changed_block(old.pieces, new.pieces, same)
    return _unchanged(before, now, same)


# --- what changed ------------------------------------------------------------------------------------------------


def _changed_setting(before: JudgedCall, now: JudgedCall) -> tuple[str, int]:
    """Return the first setting that changed, in words, and the first block that it spoils."""
    for section, named in now.judged.settings.items():
        then = before.judged.settings.get(section, {})
        changed = [name for name, value in named.items() if then.get(name) != value]
        if changed:
            starts = (i for i, piece in enumerate(now.judged.pieces) if piece.section == section)
            return _setting(changed[0], then.get(changed[0]), named[changed[0]], section), next(starts, 0)
    return "", 0


def _setting(name: str, old: object, new: object, section: str) -> str:
    if name == "pictures":
        return f"a picture {'came into' if new else 'left'} the conversation: its messages are processed anew"
    spoiled = {"messages": "the messages", "system": "system and messages"}.get(section, "the whole prompt")
    return f"{name} changed from {_json(old)} to {_json(new)}, which spoils {spoiled}"


def _changed_block(old: Sequence[PromptPiece], new: Sequence[PromptPiece], at: int) -> str:
    """Return which block differs first, how, and with which text."""
    before, after = old[at], new[at] if at < len(new) else None
    where = name_of(old, at)
    if tools := _moved_tools(old, new):
        return f"{tools}; the first that differs is {where}"
    if after is None or after.section != before.section:
        return f"{where} is gone: {_cut(before)}"
    if gone := _found(after, old[at + 1 :]):
        return f"{gone} block{'s' * (gone > 1)} gone from {where} on: {_cut(before)}"
    if came := _found(before, new[at + 1 :]):
        return f"{came} block{'s' * (came > 1)} new before {where}: {_cut(after)}"
    return f"{where} changed{_difference(before, after)}"


def _moved_tools(old: Sequence[PromptPiece], new: Sequence[PromptPiece]) -> str:
    then, now = _tools(old), _tools(new)
    if [*then] == [*now] or not then or not now:
        return ""
    if sorted(then) == sorted(now):
        at = next(i for i, (a, b) in enumerate(zip(then, now, strict=True)) if a != b)
        return f"the tools stand in another order: {now[at]} is where {then[at]} was"
    came, went = [n for n in now if n not in then], [n for n in then if n not in now]
    return "the tools changed: " + "; ".join(
        [f"{', '.join(went)} gone"] * bool(went) + [f"{', '.join(came)} new"] * bool(came)
    )


def _tools(pieces: Sequence[PromptPiece]) -> list[str]:
    return [_tool_name(piece) for piece in pieces if piece.section == "tools"]


def _tool_name(piece: PromptPiece) -> str:
    value = _value(piece)
    return str(value.get("name") or value.get("type") or "tool") if isinstance(value, Mapping) else "tool"


def _found(piece: PromptPiece, others: Sequence[PromptPiece]) -> int:
    """Return how far on the same block stands, counted from one; 0 where it does not."""
    return next((i for i, other in enumerate(others, start=1) if _same(piece, other)), 0)


def _difference(before: PromptPiece, after: PromptPiece) -> str:
    old, new = _value(before), _value(after)
    if old == new and not isinstance(old, str):
        return f": only the order of keys in its JSON{changed_line(text_of(before), text_of(after))}"
    kinds = _picture(before), _picture(after)
    if all(kinds):
        return f": a picture with other bytes, {kinds[0]} then and {kinds[1]} now; encode it once and keep the bytes"
    told = changed_line(text_of(before), text_of(after))
    blank = text_of(before).split() == text_of(after).split()
    return f": only white space{told}" if blank else told


# --- what did not ------------------------------------------------------------------------------------------------


def _unchanged(before: JudgedCall, now: JudgedCall, same: int) -> str:
    """Return why a call missed though it begins with all that the call before it sent."""
    rules, tokens = now.judged.row.cache, now.tokens_to(same)
    if tokens < rules.minimum:
        return f"below the minimum: ≈ {tokens:,} of {rules.minimum:,} tokens, so nothing was cached"
    if rules.breakpoints and rules.lookback and (why := _unmarked(before, now)):
        return why
    ttls = [ttl for _, _, ttl in before.judged.writes] or [piece.ttl for piece in before.judged.pieces if piece.ttl]
    ttl = max((TTL_SECONDS[ttl] for ttl in ttls if ttl), default=TTL_SECONDS[rules.ttls[0]] if rules.ttls else 300.0)
    pause = now.judged.at - before.judged.at
    if pause >= ttl:
        return f"expired: {span(pause)} since the call before it, where what is cached lasts {span(ttl)}"
    if not now.judged.read and now.betas != before.betas:
        return f"the beta features changed from {before.betas or 'none'} to {now.betas or 'none'}"
    if not rules.breakpoints:
        return "nothing changed: this provider promises no hit of what it caches unasked"
    return "nothing changed and the time was not over: the provider let it go"


def _unmarked(before: JudgedCall, now: JudgedCall) -> str:
    """Return what is wrong with the marks of the two calls; empty where they would do."""
    lookback = now.judged.row.cache.lookback
    written = [i for i, piece in enumerate(before.judged.pieces) if piece.ttl]
    marks = [i for i, piece in enumerate(now.judged.pieces) if piece.ttl]
    if not written:
        return "the call before it carried no cache_control, so nothing was written; mark the end of what stays"
    if not marks:
        return "this call carries no cache_control, so nothing is read; mark the end of what stays"
    end = name_of(before.judged.pieces, written[-1])
    near = [mark for mark in marks if 0 <= mark - written[-1] < lookback]
    if not near:
        at = min((mark for mark in marks if mark > written[-1]), default=None)
        if at is None:
            return f"cache_control moved: the call before it marked {end}, this one nothing from there on"
        return (
            f"too far back: the call before it marked {end}. The next mark stands {at - written[-1]} blocks later, and "
            f"a mark looks back over {lookback}"
        )
    left = before.judged.total - sum(piece.tokens for piece in before.judged.pieces[: written[-1] + 1])
    if left > before.judged.total / 20:
        return f"cache_control moved: the call before it marked nothing after {end}, so the rest was never written"
    return ""


# --- blocks as text ----------------------------------------------------------------------------------------------


def name_of(pieces: Sequence[PromptPiece], at: int) -> str:
    """Return a block's name for people: its section, its number there, and the tool or speaker."""
    piece = pieces[at]
    number = sum(other.section == piece.section for other in pieces[: at + 1])
    if piece.section == "tools":
        return f"tool {number} ({_tool_name(piece)})"
    speaker = _speaker(piece)
    return f"{'system' if piece.section == 'system' else 'message'} block {number}" + (
        f" ({speaker})" if speaker else ""
    )


def _speaker(piece: PromptPiece) -> str:
    value = _json_of(piece.data)
    if isinstance(value, list) and value:
        return str(value[0])
    head = piece.data.partition(b"\0")[0] if b"\0" in piece.data else b""
    return head.decode("utf-8", "replace").partition(":")[0] if piece.section != "system" else ""


def text_of(piece: PromptPiece) -> str:
    """Return what a block says, one line each where it is JSON."""
    value = _value(piece)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)


def _value(piece: PromptPiece) -> object:
    """Return a block's text, or its JSON where it is more than text."""
    data = piece.data.partition(b"\0")[2] if b"\0" in piece.data else piece.data
    value = _json_of(data)
    if isinstance(value, list) and len(value) == 2 and isinstance(value[1], Mapping):
        value = value[1]
    if isinstance(value, Mapping):
        return value["text"] if value.get("type") == "text" and isinstance(value.get("text"), str) else value
    return data.decode("utf-8", "replace")


def _json_of(data: bytes) -> object:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _picture(piece: PromptPiece) -> str:
    """Return what a picture is in a few words; empty where the block is none."""
    value = _value(piece)
    found = next((part for part in _parts(value) if part.get("type") == "image"), None)
    source = found.get("source") if found else None
    if isinstance(source, Mapping):
        return f"{source.get('media_type', 'a picture')} of {len(str(source.get('data', ''))):,} letters"
    head = piece.data.partition(b"\0")[0] if b"\0" in piece.data else b""
    return f"digest {head.rpartition(b':')[2][:8].decode()}" if head.count(b":") and len(head) > 60 else ""


def _parts(value: object) -> Iterator[Mapping[str, object]]:
    if isinstance(value, Mapping):
        yield value
        inner = value.get("content")
        yield from (part for part in inner if isinstance(part, Mapping)) if isinstance(inner, list) else ()


def _cut(piece: PromptPiece) -> str:
    text = " ".join(text_of(piece).split())
    return repr(text[:_SHOWN] + ("…" if len(text) > _SHOWN else ""))


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
