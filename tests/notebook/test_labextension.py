"""The built extension belongs to its source, is small, names no machine, and is in the wheel."""

from __future__ import annotations

import importlib.util
import json
import re
import zipfile
from pathlib import Path

import pytest

from agentnb import __version__

ROOT = Path(__file__).resolve().parents[2]
LAB = ROOT / "agentnb" / "notebook" / "lab"
BUILT = sorted(path for path in (LAB / "built").rglob("*") if path.is_file())
SHARED = "data/share/jupyter/labextensions/agentnb-jupyter/"


def test_what_is_built_is_built_from_the_present_source() -> None:
    spec = importlib.util.spec_from_file_location("labextension", ROOT / "tests" / "labextension.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    built = json.loads((LAB / "built" / "package.json").read_text())
    assert built["agentnb"]["sources"] == module.digest_of_sources(), "run `make labextension`"
    assert (LAB / "built" / built["jupyterlab"]["_build"]["load"]).is_file()


def test_it_has_the_version_of_the_package() -> None:
    assert json.loads((LAB / "package.json").read_text())["version"] == __version__


def test_it_is_small() -> None:
    assert sum(path.stat().st_size for path in BUILT) <= 150_000


def test_no_source_map_no_host_and_no_path_of_a_machine_is_in_it() -> None:
    assert not [path for path in BUILT if path.suffix == ".map"]
    for path in [*BUILT, LAB / "package.json", *sorted((LAB / "src").iterdir())]:
        text = path.read_text()
        assert not re.search(r"sourceMappingURL|https?://|/home/|/root/|/tmp/|node_modules", text), path.name
    assert not list(LAB.rglob("*lock*")), "a lock file would name the registry"


@pytest.mark.slow
def test_the_wheel_puts_it_where_jupyter_looks(tmp_path: Path) -> None:
    from hatchling.builders.wheel import WheelBuilder

    wheel = next(WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"]))
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if "lab" in name.lower()]
        shared = {name.partition(SHARED)[2]: archive.read(name) for name in names if SHARED in name}
    assert shared == {path.relative_to(LAB / "built").as_posix(): path.read_bytes() for path in BUILT}
    assert not [name for name in names if name.endswith((".ts", ".js")) and SHARED not in name], "once, not twice"
