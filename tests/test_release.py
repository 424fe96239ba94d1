"""The wheel alone, as a stranger installs it: at the lowest versions that it names, and at the newest."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ASKS = """
import os, tempfile
os.environ.update(AGENTNB_MODEL="sim:claude-sonnet-4-6", AGENTNB_SIM_SPEED="0", AGENTNB_HOME=tempfile.mkdtemp())
from IPython.core.interactiveshell import InteractiveShell

shell = InteractiveShell.instance()
shell.run_line_magic("load_ext", "agentnb")
shell.run_cell("levels = [1.0, 2.5, 3.9]", store_history=True)
assert shell.run_cell("%%agent\\nExplain the cell above.", store_history=True).success
run = shell.user_ns["_agent"]
print(run.state, [cell["execution_count"] for cell in run.receipt["cells"]])
"""
pytestmark = pytest.mark.server  # it fetches what the wheel needs; left out of `make check`


def uv(*arguments: str) -> str:
    if importlib.util.find_spec("uv") is None:
        said = "uv is not installed here; run this test with an environment that `make` made"
        pytest.fail(said) if os.environ.get("CI") else pytest.skip(said)
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run([sys.executable, "-m", "uv", *arguments], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def said(python: Path, *arguments: str, **changes: str) -> str:
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment = kept | changes
    done = subprocess.run([python, *arguments], capture_output=True, text=True, env=environment, cwd=python.parent)
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("dist")
    uv("build", "--wheel", "--quiet", "--out-dir", str(place), str(ROOT))
    return next(place.glob("*.whl"))


PART = (
    *("agent/test_three_providers.py", "providers/test_recorded_over_http.py", "models/test_prices.py", "view/answer"),
    *("test_storage.py", "agent/tools/test_files.py", "agent/tools/test_arguments.py", "notebook/test_dashboard.py"),
)
"""Tests of what packages are asked for: SDKs on their wires, prices, Markdown, widgets, storage, schemas, patterns."""


# One test an environment: to make one takes longer than all that is looked at in it.
@pytest.mark.timeout(3000)  # whatever it waits for
@pytest.mark.parametrize("resolution", ["lowest-direct", "highest"])
def test_the_wheel_and_what_it_needs_and_nothing_else(resolution: str, wheel: Path, tmp_path: Path) -> None:
    uv("venv", "--quiet", "--python", sys.executable, str(tmp_path / "made"))
    python = tmp_path / "made" / "bin" / "python"
    install = ("pip", "install", "--quiet", "--python", str(python), "--resolution", resolution)
    uv(*install, str(wheel))
    assert "COMPLETED [1]" in said(python, "-c", ASKS)
    doctor_names_commands_that_fit_an_installed_wheel(python)
    the_lessons_come_along_and_replace_nothing(python, tmp_path)
    if resolution == "lowest-direct" and sys.version_info < (3, 12):  # the suite itself runs at the newest
        wanted = [f"agentnb-jupyter[openai] @ {wheel.as_uri()}", "pytest>=8.4", "pytest-timeout>=2.4"]
        wanted += ["hypothesis>=6.140", "ipykernel>=6.31", "nbconvert>=7.16"]
        uv(*install, *wanted)
        what_is_asked_of_the_packages_holds(python)
    shutil.rmtree(tmp_path / "made")  # it may lie in memory


def doctor_names_commands_that_fit_an_installed_wheel(python: Path) -> None:
    lines = said(python, "-m", "agentnb", "doctor")
    assert "pip install 'agentnb-jupyter[openai]'" in lines
    assert "pip install ipykernel" in lines
    assert "-e '." not in lines


def the_lessons_come_along_and_replace_nothing(python: Path, place: Path) -> None:
    assert "01-quickstart.ipynb" in said(python, "-m", "agentnb", "lessons", str(place / "lessons"))
    copied = {path.name for path in (place / "lessons").rglob("*") if path.is_file()}
    kept = {path.name for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert kept <= copied
    assert {"lesson.py", "tides.py", "01-quickstart.svg", ".mcp.json", "see-through.mplstyle"} <= copied
    assert not {"conftest.py", "ask-insert-approve.gif"} & copied
    with pytest.raises(AssertionError, match="nothing was copied"):
        said(python, "-m", "agentnb", "lessons", str(place / "lessons"))


def what_is_asked_of_the_packages_holds(python: Path) -> None:
    where = said(python, "-c", "import agentnb; print(agentnb.__file__)")
    assert Path(where).is_relative_to(python.parents[1]), "the wheel, not the tree"
    files = [str(ROOT / "tests" / name) for name in PART]
    options = ("-q", "-p", "no:cacheprovider", "-m", "not slow and not kernel and not server", f"--rootdir={ROOT}")
    assert " passed" in said(python, "-P", "-m", "pytest", *options, *files, AGENTNB_EXAMPLES="10")
