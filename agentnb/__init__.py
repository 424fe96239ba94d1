"""agentnb: `%%agent` for Jupyter. Compiled context, prompt caches that hit, and runs that survive.

`%load_ext agentnb` in a notebook; `agentnb.Agent(...)` in a script. Public names load on first use, so that importing
the package costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentnb._version import __version__

if TYPE_CHECKING:
    from agentnb.errors import AgentnbError
    from agentnb.prompt.compiler import ASTContextCompiler
    from agentnb.runs.composition import Branch, parallel, submachine
    from agentnb.runs.machine import AgentStateMachine
    from agentnb.runs.opening import open_journal
    from agentnb.runs.policies import Retry
    from agentnb.runs.record import AgentRun
    from agentnb.runs.scripting import Agent
    from agentnb.runs.tools import tool

_HOMES = {
    "ASTContextCompiler": "agentnb.prompt.compiler",
    "Agent": "agentnb.runs.scripting",
    "AgentRun": "agentnb.runs.record",
    "AgentStateMachine": "agentnb.runs.machine",
    "AgentnbError": "agentnb.errors",
    "Branch": "agentnb.runs.composition",
    "Retry": "agentnb.runs.policies",
    "open_journal": "agentnb.runs.opening",
    "parallel": "agentnb.runs.composition",
    "submachine": "agentnb.runs.composition",
    "tool": "agentnb.runs.tools",
}

__all__ = [
    "ASTContextCompiler",
    "Agent",
    "AgentRun",
    "AgentStateMachine",
    "AgentnbError",
    "Branch",
    "Retry",
    "__version__",
    "load_ipython_extension",
    "open_journal",
    "parallel",
    "submachine",
    "tool",
    "unload_ipython_extension",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'agentnb' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)


def load_ipython_extension(shell: Any) -> None:
    """`%load_ext agentnb`."""
    from agentnb.notebook.magics import load

    load(shell)


def unload_ipython_extension(shell: Any) -> None:
    """`%unload_ext agentnb`."""
    from agentnb.notebook.magics import unload

    unload(shell)
