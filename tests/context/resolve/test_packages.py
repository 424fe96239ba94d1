"""The index of packages: what it finds, how it keeps up, and that it neither waits, nor lies, nor outlives anybody."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import networkx
import pytest

from agentnb.context.notebook.cells import CellIndex
from agentnb.context.resolve import indexer as beside
from agentnb.context.resolve.files import FileIndex
from agentnb.context.resolve.indexer import Indexer, child_command, packages_in_use
from agentnb.context.resolve.indexing import behind, index_package, listed
from agentnb.context.resolve.packages import PackageIndex
from agentnb.context.resolve.resolution import Resolver, Unresolved
from agentnb.context.selection import select

SOURCES = {
    "tides/__init__.py": "from .model import Model\n",
    "tides/model.py": """
        RATE = 2
        class Model:
            size = 1
            def fit(self): return RATE
            def __repr__(self): return "m"
        def harmonic_mean(x): return x
        def _hidden_helper(): pass
        def both_of_them(): pass
    """,
    "tides/deep/waves.py": "def crest_height(x): return x\ndef both_of_them(): pass\n",
    "tides/tests/test_model.py": "def harmonic_mean(): pass\ndef only_in_tests(): pass\n",
}


@pytest.fixture
def package(write: Callable[[str, str], Path], project: Path) -> Path:
    for path, text in SOURCES.items():
        write(path, text)
    write("tides/deep/__init__.py", "")
    return project / "tides"


@pytest.fixture
def index(tmp_path: Path) -> Iterator[PackageIndex]:
    made = PackageIndex(tmp_path / "home")
    yield made
    made.close()


@pytest.fixture
def indexer(index: PackageIndex) -> Iterator[Indexer]:
    made = Indexer(index)
    yield made
    made.stop()


def filled(index: PackageIndex, package: Path) -> PackageIndex:
    (index.home).mkdir(mode=0o700, exist_ok=True)
    assert index_package(index, package.name, package)
    return index


def names(index: PackageIndex, name: str, package: Path) -> list[str]:
    return [f"{place.module}.{place.qualified}" for place in index.named(name, [package])]


# what it finds ----------------------------------------------------------------------------------------------------


def test_names_lead_to_the_places_that_define_them_likeliest_first(index: PackageIndex, package: Path) -> None:
    filled(index, package)
    assert names(index, "harmonic_mean", package) == [
        "tides.model.harmonic_mean",
        "tides.tests.test_model.harmonic_mean",
    ]
    assert names(index, "fit", package) == names(index, "Model.fit", package) == ["tides.model.Model.fit"]
    assert names(index, "RATE", package) == ["tides.model.RATE"]
    assert names(index, "Other.fit", package) == names(index, "__repr__", package) == []
    assert index.beginning("h", [package]) == ["harmonic_mean"]
    assert index.named("harmonic_mean", [package])[0].lines == (6, 6)
    assert index.named("harmonic_mean", [package.parent / "other"]) == []
    assert [str(item) for item in index.progress([package])] == ["index: tides, 5 files"]


def test_the_packages_in_use_are_those_of_cells_and_of_the_namespace_s_modules(package: Path) -> None:
    cells = CellIndex(str)
    cells.record(
        "import networkx.algorithms as a\nfrom tides.deep import *\nimport math, no_such_thing", cell_id="a", number=1
    )
    found = packages_in_use(cells.imported(), {"js": sys.modules["textwrap"], "_os": os, "x": 3}, [package.parent])
    home = Path(networkx.__file__).parent
    assert found == {"networkx": home, "textwrap": Path(textwrap.__file__), "tides": package}


# keeping up -------------------------------------------------------------------------------------------------------


def test_only_what_changed_is_read_again(index: PackageIndex, package: Path) -> None:
    filled(index, package)
    assert behind(index, package).changed == []
    (package / "model.py").write_text("def another_one(): pass\n")
    (package / "deep" / "waves.py").unlink()
    todo = behind(index, package)
    assert (todo.changed, todo.gone) == ([str(package / "model.py")], [str(package / "deep" / "waves.py")])
    filled(index, package)
    assert names(index, "another_one", package) == ["tides.model.another_one"]
    assert names(index, "crest_height", package) == names(index, "both_of_them", package) == []


def test_a_stale_index_never_gives_stale_text(index: PackageIndex, indexer: Indexer, package: Path) -> None:
    indexer.want({"tides": package})
    assert indexer.wait(30)

    def resolve(name: str) -> object:
        resolver = Resolver(cells=CellIndex(str), namespace={}, index=FileIndex(index), packages=indexer)
        found = resolver.resolve(name)
        return None if isinstance(found, Unresolved) else found.source

    assert resolve("crest_height") == "def crest_height(x): return x"
    assert resolve("both_of_them") is None
    waves = package / "deep" / "waves.py"
    waves.write_text("# moved down\n\ndef crest_height(x): return 2 * x\n")
    assert resolve("crest_height") == "def crest_height(x): return 2 * x"
    waves.write_text("def renamed(): pass\n")
    assert resolve("crest_height") is None
    waves.unlink()
    assert resolve("crest_height") is None
    waves.mkdir()
    assert resolve("crest_height") is None


def test_a_task_gets_what_only_the_index_knows(index: PackageIndex, indexer: Indexer, package: Path) -> None:
    indexer.want({"tides": package})
    assert indexer.wait(30)
    resolver = Resolver(cells=CellIndex(str), namespace={"fit": 3}, index=FileIndex(), packages=indexer)

    def chosen(task: str) -> list[str]:
        return [item.definition.name for item in select(task, resolver, count=len).chosen]

    assert chosen("What does `crest_height` do?") == ["tides.deep.waves.crest_height"]
    assert chosen("What does crest_height do?") == ["tides.deep.waves.crest_height"]
    assert chosen("Use harmonic_mean, and only_in_tests and both_of_them and crest.") == ["tides.model.harmonic_mean"]
    assert chosen("`fit`?") == []  # the notebook's own variable
    assert chosen("A log: " + " ".join(f"word_{i}" for i in range(1000)) + " crest_height") == []
    ambiguous = resolver.resolve("both_of_them")
    assert isinstance(ambiguous, Unresolved)
    assert "ambiguous: tides.model.both_of_them, tides.deep.waves.both_of_them" in ambiguous.reason


# what may lie on a disk -------------------------------------------------------------------------------------------


def test_nothing_on_a_disk_stops_the_pass(index: PackageIndex, package: Path) -> None:
    def put(name: str, data: bytes) -> None:
        (package / name).write_bytes(data)

    put("latin.py", "# -*- coding: latin-1 -*-\ndef in_latin(): return 'é'\n".encode("latin-1"))
    put("marked.py", b"\xef\xbb\xbfdef after_a_mark(): pass\n")
    put("bad.py", b"def in_bad_bytes(): return '\xff'\n")
    put("null.py", b"def before_null(): pass\n\ndef f(): return '\x00'\n")
    put("windows.py", b"import os\r\n\r\ndef on_windows():\r\n    return os\r\n")
    put("broken.py", b"def still_there(): pass\n\ndef broken(:\n")
    put("nested.py", b"x = " + b"(" * 5000 + b")" * 5000 + b"\n\ndef beside_it(): pass\n")
    put("empty.py", b"")
    put("strange.py", b"# coding: no-such-coding\n")
    put("builtin.py", b"def print(): pass\nclass dict: pass\n")
    (package / "loop").symlink_to(package)
    (package / "self.py").symlink_to(package / "self.py")
    (package / "gone.py").symlink_to(package / "nowhere.py")
    (package / "folder.py").mkdir()
    if hasattr(os, "mkfifo"):
        os.mkfifo(package / "pipe.py")
    filled(index, package)
    assert behind(index, package).changed == []
    for name in ("in_latin", "after_a_mark", "before_null", "on_windows", "still_there", "beside_it", "print", "dict"):
        assert len(names(index, name, package)) == 1, name
    assert names(index, "in_bad_bytes", package) == []
    assert not any("loop" in path or "pipe" in path or "folder" in path for path in listed(package))


def test_a_package_that_vanishes_is_forgotten_without_trouble(index: PackageIndex, package: Path) -> None:
    filled(index, package)
    package.rename(package.parent / "elsewhere")
    filled(index, package)
    assert names(index, "crest_height", package) == []
    assert index.progress([package])
    index.forget_missing()
    assert index.progress([package]) == []
    assert listed(package / "no_module.py") == {}


def test_a_file_that_is_written_meanwhile_is_left_to_the_next_pass(
    index: PackageIndex, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Path.read_bytes

    def write_after(path: Path) -> bytes:
        data = read(path)
        if path.name == "waves.py":
            path.write_bytes(data[:10])
        return data

    monkeypatch.setattr(Path, "read_bytes", write_after)
    filled(index, package)
    assert names(index, "crest_height", package) == []
    monkeypatch.undo()
    assert behind(index, package).changed == [str(package / "deep" / "waves.py")]


def test_a_damaged_index_is_made_anew_and_a_locked_one_keeps_nobody_waiting(index: PackageIndex, package: Path) -> None:
    filled(index, package)
    index.close()
    index.database.write_bytes(b"not a database at all" * 500)
    assert names(index, "crest_height", package) == []
    filled(index, package)
    assert names(index, "crest_height", package) == ["tides.deep.waves.crest_height"]
    other = sqlite3.connect(index.database, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    source = package / "long.py"
    source.write_text("".join(f"def f{i}(x):\n    return x + {i}\n" for i in range(1000)))
    found = FileIndex(index).definitions(source, module="tides.long")
    assert found is not None
    assert "f999" in found.chosen
    other.close()


def test_an_index_of_another_format_is_made_anew(index: PackageIndex, package: Path) -> None:
    filled(index, package)
    index.close()
    other = sqlite3.connect(index.database)
    other.execute("PRAGMA user_version = 999")
    other.close()
    assert names(index, "crest_height", package) == []
    filled(index, package)
    assert names(index, "crest_height", package) == ["tides.deep.waves.crest_height"]


def test_a_place_outside_of_the_package_is_never_read(index: PackageIndex, package: Path, tmp_path: Path) -> None:
    filled(index, package)
    other = sqlite3.connect(index.database, isolation_level=None)
    other.execute("UPDATE file SET path = ? WHERE path LIKE '%waves.py'", (str(tmp_path / "secret.py"),))
    other.close()
    assert names(index, "crest_height", package) == []


# beside the kernel ------------------------------------------------------------------------------------------------


def test_the_pass_runs_none_of_the_user_s_code_and_says_nothing(
    indexer: Indexer, package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    trap = f"open({str(tmp_path / 'ran')!r}, 'w')\nprint('ran')\n"
    for name in ("tides/trap.py", "sqlite3.py", "orjson.py", "ast.py", "sitecustomize.py", "usercustomize.py"):
        (package.parent / name).write_text(trap + "def found_it_all_the_same(): pass\n")
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    monkeypatch.chdir(package.parent)
    indexer.want({"tides": package})
    assert indexer.wait(30)
    assert indexer.named("found_it_all_the_same")
    assert not (tmp_path / "ran").exists()
    assert capfd.readouterr() == ("", "")


def test_where_no_process_can_be_made_the_thread_reads(index: PackageIndex, package: Path) -> None:
    indexer = Indexer(index, command=lambda: [str(package / "no-such-python")])
    indexer.want({"tides": package})
    assert indexer.wait(30)
    assert indexer.named("crest_height")
    indexer.stop()
    broken = Indexer(
        PackageIndex(index.home.parent / "other"), command=lambda: [sys.executable, "-c", "raise SystemExit(1)"]
    )
    broken.want({"tides": package})
    assert broken.wait(30)
    assert broken.named("crest_height")
    broken.stop()


def test_one_pass_at_a_time_and_none_is_lost(index: PackageIndex, package: Path) -> None:
    """While another process has the package, this one leaves it alone; the lock ends with its process."""
    filled(index, package)
    code = (
        f"import sys; sys.path[:] = {sys.path!r}\n"
        "from pathlib import Path; from agentnb.context.resolve.indexing import _locked\n"
        f"with _locked(Path({str(index.home)!r}), {str(package)!r}) as ours: print(ours, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"True\n"
        assert not index_package(index, "tides", package)
        (package / "more.py").write_text("def ebb_depth(): pass\n")
        second = Indexer(index)
        second.want({"tides": package})
        until(lambda: second._process is not None)
        assert second.busy  # it waits for the other
        holder.kill()
    assert second.wait(30)
    assert second.named("ebb_depth")
    second.stop()


def test_stopping_ends_the_process_and_leaves_no_zombie(
    index: PackageIndex, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[subprocess.Popen[bytes]] = []

    def start(command: list[str]) -> subprocess.Popen[bytes]:
        started.append(REAL_START(slow(command)))
        return started[-1]

    monkeypatch.setattr(beside, "start", start)
    indexer = Indexer(index)
    indexer.want({"tides": package})
    until(lambda: bool(started))
    assert indexer.busy
    assert [str(item) for item in indexer.progress()] == ["index: tides 0 of 5 files"]
    indexer.stop()
    assert not indexer.busy
    assert started[0].returncode is not None  # it has been waited for
    assert not [thread for thread in threading.enumerate() if thread.name == "agentnb-index"]


REAL_START = beside.start


def slow(command: list[str]) -> list[str]:
    """The process with a pass that takes a minute."""
    sleep = (
        "import time, agentnb.context.resolve.indexing as i; i.index_package = lambda *a, **k: time.sleep(60); main()"
    )
    return [*command[:-1], command[-1].replace("main()", sleep)]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_the_process_ends_with_the_kernel_however_that_ends(index: PackageIndex) -> None:
    index.home.mkdir(mode=0o700)
    command = slow(child_command())
    job = json.dumps({"home": str(index.home), "packages": {"x": "/x"}}) + "\n"
    code = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen({command!r}, stdin=subprocess.PIPE, start_new_session=True)\n"
        f"child.stdin.write({job.encode()!r}); child.stdin.flush()\n"
        "print(child.pid, flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as kernel:
        assert kernel.stdout is not None
        child = int(kernel.stdout.readline())
        assert alive(child)
        kernel.send_signal(signal.SIGKILL)
    until(lambda: not alive(child))


def alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "it never came to pass"
        time.sleep(0.01)
