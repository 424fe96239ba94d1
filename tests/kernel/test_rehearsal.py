"""`AgentNB.rehearse` and `%agent_runs undo` in a real kernel, with its threads, sockets and widgets."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from patience import wait_until

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="only on Linux can a copy of the kernel be shut in"),
]

TRICKY = """
import os
from IPython.display import clear_output, display
def tricky():
    print("hello")
    display({"a": 1})
    clear_output()
    print("pid is another:", os.getpid() != parent)
    try:
        input("your password? ")
    except Exception as error:
        print("nobody is asked:", type(error).__name__)
    import ipywidgets
    display(ipywidgets.IntSlider())
    log.append(1)
parent = os.getpid()
log = []
"""


@pytest.fixture
def rehearsing(kernel: Any) -> Any:
    kernel.ok(f"%config AgentNB.rehearse = True\n{TRICKY}")
    return kernel


def test_what_would_happen_is_shown_before_it_is_approved(rehearsing: Any) -> None:
    shown = rehearsing.ok("%agent Run `made = tricky(); log.append(2); open('out.csv', 'w')` please")
    assert shown.run["state"] == "WAITING"
    (question,) = shown.run["approvals"]["waiting"]
    told = question["rehearsal"]
    assert "hello\n{'a': 1}\npid is another: True\nnobody is asked: StdinNotImplementedError" in told
    assert "IntSlider" in told
    assert "It makes `made`; changes `log`." in told
    assert "would write 'out.csv'" in told
    assert told.endswith("without network and unable to change files.")
    for form in ("text/html", "text/markdown", "text/plain"):
        assert "Tried first:" in shown.displays[0][form]
        assert "pid is another: True" in shown.displays[0][form]
    assert "hello" not in shown.stdout
    opened = [message for message in shown.messages if message["header"]["msg_type"] == "comm_open"]
    assert not any("Slider" in str(message["content"]) for message in opened), "no widget of the copy reaches the page"
    assert rehearsing.value("log") == []
    assert not (rehearsing.directory / "out.csv").exists()
    assert rehearsing.value("'made' in globals()") is False


def test_an_approved_run_is_taken_back(rehearsing: Any) -> None:
    rehearsing.ok("x = 1; table = [1, 2]; gone = 'here'")
    shown = rehearsing.ok("%agent Run `x = 2; made = 3; table.append(3); del gone` please")
    run, digest = shown.run["run_id"], shown.run["approvals"]["digest"]
    rehearsing.ok(f"%agent_runs approve {run} --digest {digest}")
    assert rehearsing.value("[x, made, table]") == [2, 3, [1, 2, 3]]
    undone = rehearsing.ok("%agent_runs undo").text
    for line in ("made", "x", "table", "gone", "as it was", "there again", "Files, the network, and changes deeper"):
        assert line in undone
    assert rehearsing.value("[x, table, gone, 'made' in globals()]") == [1, [1, 2], "here", False]
    asked = rehearsing.ok("%agent What is x?").run
    assert any("What run_code did to `gone`, `made`, `table`, `x` was taken back" in note for note in asked["notes"])
    assert "What run_code did to" in rehearsing.ok("%agent_context prompt").text, "the model is told, too"
    assert "there is no code of a model's to take back" in rehearsing.run("%agent_runs undo").error


def test_code_that_is_allowed_is_not_tried_first_but_can_be_taken_back(rehearsing: Any) -> None:
    code = "log.append(os.getpid() == parent and os.getppid() not in (parent, 0))"
    shown = rehearsing.ok(f"%agent --allow run_code Run `{code}` please")
    assert shown.run["state"] == "COMPLETED"
    assert rehearsing.value("log") == [True]
    assert f"Taken back: {code[:60]}…" in " ".join(rehearsing.ok("%agent_runs undo").text.split())
    assert rehearsing.value("log") == []


def copies_of(kernel: int) -> set[str]:
    """The children of a process that lead a session of their own."""
    found = {child for file in Path(f"/proc/{kernel}/task").glob("*/children") for child in file.read_text().split()}
    return {child for child in found if leads_a_session(child)}


def leads_a_session(process: str) -> bool:
    try:
        return os.getsid(int(process)) == int(process)
    except ProcessLookupError:
        return False


def test_an_interrupt_ends_the_trial(rehearsing: Any) -> None:
    rehearsing.ok("import time")
    kernel = rehearsing.value("os.getpid()")
    before = copies_of(kernel)
    request = rehearsing.send("%agent Run `log.append(1); time.sleep(60)` please")
    wait_until(lambda: copies_of(kernel) > before)
    rehearsing.manager.interrupt_kernel()
    result = rehearsing.collect(request)
    assert "Stopped by you" in result.error
    assert rehearsing.value("log") == []
