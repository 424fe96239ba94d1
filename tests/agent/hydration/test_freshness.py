"""Context stays right: changed text is sent again, stale text is bounded, pins and files are there."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pytest

from agentnb.agent.hydration import project as project_files
from agentnb.agent.hydration.project import tree_of
from agentnb.prompt.project_parts import TreePart

MODULE = '''"""Rates."""

BASE = 0.2


def rate(kind):
    """The rate of a kind."""
    return BASE
'''


@pytest.fixture
def project(book: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    root = tmp_path / "project"
    root.mkdir()
    (root / "taxrates.py").write_text(MODULE)
    (root / "schema.sql").write_text("create table prices (id int, price real);")
    monkeypatch.syspath_prepend(str(root))
    book.session.project = root
    book.cell("import taxrates", "imports")
    yield root
    sys.modules.pop("taxrates", None)


def text_of(body: dict[str, Any]) -> str:
    parts = [block["text"] for block in body["system"]]
    parts += [block.get("text") or str(block) for message in body["messages"] for block in message["content"]]
    return "\n".join(parts)


def test_the_project_section_has_outline_tree_and_packages(book: Any, project: Path) -> None:
    book.ask("Hello")
    semi = book.bodies[0]["system"][1]["text"]
    assert '<outline module="taxrates" file="taxrates.py">' in semi
    assert "def rate(kind)" in semi
    assert "schema.sql" in semi
    assert str(project) not in semi


def test_files_that_are_new_or_gone_are_told_in_one_line_and_once(book: Any, project: Path) -> None:
    book.ask("Hello")
    (project / "data").mkdir()
    (project / "data" / "tides.csv").write_text("t,h\n")
    (project / "a & b.md").touch()
    (project / ".hidden.csv").touch()
    (project / "schema.sql").unlink()
    run = book.ask("And now?")
    before, after = book.bodies
    assert after["system"] == before["system"], "the base is frozen"
    assert '<tree new="a &amp; b.md, data/tides.csv" removed="schema.sql"/>' in added_by(after)
    assert not any("hidden" in str(body) for body in book.bodies)
    book.ask("Again?")
    assert "<tree" not in added_by(book.bodies[-1])
    (project / "schema.sql").touch()
    book.ask("Is it back?")
    assert '<tree new="schema.sql"/>' in added_by(book.bodies[-1])
    run = book.ask("And in a new segment?", stale_limit=0.0)
    assert any("out of date" in note for note in run.receipt["notes"]), "the line of a file that was gone is stale"
    assert "<tree>\na & b.md\ndata/tides.csv\nschema.sql\ntaxrates.py\n</tree>" in book.bodies[-1]["system"][1]["text"]


def listed(project: Path, known: Collection[str] = ()) -> tuple[str, ...]:
    tree = tree_of(project, known)
    assert tree is not None
    return tree.files


def test_of_many_new_files_the_rest_is_counted_and_comes_with_the_next_turns(book: Any, project: Path) -> None:
    book.ask("Hello")
    assert "<tree>\nschema.sql\ntaxrates.py\n</tree>" in book.bodies[-1]["system"][1]["text"]
    (project / "runs").mkdir()
    for number in range(100, 170):
        (project / "runs" / f"r{number}.json").touch()
    told = []
    for _ in range(4):
        book.ask("What came out?")
        told.append(added_by(book.bodies[-1]))
    lines = [re.search(r'<tree new="([^"]*)"(?: left_out="([^"]*)")?/>', text) for text in told]
    found = [(line[1].count("runs/"), line[2]) for line in lines if line]
    assert found == [(20, "50 files"), (20, "30 files"), (20, "10 files")], "the list has room for 60 of 70"
    assert len({name for line in lines if line for name in line[1].split(", ")}) == 60
    book.ask("And in a new segment?", stale_limit=0.0)
    (project / "runs" / "r100.json").unlink()
    book.ask("And now?")
    line = '<tree new="runs/r160.json" removed="runs/r100.json" left_out="9 files"/>'
    assert line in added_by(book.bodies[-1]), "where one is gone, the next has room"


def test_the_first_list_says_how_many_files_it_leaves_out(book: Any, project: Path) -> None:
    for number in range(100, 200):
        (project / f"f{number}.csv").touch()
    book.ask("Hello")
    tree = book.bodies[-1]["system"][1]["text"].partition("<tree")[2].partition("</tree>")[0]
    assert tree.startswith(' left_out="42 files">\nf100.csv\n')
    (project / "zoo").mkdir()
    (project / "zoo" / "ape.csv").touch()
    book.ask("A folder that is not looked into makes it a lower bound", thread="other")
    assert '<tree left_out="42 files or more">' in book.bodies[-1]["system"][1]["text"]


def test_a_list_of_files_that_was_full_takes_what_had_no_room_for_nothing_new(tmp_path: Path) -> None:
    for number in range(100, 200):
        (tmp_path / f"f{number}.csv").touch()
    first = listed(tmp_path)
    assert (len(first), first[-1]) == (60, "f159.csv")
    (tmp_path / "f100.csv").unlink()
    (tmp_path / "f1055.csv").touch()
    (tmp_path / "g.csv").touch()
    then = listed(tmp_path, first)
    assert (set(then) - set(first), set(first) - set(then)) == ({"f1055.csv"}, {"f100.csv"})
    for number in range(300):
        (tmp_path / f"a{number}.csv").touch()
    part = TreePart(files=dict.fromkeys(listed(tmp_path, then), 1))
    text, holds = part.lacking({f"tree:{name}": {} for name in then})
    assert (text.count(","), len(holds), "\n" in text) == (19, 20, False)
    assert tree_of(tmp_path / "nowhere", first) is None


def test_folders_of_pictures_are_not_looked_through_at_every_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        (tmp_path / f"d{number:02}").mkdir()
        for picture in range(10):
            (tmp_path / f"d{number:02}" / f"{picture}.png").touch()
        (tmp_path / f"d{number:02}" / "notes.md").touch()
    looked, scan = [], os.scandir
    monkeypatch.setattr(os, "scandir", lambda folder: looked.append(folder) or scan(folder))
    monkeypatch.setattr(project_files, "TREE_FILES", 3)
    assert listed(tmp_path) == ("d00/notes.md", "d01/notes.md", "d02/notes.md")
    assert len(looked) == 4, "what comes later has no room"
    monkeypatch.setattr(project_files, "TREE_FILES", 60)
    monkeypatch.setattr(project_files, "TREE_ENTRIES", 50)
    assert len(listed(tmp_path)) == 3


def test_an_edited_definition_is_sent_again_even_if_the_task_does_not_name_it(book: Any) -> None:
    book.cell("def tax(x):\n    return x * 0.2", "tax")
    book.cell("def total(x):\n    return x + tax(x)", "total")
    book.ask("Explain `total` and `tax`.")
    book.cell("def tax(x):\n    return x * 0.25", "tax")
    run = book.ask("What is the weather like?", context="marks")
    assert "x * 0.25" in text_of(book.bodies[-1])
    assert [item["name"] for item in run.receipt["definitions"] if item["new"]] == ["tax"]


def added_by(body: dict[str, Any]) -> str:
    """What the turn's own message says."""
    return text_of({"system": [], "messages": body["messages"][-1:]})


def test_an_edited_module_is_sent_as_an_overlay_of_the_lines_that_changed(book: Any, project: Path) -> None:
    book.ask("Hello")
    (project / "taxrates.py").write_text(
        MODULE.replace("0.2", "0.25") + "\n\ndef reduced(kind):\n    return BASE / 2\n"
    )
    book.ask("And now?")
    before, after = book.bodies
    assert after["system"][1]["text"] == before["system"][1]["text"], "the base is frozen"
    overlay = (
        '<outline module="taxrates" file="taxrates.py" changes="true">\nBASE = 0.25\ndef reduced(kind): ...\n</outline>'
    )
    assert overlay in added_by(after)
    book.ask("Again?")
    assert "<outline" not in added_by(book.bodies[-1])


def test_an_edited_body_leaves_the_outline_as_it_is(book: Any, project: Path) -> None:
    book.ask("Hello")
    (project / "taxrates.py").write_text(MODULE.replace("return BASE", "return 2 * BASE"))
    run = book.ask("And now?", stale_limit=0.0)
    assert "<outline" not in added_by(book.bodies[-1])
    assert not any("out of date" in note for note in run.receipt["notes"])


def test_the_package_beside_the_notebooks_folder_is_the_users_own(book: Any, project: Path) -> None:
    notebooks = project / "notebooks"
    notebooks.mkdir()
    book.session.project = notebooks
    book.ask("Hello")
    assert "<outline module" not in text_of(book.bodies[-1]), "nothing says that the folder above is the user's project"
    other = project / "other"
    other.mkdir()
    (project / "pyproject.toml").touch()
    book.session.project = other
    book.ask("Hello", "-t new")
    assert '<outline module="taxrates" file="taxrates.py"' in text_of(book.bodies[-1])


def test_what_is_gone_from_a_module_is_said_and_said_once(book: Any, project: Path) -> None:
    book.ask("Hello")
    (project / "taxrates.py").write_text("BASE = 0.2\n")
    book.ask("And now?")
    assert '<outline module="taxrates" file="taxrates.py" changes="true" removed="__doc__, rate"/>' in added_by(
        book.bodies[-1]
    )
    (project / "taxrates.py").unlink()
    book.ask("And now?")
    assert 'removed="BASE"/>' in added_by(book.bodies[-1]), "the whole module is gone"
    book.ask("And now?")
    assert "<outline" not in added_by(book.bodies[-1])
    (project / "taxrates.py").write_text(MODULE)
    book.ask("And now?")
    assert "def rate(kind)" in added_by(book.bodies[-1])


def test_a_module_that_is_not_loaded_in_this_kernel_is_not_said_to_be_gone(book: Any, project: Path) -> None:
    """A lasting thread outlives its kernel; in the next one its modules are merely not imported yet."""
    book.ask("Hello")
    book.session._seen.clear()
    sys.modules.pop("taxrates")
    book.ask("And now?")
    assert "<outline" not in added_by(book.bodies[-1])


def test_an_outline_shows_a_signature_to_which_nothing_has_to_be_added(book: Any, project: Path) -> None:
    long = "\n".join(f"    kind = kind + {i}" for i in range(200))
    (project / "taxrates.py").write_text(f"{MODULE}\n\ndef longest(kind):\n{long}\n    return kind\n")
    book.cell("def total(kind):\n    return taxrates.longest(kind)", "total")
    run = book.ask("Explain `total`.", context_tokens=800)
    (found,) = [item for item in run.receipt["definitions"] if item["name"] == "taxrates.longest"]
    assert found["form"] == "signature"
    assert found["reason"].startswith("used by total; in full, ")
    assert found["reason"].endswith("; the project's outline shows its signature")
    assert text_of(book.bodies[-1]).count("def longest(kind): ...") == 1


def test_a_signature_is_sent_again_only_where_it_reads_otherwise(book: Any) -> None:
    def longest(step: int, head: str = "kind") -> str:
        return "\n".join([f"def longest({head}):", *(f"    kind = kind + {i * step}" for i in range(200))])

    book.cell(longest(1), "longest")
    book.cell("def total(kind):\n    return longest(kind)", "total")
    book.ask("Explain `total`.", context_tokens=800)
    assert text_of(book.bodies[-1]).count('name="longest"') == 1
    book.cell(longest(2), "longest")
    book.ask("Explain `total` again.", context_tokens=800, stale_limit=0.0)
    assert "longest" not in added_by(book.bodies[-1]), "its body changed, and no body was sent"
    book.cell(longest(2, "kind, rate=1"), "longest")
    book.ask("Explain `total` again.", context_tokens=800)
    assert "def longest(kind, rate=1): ..." in added_by(book.bodies[-1])


def test_a_file_that_was_unpinned_or_deleted_no_longer_counts(book: Any, project: Path) -> None:
    from agentnb.agent.hydration.project_context import Pins

    (project / "notes.md").write_text("Rates are yearly.")
    files = [str(project / "schema.sql"), str(project / "notes.md")]
    book.session.keep_pins(Pins(files=files))
    book.ask("Hello")
    book.session.keep_pins(Pins(files=files[1:]))
    (project / "notes.md").unlink()
    book.ask("And now?")
    assert '<removed name="file:schema.sql"/>' in added_by(book.bodies[-1])
    assert '<removed name="file:notes.md"/>' in added_by(book.bodies[-1])
    book.session.keep_pins(Pins(files=files[:1]))
    book.ask("And now?")
    assert "create table prices" in added_by(book.bodies[-1])


def test_inspect_says_where_a_definition_stands_instead_of_repeating_it(book: Any, project: Path) -> None:
    book.ask("Explain `taxrates.rate`.")
    book.cell("import taxrates as tr")
    run = book.ask("Inspect `tr.rate`.", context="none")
    (call,) = [tool for step in run.receipt["steps"] for tool in step["tools"]]
    assert call["result"] == 'Already above, in full and unchanged since: <definition name="taxrates.rate">.'
    assert text_of(book.bodies[-1]).count("    return BASE\n") == 1
    (project / "taxrates.py").write_text(MODULE.replace("return BASE", "return 2 * BASE"))
    book.ask("Inspect `tr.rate`.", context="none")
    assert text_of(book.bodies[-1]).count("    return 2 * BASE\n") == 1


def test_a_removed_definition_is_said(book: Any) -> None:
    book.cell("def tax(x):\n    return x * 0.2", "tax")
    book.ask("Explain `tax`.")
    book.ask("Once more.")
    book.cell("del tax")
    run = book.ask("And now?")
    assert '<removed name="tax"/>' in text_of(book.bodies[-1])
    assert not run.receipt["definitions"]
    book.ask("Later?")
    assert text_of(book.bodies[-1]).count('<removed name="tax"/>') == 1, "said once"


def test_stale_text_never_passes_the_limit_and_the_rewrite_is_priced(book: Any) -> None:
    notes = []
    book.session.settings = book.session.settings.with_changes(thread_stale_limit=0.1)
    for i in range(14):
        body = "\n".join(f"    x = x + {i} * {j}" for j in range(30))
        book.cell(f"def tax(x):\n{body}\n    return x", "tax")
        run = book.ask("Explain `tax`.")
        notes += [note for note in run.receipt["notes"] if "out of date" in note]
        held = [item for item in run.receipt["definitions"] if item["name"] == "tax"]
        assert len(held) == 1
        versions = text_of(book.bodies[-1]).count('<definition name="tax"')
        total = run.cache.prefix
        assert (versions - 1) * held[0]["tokens"] <= 0.1 * total
    assert notes, "fourteen versions of one function must have passed the limit"
    assert "$" in notes[0]
    assert "limit 10%" in notes[0]


def test_a_new_segment_keeps_the_conversation_and_its_definitions(book: Any) -> None:
    book.cell("def tax(x):\n    return x * 0.2", "tax")
    book.cell("def other(x):\n    return x", "other")
    book.ask("Explain `tax` and `other`.")
    book.cell("def tax(x):\n    return x * 0.3", "tax")
    run = book.ask("What changed?", thread_stale_limit=0.0)
    text = text_of(book.bodies[-1])
    assert any("out of date" in note for note in run.receipt["notes"])
    assert text.count('<definition name="tax"') == 1
    assert "x * 0.3" in text
    assert "return x * 0.2\n" not in text, "the old version went with the old segment"
    assert text.count('<definition name="other"') == 1
    assert "Explain `tax` and `other`." in text
    after = book.ask("And then?", thread_stale_limit=0.0)
    assert after.cache.read >= run.cache.written, "the new segment's prefix hits"


def test_an_inspected_definition_survives_a_new_segment(book: Any) -> None:
    book.cell("def tax(x):\n    return x * 0.2", "tax")
    book.ask("Inspect `tax`.", context="none")
    book.cell("def tax(x):\n    return x * 0.3", "tax")
    book.ask("And now?", thread_stale_limit=0.0)
    run = book.ask("Fine?", thread_stale_limit=0.0)
    assert run.state == "COMPLETED"
    assert "x * 0.3" in text_of(book.bodies[-1])


def test_pins_and_added_files(book: Any, project: Path) -> None:
    from agentnb.agent.hydration.project_context import Pins

    book.cell("def tax(x):\n    return x * 0.2", "tax")
    book.session.keep_pins(Pins(names=["tax"], files=[str(project / "schema.sql")]))
    run = book.ask("Hello")
    assert [item["reason"] for item in run.receipt["definitions"]] == ["pinned"]
    assert "create table prices" in book.bodies[0]["system"][1]["text"]
    (project / "schema.sql").write_text("create table prices (id int, price real, day date);")
    book.ask("Changed?")
    assert "day date" in text_of(book.bodies[-1])
    assert "replaces=" in text_of(book.bodies[-1])


def test_old_text_of_the_project_section_has_a_tighter_limit_of_its_own(book: Any, project: Path) -> None:
    from agentnb.agent.hydration.project_context import Pins

    def tables(day: str) -> str:
        return "\n".join(f"create table prices_{i} (id int, price real, {day} date);" for i in range(60))

    (project / "schema.sql").write_text(tables("day"))
    book.session.keep_pins(Pins(files=[str(project / "schema.sql")]))
    book.ask("Hello")
    (project / "schema.sql").write_text(tables("changed"))
    later = book.ask("And now?", stale_limit=1.0, thread_stale_limit=1.0)
    assert not later.receipt["notes"], "within the limits new text goes to the end"
    run = book.ask("And then?", thread_stale_limit=1.0)
    note = next(note for note in run.receipt["notes"] if "Prompt begun anew" in note)
    assert "in the project section" in note
    assert "limit 10%" in note
    body = book.bodies[-1]
    assert "day date" not in str(body["system"]) + str(body["messages"])
    assert "changed date" in str(body["system"])


def test_a_pin_larger_than_the_budget_goes_along_by_its_signature(book: Any, capsys: Any) -> None:
    from agentnb.notebook.commands import context

    book.cell("import json\nimport networkx as nx\nimport numpy as np", "imports")
    for name, is_large in {"np": True, "nx.Graph": True, "json.dumps": False}.items():
        context.agent_context(book.session, None, f"pin {name}")
        said = capsys.readouterr().out
        assert ("by its signature only" in said and "has ≈ " in said) is is_large
    run = book.ask("Hello")
    forms = {item["name"]: item["form"] for item in run.receipt["definitions"]}
    assert list(forms.values()) == ["signature", "signature", "full"]
    assert sum("AgentNB.context_tokens" in note for note in run.receipt["notes"]) == 2
    assert "class Graph" in added_by(book.bodies[0])
    assert sum(item["tokens"] for item in run.receipt["definitions"]) < 4000


def test_a_held_definition_whose_file_broke_and_a_pin_that_leads_nowhere_are_said(book: Any, project: Path) -> None:
    from agentnb.agent.hydration.project_context import Pins

    book.ask("Explain `taxrates.rate`.")
    (project / "taxrates.py").write_text("def rate(:\n")
    book.cell("def gone(): pass", "gone")
    book.session.keep_pins(Pins(names=["gone"]))
    book.cell("del gone", "gone")
    run = book.ask("And now?")
    assert sum("taxrates.py" in note for note in run.receipt["notes"]) == 1
    assert any(note.startswith("gone is pinned, but ") for note in run.receipt["notes"])
    assert "taxrates.rate" in {item["name"] for item in run.receipt["definitions"]}, "its last good version counts"
    assert "removed" not in added_by(book.bodies[-1])


def test_added_files_that_never_end_or_are_huge_are_bounded(tmp_path: Path) -> None:
    from agentnb.agent.hydration.project import FILE_READ, read_added

    assert read_added(Path("/dev/zero")) is None
    os.mkfifo(tmp_path / "pipe")
    assert read_added(tmp_path / "pipe") is None
    assert read_added(tmp_path) is None
    huge = tmp_path / "huge.csv"
    line = "é,ü,日本\n"
    huge.write_text("a,b,c\n" + line * 200_000 + "the,last,line\n")
    assert huge.stat().st_size > FILE_READ
    text = read_added(huge)
    assert text is not None
    assert text.startswith("a,b,c\n")
    assert text.endswith("the,last,line\n")
    assert len(text) < 61_000
    huge.write_bytes(b"\xff" * 3 * FILE_READ)
    assert read_added(huge) is None


def test_a_definition_that_goes_at_once_is_said_to_be_gone_and_its_return_too(book: Any) -> None:
    book.cell("def tax(x):\n    return x * 0.2", "tax")
    book.ask("Explain `tax`.")
    book.cell("del tax", "tax")
    book.ask("And now?")
    assert '<removed name="tax"/>' in text_of(book.bodies[-1])
    book.cell("def tax(x):\n    return x * 0.3", "tax")
    book.ask("And then?")
    sent = text_of(book.bodies[-1])
    assert sent.index("x * 0.3") > sent.index('<removed name="tax"/>'), (
        "the prompt must not go on saying that it is gone"
    )


def test_a_new_segment_keeps_the_turns_before_the_stale_text_as_they_were_sent(book: Any, wire: Any) -> None:
    def long(name: str, number: int) -> str:
        return "\n".join([f"def {name}(x):", *(f"    x = x + {number} * {i}" for i in range(40)), "    return x"])

    for name in ("first", "second", "third"):
        book.cell(long(name, 1), name)
        book.ask(f"Explain `{name}`.")
    before = wire.sent_of(0, book.bodies[-1], {})
    book.cell(long("third", 2), "third")
    run = book.ask("And now?", thread_stale_limit=0.1)
    assert any("out of date" in note for note in run.receipt["notes"])
    after = wire.sent_of(1, book.bodies[-1], {})
    assert wire.kept(before, after) > 6, "the turns before the one that sent the old text are read, not written"
    held = [version.name for text in after.texts for version in wire.versions_in(text)]
    assert sorted(held) == ["first", "second", "third"]
    assert run.cache.read > 0.5 * run.cache.prefix
    assert book.ask("And then?").cache.read >= run.cache.read + run.cache.written


def test_an_alias_is_told(book: Any) -> None:
    book.cell("from json import dumps as dmp\nimport textwrap", "imports")
    book.ask("What does `dmp` do? And textwrap?")
    sent = text_of(book.bodies[-1])
    assert "dmp: json.dumps" in sent
    assert "textwrap: textwrap" not in sent
