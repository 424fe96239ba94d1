"""Tell where a reply's usage contradicts what the catalogue states of its model, and what to report. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from agentnb.models.catalog import Model
from agentnb.models.messages import Usage

CONTRADICTS = "The reply contradicts the catalogue"


def contradiction(model: Model, usage: Usage) -> str:
    """Return a sentence for people; nothing where the usage fits the row, or where there is no row to contradict."""
    found = next(_contradictions(model, usage), "") if model.known else ""
    if not found:
        return ""
    counted = ", ".join(f"{name} {count}" for name, count in usage.to_json().items() if count)
    return f"{CONTRADICTS}: {found}. To report: {model.provider}:{model.name}, {counted}."


def _contradictions(model: Model, usage: Usage) -> Iterator[str]:
    if 0 < usage.cache_read < model.cache.minimum:
        yield (
            f"{usage.cache_read:,} tokens were read from the prompt cache, below the minimum of "
            f"{model.cache.minimum:,} (checked {model.cache.checked})"
        )
    limits = f" (checked {model.limits_checked})" if model.limits_checked else ""
    if usage.input_total > model.window:
        yield f"{usage.input_total:,} tokens went in, more than the window of {model.window:,}{limits}"
    if usage.output > model.max_output:
        yield f"{usage.output:,} tokens came out, more than the limit of {model.max_output:,}{limits}"
