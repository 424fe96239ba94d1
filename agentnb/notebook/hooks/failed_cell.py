"""Word tasks about the cell that failed last: `%agent --fix` mends it, `%agent` alone explains its error."""

from __future__ import annotations

from dataclasses import dataclass

from agentnb.errors import InputError

PROPOSES = "propose_cell"
"""The tool that a mended cell comes by."""


@dataclass(frozen=True, slots=True)
class FailedCell:
    """Holds a cell that ended with an error, and under which number it ran."""

    number: int
    cell: str | None
    source: str
    error: BaseException

    def is_cell(self, cell: str | None, source: str) -> bool:
        """Tell whether a cell is the same one; where the front end gives no ids, by its text."""
        return self.cell == cell if self.cell is not None else self.source == source


def task_about(failed: FailedCell | None, words: str, *, fix: bool) -> str:
    """Return the task about the cell that failed, with the person's own words. Raises InputError where none has."""
    if failed is None:
        raise InputError(
            "no cell has failed, or the one that did has run well since", todo="Run the cell that fails, then --fix."
        )
    kind = type(failed.error).__name__
    if fix:
        wanted = "propose the whole cell, mended; where the fault lies in a file, say which lines to change there"
        return f"Fix cell {failed.number}, which failed with {kind}: {wanted}. {words}".rstrip()
    return f"Explain the error of cell {failed.number} ({kind}): what went wrong, and what mends it?"
