"""What cells really ran, in a real kernel: by %%agent_trace anywhere, for every cell where the setting asks for it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = [pytest.mark.kernel, pytest.mark.slow]
needs_monitoring = pytest.mark.skipif(sys.version_info < (3, 12), reason="sys.monitoring came with Python 3.12")
SETUP = "import shapes\ndef outer(x):\n    return globals()['in' + 'ner'](x)\n"
SETUP += "def inner(x):\n    return shapes.Box().volume(x)\ndef unused(x):\n    return x"
HELD_TOOLS = "import sys\nheld = [sys.monitoring.get_tool(i) for i in range(6)]"


def reasons(kernel: Any, task: str) -> dict[str, str]:
    return {item["name"]: item["reason"] for item in kernel.ok(f"%agent {task}").run["definitions"]}


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="there it can be recorded")
def test_an_older_python_says_what_to_do_instead(start: Callable[..., Any]) -> None:
    kernel = start(AGENTNB_TRACE="1")
    kernel.ok("%load_ext agentnb")
    kernel.ok(SETUP)
    assert kernel.ok("outer(3)").status == "ok"
    [note] = [note for note in kernel.ok("%agent Hello").run["notes"] if "3.12" in note]
    assert "%%agent_trace" in note
    shown = kernel.run("%config AgentNB.trace = True")
    assert "needs Python 3.12 or later" in shown.stdout + shown.error


def test_a_traced_cell_is_a_cell_like_any_other(kernel: Any) -> None:
    kernel.ok(SETUP + "\ndef fails(x):\n    inner(x)\n    return 1 / 0\nasync def later(x):\n    return inner(x)")
    failed = kernel.run("%%agent_trace\nbefore = 1\nfails(1)\nafter = 2")
    assert failed.status == "error", "what comes below must not go on"
    assert failed.error.count("ZeroDivisionError") == kernel.run("fails(1)").error.count("ZeroDivisionError")
    kernel.run("%%agent_trace\n\nbefore = 1\nfails(1)\nafter = 2")
    held = reasons(kernel, "-t new Why?")
    assert held["fails"] == "the error was raised in it"
    assert held["inner"] == "it ran"
    assert {name.partition(".")[0] for name in held} <= {"fails", "inner", "shapes"}, "no traceback's machinery"
    assert kernel.ok("%%agent_trace\nawait later(2)").text == kernel.ok("await later(2)").text
    assert reasons(kernel, "-t new Why?")["later"] == "it ran"
    kernel.ok("%%agent_trace\nimport threading\nt = threading.Thread(target=outer, args=(1,))\nt.start(); t.join()")
    assert reasons(kernel, "-t new Why?")["inner"] == "it ran"
    assert "Wall time" in kernel.ok("%%agent_trace\n%%time\ndef timed(x): return outer(x)\ntimed(1)").stdout
    held = reasons(kernel, "-t new What did `timed` do?")
    assert (held["inner"], "timed" in held) == ("it ran", True)
    failed = kernel.run("%%agent_trace\n%%time\nabove = 1\nfails(1)\nbelow = 2")
    assert failed.status == kernel.run("%%time\nfails(1)").status == "error", "below another magic too"
    assert reasons(kernel, "-t new Why?")["fails"] == "the error was raised in it"
    assert "takes no flags" in str(kernel.run("%%agent_trace fast\nouter(1)").messages)
    assert kernel.run("%%agent_trace\n1 /").status == "error"
    assert kernel.value("__import__('sys').getprofile() is None")


@needs_monitoring
def test_every_cell_is_recorded_unless_it_is_switched_off(kernel: Any) -> None:
    kernel.ok(SETUP)
    kernel.ok("outer(3)")
    kernel.ok("1 + 1")  # runs nothing of note: what the cell before it ran is kept
    kernel.ok(HELD_TOOLS)
    held = reasons(kernel, "-t new Why is that so large?")
    assert list(held)[:3] == ["outer", "inner", "shapes.Box.volume"], "in the order in which they were called"
    assert held["outer"] == held["inner"] == "it ran"
    assert "unused" not in held
    assert not reasons(kernel, "-t new And now?"), "a recording goes with one task"
    kernel.ok("%config AgentNB.trace = False")
    reasons(kernel, "-t new That cell was still recorded")
    kernel.ok("outer(3)")
    kernel.ok(HELD_TOOLS)
    assert kernel.value("held") == [None] * 6, "off: no tool id is in use"
    assert not reasons(kernel, "-t new And now?")


@needs_monitoring
def test_cells_that_fail_wait_nest_and_use_threads(start: Callable[..., Any]) -> None:
    kernel = start(AGENTNB_TRACE="1")
    kernel.ok("%load_ext agentnb")
    kernel.ok(SETUP + "\ndef fails(x):\n    inner(x)\n    return 1 / 0")
    assert "ZeroDivisionError" in kernel.run("fails(1)").error
    assert reasons(kernel, "-t new Why?")["inner"] == "it ran"
    kernel.ok("import asyncio, threading\nasync def later(x):\n    await asyncio.sleep(0)\n    return inner(x)")
    kernel.ok("await asyncio.gather(later(1), later(2))")
    held = reasons(kernel, "-t new Why?")
    assert held["later"] == held["inner"] == "it ran"
    kernel.ok("open('nested.py', 'w').write('import shapes\\ndef within():\\n    return shapes.area(1)\\nwithin()')")
    kernel.ok("%run nested.py")
    held = reasons(kernel, "-t new Why?")
    assert held["shapes.area"] == "it ran"
    kernel.ok("%%agent_trace\nouter(2)")
    assert reasons(kernel, "-t new Why?")["inner"] == "it ran"
    kernel.ok("worker = threading.Thread(target=outer, args=(1,))\nworker.start()\nworker.join()")
    assert reasons(kernel, "-t new Why?")["inner"] == "it ran"


@needs_monitoring
def test_ids_that_others_hold_are_left_to_them_and_said(start: Callable[..., Any]) -> None:
    kernel = start(AGENTNB_TRACE="1")
    kernel.ok("%load_ext agentnb")
    kernel.ok(SETUP + "\nimport sys\nfor tool in (3, 5): sys.monitoring.use_tool_id(tool, 'other')")
    kernel.ok("outer(1)")
    assert reasons(kernel, "-t new Why?")["inner"] == "it ran", "one id is free"
    kernel.ok("%config AgentNB.trace = False")
    kernel.ok("sys.monitoring.use_tool_id(4, 'third')")
    assert "sys.monitoring" in str(kernel.run("%config AgentNB.trace = True").messages), "refused, and why"
    kernel.ok("get_ipython()._agentnb_notebook.config.trace = None")  # as the environment says
    kernel.ok("outer(1)")
    run = kernel.ok("%agent -t new Why?").run
    assert not run["definitions"]
    [note] = [note for note in run["notes"] if "sys.monitoring" in note]
    assert "third, other, other hold every free id" in note
    assert kernel.ok("%%agent_trace\nprint(outer(1))").stdout == "4\n", "a profile hook does it then"
    assert reasons(kernel, "-t new Why?")["inner"] == "it ran"
    assert kernel.value("[sys.monitoring.get_tool(i) for i in (3, 4, 5)]") == ["other", "third", "other"]
    kernel.ok("for tool in (3, 4, 5): sys.monitoring.free_tool_id(tool)")


@needs_monitoring
def test_unloading_in_a_recorded_cell_gives_the_id_back(start: Callable[..., Any]) -> None:
    kernel = start(AGENTNB_TRACE="1")
    kernel.ok("%load_ext agentnb\nimport sys")
    assert kernel.value("sys.monitoring.get_tool(4)") == "agentnb", "held while a cell runs"
    kernel.ok("%unload_ext agentnb")
    assert kernel.value("[sys.monitoring.get_tool(i) for i in range(6)]") == [None] * 6
