"""A server on loopback for tests: whoever derives from it says how a request is answered."""

from __future__ import annotations

import http.server
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Self

Answer = tuple[int, Mapping[str, str], bytes]
"""(status, headers, body). The body's length is told besides, so that the connection stays open."""


class Loopback(ABC):
    """Serves from its making, or from `with` on, until it is closed."""

    ends_by_closing = False
    """True where a body ends with its connection, so that a cut looks like any other end."""

    @abstractmethod
    def answer(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Return what a POST is answered with."""

    def serve(self) -> Self:
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.0" if self.ends_by_closing else "HTTP/1.1"
            disable_nagle_algorithm = True  # else each body waits 40 ms for the acknowledgement of its head

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                status, headers, data = server.answer(self.path, self.headers, body)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if not server.ends_by_closing:
                    self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                return

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self.serve()

    def __exit__(self, *_: object) -> None:
        self.close()
