"""The short guide that `%%agent` alone shows: five examples, which its help has too."""

from __future__ import annotations

EXAMPLES = (
    ("%%agent", "with a question below it: asks about this notebook, its cells, values and errors"),
    ("%agent Why is the result above so large?", "asks on one line; alone, after an error, it explains that"),
    ("%agent --fix", "proposes a mended cell in the place of the one that failed"),
    ("%%agent --dry-run", "shows what would be sent and what it would cost, and sends nothing"),
    ("%agent -t new What does `clean` do?", "begins a new conversation; a name in backticks goes along for sure"),
)
MORE = "%%agent? lists the flags. %agent_runs shows what was asked and what it cost, %config AgentNB the settings."


def examples_text() -> str:
    """The examples as the help has them."""
    return "\n".join(f"  {line:<42} {what}" for line, what in EXAMPLES)


def show_guide() -> None:
    """Show the guide as a table."""
    from agentnb.notebook.commands.subcommands import show_table
    from agentnb.view.tables import Code

    rows = [(Code(line), what) for line, what in EXAMPLES]
    show_table("Ask about this notebook", ("write", "what it does"), rows, [MORE])
