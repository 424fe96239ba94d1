"""Compose the parts: what one kernel or script holds open, and how it asks."""

from agentnb.session.opened import working_directory
from agentnb.session.session import Session

__all__ = ["Session", "working_directory"]
