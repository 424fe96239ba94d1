"""The extension in a real JupyterLab and a real Notebook 7: what it shows and does to cells, what outlives a reload."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow]

MIME = "application/vnd.agentnb.run.v1+json"
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
LOAD = """%load_ext agentnb
from agentnb.notebook.lab.comm import CellMark
from agentnb.notebook.lab.protocol import digest_of
front_end = get_ipython()._agentnb_notebook.front_end
mark = CellMark(run='r-1', model='sim:claude-sonnet-4-6')
ends = []"""
CONNECTED = "%agent --dry-run Hello\nfront_end.is_there"
BEFORE = "rows = table.dropna()\nfor row in rows:\n    print(row)\ntotal = sum(rows)\ntotal"
AFTER = (
    "rows = table.dropna(how='all')\nfor row in rows:\n    print(row)\ntotal = rows.sum()\nmean = rows.mean()\ntotal"
)
PROPOSE = f"""before = {BEFORE!r}
front_end.propose_replacement({AFTER!r}, cell='cell-3', digest=digest_of(before), mark=mark, on_done=ends.append,
                              why='rows with some values count too, and the mean was asked for')"""
ENDS = "[end.outcome for end in ends]"
ASK = "%%agent\nRun this, please:\n```\nlog.append(1)\nlog\n```"
PANEL = "[...window.jupyterapp.shell.widgets('main')].find(each => each.context?.path === name)"
KERNEL = f"name => {PANEL}.sessionContext.session.kernel.id"
ON_KERNEL = f"([name, kernel]) => {PANEL}.sessionContext.changeKernel({{id: kernel}}).then(() => null)"
MARKED = {"run": "r-1", "model": "sim:claude-sonnet-4-6", "accepted": True}


def source(page: Any, path: Path, index: int) -> str:
    return "".join(page.save(path)["cells"][index]["source"])


def test_a_cell_is_inserted_below_with_who_wrote_it_and_undone(front: Any) -> None:
    put = "front_end.insert_cell('x = 1\\nx', below='cell-2', mark=mark, on_done=ends.append)"
    page, path = front("insert", [LOAD, CONNECTED, put, ENDS], upto=3)
    page.cell(3).locator(".cm-content", has_text="x = 1").wait_for()
    made = page.save(path)["cells"][3]
    assert "".join(made["source"]) == "x = 1\nx"
    assert made["metadata"]["agentnb"] == MARKED
    assert made["execution_count"] is None, "what is inserted does not run"
    page.page.keyboard.press("Escape")
    page.page.keyboard.press("z")
    page.cell(4).wait_for(state="detached")
    assert page.cell(3).locator(".cm-content").inner_text().strip() == ENDS.strip(), "one undo takes it away"
    assert "inserted" in page.ran(3)


def test_a_replacement_is_shown_as_a_difference_and_accepted_by_the_keyboard(front: Any) -> None:
    page, path = front("replace", [LOAD, CONNECTED, PROPOSE, BEFORE, ENDS], upto=3)
    proposal = page.cell(3).locator(".agentnb-proposal")
    proposal.wait_for()
    assert source(page, path, 3) == BEFORE, "nothing is replaced before a person says so"
    removed, added = proposal.locator("del").all_inner_texts(), proposal.locator("ins").all_inner_texts()
    assert removed == ["rows = table.dropna()", "total = sum(rows)"]
    assert added == ["rows = table.dropna(how='all')", "total = rows.sum()", "mean = rows.mean()"]
    assert proposal.locator(".agentnb-line", has_text="total = sum").inner_text().startswith("−"), "no colour alone"
    page.picture(f"proposal-{path.stem}", of=proposal)
    proposal.locator(".agentnb-diff").focus()
    page.page.keyboard.press("Tab")
    assert page.page.evaluate("() => document.activeElement.textContent") == "Replace"
    page.page.keyboard.press("Enter")
    proposal.wait_for(state="detached")
    in_notebook = "() => Boolean(document.activeElement.closest('.jp-Notebook'))"
    assert page.page.evaluate(in_notebook), "the notebook's keys work again"
    made = page.save(path)["cells"][3]
    assert "".join(made["source"]) == AFTER
    assert made["metadata"]["agentnb"] == MARKED
    assert "accepted" in page.ran(4)
    page.cell(3).locator(".cm-content").click()
    page.page.keyboard.press("Control+z")
    undone = page.save(path)["cells"][3]
    assert "".join(undone["source"]) == BEFORE, "one undo restores it"
    assert "agentnb" not in undone["metadata"]


def test_a_cell_that_has_changed_since_is_not_replaced(front: Any) -> None:
    page, path = front("changed", [LOAD, CONNECTED, PROPOSE, BEFORE, ENDS], upto=3)
    proposal = page.cell(3).locator(".agentnb-proposal")
    proposal.wait_for()
    page.cell(3).locator(".cm-content").click()
    page.page.keyboard.press("Control+End")
    page.page.keyboard.type("  # mine")
    proposal.get_by_text("This cell has changed since").wait_for()
    assert proposal.get_by_role("button", name="Replace").is_disabled()
    page.picture(f"proposal-{path.stem}", of=proposal)
    proposal.get_by_role("button", name="Reject").click()
    proposal.wait_for(state="detached")
    assert source(page, path, 3) == BEFORE + "  # mine"
    assert "changed" in page.ran(4)


def test_a_cell_that_is_locked_against_editing_is_not_replaced(front: Any) -> None:
    locked = {"cell_type": "code", "id": "cell-3", "metadata": {"editable": False}, "execution_count": None}
    page, path = front("locked", [LOAD, CONNECTED, PROPOSE, locked | {"outputs": [], "source": BEFORE}, ENDS], upto=3)
    proposal = page.cell(3).locator(".agentnb-proposal")
    proposal.get_by_text("This cell is locked against editing").wait_for()
    assert proposal.get_by_role("button", name="Replace").is_disabled()
    proposal.get_by_role("button", name="Reject").click()
    proposal.wait_for(state="detached")
    assert source(page, path, 3) == BEFORE
    assert "rejected" in page.ran(4)


def test_a_proposal_moves_with_its_cell(front: Any) -> None:
    page, path = front("moved", [LOAD, CONNECTED, PROPOSE, BEFORE, ENDS], upto=3)
    page.cell(3).locator(".agentnb-proposal").wait_for()
    page.cell(3).locator(".jp-InputPrompt").click()
    page.page.keyboard.press("Control+Shift+ArrowUp")
    moved = page.cell(2).locator(".agentnb-proposal")
    moved.get_by_role("button", name="Replace").click()
    moved.wait_for(state="detached")
    assert source(page, path, 2) == AFTER
    assert "accepted" in page.ran(4)


def test_a_proposal_goes_with_its_cell(front: Any) -> None:
    page, _ = front("deleted", [LOAD, CONNECTED, PROPOSE, BEFORE, ENDS], upto=3)
    page.cell(3).locator(".agentnb-proposal").wait_for()
    page.cell(3).locator(".jp-InputPrompt").click()
    page.page.keyboard.press("d")
    page.page.keyboard.press("d")
    page.page.locator(".agentnb-proposal").wait_for(state="detached")
    assert "gone" in page.ran(3)


def test_what_was_not_answered_is_asked_again_after_a_reload(front: Any) -> None:
    page, path = front("again", [LOAD, CONNECTED, PROPOSE, BEFORE, ENDS], upto=3)
    page.cell(3).locator(".agentnb-proposal").wait_for()
    page.save(path)
    page.reload()
    page.cell(3).get_by_role("button", name="Reject").click()
    page.wait_idle()
    assert "rejected" in page.ran(4)
    assert source(page, path, 3) == BEFORE


def test_a_copy_on_the_same_kernel_is_shown_nothing_of_what_the_other_was_asked(front: Any, open_page: Any) -> None:
    cells = [LOAD, CONNECTED, PROPOSE, BEFORE]
    page, path = front("original", cells, upto=3)
    page.cell(3).locator(".agentnb-proposal").wait_for()
    copy = path.with_name(f"copy-{path.name}")
    copy.write_text(path.read_text())
    other = open_page(copy.name, in_notebook="notebook" in path.name, fresh=True)
    other.wait_idle()
    other.page.evaluate(ON_KERNEL, [copy.name, page.page.evaluate(KERNEL, path.name)])
    other.wait_idle()
    assert "True" in other.ran(1), "the kernel has heard of the copy, and sent what it sends to a page that comes"
    assert other.page.locator(".agentnb-proposal").count() == 0
    page.page.bring_to_front()
    page.reload()
    page.cell(3).locator(".agentnb-proposal").get_by_role("button", name="Replace").click()
    assert source(page, path, 3) == AFTER
    assert json.loads(copy.read_text())["cells"][3]["source"] == BEFORE


def test_the_kernel_has_the_notebook_before_the_cell_that_asks_runs(front: Any) -> None:
    show = f"for c in front_end.notebook().cells: print([c.id, c.kind, c.source[:16], c.execution_count])\n{CONNECTED}"
    again = f"seen = front_end.notebook()\nprint('at', seen.position, seen.cells[0].source)\n{CONNECTED}"
    text = {"cell_type": "markdown", "id": "words", "metadata": {}, "source": "# Ärger ∑ 🌊"}
    page, _ = front("cells", [text, LOAD, show, again], upto=0)
    page.ran(1)
    told = page.ran(2)
    assert "['words', 'markdown', '# Ärger ∑ 🌊', None]" in told
    assert "['cell-1', 'code', '%load_ext agentn', 1]" in told, "with the number of a cell that has run"
    assert "['cell-2', 'code', 'for c in front_e', None]" in told
    page.cell(0).locator(".jp-RenderedMarkdown").dblclick()
    page.cell(0).locator(".cm-content").click()
    page.page.keyboard.press("Control+End")
    page.page.keyboard.type("!")
    assert "at 3 # Ärger ∑ 🌊!" in page.ran(3)


def test_what_a_task_points_at_is_found_by_its_place_on_the_page(front: Any) -> None:
    """The cell above is the one above, whichever ran last; Markdown is told, and nothing that waits further down."""
    words = {"cell_type": "markdown", "id": "words", "metadata": {}, "source": "The tide gauges of Brest."}
    told = (
        "print([(c['execution_count'], c['reason']) for c in _agent.receipt['cells'] if c['involved']])\n"
        "%agent_context prompt"
    )
    cells = [
        LOAD,
        CONNECTED,
        words,
        "gauge = 7\ngauge",
        "%%agent\nExplain the cell above.",
        "omega = 9",
        "never = 1",
        told,
    ]
    page, _ = front("place", cells, upto=2)
    for index in (5, 3):
        page.ran(index)
    page.ran(5)  # it has run last
    page.ran(4)
    shown = page.ran(7)
    assert "(4, 'the cell above')" in shown
    assert "omega" not in shown.partition("]")[0]
    prompt = page.output(7).text_content()
    assert "The tide gauges of Brest." in prompt
    assert "never = 1" not in prompt, "it stands below"


def test_a_task_about_a_cell_that_has_not_run_names_it_before_it_is_asked(front: Any) -> None:
    page, _ = front("waits", [LOAD, CONNECTED, "height = 3\nheight", "%%agent\nExplain the cell above."], upto=2)
    page.run(3)
    page.output(3).get_by_text("nothing was asked").wait_for()
    said = " ".join(page.output(3).inner_text().split())
    assert "the cell above has not run since the kernel started; nothing was asked" in said
    assert "Run the cell above that has not run (Run > Run All Above): `height = 3`." in said
    page.ran(2)
    assert "nothing was asked" not in page.ran(3)


def test_cells_that_were_edited_deleted_or_moved_are_told_so_and_a_restart_is_noticed(front: Any) -> None:
    cells = [
        LOAD,
        CONNECTED,
        "alpha = 1\nalpha",
        "beta = 2\nbeta",
        "gamma = 3\ngamma",
        "%%agent\nExplain the cell above.",
    ]
    page, _ = front("changes", [*cells, "%agent_context prompt", "%%agent\nWhy is alpha so large?"], upto=4)
    page.cell(2).locator(".cm-content").click()
    page.page.keyboard.press("Control+Home")
    page.page.keyboard.type("not_run = 0\n")
    page.cell(4).locator(".jp-InputPrompt").click()
    for _ in range(2):
        page.page.evaluate("window.jupyterapp.commands.execute('notebook:move-cell-up')")
    page.cell(4).locator(".jp-InputPrompt").click()
    page.page.evaluate("window.jupyterapp.commands.execute('notebook:delete-cell')")
    page.ran(4)
    page.ran(5)
    prompt = page.output(5).text_content()
    assert '<cell number="3" state="edited since it ran; not run as it is now">\nnot_run = 0\nalpha = 1' in prompt
    assert '<cell number="4" state="deleted from the notebook"/>' in prompt
    assert "The task points at cell 3 (the cell above)" in prompt, "cell 5 ran last and stands above it"
    page.page.evaluate("void window.jupyterapp.commands.execute('kernelmenu:restart')")
    page.page.get_by_role("button", name="Confirm Kernel Restart").click()
    page.ran(0)
    page.run(6)
    page.output(6).get_by_text("nothing was asked").wait_for()
    said = " ".join(page.output(6).inner_text().split())
    assert "`alpha` is not there: the cell that makes it has not run since the kernel started" in said


def test_a_button_runs_exactly_the_cells_above_that_have_not_run(front: Any) -> None:
    cells = [LOAD, CONNECTED, "ran = []", "ran.append(1)", "ran.append(2)", "%%agent\nExplain the cell above."]
    page, _ = front("offer", [*cells, "ran"], upto=3)
    page.run(5)
    page.output(5).get_by_text("The button below runs them.").wait_for()
    button = page.cell(5).get_by_role("button", name="Run the 2 cells above")
    button.click()
    button.wait_for(state="detached")
    assert page.ran(6).endswith("[1, 2]")
    assert "nothing was asked" not in page.ran(5)
    assert page.cell(5).get_by_role("button", name="Run the").count() == 0


def test_run_all_from_a_fresh_kernel_tells_the_notebook_too(front: Any) -> None:
    ask = "%agent --dry-run Hello\nprint('position', front_end.notebook().position)"
    page, _ = front("all", [LOAD, "1 + 1", ask], upto=0)
    page.page.get_by_role("menuitem", name="Run", exact=True).click()
    page.page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    page.wait_done(2)
    assert "position 2" in page.output(2).inner_text()


@pytest.mark.parametrize("front", ["lab"], indirect=True)  # the reckoning is the same in each
def test_texts_of_all_lengths_arrive_and_one_that_is_too_large_is_left_out(front: Any) -> None:
    """The kernel drops a message with a digest that is not its own reckoning."""
    texts = ["é" * n for n in range(130)] + ["x" * 300_000, "y" * 1_000_001, "z"]
    raw = [{"cell_type": "raw", "id": f"raw-{n}", "metadata": {}, "source": text} for n, text in enumerate(texts)]
    show = f"{CONNECTED}\nprint([len(c.source or '-') for c in front_end.notebook().cells][2:])"
    page, _ = front("lengths", [LOAD, show, *raw])
    assert str([*range(1, 2), *range(1, 130), 300_000, 1, 1]) in page.ran(1)


def test_a_task_is_highlighted_as_prose_and_code_as_code(front: Any) -> None:
    words = "for each row in the table, is it not None or if so why"
    page, _ = front("prose", [f"%%agent\n{words}", f"# \n{words}", "%%agent_trace\nfor x in []: pass"], upto=0)

    def tokens(index: int) -> Any:
        return page.cell(index).locator(".cm-line").nth(1).locator("span")

    tokens(1).nth(3).wait_for()
    tokens(2).nth(1).wait_for()
    assert tokens(0).count() == 0, "words are no keywords"
    page.cell(0).locator(".cm-content").click()
    page.page.keyboard.press("Control+Home")
    page.page.keyboard.press("Delete")
    tokens(0).nth(3).wait_for()
    page.page.keyboard.type("%")
    tokens(0).first.wait_for(state="detached")


def test_explain_and_fix_stand_below_a_cell_that_failed(front: Any) -> None:
    page, path = front("failed", [LOAD, CONNECTED, "missing_name.sum()", "1"], upto=2)
    page.run(2)
    fix = page.cell(2).get_by_role("button", name="Fix")
    fix.wait_for()
    page.picture(f"fix-{path.stem}")
    explain = page.cell(2).get_by_role("button", name="Explain")
    explain.focus()
    page.page.keyboard.press("Enter")
    page.cell(3).locator(".cm-content", has_text="%agent Explain the error above.").wait_for()
    page.output(3).get_by_text("✓", exact=True).first.wait_for()
    fix.click()
    page.cell(3).locator(".cm-content", has_text="%agent --fix").wait_for()
    page.cell(3).locator(".jp-InputPrompt", has_text=re.compile(r"\[\d+\]")).wait_for()
    pointer = page.cell(3).get_by_role("button", name="Go to the change of cell 3")
    pointer.focus()
    page.page.keyboard.press("Enter")
    page.page.wait_for_selector(".jp-Cell.jp-mod-active .agentnb-proposal")
    page.cell(2).get_by_role("button", name="Reject").click()
    pointer.wait_for(state="detached")
    page.cell(2).locator(".cm-content").click()
    page.page.keyboard.press("Control+a")
    page.page.keyboard.type("1")
    page.page.keyboard.press("Shift+Enter")
    fix.wait_for(state="detached")


def test_an_approval_that_is_clicked_after_a_reload_shows_what_came_of_it(front: Any) -> None:
    page, path = front("approval", [LOAD + "\nlog = []", ASK], upto=2)
    page.output(1).get_by_role("button", name="Run", exact=True).wait_for()
    page.save(path)
    page.reload()
    page.output(1).get_by_role("button", name="Run", exact=True).click()
    page.output(1).get_by_text("✓", exact=True).wait_for()
    assert page.output(1).get_by_text("Nothing of it has run").count() == 0
    outputs = page.save(path)["cells"][1]["outputs"]
    assert outputs[0]["data"][MIME]["state"] == "COMPLETED"
    assert not any(WIDGET_VIEW in output["data"] for output in outputs)


@pytest.mark.parametrize("saved", [True, False], ids=["saved", "unsaved"])
def test_an_answer_that_came_while_the_page_was_loaded_anew_is_there(front: Any, saved: bool) -> None:
    page, path = front(f"midrun-{saved}", [LOAD, "%%agent\nTell me about the sea."], upto=1)
    page.run(1)
    page.output(1).get_by_text("Asking: ").first.wait_for()
    if saved:
        page.save(path)
    page.reload()
    page.output(1).get_by_text("✓", exact=True).wait_for()
    assert page.output(1).get_by_text("model not found").count() == 0
    data = [output["data"] for output in page.save(path)["cells"][1]["outputs"]]
    assert [each[MIME]["state"] for each in data] == ["COMPLETED"]


def test_a_question_that_came_while_the_page_was_loaded_anew_has_its_buttons(front: Any) -> None:
    page, path = front("bg", [LOAD + "\nlog = []", ASK.replace("%%agent", "%%agent --bg"), "log"], upto=1)
    page.run(1)
    page.output(1).get_by_text("Asking: ").first.wait_for()
    page.save(path)
    page.reload()
    page.output(1).get_by_role("button", name="Run", exact=True).click()
    page.output(1).get_by_text("✓", exact=True).wait_for()
    assert page.output(1).get_by_text("Nothing of it has run").count() == 0
    assert "[1]" in page.ran(2)


def test_a_question_of_before_the_page_was_loaded_anew_has_its_buttons_unsaved(front: Any) -> None:
    page, _ = front("lost", [LOAD + "\nlog = []", ASK, "log"], upto=2)
    page.output(1).get_by_role("button", name="Run", exact=True).wait_for()
    page.reload()
    page.output(1).get_by_role("button", name="Run", exact=True).click()
    page.output(1).get_by_text("✓", exact=True).wait_for()
    assert "[1]" in page.ran(2)


def test_after_a_reload_a_widget_is_drawn_however_late_its_model_comes(front: Any) -> None:
    early = """display({
    "application/vnd.jupyter.widget-view+json": {"version_major": 2, "version_minor": 0, "model_id": "late"},
    "text/plain": "",
}, metadata={"agentnb": {"run": "r-late"}}, raw=True)"""
    model = "import ipywidgets\nlate = ipywidgets.HTML('It came', model_id='late')"
    page, path = front("late", [LOAD, CONNECTED, early, model], upto=2)
    page.save(path)
    page.reload()
    page.run(2)
    page.output(2).get_by_text(re.compile("rror displaying widget: model not found|Loading widget")).wait_for()
    page.run(3)
    page.output(2).get_by_text("It came").wait_for()


def test_a_notebook_saved_in_mid_run_says_what_is_true_when_its_kernel_is_gone(front: Any, lab: Any) -> None:
    page, path = front("gone", [LOAD, "%%agent\nTell me about the sea."], upto=1)
    page.run(1)
    page.output(1).get_by_text("Asking: ").first.wait_for()
    page.save(path)
    lab.end_kernels()
    page.reload()
    page.output(1).get_by_text("Going on when this was shown. %agent_runs show r-").wait_for()
    assert page.output(1).get_by_text("rror displaying widget").count() == 0
    page.wait_idle()
    page.ran(0)
    # A kernel that is told to end may still commit that the run was stopped.
    page.output(1).get_by_text(re.compile("Not finished: it stopped while|Stopped by you after")).first.wait_for()
    assert page.output(1).get_by_text(re.compile("%agent_runs resume")).count() > 0


def test_the_page_does_nothing_but_what_the_protocol_names(front: Any) -> None:
    bad = """from agentnb.notebook.lab.protocol import digest_of
for message in (
    {"type": "run", "cell": "cell-3"},
    {"type": "insert", "id": "1", "below": "cell-3", "kind": "raw", "source": "x", "mark": {"run": "r", "model": "m"}},
    {"type": "insert", "id": "1", "below": "cell-3", "kind": "code", "source": 7, "mark": {"run": "r", "model": "m"}},
    {"type": "repaint", "run": "r", "cell": "cell-3", "data": {"application/javascript": "document.title = 'x'"}},
    {"type": "toString"},
    ["insert"],
):
    front_end._send(message)
front_end.insert_cell("'the last message'", below="cell-3", mark=mark)"""
    page, path = front("hostile", [LOAD, CONNECTED, bad, "1"], upto=3)
    page.cell(4).locator(".cm-content", has_text="the last message").wait_for()
    cells = page.save(path)["cells"]
    assert len(cells) == 5
    assert cells[3]["outputs"] == []


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_how_a_proposal_looks(lab: Any, open_page: Any, theme: str, light: None) -> None:
    lab.theme(theme)
    new = (
        "front_end.propose_cell('import math\\nmath.tau', below='cell-1', why='the constant was asked for', mark=mark)"
    )
    ask = "%%agent\nWhy is the mean of `rows` not what I expect, though every row is there and none is empty?"
    path = lab.put(f"look-{theme.split()[-1].lower()}.ipynb", [LOAD, CONNECTED, PROPOSE, BEFORE, new, "1 / 0", ask])
    page = open_page(path.name, width=900, height=1400)
    page.wait_idle()
    for index in (0, 1, 2, 4):
        page.ran(index)
    page.run(5)
    page.cell(5).get_by_role("button", name="Fix").wait_for()
    page.cell(1).locator(".agentnb-proposal").wait_for()
    page.cell(6).locator(".cm-line").nth(1).wait_for()
    page.picture(path.stem)
    page.picture(f"{path.stem}-new", of=page.cell(1).locator(".agentnb-proposal"))
    assert json.dumps(page.page.evaluate("() => document.documentElement.scrollWidth")) == "900"
