"""Check the answers that a lesson's reader gives. It is no part of agentnb, and knows nothing of it."""

from __future__ import annotations

import math


def check(answer: object, right: object, hint: str) -> None:
    """Say whether an answer is right; where it is not, give the hint. Numbers may be off by one in a hundred."""
    if answer is ...:
        print("Write your answer in the place of the three dots, and run this cell.")
    elif _same(answer, right):
        print(f"Right: {right}")
    else:
        print(f"Not yet. {hint}")


def _same(answer: object, right: object) -> bool:
    if isinstance(answer, bool) or isinstance(right, bool | str):
        return answer == right
    numbers = isinstance(answer, int | float) and isinstance(right, int | float)
    return numbers and math.isclose(answer, right, rel_tol=0.01)
