"""run_tests runs a command that the project itself names, and nothing else."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import pytest
from patience import wait_until

from agentnb.agent.tools.project_tests import ProjectTests, commands_of


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_a.py").write_text("def test_a():\n    print('seen')\n    assert 1 + 1 == 3\n")
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\naddopts = '-p no:cacheprovider'\n")
    return tmp_path


def test_the_commands_are_those_that_the_project_names(root: Path) -> None:
    assert commands_of(root) == ("python -m pytest",)
    (root / "Makefile").write_text("SRC := a\n\ntest: build\n\techo\n")
    (root / "tox.ini").write_text("[tox]\n")
    assert commands_of(root) == ("python -m pytest", "tox", "make test")
    (root / "pyproject.toml").write_text("no toml [")
    assert commands_of(root) == ("tox", "make test")
    assert commands_of(None) == ()
    assert "names no command" in ProjectTests(root / "tests").trouble("make test")


@pytest.mark.parametrize(
    "command",
    [
        "", "pytest", "python -m pytest; rm -rf /", "python -m pytest && true", "python -m pytest -k x",
        "python -m pytest --rootdir=/", "python -m pytest ../outside", "python -m pytest /etc", "python -m pytest\nls",
        "python -m pytest $(ls)", "python -m pytestx", "make test", "python -m pytest 'unclosed",
        "python -m pytest a\0b",
    ],
)  # fmt: skip
def test_any_other_command_is_refused_with_those_that_there_are(root: Path, command: str) -> None:
    said = ProjectTests(root).trouble(command)
    assert said == "The project's commands for its tests are: `python -m pytest`."


@pytest.mark.slow
def test_a_failing_test_is_told_with_what_was_printed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "canary")
    (root / "tests" / "test_b.py").write_text("import os\ndef test_b():\n    assert 'SOME_API_KEY' not in os.environ\n")
    tests = ProjectTests(root)
    command = "python -m pytest tests/test_a.py::test_a tests/test_b.py"
    assert tests.trouble(command) == ""
    outcome = tests.run_tests(command)
    assert outcome.is_error
    assert "assert (1 + 1) == 3" in outcome.text
    assert "1 failed, 1 passed" in outcome.text
    assert outcome.text.endswith("[exit 1]")


def test_of_endless_output_the_beginning_and_the_end_are_kept_in_little_memory(root: Path) -> None:
    words = "print('first'); [print('x' * 999_999) for _ in range(50)]; print('last')"
    (root / "Makefile").write_text(f'test:\n\t@{sys.executable} -c "{words}"\n')
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    said = ProjectTests(root).run_tests("make test").text
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40_000, "KB, of 50 MB that were printed"
    assert said.startswith("first")
    assert said.endswith("last\n\n[exit 0]")


def test_what_the_tests_leave_running_ends_with_them(root: Path) -> None:
    (root / "Makefile").write_text("test:\n\t@sleep 600 & echo $$! > left; echo done\n")
    assert ProjectTests(root).run_tests("make test").text == "done\n\n[exit 0]"
    left = Path(f"/proc/{(root / 'left').read_text().strip()}/status")

    def ended() -> bool:
        try:
            return "State:\tZ" in left.read_text()
        except OSError:
            return True

    wait_until(ended, "it still runs")


def test_tests_that_take_too_long_or_are_stopped_end_with_what_they_had_printed(root: Path) -> None:
    (root / "Makefile").write_text("test:\n\t@echo begun; touch begun; sleep 3600 & sleep 3600\n")
    begun = root / "begun"
    late = ProjectTests(root, limit=0.1, cancelled=lambda: wait_until(begun.exists)).run_tests("make test")
    begun.unlink()
    stopped = ProjectTests(root, cancelled=begun.exists).run_tests("make test")
    assert "begun" in late.text
    assert "stopped after" in late.text
    assert "stopped by the person" in stopped.text
