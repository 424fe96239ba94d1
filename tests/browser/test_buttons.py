"""Buttons and keys of a run in a real page: what answers a question, what a pressed button says, where cells go."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.usefixtures("at_once")]

MIME = "application/vnd.agentnb.run.v1+json"
LOAD = """%load_ext agentnb
from agentnb.notebook.lab.comm import CellMark
front_end = get_ipython()._agentnb_notebook.front_end
mark = CellMark(run='r-1', model='sim:claude-sonnet-4-6')
log = []"""
ASK = "%%agent\nRun this, please:\n```\nlog.append(1)\nlog\n```"
BUSY = "import time\nfrom pathlib import Path\nwhile not Path('go').exists(): time.sleep(0.05)"
FOCUSED = "() => document.activeElement.textContent.trim()"
WRITE = "%%agent --tools inspect\nWrite a function called `mean` of values, please."
MEAN = "def mean(values):\n    return values[0]"


@pytest.fixture
def asked(front: Any) -> Any:
    """A notebook whose second cell waits for a word on `log.append(1)`, and its output."""

    def opened(name: str, *below: str) -> tuple[Any, Any, Any]:
        page, path = front(name, [LOAD, ASK, *below], upto=2)
        page.output(1).get_by_role("button", name="Run", exact=True).wait_for()
        return page, path, page.output(1)

    return opened


def test_escape_denies_and_a_field_sends_what_is_written_in_it(asked: Any) -> None:
    page, _, output = asked("escape", "log")
    output.get_by_role("button", name="Run", exact=True).focus()
    page.page.keyboard.press("Escape")
    output.get_by_text("✓", exact=True).wait_for()
    assert output.get_by_text("Note: Denied by a button at").count() == 1
    assert "[]" in page.ran(2)
    page.ran(1)
    output.locator("input").click()
    page.page.keyboard.press("Enter")
    assert output.get_by_role("button", name="Deny").is_enabled(), "an empty field says nothing"
    page.page.keyboard.type("look at log first")
    page.page.keyboard.press("Enter")
    output.get_by_text("✓", exact=True).wait_for()
    assert 'The model was told: "look at log first"' in output.inner_text()


def test_enter_runs_where_the_focus_is_and_letters_are_no_shortcuts(asked: Any) -> None:
    page, _, output = asked("enter", "log")
    output.get_by_role("button", name="Run", exact=True).focus()
    page.page.keyboard.type("ddbx")  # elsewhere these delete, cut and add cells
    assert page.page.locator(".jp-Notebook .jp-Cell").count() == 3
    page.page.keyboard.press("Enter")
    output.get_by_text("✓", exact=True).wait_for()
    output.locator(".agentnb-answer").wait_for(state="detached")
    page.page.wait_for_function("() => document.activeElement.closest('.jp-Notebook')")  # where the row was
    assert "[1]" in page.ran(2)


def test_code_is_edited_and_run_by_the_keyboard_alone(asked: Any) -> None:
    page, _, output = asked("edit", "log")
    output.get_by_role("button", name="Edit first").focus()
    page.page.keyboard.press("Enter")
    output.locator("textarea:focus").wait_for()
    page.page.keyboard.press("Control+a")
    page.page.keyboard.type("log.append(7)")
    page.page.keyboard.press("Tab")
    assert page.page.evaluate(FOCUSED) == "Run as edited"
    page.page.keyboard.press("Enter")
    output.get_by_text("✓", exact=True).wait_for()
    assert "run_code(code='log.append(7)')" in output.inner_text()
    assert "[7]" in page.ran(2)


def test_who_types_elsewhere_approves_nothing(asked: Any) -> None:
    page, _, output = asked("elsewhere", "log")
    assert page.page.evaluate("() => document.activeElement.closest('.agentnb-answer')") is None, "no focus is taken"
    for place in (page.cell(2).locator(".cm-content"), page.cell(1).locator(".jp-InputPrompt")):
        place.click()
        for key in ("Enter", "Escape", "Enter", "Escape"):
            page.page.keyboard.press(key)
    assert output.get_by_role("button", name="Run", exact=True).is_enabled()
    assert "[]" in page.ran(2)


def test_a_pressed_button_says_at_once_what_it_waits_for(lab: Any, asked: Any) -> None:
    (lab.files / "go").unlink(missing_ok=True)
    page, _, output = asked("busy", BUSY, "log")
    page.run(2)
    page.cell(2).locator(".jp-InputPrompt", has_text="*").wait_for()
    output.get_by_role("button", name="Run", exact=True).click()
    output.get_by_text("Runs when the kernel is free.").wait_for()
    row = output.locator(".agentnb-answer")
    assert row.locator("button").count() == row.locator("button:disabled").count() > 3
    page.picture("approval-pressed", of=output)
    (lab.files / "go").touch()
    output.get_by_text("✓", exact=True).wait_for()
    assert output.locator("button, .agentnb-sent").count() == 0, "the row is gone"
    assert "[1]" in page.ran(3)


def test_code_that_waits_is_taken_as_a_cell(asked: Any) -> None:
    page, path, output = asked("taken", "log")
    output.get_by_role("button", name="Insert as cell").click()
    page.cell(2).locator(".cm-content", has_text="log.append(1)").wait_for()
    output.get_by_text("✓", exact=True).wait_for()
    assert "The person took the code as a cell" in output.inner_text()
    _, asking, made, *_ = page.save(path)["cells"]
    run = asking["outputs"][0]["data"][MIME]
    assert made["metadata"]["agentnb"] == {"run": run["run_id"], "model": run["model"], "accepted": True}
    assert made["execution_count"] is None
    assert "[]" in page.ran(3), "it did not run"


@pytest.mark.parametrize("press", ["Ask again", "Resume"])
def test_a_stopped_question_is_asked_again_or_resumed(front: Any, press: str) -> None:
    stall = "get_ipython()._agentnb_notebook.session.simulator().inject(kind='stall', after_events=12)"
    name = press.lower().replace(" ", "-")
    page, path = front(f"stopped-{name}", [LOAD, stall, "%agent Explain yourself at length, please."], upto=2)
    page.run(2)
    page.output(2).get_by_text("writes").first.wait_for()
    page.page.get_by_role("menuitem", name="Kernel", exact=True).click()
    page.page.get_by_role("menuitem", name="Interrupt Kernel").click()
    page.output(2).get_by_role("button", name="Ask again").wait_for()
    said = page.output(2).inner_text()
    assert "Stopped by you after" in said
    assert "Traceback" not in said
    stopped = page.save(path)["cells"][2]["outputs"][0]["data"][MIME]
    assert stopped["usage"]["output"] > 1, "what had streamed counts"
    page.picture(f"stopped-{path.stem}", of=page.output(2))
    page.output(2).get_by_role("button", name=press).click()
    page.output(2).get_by_text("✓", exact=True).wait_for()
    assert page.output(2).locator("button").count() == 0
    first, *_ = page.save(path)["cells"][2]["outputs"]
    assert first["data"][MIME]["state"] == "COMPLETED"
    assert (first["data"][MIME]["run_id"] == stopped["run_id"]) is (press == "Resume")


def test_a_question_stopped_while_a_delegated_part_writes_is_resumed(front: Any) -> None:
    stall = """sim = get_ipython()._agentnb_notebook.session.simulator()
sim.inject(kind='stall', seconds=0)  # the parent's reply passes
sim.inject(kind='stall', after_events=12, seconds=600)
print(sim.url)"""
    task = "%agent --tools inspect,delegate Delegate “Explain tides at length, please.”"
    page, path = front("delegated", [LOAD, stall, task], upto=1)
    simulator = page.ran(1).strip()
    page.run(2)
    page.output(2).get_by_text("Explain tides at length, please.").first.wait_for()
    while page.page.request.get(f"{simulator}/sim/state").json()["faults"]:
        page.page.wait_for_timeout(50)  # until the part's reply has begun, and stands still
    page.picture(f"live-{path.stem}", of=page.output(2))
    page.page.get_by_role("menuitem", name="Kernel", exact=True).click()
    page.page.get_by_role("menuitem", name="Interrupt Kernel").click()
    page.output(2).get_by_role("button", name="Resume").wait_for()
    said = page.output(2).inner_text()
    assert "Stopped by you after" in said
    assert "Traceback" not in said
    page.output(2).get_by_role("button", name="Resume").click()
    page.output(2).locator("summary", has_text="✓").first.wait_for()
    page.output(2).locator(".agentnb-live").wait_for(state="detached")
    assert page.output(2).locator("button").all_inner_texts() == ["Copy"], "what is left is the answer's own"
    first, *_ = page.save(path)["cells"][2]["outputs"]
    run = first["data"][MIME]
    assert run["state"] == "COMPLETED"
    assert [child["state"] for child in run["children"]] == ["COMPLETED"], "the same part went on"


def test_accepted_cells_stand_in_the_order_in_which_they_were_proposed(front: Any) -> None:
    offer = """%agent --dry-run Hello
for source in ("one", "two", "three"):
    front_end.propose_cell(source, below="cell-{n}", why=source, mark=mark)"""
    page, path = front("order", [LOAD, *(offer.format(n=n) for n in (1, 2, 3)), "1"])
    for at, order in ((1, (0, 0, 0)), (5, (2, 0, 0)), (9, (1, 1, 0))):
        page.ran(at)
        proposals = page.cell(at).locator(".agentnb-proposal")
        proposals.nth(2).wait_for()
        assert [text.strip() for text in proposals.locator("ins").all_inner_texts()] == ["one", "two", "three"]
        for number, which in enumerate(order):
            proposals.nth(which).get_by_role("button", name="Insert").click()
            page.page.wait_for_function(
                "left => document.querySelectorAll('.agentnb-proposal').length === left", arg=2 - number
            )
        made = ["".join(cell["source"]) for cell in page.save(path)["cells"][at + 1 : at + 4]]
        assert made == ["one", "two", "three"], order


@pytest.fixture
def written(front: Any) -> Any:
    """A notebook in which a cell holds an answer with one block of code, and that block."""

    def opened(name: str, *cells: str) -> tuple[Any, Any, Any, str]:
        page, path = front(name, [f"{LOAD}\nlog = [2]", *cells, WRITE, "1"], upto=len(cells) + 2)
        block = page.output(len(cells) + 1).locator("pre.agentnb-code-1")
        block.wait_for()
        code = page.save(path)["cells"][len(cells) + 1]["outputs"][0]["data"][MIME]["text"]
        return page, path, block, code.partition("```python\n")[2].partition("\n```")[0]

    return opened


def tool(block: Any, name: str) -> Any:
    return block.locator("xpath=..").get_by_role("button", name=name)


def test_code_of_an_answer_is_inserted_below_by_the_keyboard(written: Any) -> None:
    page, path, block, code = written("below")
    page.page.mouse.move(0, 0)
    assert block.locator("xpath=..").locator(".agentnb-code-tools").evaluate("n => getComputedStyle(n).opacity") == "0"
    tool(block, "Copy").focus()
    page.page.keyboard.press("Tab")
    assert page.page.evaluate(FOCUSED) == "Insert below"
    page.picture(f"code-buttons-{path.stem}", of=page.cell(1))
    page.page.keyboard.press("Enter")
    page.cell(3).wait_for()
    _, asking, made, *_ = page.save(path)["cells"]
    run = asking["outputs"][0]["data"][MIME]
    assert "".join(made["source"]) == code
    assert code.startswith("def mean(")
    assert made["metadata"]["agentnb"] == {"run": run["run_id"], "model": run["model"], "accepted": True}
    assert made["execution_count"] is None, "what is inserted does not run"
    page.page.keyboard.press("Shift+Enter")  # it is selected
    page.wait_done(2)
    assert "2.0" in page.output(2).inner_text()


def test_code_of_an_answer_is_shown_as_a_change_to_the_cell_that_defines_the_same(written: Any) -> None:
    page, path, block, code = written("instead", "values = [1, 2]", MEAN)
    block.hover()
    tool(block, "Replace…").click()
    proposal = page.cell(2).locator(".agentnb-proposal")
    proposal.get_by_text("Proposed change to this cell").wait_for()
    assert "values[0]" in page.cell(2).locator(".cm-content").inner_text(), "not replaced before a person says so"
    proposal.get_by_role("button", name="Replace").click()
    proposal.wait_for(state="detached")
    assert "".join(page.save(path)["cells"][2]["source"]) == code
    block.hover()
    tool(block, "Replace…").click()
    page.page.get_by_text("The cell has this text already.").wait_for()


def test_without_a_cell_that_fits_or_the_kernels_extension_code_can_only_be_copied(written: Any) -> None:
    page, path, block, code = written("copy")
    block.hover()
    tool(block, "Replace…").click()
    page.page.get_by_text("No cell defines what this code defines. Insert it below instead.").wait_for()
    assert page.page.locator(".agentnb-proposal").count() == 0
    page.cell(2).locator(".cm-content").click()
    page.page.keyboard.press("Control+a")
    page.page.keyboard.type("%unload_ext agentnb")
    page.ran(2)
    block.hover()
    tool(block, "Insert below").wait_for(state="hidden")
    tool(block, "Copy").click()
    block.locator("xpath=..").get_by_text("Copied.").wait_for()
    page.cell(2).locator(".cm-content").click()
    for keys in ("Control+a", "Control+v"):
        page.page.keyboard.press(keys)
    assert "".join(page.save(path)["cells"][2]["source"]) == code
