"""Read logs of model calls that any client left: JSON lines of bodies, HAR files, cassettes of vcrpy.

Of a call its request is needed; its reply says what was hit, its time whether a TTL was over. A reply may be whole or
an event stream. What is no call to a known wire is left out.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import email.utils
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from agentnb.canonical import JsonMapping
from agentnb.errors import InputError
from agentnb.explain.wires import LoggedCall, WireKind, wire_of

_AT = ("at", "timestamp", "time", "ts", "startedDateTime", "created_at", "recorded_at", "startTime")
_GAP = 1.0  # seconds between calls without a time
MOST_UNPACKED = 32_000_000  # bytes of a compressed body: no wire takes a larger request
MOST_BYTES = 1_000_000_000
_NOT_IN_A_NAME = re.compile(r"[^\w.:/@ -]", re.ASCII)
_FROM_PATH = re.compile(r"/models/(?P<model>[^/:]+):")


@dataclass(frozen=True, kw_only=True)
class _Exchange:
    """Holds a request and its reply: bodies as text, bytes or JSON, `at` in any shape."""

    url: str = ""
    headers: JsonMapping = field(default_factory=dict)
    asked: object = None
    replied: object = None
    reply_headers: JsonMapping = field(default_factory=dict)
    at: object = None


def read_log(path: Path) -> list[LoggedCall]:
    """Return the calls of a log, oldest first. Raises InputError where the file is no log that can be read."""
    try:
        if not path.is_file():
            raise FileNotFoundError("no file stands there")
        if path.stat().st_size > MOST_BYTES:
            raise OSError(f"it has more than {MOST_BYTES:,} bytes")
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("the log cannot be read", about=f"{path}: {error}", todo="Name a text file.") from error
    exchanges = list(_exchanges(text, path))
    calls = [call for exchange in exchanges if (call := _call(exchange)) is not None]
    if not calls:
        found = f"{path}: {len(exchanges)} entries, none of them a call to a model"
        raise InputError("the log has no call that can be judged", about=found, todo=_FORMATS)
    return _in_order(calls)


_FORMATS = (
    'Give JSON lines such as {"at": 0, "path": "/v1/messages", "request": {...}, "response": {...}}, a HAR file, or a '
    "cassette of vcrpy."
)


def _exchanges(text: str, path: Path) -> Iterator[_Exchange]:
    whole = _yaml(text, path) if path.suffix in (".yaml", ".yml") else _json(text)
    if isinstance(whole, Mapping) and isinstance(whole.get("log"), Mapping):
        yield from map(_of_har, _list(whole["log"].get("entries")))
    elif isinstance(whole, Mapping) and isinstance(whole.get("interactions"), list):
        yield from map(_of_cassette, whole["interactions"])
    elif isinstance(whole, list):
        yield from map(_of_record, whole)
    elif isinstance(whole, Mapping):
        yield _of_record(whole)
    else:
        yield from map(_of_record, _lines(text, path))


def _lines(text: str, path: Path) -> Iterator[object]:
    """Yield the JSON of each line. A last line that was cut off, without an end of its own, is left out."""
    lines = text.splitlines(keepends=True)
    for number, line in enumerate(lines, start=1):
        record = _json(line) if line.strip() else None
        if record is not None:
            yield record
        elif line.strip() and (number == 1 or number < len(lines) or line.endswith("\n")):
            raise InputError("a line of the log is no JSON", about=f"{path}, line {number}", todo=_FORMATS)


def _json(text: object) -> object:
    """Return what JSON holds, None where it is none; what is no text is given back."""
    if not isinstance(text, str | bytes):
        return text
    with contextlib.suppress(ValueError, RecursionError):
        return json.loads(text)
    return None


def _yaml(text: str, path: Path) -> object:
    try:
        import yaml
    except ImportError as error:
        todo = "Install pyyaml, or let vcrpy write JSON: VCR(serializer='json')."
        raise InputError("a cassette in YAML needs the package pyyaml", about=str(path), todo=todo) from error
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise InputError("the cassette is no YAML", about=f"{path}: {error}", todo=_FORMATS) from error


# --- the three formats -------------------------------------------------------------------------------------------


def _of_record(record: object) -> _Exchange:
    """Return one JSON line: the exchange's parts by name, or a request's body alone."""
    if not isinstance(record, Mapping):
        return _Exchange()
    asked = _json(record.get("request", record.get("body", record)))
    replied = _json_or_stream(record.get("response", record.get("reply")))
    http = asked if isinstance(asked, Mapping) and "body" in asked else {}
    answer = replied if isinstance(replied, Mapping) and "body" in replied else {}
    return _Exchange(
        url=str(_first(http, ("url", "uri", "path")) or _first(record, ("url", "uri", "path")) or ""),
        headers=_headers(http.get("headers") or record.get("headers")),
        asked=http.get("body") if http else asked,
        replied=answer.get("body") if answer else replied,
        reply_headers=_headers(answer.get("headers")),
        at=_first(record, _AT) if _first(record, _AT) is not None else _first(http, _AT),
    )


def _of_har(found: object) -> _Exchange:
    entry = _mapping(found)
    request, response = _mapping(entry.get("request")), _mapping(entry.get("response"))
    content = _mapping(response.get("content"))
    replied = content.get("text")
    if content.get("encoding") == "base64" and isinstance(replied, str):
        with contextlib.suppress(binascii.Error):
            replied = base64.b64decode(replied)
    return _Exchange(
        url=str(request.get("url") or ""),
        headers=_headers(request.get("headers")),
        asked=_mapping(request.get("postData")).get("text"),
        replied=replied,
        reply_headers=_headers(response.get("headers")),
        at=entry.get("startedDateTime"),
    )


def _of_cassette(found: object) -> _Exchange:
    interaction = _mapping(found)
    request, response = _mapping(interaction.get("request")), _mapping(interaction.get("response"))
    asked, replied = request.get("body"), response.get("body", response.get("content"))
    return _Exchange(
        url=str(request.get("uri") or ""),
        headers=_headers(request.get("headers")),
        asked=_inner(asked) if asked is not None else request.get("parsed_body"),
        replied=_inner(replied) if replied is not None else response.get("parsed_body"),
        reply_headers=_headers(response.get("headers")),
        at=interaction.get("recorded_at"),
    )


def _inner(body: object) -> object:
    """Return what a cassette wraps in `string` or `base64_string`."""
    if isinstance(body, Mapping) and isinstance(encoded := body.get("base64_string"), str | bytes):
        with contextlib.suppress(binascii.Error):
            return base64.b64decode(encoded)
    return body.get("string", body) if isinstance(body, Mapping) else body


def _headers(found: object) -> dict[str, str]:
    """Return headers by lower-case name; a HAR lists pairs, a cassette has lists of values."""
    if isinstance(found, Mapping):
        return {str(n).lower(): str(v[0] if isinstance(v, list) and v else v) for n, v in found.items()}
    pairs = map(_mapping, _list(found))
    return {str(pair.get("name")).lower(): str(pair.get("value")) for pair in pairs}


def _mapping(found: object) -> JsonMapping:
    return found if isinstance(found, Mapping) else {}


def _list(found: object) -> list[object]:
    return found if isinstance(found, list) else []


def _first(record: JsonMapping, names: Iterable[str]) -> object:
    return next((record[name] for name in names if record.get(name) is not None), None)


# --- one call ----------------------------------------------------------------------------------------------------


def _call(exchange: _Exchange) -> LoggedCall | None:
    asked = _json(_unpacked(exchange.asked))
    if not isinstance(asked, Mapping):
        return None
    path, replied = _path_of(exchange.url), _json_or_stream(_unpacked(exchange.replied))
    wire = wire_of(path, asked)
    model = _model(path, asked, replied)
    if wire is None or not model:
        return None
    at = _seconds(exchange.at)
    return LoggedCall(
        wire=wire,
        model=model,
        path=_path(wire, model),
        headers=exchange.headers,
        body=asked,
        reply=_reply(replied),
        at=at if at is not None else _seconds(exchange.reply_headers.get("date")),
    )


def _path(wire: WireKind, model: str) -> str:
    """Return the path at which the wire serves such a call."""
    plain = {WireKind.ANTHROPIC: "/v1/messages", WireKind.CHAT: "/chat/completions", WireKind.RESPONSES: "/responses"}
    return plain.get(wire, f"/v1beta/models/{model}:generateContent")


def _model(path: str, asked: JsonMapping, replied: object) -> str:
    found = _FROM_PATH.search(path)
    said = _reply(replied)
    last: JsonMapping = said[-1] if said else {}
    named = asked.get("model") or (found["model"] if found else "") or last.get("modelVersion") or last.get("model")
    return _NOT_IN_A_NAME.sub("?", str(named or "").removeprefix("models/"))[:200]


def _path_of(url: str) -> str:
    with contextlib.suppress(ValueError):
        return urlsplit(url).path
    return ""


def _unpacked(body: object) -> object:
    if not isinstance(body, bytes):
        return body
    plain = body
    with contextlib.suppress(zlib.error):
        plain = zlib.decompressobj(wbits=31).decompress(body, MOST_UNPACKED)
    return plain.decode("utf-8", "replace")


def _json_or_stream(body: object) -> object:
    """Return a reply: its JSON, or the list of the events of a stream."""
    whole = _json(body)
    if whole is not None or not isinstance(body, str):
        return whole
    lines = (line.removeprefix("data:").strip() for line in body.splitlines() if line.startswith("data:"))
    return [event for line in lines if isinstance(event := _json(line), Mapping)]


def _reply(replied: object) -> tuple[JsonMapping, ...]:
    """Return the events of a reply; a whole reply is one."""
    if isinstance(replied, Mapping):
        return (replied,)
    events = replied if isinstance(replied, Sequence) and not isinstance(replied, str) else ()
    return tuple(event for event in events if isinstance(event, Mapping))


def _seconds(at: object) -> float | None:
    """Return a time in seconds since the epoch: given in seconds, milliseconds, ISO 8601, or as HTTP writes a date."""
    if isinstance(at, int | float):
        seconds = at / 1000 if at > 1e11 else at
        return float(seconds) if 0 <= seconds < 1e11 else None
    if isinstance(at, datetime):
        return at.timestamp()
    with contextlib.suppress(TypeError, ValueError):
        return datetime.fromisoformat(str(at)).timestamp()
    with contextlib.suppress(TypeError, ValueError):
        return email.utils.parsedate_to_datetime(str(at)).timestamp()
    return None


def _in_order(calls: Sequence[LoggedCall]) -> list[LoggedCall]:
    """Return the calls by time; a call without one comes a second after the call before it in the log."""
    timed: list[LoggedCall] = []
    before = next((call.at for call in calls if call.at is not None), 0.0) - _GAP
    for call in calls:
        timed.append(call if call.at is not None else call.placed(before + _GAP))
        before = timed[-1].at or 0.0
    return sorted(timed, key=lambda call: call.at or 0.0)
