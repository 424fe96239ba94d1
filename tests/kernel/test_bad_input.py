"""Bad input: one clear message or a graceful note, the run's committed steps intact, the kernel alive."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

RUN = "application/vnd.agentnb.run.v1+json"

pytestmark = [pytest.mark.kernel, pytest.mark.slow]


def message_of(result: Any) -> str:
    assert result.status == "error", result.displays
    lines = [line for line in (result.error or result.stdout).splitlines() if line.strip()]
    assert len(lines) == 1, result.error
    return str(lines[-1])


def is_writing(result: Any) -> bool:
    """The live view says that the model writes."""
    return "the model writes" in str([message["content"] for message in result.messages[-3:]])


@pytest.mark.parametrize("code", ["%%agent --dry-run\n", "%%agent --bg\n   \n\n", "%agent --bg", "%agent --dry-run  "])
def test_an_empty_task(kernel: Any, code: str) -> None:
    assert "empty" in message_of(kernel.run(code))
    kernel.ok("%agent still alive")


def test_an_unknown_flag_names_the_nearest(kernel: Any) -> None:
    assert "--budget" in message_of(kernel.run("%agent --bugdet 1 hello"))


def test_an_unknown_model_names_the_nearest(kernel: Any) -> None:
    assert "claude-sonnet-4-6" in message_of(kernel.run("%agent -m sim:claude-sonet-4-6 hello"))


def test_an_unknown_tool_names_the_nearest(kernel: Any) -> None:
    assert "run_code" in message_of(kernel.run("%agent --tools run_cod hello"))


def test_a_missing_key_is_one_message_that_names_the_variable(start: Callable[..., Any]) -> None:
    kernel = start(bare=True)
    kernel.ok("%load_ext agentnb")
    text = message_of(kernel.run("%agent -m anthropic:claude-sonnet-4-6 hello"))
    assert "ANTHROPIC_API_KEY" in text
    assert "sim:" in text
    assert kernel.value("'agentnb.session' in __import__('sys').modules") is False, "told before anything is loaded"
    assert kernel.value("'_agent' in globals()") is False, "no run was begun"
    assert kernel.ok("%agent -m anthropic:claude-sonnet-4-6 --dry-run hello").run["state"] == "DRY_RUN"


@pytest.mark.parametrize(
    "text",
    [
        '{"a": {"b": [1, 2]}} {x} {} {{y}} $HOME $x %s %(z)s',
        "it's \"quoted\" 'twice \\ and `half",
        "</task><script>alert(1)</script> & <b>bold</b>",
        "emoji 🎈 and ünïcode and \x00 control",
    ],
)
def test_text_passes_through_untouched(kernel: Any, text: str) -> None:
    run = kernel.ok(f"%%agent\n{text}").run
    assert run["task"] == text
    assert run["state"] == "COMPLETED"


def test_quotes_and_braces_on_a_line(kernel: Any) -> None:
    run = kernel.ok("%agent what's {wrong} with \"this").run
    assert run["task"] == "what's {wrong} with \"this"


def test_a_pasted_log_of_200_kb(kernel: Any) -> None:
    kernel.ok("def parse(x):\n    return x")
    log = "\n".join(
        f"2026-01-01 12:00:{i % 60:02d} ERROR worker-{i} parse failed at {i:#x} {{'k': {i}}}" for i in range(3200)
    )
    assert len(log) > 200_000
    run = kernel.ok(f"%%agent\nWhy does `parse` fail here?\n{log}").run
    assert run["state"] == "COMPLETED"
    assert any(item["name"] == "parse" for item in run["definitions"])


def test_a_cell_that_does_not_parse_is_a_note(kernel: Any) -> None:
    kernel.run("def broken(:\n    pass")
    kernel.ok("def whole():\n    return 1")
    run = kernel.ok("%agent what does `whole` do?").run
    assert run["state"] == "COMPLETED"
    assert any(item["name"] == "whole" for item in run["definitions"])
    assert ["did not parse: line 1" in note for note in run["notes"]] == [True]
    assert kernel.ok("%agent and now?").run["notes"] == []


def test_of_a_cell_that_failed_only_what_ran_is_told(kernel: Any) -> None:
    kernel.ok("def kept():\n    return 'first'\ndef gone():\n    return 1")
    kernel.run("\ndel gone\n1 / 0\ndef kept():\n    return 'second'")
    kernel.run("%%time\n\n1 / 0\ndef kept():\n    return 'third'")
    kernel.run("def kept():\n    return 'fourth'\nreturn 1")
    kernel.run("import asyncio\nawait asyncio.sleep(0)\n1 / 0\ndef kept():\n    return 'fifth'")
    run = kernel.ok("%agent what do `kept` and `gone` do?").run
    assert [item["name"] for item in run["definitions"]] == ["kept"]
    assert "there is no definition called gone here" in " ".join(run["notes"])
    known = "get_ipython()._agentnb_notebook.session.cells.definitions()['kept'].source"
    assert kernel.value("kept()") in kernel.value(known)  # IPython ran what stands above the `return` of the fourth


def test_a_module_without_source_gives_what_there_is(kernel: Any) -> None:
    kernel.ok("import math, itertools")
    run = kernel.ok("%agent how does `math.floor` differ from `itertools.count`?").run
    assert run["state"] == "COMPLETED"
    held = {item["name"]: item["form"] for item in run["definitions"]}
    noted = " ".join(run["notes"])
    assert any("floor" in name for name in held) or "floor" in noted


def test_a_name_that_does_not_exist_is_a_note(kernel: Any) -> None:
    kernel.ok("def cleaned(x):\n    return x")
    run = kernel.ok("%agent explain `claened`").run
    assert run["state"] == "COMPLETED"
    assert any("claened" in note for note in run["notes"]), run["notes"]


def test_unknown_subcommands(kernel: Any) -> None:
    assert "status" in message_of(kernel.run("%agent_cache statsu"))
    assert "list" in message_of(kernel.run("%agent_runs lsit"))
    assert "run.unknown" in message_of(kernel.run("%agent_runs show r-nope"))


# The reply stops in its middle, however fast the machine is.
STALL = "get_ipython()._agentnb_notebook.session.simulator().inject(kind='stall', after_events=12)"


def test_an_interrupt_in_mid_stream_keeps_what_was_committed(kernel: Any) -> None:
    kernel.ok(f"def area(w, h):\n    return w * h\n{STALL}")
    request = kernel.send("%agent Explain `area` at length, please.")
    streaming = kernel.collect(
        request, until=lambda r: "the model writes" in str([m["content"] for m in r.messages[-3:]])
    )
    assert streaming.messages
    kernel.manager.interrupt_kernel()
    result = kernel.collect(request, into=streaming)
    assert result.error == (
        "Stopped by you. %agent_runs resume goes on from there; running the cell again asks anew."
    ), "no traceback"
    (shown,) = [bundle for bundle in result.displays if RUN in bundle]
    assert "■ Stopped by you after" in shown["text/plain"]
    assert shown[RUN]["stopped"]["text"].split()[-1] in shown["text/markdown"]
    assert "opacity:0.62" in shown["text/html"], "the part of the answer that came stays, greyed"
    assert kernel.value("_agent.state") == "PAUSED"
    steps = kernel.value("[s['state'] for s in _agent.steps]")
    assert steps == ["HYDRATING"]
    run_id = kernel.value("_agent.run_id")
    resumed = kernel.ok("%agent_runs resume")
    assert (resumed.run["run_id"], resumed.run["state"]) == (run_id, "COMPLETED")
    assert "no run was stopped" in message_of(kernel.run("%agent_runs resume"))
    assert kernel.ok("%agent And now?").run["state"] == "COMPLETED"


def test_a_working_directory_that_was_deleted(kernel: Any) -> None:
    kernel.ok("import os, tempfile\nos.chdir(gone := tempfile.mkdtemp())\nos.rmdir(gone)")
    assert kernel.ok("%agent Hello").run["state"] == "COMPLETED"


def test_a_data_directory_that_cannot_be_made(start: Callable[..., Any]) -> None:
    kernel = start(AGENTNB_HOME="/dev/null/agentnb")
    kernel.ok("%load_ext agentnb")
    assert "AGENTNB_HOME" in message_of(kernel.run("%agent Hello"))


@pytest.mark.parametrize("sum_", ["nan", "inf", "-inf"])
def test_a_budget_that_is_no_sum(kernel: Any, sum_: str) -> None:
    assert "--budget is" in message_of(kernel.run(f"%agent --budget {sum_} hello"))


SLIPS = (
    ("%agent --bugdet 1 hello", "Did you mean --budget?"),
    ("%agent --budget cheap hello", "wants a number, not 'cheap'. Use e.g. 0.05."),
    ("%agent --max-steps two hello", "wants a whole number, not 'two'. Use e.g. 60."),
    ("%agent --dry-run=no hello", "--dry-run takes no value. Write --dry-run, or leave it out."),
    ("%agent --thread", "--thread needs a value. Write --thread NAME:"),
    ("%agent --context all hello", "Use auto, cells, marks or none."),
    ("%agent --budget 0.00001 hello", "$0.00001 of --budget $0.00001 is left"),
    ("%agent --max-steps 1 hello", "its limit of 1 step."),
    ("%agent_runs list all", "wants a whole number from 1 on, not 'all'. Write e.g. %agent_runs list 50"),
    ("%agent_cache status now", "Write %agent_cache status alone."),
    ("%agent_context add nowhere.txt", "there is no such file"),
    ("%agent_context pin nowhere", "Run the cell that defines it, or import its module."),
)


def test_a_slip_is_told_in_one_message_with_what_to_do_and_a_code(kernel: Any) -> None:
    for line, said in SLIPS:
        message = message_of(kernel.run(line))
        assert said in message
        assert re.search(r" \[[a-z.-]+\]$", message), message


def test_a_budget_that_was_too_small_says_how_the_run_goes_on(kernel: Any) -> None:
    said = message_of(kernel.run("%agent --budget 0.0001 hello"))
    run_id = kernel.value("_agent.run_id")
    assert f"%agent_runs resume {run_id} --budget USD goes on with more." in said
    assert kernel.ok(f"%agent_runs resume {run_id} --budget 1").run["state"] == "COMPLETED"


def test_a_misspelt_allowance_is_not_taken_for_a_refusal(kernel: Any) -> None:
    assert "run_code" in message_of(kernel.run("%agent --allow run_cod hello"))


@pytest.mark.parametrize("name", ["class", "In", "_agent"])
def test_a_variable_that_is_not_for_the_answer(kernel: Any, name: str) -> None:
    assert "--out" in message_of(kernel.run(f"%agent --out {name} hello"))
    assert kernel.value("len(In) > 1")


def test_an_interrupt_before_the_run_began(kernel: Any) -> None:
    kernel.ok("%agent Hello")
    kernel.ok(
        "from agentnb.agent.states.hydrating import Hydrating\nopening = Hydrating.opening\n"
        "def interrupted(*_):\n    raise KeyboardInterrupt\nHydrating.opening = interrupted"
    )
    assert "nothing was sent" in message_of(kernel.run("%agent Hello again"))
    kernel.ok("Hydrating.opening = opening")
    assert kernel.ok("%agent Hello again").run["turn"] == 2


def test_an_interrupt_during_the_first_imports(start: Any) -> None:
    kernel = start(bare=True)
    kernel.ok("%load_ext agentnb")
    kernel.ok(
        "import sys\nclass Stop:\n    def find_spec(self, name, *_):\n"
        "        if name == 'agentnb.agent.run_document': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Stop())"
    )
    assert "nothing was sent" in message_of(kernel.run("%agent Hello"))
    kernel.ok("del sys.meta_path[0]")
    assert kernel.ok("%agent Hello again").run["turn"] == 1


@pytest.mark.parametrize("place", ["View.finish", "Result.__call__"])
def test_a_second_interrupt_while_the_end_is_painted(kernel: Any, place: str) -> None:
    kernel.ok(
        f"{STALL}\nimport os, signal\nfrom agentnb.notebook.run_task import Result, View\n"
        f"ending = {place}\ndef interrupted(*given, **more):\n"
        f"    os.kill(os.getpid(), signal.SIGINT)\n    return ending(*given, **more)\n{place} = interrupted"
    )
    request = kernel.send("%agent Explain yourself at length, please.")
    streaming = kernel.collect(
        request, until=lambda r: "the model writes" in str([m["content"] for m in r.messages[-3:]])
    )
    kernel.manager.interrupt_kernel()
    result = kernel.collect(request, into=streaming)
    assert "resume" in message_of(result)
    assert result.run["state"] == "PAUSED", "the view was painted to its end"
    kernel.ok(f"{place} = ending")
    run_id = kernel.value("_agent.run_id")
    assert kernel.ok(f"%agent_runs resume {run_id}").run["state"] == "COMPLETED"


def test_an_interrupt_just_after_the_end(kernel: Any) -> None:
    kernel.ok(
        "import os, signal\nfrom agentnb.notebook.run_task import View\nending = View.finish\n"
        "def interrupted(*given, **more):\n    os.kill(os.getpid(), signal.SIGINT)\n    ending(*given, **more)\n"
        "View.finish = interrupted"
    )
    assert "had ended" in message_of(kernel.run("%agent Hello"))
    kernel.ok("View.finish = ending")
    assert kernel.value("_agent.state") == "COMPLETED"


def test_a_failing_run_tells_its_error_once(kernel: Any) -> None:
    result = kernel.run("%agent --budget 0.0001 Hello")
    kinds = ("text/html", "text/markdown", "text/plain")
    told = [str(bundle[kind]) for bundle in result.displays for kind in kinds if kind in bundle]
    assert not any("budget.exceeded" in text for text in told)
    assert "budget.exceeded" in message_of(result)
    assert "budget.exceeded" in kernel.ok("_agent").text, "alone, a failed run tells its error"


def test_half_a_character(kernel: Any) -> None:
    half = "'what is \\ud83d this?'"  # as a front end sends it: an escape in the message's JSON
    for call in (f"run_line_magic('agent', {half})", f"run_cell_magic('agent', '--dry-run', {half})"):
        message = message_of(kernel.run(f"get_ipython().{call}"))
        assert "U+D83D" in message
    kernel.run("get_ipython().run_cell('y = 1  # \\ud83d', store_history=True)")
    assert kernel.ok("x = '\\ud83d'\n%agent still alive with `x`").run["state"] == "COMPLETED"


def test_an_interrupted_machine_of_the_users_own(kernel: Any) -> None:
    kernel.ok(
        "import agentnb\nplanner = agentnb.AgentStateMachine()\n@planner.state('A')\n"
        "def a(c):\n    if 'go' in c: return 'COMPLETED', c\n    raise KeyboardInterrupt"
    )
    message = message_of(kernel.run("%agent --machine planner go"))
    assert "interrupted" in message
    assert "planner.resume(" in message
    assert kernel.value("_agent.state") == "PAUSED"


def test_code_that_was_interrupted_is_asked_about_before_it_is_repeated(kernel: Any) -> None:
    request = kernel.send("%agent --allow run_code Run `display('begun')` and `while True: pass` please")
    running = kernel.collect(request, until=lambda r: "'begun'" in r.text)
    kernel.manager.interrupt_kernel()
    assert "Stopped by you" in kernel.collect(request, into=running).error
    run_id = kernel.value("_agent.run_id")
    assert "--unsure" in message_of(kernel.run(f"%agent_runs resume {run_id}"))
    assert kernel.ok(f"%agent_runs resume {run_id} --unsure skip").run["state"] == "COMPLETED"


def test_a_message_is_not_broken_within_words(kernel: Any) -> None:
    kernel.ok("%agent Hello")
    result = kernel.run("%agent --budget 0.0001 Hello again")
    (error,) = [m["content"] for m in result.messages if m["header"]["msg_type"] == "error"]
    assert len(error["traceback"]) > 1
    assert max(map(len, error["traceback"])) <= 59, "more do not fit into a window of 600 pixels"
    assert " ".join(error["traceback"]) == f"{error['ename']}: {error['evalue']}"
