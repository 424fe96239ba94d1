"""List the tools that come built in, each listed once: what it is made of and what it may do.

By default a model has those of AgentNB.tools. They read the notebook, run code when a person lets them, propose cells,
and keep a plan. A tool that came along only later would begin a new segment, and that is dear. Their schemas stand in
every request; the project's files, its tests and questions are for tasks that need them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from agentnb.agent.tools.files import ProjectFiles
from agentnb.agent.tools.notebook import NotebookTools
from agentnb.agent.tools.project_tests import ProjectTests
from agentnb.agent.tools.recall import Recall
from agentnb.agent.tools.tool import Tool, tool_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """Holds one built-in tool; its fields are those of Tool, with methods that are not bound yet."""

    call: Callable[..., Any]
    acts: bool = False
    on_main: bool = False
    asks: bool = False
    delegates: bool = False
    shows_values: bool = False
    trouble: Callable[..., str] | None = None
    rehearse: Callable[..., str] | None = None


REGISTRY = (
    Listed(call=NotebookTools.inspect),
    Listed(call=NotebookTools.read_cell),
    Listed(call=NotebookTools.variables, on_main=True),
    Listed(
        call=NotebookTools.run_code, acts=True, on_main=True, shows_values=True, rehearse=NotebookTools.rehearse_code
    ),
    Listed(call=NotebookTools.propose_cell, trouble=NotebookTools.proposal_trouble),
    Listed(call=NotebookTools.plan, trouble=NotebookTools.plan_trouble),
    Listed(call=NotebookTools.ask_user, acts=True, asks=True, trouble=NotebookTools.question_trouble),
    Listed(call=NotebookTools.delegate, delegates=True, trouble=NotebookTools.delegate_trouble),
    Listed(call=ProjectFiles.list_files),
    Listed(call=ProjectFiles.read_file, shows_values=True),
    Listed(call=ProjectFiles.search_code, shows_values=True),
    Listed(call=ProjectFiles.edit_file, acts=True, trouble=ProjectFiles.edit_trouble),
    Listed(call=ProjectTests.run_tests, acts=True, shows_values=True, trouble=ProjectTests.trouble),
    Listed(call=Recall.recall),
)
NAMES = tuple(each.call.__name__ for each in REGISTRY)


def built_in(*parts: object) -> dict[str, Tool]:
    """Return the built-in tools of these parts by name: of NotebookTools, ProjectFiles, ProjectTests and Recall any."""
    owners = {type(part).__name__: part for part in parts}
    named = [(each, each.call.__qualname__.partition(".")[0]) for each in REGISTRY]
    made = [_bound(each, owners[owner]) for each, owner in named if owner in owners]
    return {item.name: item for item in made}


class OnDemand(dict[str, Tool]):
    """Tools by name; one that is not among them is looked for when it is named, and `more` may raise."""

    def __init__(self, known: Mapping[str, Tool], more: Callable[[str], Tool | None]) -> None:
        super().__init__(known)
        self._more = more

    def __missing__(self, name: str) -> Tool:
        found = self._more(name)
        if found is None:
            raise KeyError(name)
        self[name] = found
        return found


def _bound(each: Listed, owner: object) -> Tool:
    said = {name: getattr(each, name) for name in ("acts", "on_main", "asks", "delegates", "shows_values")}
    tool = tool_of(each.call.__get__(owner), ours=True, **said)
    trouble = tool.trouble if each.trouble is None else each.trouble.__get__(owner)
    rehearse = None if each.rehearse is None else each.rehearse.__get__(owner)
    return replace(tool, description=" ".join(tool.description.split()), trouble=trouble, rehearse=rehearse)
