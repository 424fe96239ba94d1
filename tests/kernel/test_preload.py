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
