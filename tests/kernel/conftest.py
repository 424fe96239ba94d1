"""A real IPython kernel, driven as a front end drives it: execute requests with cell ids, outputs, interrupts."""

from __future__ import annotations

import os
import queue
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.manager import KernelManager

RUN = "application/vnd.agentnb.run.v1+json"
WIDGET = "application/vnd.jupyter.widget-view+json"


@dataclass
class Result:
    """What one cell gave: displayed bundles in their final form, stream text, the error if any."""

    status: str = ""
    displays: list[dict[str, Any]] = field(default_factory=list)
    by_id: dict[str, int] = field(default_factory=dict)
    stdout: str = ""
    error: str = ""
    messages: list[dict[str, Any]] = field(default_factory=list)

    @property
    def run(self) -> dict[str, Any]:
        return next(bundle[RUN] for bundle in reversed(self.displays) if RUN in bundle)

    @property
    def text(self) -> str:
        return "\n".join(bundle.get("text/plain", "") for bundle in self.displays)

    def take(self, message: dict[str, Any]) -> None:
        kind, content = message["header"]["msg_type"], message["content"]
        self.messages.append(message)
        if kind in ("display_data", "execute_result"):
            self._show(content)
        elif kind == "update_display_data":
            self.displays[self.by_id[content["transient"]["display_id"]]] = content["data"]
        elif kind == "stream":
            self.stdout += content["text"]
        elif kind == "error":
            self.error = " ".join(content["traceback"])  # ours is wrapped; a real traceback has lines within

    def _show(self, content: dict[str, Any]) -> None:
        name = content.get("transient", {}).get("display_id")
        if name:
            self.by_id[name] = len(self.displays)
        self.displays.append(content["data"])


class Kernel:
    """One kernel in a directory of its own."""

    def __init__(self, directory: Path, environment: dict[str, str]) -> None:
        self.directory = directory
        self._owners: dict[str, Result] = {}
        self.manager = KernelManager(transport="ipc", ip=str(directory / "kernel"))
        self.manager.start_kernel(cwd=str(directory), env=environment)
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    def send(self, code: str, cell: str | None = None) -> str:
        # `allow_stdin` as JupyterLab sends it: a person is there, so the live view is opened.
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": True}
        message = self.client.session.msg("execute_request", content, metadata={"cellId": cell} if cell else {})
        self.client.shell_channel.send(message)
        return str(message["header"]["msg_id"])

    def collect(
        self,
        request: str,
        *,
        until: Callable[[Result], bool] | None = None,
        into: Result | None = None,
        timeout: float = 60,
    ) -> Result:
        """Everything that the request gave, up to its end or until `until` holds; added to `into` where given."""
        result = into or Result()
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            message = self._next(deadline)
            if message is None:
                continue
            if message["header"]["msg_type"] == "update_display_data":
                self._update(message)
                continue
            if message["parent_header"].get("msg_id") != request:
                continue
            if message["header"]["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                break
            result.take(message)
            self._owners |= dict.fromkeys(result.by_id, result)
            if until is not None and until(result):
                return result
        result.status = self._reply_status(request, deadline)
        return result

    def _update(self, message: dict[str, Any]) -> None:
        """An update goes to the cell that owns the display, whichever cell runs meanwhile."""
        owner = self._owners.get(message["content"]["transient"]["display_id"])
        if owner is not None:
            owner.take(message)

    def _reply_status(self, request: str, deadline: float) -> str:
        while True:
            reply = self.client.get_shell_msg(timeout=max(deadline - time.monotonic(), 0.01))
            if reply["parent_header"].get("msg_id") == request:
                return str(reply["content"]["status"])

    def _next(self, deadline: float) -> dict[str, Any] | None:
        try:
            return dict(self.client.get_iopub_msg(timeout=max(deadline - time.monotonic(), 0.01)))
        except queue.Empty:
            return None

    def run(self, code: str, cell: str | None = None) -> Result:
        return self.collect(self.send(code, cell))

    def ok(self, code: str, cell: str | None = None) -> Result:
        result = self.run(code, cell)
        assert result.status == "ok", result.error or result.stdout
        return result

    def value(self, expression: str) -> Any:
        """The value of a JSON-able expression in the kernel."""
        import json

        out = self.ok(f"import json as _j; print(_j.dumps({expression}))").stdout
        return json.loads(out)

    def stop(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


MODULE = '''"""Shapes for the tests."""

import math

SIDES = 4


def decorate(function):
    return function


@decorate
def area(width, height=SIDES):
    """Area of a rectangle."""
    return scale(width) * height


def scale(value):
    """Twice the value."""
    return value * math.floor(2.5)


class Box:
    """A box."""

    def volume(self, depth):
        """Volume in cubes."""
        return area(1, 2) * depth
'''


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    drop = {"ANTHROPIC_API_KEY", "GOOGLE_API_KEY", "GEMINI_API_KEY", "OPENAI_API_KEY", "ANTHROPIC_BASE_URL"}
    kept = {name: value for name, value in os.environ.items() if name not in drop}
    return kept | {
        "AGENTNB_HOME": str(tmp_path / "home"),
        "AGENTNB_MODEL": "sim:claude-sonnet-4-6",
        "AGENTNB_SIM_SPEED": "0",
        "IPYTHONDIR": str(tmp_path / "ipython"),
    }


@pytest.fixture
def start(tmp_path: Path, environment: dict[str, str]) -> Iterator[Callable[..., Kernel]]:
    """Start kernels; each is stopped at the end. `start(NAME="value")` sets variables for it."""
    directory = tmp_path / "work"
    directory.mkdir()
    (directory / "shapes.py").write_text(MODULE)
    kernels: list[Kernel] = []

    def make(**changes: str) -> Kernel:
        kernels.append(Kernel(directory, environment | changes))
        return kernels[-1]

    yield make
    for kernel in kernels:
        kernel.stop()


@pytest.fixture
def kernel(start: Callable[..., Kernel]) -> Kernel:
    """A kernel with the extension loaded."""
    made = start()
    made.ok("%load_ext agentnb")
    return made
