"""A model's code runs as a cell does: it may await, and an interrupt ends it at once."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import pytest

from agentnb.agent.tools.run_code import run_in

AWAITS = "import asyncio\nasync def twice(n):\n    await asyncio.sleep(0)\n    return 2 * n\n"


@pytest.mark.parametrize(
    ("code", "given"),
    [
        ("await twice(2)", "4"),
        ("x = await twice(3)\nx", "6"),
        ("x = await twice(1)", "(no output)"),
        ("await twice(1)\nprint('done')", "done\n"),
        ("[await twice(n) for n in range(3)]", "[0, 2, 4]"),
        ("async with asyncio.timeout(9):\n    y = 1\ny", "1"),
    ],
)
@pytest.mark.parametrize("inside", [True, False], ids=["in a running loop", "without a loop"])
def test_code_awaits_where_a_loop_runs_and_where_none_does(code: str, given: str, inside: bool) -> None:
    space: dict[str, Any] = {}
    run_in(space, AWAITS)

    async def cell() -> str:
        before = asyncio.get_running_loop(), asyncio.current_task()
        text = run_in(space, code).text
        assert (asyncio.get_running_loop(), asyncio.current_task()) == before
        await asyncio.sleep(0)
        return text

    assert (asyncio.run(cell()) if inside else run_in(space, code).text) == given


@pytest.mark.parametrize(("code", "failed"), [("exit()", False), ("quit(0)", False), ("import sys; sys.exit(3)", True)])
def test_code_that_exits_ends_itself_and_not_the_kernel(code: str, failed: bool) -> None:
    ended: list[bool] = []
    shell = type("Ends", (), {"__module__": "IPython.core.autocall", "__call__": lambda self, *_: ended.append(True)})()
    space: dict[str, Any] = {"exit": shell, "quit": shell}
    outcome = run_in(space, f"print('seen')\n{code}\nprint('not seen')")
    assert outcome.is_error is failed
    assert outcome.text.startswith("seen\nSystemExit: ")
    assert not ended
    assert space["exit"] is space["quit"] is shell, "the person's own cells end as ever"


def test_what_belongs_to_another_loop_is_told_in_words() -> None:
    async def cell() -> Any:
        task = asyncio.create_task(asyncio.sleep(0))
        return run_in({"task": task}, "await task")

    outcome = asyncio.run(cell())
    assert outcome.is_error
    assert "propose a cell that awaits them" in outcome.text


def test_an_interrupt_ends_it_and_what_was_begun_is_cancelled() -> None:
    space: dict[str, Any] = {"log": [], "signal": signal, "asyncio": asyncio}
    code = (
        "async def beside():\n    try:\n        await asyncio.sleep(9)\n    finally:\n        log.append('ended')\n"
        "task = asyncio.create_task(beside())\nawait asyncio.sleep(0)\nsignal.raise_signal(2)\nlog.append(1)"
    )

    async def cell() -> None:
        with pytest.raises(KeyboardInterrupt):
            run_in(space, code)
        asyncio.get_running_loop()

    with asyncio.Runner() as runner:
        old = signal.signal(signal.SIGINT, lambda *_: signal.default_int_handler(*_))  # as a kernel has it in a cell
        try:
            runner.run(cell())
        finally:
            signal.signal(signal.SIGINT, old)
    assert space["log"] == ["ended"]


def test_code_does_not_take_on_our_own_future_imports() -> None:
    space: dict[str, Any] = {}
    run_in(space, "def f(x: int): ...")
    assert space["f"].__annotations__ == {"x": int}
