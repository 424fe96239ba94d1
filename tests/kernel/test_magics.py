"""What a user sees of %agent and its companions in a real kernel."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from patience import PATIENCE

RUN = "application/vnd.agentnb.run.v1+json"

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

STATE = """
import sys
ip = get_ipython()
def state():
    return {
        "magics": sorted(n for kind in ip.magics_manager.magics.values() for n in kind if "agent" in n),
        "registry": sorted(n for n in ip.magics_manager.registry if "gent" in n),
        "hooks": {n: len(c) for n, c in ip.events.callbacks.items()},
        "configurables": [type(c).__name__ for c in ip.configurables].count("AgentNB"),
        "matchers": len(ip.Completer.custom_matchers),
        "transformers": len(ip.input_transformers_cleanup),
        "formatters": len(ip.display_formatter.mimebundle_formatter.deferred_printers),
        "names": sorted(n for n in ip.user_ns if "agent" in n),
    }
"""


def test_loading_is_quick_and_silent_and_loads_nothing_heavy(start: Callable[..., Any]) -> None:
    kernel = start(bare=True)
    kernel.ok("import sys, time; before = set(sys.modules); t = time.process_time()")
    loaded = kernel.ok("%load_ext agentnb")
    (line,) = loaded.displays
    told = "agentnb asks sim:claude-sonnet-4-6. Write %%agent and a question below it. Help: %%agent?"
    assert " ".join(line["text/plain"].split()) == told, "one line on a machine's first load"
    assert not loaded.stdout
    heavy = ["anthropic", "google.genai", "openai", "ipywidgets", "astroid", "diskcache", "genai_prices", "httpx2"]
    heavy += ["agentnb.context.values.description", "agentnb.context.redaction.secret_shapes"]
    assert kernel.value(f"[n for n in {heavy!r} if n in sys.modules and n not in before]") == []
    home = kernel.directory.parent / "home"
    assert [file.name for file in home.iterdir()] == ["greeted"]
    assert home.stat().st_mode & 0o777 == 0o700
    again = start(new=True).ok("%load_ext agentnb")
    assert not again.stdout
    assert not again.displays


def test_where_it_cannot_be_remembered_nothing_is_said(start: Callable[..., Any]) -> None:
    assert not start(AGENTNB_HOME="/dev/null/home").ok("%load_ext agentnb").stdout


def test_unload_leaves_no_trace_and_reload_leaves_one_of_each(start: Callable[..., Any]) -> None:
    kernel = start(new=True)
    kernel.ok(STATE)
    before = kernel.value("state()")
    kernel.ok("%load_ext agentnb")
    once = kernel.value("state()")
    assert once != before
    kernel.ok("%reload_ext agentnb\n%reload_ext agentnb")
    assert kernel.value("state()") == once
    kernel.ok("%agent hello")
    kernel.ok("%unload_ext agentnb")
    after = kernel.value("state()")
    assert after | {"formatters": 0} == before | {"formatters": 0}
    assert "UsageError" in kernel.run("%agent hello").stdout + kernel.run("%agent hello").error


def test_a_task_brings_cells_and_module_definitions_with_what_they_need(start: Callable[..., Any]) -> None:
    kernel = start()
    # Cells from before the extension was loaded count too, the last definition wins, and magics in cells survive.
    kernel.ok("def clean(x):\n    return x  # old")
    kernel.ok("%time import shapes\ndef clean(x):\n    '''Strip.'''\n    return helper(x)  # new\n!true")
    kernel.ok("def helper(x):\n    return x.strip()")
    kernel.ok("%load_ext agentnb")
    run = kernel.ok("%%agent\nWhat do `clean` and shapes.area do?").run
    assert run["state"] == "COMPLETED"
    held = {item["name"]: item for item in run["definitions"]}
    assert {"clean", "helper"} <= set(held), held
    assert any(name.endswith("shapes.area") for name in held)
    assert any(name.endswith("scale") for name in held), "what area needs one step on"
    assert held["clean"]["reason"]
    area = next(item for name, item in held.items() if name.endswith("shapes.area"))
    assert area["file"] == "shapes.py"
    assert area["lines"] == [12, 15]
    assert "simulat" in run["text"].lower()
    assert "clean" in run["text"]


def test_the_result_has_every_attribute(kernel: Any) -> None:
    kernel.ok("%agent --out answer What is 2 + 2?")
    names = ["run_id", "state", "text", "steps", "layers", "usage", "cost", "latency", "cache", "receipt"]
    kernel.ok(f"for n in {names!r}: getattr(_agent, n)")
    assert kernel.value("_agent.state") == "COMPLETED"
    assert kernel.value("answer == _agent.text")
    layers = kernel.value("_agent.layers")
    assert [layer["name"] for layer in layers] == ["STATIC", "SEMI_STATIC", "HYDRATION", "DYNAMIC"]
    assert all(set(layer) >= {"name", "tokens", "cached_tokens", "digest"} for layer in layers)
    usage = kernel.value("_agent.usage")
    total = usage["input"] + usage["cache_read"] + usage["cache_write_5m"] + usage["cache_write_1h"]
    assert sum(layer["tokens"] for layer in layers) == total
    latency = kernel.value("_agent.latency")
    assert set(latency) >= {"connect", "headers", "ttft", "tpot", "total", "queue_estimate"}
    assert set(kernel.value("_agent.cache")) >= {"expected", "read", "written", "reason"}
    assert kernel.value("_agent.cost") > 0
    assert all(step.get("latency") for step in kernel.value("_agent.steps") if step["state"] == "THINKING")
    assert kernel.value("_agent.receipt")["schema"] == "agentnb.run.v1"


def test_a_second_task_reads_the_first_from_the_cache(kernel: Any) -> None:
    kernel.ok("import shapes")
    first = kernel.ok("%agent Explain `shapes.area`").run
    second = kernel.ok("%agent And `shapes.Box.volume`?").run
    assert first["cache"]["read"] == 0
    assert first["cache"]["written"] > 1024
    assert second["cache"]["read"] >= second["cache"]["prefix"] / 2
    assert second["cache"]["expected"] == second["cache"]["read"]
    new = {item["name"] for item in second["definitions"] if item["new"]}
    assert any(name.endswith("Box.volume") for name in new)
    assert not any(name.endswith("shapes.area") for name in new)
    (account,) = kernel.ok("%agent_runs").displays
    assert "data:image/svg+xml;base64," in account["text/html"], "a bar for each question, the cost as a line"
    assert "2 questions, $0.0" in account["text/plain"]


def test_the_view_is_live_and_leaves_static_forms(kernel: Any) -> None:
    result = kernel.ok("%agent Hello there")
    shown = [m["content"]["data"] for m in result.messages if m["header"]["msg_type"] == "display_data"]
    assert any("application/vnd.jupyter.widget-view+json" in data for data in shown), "no live widget was shown"
    (final,) = result.displays
    assert set(final) == {"text/html", "text/markdown", "text/plain", "application/vnd.agentnb.run.v1+json"}


def test_a_question_mark_at_the_end_of_a_line_is_no_request_for_help(kernel: Any) -> None:
    kernel.ok("def whole():\n    return 1")
    assert kernel.ok("if True:\n    %agent -t other what does `whole` do?").run["task"] == "what does `whole` do?"
    assert kernel.ok("%agent really??").run["task"] == "really??"
    shown = [m["content"] for m in kernel.ok("%agent?").messages]
    payload = str(shown) + str(kernel.ok("%%agent?").messages)
    assert "hello" not in payload


def test_tools_make_the_loop_real(kernel: Any) -> None:
    kernel.ok("import shapes\ndata = [3, 1, 2]")
    looked = kernel.ok("%agent --context none Inspect `shapes.scale` and tell me what it does.").run
    (call,) = [tool for step in looked["steps"] for tool in step["tools"]]
    assert call["name"] == "inspect"
    assert "math.floor(2.5)" in call["result"]
    assert [step["state"] for step in looked["steps"]] == ["HYDRATING", "THINKING", "ACTING", "THINKING"]
    assert any(item["name"].endswith("scale") for item in looked["definitions"])

    kernel.ok("%config AgentNB.approval = 'deny'")
    refused = kernel.ok("%agent Run `data.append(9)` please").run
    (call,) = [tool for step in refused["steps"] for tool in step["tools"]]
    assert call["refused"]
    assert kernel.value("data") == [3, 1, 2]

    kernel.ok("import threading")
    allowed = kernel.ok("%agent --allow run_code Run `data.append(threading.current_thread().name)`").run
    (call,) = [tool for step in allowed["steps"] for tool in step["tools"]]
    assert not call["is_error"], call
    assert kernel.value("data") == [3, 1, 2, "MainThread"]


def test_a_models_code_that_exits_leaves_the_kernel_and_its_values(kernel: Any) -> None:
    kernel.ok("kept = 41")
    run = kernel.ok("%agent --tools run_code --allow run_code Run `exit()` please.").run
    assert run["state"] == "COMPLETED"
    assert "SystemExit: None" in str(run["steps"])
    assert kernel.value("kept + 1") == 42


def test_a_dry_run_sends_nothing(kernel: Any) -> None:
    run = kernel.ok("%%agent --dry-run\nWhat would this cost?").run
    assert run["state"] == "DRY_RUN"
    assert kernel.value("_agent.state") == "DRY_RUN"
    assert run["usage"]["calls"] == 0
    assert sum(layer["tokens"] for layer in run["layers"]) > 1000
    assert kernel.ok("%agent_runs list").text.count("r-20") == 0


def test_a_budget_refuses_before_the_call(kernel: Any) -> None:
    result = kernel.run("%agent --budget 0.0001 Hello")
    assert "budget.exceeded" in result.error
    assert "$0.0001" in result.error
    assert kernel.value("_agent.state") == "FAILED"
    assert kernel.value("_agent.usage")["calls"] == 0
    assert "1 step, 1 failed attempt" in result.displays[-1]["text/html"]


def test_a_step_limit_stops_and_the_run_can_go_on(kernel: Any) -> None:
    kernel.ok("import shapes")
    result = kernel.run("%agent --max-steps 2 --context none Inspect `shapes.scale`")
    assert "steps.limit" in result.error
    run_id = kernel.value("_agent.run_id")
    refused = kernel.run(f"%agent_runs resume {run_id} -m claude-opus-99").error
    assert "claude-opus-99" in refused
    resumed = kernel.ok(f"%agent_runs resume {run_id} -m sim:claude-haiku-4-5 --max-steps 20").run
    assert resumed["model"] == "sim:claude-haiku-4-5"
    assert resumed["state"] == "COMPLETED"
    assert resumed["run_id"] == run_id


def test_runs_are_told_after_a_restart(start: Callable[..., Any]) -> None:
    first = start()
    first.ok("%load_ext agentnb")
    run = first.ok("%agent Remember me").run
    first.stop()
    second = start()
    second.ok("%load_ext agentnb")
    listed = second.ok("%agent_runs list")
    assert run["run_id"] in listed.text
    assert "Remember me" in listed.text
    assert "worked" in listed.text
    shown = second.ok(f"%agent_runs show {run['run_id']}").run
    assert shown["text"] == run["text"]
    assert shown["steps"] == run["steps"]


def test_twenty_runs_are_listed_and_those_before_them_stand_in_a_fold(kernel: Any) -> None:
    kernel.ok("for n in range(22): get_ipython().run_line_magic('agent', f'Say {n}')")
    (listed,) = kernel.ok("%agent_runs").displays
    shown, fold = listed["text/html"].split("<details>")
    assert [int(n) for n in re.findall(r"✓ Say (\d+)", shown)] == [*range(21, 1, -1)]
    assert ">2 more</summary>" in fold
    assert [int(n) for n in re.findall(r"✓ Say (\d+)", fold)] == [1, 0]
    assert "22 questions" in listed["text/plain"], "all of them are in the account"
    assert listed["text/plain"].endswith("More: %agent_runs list 50")
    assert "<details>" not in kernel.ok("%agent_runs list 22").displays[0]["text/html"]


def test_runs_can_be_replayed_forked_and_taken_up_again(kernel: Any) -> None:
    kernel.ok("import shapes")
    run = kernel.ok("%agent --context none Inspect `shapes.scale`").run
    replayed = kernel.ok(f"%agent_runs replay {run['run_id']}").text
    assert replayed.startswith("4 steps, all as recorded"), replayed
    forked = kernel.ok(f"%agent_runs fork {run['run_id']} 2").text
    new = next(word for word in forked.split() if word.startswith("r-20") and word != run["run_id"])
    assert kernel.ok(f"%agent_runs resume {new}").run["state"] == "COMPLETED"
    later = kernel.ok(f"%agent --from {run['run_id']}:2 Shorter, please.").run
    assert later["branch"]
    assert later["state"] == "COMPLETED"
    kernel.ok(f"%agent_runs export {run['run_id']} run.json")
    assert kernel.value("_j.load(open('run.json'))['run_id']") == run["run_id"]


def test_the_cache_magics_say_what_is_warm_and_why(kernel: Any) -> None:
    assert "Nothing is warm" in kernel.ok("%agent_cache status").text
    kernel.ok("%agent Hello")
    status = kernel.ok("%agent_cache status").text
    assert "longest prefix" in status
    assert "1h" in status, "a person who thinks between the turns is expected"
    explained = " ".join(kernel.ok("%agent_cache explain").text.split())
    assert "Written: first call" in explained
    kernel.ok("%agent Again")
    assert "Hit:" in kernel.ok("%agent_cache explain").text


def test_what_a_cell_really_ran_goes_with_the_next_task(kernel: Any) -> None:
    kernel.ok("import shapes\ndef outer(x):\n    return globals()['in' + 'ner'](x)")
    kernel.ok("def inner(x):\n    return shapes.Box().volume(x)\ndef unused(x):\n    return x")
    assert kernel.ok("%%agent_trace\nprint(outer(3))").stdout == "12\n"
    run = kernel.ok("%agent Why is that so large?").run
    held = {item["name"]: item["reason"] for item in run["definitions"]}
    assert {"outer", "inner"} <= set(held), held
    assert "unused" not in held
    assert any(name.endswith("Box.volume") for name in held)
    assert "ran" in held["inner"], held
    again = kernel.ok("%agent -t new And now?").run
    assert not again["definitions"], "a trace goes with one task"


def test_a_failed_cell_goes_with_the_next_task(kernel: Any) -> None:
    kernel.ok("def parse(text):\n    value = text.strip()\n    return float(value)")
    assert "ValueError" in kernel.run("parse(' twelve ')").error
    run = kernel.ok("%agent What went wrong?").run
    assert [item["name"] for item in run["definitions"]] == ["parse"]
    kernel.ok("1 + 1")
    assert not kernel.ok("%agent -t new And now?").run["definitions"]


def test_a_run_in_the_background_leaves_the_notebook_free(start: Callable[..., Any]) -> None:
    kernel = start(AGENTNB_SIM_SPEED="2")
    kernel.ok("%load_ext agentnb\nlog = []")
    asks = "%agent --bg --allow run_code Run `log.append(len(log))` please"
    begun = kernel.ok(f"{asks}\nended = '_agent' in globals()")  # the code runs between cells
    assert kernel.value("ended") is False, "the cell goes on before the run has ended"
    assert kernel.ok("%agent --out other And you?").run["state"] == "COMPLETED"
    kernel.ok("import asyncio\nwhile not log: await asyncio.sleep(0.05)")
    while begun.displays[-1].get(RUN, {}).get("state") != "COMPLETED":
        kernel.ok("await asyncio.sleep(0.05)")
    assert kernel.value("log") == [0]
    assert "append" in begun.run["task"], "its view stands under its own cell"
    kernel.ok("import agentnb, jsonschema\njsonschema.validate(_agent.receipt, agentnb.run_schema())")


def test_a_run_in_the_background_stands_in_its_cell_where_nobody_looks(kernel: Any) -> None:
    """nbconvert and papermill take what a cell has shown until it ends."""
    kernel.ok("%config AgentNB.live = False")
    begun = kernel.ok("%agent --bg Hello")
    assert re.search(r"%agent_runs show r-\S+ tells how it stands", str(begun.displays[0]["text/plain"]))
    while begun.displays[-1].get(RUN, {}).get("state") != "COMPLETED":
        kernel.ok("import asyncio\nawait asyncio.sleep(0.05)")
    assert len(begun.displays) == 1, "in the same output"


def test_a_dry_run_tells_what_the_run_will_cost(kernel: Any) -> None:
    kernel.ok("import shapes")
    kernel.ok("%agent Hello")  # one reply calibrates the counts
    dry = kernel.ok("%agent --dry-run What does `shapes.area` do?").run
    real = kernel.ok("%agent What does `shapes.area` do?").run
    assert dry["cache"]["expected"] == real["cache"]["expected"]
    spoken = real["usage"]["output"] * 15 / 1_000_000  # $ of Claude Sonnet 4.6's reply, which a dry run cannot know
    assert dry["cost"]["total"] == pytest.approx(real["cost"]["total"] - spoken, rel=0.2)


def test_a_function_of_the_notebook_as_a_tool(kernel: Any) -> None:
    kernel.ok("import agentnb\n@agentnb.tool\ndef tide(station: str) -> str:\n    'The tide.'\n    return 'high'")
    run = kernel.ok("%agent --tools inspect,tide --allow tide Use tide on `Dover`").run
    assert "high" in str(run["steps"])
    assert "tide" in kernel.run("%agent --tools tyde Hello").error


def test_the_variable_may_be_used_for_something_else(kernel: Any) -> None:
    kernel.ok("_agent = 5")
    for line in ("%agent_cache explain", "%agent_context show"):
        assert "%%agent first" in kernel.run(line).error
    assert "not in the conversation" in kernel.run("%agent_context why nothing").error


def test_unload_closes_the_journal(kernel: Any) -> None:
    kernel.ok("%agent Hello")
    kernel.run("%agent_runs show nothing")  # its traceback keeps alive what it passed
    kernel.ok("%unload_ext agentnb")
    kernel.ok("import gc, pathlib\nn = gc.collect()")
    kernel.ok("opened = [str(link.resolve()) for link in pathlib.Path('/proc/self/fd').iterdir()]")
    assert not [link for link in kernel.value("opened") if "cache.db" in link]


def test_a_machine_of_the_users_own(kernel: Any) -> None:
    kernel.ok(
        "import agentnb\nplanner = agentnb.AgentStateMachine()\n"
        "@planner.state('PLANNING')\ndef plan(c):\n    return 'EXECUTING', {**c, 'plan': c['task'].split()}\n"
        "@planner.state('EXECUTING')\ndef go(c):\n"
        "    if not c['plan']:\n        return 'COMPLETED', {**c, 'answer': 'done: ' + c['task']}\n"
        "    return 'EXECUTING', {**c, 'plan': c['plan'][1:]}"
    )
    run = kernel.ok("%agent --machine planner one two").run
    assert run["state"] == "COMPLETED"
    assert run["text"] == "done: one two"
    assert [step["state"] for step in run["steps"]] == ["PLANNING", "EXECUTING", "EXECUTING", "EXECUTING"]
    assert "planner" in kernel.run("%agent --machine plannr go").error
    kernel.ok("@planner.state('PLANNING')\ndef plan(c):\n    raise ValueError('no plan')")
    assert "no plan" in kernel.run("%agent --machine planner go").error
    assert kernel.value("_agent.state") == "FAILED"


def test_the_context_magics(kernel: Any) -> None:
    kernel.ok("import shapes\nopen('schema.sql', 'w').write('create table t (a int)')")
    assert "shapes.scale" in kernel.ok("%agent_context pin shapes.scale").text
    assert "schema.sql" in kernel.ok("%agent_context add schema.sql").text
    run = kernel.ok("%agent Hello").run
    assert [item["reason"] for item in run["definitions"] if item["name"] == "shapes.scale"] == ["pinned"]
    shown = kernel.ok("%agent_context show").text
    assert "shapes.scale" in shown
    assert "schema.sql" in shown
    assert "pinned" in kernel.ok("%agent_context why scale").text
    assert "only its signature, in the project's outline" in kernel.ok("%agent_context why shapes.Box").text
    assert (
        "Nothing is pinned, added"
        in kernel.ok("%agent_context unpin shapes.scale\n%agent_context unpin schema.sql").text
    )
    assert "cannot be pinned" in kernel.run("%agent_context pin no_such_thing").error
    assert "there is no such file" in kernel.run("%agent_context add missing.sql").error


def test_a_definition_is_pinned_where_no_model_was_ever_named(start: Callable[..., Any]) -> None:
    kernel = start(AGENTNB_MODEL="")
    kernel.ok("%load_ext agentnb\nimport shapes")
    assert "shapes.scale" in kernel.ok("%agent_context pin shapes.scale").text


def test_a_secret_never_leaves_and_is_never_journaled(kernel: Any) -> None:
    secret = "sk-ant-api03-" + "Zk9Qw3Rt7Yu1Io5Pa8Sd2Fg4Hj6Kl0Xc-Vb_Nm" * 2
    kernel.ok(f"def connect():\n    return {secret!r}")
    run = kernel.ok(f"%%agent\nWhy does `connect` not accept {secret}?").run
    kernel.ok("%agent --allow run_code Run `connect()` please")
    assert run["redactions"]
    assert secret not in str(run)
    home = kernel.directory.parent / "home"
    assert not any(secret.encode() in file.read_bytes() for file in home.rglob("*") if file.is_file())


def test_config_and_completion(kernel: Any) -> None:
    kernel.ok("%config AgentNB.max_steps = 1")
    assert "steps.limit" in kernel.run("%agent Hello").error
    assert complete(kernel, "%%agent --bud") == ["%%agent --budget"]


def complete(kernel: Any, line: str) -> list[str]:
    """The line as each offered completion would make it."""
    found = kernel.client.complete(line, len(line), reply=True, timeout=PATIENCE)["content"]
    return [line[: found["cursor_start"]] + text + line[found["cursor_end"] :] for text in found["matches"]]


def worked(kernel: Any) -> float:
    """The seconds for which the kernel has had a processor."""
    return float(kernel.value("__import__('time').process_time()"))


def test_a_fresh_kernel_completes_the_flags_of_a_subcommand(kernel: Any) -> None:
    begun = worked(kernel)
    offered = complete(kernel, "%agent_runs resume r-1 -")
    assert worked(kernel) - begun < 3, "0.3 s of the processor"
    assert {f"%agent_runs resume r-1 {flag}" for flag in ("-m", "--model", "--budget", "--max-steps")} <= set(offered)
    assert "%agent_runs resume --take-over" in complete(kernel, "%agent_runs resume --ta")
    assert "%agent_runs resume r-1 -m sim:claude-sonnet-4-6" in complete(kernel, "%agent_runs resume r-1 -m sim:cl")
    assert complete(kernel, "%agent_runs approve r-1 --di") == ["%agent_runs approve r-1 --digest"]


def test_a_fresh_kernel_completes_earlier_runs_with_their_tasks(start: Callable[..., Any]) -> None:
    before = start()
    before.ok("%load_ext agentnb")
    first, second = (before.ok(f"%agent {task}").run["run_id"] for task in ("Add two  numbers", "And three"))
    fresh = start(bare=True)
    fresh.ok("%load_ext agentnb")
    begun = worked(fresh)
    offered = complete(fresh, "%agent_runs show ")
    assert worked(fresh) - begun < 3, "0.3 s of the processor"
    assert offered == [f"%agent_runs show {run}" for run in (second, first)], "newest first"
    assert complete(fresh, f"%agent_runs resume {first[:12]}") != []
    described = {item["text"]: item["type"] for item in complete_fully(fresh, "%agent_runs resume ")}
    assert described == {second: "run: And three", first: "run: Add two numbers"}
    flags = {item["text"]: item["type"] for item in complete_fully(fresh, "%agent --mo")}
    assert flags["--model"].startswith("flag: ")
    fresh.ok("import genai_prices")
    models = {item["text"]: item["type"] for item in complete_fully(fresh, "%agent -m anthropic:claude-sonnet-4-6")}
    assert models["anthropic:claude-sonnet-4-6"] == "model: $3 in, $15 out a million tokens"
    assert fresh.value("'agentnb.session' in __import__('sys').modules") is False, "nothing heavy for it"


def complete_fully(kernel: Any, line: str) -> list[dict[str, Any]]:
    """Each completion with what it is, as front ends show it beside it."""
    found = kernel.client.complete(line, len(line), reply=True, timeout=PATIENCE)["content"]
    items = found["metadata"]["_jupyter_types_experimental"]
    assert not any({" ", "-"} & {*item["type"]} for item in items), "JupyterLab breaks the line there"
    return [item | {"type": item["type"].replace("\u00a0", " ")} for item in items]


def test_completion_knows_the_notebook(kernel: Any) -> None:
    assert not any("import" in line for line in complete(kernel, "%agent_context why "))
    assert not list((kernel.directory.parent / "home").glob("*.db")), "a completion opens nothing"
    kernel.ok("import agentnb, shapes\n@agentnb.tool(safe=True)\ndef tide(at: str) -> str:\n    return at")
    kernel.ok("planner = agentnb.AgentStateMachine()\nopen('schema.sql', 'w').write('x')")
    assert complete(kernel, "%agent --tools inspect,ti") == ["%agent --tools inspect,tide"]
    assert complete(kernel, "%agent --allow=ti") == ["%agent --allow=tide"]
    offered = complete(kernel, "%%agent --tools inspect,")
    assert {f"%%agent --tools inspect,{name}" for name in ("read_cell", "run_code", "tide")} <= set(offered)
    assert "%%agent --tools inspect,inspect" not in offered, "what stands there already"
    assert complete(kernel, "%agent --machine pl") == ["%agent --machine planner"]
    run = kernel.ok("%agent -t tides What does `shapes.area` do?").run
    assert "%agent_context why shapes.area" in complete(kernel, "%agent_context why sh")
    assert complete(kernel, "%agent_context add sche") == ["%agent_context add schema.sql"]
    assert complete(kernel, "%agent_runs show r") == [f"%agent_runs show {run['run_id']}"]
    assert complete(kernel, "%agent_cache explain r") == [f"%agent_cache explain {run['run_id']}"]
    assert complete(kernel, "%agent -t t") == ["%agent -t tides"]
    kernel.ok("%agent_context pin shapes.scale")
    assert complete(kernel, "%agent_context unpin ") == ["%agent_context unpin shapes.scale"]
    assert complete(kernel, "%agent what does shapes.ar") == ["%agent what does shapes.area"], (
        "free text: IPython's own"
    )


def test_the_command_line_lists_runs_and_makes_nothing(start: Callable[..., Any], environment: dict[str, str]) -> None:
    def listed() -> str:
        command = [sys.executable, "-m", "agentnb", "runs"]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    assert listed() == "No run yet.\n"
    assert not Path(environment["AGENTNB_HOME"]).exists()
    kernel = start()
    kernel.ok("%load_ext agentnb\n%agent Remember me")
    assert "Remember me" in listed()
