"""binder/ follows repo2docker's rules. The dry run proves that the files are found, not that the image builds."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def dockerfile(tmp_path_factory: pytest.TempPathFactory) -> str:
    if importlib.util.find_spec("repo2docker") is None:
        said = "repo2docker is not installed here; run this test with the environment of `make env-lab`"
        pytest.fail(said) if os.environ.get("CI") else pytest.skip(said)
    checkout = tmp_path_factory.mktemp("checkout")
    for name in ("binder", "notebooks", "agentnb"):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, checkout / name)
    command = [
        sys.executable,
        "-m",
        "repo2docker",
        "--no-build",
        "--debug",
        "--user-id",
        "1000",
        "--user-name",
        "jovyan",
    ]
    done = subprocess.run([*command, str(checkout)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout + done.stderr


@pytest.mark.slow
def test_each_file_is_picked_up(dockerfile: str) -> None:
    assert "binder/requirements.txt" in dockerfile
    assert "binder/postBuild" in dockerfile
    assert "binder/start" in dockerfile
    assert "3.12" in dockerfile


def test_scripts_can_be_executed() -> None:
    for name in ("start", "postBuild"):
        assert os.access(ROOT / "binder" / name, os.X_OK), name


def test_nothing_can_be_spent_there() -> None:
    assert "AGENTNB_MODEL=sim:" in (ROOT / "binder" / "start").read_text()


def test_it_lands_on_a_notebook_that_exists() -> None:
    text = (ROOT / "binder" / "postBuild").read_text()
    assert "/lab/tree/notebooks/01-quickstart.ipynb" in text
    assert (ROOT / "notebooks" / "01-quickstart.ipynb").is_file()
