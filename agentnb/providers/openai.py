"""Ask OpenAI, and any server that speaks its Responses or its Chat wire. The SDK is imported here, on first send."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from agentnb.canonical import JsonMapping
from agentnb.errors import AgentnbError, CallTimeout, ConnectionFailed, NoReply, ProviderError, StreamBroken
from agentnb.models.catalog import ListedModel
from agentnb.models.layers import Prompt
from agentnb.models.messages import Reply, Usage, inside
from agentnb.providers import openai_chat, openai_responses
from agentnb.providers.base import CallAnswer, Decoder, Mark, OnText, Wire
from agentnb.providers.calling import NO_KEY, Calling, no_api, whole_object
from agentnb.providers.transport import ATTEMPTS, Transport
from agentnb.providers.vendor import OPENAI as VENDOR
from agentnb.providers.vendor import Vendor

INSTALL = 'pip install "agentnb-jupyter[openai]"'
RESPONSES, CHAT = "responses", "chat"
_NO_SUCH_PATH = (404, 405, 501)
_NO_SUMMARY = re.compile(r"reasoning[. ]summar", re.IGNORECASE)
"""In what OpenAI says to an organization that it has not verified, and to a model without summaries."""


class OpenAIProvider(Calling):
    """Holds a model behind the OpenAI SDK. At an address of the user's own, a server without Responses is asked by
    Chat."""

    vendor = VENDOR
    _speaks_chat_only = False
    _sums_up = True  # until it is refused: summaries of reasoning are for organizations that OpenAI has verified

    def encode(self, prompt: Prompt, marks: tuple[Mark, ...], *, previous_message: str | None) -> Wire:
        chat = Wire(body=openai_chat.encode(prompt), form=CHAT)
        if self._speaks_chat_only:
            return chat
        if self._own_address() or not self._sums_up:
            prompt = replace(prompt, show_thinking=False)
        body = openai_responses.encode(
            prompt, marks, breakpoints=self.model.cache.breakpoints > 0, previous_message=previous_message
        )
        return Wire(body=body, marks=marks, form=RESPONSES, fallback=chat if self._own_address() else None)

    def ask(self, wire: Wire, on_text: OnText) -> CallAnswer:
        """Ask; once more without a summary of the reasoning, where that is what is refused."""
        try:
            return super().ask(wire, on_text)
        except ProviderError as error:
            asked = inside(wire.body, "reasoning")
            if error.status != 400 or "summary" not in asked or not _NO_SUMMARY.search(str(error)):
                raise
            self._sums_up = False
            left = {name: value for name, value in asked.items() if name != "summary"}
            rest = {name: value for name, value in wire.body.items() if name != "reasoning"}
            return super().ask(replace(wire, body=rest | ({"reasoning": left} if left else {})), on_text)

    def decoder(self, wire: Wire | None = None) -> Decoder:
        if wire is not None and wire.form == CHAT:
            return openai_chat.ChatDecoder()
        return openai_responses.ResponsesDecoder()

    def _open(self, transport: Transport) -> Any:
        try:
            import openai
        except ImportError as error:
            raise self.vendor.missing_package(INSTALL) from error

        key = self._plain_key()
        if key is None and self._own_address():
            key = NO_KEY
        try:
            return openai.OpenAI(
                api_key=key, base_url=self._base_url, http_client=transport.client, max_retries=ATTEMPTS - 1
            )
        except openai.OpenAIError as error:
            raise VENDOR.missing_key() from error

    def close(self) -> None:
        super().close()
        self._speaks_chat_only, self._sums_up = False, True  # the next call may go to another server

    def _stream(self, client: object, wire: Wire) -> Iterator[JsonMapping]:
        options = {"stream_options": {"include_usage": True}} if wire.form == CHAT else {}
        with _create(client, wire.form, {**wire.body, "stream": True, **options}) as stream:
            yield from stream

    def _whole(self, client: object, wire: Wire) -> JsonMapping:
        return whole_object(_create(client, wire.form, wire.body))

    def decode(self, wire: Wire, whole: JsonMapping, *, request_id: str | None) -> Reply:
        if wire.form == CHAT:
            return openai_chat.decode_completion(whole, request_id=request_id)
        return openai_responses.decode_response(whole, request_id=request_id)

    def used(self, wire: Wire, whole: JsonMapping) -> Usage:
        read = openai_chat.decode_usage if wire.form == CHAT else openai_responses.decode_usage
        return read(inside(whole, "usage"))

    def _listed(self, client: Any) -> Iterator[ListedModel]:
        for info in client.models.list():
            yield ListedModel(name=info.id, retires=(info.shutdown_date or "")[:10])

    @property
    def can_prewarm(self) -> bool:
        return self.model.cache.breakpoints > 0 and not self._speaks_chat_only

    def _prewarm(self, client: object, wire: Wire) -> Usage:
        options = dict(wire.body.get("prompt_cache_options") or {}) | {"prewarm": True}
        response = _create(client, RESPONSES, {**wire.body, "prompt_cache_options": options})
        return openai_responses.decode_usage(inside(whole_object(response), "usage"))

    def marks_of_reply(self, wire: Wire) -> tuple[str, ...]:
        return ("choices", "usage") if wire.form == CHAT else ("output", "usage")

    def _sdk_errors(self) -> tuple[type[Exception], ...]:
        import httpx2
        import openai

        return (openai.OpenAIError, httpx2.HTTPError, httpx2.StreamError, ValueError)

    def _translate(self, error: Exception) -> Exception:
        return translate(error)

    def _falls_back(self, wire: Wire, error: ProviderError) -> bool:
        # Some servers tell of an unknown path with a 200. A web page may be a proxy's that is out of order for once.
        trace = self._require_transport().trace
        other = isinstance(error, NoReply) or (isinstance(error, StreamBroken) and no_api(trace))
        page = "html" in trace.response_headers.get("content-type", "")
        self._speaks_chat_only |= error.status in _NO_SUCH_PATH or (other and not page)
        return self._speaks_chat_only or other


def _create(client: Any, form: str, body: JsonMapping) -> Any:
    """Make one request; its answer is plain JSON, as sent, or a stream of such events.

    Through typed arguments the SDK walks the body field by field: 40 ms of CPU at 80 messages. Typed events take
    0.16 ms each.
    """
    import openai

    path = "/chat/completions" if form == CHAT else "/responses"
    streamed = {"stream": True, "stream_cls": openai.Stream[object]} if body.get("stream") else {}
    return client.post(path, cast_to=object, body=dict(body), **streamed)


def translate(error: Exception, vendor: Vendor = VENDOR) -> AgentnbError:
    """Return the one place where the SDK's errors become ours."""
    import openai

    if isinstance(error, openai.APIStatusError):
        details = error.body if isinstance(error.body, dict) else {}
        message = details.get("message") or str(error)
        # A 429 for want of credit is no matter of waiting.
        status = 402 if details.get("code") == "insufficient_quota" else error.status_code
        refusal = vendor.refusal(status, message, request_id=error.request_id)
        refusal.status = error.status_code
        return refusal
    if isinstance(error, openai.APITimeoutError):
        return CallTimeout(f"{vendor.label} did not answer in time", todo="Resume the run to ask again.")
    if isinstance(error, openai.APIConnectionError):
        about = str(error.__cause__ or error)[:200]
        return ConnectionFailed(
            f"{vendor.label} could not be reached", about=about, todo=f"Check the network and {vendor.address}."
        )
    if isinstance(error, openai.APIError) and isinstance(error.body, dict):
        return openai_responses.failure(error.body)
    return StreamBroken("the reply broke off or could not be read", about=str(error)[:200], todo="Resume the run.")
