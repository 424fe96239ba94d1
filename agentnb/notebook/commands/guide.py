"""The short guide that `%%agent` alone shows: the five examples of its help."""

from __future__ import annotations

from agentnb.notebook.commands.subcommands import show_table
from agentnb.notebook.flags import EXAMPLES
from agentnb.view.tables import Code

MORE = "%%agent? lists the flags. %agent_runs shows what was asked and what it cost, %config AgentNB the settings."


def show_guide() -> None:
    """Show the guide as a table."""
    rows = [(Code(line), what) for line, what in EXAMPLES]
    show_table("Ask about this notebook", ("write", "what it does"), rows, [MORE])
