"""Find the order in which Python looks through a class and its bases (C3, the method resolution order), by text.
Pure."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

_C = TypeVar("_C", bound=Hashable)


def resolution_order(cls: _C, bases: Callable[[_C], Sequence[_C]]) -> list[_C]:
    """Return the class, then what it inherits from. What leads back to itself, as broken text may, ends there.

    A class whose bases have no common order is refused by Python when it is made. For such a class, each base and all
    that it inherits come before the next base.
    """
    return _order(cls, bases, (), {})


def _order(cls: _C, bases: Callable[[_C], Sequence[_C]], above: tuple[_C, ...], known: dict[_C, list[_C]]) -> list[_C]:
    if cls not in known:
        below = (*above, cls)
        direct = [base for base in dict.fromkeys(bases(cls)) if base not in below]
        known[cls] = [cls, *_merged([*(_order(base, bases, below, known) for base in direct), direct])]
    return known[cls]


def _merged(orders: Sequence[list[_C]]) -> list[_C]:
    """Return each class once, before its bases and in the order of every list that names it."""
    merged: list[_C] = []
    pending = [order for order in orders if order]
    while pending:
        later = {cls for order in pending for cls in order[1:]}
        head = next((order[0] for order in pending if order[0] not in later), None)
        if head is None:
            return list(dict.fromkeys(itertools.chain(*orders)))
        merged.append(head)
        pending = [rest for order in pending if (rest := order[1:] if order[0] == head else order)]
    return merged
