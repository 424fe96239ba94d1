"""Tell what tokens cost, in US dollars. [home of genai-prices, whose dated and tiered price data comes with the
package]"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from agentnb.models.catalog import Model, find, lookup
from agentnb.models.messages import Usage


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Holds a cost: `total` as billed; `uncached`: the same tokens without any prompt cache; both US dollars, None if
    unknown."""

    total: float | None
    uncached: float | None

    @property
    def known(self) -> bool:
        return self.total is not None

    @property
    def saved(self) -> float:
        return (self.uncached or 0.0) - (self.total or 0.0)


UNKNOWN = Cost(total=None, uncached=None)


def cost_of(model: Model, usage: Usage, *, at: float | None = None) -> Cost:
    """Return what one call's usage costs on this model; Cost(None, None) for an unknown price.

    `at`, in seconds since the epoch, is when the call was made, since prices change by date; None is now. The call's
    whole input chooses the tier, so this takes one call's usage, never a sum of several.
    """
    billed = _price(model, _split(usage), at)
    if billed is None:
        return UNKNOWN
    everything = {"input_tokens": usage.input_total, "output_tokens": usage.output}
    return Cost(total=billed, uncached=_price(model, everything, at))


def price(
    model: str,
    *,
    input: int = 0,  # noqa: A002  the field's word for it
    cache_read: int = 0,
    cache_write_5m: int = 0,
    cache_write_1h: int = 0,
    output: int = 0,
) -> float | None:
    """Return what the tokens of one call cost today, in US dollars; None where the price is not known.

    `model` is a name as `%%agent -m` takes it. `input` is what was neither read from a prompt cache nor written to one.

    Raises ModelUnknown.

    >>> agentnb.price("anthropic:claude-sonnet-4-6", input=1_000_000)
    3.0
    >>> agentnb.price("anthropic:claude-sonnet-4-6", cache_read=1_000_000)
    0.3
    """
    used = Usage(
        input=input,
        cache_read=cache_read,
        cache_write_5m=cache_write_5m,
        cache_write_1h=cache_write_1h,
        output=output,
    )
    return cost_of(lookup(model), used).total


def storage_price(model: Model) -> float:
    """Return US dollars per million tokens and hour that a cache object costs; 0 if none or free."""
    return model.price.get("storage", 0.0)


def storage_cost(model: Model, *, tokens: int, seconds: float) -> float:
    """US dollars for keeping so many tokens for so long."""
    return storage_price(model) * tokens / 1_000_000 * seconds / 3600.0


def unchecked(model: Model) -> str:
    """Return a sentence for people where another row of its family stands in for a model's own."""
    kin = find(model.like, model.provider) if model.like else None
    if kin is None:
        return ""
    own = _listed(model.name, model.provider, tuple(_split(Usage(input=1000)).items()), int(time.time() // 60))
    what = "prices and limits" if own is None else "limits"
    return f"{model.name} is not in the catalogue: {what} as of {kin.label}, not checked."


def _split(usage: Usage) -> dict[str, int]:
    """Return our parts in genai-prices' convention, where input includes everything and writes include the longer
    ones."""
    values = {"input_tokens": usage.input_total, "output_tokens": usage.output}
    if usage.cache_read:
        values["cache_read_tokens"] = usage.cache_read
    if usage.cache_write:
        values["cache_write_tokens"] = usage.cache_write
    if usage.cache_write_12h:
        values["cache_write_12h_tokens"] = usage.cache_write_12h
    if usage.cache_write_1h:
        values["cache_write_1h_tokens"] = usage.cache_write_1h
    return values


def _price(model: Model, values: Mapping[str, int], at: float | None) -> float | None:
    now = time.time() if at is None else at
    own = _own_prices(model, now)
    if own is not None:
        return _by_row(own, values)
    price = _listed(model.name, model.provider, tuple(values.items()), int(now // 60))
    kin = find(model.like, model.provider) if price is None and model.like else None
    return price if kin is None else _price(kin, values, at)


def _own_prices(model: Model, now: float) -> Mapping[str, float] | None:
    """Return the prices of the row itself on that day; None where genai-prices has them."""
    day = datetime.fromtimestamp(now, UTC).date().isoformat()
    earlier = next((prices for until, prices in sorted(model.price_until.items()) if day < until), None)
    return earlier or (model.price if "input" in model.price else None)


@functools.lru_cache(maxsize=4096)
def _listed(name: str, provider: str, values: tuple[tuple[str, int], ...], minute: int) -> float | None:
    """Return what genai-prices has at that minute; None where it has nothing. Remembered: it takes 1 ms, and a plan
    asks for a dozen."""
    from genai_prices import Usage as Priced
    from genai_prices import calc_price

    known = {name: count for name, count in values if name != "cache_write_12h_tokens"}  # it has no price for those
    when = datetime.fromtimestamp(minute * 60, UTC)
    try:
        found: Any = calc_price(Priced(**known), model_ref=name, provider_id=provider, genai_request_timestamp=when)
    except LookupError:
        return None
    return float(found.total_price)


def _by_row(price: Mapping[str, float], values: Mapping[str, int]) -> float:
    """Count by a row's own prices ($ per million tokens). A part without a price costs what plain input does."""
    read = values.get("cache_read_tokens", 0)
    write_12h, write_1h = values.get("cache_write_12h_tokens", 0), values.get("cache_write_1h_tokens", 0)
    write_5m = values.get("cache_write_tokens", 0) - write_1h - write_12h
    long = values["input_tokens"] > price.get("long_above", math.inf)
    parts = (
        (values["input_tokens"] - read - write_12h - write_1h - write_5m, "input"),
        (read, "cache_read"),
        (write_5m, "cache_write_5m"),
        (write_1h, "cache_write_1h"),
        (write_12h, "cache_write_12h"),
    )
    prompt = sum(count * price.get(name, price["input"]) for count, name in parts)
    reply = values["output_tokens"] * price.get("output", price["input"])
    if long:
        prompt, reply = prompt * price["long_input"], reply * price["long_output"]
    return (prompt + reply) / 1_000_000
