"""Pictures of pages for people, in build/screenshots, where AGENTNB_SCREENSHOTS=1 wants them: no test reads one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"
WANTED = "AGENTNB_SCREENSHOTS" in os.environ
"""A picture of a long page takes a second of the processor."""


def take(shown: Any, name: str, **options: Any) -> None:
    """Take a picture of a page, or of a part of it."""
    if WANTED:
        shown.screenshot(path=str(place_of(name)), **options)


def place_of(name: str) -> Path:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    return SCREENSHOTS / f"{name}.png"
