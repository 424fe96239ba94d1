"""agentnb: `%%agent` for Jupyter. Compiled context, prompt caches that hit, and runs that survive.

`%load_ext agentnb` in a notebook; `agentnb.Agent(...)` in a script. Public names load on first use, so that importing
the package costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentnb._version import __version__

if TYPE_CHECKING:
    from agentnb.agent.receipt.values import RunCache as CacheReport
    from agentnb.agent.receipt.values import RunLatency as Latency
    from agentnb.agent.receipt.values import RunLayer as Layer
    from agentnb.agent.receipt.values import RunStep as Step
    from agentnb.agent.receipt.values import RunUsage as Usage
    from agentnb.agent.receipt.values import run_schema
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
    from agentnb.simulator import SimClock, Simulator

_HOMES = {
    "ASTContextCompiler": "agentnb.prompt.compiler",
    "Agent": "agentnb.script",
    "AgentRun": "agentnb.agent.run_document",
    "AgentStateMachine": "agentnb.durable.machine",
    "AgentnbError": "agentnb.errors",
    "Branch": "agentnb.durable.composition",
    "CacheReport": "agentnb.agent.receipt.values:RunCache",
    "DaskExecutor": "agentnb.fleet.dask",
    "Fleet": "agentnb.fleet.fleet",
    "Latency": "agentnb.agent.receipt.values:RunLatency",
    "Layer": "agentnb.agent.receipt.values:RunLayer",
    "RedisBus": "agentnb.durable.bus_redis",
    "Retry": "agentnb.durable.states",
    "SimClock": "agentnb.simulator",
    "Simulator": "agentnb.simulator",
    "Step": "agentnb.agent.receipt.values:RunStep",
    "Usage": "agentnb.agent.receipt.values:RunUsage",
    "open_journal": "agentnb.durable.journal.open",
    "parallel": "agentnb.durable.composition",
    "price": "agentnb.models.prices",
    "run_schema": "agentnb.agent.receipt.values",
    "submachine": "agentnb.durable.composition",
    "tool": "agentnb.agent.tools.tool",
}
"""Modules by public name; behind a colon the name there, where it is another one."""

__all__ = [
    "ASTContextCompiler",
    "Agent",
    "AgentRun",
    "AgentStateMachine",
    "AgentnbError",
    "Branch",
    "CacheReport",
    "DaskExecutor",
    "Fleet",
    "Latency",
    "Layer",
    "RedisBus",
    "Retry",
    "SimClock",
    "Simulator",
    "Step",
    "Usage",
    "__version__",
    "load_ipython_extension",
    "open_journal",
    "parallel",
    "price",
    "run_schema",
    "submachine",
    "tool",
    "unload_ipython_extension",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'agentnb' has no attribute {name!r}")
    import importlib

    module, _, there = _HOMES[name].partition(":")
    return getattr(importlib.import_module(module), there or name)


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
