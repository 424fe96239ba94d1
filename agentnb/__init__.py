"""agentnb: `%%agent` for Jupyter."""

from agentnb._version import __version__

__all__ = ["__version__"]
