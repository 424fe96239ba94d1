"""Speak Gemini's generateContent wire and its cache objects. The SDK is imported here, on first send.

Source: google-genai 3.4.0 and the Gemini API docs. The pure part reads and writes the REST fields (camelCase). So
recorded traffic and the SDK's own values decode alike.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, assert_never

from agentnb import canonical
from agentnb.canonical import JsonMapping, JsonObject, storable
from agentnb.errors import (
    AccessRefused,
    AgentnbError,
    CallTimeout,
    ConnectionFailed,
    ProviderError,
    RequestRefused,
    StreamBroken,
)
from agentnb.models.catalog import ListedModel
from agentnb.models.layers import Block, Prompt
from agentnb.models.messages import (
    Content,
    Image,
    Opaque,
    Reply,
    Role,
    StopReason,
    Text,
    ToolCall,
    ToolResult,
    ToolSpec,
    Usage,
    inside,
    tokens_of,
)
from agentnb.providers.base import Mark, Wire
from agentnb.providers.calling import Calling
from agentnb.providers.reading import MISREAD, cut_off
from agentnb.providers.transport import ATTEMPTS, READ_TIMEOUT, RETRIED, SHORT_WAIT, Transport
from agentnb.providers.vendor import GOOGLE as VENDOR

NAME = "google"
DELETE_TIMEOUT = 3.0  # seconds
API_VERSION = "v1beta"  # the SDK's own default, v1, has no cache objects
_OURS = "agentnb-"  # call ids that we made because the model sent none; they are not sent back

_STOPS = {
    "STOP": StopReason.END,
    "MAX_TOKENS": StopReason.MAX_TOKENS,
    "SAFETY": StopReason.REFUSAL,
    "RECITATION": StopReason.REFUSAL,
    "LANGUAGE": StopReason.REFUSAL,
    "BLOCKLIST": StopReason.REFUSAL,
    "PROHIBITED_CONTENT": StopReason.REFUSAL,
    "SPII": StopReason.REFUSAL,
    "MODEL_ARMOR": StopReason.REFUSAL,
    "IMAGE_SAFETY": StopReason.REFUSAL,
    "ESCALATION": StopReason.REFUSAL,
    "PUP_LIMITED_DISABLED": StopReason.REFUSAL,
    "CONTINUATION": StopReason.MAX_TOKENS,
}
_UNREADABLE = {
    "MALFORMED_FUNCTION_CALL",
    "UNEXPECTED_TOOL_CALL",
    "TOO_MANY_TOOL_CALLS",
    "MALFORMED_RESPONSE",
    "MISSING_THOUGHT_SIGNATURE",
}


# --- encode: pure -----------------------------------------------------------------------------------------------


def encode(prompt: Prompt, marks: tuple[Mark, ...] = ()) -> JsonObject:
    """Return `model`, `contents` and `config`. What the cache object of a mark holds is left out and named instead."""
    held = next((mark for mark in marks if mark.holder), None)
    blocks = prompt.blocks[held.index + 1 :] if held else prompt.blocks
    config: JsonObject = {"maxOutputTokens": prompt.max_tokens, **_frame(blocks)}
    if (wanted := prompt.answer_format) is not None:
        config |= {"responseMimeType": "application/json", "responseJsonSchema": dict(wanted.parameters)}
    thinking: JsonObject = {"thinkingLevel": prompt.effort.upper()} if prompt.effort else {}
    if thinking or prompt.show_thinking:
        config["thinkingConfig"] = thinking | ({"includeThoughts": True} if prompt.show_thinking else {})
    if held:
        config["cachedContent"] = held.holder
    return {"model": prompt.model, "contents": _contents(blocks), "config": config}


def encode_cache(prompt: Prompt, last: int, *, seconds: int, label: str) -> JsonObject:
    """Return what to create a cache object from: every block up to and with `last`. `label` tells ours from others'."""
    blocks = prompt.blocks[: last + 1]
    config = {"ttl": f"{seconds}s", "displayName": label, **_frame(blocks)}
    contents = _contents(blocks)
    return {"model": prompt.model, "config": config | ({"contents": contents} if contents else {})}


def _frame(blocks: Sequence[Block]) -> JsonObject:
    """Return systemInstruction and tools, where there are any."""
    system = [encode_content(block.content) for block in blocks if block.role is Role.SYSTEM]
    tools = [encode_content(block.content) for block in blocks if block.role is Role.TOOLS]
    frame: JsonObject = {"systemInstruction": {"parts": system, "role": "user"}} if system else {}
    return frame | ({"tools": [{"functionDeclarations": tools}]} if tools else {})


def _contents(blocks: Sequence[Block]) -> list[JsonObject]:
    contents: list[JsonObject] = []
    pending: JsonObject = {}
    for block in blocks:
        if block.role not in (Role.USER, Role.ASSISTANT):
            continue
        part = encode_content(block.content)
        if "next" in part or not part:
            pending = dict(part.get("next", {}))  # a signature: it belongs to the part that follows
            continue
        role = "model" if block.role is Role.ASSISTANT else "user"
        if not contents or contents[-1]["role"] != role:
            contents.append({"role": role, "parts": []})
        contents[-1]["parts"].append(part | (pending if role == "model" else {}))
        pending = {}
    return contents


def encode_content(content: Content) -> JsonObject:
    """Return one part of the wire; empty for what only another provider understands."""
    match content:
        case Text(text):
            return {"text": text}
        case ToolSpec(name, description, parameters):
            return {"name": name, "description": description, "parametersJsonSchema": dict(parameters)}
        case ToolCall(call_id, name, arguments):
            return {"functionCall": {"name": name, "args": dict(arguments)} | _call_id(call_id)}
        case ToolResult(call_id, name, text, is_error):
            response = {"error" if is_error else "result": text}
            return {"functionResponse": {"name": name, "response": response} | _call_id(call_id)}
        case Opaque(provider, as_it_came):
            return dict(as_it_came) if provider == NAME and not content.is_for_people else {}
        case Image(media_type, data):
            return {"inlineData": {"mimeType": media_type, "data": data}}
        case _:
            assert_never(content)


def _call_id(call_id: str) -> dict[str, str]:
    return {} if call_id.startswith(_OURS) else {"id": call_id}


# --- decode: pure -----------------------------------------------------------------------------------------------


def decode_usage(wire: JsonMapping) -> Usage:
    """Return Gemini's usage in our words: its prompt count includes what was cached, its candidates exclude
    thoughts."""
    prompt = tokens_of(wire, "promptTokenCount") + tokens_of(wire, "toolUsePromptTokenCount")
    cached = min(tokens_of(wire, "cachedContentTokenCount"), prompt)
    thoughts = tokens_of(wire, "thoughtsTokenCount")
    return Usage(
        input=prompt - cached,
        cache_read=cached,
        output=tokens_of(wire, "candidatesTokenCount") + thoughts,
        reasoning=thoughts,
    )


def decode_response(response: JsonMapping, *, request_id: str | None = None) -> Reply:
    """Return a whole response, plain or folded from a stream. Raises StreamBroken when it never came to an end."""
    response = storable(response)
    request_id = request_id or response.get("responseId")  # no header of theirs names the request
    candidate = (response.get("candidates") or [{}])[0]
    blocked = inside(response, "promptFeedback").get("blockReason")
    finish = _finish(candidate, "SAFETY" if blocked else "", request_id)
    parts = inside(candidate, "content").get("parts") or []
    content = tuple(_all_parts(parts, response.get("responseId") or canonical.digest_of(parts)))
    called = any(isinstance(part, ToolCall) for part in content)
    # Gemini calls tools with finishReason STOP; what it does not name otherwise is an end like any other.
    stop = StopReason.TOOLS if called and finish == "STOP" else _STOPS.get(finish, StopReason.END)
    return Reply(
        content=content,
        stop=stop,
        usage=decode_usage(inside(response, "usageMetadata")),
        model=response.get("modelVersion") or "",
        message_id=response.get("responseId") or "",
        request_id=request_id,
        stop_detail=str(blocked or ("" if finish == "STOP" else finish)),
    )


def _finish(candidate: JsonMapping, blocked: str, request_id: str | None) -> str:
    """Return the reason for which the reply ended. Raises StreamBroken where it did not, or not with words of use."""
    finish = candidate.get("finishReason") or blocked
    if not finish or finish == "FINISH_REASON_UNSPECIFIED":
        raise cut_off(request_id=request_id)
    if finish in _UNREADABLE:
        raise StreamBroken(
            f"the model wrote a tool call that cannot be read ({finish})",
            about=str(candidate.get("finishMessage") or "")[:200],
            todo="Resume the run to ask again.",
            request_id=request_id,
        )
    return str(finish)


def _all_parts(parts: Sequence[JsonMapping], message: str) -> Iterator[Content]:
    for i, part in enumerate(parts):
        yield from _decode_part(part, f"{_OURS}{message}-{i}")


def _decode_part(part: JsonMapping, spare_id: str) -> Iterator[Content]:
    """Yield a part as our content; a signature stands before the text or call that it came with."""
    call = part.get("functionCall")
    text = part.get("text")
    if call is None and (text is None or part.get("thought") or (not text and part.get("thoughtSignature"))):
        yield Opaque(NAME, dict(part))
        return
    if part.get("thoughtSignature"):
        yield Opaque(NAME, {"next": {"thoughtSignature": part["thoughtSignature"]}})
    if call is not None:
        yield ToolCall(call.get("id") or spare_id, call["name"], call.get("args") or {})
    elif text:
        yield Text(text)


class GoogleDecoder:
    """Folds the chunks of a streamed reply into the response that the plain call would have given."""

    def __init__(self) -> None:
        self._response: JsonObject = {}
        self._candidate: JsonObject = {}
        self._parts: list[JsonObject] = []

    def feed(self, event: JsonMapping) -> tuple[str, str] | None:
        """Take one chunk; give (kind, delta) when it carries something to show."""
        # Each chunk's usage is cumulative and the last one's counts: overwrite, never add.
        self._response |= {name: value for name, value in event.items() if value is not None and name != "candidates"}
        shown: tuple[str, str] | None = None
        for candidate in (event.get("candidates") or [])[:1]:
            self._candidate |= {name: value for name, value in candidate.items() if value is not None}
            for part in (candidate.get("content") or {}).get("parts") or []:
                shown = _joined(shown, self._take(part))
        return shown

    def reply(self, *, request_id: str | None = None) -> Reply:
        candidate = self._candidate | {"content": {"parts": self._parts}}
        folded = {"candidates": [candidate]} if self._candidate else {}
        return decode_response(self._response | folded, request_id=request_id)

    def spent(self) -> Usage:
        """Return what the stream has reported so far."""
        return decode_usage(inside(self._response, "usageMetadata"))

    def _take(self, part: JsonMapping) -> tuple[str, str] | None:
        if "functionCall" in part:
            self._parts.append(dict(part))
            return "tool", canonical.dump(storable(part["functionCall"].get("args") or {})).decode()
        last = self._parts[-1] if self._parts else {}
        if _continues(last, part):
            last["text"] += part["text"]
        else:
            self._parts.append(dict(part))
        return ("thinking" if part.get("thought") else "text"), part.get("text") or ""


def _continues(last: JsonMapping, part: JsonMapping) -> bool:
    """Tell that text goes on in the next chunk. A part with a signature stays a part of its own, as the docs ask."""
    both = (last, part)
    return all("text" in one and "thoughtSignature" not in one for one in both) and (
        bool(last.get("thought")) == bool(part.get("thought"))
    )


def _joined(shown: tuple[str, str] | None, more: tuple[str, str] | None) -> tuple[str, str] | None:
    if shown is None or more is None or not shown[1]:
        return more or shown
    return (shown[0], shown[1] + more[1]) if more[0] == shown[0] else (more if more[1] else shown)


# --- send: the edge ---------------------------------------------------------------------------------------------


class GoogleProvider(Calling):
    """Holds a model behind google-genai: the Gemini API, or Vertex AI where `client_options` or the SDK's variables say
    so.

    `client_options` are further arguments of `genai.Client`, e.g. vertexai, project, location, credentials.
    """

    vendor = VENDOR
    lines_of_token = 1  # a chunk has two lines and many tokens
    client_options: JsonMapping = MappingProxyType({})

    @classmethod
    def place(cls, environment: Mapping[str, str]) -> str:
        if not _asks_for_vertex(environment):
            return super().place(environment)
        names = ("GOOGLE_CLOUD_PROJECT", "GOOGLE_CLOUD_LOCATION", "GOOGLE_VERTEX_BASE_URL")
        return f"{NAME}:vertex/" + "/".join(environment.get(name) or "default" for name in names)

    def encode(self, prompt: Prompt, marks: tuple[Mark, ...], *, previous_message: str | None) -> Wire:
        bound = any(mark.holder for mark in marks)
        bare = Wire(body=encode(prompt), marks=tuple(mark for mark in marks if not mark.holder))
        return Wire(body=encode(prompt, marks), marks=marks, fallback=bare) if bound else bare

    def decoder(self, wire: Wire | None = None) -> GoogleDecoder:
        return GoogleDecoder()

    # --- cache objects --------------------------------------------------------------------------------------------

    def create_cache(self, body: JsonMapping) -> JsonObject:
        """Create the object that `encode_cache` describes; gives its `name`, `expireTime`, tokens and so on."""
        from google.genai import types

        settings, large = _parted(body["config"])
        config = types.CreateCachedContentConfig.model_validate_json(canonical.dump(settings))
        config.http_options = types.HttpOptions(extra_body=large)  # the very JSON that a call sends
        return dict(self._managed(lambda client: client.caches.create(model=body["model"], config=config)))

    def make_object(self, prompt: Prompt, last: int, *, seconds: int, label: str) -> JsonObject:
        """Return a cache object that holds every block up to and with `last`."""
        return self.create_cache(encode_cache(prompt, last, seconds=seconds, label=label))

    def extend_cache(self, name: str, *, seconds: int) -> JsonObject:
        """Let it live for so many seconds from now."""
        return dict(self._managed(lambda client: client.caches.update(name=name, config={"ttl": f"{seconds}s"})))

    def delete_cache(self, name: str) -> None:
        """Delete it in one attempt of a few seconds: it is asked for at the end, too, when nobody waits."""
        once = {"http_options": {"timeout": int(DELETE_TIMEOUT * 1000), "retry_options": {"attempts": 1}}}
        self._managed(lambda client: client.caches.delete(name=name, config=once), attempts=1)

    def list_caches(self) -> list[JsonObject]:
        """Return every cache object that the key can see."""
        found = self._managed(lambda client: list(client.caches.list()))
        return [_plain(one) for one in found]

    def _managed(self, act: Any, *, attempts: int = ATTEMPTS) -> Any:
        """Make one call about cache objects, its errors ours."""
        client = self._begin()
        self._require_transport().begin(longest_wait=SHORT_WAIT)
        self._require_transport().expect_attempts(attempts)
        with self._errors_are_ours():
            result = act(client)
        return result if isinstance(result, list) else _plain(result)

    def _listed(self, client: Any) -> Iterator[ListedModel]:
        for info in client.models.list():
            if "generateContent" in (info.supported_actions or ()):
                yield ListedModel(
                    name=(info.name or "").rpartition("/")[2],
                    window=info.input_token_limit or 0,
                    max_output=info.output_token_limit or 0,
                )

    # --- what Calling asks for ------------------------------------------------------------------------------------

    def _open(self, transport: Transport) -> Any:
        try:
            from google import genai
            from google.genai import types
        except ImportError as error:
            raise VENDOR.missing_package("pip install google-genai") from error

        transport.mends = without_halves
        options = types.HttpOptions(
            base_url=self._base_url,
            api_version=None if self._on_vertex() else API_VERSION,
            httpx_client=transport.client,
            # For clients that are never asked the SDK (3.4.0) would read all certificates twice more: 40 ms.
            client_args={"verify": transport.certificates},
            async_client_args={"verify": transport.certificates, "ssl": transport.certificates},
            timeout=int(READ_TIMEOUT * 1000),  # the SDK counts in milliseconds
            # The SDK knows of no wait that is asked for, and its own cannot be interrupted: the transport waits.
            retry_options=types.HttpRetryOptions(
                attempts=ATTEMPTS, initial_delay=0.001, jitter=0.0, http_status_codes=list(RETRIED)
            ),
        )
        try:
            # The simulator is asked as the Gemini API, whatever the SDK's variables say.
            # Said outright: by its own variable alone, the SDK (3.4.0) goes to Vertex AI and forgets its base URL.
            given = {"vertexai": self._on_vertex()} | dict(self.client_options)
            return genai.Client(api_key=self._key, http_options=options, **given)
        except ValueError as error:
            raise VENDOR.missing_key() from error

    def _surely_without_key(self) -> bool:
        return not self.client_options and super()._surely_without_key()

    def _on_vertex(self) -> bool:
        by_variable = not self.simulated and _asks_for_vertex(os.environ)
        return bool(self.client_options.get("enterprise", self.client_options.get("vertexai", by_variable)))

    def _stream(self, client: Any, wire: Wire) -> Iterator[JsonMapping]:
        try:
            for chunk in client.models.generate_content_stream(**_request(wire.body)):
                yield _plain(chunk)
        except MISREAD:  # the SDK gives nothing of a chunk where it cannot read one field
            if use := _use_in(self._require_transport().tail):
                yield {"usageMetadata": use}
            raise

    def _whole(self, client: Any, wire: Wire) -> JsonMapping:
        return _plain(client.models.generate_content(**_request(wire.body)))

    def decode(self, wire: Wire, whole: JsonMapping, *, request_id: str | None) -> Reply:
        return decode_response(whole, request_id=request_id)

    def used(self, wire: Wire, whole: JsonMapping) -> Usage:
        return decode_usage(inside(whole, "usageMetadata"))

    def marks_of_reply(self, wire: Wire) -> tuple[str, ...]:
        return "candidates", "promptFeedback", "usageMetadata"

    def _sdk_errors(self) -> tuple[type[Exception], ...]:
        import httpx2
        from google.genai import errors

        return (errors.APIError, httpx2.HTTPError, httpx2.StreamError, ValueError)

    def _translate(self, error: Exception) -> Exception:
        return translate(error)

    def _falls_back(self, wire: Wire, error: ProviderError) -> bool:
        """Tell whether the request is to be sent whole: its cache object is gone, which is a 403 or 404."""
        return "cachedContent" in wire.body["config"] and error.status in (403, 404)


def _asks_for_vertex(environment: Mapping[str, str]) -> bool:
    """Read the variables as the SDK does: where both are set, the newer one counts."""
    newer = environment.get("GOOGLE_GENAI_USE_ENTERPRISE")
    asked = environment.get("GOOGLE_GENAI_USE_VERTEXAI", "") if newer is None else newer
    return asked.lower() in ("1", "true")


def _request(body: JsonMapping) -> JsonObject:
    """Return the body as arguments of the SDK. What grows goes as `extra_body`, which it sends as it is.

    In arguments each part is made a typed value, which is then taken apart again. That is nine tenths of a call's CPU
    time at 40 turns.
    """
    from google.genai import types

    settings, large = _parted(body["config"])
    config = types.GenerateContentConfig.model_validate_json(canonical.dump(settings))
    config.automatic_function_calling = types.AutomaticFunctionCallingConfig(disable=True)
    config.http_options = types.HttpOptions(extra_body={"contents": body["contents"]} | large)
    return {"model": body["model"], "contents": "replaced by extra_body", "config": config}


def _parted(config: JsonMapping) -> tuple[JsonObject, JsonObject]:
    """Return what the SDK makes values of, and what it sends as it is."""
    large = {name: value for name, value in config.items() if name in _AS_IT_IS}
    return {name: value for name, value in config.items() if name not in _AS_IT_IS}, large


_AS_IT_IS = ("systemInstruction", "tools", "contents")


def _plain(value: Any) -> JsonObject:
    """Return an SDK value as the REST fields it came from."""
    out: JsonObject = value.model_dump(mode="json", by_alias=True, exclude_none=True, warnings=False)
    out.pop("sdkHttpResponse", None)
    return out


def without_halves(data: bytes) -> bytes:
    """Return lines of JSON without halves of characters, which the SDK cannot read in its typed fields.

    U+FFFD stands for one. A signature or a picture that has one is none. Text is left: the other half may come next.
    """
    return _MENDED.sub(_whole, data) if b"\\ud" in data or b"\\uD" in data else data


_STRING = rb'"(?:[^"\\]++|\\.)*+"'
_HALF = rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
_PAIR = rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_MENDED = re.compile(
    rb'(?P<text>"text"\s*+:\s*+' + _STRING + rb')|"thoughtSignature"\s*+:\s*+(?P<signature>' + _STRING + rb")|"
    rb'(?P<picture>"inlineData"\s*+:\s*+\{(?:[^{}"]++|' + _STRING + rb")*+\})|"
    rb"(?P<pair>" + _PAIR + rb")|(?P<half>" + _HALF + rb")|\\."
)
_HAS_HALF = re.compile(rb"(?<!\\)(?:\\\\)*+" + _HALF)


def _whole(match: re.Match[bytes]) -> bytes:
    found = match.group()
    if match.lastgroup == "half":
        return b"\\ufffd"
    if match.lastgroup in ("signature", "picture") and _HAS_HALF.search(found):
        return b'"text":""' if match.lastgroup == "picture" else b'"thoughtSignature":""'
    return found


def _use_in(tail: bytes) -> JsonObject:
    """Return the last `usageMetadata` in the end of a stream; empty where there is none."""
    text = tail.decode("utf-8", "replace")
    for found in reversed(list(_USE.finditer(text))):
        with contextlib.suppress(ValueError, RecursionError):
            use: JsonObject = json.JSONDecoder().raw_decode(text, found.end())[0]
            return use
    return {}


_USE = re.compile(r'(?<!\\)"usageMetadata"\s*:\s*(?=\{)')


def translate(error: Exception) -> AgentnbError:
    """Return the one place where the SDK's errors become ours."""
    import httpx2
    from google.genai import errors

    if isinstance(error, errors.APIError):
        return _translate_status(error)
    if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
        return ConnectionFailed(
            "Google could not be reached", about=str(error)[:200], todo=f"Check the network and {VENDOR.address}."
        )
    if isinstance(error, httpx2.TimeoutException):
        return CallTimeout("Google did not answer in time", todo="Resume the run to ask again.")
    if isinstance(error, ValueError) and "validation error" in str(error):
        return RequestRefused("the request cannot be written for Google", about=str(error)[:300])
    return StreamBroken("the reply broke off or could not be read", about=str(error)[:200], todo="Resume the run.")


def _translate_status(error: Any) -> ProviderError:
    status, message = error.code or 500, error.message or str(error)
    if status == 400 and "api key" in message.lower():
        return AccessRefused(f"Google answered 400: {message}"[:600], todo=f"Check {VENDOR.keys[0]}.", status=400)
    return VENDOR.refusal(int(status), message)
