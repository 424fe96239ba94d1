"""The file tools see the project and nothing else; a change is exact, and of the very text that was read."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnb.agent.tools.files import MAX_READ, ProjectFiles
from agentnb.agent.tools.notebook import NotebookTools
from agentnb.agent.tools.project_tests import ProjectTests
from agentnb.agent.tools.registry import built_in
from agentnb.agent.tools.tool import Outcome, ToolBox, carry_out
from agentnb.models.messages import ToolCall

SECRET = "canary-7719"


def _nothing(*_: object) -> Outcome:
    return Outcome(text="")


class Tools:
    """The tools over one project, as a model's calls reach them: checked first, then carried out."""

    def __init__(self, root: Path | None) -> None:
        notebook = NotebookTools(
            look=_nothing, run=_nothing, rehearse=str, read=_nothing, names=lambda _: [], cell_text=lambda _: None
        )
        self.box = ToolBox(tools=built_in(notebook, ProjectFiles(root), ProjectTests(root)))

    def __call__(self, name: str, **arguments: Any) -> Outcome:
        call = ToolCall("c", name, arguments)
        return self.box.problem(call, approved=True) or carry_out(self.box.tools[name], call)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project with everything in it that must not be seen, and an outside that must not be reached."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "diary.txt").write_text(SECRET)
    root = tmp_path / "project"
    for folder in ("src", "build", ".git", ".hidden", "node_modules", "src/deep"):
        (root / folder).mkdir(parents=True)
    files = {
        "README.md": "Read me.\n",
        "src/model.py": "def fit(x):\n    return x + 1\n",
        "src/deep/.gitignore": "kept_out.txt\n",
        "src/deep/here.txt": "here\n",
        ".gitignore": "build/\n*.log\n!wanted.log\n",
        "wanted.log": "fine\n",
    }
    secret = {
        "src/deep/kept_out.txt": "", "run.log": "", "build/out.py": "", ".git/config": "", ".hidden/a.txt": "",
        "node_modules/a.js": "", ".env": "", "src/.env.local": "", "server.pem": "", "id_rsa": "", "secrets.toml": "",
        "credentials.json": "", ".netrc": "", "src/My_Secrets.YAML": "",
    }  # fmt: skip
    for name, text in (files | secret).items():
        (root / name).write_text(text or SECRET)
    (root / "link.txt").symlink_to(outside / "diary.txt")
    (root / "folder_link").symlink_to(outside)
    (root / "inner_link.md").symlink_to(root / "README.md")
    (root / "key_link.md").symlink_to(root / ".env")
    (root / "picture.png").write_bytes(b"\x89PNG\0\0" + SECRET.encode())
    os.mkfifo(root / "pipe.txt")
    return root


VISIBLE = {".gitignore", "README.md", "inner_link.md", "picture.png", "src/deep/.gitignore", "src/deep/here.txt"}
VISIBLE |= {"src/model.py", "wanted.log"}


def test_the_list_has_the_projects_files_and_no_hidden_ignored_or_secret_one(root: Path) -> None:
    listed = {line.split(" (")[0] for line in Tools(root)("list_files").text.splitlines()}
    assert listed == VISIBLE
    assert Tools(root)("list_files", pattern="*.py").text == "src/model.py (29 bytes)"
    assert "here.txt" in Tools(root)("list_files", pattern="src/").text
    assert Tools(root)("list_files", pattern="nothing*").text == "No file."


HOSTILE = [
    "../outside/diary.txt", "src/../../outside/diary.txt", "link.txt", "folder_link/diary.txt", "key_link.md", ".env",
    "src/.env.local", "server.pem", "id_rsa", "secrets.toml", "src/My_Secrets.YAML", "credentials.json", ".git/config",
    ".hidden/a.txt", "node_modules/a.js", "build/out.py", "run.log", "src/deep/kept_out.txt", "picture.png", "pipe.txt",
    "/etc/passwd", "~/.ssh/id_rsa", "/proc/self/environ", "", ".", "src", "no\0thing", "a" * 5000, "SRC/../.ENV",
    "src/./../.env", "//etc/passwd", "file:///etc/passwd", "\ud800",
]  # fmt: skip


@pytest.mark.parametrize("path", HOSTILE)
def test_nothing_else_is_read_or_changed_whatever_the_path(root: Path, path: str) -> None:
    before = {file: file.read_bytes() for file in root.parent.rglob("*") if file.is_file()}
    tools = Tools(root)
    for outcome in (
        tools("read_file", path=path),
        tools("edit_file", path=path, version="0" * 12, old=SECRET, new="x"),
        tools("edit_file", path=f"{path}/new.txt", version="new", old="", new="x")
        if path not in ("", ".", "src")
        else None,
    ):
        if outcome is not None:
            assert outcome.is_error
            assert SECRET not in outcome.text
            assert "root:" not in outcome.text
            assert len(outcome.text) < 700
    assert {file: file.read_bytes() for file in root.parent.rglob("*") if file.is_file()} == before


@given(st.text(alphabet="./\\~ab*\0srcenvgitdiary", max_size=40))
def test_no_path_at_all_leads_out(tmp_path_factory: pytest.TempPathFactory, path: str) -> None:
    base = tmp_path_factory.getbasetemp() / "leads-out"
    (base / "project" / "src").mkdir(parents=True, exist_ok=True)
    (base / "diary").write_text(SECRET)
    (base / "project" / ".env").write_text(SECRET)
    tools = Tools(base / "project")
    assert SECRET not in tools("read_file", path=path).text
    assert SECRET not in tools("search_code", text="canary", files=path).text


def test_a_search_finds_lines_of_visible_files_alone(root: Path) -> None:
    tools = Tools(root)
    assert tools("search_code", text="canary").text == "No line has 'canary'."
    assert tools("search_code", text="return X").text.startswith("No line")
    assert tools("search_code", text="RETURN".lower()).text == "src/model.py:2: return x + 1"
    (root / "many.txt").write_text("same\n" * 500)
    assert "and more" in tools("search_code", text="same").text
    assert tools("search_code", text="  ").is_error
    with (root / "big.csv").open("w") as large:
        large.truncate(3_000_000)
    assert tools("search_code", text="nowhere").text == "No line has 'nowhere'. Not searched, for their size: big.csv."


def test_a_long_file_is_read_in_parts(root: Path) -> None:
    (root / "long.txt").write_text("".join(f"line {n}\n" for n in range(1, 5001)))
    tools = Tools(root)
    first = tools("read_file", path="long.txt").text
    assert len(first) < MAX_READ + 200
    onward = int(first.rpartition("first_line=")[2].rstrip("]"))
    second = tools("read_file", path="long.txt", first_line=onward, last_line=onward).text
    assert f"line {onward}\n" in second
    assert "read on" not in second
    assert "no line from 9999" in tools("read_file", path="long.txt", first_line=9999).text
    (root / "wide.txt").write_text("x" * 50_000)
    assert "line cut" in tools("read_file", path="wide.txt").text
    (root / "huge.txt").write_text("x" * 2_000_001)
    assert tools("read_file", path="huge.txt").is_error


def test_of_a_notebook_the_sources_are_read_and_it_is_not_edited(root: Path) -> None:
    cells = [{"cell_type": "code", "source": ["a = 1\n", "a"], "outputs": [{"data": {"image/png": SECRET}}]}]
    (root / "n.ipynb").write_text(json.dumps({"cells": cells}))
    tools = Tools(root)
    read = tools("read_file", path="n.ipynb").text
    assert "# %% [code]\na = 1\na" in read
    assert SECRET not in read
    refused = tools("edit_file", path="n.ipynb", version=version_of(read), old="a = 1", new="a = 2")
    assert refused.is_error
    assert "propose" in refused.text


def version_of(text: str) -> str:
    return text.partition("version ")[2].split(":")[0].split()[0]


def test_a_change_is_exact_keeps_the_files_mode_and_line_ends_and_gives_the_new_version(root: Path) -> None:
    file, tools = root / "src" / "model.py", Tools(root)
    file.write_bytes(b"def fit(x):\r\n    return x + 1\r\n")
    file.chmod(0o750)
    version = version_of(tools("read_file", path="src/model.py").text)
    done = tools("edit_file", path="src/model.py", version=version, old="x + 1", new="x + 2")
    assert not done.is_error
    assert file.read_bytes() == b"def fit(x):\r\n    return x + 2\r\n"
    assert file.stat().st_mode & 0o777 == 0o750
    again = done.text.partition("version ")[2].split()[0]
    assert not tools("edit_file", path="src/model.py", version=again, old="x + 2", new="x").is_error
    assert not list(root.rglob(".agentnb-*"))


def test_plain_line_ends_find_their_place_in_a_file_with_windows_ones(root: Path) -> None:
    file, tools = root / "src" / "model.py", Tools(root)
    file.write_bytes(b"a = 1\r\nb = 2\r\nc = 3\r\n")
    version = version_of(tools("read_file", path="src/model.py").text)
    change = {"path": "src/model.py", "old": "a = 1\nb = 2", "new": "a = 1\nx = 5\r\nb = 2"}
    done = tools("edit_file", version=version, **change)
    assert not done.is_error, done.text
    assert file.read_bytes() == b"a = 1\r\nx = 5\r\nb = 2\r\nc = 3\r\n"
    file.write_bytes(b"a = 1\r\nb = 2\n")
    version = version_of(tools("read_file", path="src/model.py").text)
    assert "0 times" in tools("edit_file", version=version, **change).text, "of both kinds: as it stands"


@pytest.mark.parametrize("path", ["notes/up/src/model.py", "./src/model.py", "src/../src/model.py", "same.py"])
def test_a_file_is_changed_by_its_own_path_alone_which_is_what_a_policy_sees(root: Path, path: str) -> None:
    (root / "notes").mkdir()
    (root / "notes" / "up").symlink_to(root)
    (root / "same.py").symlink_to(root / "src" / "model.py")
    tools = Tools(root)
    version = version_of(tools("read_file", path=path).text)
    refused = tools("edit_file", path=path, version=version, old="x + 1", new="x + 2")
    assert "its own path: src/model.py" in refused.text
    assert "x + 1" in (root / "src" / "model.py").read_text()
    assert (
        "its own path: src/new.py"
        in tools(
            "edit_file",
            path=f"{path.rpartition('/')[0] or '.'}/new.py" if path != "same.py" else "./src/new.py",
            version="new",
            old="",
            new="a",
        ).text
    )


def test_a_file_that_changed_since_it_was_read_is_not_changed(root: Path) -> None:
    file, tools = root / "src" / "model.py", Tools(root)
    version = version_of(tools("read_file", path="src/model.py").text)
    file.write_text(file.read_text() + "# by hand\n")
    refused = tools("edit_file", path="src/model.py", version=version, old="x + 1", new="x + 2")
    assert refused.is_error
    assert "read it again" in refused.text
    assert "x + 1" in file.read_text()


@pytest.mark.parametrize(("old", "said"), [("", "is empty"), ("nowhere", "0 times"), ("x", "2 times")])
def test_an_old_text_that_does_not_stand_there_once_is_refused_before_anybody_is_asked(
    root: Path, old: str, said: str
) -> None:
    tools = Tools(root)
    version = version_of(tools("read_file", path="src/model.py").text)
    call = ToolCall("c", "edit_file", {"path": "src/model.py", "version": version, "old": old, "new": "y"})
    assert not tools.box.asks(call)
    problem = tools.box.problem(call, approved=True)
    assert problem is not None
    assert said in problem.text


def test_a_place_that_is_not_the_only_one_and_a_change_that_changes_nothing_are_refused(root: Path) -> None:
    (root / "src" / "model.py").write_text("aaa b")
    tools = Tools(root)
    given = {"path": "src/model.py", "version": version_of(tools("read_file", path="src/model.py").text)}
    assert "2 times" in tools("edit_file", old="aa", new="c", **given).text, "places may overlap"
    assert "nothing would change" in tools("edit_file", old="b", new="b", **given).text
    assert "propose" in tools("edit_file", path="src/n.IPYNB", version="new", old="", new="{}").text
    assert (root / "src" / "model.py").read_text() == "aaa b"


def test_a_new_file_is_made_where_the_list_would_show_it(root: Path) -> None:
    tools = Tools(root)
    made = tools("edit_file", path="src/new.py", version="new", old="", new="a = 1\n")
    assert not made.is_error
    assert (root / "src" / "new.py").read_text() == "a = 1\n"
    for path in (
        "src/new.py",
        "build/x.py",
        ".env.prod",
        "nowhere/x.py",
        "../x.py",
        "folder_link/x.py",
        "x.log",
        "link.txt",
    ):
        assert tools("edit_file", path=path, version="new", old="", new="x").is_error, path


@pytest.mark.parametrize("root", [None, Path.home(), Path("/"), Path("/nowhere/at/all")])
def test_where_no_folder_is_the_project_nothing_is_listed(root: Path | None) -> None:
    for name, arguments in (
        ("list_files", {}),
        ("read_file", {"path": "etc/passwd"}),
        ("search_code", {"text": "root"}),
    ):
        outcome = Tools(root)(name, **arguments)
        assert outcome.is_error
        assert "No folder is the project" in outcome.text


def test_a_file_that_only_root_may_read_is_told_as_such(root: Path) -> None:
    (root / "broken.txt").symlink_to("broken.txt")
    assert Tools(root)("read_file", path="broken.txt").is_error
    assert not Tools(root)("list_files").is_error
