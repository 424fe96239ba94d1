"""View subclasses of tables and arrays as the library's class: nothing of theirs runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agentnb.context.values import static_inspect


def as_library_class(value: object) -> Any:
    """Return a DataFrame, Series or ndarray over the same data as a value of a subclass. None for anything else.
    Nothing is copied, and nothing may be changed through it."""
    for module, name, make in _BASES:
        cls = static_inspect.loaded_class(module, name)
        if cls is not None and static_inspect.is_a(value, cls):
            return make(value, cls)
    return None


def _table(value: Any, cls: Any) -> Any:
    """Make a table as pandas makes its own from what they hold (`_from_mgr`, since 2.1)."""
    own = static_inspect.own_dict(value)
    held = own.get("_mgr")
    plain = static_inspect.loaded_class("pandas.core.generic", "NDFrame")
    if plain is None or static_inspect.class_name(type(held))[0].partition(".")[0] != "pandas":
        return None  # it was never filled
    made = object.__new__(cls)
    static_inspect.class_dict(plain)["__init__"](made, held)
    if "_name" in own:
        object.__setattr__(made, "_name", own["_name"])
    return made


def _array(value: Any, cls: Any) -> Any:
    """View it as an array. Of a masked one the data alone would say what the mask hides."""
    masked = static_inspect.loaded_class("numpy.ma", "MaskedArray")
    return None if masked is not None and static_inspect.is_a(value, masked) else cls.view(value, cls)


_BASES: tuple[tuple[str, str, Callable[[Any, Any], Any]], ...] = (
    ("pandas", "DataFrame", _table),
    ("pandas", "Series", _table),
    ("numpy", "ndarray", _array),
)
