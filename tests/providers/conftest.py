"""Short waits between attempts, and a server that answers whatever it is told to."""

from __future__ import annotations

import http.server
import threading
from dataclasses import dataclass, field

import pytest

from agentnb.providers import calling, transport


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between attempts, where the provider names no time: a tenth of what a user waits."""
    for module, name in ((transport, "FIRST_WAIT"), (calling, "PAUSE")):
        monkeypatch.setattr(module, name, getattr(module, name) / 10)


@dataclass
class Answering:
    """A server that gives every request the same answer, and counts."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    asked: int = 0

    def __enter__(self) -> Answering:
        answer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # else each body waits 40 ms for the acknowledgement of its head

            def do_POST(self) -> None:
                answer.asked += 1
                self.rfile.read(int(self.headers["content-length"]))
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            def log_message(self, *_: object) -> None:
                return

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"


@pytest.fixture(scope="session")
def answering() -> type[Answering]:
    return Answering
