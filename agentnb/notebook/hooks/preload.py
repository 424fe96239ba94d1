"""Load what the first question needs while the kernel is idle: the provider's SDK, prices, widgets, Markdown.

Importing them takes one to four seconds, which a person would wait for after asking. They are loaded after the first
cell, in a thread, and only where a person sits before the notebook. Nothing of agentnb itself is imported here, so a
reload of the extension finds nothing half done.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import os
import sys
import threading
from collections.abc import Iterable, Sequence
from typing import Any

from agentnb.settings import KEY_VARIABLES, Settings

SDKS = {"anthropic": "anthropic", "google": "google.genai", "openai": "openai", "local": "openai"}
OTHERS = ("ipywidgets", "markdown_it", "pygments.lexers.python", "genai_prices")
IDLE = 0.5
"""Seconds after the first cell: a person who runs all cells at once is not slowed down by it."""


class Preload:
    """Loads once, in a thread that ends with the process."""

    def __init__(self) -> None:
        self._timer: threading.Timer | None = None

    def begin(self, settings: Settings) -> None:
        """Load soon; the second call does nothing."""
        if self._timer is None:
            self._timer = threading.Timer(IDLE, _load, args=[(*OTHERS, sdk_of(settings))])
            self._timer.daemon = True
            self._timer.name = "agentnb-preload"
            self._timer.start()

    def stop(self) -> None:
        """Load nothing that has not begun to load."""
        if self._timer is not None:
            self._timer.cancel()


def sdk_of(settings: Settings) -> str:
    """Return the package through which the model will be asked: by its name, or by the keys that are set."""
    named = settings.model.removeprefix("sim:").lower()
    for provider, beginnings in _NAMES.items():
        if named.startswith((f"{provider}:", *beginnings)):
            return SDKS[provider]
    found = (name for name in KEY_VARIABLES if not named and any(os.environ.get(key) for key in KEY_VARIABLES[name]))
    return SDKS[next(found, "anthropic")]


_NAMES = {"anthropic": ("claude",), "google": ("gemini",), "openai": ("gpt", "o1", "o3", "o4"), "local": ()}


def found_at_once(shell: Any, info: Any) -> set[str]:
    """Note for `inspect` that a cell's code is of `__main__`. Return what was noted: its file by both its names.

    For each frame of a traceback IPython asks which module it is of. A cell's file is no module's. So all are gone
    through: an SDK brings three thousand, and a RecursionError has as many frames.
    """
    noted = set[str]()
    with contextlib.suppress(Exception):  # `inspect` may keep its map elsewhere one day
        code, count = info.transformed_cell or info.raw_cell, shell.execution_count
        for number in (count - 1, count):  # which of them is this cell's differs between IPython's versions
            name = shell.compile.get_code_name(info.raw_cell, code, number)
            noted |= {name, os.path.normcase(os.path.abspath(name))}  # noqa: PTH100 - as `inspect` makes it
        inspect.modulesbyfile.update(dict.fromkeys(noted, "__main__"))
    return noted


def forget(files: Iterable[str]) -> None:
    """Take back what `found_at_once` noted."""
    for file in files:
        getattr(inspect, "modulesbyfile", {}).pop(file, None)


def _load(names: Sequence[str]) -> None:
    for name in names:
        if name not in sys.modules:
            with contextlib.suppress(Exception):  # whoever needs it says what is missing
                importlib.import_module(name)
