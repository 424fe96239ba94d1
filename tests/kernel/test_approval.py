"""Approve and Deny in a real kernel: real comm messages, as a front end sends them for a click."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import pytest
import scripted
import shown as views
from patience import PATIENCE, wait_until

RUN = "application/vnd.agentnb.run.v1+json"
WIDGET = "application/vnd.jupyter.widget-view+json"

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

SECRET = "sk-ant-" + "api03-abcdEFGH1234567890_-xyz"


class Desk:
    """A kernel, and the widgets that it has opened, as a front end keeps them."""

    def __init__(self, kernel: Any) -> None:
        self.kernel = kernel
        self.models: dict[str, dict[str, Any]] = {}
        self.ok, self.value = kernel.ok, kernel.value
        self._next, kernel._next = kernel._next, self._noted

    def _noted(self, deadline: float) -> dict[str, Any] | None:
        """The kernel's next message: what it says of widgets is noted, whoever reads it."""
        message: dict[str, Any] | None = self._next(deadline)
        if message is not None:
            self._note(message["header"]["msg_type"], message["content"])
        return message

    def _note(self, kind: str, content: dict[str, Any]) -> None:
        if kind == "comm_open":
            self.models[content["comm_id"]] = dict(content["data"]["state"])
        elif kind == "comm_msg" and content["comm_id"] in self.models:
            self.models[content["comm_id"]] |= content["data"].get("state", {})
        elif kind == "comm_close":
            self.models.pop(content["comm_id"], None)

    def until(self, holds: Callable[[], bool]) -> None:
        """Read what the kernel says until `holds`."""
        deadline = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < deadline, list(self.models.values())
            message = self.kernel._next(min(deadline, time.monotonic() + 1))
            if message is not None and message["header"]["msg_type"] == "update_display_data":
                self.kernel._update(message)

    def buttons(self) -> dict[str, str]:
        """Words on each button that can be pressed -> its comm."""
        return {
            state["description"]: comm
            for comm, state in self.models.items()
            if state.get("_model_name") == "ButtonModel" and not state.get("disabled")
        }

    def send(self, comm: str, data: dict[str, Any]) -> None:
        client = self.kernel.client
        client.shell_channel.send(client.session.msg("comm_msg", {"comm_id": comm, "data": data}))

    def click(self, words: str) -> None:
        self.press(self.buttons()[words])

    def press(self, comm: str) -> None:
        self.send(comm, {"method": "custom", "content": {"event": "click"}})

    def write(self, text: str, field: int = 0) -> None:
        comms = [comm for comm, state in self.models.items() if state.get("_model_name") == "TextModel"]
        self.send(comms[field], {"method": "update", "state": {"value": text}, "buffer_paths": []})

    def until_state(self, result: Any, state: str) -> dict[str, Any]:
        self.until(lambda: any(RUN in data and data[RUN]["state"] == state for data in result.displays))
        return dict(result.run)


@pytest.fixture
def desk(kernel: Any) -> Desk:
    made = Desk(kernel)
    made.ok("log = []")
    return made


def test_a_click_approves_and_the_run_goes_on_in_the_same_output(desk: Desk) -> None:
    shown = desk.ok("%agent Run `log.append(threading.current_thread().name)` please, with `import threading`.")
    assert shown.run["state"] == "WAITING"
    assert desk.value("_agent.state") == "WAITING"
    assert desk.value("log") == []
    view, question = shown.displays
    assert set(view) == {"text/html", "text/markdown", "text/plain", RUN}, "the run's own view holds no widget"
    assert WIDGET in question
    for form in ("text/html", "text/markdown", "text/plain"):
        assert "log.append" in view[form]
        words = " ".join(view[form].replace("\\", "").split())
        assert f"%agent_runs deny {shown.run['run_id']} WHY" in re.sub(r"<span[^>]*>|</span>", "", words)
    assert set(desk.buttons()) == {"Run", "Edit first", "Deny", "Always in this conversation"}
    desk.ok("import threading")
    desk.click("Run")
    run = desk.until_state(shown, "COMPLETED")
    assert desk.value("log") == ["MainThread"], "what touches the namespace runs on the kernel's main thread"
    assert desk.value("_agent.state") == "COMPLETED"
    assert run["approvals"]["decided"][0]["by"] == "button"
    assert "Approved by a button at" in shown.displays[0]["text/markdown"]
    assert len(shown.displays) == 2
    assert set(shown.displays[1].values()) == {""}, "the row of buttons leaves no line"
    assert not desk.buttons()


def test_a_denial_brings_its_reason_to_the_model(desk: Desk) -> None:
    shown = desk.ok("%agent Run `log.append(1)` please")
    desk.write("look first")
    desk.click("Deny")
    run = desk.until_state(shown, "COMPLETED")
    (call,) = [tool for step in run["steps"] for tool in step["tools"]]
    assert "look first" in call["result"]
    assert desk.value("log") == []
    assert 'The model was told: "look first"' in " ".join(shown.displays[0]["text/plain"].split())


def test_a_second_click_and_one_on_buttons_that_are_gone_do_nothing(desk: Desk) -> None:
    shown = desk.ok("%agent Run `log.append(1)` please, then run `log.append(2)`.")
    old = desk.buttons()
    for _ in range(3):
        desk.press(old["Run"])
    desk.press(old["Deny"])
    desk.until(lambda: "Run" in desk.buttons() and desk.buttons()["Run"] != old["Run"])
    desk.press(old["Run"])
    assert desk.value("log") == [1]
    assert shown.run["state"] == "WAITING"
    desk.click("Run")
    desk.until_state(shown, "COMPLETED")
    assert desk.value("log") == [1, 2]


def test_a_double_click_does_not_approve_the_next_question(desk: Desk) -> None:
    """The second half of it hits the button that has just appeared in the same place."""
    desk.ok("%agent Run `log.append(1)` please, then run `log.append(2)`.")
    before = set(desk.models)
    desk.click("Run")
    fresh: list[str] = []

    def appeared() -> bool:
        fresh[:] = [
            comm
            for comm, state in desk.models.items()
            if comm not in before and state.get("description") == "Run" and state.get("disabled") is True
        ]
        return bool(fresh)

    desk.until(appeared)
    desk.press(fresh[0])
    assert desk.value("log") == [1]
    desk.until(lambda: "Run" in desk.buttons())
    assert desk.value("_agent.state") == "WAITING"


def test_several_calls_are_decided_one_by_one(desk: Desk) -> None:
    desk.ok('import agentnb\n@agentnb.tool\ndef tide(place: str) -> str:\n    """Tide."""\n    return "high"')
    shown = desk.ok("%agent --tools run_code,tide Run `log.append(1)` and use tide on `Dover` please.")
    assert {"Run 1", "Deny 1", "Run 2", "Deny 2", "Run all 2", "Deny all 2"} <= set(desk.buttons())
    desk.click("Deny 2")
    desk.until(lambda: "Run" in desk.buttons())
    assert [item["tool"] for item in shown.run["approvals"]["waiting"]] == ["run_code"]
    assert desk.value("log") == []
    desk.click("Run")
    run = desk.until_state(shown, "COMPLETED")
    assert [tool["refused"] for step in run["steps"] for tool in step["tools"]] == [False, True]
    assert desk.value("log") == [1]


def approval(shown: Any) -> str:
    """The command that approves what a cell has shown, as its view gives it."""
    words = " ".join(shown.text.split())
    found = re.search(r"%agent_runs approve \S+ --digest [0-9a-f]{16}", words)
    assert found, words
    return found.group()


def test_a_command_in_another_cell_answers_and_the_old_buttons_go(desk: Desk) -> None:
    shown = desk.ok("%agent Run `log.append(1)` please")
    run_id = shown.run["run_id"]
    buttons = desk.buttons()
    listed = desk.ok("%agent_runs list").text
    assert "Waiting" in listed
    done = desk.ok(approval(shown))
    assert done.run["state"] == "COMPLETED"
    assert desk.value("_agent.state") == "COMPLETED"
    desk.until_state(shown, "COMPLETED")
    assert not desk.buttons()
    desk.press(buttons["Deny"])
    assert desk.value("log") == [1]
    assert "does not wait" in desk.kernel.run(f"%agent_runs approve {run_id}").error
    assert done.run["approvals"]["decided"][0]["by"] == "command"


def test_an_approval_is_of_what_was_shown_alone(desk: Desk) -> None:
    shown = desk.ok("%agent Run `log.append(1)` please, then run `log.append(2)`.")
    run_id, first = shown.run["run_id"], approval(shown)
    blind = desk.kernel.run(f"%agent_runs approve {run_id}")
    assert "an approval names what was shown; nothing was approved" in blind.error
    assert "log.append(1)" in blind.text, "it is shown again"
    assert approval(blind) == first
    assert desk.value("log") == []
    second = desk.ok(first)
    assert desk.value("log") == [1]
    assert "other calls wait by now; nothing was approved" in desk.kernel.run(first).error
    assert desk.value("log") == [1], "the word on the first call says nothing of the second"
    desk.ok(approval(second))
    assert desk.value("log") == [1, 2]


def test_commands_that_make_no_sense_say_so(desk: Desk) -> None:
    run_id = desk.ok("%agent Run `log.append(1)` please").run["run_id"]
    for line, says in (
        ("approve", "wants a run"),
        (f"approve {run_id} yes please", "takes no words"),
        (f"approve {run_id} --call 2", "number 2"),
        (f"approve {run_id} --cal 1", "unknown flag"),
        ("deny r-nothing", "no run is called"),
    ):
        result = desk.kernel.run(f"%agent_runs {line}")
        assert says in result.error + result.stdout, line
    assert desk.value("log") == []
    assert desk.ok(f"%agent_runs deny {run_id} --call 1 not today").run["state"] == "COMPLETED"


def test_after_a_restart_it_still_waits_and_a_command_goes_on(start: Callable[..., Any]) -> None:
    first = start()
    first.ok("%load_ext agentnb\nlog = []")
    run_id = first.ok("%agent Run `log.append(1)` please").run["run_id"]
    first.stop()
    second = start()
    second.ok("%load_ext agentnb\nlog = []")
    assert "Waiting" in second.ok("%agent_runs list").text
    shown = second.ok(f"%agent_runs show {run_id}")
    assert shown.run["state"] == "WAITING"
    assert "log.append(1)" in shown.text
    asked_again = second.ok(f"%agent_runs resume {run_id}")
    assert WIDGET in asked_again.displays[1], "with live buttons"
    assert second.ok(f"{approval(shown)} --rest").run["state"] == "COMPLETED"
    assert second.value("log") == [1]


def test_a_question_waits_across_a_restart_and_is_answered(start: Callable[..., Any]) -> None:
    first = start(new=True)
    first.ok("%load_ext agentnb")
    asked = first.ok('%agent --tools ask_user Ask me "Which column?"').run
    assert asked["state"] == "WAITING"
    first.manager.restart_kernel(now=True)
    first.client.wait_for_ready(timeout=PATIENCE)
    first.ok("%load_ext agentnb")
    assert "Waiting" in first.ok("%agent_runs").text
    shown = first.ok(f"%agent_runs show {asked['run_id']}")
    assert shown.run["state"] == "WAITING"
    assert "Which column?" in shown.text
    assert f"%agent_runs answer {asked['run_id']}" in " ".join(shown.text.split())
    done = first.ok(f"%agent_runs answer {asked['run_id']} the second").run
    assert done["state"] == "COMPLETED"
    (call,) = [tool for step in done["steps"] for tool in step["tools"]]
    assert call["result"] == "The person answers: the second"


def test_another_task_keeps_its_place_in_agent(desk: Desk) -> None:
    shown = desk.ok("%agent --out answer Run `log.append(1)` please")
    other = desk.ok("%agent -t aside What is 2 + 2?").run
    desk.click("Run")
    run = desk.until_state(shown, "COMPLETED")
    assert desk.value("_agent.run_id") == other["run_id"]
    assert desk.value("answer") == run["text"], "what was asked for by name comes all the same"
    assert desk.value("log") == [1]


def test_a_run_in_the_background_asks_under_its_own_cell(desk: Desk) -> None:
    begun = desk.ok("%agent --bg Run `log.append(1)` please")
    desk.ok("1 + 1")
    desk.until(lambda: WIDGET in begun.displays[1])
    desk.click("Run")
    desk.until_state(begun, "COMPLETED")
    assert desk.value("log") == [1]


def test_the_setting_decides_and_without_the_live_view_there_are_commands(desk: Desk) -> None:
    desk.ok("%config AgentNB.approval = 'deny'")
    refused = desk.ok("%agent Run `log.append(1)` please").run
    assert refused["state"] == "COMPLETED"
    assert [tool["refused"] for step in refused["steps"] for tool in step["tools"]] == [True]
    desk.ok("%config AgentNB.approval = ''\n%config AgentNB.live = False")
    plain = desk.ok("%agent Run `log.append(1)` please")
    assert plain.run["state"] == "WAITING"
    assert len(plain.displays) == 1
    assert "%agent_runs approve" in plain.text


def test_a_word_that_the_setting_does_not_know_is_refused_in_the_cell_and_changes_nothing(desk: Desk) -> None:
    desk.ok("import logging; logging.basicConfig(filename='notebook.log', force=True)")
    desk.ok("%config AgentNB.approval = 'deny'")
    assert "Use ask or deny, or leave it empty." in desk.ok("%config AgentNB.approval = 'maybe'").stdout
    refused = desk.ok("%agent Run `log.append(1)` please").run
    assert [tool["refused"] for step in refused["steps"] for tool in step["tools"]] == [True]


def test_new_limits_of_a_run_that_waits_hold_after_the_click(desk: Desk) -> None:
    desk.kernel.run("%agent --budget 0.02 Run `log.append(1)` please")
    run_id = desk.value("_agent.run_id")
    shown = desk.ok(f"%agent_runs resume {run_id} --budget 0.5")
    desk.click("Run")
    assert desk.until_state(shown, "COMPLETED")["budget"]["limit"] == 0.5


def test_unloading_takes_the_buttons_along(desk: Desk) -> None:
    shown = desk.ok("%agent Run `log.append(1)` please")
    buttons = desk.buttons()
    desk.ok("%unload_ext agentnb")
    desk.until(lambda: not desk.buttons())
    assert "unloaded" in shown.displays[1]["text/plain"]
    desk.press(buttons["Run"])
    assert desk.value("log") == []
    desk.ok("%load_ext agentnb")
    assert desk.ok(approval(shown)).run["state"] == "COMPLETED"


def test_a_click_that_cannot_be_kept_says_why_and_the_buttons_stay(desk: Desk) -> None:
    shown = desk.ok("%agent Run `log.append(1)` please")
    run_id = shown.run["run_id"]
    desk.ok(
        "from agentnb.durable.machine import AgentStateMachine\nfrom agentnb.settings import data_directory, Settings\n"
        "import os; other = AgentStateMachine(os.environ['AGENTNB_HOME'])\n"
        f"other.cancel({run_id!r})"
    )
    desk.click("Run")
    desk.until(lambda: any("cancelled" in str(state.get("value")) for state in desk.models.values()))
    assert "Run" in desk.buttons()
    assert desk.value("log") == []


HIDDEN = "x = '''-----BEGIN PRIVATE KEY-----\na'''\nlog.append(1)\ny = '''-----END PRIVATE KEY-----'''\nlen(log)"


@pytest.fixture
def proposing(start: Callable[..., Any], server: scripted.Scripted) -> Callable[[], Desk]:
    """Start a kernel whose model proposes a call with a line that redaction would take for a part of a key."""
    server.calls = [("c", "run_code", {"code": HIDDEN}), ("c", "run_code", {"code": "log.append(2)"})]

    def make() -> Desk:
        key = {"ANTHROPIC_API_KEY": "any", "ANTHROPIC_BASE_URL": server.url}
        made = Desk(start(AGENTNB_MODEL="anthropic:claude-sonnet-4-6", **key))
        made.ok("%load_ext agentnb\n%config AgentNB.stream = False\nlog = []")
        return made

    return make


def in_every_form(bundle: dict[str, Any]) -> None:
    for form, read in (("html", views.of_html), ("markdown", views.of_markdown), ("plain", views.of_text)):
        assert read(bundle[f"text/{form}"]) == [HIDDEN, "log.append(2)"], form


def test_a_click_runs_the_call_that_was_shown_though_two_have_one_id(proposing: Callable[[], Desk]) -> None:
    desk = proposing()
    shown = desk.ok("%agent --tools run_code go")
    in_every_form(shown.displays[0])
    desk.click("Deny 1")
    desk.until(lambda: "Run" in desk.buttons())
    desk.click("Run")
    run = desk.until_state(shown, "COMPLETED")
    assert desk.value("log") == [2]
    assert [tool["refused"] for step in run["steps"] for tool in step["tools"]] == [True, False]


def test_a_command_runs_what_was_shown_after_a_restart(proposing: Callable[[], Desk]) -> None:
    first = proposing()
    run_id = first.ok("%agent --tools run_code go").run["run_id"]
    first.kernel.stop()
    second = proposing()
    shown = second.ok(f"%agent_runs show {run_id}")
    in_every_form(shown.displays[0])
    assert second.ok(approval(shown)).run["state"] == "COMPLETED"
    assert second.value("log") == [1, 2]


def stopped(desk: Desk) -> Any:
    """A run that a person stopped while the model wrote."""
    desk.ok("get_ipython()._agentnb_notebook.session.simulator().inject(kind='stall', after_events=12)")
    kernel = desk.kernel
    request = kernel.send("%agent Explain yourself at length, please.")
    writes = lambda shown: "the model writes" in str([message["content"] for message in shown.messages[-3:]])  # noqa: E731
    shown = kernel.collect(request, until=writes)
    kernel.manager.interrupt_kernel()
    kernel.collect(request, into=shown)
    assert shown.status == "error"
    assert shown.run["state"] == "PAUSED"
    assert set(desk.buttons()) == {"Resume", "Ask again"}
    return shown


def test_a_stopped_run_is_resumed_or_asked_again_by_a_click(desk: Desk) -> None:
    shown = stopped(desk)
    desk.click("Resume")
    run = desk.until_state(shown, "COMPLETED")
    assert run["run_id"] == desk.value("_agent.run_id")
    assert not desk.buttons()


@pytest.mark.parametrize(("word", "held"), [("Run it again", [1, 1]), ("Go on without it", [1])])
def test_a_run_that_was_stopped_in_a_tool_asks_what_the_tool_has_done(desk: Desk, word: str, held: list[int]) -> None:
    busy = "from pathlib import Path\nlog.append(1)\nPath('begun').touch()\nwhile not Path('go').exists(): pass"
    kernel = desk.kernel
    request = kernel.send(f"%%agent --allow run_code\nRun this, please:\n```\n{busy}\n```")
    shown = kernel.collect(request, until=lambda shown: "running run_code" in str(shown.messages[-3:]))
    wait_until((kernel.directory / "begun").exists, "the tool does not begin")
    kernel.manager.interrupt_kernel()
    kernel.collect(request, into=shown)
    (desk.kernel.directory / "go").touch()
    desk.click("Resume")
    desk.until(lambda: word in desk.buttons())
    said = " ".join(shown.displays[0]["text/plain"].split())
    assert "run_code may have run before this run was cut off, and it was not repeated" in said
    assert "goes on from there" not in said
    assert desk.value("log") == [1], "it is not repeated unasked"
    desk.click(word)
    desk.until_state(shown, "COMPLETED")
    assert desk.value("log") == held
    assert not desk.buttons()


@pytest.mark.parametrize("elsewhere", ["%agent_runs resume", "%unload_ext agentnb"])
def test_the_buttons_of_a_stopped_run_go_when_it_goes_on_elsewhere_and_with_the_extension(
    desk: Desk, elsewhere: str
) -> None:
    run_id = stopped(desk).run["run_id"]
    desk.ok(f"{elsewhere} {run_id}" if "resume" in elsewhere else elsewhere)
    desk.until(lambda: not desk.buttons())


def test_code_is_edited_first_and_what_the_person_wrote_is_what_runs(desk: Desk) -> None:
    shown = desk.ok("%agent Run `log.append(1)` please")
    desk.click("Edit first")
    desk.until(lambda: "Run as edited" in desk.buttons())
    (field,) = [comm for comm, state in desk.models.items() if state.get("_model_name") == "TextareaModel"]
    assert desk.models[field]["value"] == "log.append(1)"
    code = f"log.append(2)\nkey = '{SECRET}'"
    desk.send(field, {"method": "update", "state": {"value": code}, "buffer_paths": []})
    desk.click("Run as edited")
    run = desk.until_state(shown, "COMPLETED")
    assert desk.value("log") == [2]
    assert desk.value("key") == SECRET
    (call,) = [tool for step in run["steps"] for tool in step["tools"]]
    assert "The person changed the call before it ran:\nlog.append(2)" in call["result"]
    assert SECRET not in str(shown.displays)
    said = shown.displays[0]["text/plain"]
    assert "Approved as you changed it by a button" in said
    assert "log.append(2)" in said, "what ran, and not what the model wrote"


def test_while_a_tool_keeps_the_kernel_the_view_says_so(desk: Desk) -> None:
    busy = "import time\nfrom pathlib import Path\nwhile not Path('go').exists(): time.sleep(0.01)"
    request = desk.kernel.send(f"%%agent --allow run_code\nRun this, please:\n```\n{busy}\n```")
    desk.until(lambda: "running run_code" in str(desk.models))
    (desk.kernel.directory / "go").touch()
    assert desk.kernel.collect(request).status == "ok"


def test_always_holds_for_the_conversation_and_not_for_another(desk: Desk) -> None:
    shown = desk.ok("%agent Run `log.append(1)` please")
    desk.click("Always in this conversation")
    desk.until_state(shown, "COMPLETED")
    assert desk.ok("%agent Run `log.append(2)` please").run["state"] == "COMPLETED"
    assert desk.ok("%agent -t other Run `log.append(3)` please").run["state"] == "WAITING"
    assert desk.value("log") == [1, 2]


def test_code_awaits_as_a_cell_does(desk: Desk) -> None:
    desk.ok("import asyncio")
    shown = desk.ok("%agent Run `log.append(await asyncio.sleep(0.01, 5))` please")
    desk.click("Run")
    run = desk.until_state(shown, "COMPLETED")
    assert [tool["is_error"] for step in run["steps"] for tool in step["tools"]] == [False]
    assert desk.value("log") == [5]
    assert desk.kernel.ok("print(await asyncio.sleep(0, 6))").stdout == "6\n", "the kernel's own loop goes on"


@pytest.mark.parametrize("way", ["button", "own words", "command"])
def test_the_models_question_is_answered(desk: Desk, way: str) -> None:
    shown = desk.ok('%agent --tools ask_user Ask me "Which column?"')
    run_id = shown.run["run_id"]
    assert shown.run["state"] == "WAITING", shown.text
    choices = shown.run["approvals"]["waiting"][0]["arguments"]["choices"]
    assert {*choices, "Answer"} == set(desk.buttons())
    said = choices[0] if way == "button" else "neither"
    if way == "button":
        desk.click(choices[0])
    elif way == "own words":
        desk.write("neither")
        desk.click("Answer")
    else:
        assert "%agent_runs answer" in desk.kernel.run(f"%agent_runs approve {run_id}").error
        shown = desk.ok(f"%agent_runs answer {run_id} neither")
    run = desk.until_state(shown, "COMPLETED")
    (call,) = [tool for step in run["steps"] for tool in step["tools"]]
    assert call["result"] == f"The person answers: {said}"


def test_a_click_counts_though_the_page_of_before_took_its_subshell_along(desk: Desk) -> None:
    """A page that is loaded anew deletes the subshell in whose name the kernel has spoken last."""
    busy = "import time\nfrom pathlib import Path\nwhile not Path('go').exists(): time.sleep(0.01)"
    asking = desk.kernel.send(f"%agent --bg Run `log.append(1)` please.\n{busy}")
    client = desk.kernel.client
    name = on_control(client, "create_subshell_request", {})["subshell_id"]
    spoken = client.session.msg("comm_info_request", {})
    spoken["header"]["subshell_id"] = name
    client.shell_channel.send(spoken)
    while client.get_shell_msg(timeout=PATIENCE)["parent_header"].get("msg_id") != spoken["msg_id"]:
        pass
    assert on_control(client, "delete_subshell_request", {"subshell_id": name})["status"] == "ok"
    (desk.kernel.directory / "go").touch()
    result = desk.kernel.collect(asking)
    desk.until_state(result, "WAITING")
    desk.until(lambda: "Run" in desk.buttons())
    desk.click("Run")
    desk.until_state(result, "COMPLETED")
    assert desk.value("log") == [1]


def on_control(client: Any, kind: str, content: dict[str, Any]) -> dict[str, Any]:
    message = client.session.msg(kind, content)
    client.control_channel.send(message)
    while True:
        reply = client.get_control_msg(timeout=PATIENCE)
        if reply["parent_header"].get("msg_id") == message["msg_id"]:
            return dict(reply["content"])


CODE_CELL = "vscode-notebook-cell:/home/ada/tides.ipynb#W2sZmlsZQ%3D%3D"


@pytest.fixture
def scripted_desk(start: Callable[..., Any], server: scripted.Scripted) -> Desk:
    key = {"ANTHROPIC_API_KEY": "any", "ANTHROPIC_BASE_URL": server.url, "AGENTNB_MODEL": "anthropic:claude-sonnet-4-6"}
    made = Desk(start(**key))
    made.ok("%load_ext agentnb\n%config AgentNB.stream = False\nlog = []")
    return made


def next_inputs(desk: Desk) -> list[str]:
    """What the replies to come put below their cells; filled as they come."""
    found: list[str] = []
    get = desk.kernel.client.get_shell_msg

    def noting(**options: Any) -> Any:
        reply = get(**options)
        found.extend(each["text"] for each in reply["content"].get("payload", []) if each["source"] == "set_next_input")
        return reply

    desk.kernel.client.get_shell_msg = noting
    return found


def test_as_in_vs_code_with_widgets_and_no_extension_of_ours(scripted_desk: Desk, server: scripted.Scripted) -> None:
    desk, below = scripted_desk, next_inputs(scripted_desk)
    server.calls = [("a", "run_code", {"code": "log.append(1)"}), ("b", "propose_cell", {"source": "log", "why": "x"})]
    shown = desk.ok("%agent go", CODE_CELL)
    assert below == [], "the run waits"
    assert set(desk.buttons()) == {"Run", "Edit first", "Deny", "Always in this conversation"}
    desk.click("Run")
    desk.until_state(shown, "COMPLETED")
    assert desk.value("log") == [1]
    assert "log" in shown.displays[0]["text/html"].partition("as a new cell")[2], "to be copied: no cell runs"
    server.calls = [("c", "propose_cell", {"source": "log.clear()", "why": "x"})]
    desk.ok("%agent -t new go", CODE_CELL)
    desk.kernel.run("1 / 0", CODE_CELL)
    number = desk.value("get_ipython().execution_count") - 1
    server.calls = [("d", "propose_cell", {"source": "1 / 1", "why": "x", "replaces": number})]
    desk.ok("%agent --fix -t new", CODE_CELL)
    assert below == ["log.clear()", "1 / 1"]
    opened = [message["content"] for message in shown.messages if message["header"]["msg_type"] == "comm_open"]
    assert {each["target_name"] for each in opened} == {"jupyter.widget"}


def test_as_in_a_front_end_without_widgets(scripted_desk: Desk, server: scripted.Scripted) -> None:
    """In Colab a widget of ours may have no manager, or ipywidgets itself may be another than we need."""
    desk, below = scripted_desk, next_inputs(scripted_desk)
    desk.ok("import sys\nkept = sys.modules.copy()\nsys.modules['ipywidgets'] = None")
    try:
        server.calls = [("a", "run_code", {"code": "log.append(1)"})]
        shown = desk.ok("%agent go")
        assert shown.run["state"] == "WAITING"
        assert not any(message["header"]["msg_type"].startswith("comm") for message in shown.messages)
        assert not any(WIDGET in data for data in shown.displays)
        assert "log.append(1)" in re.sub("<[^>]*>", "", shown.displays[-1]["text/html"])
        run, digest = shown.run["run_id"], shown.run["approvals"]["digest"]
        assert desk.ok(f"%agent_runs approve {run} --digest {digest}").run["state"] == "COMPLETED"
        server.calls = [("b", "propose_cell", {"source": "log.clear()", "why": "x"})]
        desk.ok("%agent -t new go")
        assert below == ["log.clear()"]
        assert desk.value("log") == [1]
    finally:
        desk.ok("sys.modules['ipywidgets'] = kept.get('ipywidgets') or sys.modules.pop('ipywidgets')")
