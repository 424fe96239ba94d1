"""Real IPython kernels, driven as a front end drives them: execute requests with cell ids, outputs, interrupts.

A kernel takes three seconds to start and import everything, a test a tenth of that. So kernels are forked from a
process that has imported everything, and tests take a kernel over from the ones before: the extension is unloaded, no
name is defined, no cell has run. Only the imported packages are still there. So a test of what is imported when takes
a bare kernel, and one that changes agentnb puts back what it changed.
"""

from __future__ import annotations

import ast
import os
import queue
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.manager import KernelManager
from patience import PATIENCE

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


class Process:
    """A kernel's process: it goes from test to test."""

    def __init__(self, directory: Path, environment: dict[str, str], python: list[str]) -> None:
        self.manager = KernelManager(transport="ipc", ip=str(directory / "kernel"))
        self.manager.kernel_spec.argv = [*python, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        self.manager.start_kernel(cwd=str(directory), env=environment | {"IPYTHONDIR": str(directory / "ipython")})
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=PATIENCE)

    def is_as_new(self, directory: Path, environment: dict[str, str]) -> bool:
        """Make it as new, in this directory and environment; False where the test before has left it beyond that."""
        code = AS_NEW.format(directory=str(directory), environment=environment, tests=str(directory.parents[1]))
        try:
            reply = self.client.execute_interactive(
                code, silent=True, timeout=PATIENCE, output_hook=lambda message: None
            )
        except TimeoutError:
            return False
        return bool(reply["content"]["status"] == "ok")

    def stop(self) -> None:
        if self.manager.is_alive():
            self.client.stop_channels()
            self.manager.shutdown_kernel(now=True)


# All that a restart does, but for the packages that are imported.
AS_NEW = """
import importlib, os, sys
shell = get_ipython()
if "agentnb" in shell.extension_manager.loaded:
    shell.extension_manager.unload_extension("agentnb")
shell.config.pop("AgentNB", None)
if not hasattr(shell, "hooks_at_start"):
    shell.hooks_at_start = {{name: list(hooks) for name, hooks in shell.events.callbacks.items()}}
for name, hooks in shell.hooks_at_start.items():
    shell.events.callbacks[name][:] = hooks
if "matplotlib.pyplot" in sys.modules:
    sys.modules["matplotlib.pyplot"].close("all")
for name, module in list(sys.modules.items()):
    if str(getattr(module, "__file__", "")).startswith({tests!r}):
        del sys.modules[name]
os.environ.clear()
os.environ.update({environment!r})
os.chdir({directory!r})
importlib.invalidate_caches()
shell.reset(new_session=True)
"""


class Kernel:
    """One kernel in a directory of its own."""

    def __init__(self, directory: Path, process: Process) -> None:
        self.directory = directory
        self._owners: dict[str, list[Result]] = {}
        self._process = process
        self.manager, self.client = process.manager, process.client

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
    ) -> Result:
        """Everything that the request gave, up to its end or until `until` holds; added to `into` where given."""
        result = into or Result()
        deadline = time.monotonic() + PATIENCE
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
            self._own(result)
            if until is not None and until(result):
                return result
        result.status = self._reply_status(request, deadline)
        return result

    def _update(self, message: dict[str, Any]) -> None:
        """An update goes to the cells that show the display, whichever cell runs meanwhile."""
        for owner in self._owners.get(message["content"]["transient"]["display_id"], ()):
            owner.take(message)

    def _own(self, result: Result) -> None:
        for owners in (self._owners.setdefault(name, []) for name in result.by_id):
            if not any(owner is result for owner in owners):
                owners.append(result)

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

    def silently(self, expression: str) -> Any:
        """A literal's value in the kernel; no cell is run for it."""
        reply = self.client.execute(
            "", silent=True, store_history=False, user_expressions={"it": expression}, reply=True, timeout=PATIENCE
        )
        found = reply["content"]["user_expressions"]["it"]
        assert found["status"] == "ok", found
        return ast.literal_eval(found["data"]["text/plain"])

    def stop(self) -> None:
        self._process.stop()


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


@pytest.fixture(scope="session")
def idle() -> Iterator[list[Process]]:
    """The kernels that no test uses at the moment."""
    processes: list[Process] = []
    yield processes
    for process in processes:
        process.stop()


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """Where a test's kernels work."""
    directory = tmp_path / "work"
    directory.mkdir()
    (directory / "shapes.py").write_text(MODULE)
    return directory


@pytest.fixture
def start(
    work: Path,
    environment: dict[str, str],
    idle: list[Process],
    warm_python: list[str],
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[Callable[..., Kernel]]:
    """Start kernels, or take them over. `start(NAME="value")` sets variables for one; `start(new=True)` is for what
    happens once in a process, and `start(bare=True)` for what is imported when. Where a test fails, nobody takes its
    kernels over."""
    taken: list[Process] = []
    failed = request.session.testsfailed

    def make(*, new: bool = False, bare: bool = False, **changes: str) -> Kernel:
        if idle and not new and not bare:
            taken.append(idle.pop())
        else:
            taken.append(
                Process(tmp_path_factory.mktemp("kernel"), environment, [sys.executable] if bare else warm_python)
            )
        if not taken[-1].is_as_new(work, environment | changes):
            taken.pop().stop()
            return make(new=True, **changes)
        return Kernel(work, taken[-1])

    yield make
    if request.session.testsfailed == failed:
        idle += [process for process in taken if process.manager.is_alive()]
    else:
        for process in taken:
            process.stop()


@pytest.fixture
def kernel(start: Callable[..., Kernel]) -> Kernel:
    """A kernel with the extension loaded."""
    made = start()
    made.ok("%load_ext agentnb")
    return made
