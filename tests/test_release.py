"""The wheel alone, as a stranger installs it: at the lowest versions that it names, and at the newest."""

from __future__ import annotations

import importlib.util
import os
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
    done = subprocess.run(
        [sys.executable, "-m", "uv", *arguments], capture_output=True, text=True, timeout=240, env=environment
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def said(python: Path, *arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [python, *arguments], capture_output=True, text=True, timeout=400, env=environment, cwd=python.parent
    )
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("dist")
    uv("build", "--wheel", "--quiet", "--out-dir", str(place), str(ROOT))
    return next(place.glob("*.whl"))


@pytest.fixture(scope="module", params=["lowest-direct", "highest"])
def python(request: pytest.FixtureRequest, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with the wheel and what it needs, and nothing else."""
    home = tmp_path_factory.mktemp(request.param)
    uv("venv", "--quiet", "--clear", "--python", sys.executable, str(home))
    found = home / "bin" / "python"
    uv("pip", "install", "--quiet", "--python", str(found), "--resolution", request.param, str(wheel))
    return found


PART = (
    *("agent/test_three_providers.py", "providers/test_recorded_over_http.py", "models/test_prices.py", "view/answer"),
    *("test_storage.py", "agent/tools/test_files.py", "agent/tools/test_arguments.py", "notebook/test_dashboard.py"),
)
"""Tests of what packages are asked for: SDKs on their wires, prices, Markdown, widgets, storage, schemas, patterns."""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_what_is_asked_of_the_packages_holds_at_the_lowest_versions(wheel: Path, tmp_path: Path) -> None:
    """The suite itself runs at the newest."""
    uv("venv", "--quiet", "--python", sys.executable, str(tmp_path / "lowest"))
    python = tmp_path / "lowest" / "bin" / "python"
    wanted = [f"agentnb-jupyter[openai] @ {wheel.as_uri()}", "pytest>=8.4", "pytest-timeout>=2.4", "hypothesis>=6.140"]
    wanted += ["ipykernel>=6.31", "nbconvert>=7.16"]  # what else its tests of widgets import
    uv("pip", "install", "--quiet", "--python", str(python), "--resolution", "lowest-direct", *wanted)
    where = said(python, "-c", "import agentnb; print(agentnb.__file__)")
    assert where.startswith(str(tmp_path)), "the wheel, not the tree"
    files = [str(ROOT / "tests" / name) for name in PART]
    options = ("-q", "-p", "no:cacheprovider", "-m", "not slow and not kernel and not server", f"--rootdir={ROOT}")
    assert " passed" in said(python, "-P", "-m", "pytest", *options, *files)


def test_it_asks_about_a_cell(python: Path) -> None:
    assert "COMPLETED [1]" in said(python, "-c", ASKS)


def test_doctor_names_commands_that_fit_an_installed_wheel(python: Path) -> None:
    lines = said(python, "-m", "agentnb", "doctor")
    assert "pip install 'agentnb-jupyter[openai]'" in lines
    assert "pip install ipykernel" in lines
    assert "-e '." not in lines


def test_the_lessons_come_along_and_replace_nothing(python: Path, tmp_path: Path) -> None:
    assert "01-quickstart.ipynb" in said(python, "-m", "agentnb", "lessons", str(tmp_path / "lessons"))
    copied = {path.name for path in (tmp_path / "lessons").rglob("*") if path.is_file()}
    kept = {path.name for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert kept <= copied
    assert {"lesson.py", "tides.py", "01-quickstart.svg", ".mcp.json", "see-through.mplstyle"} <= copied
    assert not {"conftest.py", "ask-insert-approve.gif"} & copied
    with pytest.raises(AssertionError, match="nothing was copied"):
        said(python, "-m", "agentnb", "lessons", str(tmp_path / "lessons"))
