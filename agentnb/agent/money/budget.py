"""Reserve before a call, settle after it, refuse with the numbers. US dollars."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from agentnb.errors import BudgetExceeded

MIN_OUTPUT = 256
"""A reply that could not even hold this many tokens is not worth its input."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Holds a run's budget in US dollars. `limit` None means no limit. `spent` is what settled calls cost."""

    limit: float | None = None
    spent: float = 0.0

    @property
    def left(self) -> float | None:
        return None if self.limit is None else max(self.limit - self.spent, 0.0)

    def settle(self, cost: float | None) -> Budget:
        return replace(self, spent=self.spent + (cost or 0.0))


@dataclass(frozen=True, kw_only=True)
class Quote:
    """Holds the next call before it is made: `input_cost` at worst (nothing hits), `output_price` per token."""

    input_cost: float
    output_price: float
    max_tokens: int

    @property
    def worst(self) -> float:
        return self.input_cost + self.output_price * self.max_tokens


def affordable_output(budget: Budget, quote: Quote | None) -> int:
    """Return the output tokens that the budget still pays for, at most `quote.max_tokens`.

    Raises BudgetExceeded with the numbers when the worst case of the input and 256 output tokens does not fit. A limit
    cannot be kept either where the price is unknown (quote None).
    """
    if budget.limit is None:
        return quote.max_tokens if quote else 0
    if quote is None:
        raise BudgetExceeded(
            "--budget cannot be kept: the price of this model is unknown",
            todo="Choose a model with a known price, or leave --budget out.",
        )
    left = budget.left or 0.0
    for_output = left - quote.input_cost
    free = quote.max_tokens if for_output >= 0 else 0  # where output costs nothing
    tokens = int(for_output / quote.output_price) if quote.output_price else free
    if tokens < min(MIN_OUTPUT, quote.max_tokens):
        least = quote.input_cost + quote.output_price * min(MIN_OUTPUT, quote.max_tokens)
        raise BudgetExceeded(
            f"the next call could cost {_usd(least)} or more, and {_usd(left)} of --budget {_usd(budget.limit)} "
            "is left",
            todo="Nothing was sent. Raise --budget, shorten the context, or begin afresh with -t new.",
        )
    return min(tokens, quote.max_tokens)


def _usd(amount: float) -> str:
    """Round no sum that a person sets to nothing; none is written with an exponent."""
    if amount >= 0.0001 or amount == 0:
        return f"${amount:.4f}" if amount else "$0"
    return f"${amount:.{1 - math.floor(math.log10(amount))}f}".rstrip("0")
