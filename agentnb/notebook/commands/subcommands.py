"""Share what the magics with subcommands need: which one a line names, and the table that each shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from IPython.display import display

from agentnb.errors import InputError, nearest, terminal_width
from agentnb.notebook.flags import EXAMPLES
from agentnb.view.style import WIDTH
from agentnb.view.tables import Code, table_bundle

MORE = "%%agent? lists the flags. %agent_runs shows what was asked and what it cost, %config AgentNB the settings."


def show_table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    notes: Sequence[str] = (),
    *,
    figure: str = "",
    told: Sequence[str] = (),
    first: int | None = None,
) -> None:
    """Show one table as html and as text. A `figure` is finished html above the html's table; `told` says it in the
    text.

    Rows after the `first` ones stand in a fold.
    """
    width = terminal_width(WIDTH)
    display(table_bundle(title, columns, rows, notes, figure=figure, told=told, first=first, width=width), raw=True)


def show_guide() -> None:
    """Show the short guide of `%%agent` alone: the examples of its help."""
    rows = [(Code(line), what) for line, what in EXAMPLES]
    show_table("Ask about this notebook", ("write", "what it does"), rows, [MORE])


def dispatch(magic: str, table: dict[str, Callable[[str], None]], line: str) -> None:
    """Call the subcommand that the line begins with, with what stands after it; the first one where it is empty.

    Raises InputError on any other.
    """
    name, _, rest = (line.strip() or next(iter(table))).partition(" ")
    if name not in table:
        hint = nearest(name, list(table))
        raise InputError(f"%{magic} has no subcommand {name!r}", todo=f"{hint} Known: {', '.join(table)}.".strip())
    table[name](rest.strip())
