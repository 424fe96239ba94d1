"""What the first question needs is loaded before it is asked."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = [pytest.mark.kernel, pytest.mark.slow]


def test_the_sdk_is_loaded_while_the_kernel_is_idle(kernel: Any) -> None:
    kernel.ok("import sys, threading\nsys.modules.pop('pygments.lexers.python', None)")
    kernel.ok("x = 1")
    kernel.ok("[t.join() for t in threading.enumerate() if t.name == 'agentnb-preload']")
    assert kernel.value("{'anthropic', 'ipywidgets', 'genai_prices', 'pygments.lexers.python'} <= set(sys.modules)")


def test_a_frame_of_a_cell_is_found_without_going_through_all_modules(kernel: Any) -> None:
    """IPython asks for each frame of a traceback; with the SDK's 3,000 modules a RecursionError took minutes."""
    kernel.ok("import inspect, sys\ndef here(): return sys._getframe()")
    looked_through = (
        "(lambda frame, before: (inspect.getmodule(frame).__name__, len(inspect._filesbymodname) - before))"
        "(here(), inspect._filesbymodname.clear() or 0)"
    )
    assert kernel.value(looked_through) == ["__main__", 0]
    file = kernel.value("here().f_code.co_filename")
    kernel.ok("%unload_ext agentnb")
    assert kernel.value(f"{file!r} in __import__('inspect').modulesbyfile") is False, "it leaves no trace"
