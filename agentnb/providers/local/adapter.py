"""Ask a model on this machine: its server is started when it is asked, and again where it has ended.

The server's Chat wire is spoken, through OpenAI's SDK. Tools are offered by a schema, see `branches.py`.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from agentnb.canonical import Clock, JsonMapping, JsonObject
from agentnb.errors import AgentnbError, ConnectionFailed, PackageMissing, ProviderError, RequestRefused, StorageDamaged
from agentnb.models.catalog import LOCAL, Model
from agentnb.models.layers import Prompt
from agentnb.models.messages import Reply, Role, inside
from agentnb.providers import openai_chat
from agentnb.providers.base import CallAnswer, Decoder, Mark, OnText, Wire
from agentnb.providers.local import branches, weights
from agentnb.providers.local.kept import KeptFiles, Sidecar, everywhere, sweep
from agentnb.providers.local.running import LocalServer, Running
from agentnb.providers.openai import CHAT, OpenAIProvider, translate
from agentnb.providers.transport import SHORT_WAIT, GaveUp, Transport
from agentnb.providers.vendor import Vendor

INSTALL = 'pip install "agentnb-jupyter[local]"'
NAME = LOCAL
BRANCHES = "branches"
"""Names the schema of `branches.py` on the wire."""


class LocalVendor(Vendor):
    """Words the silence of a server on this machine: nobody's network and nobody's key is to blame."""

    def silence(self, last: GaveUp) -> ConnectionFailed:
        return self.ended(str(last)[:200])

    def ended(self, about: str) -> ConnectionFailed:
        return ConnectionFailed(
            "the model's server on this machine does not answer",
            about=about,
            todo="Ask again: it is started anew. If it ends again, take a smaller model: python -m agentnb local list",
        )

    def missing_package(self, install: str) -> PackageMissing:
        return PackageMissing("the packages for local models are not installed", todo=f"Run: {INSTALL}")


VENDOR = LocalVendor(
    name=NAME, label="the local model", keys=("LLAMA_API_KEY",), address="", example="qwen2.5-coder-1.5b"
)


class LocalProvider(OpenAIProvider):
    """Holds a model on this machine, behind the server that all kernels of the user share."""

    vendor: ClassVar[LocalVendor] = VENDOR
    _speaks_chat_only = True

    def __init__(self, model: Model, *, clock: Clock, home: Path) -> None:
        super().__init__(model, clock=clock, scope=f"{NAME}:none")
        self._home = home
        self._server: LocalServer | None = None
        self._running: Running | None = None
        self._sent: tuple[Running | None, list[JsonObject] | None] = (None, None)
        self._known: set[tuple[Running | None, str]] = set()
        """Files whose content a server has, by that server."""

    @property
    def server(self) -> LocalServer:
        """Return the server's place, whether or not it runs. Raises WeightsMissing, InputError and ModelUnknown."""
        if self._server is None:
            self._server = LocalServer(weights.find(self.model.name, self._home), self._home, window=self.model.window)
        elif not self._server.weights.is_file() and self._server.running() is None:
            weights.find(self.model.name, self._home)  # deleted since; a server that runs has them open
        return self._server

    def is_elsewhere(self, environment: Mapping[str, str]) -> bool:
        """Take up the scope of the server that a call made now meets: another one has another prompt cache."""
        self.scope = f"{NAME}:{self.server.instance}"
        return False

    def encode(self, prompt: Prompt, marks: tuple[Mark, ...], *, previous_message: str | None) -> Wire:
        body = openai_chat.encode(branches.in_words(prompt))
        body["max_tokens"] = min(prompt.max_tokens, self.model.max_output)
        body["temperature"] = 0.0  # a small model that is to choose among branches needs no other mood
        if prompt.of_role(Role.TOOLS):
            schema = branches.schema_of(branches.offered(prompt), prompt.answer_format)
            body["response_format"] = {"type": "json_schema", "json_schema": {"name": BRANCHES, "schema": schema}}
        return Wire(body=body, marks=marks, form=CHAT)

    def decoder(self, wire: Wire | None = None) -> Decoder:
        return branches.BranchDecoder() if wire is not None and _has_branches(wire) else openai_chat.ChatDecoder()

    def decode(self, wire: Wire, whole: JsonMapping, *, request_id: str | None) -> Reply:
        reply = super().decode(wire, whole, request_id=request_id)
        return branches.read_branch(reply) if _has_branches(wire) else reply

    # --- what was read, kept in files -------------------------------------------------------------------------------

    def ask(self, wire: Wire, on_text: OnText) -> CallAnswer:
        """Let the server read the file that the call is bound to. Where that does not fit, the prompt is read anew."""
        name = next((mark.holder for mark in wire.marks if mark.holder), "")
        fell_back = bool(name) and not self._restored(name)
        answer = super().ask(wire, on_text)
        self._sent = (self._running, wire.body.get("messages"))
        return replace(answer, fell_back=True) if fell_back else answer

    def make_object(self, prompt: Prompt, last: int, *, seconds: int, label: str) -> JsonMapping:
        """Keep what the server has read of the prompt up to this block. It reads that first where it was asked with
        something else since."""
        frame = self.encode(replace(prompt, blocks=prompt.blocks[: last + 1]), (), previous_message=None)
        messages = frame.body["messages"]
        running, sent = self._sent
        if running != self.server.running() or (sent or [])[: len(messages)] != messages:
            self._read(frame)
        name = f"{NAME}-{secrets.token_hex(8)}"
        files, now = KeptFiles(self.server.slots), self._clock.now()
        written = self._slot("save", f"{name}.part")
        kept = Sidecar(
            name=name,
            model=self.model.name,
            label=label,
            prefix=prompt.chain[last],
            held=int(written.get("n_saved") or 0),
            size=0,
            sha256="",
            fits=self.server.fits,
            until=now + seconds,
        )
        self._known.add((self._running, name))
        files.take_in(self.server.slots / f"{name}.part", kept)
        sweep(self.server.slots.parent, now)
        return {"name": name}

    def extend_cache(self, name: str, *, seconds: int) -> JsonMapping:
        files, kept = self._file_of(name)
        longer = replace(kept, until=self._clock.now() + seconds)
        files.note(longer)
        return _listed(longer)

    def delete_cache(self, name: str) -> None:
        files, _ = self._file_of(name)
        files.remove(name)

    def list_caches(self) -> list[JsonObject]:
        """List the files of all models on this machine."""
        return [_listed(kept) for files in everywhere(self.server.slots.parent) for kept in files.all()]

    def _file_of(self, name: str) -> tuple[KeptFiles, Sidecar]:
        for files in everywhere(self.server.slots.parent):
            if kept := files.find(name):
                return files, kept
        raise RequestRefused("nothing of that name is kept on this machine", about=name, status=404)

    def _restored(self, name: str) -> bool:
        """Tell whether the server holds what the file does: it did, or has read it now."""
        self._begin()
        if (self._running, name) in self._known:
            return True
        try:
            KeptFiles(self.server.slots).check(name, self.server.fits, now=self._clock.now())
            self._slot("restore", name)
        except (StorageDamaged, ProviderError):
            return False
        self._known.add((self._running, name))
        return True

    def _read(self, frame: Wire) -> None:
        """Let the server read a frame and write one token, which nobody is told."""
        client = self._begin()
        self._require_transport().begin(longest_wait=SHORT_WAIT)
        with self._errors_are_ours():
            super()._whole(client, replace(frame, body={**frame.body, "max_tokens": 1}))

    def shared_tokens(self, prompt: Prompt, last: int) -> int:
        """Return the tokens that all prompts share which begin with these blocks, as the server counts them."""
        begun = replace(prompt, blocks=prompt.blocks[: last + 1])
        messages = self.encode(begun, (), previous_message=None).body["messages"]
        one, other = (self._tokens([*messages, {"role": "user", "content": word}]) for word in ("a", "b"))
        return next((at for at, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), len(one))

    def _tokens(self, messages: list[JsonObject]) -> list[int]:
        text = self._post("/apply-template", {"messages": messages}).get("prompt")
        return list(self._post("/tokenize", {"content": text, "parse_special": True}).get("tokens") or [])

    def _slot(self, action: str, file: str) -> JsonMapping:
        return self._post(f"/slots/0?action={action}", {"filename": file})

    def _post(self, path: str, body: JsonObject) -> JsonMapping:
        client = self._begin()
        self._require_transport().begin(longest_wait=SHORT_WAIT)
        assert self._running is not None, "_begin has connected"
        with self._errors_are_ours():
            done = client.post(f"{self._running.address}{path}", body=body, cast_to=object)
        return done if isinstance(done, dict) else {}

    def _connect(self) -> Any:
        """Return the client of the server that runs: the same one, or one for a server that was started anew."""
        running = self.server.ensure()
        if self._client is None or running != self._running:
            transport = self._transport or Transport(self._clock, trust_environment=False)
            self._key, self._base_url = running.key, f"{running.address}/v1"
            self._client = self._open(transport)
            self._transport, self._running = transport, running
        return self._client

    def _variables(self) -> int:
        return 0  # no variable tells where the server is

    def _stream(self, client: object, wire: Wire) -> Iterator[JsonMapping]:
        for event in super()._stream(client, wire):
            self._note(event)
            yield event

    def _whole(self, client: object, wire: Wire) -> JsonMapping:
        whole = super()._whole(client, wire)
        self._note(whole)
        return whole

    def _note(self, event: JsonMapping) -> None:
        """Take what the server measured of itself."""
        timings = inside(event, "timings")
        if timings:
            prefill, decode = (timings.get(name) for name in ("prompt_ms", "predicted_ms"))
            if isinstance(prefill, int | float) and isinstance(decode, int | float):
                self._require_transport().trace.on_server = (prefill / 1000, decode / 1000)

    def _translate(self, error: Exception) -> AgentnbError:
        ours = translate(error, self.vendor)
        return self.vendor.ended(ours.about) if isinstance(ours, ConnectionFailed) else ours

    def close(self) -> None:
        super().close()
        self._speaks_chat_only = True
        if self._server is not None:
            self._server.release()


def _listed(kept: Sidecar) -> JsonObject:
    """Return a sidecar in the words of a provider's list of cache objects."""
    ends = datetime.fromtimestamp(kept.until, UTC).isoformat()
    usage = {"totalTokenCount": kept.held}
    return {
        "name": kept.name, "model": kept.model, "displayName": kept.label, "expireTime": ends, "usageMetadata": usage
    }  # fmt: skip


def _has_branches(wire: Wire) -> bool:
    return inside(inside(wire.body, "response_format"), "json_schema").get("name") == BRANCHES
