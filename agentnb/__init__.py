"""agentnb: `%%agent` for Jupyter. Compiled context, prompt caches that hit, and runs that survive.

`%load_ext agentnb` in a notebook; `agentnb.Agent(...)` in a script. Public names load on first use, so that importing
the package costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentnb._version import __version__

if TYPE_CHECKING:
    from agentnb.agent.run_document import AgentRun
    from agentnb.agent.tools.tool import tool
    from agentnb.durable.bus_redis import RedisBus
    from agentnb.durable.composition import Branch, parallel, submachine
    from agentnb.durable.journal.open import open_journal
    from agentnb.durable.machine import AgentStateMachine
    from agentnb.durable.states import Retry
    from agentnb.errors import AgentnbError
    from agentnb.fleet.dask import DaskExecutor
    from agentnb.fleet.fleet import Fleet
    from agentnb.models.prices import price
    from agentnb.prompt.compiler import ASTContextCompiler
    from agentnb.script import Agent
    from agentnb.simulator.clock import SimClock

_HOMES = {
    "ASTContextCompiler": "agentnb.prompt.compiler",
    "Agent": "agentnb.script",
    "AgentRun": "agentnb.agent.run_document",
    "AgentStateMachine": "agentnb.durable.machine",
    "AgentnbError": "agentnb.errors",
    "Branch": "agentnb.durable.composition",
    "DaskExecutor": "agentnb.fleet.dask",
    "Fleet": "agentnb.fleet.fleet",
    "RedisBus": "agentnb.durable.bus_redis",
    "Retry": "agentnb.durable.states",
    "SimClock": "agentnb.simulator.clock",
    "open_journal": "agentnb.durable.journal.open",
    "parallel": "agentnb.durable.composition",
    "price": "agentnb.models.prices",
    "submachine": "agentnb.durable.composition",
    "tool": "agentnb.agent.tools.tool",
}

__all__ = [
    "ASTContextCompiler",
    "Agent",
    "AgentRun",
    "AgentStateMachine",
    "AgentnbError",
    "Branch",
    "DaskExecutor",
    "Fleet",
    "RedisBus",
    "Retry",
    "SimClock",
    "__version__",
    "load_ipython_extension",
    "open_journal",
    "parallel",
    "price",
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
