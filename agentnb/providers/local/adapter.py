"""Ask a model on this machine: its server is started when it is asked, and again where it has ended.

The server's Chat wire is spoken, through OpenAI's SDK. Tools are offered by a schema, see `branches.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from agentnb.canonical import Clock, JsonMapping
from agentnb.errors import AgentnbError, ConnectionFailed, PackageMissing
from agentnb.models.catalog import Model
from agentnb.models.layers import Prompt
from agentnb.models.messages import Reply, Role, ToolSpec, inside
from agentnb.providers import openai_chat
from agentnb.providers.base import Decoder, Mark, Wire
from agentnb.providers.local import branches, weights
from agentnb.providers.local.running import LocalServer, Running
from agentnb.providers.openai import CHAT, OpenAIProvider, translate
from agentnb.providers.transport import GaveUp, Transport
from agentnb.providers.vendor import Vendor

INSTALL = 'pip install "agentnb-jupyter[local]"'
NAME = "local"
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
    """A model on this machine, behind the server that all kernels of the user share."""

    vendor: ClassVar[LocalVendor] = VENDOR
    _speaks_chat_only = True

    def __init__(self, model: Model, *, clock: Clock, home: Path) -> None:
        super().__init__(model, clock=clock, scope=f"{NAME}:none")
        self._home = home
        self._server: LocalServer | None = None
        self._running: Running | None = None

    @property
    def server(self) -> LocalServer:
        """Return the server's place, whether or not it runs. Raises WeightsMissing, InputError and ModelUnknown."""
        if self._server is None:
            self._server = LocalServer(weights.find(self.model.name, self._home), self._home, window=self.model.window)
        return self._server

    def is_elsewhere(self, environment: Mapping[str, str]) -> bool:
        """Take up the scope of the server that a call made now meets: another one has another prompt cache."""
        self.scope = f"{NAME}:{self.server.instance}"
        return False

    def encode(self, prompt: Prompt, marks: tuple[Mark, ...], *, previous_message: str | None) -> Wire:
        body = openai_chat.encode(branches.in_words(prompt))
        body["max_tokens"] = min(prompt.max_tokens, self.model.max_output)
        body["temperature"] = 0.0  # a small model that is to choose among branches needs no other mood
        tools = [block.content for block in prompt.of_role(Role.TOOLS) if isinstance(block.content, ToolSpec)]
        if tools:
            schema = branches.schema_of(tools, prompt.answer_format)
            body["response_format"] = {"type": "json_schema", "json_schema": {"name": BRANCHES, "schema": schema}}
        return Wire(body=body, marks=marks, form=CHAT)

    def decoder(self, wire: Wire | None = None) -> Decoder:
        return branches.BranchDecoder() if wire is not None and _has_branches(wire) else openai_chat.ChatDecoder()

    def decode(self, wire: Wire, whole: JsonMapping, *, request_id: str | None) -> Reply:
        reply = super().decode(wire, whole, request_id=request_id)
        return branches.read_branch(reply) if _has_branches(wire) else reply

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


def _has_branches(wire: Wire) -> bool:
    return inside(inside(wire.body, "response_format"), "json_schema").get("name") == BRANCHES
