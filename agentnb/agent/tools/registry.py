"""The tools that come built in, each listed once: what it is made of and what it may do.

By default a model has those of AgentNB.tools: what reads the notebook, runs code when a person lets it, and proposes
cells. Their schemas stand in every request; the project's files, its tests and questions are for tasks that need them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from agentnb.agent.tools.files import ProjectFiles
from agentnb.agent.tools.notebook import NotebookTools
from agentnb.agent.tools.project_tests import ProjectTests
from agentnb.agent.tools.tool import Tool, tool_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One built-in tool; its fields are those of Tool, with methods that are not bound yet."""

    call: Callable[..., Any]
    acts: bool = False
    on_main: bool = False
    asks: bool = False
    shows_values: bool = False
    trouble: Callable[..., str] | None = None


REGISTRY = (
    Listed(call=NotebookTools.inspect),
    Listed(call=NotebookTools.read_cell),
    Listed(call=NotebookTools.variables, on_main=True),
    Listed(call=NotebookTools.run_code, acts=True, on_main=True, shows_values=True),
    Listed(call=NotebookTools.propose_cell, trouble=NotebookTools.proposal_trouble),
    Listed(call=NotebookTools.ask_user, acts=True, asks=True, trouble=NotebookTools.question_trouble),
    Listed(call=ProjectFiles.list_files),
    Listed(call=ProjectFiles.read_file, shows_values=True),
    Listed(call=ProjectFiles.search_code, shows_values=True),
    Listed(call=ProjectFiles.edit_file, acts=True, trouble=ProjectFiles.edit_trouble),
    Listed(call=ProjectTests.run_tests, acts=True, shows_values=True, trouble=ProjectTests.trouble),
)
NAMES = tuple(each.call.__name__ for each in REGISTRY)


def built_in(*parts: object) -> dict[str, Tool]:
    """The built-in tools of these parts by name: NotebookTools, ProjectFiles, ProjectTests."""
    owners = {type(part).__name__: part for part in parts}
    made = [_bound(each, owners[each.call.__qualname__.partition(".")[0]]) for each in REGISTRY]
    return {item.name: item for item in made}


def _bound(each: Listed, owner: object) -> Tool:
    said = {name: getattr(each, name) for name in ("acts", "on_main", "asks", "shows_values")}
    tool = tool_of(each.call.__get__(owner), **said)
    trouble = tool.trouble if each.trouble is None else each.trouble.__get__(owner)
    return replace(tool, description=" ".join(tool.description.split()), trouble=trouble)
