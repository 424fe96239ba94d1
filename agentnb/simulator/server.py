"""Serve HTTP: sockets, threads, bytes. What to answer is decided elsewhere; here it is sent, on time or broken."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import struct
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from agentnb.simulator.faults import Fault
from agentnb.simulator.http_messages import HttpAnswer, Incoming, StreamEvent

if TYPE_CHECKING:
    from agentnb.simulator.service import Service

MAX_BODY = 32 * 1024**2
_READ = 65_536
_GARBAGE = b"<html><body>502 from a proxy that is not the provider</body></html>\n"


class SimulatorServer(HTTPServer):
    """Holds one thread accepts, one thread serves each connection; `stop` ends them all and leaves nothing behind."""

    request_queue_size = 64

    def __init__(self, service: Service, port: int) -> None:
        self.service = service
        self._live: dict[socket.socket, threading.Thread] = {}
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", port), HttpHandler)
        self._acceptor = threading.Thread(target=self._accept, name="agentnb-sim", daemon=True)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def start(self) -> None:
        self._acceptor.start()

    def server_bind(self) -> None:
        # HTTPServer's own looks the host name up, which can wait for a name server.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def _accept(self) -> None:
        while not self.service.pacer.stopping.is_set():
            self.handle_request()  # waits in the selector without a timeout; stop() wakes it by connecting

    def process_request(self, request: Any, client_address: Any) -> None:
        if self.service.pacer.stopping.is_set():
            request.close()
            return
        thread = threading.Thread(target=self._serve, args=(request, client_address), name="agentnb-sim-connection")
        thread.daemon = True
        with self._lock:
            self._live[request] = thread
        thread.start()

    def _serve(self, request: socket.socket, client_address: object) -> None:
        try:
            # OSError: the client went away, or stop() closed the line. ValueError: I/O on a file that stop() closed.
            with contextlib.suppress(OSError, ValueError):
                self.finish_request(request, client_address)
        finally:
            with self._lock:
                self._live.pop(request, None)
            request.close()

    def stop(self) -> None:
        """End streams in flight, join every thread, close every socket."""
        self.service.pacer.stopping.set()
        with contextlib.suppress(OSError), socket.create_connection(self.socket.getsockname(), timeout=1):
            pass
        self._acceptor.join()
        with self._lock:
            live = dict(self._live)
        for line in live:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
        for thread in live.values():
            if thread is not threading.current_thread():
                thread.join()
        self.server_close()


class HttpHandler(BaseHTTPRequestHandler):
    """Holds one connection, kept alive between requests."""

    protocol_version = "HTTP/1.1"
    server_version = "agentnb-simulator"
    disable_nagle_algorithm = True
    server: SimulatorServer

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def do_DELETE(self) -> None:
        self._handle()

    def do_PATCH(self) -> None:
        self._handle()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing: the simulator lives inside a kernel, whose stderr is the user's."""

    def _handle(self) -> None:
        service = self.server.service
        began = time.perf_counter()
        raw = self._body()
        incoming = self._incoming(service, raw or b"")
        refused = too_long() if raw is None else turned_away(incoming)
        fault = service.take_fault(incoming) if refused is None else None
        if fault is not None and fault.kind == "refuse":
            self._reset()
            return
        if fault is not None and fault.kind == "slow_headers":
            self._silence(fault.seconds)
        outcome = refused or service.outcome(incoming, fault)
        if refused is None:
            service.note(incoming, outcome)
        self._send(incoming, outcome, fault, began)

    def _incoming(self, service: Service, raw: bytes) -> Incoming:
        address = urlsplit(self.path)
        return Incoming(
            method=self.command,
            path=address.path.rstrip("/") or "/",
            query=dict(parse_qsl(address.query)),
            headers={name.lower(): value for name, value in self.headers.items()},
            raw=raw,
            body=_json_or_none(raw),
            request_id=service.engine.new_id("req_01"),
        )

    def _body(self) -> bytes | None:
        """Return the body; None where it is longer than the limit, what is too much being read and dropped."""
        out, size = bytearray(), 0
        for length in self._lengths():
            size += length
            for start in range(0, length, _READ):
                part = self.rfile.read(min(_READ, length - start))
                if not part:
                    raise ConnectionError("the client left in the middle of its request")
                if size <= MAX_BODY:
                    out += part
        return bytes(out) if size <= MAX_BODY else None

    def _lengths(self) -> Iterator[int]:
        """Yield how many bytes come next: all of them, or those of each chunk."""
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            yield max(0, int(self.headers.get("content-length") or 0))
            return
        while size := max(0, int(self.rfile.readline(64).split(b";")[0] or b"0", 16)):
            yield size
            self.rfile.readline(64)
        self.rfile.readline(64)

    def _send(self, incoming: Incoming, outcome: HttpAnswer, fault: Fault | None, began: float) -> None:
        pacer = self.server.service.pacer
        timing = outcome.timing
        if timing is not None:
            pacer.wait(timing.queue + timing.ttft)
        if outcome.on_first_token is not None:
            outcome.on_first_token()
        if outcome.events is not None:
            self._send_stream(incoming, outcome, outcome.events, fault, began)
            return
        if timing is not None:
            pacer.wait(timing.tokens * timing.tpot)
        self._send_whole(incoming, outcome, fault, began)

    def _send_whole(self, incoming: Incoming, outcome: HttpAnswer, fault: Fault | None, began: float) -> None:
        kind = fault.kind if fault is not None else ""
        data = _GARBAGE if kind == "garbage" else _encode(outcome.body)
        self._head(incoming, outcome, began, {"content-type": "application/json", "content-length": str(len(data))})
        if kind in ("stall", "drop"):
            self.wfile.write(data[: len(data) // 2])
            if fault is None or not self._broken(fault):
                return
            data = data[len(data) // 2 :]
        self.wfile.write(data)

    def _send_stream(
        self, incoming: Incoming, outcome: HttpAnswer, events: Sequence[StreamEvent], fault: Fault | None, began: float
    ) -> None:
        headers = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
        self._head(incoming, outcome, began, {**headers, "transfer-encoding": "chunked"})
        tpot = outcome.timing.tpot if outcome.timing is not None else 0.0
        service = self.server.service
        at = min(fault.after_events, len(events) - 1) if fault is not None else -1
        for i, event in enumerate(events):
            if i == at and fault is not None and not self._disturb(fault, outcome):
                return
            service.pacer.wait(event.tokens * tpot)
            if service.pacer.stopping.is_set():
                self._reset()
                return
            self._chunk(event.data)
        self.wfile.write(b"0\r\n\r\n")

    def _disturb(self, fault: Fault, outcome: HttpAnswer) -> bool:
        """Let `fault` happen in the middle of a stream. Whether the stream goes on afterwards."""
        if fault.kind in ("stall", "drop"):
            return self._broken(fault)
        if fault.kind in ("error_event", "garbage"):
            self._chunk(outcome.error_event if fault.kind == "error_event" else _GARBAGE)
            self.wfile.write(b"0\r\n\r\n")
            return False
        return True

    def _broken(self, fault: Fault) -> bool:
        if fault.kind == "drop":
            self._reset()
            return False
        return self._silence(fault.seconds)

    def _silence(self, seconds: float) -> bool:
        """Say nothing for real `seconds`. False, and the line closed, when the client or the simulator gave up."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self.server.service.pacer.stopping.is_set() or self._client_left(min(left, 0.05)):
                self._reset()
                return False
        return True

    def _client_left(self, seconds: float) -> bool:
        readable, _, _ = select.select([self.connection], [], [], seconds)
        return bool(readable) and not self.connection.recv(1, socket.MSG_PEEK)

    def _head(self, incoming: Incoming, outcome: HttpAnswer, began: float, headers: Mapping[str, str]) -> None:
        self.send_response(outcome.status)
        elapsed = (time.perf_counter() - began) * 1000
        own = {
            "request-id": incoming.request_id,
            "x-request-id": incoming.request_id,  # OpenAI's name for it
            outcome.server_time[0]: outcome.server_time[1].format(elapsed),
            "agentnb-sim": "1",
            **({"agentnb-sim-timing": outcome.timing.header()} if outcome.timing is not None else {}),
        }
        for name, value in {**headers, **own, **outcome.headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def _reset(self) -> None:
        """Break the connection as a crashed server does: a reset, not an orderly end."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.shutdown(socket.SHUT_RD)


def turned_away(incoming: Incoming) -> HttpAnswer | None:
    """Refuse what a web page could send: by another host's name, from another origin, or as a form or text."""
    origin = incoming.headers.get("origin")
    hosts = [f"//{incoming.headers.get('host', '')}", *([origin] if origin is not None else [])]
    unnamed = origin is None and incoming.headers.get("sec-fetch-site") == "cross-site"  # an image's, or a link's
    if unnamed or not all(_is_loopback(address) for address in hosts):
        return _refusal(
            403, "Only programs on this machine may ask: Host, and Origin where there is one, are loopback."
        )
    kind = incoming.headers.get("content-type", "").partition(";")[0].strip().lower()
    if incoming.raw and kind != "application/json":
        return _refusal(415, f"The body is {kind or 'of no type'}, and has to be application/json.")
    return None


def too_long() -> HttpAnswer:
    """Refuse a body that is longer than any provider takes."""
    return _refusal(413, f"The request is longer than {MAX_BODY:,} bytes.")


def _refusal(status: int, message: str) -> HttpAnswer:
    return HttpAnswer(status=status, body={"error": {"type": "invalid_request_error", "message": message}})


def _is_loopback(address: str) -> bool:
    try:
        return urlsplit(address).hostname in ("127.0.0.1", "localhost", "::1")
    except ValueError:
        return False


def _json_or_none(raw: bytes) -> Any:
    try:
        return json.loads(raw) if raw else None
    except (ValueError, RecursionError):
        return None


def _encode(body: object) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
