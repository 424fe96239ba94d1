"""The tools that come built in, each listed once: what it is made of and what it may do."""

from __future__ import annotations

from agentnb.agent.tools.files import ProjectFiles
from agentnb.agent.tools.notebook import NotebookTools
from agentnb.agent.tools.project_tests import ProjectTests
from agentnb.agent.tools.tool import Tool, tool_of


def built_in(*, notebook: NotebookTools, files: ProjectFiles, tests: ProjectTests) -> dict[str, Tool]:
    """The built-in tools by name. Only run_code needs the kernel's main thread."""
    made = (
        tool_of(notebook.inspect, acts=False, on_main=False),
        tool_of(notebook.run_code),
        tool_of(notebook.propose_cell, acts=False, on_main=False, trouble=notebook.proposal_trouble),
        tool_of(notebook.ask_user, on_main=False, asks=True, trouble=notebook.question_trouble),
        tool_of(files.list_files, acts=False, on_main=False),
        tool_of(files.read_file, acts=False, on_main=False),
        tool_of(files.search_code, acts=False, on_main=False),
        tool_of(files.edit_file, on_main=False, trouble=files.edit_trouble),
        tool_of(tests.run_tests, on_main=False, trouble=tests.trouble),
    )
    return {item.name: item for item in made}
