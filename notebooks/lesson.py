"""Check the answers that a lesson's reader gives. It is no part of agentnb, and knows nothing of it."""

from __future__ import annotations

import math


def check(answer: object, right: object, hint: str) -> None:
    """Say whether an answer is right; where it is not, give the hint. Decimals may be one in a hundred off."""
    if answer is ...:
        print("Write your answer in the place of the three dots, and run this cell.")
    elif _same(answer, right):
        print(f"Right: {right}")
    else:
        print(f"Not yet. {hint}")


def _same(answer: object, right: object) -> bool:
    if isinstance(right, float) and isinstance(answer, int | float):
        return math.isclose(answer, right, rel_tol=0.01)
    return answer == right and isinstance(answer, bool) is isinstance(right, bool)
