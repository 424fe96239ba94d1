"""The kernel's side of the extension in a real kernel, spoken to by a fake page over real comm messages."""

from __future__ import annotations

import hashlib
import queue
import time
import uuid
from typing import Any

import pytest
from patience import PATIENCE

pytestmark = pytest.mark.kernel

SHELL = "get_ipython()._agentnb_notebook"
SETUP = f"""from agentnb.notebook.lab.comm import CellMark
front_end = {SHELL}.front_end
mark = CellMark(run="r-1", model="sim:claude-sonnet-4-6")
ends = []"""
RUN = "application/vnd.agentnb.run.v1+json"


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def lines(*cells: tuple[str, str, str]) -> list[dict[str, Any]]:
    """(id, kind, source) -> the cells as a page lists them."""
    return [{"id": name, "kind": kind, "count": None, "digest": digest(text)} for name, kind, text in cells]


class FakePage:
    """One page: opens a comm and keeps what the kernel sends to it."""

    def __init__(self, kernel: Any, *, target: str = "agentnb", data: Any = None, **hello: Any) -> None:
        self.kernel, self.comm, self.received, self.closed = kernel, uuid.uuid4().hex, [], False
        opened = {"order": [], "runs": [], "since": 0.0} | hello if data is None else data
        self._ask("comm_open", {"comm_id": self.comm, "target_name": target, "data": opened})

    def send(self, **data: Any) -> list[dict[str, Any]]:
        return self._ask("comm_msg", {"comm_id": self.comm, "data": data})

    def tell(self, cells: list[tuple[str, str, str]], asking: str | None = None, **changes: Any) -> None:
        texts = {digest(text): text for _, _, text in cells}
        self.send(**{"type": "cells", "asking": asking, "order": lines(*cells), "texts": texts} | changes)

    def run(self, code: str, cell: str | None = None) -> list[dict[str, Any]]:
        """Run a cell; what the kernel sent to this page meanwhile."""
        return self._until_idle(self.kernel.send(code, cell))

    def _ask(self, kind: str, content: dict[str, Any]) -> list[dict[str, Any]]:
        message = self.kernel.client.session.msg(kind, content)
        self.kernel.client.shell_channel.send(message)
        return self._until_idle(message["header"]["msg_id"])

    def _until_idle(self, request: str) -> list[dict[str, Any]]:
        before, deadline = len(self.received), time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                message = self.kernel.client.get_iopub_msg(timeout=1)
            except queue.Empty:
                continue
            kind, content = message["header"]["msg_type"], message["content"]
            if kind == "comm_msg" and content["comm_id"] == self.comm:
                self.received.append(content["data"])
            self.closed |= kind == "comm_close" and content["comm_id"] == self.comm
            ours = message["parent_header"].get("msg_id") == request
            assert not (ours and kind == "error"), content
            if ours and kind == "status" and content["execution_state"] == "idle":
                return self.received[before:]
        raise AssertionError("the kernel did not become idle")


@pytest.fixture
def ready(kernel: Any) -> Any:
    kernel.ok(SETUP)
    return kernel


def targets(kernel: Any) -> set[str]:
    """The targets of the comms that the kernel lists: how a page learns that the extension is there."""
    kernel.client.comm_info()
    reply = kernel.client.get_shell_msg(timeout=PATIENCE)
    while reply["header"]["msg_type"] != "comm_info_reply":
        reply = kernel.client.get_shell_msg(timeout=PATIENCE)
    return {each["target_name"] for each in reply["content"]["comms"].values()}


def test_a_page_learns_that_the_extension_is_there_and_when_it_goes(start: Any) -> None:
    kernel = start()
    assert "agentnb" not in targets(kernel)
    loaded = kernel.ok("%load_ext agentnb")
    assert not [m for m in loaded.messages if m["header"]["msg_type"].startswith("comm")], "loading says nothing"
    assert "agentnb" in targets(kernel)
    kernel.ok("%reload_ext agentnb")
    page = FakePage(kernel)
    assert kernel.value(f"{SHELL}.front_end.is_there")
    page.run("%unload_ext agentnb")
    assert page.closed
    assert "agentnb" not in targets(kernel)
    assert FakePage(kernel).closed, "the target is gone"


def test_without_a_page_every_method_says_so(ready: Any) -> None:
    tried = """[
        front_end.is_there, front_end.notebook(), front_end.read(),
        front_end.insert_cell("1", below="a", mark=mark),
        front_end.propose_cell("1", below="a", why="", mark=mark),
        front_end.propose_replacement("1", cell="a", digest="", why="", mark=mark),
        front_end.repaint("r-1", None),
    ]"""
    assert ready.value(tried) == [False, None, False, False, False, False, False]


def test_the_notebook_is_what_the_page_told_and_only_changed_texts_travel(ready: Any) -> None:
    page = FakePage(ready, order=lines(("a", "markdown", "# One")))
    assert ready.value("front_end.notebook()") is None, "no text was told yet"
    page.tell([("a", "markdown", "# One"), ("b", "code", "x = 1"), ("c", "code", "%%agent\nWhy?")], asking="c")
    seen = "[[c.id, c.kind, c.source] for c in front_end.notebook().cells] + [front_end.notebook().position]"
    assert ready.value(seen) == [["a", "markdown", "# One"], ["b", "code", "x = 1"], ["c", "code", "%%agent\nWhy?"], 2]
    now = [("b", "code", "x = 2"), ("a", "markdown", "# One")]
    page.tell(now, texts={digest("x = 2"): "x = 2"})
    assert ready.value(seen) == [["b", "code", "x = 2"], ["a", "markdown", "# One"], None]
    page.tell([("b", "code", "x = 1")], texts={})
    assert ready.value(seen) == [["b", "code", None], None], "a text that no cell had any more is forgotten"


def test_the_kernel_can_ask_for_the_notebook(ready: Any) -> None:
    page = FakePage(ready)
    assert page.run("front_end.read()") == [{"type": "read"}]


@pytest.mark.parametrize(
    "bad",
    [
        {"type": "cells", "asking": None, "order": lines(("a", "code", "x")), "texts": {digest("x"): "y"}},
        {"type": "cells", "asking": None, "order": lines(("a", "code", "x")), "texts": {digest("x"): 7}},
        {"type": "cells", "asking": 7, "order": [], "texts": {}},
        {"type": "cells", "asking": None, "order": [{"id": "a"}], "texts": {}},
        {"type": "cells", "asking": None, "order": lines(("a", "heading", "x")), "texts": {}},
        {"type": "cells", "asking": None, "order": lines(("a", "code", "x")) * 10_001, "texts": {}},
        {"type": "cells", "asking": None, "order": [], "texts": {digest("é" * 600_000): "é" * 600_000}},
        {"type": "run_cell", "code": "stolen = 1"},
        {"type": ["cells"]},
        {},
    ],
    ids=["digest", "text", "asking", "line", "kind", "many", "large", "type", "type's type", "empty"],
)
def test_what_is_no_message_changes_nothing(ready: Any, bad: dict[str, Any]) -> None:
    page = FakePage(ready)
    page.tell([("a", "code", "kept")])
    page.send(**bad)
    assert ready.value("[c.source for c in front_end.notebook().cells]") == ["kept"]


@pytest.mark.parametrize("data", [{}, {"order": [], "runs": [], "since": "long"}, {"order": [], "runs": [{"run": 1}]}])
def test_a_page_that_opens_with_anything_else_is_sent_away(ready: Any, data: Any) -> None:
    assert FakePage(ready, data=data).closed
    assert ready.value("front_end.is_there") is False


def test_a_replacement_names_the_text_that_it_is_for_and_its_end_is_told_once(ready: Any) -> None:
    page = FakePage(ready, order=lines(("a", "code", "x = 1")))
    given = f"cell='a', digest={digest('x = 1')!r}, why='w', mark=mark, on_done=ends.append"
    (sent,) = page.run(f"front_end.propose_replacement('x = 2', {given})")
    mark = {"run": "r-1", "model": "sim:claude-sonnet-4-6"}
    asked = {"type": "propose", "cell": "a", "digest": digest("x = 1"), "asking": None}
    assert sent == asked | {"id": sent["id"], "source": "x = 2", "why": "w", "mark": mark}
    page.send(type="done", id=sent["id"], outcome="run", cell=None)
    page.send(type="done", id="another", outcome="accepted", cell=None)
    page.send(type="done", id=sent["id"], outcome="accepted", cell="a")
    page.send(type="done", id=sent["id"], outcome="rejected", cell="a")
    assert ready.value("[[end.outcome, end.cell] for end in ends]") == [["accepted", "a"]]


def test_what_was_not_answered_is_asked_again_of_the_page_that_has_the_cell(ready: Any) -> None:
    page = FakePage(ready, order=lines(("a", "code", "1")))
    (sent,) = page.run('front_end.insert_cell("2", below="a", mark=mark)')
    assert FakePage(ready, order=lines(("z", "code", "1"))).received == []
    again = FakePage(ready, order=lines(("a", "code", "1")))
    assert again.received == [sent]
    again.send(type="done", id=sent["id"], outcome="inserted", cell="b")
    assert FakePage(ready, order=lines(("a", "code", "1"))).received == []


def test_a_copy_on_the_same_kernel_is_shown_nothing_of_what_the_other_notebook_was_asked(ready: Any) -> None:
    cells = lines(("a", "code", "x = 1"))
    page = FakePage(ready, order=cells, session="first")
    given = f"cell='a', digest={digest('x = 1')!r}, why='w', mark=mark, on_done=ends.append"
    (sent,) = page.run(f"front_end.propose_replacement('x = 2', {given})")
    assert FakePage(ready, order=cells, session="copy").received == []
    assert FakePage(ready, order=cells, session="first").received == [sent], "its own page, loaded anew"


def test_a_press_is_answered_where_it_was_though_a_copy_asked(kernel: Any) -> None:
    task = ("c", "code", "%%agent --tools inspect\nWrite a function called `mean` of values, please.")
    page = FakePage(kernel, order=lines(task), session="first")
    page.tell([task], asking="c")
    run = kernel.ok(task[2], "c").run["run_id"]
    copy = FakePage(kernel, order=lines(task), session="copy")
    insert, said = copy.send(type="code", run=run, block=1, use="insert", cell="c")
    assert (insert["type"], said["type"]) == ("insert", "said")
    page.send(type="steps", run=run, before=None)
    assert page.received[-1]["type"] == "steps"


def test_the_page_that_spoke_last_is_asked(ready: Any) -> None:
    first, second = FakePage(ready), FakePage(ready)
    first.tell([("a", "code", "1")], asking="a")
    assert first.run("front_end.read()") == [{"type": "read"}]
    assert second.received == []


def test_a_page_that_missed_the_end_of_a_run_is_given_it(kernel: Any) -> None:
    """The page has the output, or has none; in either case the kernel sends what stands there now."""
    task = ("c", "code", "%%agent\nHello")
    first = FakePage(kernel, order=lines(task))
    first.tell([task], asking="c")
    done = kernel.ok("%%agent\nHello", "c").run
    shown = {"run": done["run_id"], "cell": "c", "over": False}
    (repaint,) = FakePage(kernel, order=lines(task), runs=[shown], since=1.0).received
    assert (repaint["type"], repaint["run"], repaint["data"][RUN]["state"]) == ("repaint", done["run_id"], "COMPLETED")
    (repaint,) = FakePage(kernel, order=lines(task), runs=[], since=1.0).received
    assert (repaint["cell"], repaint["data"][RUN]["run_id"]) == ("c", done["run_id"])
    assert FakePage(kernel, order=lines(task), runs=[shown | {"over": True}], since=1.0).received == []
    unknown = shown | {"run": "r-19990101-000000-000000"}
    (repaint, _) = FakePage(kernel, order=lines(task), runs=[unknown], since=1.0).received
    assert repaint == {"type": "repaint", "run": unknown["run"], "cell": None, "data": None}


def test_outputs_that_were_cleared_long_ago_do_not_come_back(kernel: Any) -> None:
    task = ("c", "code", "%%agent\nHello")
    FakePage(kernel, order=lines(task)).tell([task], asking="c")
    run = kernel.ok("%%agent\nHello", "c").run["run_id"]
    kernel.ok(f"{SHELL}.on_page._places[{run!r}].ended -= 600")
    assert FakePage(kernel, order=lines(task), since=1.0).received == []


def test_the_output_of_a_run_says_which_run_it_shows(kernel: Any) -> None:
    result = kernel.ok("%%agent\nHello")
    shown = [m["content"] for m in result.messages if m["header"]["msg_type"] == "display_data"]
    assert [each["metadata"]["agentnb"] for each in shown] == [{"run": result.run["run_id"]}]
    assert shown[0]["transient"]["display_id"] == result.run["run_id"]


def test_a_press_on_a_block_brings_the_journals_own_text_and_bad_ones_are_told_why(kernel: Any) -> None:
    task = ("c", "code", "%%agent --tools inspect\nWrite a function called `mean` of values, please.")
    old = ("d", "code", "def mean(values):\n    return 0")
    page = FakePage(kernel, order=lines(task, old))
    page.tell([task, old], asking="c")
    run = kernel.ok(task[2], "c").run
    code = run["text"].partition("```python\n")[2].partition("\n```")[0]
    press = {"type": "code", "run": run["run_id"], "block": 1, "use": "insert", "cell": "c"}
    insert, said = page.send(**press)
    assert (insert["type"], insert["below"], insert["source"]) == ("insert", "c", code)
    assert insert["mark"] == {"run": run["run_id"], "model": run["model"]}
    assert said == {"type": "said", "run": run["run_id"], "block": 1, "text": "", "cell": None}
    propose, said = page.send(**press | {"use": "replace"})
    assert (propose["type"], propose["cell"], propose["digest"]) == ("propose", "d", digest(old[2]))
    assert (said["text"], said["cell"]) == ("", "d")
    (said,) = page.send(**press | {"block": 2})
    assert "no such block" in said["text"]
    (said,) = page.send(**press | {"run": "r-19990101-000000-000000"})
    assert "does not know" in said["text"]
    for bad in ({"block": "1"}, {"block": True}, {"use": "run"}, {"cell": None}, {"run": 7}):
        assert page.send(**press | bad) == []


def test_steps_come_from_the_journal_in_pages_when_a_person_asks(kernel: Any) -> None:
    page = FakePage(kernel)
    run = kernel.ok("%agent --tools inspect Look at `str` and tell me").run
    press = {"type": "steps", "run": run["run_id"], "before": None}
    (told,) = page.send(**press)
    assert (told["type"], told["run"], told["first"], told["text"]) == ("steps", run["run_id"], 0, "")
    assert "collecting context" in told["html"]
    (told,) = page.send(**press | {"before": 1})
    assert "asking" not in told["html"], "only what comes before the first"
    (told,) = page.send(**press | {"run": "r-19990101-000000-000000"})
    assert "does not hold this run" in told["text"]
    for bad in ({"before": -1}, {"before": True}, {"before": "1"}, {"run": None}):
        assert page.send(**press | bad) == []
