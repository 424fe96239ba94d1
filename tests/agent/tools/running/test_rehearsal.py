"""Code is tried in a copy of the process: it tells what would happen, and nothing of it happens."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from patience import PATIENCE

from agentnb.agent.tools.run_code import run_in
from agentnb.agent.tools.running.rehearsal import NOT_HERE, Rehearsal

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the guards that are looked at are Linux's")
KEPT_IN = "Tried in a copy of the kernel, without network and unable to change files"


@pytest.fixture
def space() -> dict[str, Any]:
    return {"x": 1, "items": [1, 2], "threading": threading, "os": os, "socket": socket}


@pytest.fixture
def tried(space: dict[str, Any]) -> Callable[..., str]:
    def rehearse(*codes: str, **limits: Any) -> str:
        return Rehearsal(namespace=space, run=lambda code: run_in(space, code), **limits)(codes)

    return rehearse


def test_it_tells_prints_names_and_the_error_and_nothing_stays(tried: Any, space: dict[str, Any]) -> None:
    told = tried("print('hello'); y = 3; items.append(x); del x")
    assert told.splitlines()[:3] == ["It prints:", "hello", "It makes `y`; changes `items`; deletes `x`."]
    assert KEPT_IN in told
    failed = tried("y = 1\nunknown")
    assert failed.startswith("It fails:")
    assert "NameError" in failed
    assert "It makes `y`." in failed
    assert tried("y = 1").startswith("It prints nothing.")
    assert tried("exit_code = 1\nraise SystemExit(3)").startswith("It fails:\nSystemExit: 3")
    space.pop("__builtins__", None)
    assert set(space) == {"x", "items", "threading", "os", "socket"}
    assert space["items"] == [1, 2]


def test_code_that_awaits_is_tried_as_well(tried: Any) -> None:
    told = tried("import asyncio", "y = await asyncio.sleep(0, 7)\nprint(y)")
    assert told.splitlines()[:2] == ["It prints:", "7"]


def test_a_call_is_tried_after_the_ones_before_it(tried: Any) -> None:
    told = tried("y = 20; print('first')", "print(y + 1)")
    assert told.splitlines()[:2] == ["It prints:", "21"]
    assert "first" not in told


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("open(target, 'w')", "would write"),
        ("os.open(target, os.O_CREAT | os.O_WRONLY)", "would write"),
        ("os.remove(there)", "would call os.remove"),
        ("os.rename(there, target)", "would call os.rename"),
        ("os.system('touch ' + target)", "would call os.system"),
        ("import subprocess; subprocess.run(['touch', target])", "would call subprocess.Popen"),
        ("os.fork()", "would call os.fork"),
        ("os.kill(os.getppid(), 9)", "would call os.kill"),
        ("import sqlite3; sqlite3.connect(target)", "would call sqlite3.connect"),
        ("import shutil; shutil.rmtree(os.path.dirname(there))", "would call shutil.rmtree"),
        ("try:\n    open(target, 'w')\nexcept OSError:\n    pass", "would write"),
    ],
)
def test_what_reaches_out_is_stopped_and_told(
    tried: Any, space: dict[str, Any], tmp_path: Path, code: str, what: str
) -> None:
    there = tmp_path / "there.txt"
    there.write_text("as it was")
    space |= {"there": str(there), "target": str(tmp_path / "target.txt")}
    assert what in tried(code)
    assert [each.name for each in tmp_path.iterdir()] == ["there.txt"]
    assert there.read_text() == "as it was"


def test_where_it_was_stopped_is_told_without_a_traceback_of_ours(tried: Any) -> None:
    told = tried("print('before')\nimport urllib.request\nurllib.request.urlopen('http://127.0.0.1:1')")
    assert told.startswith(
        "It prints:\nbefore\nIt makes `urllib`.\nIt was stopped where it would call socket.getaddrinfo"
    )
    told = tried("try:\n    os.fork()\nexcept OSError:\n    pass\nunknown")
    assert "NameError" in told
    assert "os.fork" in told


C_CODE = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
print([libc.unlink(there.encode()), libc.rename(there.encode(), target.encode()), libc.mkdir(target.encode(), 0o755)],
      libc.kill(os.getppid(), 0), libc.creat(target.encode(), 0o644))
"""


def test_c_code_is_kept_in_too_where_the_system_lets_us(tried: Any, space: dict[str, Any], tmp_path: Path) -> None:
    there = tmp_path / "there.txt"
    there.write_text("as it was")
    space |= {"there": str(there), "target": str(tmp_path / "target")}
    told = tried(C_CODE)
    if "C code passes by" in told:
        pytest.skip("this system has no Landlock")
    assert "[-1, -1, -1] -1 -1" in told
    assert [each.name for each in tmp_path.iterdir()] == ["there.txt"]


def test_it_says_what_only_python_itself_sees_to(
    tried: Any, monkeypatch: pytest.MonkeyPatch, space: dict[str, Any], tmp_path: Path
) -> None:
    """A system may permit neither a namespace nor Landlock."""
    monkeypatch.setattr("agentnb.agent.tools.running.enclosure._landlock", lambda libc: False)
    space["target"] = str(tmp_path / "target.txt")
    assert "of files only Python's audit hook sees to that, which C code passes by" in tried("1")
    monkeypatch.setattr("agentnb.agent.tools.running.enclosure._NEW_NET", -1)
    told = tried("open(target, 'w')")
    assert "of network and files only Python's audit hook" in told
    assert "would write" in told
    assert not (tmp_path / "target.txt").exists()


@pytest.fixture
def server() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A connection that the notebook has open: its own end, and the one that hears what comes."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        mine = socket.create_connection(listening.getsockname())
        theirs, _ = listening.accept()
        theirs.setblocking(False)
        with mine, theirs:
            yield mine, theirs


def test_neither_a_new_nor_an_open_connection_leads_anywhere(tried: Any, space: dict[str, Any], server: Any) -> None:
    mine, theirs = server
    space |= {"mine": mine, "address": mine.getpeername()}
    assert "socket.getaddrinfo('127.0.0.1')" in tried("socket.create_connection(address)")
    assert "socket.connect(('127.0.0.1'," in tried("socket.socket().connect(address)")
    tried("mine.send(b'DELETE')")
    with pytest.raises(BlockingIOError):
        theirs.recv(10)
    mine.send(b"alive")
    theirs.setblocking(True)
    assert theirs.recv(10) == b"alive", "the connection is the notebook's as before"


def test_open_files_keep_their_text_and_their_place(tried: Any, space: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "open.txt"
    path.write_text("0123456789")
    with path.open("r+") as file:
        file.read(4)
        os.lseek(file.fileno(), 4, os.SEEK_SET)
        space["number"] = file.fileno()
        assert "b'4567'" in tried("os.read(number, 4)")
        assert "Errno" in tried("os.write(number, b'XX')")
        assert os.lseek(file.fileno(), 0, os.SEEK_CUR) == 4
    assert path.read_text() == "0123456789"


def test_memory_that_is_shared_with_a_file_stays(tried: Any, space: dict[str, Any], tmp_path: Path) -> None:
    space["mapped"] = mapped = np.memmap(tmp_path / "mapped", dtype="u1", mode="w+", shape=(16,))
    assert "died" in tried("mapped[:] = 7")
    assert not mapped.any()
    assert "16" in tried("mapped.size")


def test_time_and_memory_are_limited(tried: Any) -> None:
    assert "did not end within 0.3 s" in tried("while True: pass", seconds=0.3)
    told = tried("held = bytearray(1 << 28)", memory=1 << 26)
    assert "MemoryError" in told
    assert "The copy may take 64 MB more than it began with" in told, "in the kernel itself it may well run"
    assert "died" in tried("os._exit(3)")
    assert "died" in tried("import ctypes; ctypes.string_at(0)")


def test_what_the_code_writes_beside_us_is_not_taken_for_our_words(tried: Any) -> None:
    told = tried("for number in range(3, 200):\n    try: os.write(number, b'x' * 4096)\n    except OSError: pass\n")
    assert "died" in told


def test_it_works_while_other_threads_hold_locks(tried: Any, space: dict[str, Any]) -> None:
    lock, stop = threading.Lock(), threading.Event()
    space["lock"] = lock

    def busy() -> None:
        with lock:
            stop.wait(PATIENCE)

    threads = [threading.Thread(target=busy) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        assert "did not end" in tried("lock.acquire()", seconds=0.5)
        assert tried("print(threading.active_count())").splitlines()[1] == "1"
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_where_no_process_can_be_copied_it_says_so(tried: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "fork")
    assert tried("x = 2") == NOT_HERE


def test_on_a_system_whose_guards_are_not_known_python_keeps_it_in_and_the_rest_is_said(
    tried: Any, monkeypatch: pytest.MonkeyPatch, space: dict[str, Any], tmp_path: Path, server: Any
) -> None:
    """macOS forks, and has neither prctl nor /proc."""
    monkeypatch.setattr("agentnb.agent.tools.running.enclosure._has_guards", lambda libc: False)
    mine, theirs = server
    opened = (tmp_path / "there.txt").open("w+")
    space |= {"target": str(tmp_path / "target"), "mine": mine, "address": mine.getpeername(), "file": opened}
    told = tried("items.append(3)")
    assert "It changes `items`." in told
    assert "of network and files only Python's audit hook sees to that" in told
    assert "Its memory had no limit, and files that are mapped into memory were open to it." in told
    assert "would write" in tried("open(target, 'w')")
    assert "socket.connect(('127.0.0.1'," in tried("socket.socket().connect(address)")
    assert "did not end within 0.3 s" in tried("while True: pass", seconds=0.3)
    tried("mine.send(b'DELETE'); os.write(file.fileno(), b'DELETE')")
    with pytest.raises(BlockingIOError):
        theirs.recv(10)
    opened.close()
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("there.txt", "")]
    assert space["items"] == [1, 2]


def test_what_it_cannot_look_into_is_said(tried: Any, space: dict[str, Any]) -> None:
    space |= {"model": type("Model", (), {})(), "config": {"deep": []}}
    assert "Changes inside `model` are not looked at." in tried("model.fitted = True; x; items; os")
    assert "It changes `config`." in tried("config['deep'].append(1)")
    assert "not looked at" not in tried("config; items; x; os.getpid()")
