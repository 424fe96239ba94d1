"""Show what changes while somebody waits, and take it away at the end.

A notebook says by `use` how it shows things. Without it a terminal gets one line, and a file or a pipe nothing.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

Show: TypeAlias = Callable[[Mapping[str, str]], None]
"""Shows html and plain text by their mime types, in place of what was shown before."""
_NOTEBOOK: list[Callable[[], Show]] = []
EMPTY = {"text/html": "", "text/plain": ""}


def use(begin: Callable[[], Show] | None) -> None:
    """Have `begin` make each display from now on; None goes back to the terminal's line."""
    _NOTEBOOK[:] = [begin] if begin else []


@contextlib.contextmanager
def changing() -> Iterator[Show]:
    """Yield what shows a bundle in place of the one before; the last one goes when the block ends."""
    if _NOTEBOOK:
        show = _NOTEBOOK[0]()
    elif sys.stderr.isatty():
        show = _on_a_line
    else:
        yield lambda bundle: None
        return
    try:
        yield show
    finally:
        show(EMPTY)


def _on_a_line(bundle: Mapping[str, str]) -> None:
    room = shutil.get_terminal_size().columns - 1  # a line that breaks could not be written over
    sys.stderr.write(f"\r{bundle['text/plain'][:room]}\x1b[K")
    sys.stderr.flush()
