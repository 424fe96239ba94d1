"""Make the HTTP client that the SDKs are handed, with a timeline of each call. [home of httpx2]

httpx2 calls our trace function at each stage of a request. That gives connect, body sent and headers received in all
three SDKs without touching their code. Source: httpx2 and httpcore2 2.16, extensions["trace"].
"""

from __future__ import annotations

import contextlib
import email.utils
import json
import math
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from agentnb.canonical import Clock, JsonMapping

if TYPE_CHECKING:
    import ssl

    import httpx2

CONNECT_TIMEOUT = 10.0
READ_TIMEOUT = 600.0  # seconds between two bytes; long thinking sends pings
LIST_TIMEOUT = 10.0  # seconds, likewise, of a list that nobody thinks about
MOST_REQUESTS = 200  # requests of one call: pages of a list that never ends
ATTEMPTS = 3  # what the SDKs make of one call that is refused for now: two retries
LONGEST_WAIT = 60.0  # seconds, where nobody set another limit; who asks for more is not asked again by itself
SHORT_WAIT = 5.0  # seconds, likewise, for what only keeps a prompt warm
FIRST_WAIT = 0.5  # seconds before the first retry where the provider names no time; doubled each time
MOST_OF_ERROR = 64_000  # bytes that are read of a refusal
MOST_OF_PIECE = 8_000_000  # bytes of a whole reply, and of one event of a stream: a long reply has about a tenth
MOST_OF_STREAM = 64_000_000  # bytes of a streamed reply: 128,000 tokens as events of their own take about 30 MB
MOST_LINES = 400_000  # of any streamed reply; an SDK takes 0.16 ms of CPU to read an event of two
FREE_LINES = 20_000  # of a streamed reply, besides those of its tokens: pings, summaries, calls of tools
LINES_OF_TOKEN = 4  # of a streamed reply for each token that was asked for: an event of a token has three
MOST_UNFOLDED = 100  # bytes that a byte of a long stream may unfold to: events shrink about tenfold
TAIL = 16_000  # bytes of a stream that are kept: what was used stands at an event's end
RETRIED = (408, 409, 429, 500, 502, 503, 504, 529)  # HTTP statuses worth another attempt
ASKS_TO_WAIT = (429, 503, 529)  # those of them by which a provider says: later
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")  # environment variables that name others than the system's


class CallCut(BaseException):
    """A call that `cancel` ended. No Exception: the SDKs would take it for a bad connection and send it once more."""


class GaveUp(BaseException):
    """The last attempt brought no answer; `error` says why. No Exception, or the SDKs would pause and try on."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error

    @property
    def late(self) -> bool:
        """Tell whether there was a connection, and no answer in time."""
        import httpx2

        return isinstance(self.error, httpx2.TimeoutException) and not isinstance(self.error, httpx2.ConnectTimeout)


class SentElsewhere(BaseException):
    """Says that the answer was another address. Nothing is sent there: key and prompt were meant for this one."""

    def __init__(self, address: str, status: int) -> None:
        super().__init__(address)
        self.address, self.status = address, status


class TooMuch(BaseException):
    """Says that the answer is larger than any reply; the rest is not read. No Exception: the SDKs would ask again."""


@dataclass(slots=True)
class CallTrace:
    """Moments of one call, in seconds of the monotonic clock; None where a stage did not happen.

    `started` is when the call began, `attempt_started` when its last attempt did: what lies between is retry wait.
    `asked_wait` is how many seconds the last refusal asked to wait, where it said so. Of a call that was not `streamed`
    nobody can say when its first token was made. `thought` is True where the model's thinking came as tokens of its
    own. Else it lies before the first token, unseen. `on_server` is prefill and decode in seconds, where a server
    measures them.
    """

    started: float
    connected: float | None = None
    body_sent: float | None = None
    headers: float | None = None
    first_event: float | None = None
    first_token: float | None = None
    last_token: float | None = None
    finished: float | None = None
    attempts: int = 0
    connect_seconds: float = 0.0
    attempt_started: float | None = None
    asked_wait: float | None = None
    streamed: bool = True
    thought: bool = False
    on_server: tuple[float, float] | None = None
    response_headers: Mapping[str, str] = field(default_factory=dict)


OnWait = Callable[[int, float], None]
"""Called with the HTTP status, 0 where nothing was answered, and the seconds before the next attempt."""


def _say_nothing(status: int, seconds: float) -> None:
    return


def retry_after(headers: Mapping[str, str], *, now: float) -> float | None:
    """Return the seconds that the server asks to wait, at least 0. None where it names none that can be read.

    `retry-after` is a number of seconds or an HTTP date (RFC 9110, 10.2.3); `retry-after-ms` is the vendors' own.
    """
    if "retry-after-ms" in headers:
        return _seconds(headers["retry-after-ms"], 1000)
    text = headers.get("retry-after", "")
    if not text:
        return None
    seconds = _seconds(text, 1)
    if seconds is not None:
        return seconds
    date = email.utils.parsedate_tz(text)
    return None if date is None else max(0.0, email.utils.mktime_tz(date) - now)


def retry_delay(body: bytes) -> float | None:
    """Return the seconds of the `google.rpc.RetryInfo` in an error's body, where Google says it: Gemini sends no
    retry-after.

    `{"error": {"details": [{"@type": "…/google.rpc.RetryInfo", "retryDelay": "34.07s"}]}}`, in a list when streaming.
    """
    try:
        value = json.loads(body)
        error = (value[0] if isinstance(value, list) else value)["error"]
        delays = [one.get("retryDelay") for one in error["details"] if "RetryInfo" in str(one.get("@type"))]
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)s", str(delays[0])) if delays else None
    return float(found.group(1)) if found else None


def _seconds(text: str, per_second: int) -> float | None:
    try:
        value = float(text) / per_second
    except ValueError:
        return None
    return max(0.0, value) if math.isfinite(value) else None


@cache
def _certificates(trust_environment: bool, *named: str | None) -> ssl.SSLContext:
    """Return the certificates to trust: read once a process for what the environment names, which takes 20 ms."""
    import httpx2

    made: ssl.SSLContext = httpx2.create_ssl_context(trust_env=trust_environment)
    return made


class Transport:
    """Holds one traced HTTP client. Calls on it are made one after the other; `cancel` may come from any thread."""

    def __init__(self, clock: Clock, *, trust_environment: bool = True) -> None:
        import httpx2

        self._clock = clock
        self._socket: socket.socket | None = None
        self._cancelled = threading.Event()
        self._attempts_left = ATTEMPTS
        self.longest_wait, self._hands_back, self._silence = LONGEST_WAIT, False, READ_TIMEOUT
        self._most_lines = MOST_LINES
        self._final: httpx2.Response | None = None  # the answer of a provider that asked for a longer wait
        self._answer: httpx2.Response | None = None
        self.tail = b""  # the end of the stream, as far as it has come
        self.mends: Callable[[bytes], bytes] | None = None  # what an SDK cannot read of a line of JSON
        self._on_wait: OnWait = _say_nothing
        self.trace = CallTrace(started=clock.monotonic())
        self.certificates = _certificates(trust_environment, *map(os.environ.get, CERTIFICATES))
        self.client = httpx2.Client(
            timeout=httpx2.Timeout(READ_TIMEOUT, connect=CONNECT_TIMEOUT),
            event_hooks={"request": [self._on_request], "response": [self._on_response]},
            trust_env=trust_environment,
            verify=self.certificates,
            follow_redirects=False,
        )
        self._send, self.client.send = self.client.send, self._send_uncut

    def begin(
        self,
        on_wait: OnWait | None = None,
        *,
        longest_wait: float = LONGEST_WAIT,
        hands_back: bool = False,
        silence: float = READ_TIMEOUT,
        most_tokens: int = MOST_LINES,
        lines_of_token: int = LINES_OF_TOKEN,
    ) -> CallTrace:
        """Return a fresh timeline; the previous one stays as it is. `on_wait` is told of each wait between attempts.

        A stream has no more lines than `most_tokens` tokens have, with `lines_of_token` for each.
        Who asks for more than `longest_wait` seconds is not asked again; with `hands_back` nobody who asks for a wait.
        Who sends nothing for `silence` seconds is given up.
        """
        self._cancelled.clear()
        self._on_wait = on_wait or _say_nothing
        self.longest_wait, self._hands_back, self._silence = longest_wait, hands_back, silence
        self._most_lines = min(MOST_LINES, FREE_LINES + lines_of_token * most_tokens)
        self.trace = CallTrace(started=self._clock.monotonic())
        self.expect_attempts()
        return self.trace

    def expect_attempts(self, attempts: int = ATTEMPTS) -> None:
        """Begin the SDK's count of attempts anew."""
        self._attempts_left = attempts
        self._final = None

    def cancel(self) -> None:
        """End the call in flight: a thread that waits for bytes wakes at once."""
        self._cancelled.set()
        sock = self._socket
        if sock is not None:
            # close() does not wake a thread that is blocked in recv; shutdown() does.
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def wait(self, seconds: float) -> bool:
        """Wait, unless `cancel` comes; True when it came."""
        return self._cancelled.wait(seconds)

    @property
    def cancelled(self) -> bool:
        return self._cancelled.is_set()

    @property
    def body(self) -> bytes:
        """Return the last answer as it came; empty where there is none, or it was not read in one piece."""
        try:
            return bytes(self._answer.content) if self._answer is not None else b""
        except RuntimeError:  # a stream's
            return b""

    def close(self) -> None:
        self.client.close()

    def _send_uncut(self, *arguments: Any, **options: Any) -> httpx2.Response:
        """Send as the client does, but for what is not to be sent again. That is a cancelled call, and one whose
        provider asks for a longer wait than ours. One SDK cannot be told so."""
        if self.cancelled:
            raise CallCut
        if self._final is not None:
            return self._final
        self._answer = None
        while self._answer is None:
            self._answer = self._answered(*arguments, **options)
        return self._answer

    def _answered(self, *arguments: Any, **options: Any) -> httpx2.Response | None:
        """Make one attempt. None where it brought no answer and another is worth it, after a wait like that of a
        refusal. The SDKs' own wait after a bad connection cannot be interrupted."""
        import httpx2

        try:
            return self._send(*arguments, **options)
        except Exception as error:
            if self.cancelled:
                raise CallCut from None
            if not isinstance(error, httpx2.TimeoutException | httpx2.NetworkError | httpx2.RemoteProtocolError):
                raise
            if self._attempts_left <= 0:
                raise GaveUp(error) from error
            self._wait_and_say(0, self._usual_wait())
            return None

    def _on_request(self, request: httpx2.Request) -> None:
        self.trace.attempts += 1
        if self.trace.attempts > MOST_REQUESTS:
            raise TooMuch(f"{MOST_REQUESTS} pages")
        self._attempts_left -= 1
        self.trace.headers = None
        self.trace.attempt_started = self._clock.monotonic()
        self.trace.connect_seconds = 0.0
        # One of the SDKs knows a single timeout only; nobody waits ten minutes for a connection.
        limits = request.extensions.setdefault("timeout", {})
        limits["connect"] = CONNECT_TIMEOUT
        limits["read"] = min(limits.get("read") or self._silence, self._silence)
        request.extensions["trace"] = self._stage

    def _on_response(self, response: httpx2.Response) -> None:
        self.trace.response_headers = {name.lower(): value for name, value in response.headers.items()}
        self.trace.asked_wait = None
        if response.has_redirect_location:
            raise SentElsewhere(_place(response), response.status_code)
        response.iter_bytes = partial(self._mended, response, response.iter_bytes)  # decompressed, a piece at a time
        if response.status_code in RETRIED:
            response.read()
            self.trace.asked_wait = retry_after(response.headers, now=self._clock.now())
            if self.trace.asked_wait is None:
                self.trace.asked_wait = retry_delay(response.content)
            if self._attempts_left > 0:
                self._wait_before_retry(response)

    def _mended(
        self, response: httpx2.Response, read: Callable[..., Iterator[bytes]], size: int | None = None
    ) -> Iterator[bytes]:
        """Yield the body, its lines whole and mended where that is asked for."""
        pieces = self._capped(response, read, size)
        if self.mends is None:
            yield from pieces
            return
        held = b""
        for data in pieces:
            lines, end, held = (held + data).rpartition(b"\n")
            if end:
                yield self.mends(lines) + end
        yield self.mends(held)

    def _capped(
        self, response: httpx2.Response, read: Callable[..., Iterator[bytes]], size: int | None = None
    ) -> Iterator[bytes]:
        """Yield the body while it is of use: of a refusal a beginning. More than a reply holds raises TooMuch."""
        refused = response.status_code >= 300
        streamed = "event-stream" in response.headers.get("content-type", "")
        total = piece = lines = 0
        self.tail = b""
        for data in read(size):
            if self.cancelled:  # a byte that came before it may unfold for long
                raise CallCut
            total += len(data)
            if refused and total > MOST_OF_ERROR:
                yield data[: MOST_OF_ERROR - total]
                response.close()
                return
            last = data.rfind(b"\n")
            piece = piece + len(data) if last < 0 or not streamed else len(data) - last
            most = min(MOST_OF_STREAM, max(MOST_OF_PIECE, MOST_UNFOLDED * response.num_bytes_downloaded))
            lines += max(data.count(b"\n"), data.count(b"\r"))  # either ends a line for an SDK
            if piece > MOST_OF_PIECE or total > most or (self.trace.streamed and lines > self._most_lines):
                response.close()
                raise TooMuch(f"{total:,} bytes in {lines:,} lines" if self.trace.streamed else f"{total:,} bytes")
            if self.trace.streamed:
                self.tail = (self.tail + data)[-TAIL:]
            yield data

    def _wait_before_retry(self, response: httpx2.Response) -> None:
        """Wait. The SDK decides whether to send again; the wait before it is made here.

        Theirs cannot be interrupted, says nothing, knows no `retry-after` in one SDK and no bound in another.
        """
        asked = self.trace.asked_wait
        too_long = asked is not None and asked > self.longest_wait
        handed_back = self._hands_back and response.status_code in ASKS_TO_WAIT
        if too_long or handed_back or response.headers.get("x-should-retry") == "false":
            response.headers["x-should-retry"] = "false"
            self._final = response
            return
        self._wait_and_say(response.status_code, self._usual_wait() if asked is None else asked)
        response.headers["retry-after-ms"] = "1"  # the SDK's own wait: none, in effect

    def _usual_wait(self) -> float:
        return float(FIRST_WAIT * 2 ** (ATTEMPTS - 1 - self._attempts_left))

    def _wait_and_say(self, status: int, seconds: float) -> None:
        self._on_wait(status, seconds)
        if self.wait(seconds):
            raise CallCut

    def _stage(self, name: str, info: JsonMapping) -> None:
        handler = _STAGES.get(name)
        if handler is not None:
            handler(self, self._clock.monotonic(), info)

    def _connecting(self, now: float, _: JsonMapping) -> None:
        self.trace.connected = now  # the start; turned into a duration when the connection stands

    def _connection_stands(self, now: float, info: JsonMapping) -> None:
        if self.trace.connected is not None:
            self.trace.connect_seconds += now - self.trace.connected
        self.trace.connected = now
        stream = info.get("return_value")
        self._socket = stream.get_extra_info("socket") if stream is not None else None
        if self.cancelled:  # it came while the connection was being made
            self.cancel()

    def _body_went(self, now: float, _: JsonMapping) -> None:
        self.trace.body_sent = now

    def _headers_came(self, now: float, _: JsonMapping) -> None:
        self.trace.headers = now


def _place(response: httpx2.Response) -> str:
    """Return where a redirect leads, without what an address may hide: a name, a password, parameters."""
    import httpx2

    try:
        url = response.url.join(response.headers["location"])
    except httpx2.InvalidURL:
        return "one that cannot be read"
    return f"{url.scheme}://{url.netloc.decode('ascii', 'replace')}{url.path}"[:200]


_STAGES: dict[str, Callable[[Transport, float, JsonMapping], None]] = {
    "connection.connect_tcp.started": Transport._connecting,
    "connection.connect_tcp.complete": Transport._connection_stands,
    "connection.start_tls.started": Transport._connecting,
    "connection.start_tls.complete": Transport._connection_stands,
    "http11.send_request_body.complete": Transport._body_went,
    "http11.receive_response_headers.complete": Transport._headers_came,
    "http2.send_request_body.complete": Transport._body_went,
    "http2.receive_response_headers.complete": Transport._headers_came,
}
