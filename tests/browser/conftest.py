"""A real JupyterLab on loopback, driven by a real Chromium. Everything it writes lies in temporary directories.

Run with the environment of `make env-lab`: `.venv-lab/bin/python -m pytest -m browser tests/browser`.
`AGENTNB_CHROMIUM` names another browser; under CI a missing one is a failure, elsewhere a skip that says so.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import forked_python
import pytest
import screenshots
from patience import wait_until

ROOT = Path(__file__).parents[2]
# Wide enough that a loaded two-core machine passes; a healthy one needs a twentieth of it.
PATIENCE = 120_000  # milliseconds
BROWSER_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
ERROR = "[data-mime-type='application/vnd.jupyter.error'], [data-mime-type='application/vnd.jupyter.stderr']"
THEMES = "@jupyterlab/apputils-extension/themes"
# Each kernel of Lab's asks a simulator of its own, whose pace is that of the models unless a test wants it at once.
# ipywidgets was imported before the kernel was, and then a page that is loaded anew cannot ask for all widgets at once.
SPEED = """
import os
import ipywidgets
ipywidgets.register_comm_target()
if os.path.exists(os.path.join(os.environ["IPYTHONDIR"], "at-once")):
    os.environ["AGENTNB_SIM_SPEED"] = "0"
"""
KEYS = ("ANTHROPIC_API_KEY", "GOOGLE_API_KEY", "GEMINI_API_KEY", "OPENAI_API_KEY")


def missing(what: str) -> None:
    """A named skip on a developer's machine, a failure where the tests must have run."""
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)


@dataclass(frozen=True, kw_only=True)
class Lab:
    """A running JupyterLab: its address, the directory it serves, where its settings lie."""

    url: str
    files: Path
    settings: Path

    def put(self, name: str, cells: list[Any]) -> Path:
        """A fresh notebook with these code cells, or whole cells."""
        path = self.files / name
        path.write_text(json.dumps(notebook_of(cells)))
        return path

    def theme(self, name: str) -> None:
        """`JupyterLab Light` or `JupyterLab Dark`, from the next page load on."""
        self.set(THEMES, {"theme": name})

    def look(self) -> str:
        """What a page that is loaded now looks like."""
        path = self.place_of(THEMES)
        return path.read_text() if path.exists() else ""

    def place_of(self, plugin: str) -> Path:
        return self.settings / f"{plugin}.jupyterlab-settings"

    def set(self, plugin: str, values: dict[str, Any]) -> None:
        path = self.place_of(plugin)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))

    def end_kernels(self) -> None:
        """End every kernel of the server, as a person does who shuts all of them down."""
        wait_until(lambda: self._asked_to_end() == 0, "a kernel does not end")

    def _asked_to_end(self) -> int:
        """Return the count of kernels that ran. The server refuses to end one that ends already, with 404 or 500."""
        running = self._kernels()
        for kernel in running:
            request = urllib.request.Request(f"{self.url}/api/kernels/{kernel}", method="DELETE")
            with contextlib.suppress(urllib.error.HTTPError):
                urllib.request.urlopen(request, timeout=PATIENCE / 1000).close()
        return len(running)

    def _kernels(self) -> list[str]:
        """The ids of all kernels. While one begins, the server fails to list any, for it has no last activity."""
        until = time.monotonic() + PATIENCE / 1000
        while True:
            try:
                with urllib.request.urlopen(f"{self.url}/api/kernels", timeout=PATIENCE / 1000) as answer:
                    return [kernel["id"] for kernel in json.load(answer)]
            except urllib.error.HTTPError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)


def notebook_of(cells: list[Any]) -> dict[str, Any]:
    code = {"cell_type": "code", "metadata": {}, "execution_count": None, "outputs": []}
    made = [c if isinstance(c, dict) else code | {"id": f"cell-{n}", "source": c} for n, c in enumerate(cells)]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {"cells": made, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


# Opens a notebook in the page that is loaded, by the page's own means, as the only one of its window.
OPEN = """async name => {
    const app = window.jupyterapp;
    if (location.pathname.startsWith("/notebooks/")) history.replaceState(null, "", `/notebooks/${name}`);
    await app.commands.execute("docmanager:open", {path: name, options: {ref: "_noref"}});
}"""
# Lab draws the first cells of a notebook, and the others when it has time.
ALL_DRAWN = """() => document.querySelectorAll(".jp-Notebook .jp-Cell").length ===
    window.jupyterapp.shell.currentWidget.content.model.cells.length"""
SAVE = "() => window.jupyterapp.shell.currentWidget.context.save()"
CLOSE = """async () => {
    await window.jupyterapp.restored;
    for (const open of [...window.jupyterapp.shell.widgets('main')]) open.dispose();
}"""


class Page:
    """One notebook open in the browser: run cells, wait for prompts, look at outputs, save."""

    def __init__(self, page: Any, lab: Lab) -> None:
        self.page = page
        self.lab = lab
        page.on("dialog", lambda dialog: dialog.accept())  # whether to leave what is not saved

    def open_in_notebook(self, name: str) -> Page:
        """In Notebook 7, which the same server serves."""
        self.page.goto(f"{self.lab.url}/notebooks/{name}", timeout=PATIENCE)
        self.page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=PATIENCE)
        return self

    def open_next(self, name: str) -> Page:
        """In the page as it is: a tenth of the work of loading it."""
        self.page.bring_to_front()
        self.page.evaluate(OPEN, name)
        self.page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=PATIENCE)
        return self

    def close_notebook(self) -> None:
        self.page.evaluate(CLOSE)

    def theme(self, name: str) -> None:
        """Change the theme of this page, as its settings menu does."""
        self.page.evaluate("theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})", name)
        self.page.wait_for_function("theme => document.body.dataset.jpThemeName === theme", arg=name)

    def open(self, name: str) -> Page:
        # `reset` drops the workspace, so that every test begins with this notebook alone. It has a name of its own, for
        # a page whose workspace another has open loads itself once more under another name.
        place = f"{self.lab.url}/lab/workspaces/{uuid.uuid4().hex}/tree/{name}?reset"
        self.page.goto(place, timeout=PATIENCE)
        self.page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=PATIENCE)
        if self.page.locator("#jp-left-stack").is_visible():
            self.page.keyboard.press("Control+b")  # the file browser takes most of a narrow window
        return self

    def wait_idle(self) -> None:
        """Lab drops a Shift+Enter that comes before the kernel is idle for the first time."""
        status = self.page.locator("#jp-main-statusbar", has_text=re.compile(r"\| Idle"))
        if "/notebooks/" in self.page.url:  # it tells every status but idle and busy in words
            status = self.page.locator(".jp-NotebookKernelStatus-fade:empty")
        try:
            status.wait_for(state="attached", timeout=PATIENCE)
        except Exception as never:  # it came once in many runs, on a loaded machine: say what there was to see
            self.picture("never-idle")
            never.add_note(self.page.locator("body").inner_text()[-500:])
            never.add_note((self.lab.settings.parent / "lab.log").read_text()[-5000:])
            raise

    def cell(self, index: int) -> Any:
        return self.page.locator(".jp-Notebook .jp-Cell").nth(index)

    def output(self, index: int) -> Any:
        return self.cell(index).locator(".jp-Cell-outputArea")

    def run(self, index: int) -> None:
        """Start a cell; does not wait for it."""
        self.cell(index).locator(".cm-content").click(timeout=PATIENCE)
        self.page.keyboard.press("Shift+Enter")

    def wait_done(self, index: int, *, fails: bool = False) -> None:
        prompt = self.cell(index).locator(".jp-InputPrompt", has_text=re.compile(r"\[\d+\]"))
        prompt.wait_for(timeout=PATIENCE)
        failed = self.output(index).locator(ERROR)
        assert (failed.count() > 0) is fails, failed.all_inner_texts()

    def ran(self, index: int) -> str:
        """Run a cell to its end; its outputs' text."""
        self.run(index)
        self.wait_done(index)
        return str(self.output(index).inner_text())

    def reload(self) -> None:
        """Load the page anew, whatever is not saved."""
        place = self.page.url.partition("?")[0]
        self.page.goto(place if "/notebooks/" in place else f"{place}?reset")
        self.page.wait_for_selector(".jp-Notebook .jp-Cell")

    def run_all(self, *, failing: Collection[int] = ()) -> None:
        """Every code cell from top to bottom, each awaited; those in `failing` end with an error."""
        self.page.wait_for_function(ALL_DRAWN, timeout=PATIENCE)
        for index in range(self.page.locator(".jp-Notebook .jp-Cell").count()):
            cell = self.cell(index)
            cell.scroll_into_view_if_needed(timeout=PATIENCE)
            if "jp-CodeCell" in (cell.get_attribute("class") or ""):
                self.run(index)
                self.wait_done(index, fails=index in failing)

    def save(self, path: Path) -> dict[str, Any]:
        """Save and return the notebook as it is in the file.

        By the page's own means: Lab drops the key while a save before has its checkpoint made.
        """
        self.page.evaluate(SAVE)
        saved: dict[str, Any] = json.loads(path.read_text())
        return saved

    def resize(self, width: int, height: int) -> None:
        """Make the window so large, and let Lab lay the notebook out anew."""
        self.page.set_viewport_size({"width": width, "height": height})
        self.page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def picture(self, name: str, *, of: Any = None) -> None:
        """Bring it into view, and take a picture of it where pictures are wanted."""
        if of:
            of.scroll_into_view_if_needed()
        screenshots.take(of or self.page, name)


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """JupyterLab with directories of its own, no token, no key, the simulator as the model."""
    try:
        import jupyterlab  # noqa: F401
    except ImportError:
        missing("jupyterlab is not installed here; run these tests with the environment of `make env-lab`")
    base = tmp_path_factory.mktemp("lab")
    home = Lab(url=f"http://127.0.0.1:{free_port()}", files=made(base / "files"), settings=made(base / "settings"))
    home.set("@jupyterlab/apputils-extension/notification", {"fetchNews": "false", "checkForUpdates": False})
    environment = lab_environment(base)
    with (base / "lab.log").open("wb") as log, forked_kernels(base, environment):
        server = subprocess.Popen(lab_command(home), env=environment, cwd=home.files, stdout=log, stderr=log)
        try:
            wait_for_server(home.url, server, base / "lab.log")
            yield home
        finally:
            server.terminate()
            server.wait(PATIENCE / 1000)


@contextlib.contextmanager
def forked_kernels(base: Path, environment: dict[str, str]) -> Iterator[None]:
    """Have the server start kernels that have imported everything."""
    with forked_python.serving(base / "processes", environment) as python:
        forked_python.write_kernel_spec(base / "jupyter_path", python)
        yield


def lab_command(lab: Lab) -> list[str]:
    flags = {"ip": "127.0.0.1", "port": lab.url.rpartition(":")[2], "port_retries": "0", "root_dir": str(lab.files)}
    options = [f"--ServerApp.{name}={value}" for name, value in flags.items()]
    # Through it a test opens the next notebook in a page that is loaded.
    options += [f"--{app}.expose_app_in_browser=True" for app in ("LabApp", "JupyterNotebookApp")]
    open_door = ["--IdentityProvider.token=", "--ServerApp.disable_check_xsrf=True", "--no-browser", "--allow-root"]
    return [sys.executable, "-m", "jupyterlab", *options, *open_door]


def lab_environment(base: Path) -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if name not in KEYS}
    places = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR", "AGENTNB_HOME")
    env |= {name: str(made(base / name.lower())) for name in places}
    # The extension as the tree has it, whatever is installed: this path is looked through before any other.
    extension = base / "jupyter_path" / "labextensions" / "agentnb-jupyter"
    extension.parent.mkdir(parents=True)
    extension.symlink_to(ROOT / "agentnb" / "notebook" / "lab" / "built")
    env |= {"JUPYTER_PATH": str(base / "jupyter_path")}
    env |= {"JUPYTERLAB_SETTINGS_DIR": str(base / "settings"), "JUPYTERLAB_WORKSPACES_DIR": str(base / "workspaces")}
    startup = base / "ipythondir" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "speed.py").write_text(SPEED)
    return env | {"AGENTNB_MODEL": "sim:claude-sonnet-4-6", "JUPYTER_PLATFORM_DIRS": "1"}


def wait_for_server(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE / 1000
    while time.monotonic() < deadline:
        assert server.poll() is None, f"JupyterLab ended:\n{log.read_text()[-3000:]}"
        try:
            with urllib.request.urlopen(f"{url}/api", timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
    pytest.fail(f"JupyterLab did not answer:\n{log.read_text()[-3000:]}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def made(path: Path) -> Path:
    path.mkdir(mode=0o700)
    return path


@pytest.fixture(scope="session")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One profile on disk for all pages: there Chromium keeps what it has loaded and compiled."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("playwright is not installed here; run these tests with the environment of `make env-lab`")
    named = os.environ.get("AGENTNB_CHROMIUM")
    found = named or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not found or not Path(found).exists():
        missing(f"no Chromium found ({named or 'chromium'}); install it, or name it in AGENTNB_CHROMIUM")
    with sync_playwright() as driver:
        place = tmp_path_factory.mktemp("profile")
        running = driver.chromium.launch_persistent_context(str(place), executable_path=found, args=BROWSER_FLAGS)
        running.set_default_timeout(PATIENCE)
        yield running
        running.close()


@pytest.fixture
def browser(profile: Any) -> Any:
    return profile.browser


@pytest.fixture(scope="session")
def loaded() -> dict[tuple[str, bool], Page]:
    """The pages that stay loaded between tests, by the look that was set when they were loaded, and by front end."""
    return {}


@pytest.fixture
def open_page(
    request: pytest.FixtureRequest, profile: Any, lab: Lab, loaded: dict[tuple[str, bool], Page]
) -> Iterator[Any]:
    """`open_page(name, width=…, height=…, in_notebook=…)` opens a notebook in a page that an earlier test has left.

    A page is loaded where there is none of this look, after a test that failed, or where a test wants it `fresh`.
    """
    taken: dict[tuple[str, bool], Page] = {}
    others: list[Page] = []

    def opened(
        name: str, *, width: int = 1280, height: int = 1000, in_notebook: bool = False, fresh: bool = False
    ) -> Page:
        key = (lab.look(), in_notebook)
        if key in loaded and key not in taken and not fresh:
            page = taken[key] = loaded[key]
            page.page.set_viewport_size({"width": width, "height": height})
            return page.open_next(name)
        page = Page(profile.new_page(), lab)
        if fresh or key in taken:
            others.append(page)
        else:
            taken[key] = loaded[key] = page
        page.page.set_viewport_size({"width": width, "height": height})
        return page.open_in_notebook(name) if in_notebook else page.open(name)

    failed = request.session.testsfailed
    yield opened
    if request.session.testsfailed > failed:
        others += [loaded.pop(key) for key in taken]
    else:
        for page in taken.values():
            page.close_notebook()
    for page in others:
        page.page.close()
    lab.end_kernels()  # Lab gives a notebook that is opened again its old one; a test must not inherit it


@pytest.fixture
def quickstart(lab: Lab) -> Path:
    """A fresh copy of the quickstart, with what lies beside it. Its name is its own: no answer of another is kept."""
    unwanted = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
    shutil.copytree(ROOT / "notebooks", lab.files, ignore=unwanted, dirs_exist_ok=True)
    copy = lab.files / f"quickstart-{next(_COPIES)}.ipynb"
    shutil.copy(lab.files / "01-quickstart.ipynb", copy)
    return copy


_COPIES = itertools.count(1)


@pytest.fixture
def light(lab: Lab) -> Iterator[None]:
    lab.theme("JupyterLab Light")
    yield
    lab.theme("JupyterLab Light")


@pytest.fixture
def at_once(lab: Lab) -> Iterator[None]:
    """Replies come at once: for tests that look at what comes of a run, and not at the run."""
    flag = lab.settings.parent / "ipythondir" / "at-once"  # not among the files: Lab may list them as it goes
    flag.touch()
    yield
    flag.unlink()


@pytest.fixture(params=["lab", "notebook"])
def front(request: pytest.FixtureRequest, lab: Lab, open_page: Any, light: None) -> Any:
    """Open a notebook with these cells in each of the two front ends, and run those before `upto`."""

    def opened(name: str, cells: list[Any], *, upto: int = 1) -> tuple[Page, Path]:
        path = lab.put(f"{name}-{request.param}.ipynb", cells)
        page: Page = open_page(path.name, in_notebook=request.param == "notebook")
        page.wait_idle()
        for index in range(upto):
            page.ran(index)
        return page, path

    return opened
