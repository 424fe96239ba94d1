"""Spell a Gemini reply in its fields, whole or in chunks. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from agentnb.models.catalog import Model
from agentnb.simulator.google.prompt import thought_seal
from agentnb.simulator.http_messages import WireMapping, WireObject
from agentnb.simulator.model.dialogue import CALL_OVERHEAD, Spoken


@dataclass(frozen=True, kw_only=True)
class ReplyShape:
    """Holds one reply and what is needed to spell it. `body` is the request's."""

    row: Model
    said: Spoken
    usage: WireMapping
    response_id: str
    body: Any

    @property
    def _shows_thoughts(self) -> bool:
        config = (self.body or {}).get("generationConfig") or {}
        return bool((config.get("thinkingConfig") or {}).get("includeThoughts"))

    @property
    def _finish(self) -> str:
        return {"max_tokens": "MAX_TOKENS", "refusal": "SAFETY"}.get(self.said.stop, "STOP")

    def whole(self) -> WireObject:
        """Return the reply to generateContent."""
        parts = [*self._thoughts(), *([{"text": self.said.text}] if self.said.pieces else []), *self._calls()]
        signed = [*parts[:-1], {**parts[-1], **self._signature()}] if parts and not self.said.calls else parts
        return self._reply(signed, self.usage, self._finish)

    def chunks(self) -> Iterator[tuple[WireObject, int]]:
        """Yield (chunk, output tokens to wait before it). Usage is cumulative; the last chunk's counts."""
        owed = -1  # the first token of all comes with the time to first token; the last chunk makes up for it
        for chunk, tokens in self._made():
            owed += tokens
            wait = max(0, owed)
            owed -= wait
            yield chunk, wait
        signed = {} if self.said.calls else self._signature()
        yield self._reply([{"text": "", **signed}], self.usage, self._finish), owed + 1

    def _made(self) -> Iterator[tuple[WireObject, int]]:
        """Yield (chunk, the output tokens made for it). Thinking takes its time whether it is shown or not."""
        unseen = len(self.said.thinking)
        for part in self._thoughts():
            yield self._reply([part], self._so_far(0), None), unseen
            unseen = 0
        sent = 0
        for group in _groups(self.said.pieces):
            sent += len(group)
            yield self._reply([{"text": "".join(group)}], self._so_far(sent), None), unseen + len(group)
            unseen = 0
        for call, cut in zip(self._calls(), self.said.call_pieces, strict=True):
            sent += len(cut) + CALL_OVERHEAD
            yield self._reply([call], self._so_far(sent), None), len(cut) + CALL_OVERHEAD
        if unseen:
            yield self._reply([{"text": ""}], self._so_far(0), None), unseen

    def _so_far(self, candidates: int) -> WireObject:
        used = {**self.usage, "candidatesTokenCount": candidates}
        used["totalTokenCount"] = used["promptTokenCount"] + candidates + used.get("thoughtsTokenCount", 0)
        return used

    def _thoughts(self) -> list[WireObject]:
        thought = "".join(self.said.thinking)
        return [{"text": thought, "thought": True}] if thought and self._shows_thoughts else []

    def _calls(self) -> list[WireObject]:
        """Return the calls; the first of them carries the signature, which has to come back with it."""
        out: list[WireObject] = []
        for i, call in enumerate(self.said.calls):
            call_id = {"id": _short(f"{self.response_id}:{i}")} if self.row.name.startswith("gemini-3") else {}
            found = {"functionCall": {"name": call.name, "args": dict(call.arguments), **call_id}}
            out.append({**found, **(self._signature() if i == 0 else {})})
        return out

    def _signature(self) -> dict[str, str]:
        if not self.said.thinking:
            return {}
        digest = hashlib.sha256(("".join(self.said.thinking) + self.response_id).encode("utf-8", "replace")).digest()
        return {"thoughtSignature": thought_seal(0 if self.row.drops_thoughts else len(self.said.thinking), digest)}

    def _reply(self, parts: list[WireObject], usage: WireMapping, finish: str | None) -> WireObject:
        called = {"finishMessage": "Model generated function call(s)."} if finish and self.said.calls else {}
        candidate = {
            "content": {"parts": parts, "role": "model"},
            **({"finishReason": finish} if finish else {}),
            **called,
            "index": 0,
        }
        return {
            "candidates": [candidate],
            "usageMetadata": usage,
            "modelVersion": self.row.name,
            "responseId": self.response_id,
        }


def usage_of(total: int, cached: int, said: Spoken) -> WireObject:
    """Return usageMetadata: the prompt count includes what was cached, the candidates' excludes thoughts."""
    thoughts = len(said.thinking)
    return {
        "promptTokenCount": total,
        "candidatesTokenCount": said.tokens - thoughts,
        "totalTokenCount": total + said.tokens,
        **({"cachedContentTokenCount": cached, "cacheTokensDetails": details(cached)} if cached else {}),
        "promptTokensDetails": details(total),
        **({"thoughtsTokenCount": thoughts} if thoughts else {}),
        "serviceTier": "standard",
    }


def details(tokens: int) -> list[WireObject]:
    """Return the tokens by modality: all text."""
    return [{"modality": "TEXT", "tokenCount": tokens}]


def _groups(tokens: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Gemini streams in large pieces: here of 16 tokens."""
    return (tokens[i : i + 16] for i in range(0, len(tokens), 16))


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def sse(value: object) -> bytes:
    """Return one event, with the line ends that Google sends."""
    return f"data: {json.dumps(value, ensure_ascii=False)}\r\n\r\n".encode("utf-8", "replace")
