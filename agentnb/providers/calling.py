"""Share what the adapters need: one call from wire to answer with its timeline, second attempts and interrupt.

An SDK retries what failed before the reply began. A call that fails after it began is asked again here. Whoever shows
the text is told to drop what it has ("restart"), so nothing is doubled.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

from agentnb import canonical
from agentnb.canonical import Clock, JsonMapping, JsonObject
from agentnb.errors import (
    AccessRefused,
    AgentnbError,
    CallTimeout,
    ConnectionFailed,
    NoReply,
    Overloaded,
    ProviderError,
    RateLimited,
    RequestRefused,
    RunInterrupted,
    ServerFault,
    StreamBroken,
)
from agentnb.models.catalog import ListedModel, Model, retirement
from agentnb.models.layers import Prompt
from agentnb.models.messages import Reply, Text, Usage
from agentnb.providers.base import CallAnswer, Decoder, Mark, OnText, Wire
from agentnb.providers.reading import MISREAD, Halves, read, unreadable
from agentnb.providers.transport import (
    LINES_OF_TOKEN,
    LIST_TIMEOUT,
    SHORT_WAIT,
    CallCut,
    CallTrace,
    GaveUp,
    OnWait,
    SentElsewhere,
    TooMuch,
    Transport,
)
from agentnb.providers.vendor import Vendor

NO_KEY = "none"  # for a server of one's own, which seldom asks for a key; the SDKs insist on some text
_SHORTEST_KEY = 8
PAUSE = 0.25  # seconds before a reply that broke off is asked for again; doubled each time
_BROKEN = (StreamBroken, ServerFault, Overloaded, RateLimited)


class LostReplies:
    """Sums what the lost replies of one call had used, as far as their provider said."""

    def __init__(self) -> None:
        self.usage = Usage()
        self.replies = 0

    @contextlib.contextmanager
    def unless_it_comes_through(self, used: Callable[[], Usage]) -> Iterator[None]:
        try:
            yield
        except BaseException:
            usage = used()
            self.usage, self.replies = self.usage + usage, self.replies + bool(usage.input_total)
            raise


class Calling:
    """Holds one model behind one SDK client. An adapter fills in `vendor`, `_open`, `_stream`, `_translate`, `decoder`.

    Without `key` and `base_url` the SDK's own variables speak, as they are when a call begins. Calls are made one after
    the other; `cancel` may come from any thread.
    """

    vendor: ClassVar[Vendor]
    lines_of_token: ClassVar[int] = LINES_OF_TOKEN

    def __init__(
        self, model: Model, *, clock: Clock, key: str | None = None, base_url: str | None = None, scope: str = ""
    ) -> None:
        self.model = model
        self.scope = scope or f"{self.vendor.name}:{base_url or 'default'}"
        self._clock = clock
        self._key = key
        self._base_url = base_url
        self._transport: Transport | None = None
        self._client: Any = None
        self._opened_with = 0

    @classmethod
    def place(cls, environment: Mapping[str, str]) -> str:
        """Return as a name where the calls go by these variables: what is warm there is not warm elsewhere."""
        return f"{cls.vendor.name}:{environment.get(cls.vendor.address) or 'default'}"

    def is_elsewhere(self, environment: Mapping[str, str]) -> bool:
        """Tell whether by these variables calls go to another place than this connection's."""
        return self.scope != self.place(environment)

    @property
    def account(self) -> str:
        """Return the scope with a digest of the key: too short to say anything of it."""
        keys = [self._key or "", *(os.environ.get(name, "") for name in self.vendor.keys)]
        return f"{self.scope}/{hashlib.sha256(canonical.dump(keys)).hexdigest()[:8]}"

    # --- what an adapter fills in ---------------------------------------------------------------------------------

    def encode(self, prompt: Prompt, marks: tuple[Mark, ...], *, previous_message: str | None) -> Wire:
        raise NotImplementedError

    def decoder(self, wire: Wire | None = None) -> Decoder:
        raise NotImplementedError

    def _open(self, transport: Transport) -> Any:
        """Return the SDK's client over our HTTP client. Raises KeyMissing or PackageMissing."""
        raise NotImplementedError

    def _stream(self, client: object, wire: Wire) -> Iterator[JsonMapping]:
        """Return the reply's events as plain JSON; may raise whatever the SDK raises."""
        raise NotImplementedError

    def _whole(self, client: object, wire: Wire) -> JsonMapping:
        """Return the reply in one piece as plain JSON; may raise whatever the SDK raises."""
        raise NotImplementedError

    def decode(self, wire: Wire, whole: JsonMapping, *, request_id: str | None) -> Reply:
        """Return the reply that `_whole` gave, in our words."""
        raise NotImplementedError

    def used(self, wire: Wire, whole: JsonMapping) -> Usage:
        """Return what the reply that `_whole` gave had used, whatever else it holds."""
        raise NotImplementedError

    def marks_of_reply(self, wire: Wire) -> tuple[str, ...]:
        """Return fields that only this wire's replies have. Every whole one has at least one of them."""
        raise NotImplementedError

    def _translate(self, error: Exception) -> Exception:
        """Return the one place where the SDK's errors become ours."""
        raise NotImplementedError

    def _sdk_errors(self) -> tuple[type[Exception], ...]:
        raise NotImplementedError

    def _falls_back(self, wire: Wire, error: ProviderError) -> bool:
        """Tell whether `wire.fallback` is worth trying after this error."""
        return False

    def _prewarm(self, client: object, wire: Wire) -> Usage:
        raise NotImplementedError

    def _listed(self, client: object) -> Iterator[ListedModel]:
        """Yield the provider's own list of models; may raise whatever the SDK raises."""
        raise NotImplementedError

    # --- asking ---------------------------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        return self._client is not None

    def connect(self) -> None:
        """Import the SDK and make its client, which takes a second or two the first time. Sends nothing.

        Raises KeyMissing or PackageMissing.
        """
        self._begin()

    def ask(self, wire: Wire, on_text: OnText) -> CallAnswer:
        """Send, stream, fold. Raises a ProviderError, KeyMissing, or RunInterrupted after `cancel`. Its `spent` then
        says what the call had used."""
        self._begin()
        lost = LostReplies()
        try:
            return self._ask(wire, on_text, lost)
        except AgentnbError as error:
            error.spent = lost.usage.to_json()
            raise

    def _ask(self, wire: Wire, on_text: OnText, lost: LostReplies) -> CallAnswer:
        trace = self._require_transport().begin(
            self._tells_of_waits(on_text),
            longest_wait=wire.retry_wait,
            hands_back=wire.hands_back,
            most_tokens=wire.most_tokens,
            lines_of_token=self.lines_of_token,
        )
        fell_back, tries = False, 0
        while True:
            try:
                reply = self._once(wire, on_text, trace, lost)
                return CallAnswer(reply=reply, trace=trace, wasted=lost.usage, fell_back=fell_back)
            except ProviderError as error:
                if wire.fallback is not None and self._falls_back(wire, error):
                    wire, fell_back = wire.otherwise(), True
                elif tries + 1 < wire.attempts and _broke_off(error, trace):
                    tries += 1
                    if self._require_transport().wait(PAUSE * 2**tries):
                        raise RunInterrupted("the call was interrupted") from error
                else:
                    self._complete(error)
                    _tell_lost(error, lost)
                    raise
                on_text("restart", "")

    def send(self, wire: Wire) -> Iterator[JsonMapping]:
        """Yield the raw events of a streamed call, as JSON; errors are ours."""
        client = self._connect()
        self._require_transport().expect_attempts()
        with self._errors_are_ours():
            yield from self._stream(client, wire)

    @property
    def can_prewarm(self) -> bool:
        """Tell whether this model can be told to fill its prompt cache and to generate nothing."""
        return False

    def prewarm(self, wire: Wire) -> Usage:
        """Fill or refresh the prompt cache with this request, and generate nothing. What it used; it costs."""
        client = self._begin()
        self._require_transport().begin(longest_wait=SHORT_WAIT)
        with self._errors_are_ours():
            return self._prewarm(client, wire)

    def listed(self) -> list[ListedModel]:
        """Ask the provider which models it has now, and their limits where it tells them. It costs nothing."""
        client = self._begin()
        self._require_transport().begin(longest_wait=SHORT_WAIT, silence=LIST_TIMEOUT)
        with self._errors_are_ours():
            return list(self._listed(client))

    def cancel(self) -> None:
        if self._transport is not None:
            self._transport.cancel()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
        self._client = self._transport = None

    def _own_address(self) -> bool:
        """Tell whether a server of the user's own is asked, not the vendor's."""
        return bool(self._base_url or os.environ.get(self.vendor.address)) and not self.simulated

    @property
    def simulated(self) -> bool:
        return self.scope.startswith("sim:")

    @contextlib.contextmanager
    def _errors_are_ours(self) -> Iterator[None]:
        """Around what an SDK does: its errors become ours, without a key."""
        try:
            with self._errors_translated():
                yield
        except AgentnbError as error:
            self._take_keys_out(error)
            raise

    def _take_keys_out(self, error: AgentnbError) -> None:
        """Take the keys out of an error's words and of its causes.

        A refusal may repeat the key. What fits no header stands in the error about that. The SDK's frames go too: their
        locals hold the request, which IPython's verbose tracebacks print.
        """
        keys, below = self._keys(), error.__cause__ or error.__context__
        for key in keys:
            error.what, error.about = (text.replace(key, "[key]") for text in (error.what, error.about))
        error.args = (error.what,)
        while below is not None and below.__traceback__ is not None:
            below.__traceback__ = None
            if any(key in f"{below} {below!r}" for key in keys):
                below.args, error.__cause__ = ("it repeats the key",), None
            below = below.__cause__ or below.__context__

    def _keys(self) -> list[str]:
        """Return what the SDK may have sent as a key, in each form that an error may have."""
        named = (os.environ[name] for name in os.environ if name.endswith(("_KEY", "_TOKEN")) and self._reads(name))
        found = [key for key in (self._key, *named) if key and len(key) >= _SHORTEST_KEY and not self.simulated]
        return [form for key in found for form in (key, key.strip(), repr(key)[1:-1])]

    @contextlib.contextmanager
    def _errors_translated(self) -> Iterator[None]:
        """Around what an SDK does: its errors, and those of its reading what it did not expect, become ours."""
        transport = self._require_transport()
        try:
            yield
        except CallCut:
            raise RunInterrupted("the call was interrupted") from None
        except GaveUp as last:
            raise self.vendor.silence(last) from last.error
        except SentElsewhere as to:
            raise self.vendor.moved(to) from None
        except TooMuch as much:
            raise self.vendor.endless(much) from None
        except Exception as error:
            if not isinstance(error, (*self._sdk_errors(), *MISREAD)):
                raise
            if transport.cancelled:
                raise RunInterrupted("the call was interrupted") from None
            raise self._ours(error, began=transport.trace.headers is not None) from error

    def _tells_of_waits(self, on_text: OnText) -> OnWait:
        def tell(status: int, seconds: float) -> None:
            said = f"answered {status}" if status else "did not answer"
            on_text("wait", f"{self.vendor.label} {said}; asking again in {seconds:.1f} s")

        return tell

    def _ours(self, error: Exception, *, began: bool) -> Exception:
        """Return an SDK's error as ours, with what the answer's headers know. `began`: an answer had begun."""
        ours = _seen_from(began, self._translate(error))
        if isinstance(ours, ProviderError):
            self._complete(ours)
        return ours

    def _complete(self, error: ProviderError) -> None:
        """Add what the answer's headers know and the SDK's error does not: the request's id, and how long to wait."""
        transport = self._require_transport()
        error.request_id = error.request_id or self._request_id(transport.trace)
        if isinstance(error, StreamBroken) and no_api(transport.trace):
            kind = transport.trace.response_headers["content-type"].partition(";")[0]
            error.what = f"what answers for {self.vendor.label} is not the API: it sent {kind}"
            error.todo = (
                f"Set {self.vendor.address} to the address of the API itself; a compatible server's often ends in /v1. "
                "For a server that cannot stream: %config AgentNB.stream = False."
            )
        if error.status == 404 and not self._own_address() and (over := retirement(self.model, self._clock.now())):
            error.todo = over
        seconds, limit = transport.trace.asked_wait, transport.longest_wait
        error.asked_wait = seconds
        if seconds and isinstance(error, RateLimited | Overloaded):
            longer = f" agentnb itself waits at most {limit:,.0f} s (AgentNB.retry_wait)." if seconds > limit else ""
            error.todo = f"Wait {math.ceil(seconds):,} s, then resume the run.{longer}"

    def _request_id(self, trace: CallTrace) -> str | None:
        return trace.response_headers.get(self.vendor.request_id)

    def _in_one_piece(self, wire: Wire, on_text: OnText, trace: CallTrace, lost: LostReplies) -> Reply:
        client = self._connect()
        transport = self._require_transport()
        transport.expect_attempts()
        trace.streamed = False
        with self._errors_are_ours(), lost.unless_it_comes_through(lambda: self._used_unread(wire)):
            whole = self._whole(client, wire)
        trace.first_event = trace.finished = self._clock.monotonic()
        with lost.unless_it_comes_through(lambda: self.used(wire, whole)):
            reply = read(self.decode, wire, whole, request_id=self._request_id(trace))
            for part in reply.content:
                if isinstance(part, Text):
                    on_text("text", part.text)
            return reply

    def _used_unread(self, wire: Wire) -> Usage:
        """Return what a whole reply says that it used, though the SDK cannot read the rest of it."""
        try:
            return self.used(wire, canonical.load_foreign(self._require_transport().body.decode()))
        except MISREAD:
            return Usage()

    def _once(self, wire: Wire, on_text: OnText, trace: CallTrace, lost: LostReplies) -> Reply:
        if not wire.stream:
            try:
                return self._in_one_piece(wire, on_text, trace, lost)
            except (StreamBroken, ServerFault) as error:
                raise self._no_reply(wire, error) from error
        decoder = self.decoder(wire)
        with lost.unless_it_comes_through(decoder.spent):
            return self._streamed(wire, decoder, on_text, trace)

    def _streamed(self, wire: Wire, decoder: Decoder, on_text: OnText, trace: CallTrace) -> Reply:
        trace.first_event = trace.first_token = trace.last_token = None
        told = Halves(on_text)
        for event in self.send(wire):
            now = self._clock.monotonic()
            trace.first_event = trace.first_event or now
            delta = read(decoder.feed, event)
            if delta is not None and delta[1]:
                trace.first_token = trace.first_token or now
                trace.last_token = now
                trace.thought |= delta[0] == "thinking"
                told(*delta)
        told.end()
        trace.finished = self._clock.monotonic()
        if self._require_transport().cancelled:
            raise RunInterrupted("the call was interrupted")
        return read(decoder.reply, request_id=self._request_id(trace))

    def _no_reply(self, wire: Wire, error: ProviderError) -> ProviderError:
        """Return the error. For JSON of another kind, return one that says so and is not worth another try."""
        body = self._require_transport().body
        try:
            came = canonical.load(body)
        except ValueError:
            return error
        marks = self.marks_of_reply(wire)
        if error.status not in (None, 200) or (isinstance(came, dict) and any(mark in came for mark in marks)):
            return error
        return NoReply(
            f"what answers for {self.vendor.label} sent JSON that is no reply",
            about=body[:200].decode("utf-8", "replace"),
            todo=f"Check {self.vendor.address} and the model's name. It was asked once: resuming asks again.",
            request_id=error.request_id,
        )

    def _require_transport(self) -> Transport:
        assert self._transport is not None, "connected by _connect"
        return self._transport

    def _begin(self) -> Any:
        """Return the client for a call that begins: another one where the SDK's variables have changed since it was
        made."""
        if self._client is not None and self._opened_with != self._variables():
            self.close()
        return self._connect()

    def _variables(self) -> int:
        """Return the SDK's variables as a salted hash: to tell whether they changed, no key has to be kept."""
        if self.simulated:
            return 0
        return hash(tuple(sorted(item for item in os.environ.items() if self._reads(item[0]))))

    def _reads(self, variable: str) -> bool:
        """Tell whether a variable is one of the SDK's own, by how it begins."""
        return variable.startswith(
            tuple(name.partition("_")[0] + "_" for name in (*self.vendor.keys, self.vendor.address))
        )

    def _plain_key(self) -> str | None:
        """Return the key without the line's end that a file's text brings; None: the SDK finds its own, or none."""
        return self._key or os.environ.get(self.vendor.keys[0], "").strip() or None

    def _surely_without_key(self) -> bool:
        return self._key is None and self._base_url is None and self.vendor.surely_without_key()

    def _check_keys(self) -> None:
        """Refuse a key that no header can carry, as one is that was copied from where its end is dots."""
        for name in self.vendor.keys:
            if not (self._key or os.environ.get(name, "")).isascii():
                raise AccessRefused(
                    f"the key for {self.vendor.label} has characters that no key has: nothing was sent",
                    todo=f"Check {name}: a page may have shown it with its end left out.",
                )

    def _connect(self) -> Any:
        if self._client is None:
            if self._surely_without_key():
                raise self.vendor.missing_key()
            self._check_keys()
            self._opened_with = self._variables()
            transport = Transport(self._clock, trust_environment=not self.simulated)
            try:
                self._client = self._open(transport)
            except BaseException:
                transport.close()
                raise
            self._transport = transport
        return self._client


def _seen_from(began: bool, error: Exception) -> Exception:
    """Return the error as we see it: an SDK calls a dropped stream a failed connection. Once a reply began, that reply
    broke."""
    if began and isinstance(error, ConnectionFailed | CallTimeout):
        return StreamBroken("the reply broke off", about=error.about, todo="Resume the run to ask again.")
    if began and isinstance(error, RequestRefused) and error.status is None:  # the same exception, for what came back
        return unreadable(error.about)
    return error


def _tell_lost(error: ProviderError, lost: LostReplies) -> None:
    """Tell what was used for nothing: it is billed all the same."""
    if not lost.replies:
        return
    what = "1 reply that broke off" if lost.replies == 1 else f"{lost.replies} replies that broke off"
    told = f"{what} had used {lost.usage.input_total:,} input and {lost.usage.output:,} output tokens"
    error.about = f"{error.about}; {told}" if error.about else told


def no_api(trace: CallTrace) -> bool:
    """Tell whether the answer's type is not the one asked for: a web page, or anything but a stream."""
    kind = trace.response_headers.get("content-type", "")
    return "html" in kind or bool(kind and trace.streamed and "event-stream" not in kind)


def whole_object(value: object) -> JsonObject:
    """Return an SDK's whole reply as plain JSON. What is no JSON comes through as text: raises StreamBroken on that."""
    plain = value.to_dict(mode="json", warnings=False) if hasattr(value, "to_dict") else value
    if not isinstance(plain, dict):
        raise unreadable(value)
    return plain


def _broke_off(error: ProviderError, trace: CallTrace) -> bool:
    """Tell whether the reply had begun: what failed earlier has been retried by the SDK already."""
    if no_api(trace):
        return False
    return isinstance(error, StreamBroken) or (trace.first_event is not None and isinstance(error, _BROKEN))
