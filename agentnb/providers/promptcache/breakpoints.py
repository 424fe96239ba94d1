"""Place a request's breakpoints, and choose the TTL of each. Pure."""

from __future__ import annotations

from agentnb.models.catalog import CacheKind, Model
from agentnb.models.layers import Layer, Prompt
from agentnb.models.messages import Role
from agentnb.providers.base import Mark
from agentnb.providers.promptcache.policy import Plan, plan_for


def place_marks(prompt: Prompt, model: Model, *, plan: Plan | None = None) -> tuple[Mark, ...]:
    """Return the four breakpoints: end of static, end of semi-static, where the previous request ended, and the tail.

    A mark each few blocks would not do better: the lookback starts at the third mark, which moves along. Where a
    provider caches prefixes unasked, the marks are sent nowhere: they are the prefixes that the ledger remembers.
    Longer TTLs stand before shorter ones, as Anthropic demands. `plan` is by default that of a first call.
    """
    if model.cache.kind is CacheKind.NONE or not prompt.blocks:
        return ()
    chosen = plan or plan_for(model, ())
    wanted = (
        (_first_rules(prompt) if model.small else -1, chosen.static, "end of the instructions"),
        (_last_index(prompt, Layer.STATIC), chosen.static, "end of static"),
        (last_frame_index(prompt), chosen.semi_static, "end of semi-static"),
        (prompt.previous_end - 1, chosen.tail, "where the previous request ended"),
        (len(prompt.blocks) - 1, chosen.tail, "end of the request"),
    )
    marks: dict[int, Mark] = {}
    for index, ttl, why in wanted:
        if index >= 0 and ttl and index not in marks:
            marks[index] = Mark(index=index, ttl=ttl, why=why)
    return tuple(marks[index] for index in sorted(marks))


def automatic_mark(prompt: Prompt, model: Model, *, plan: Plan) -> tuple[Mark, ...]:
    """Return one mark that the provider places itself, at the last block; () where the plan is not to cache."""
    if not prompt.blocks or not plan.tail:
        return ()
    return (
        Mark(
            index=len(prompt.blocks) - 1,
            ttl=plan.tail,
            why="end of the request, placed by the provider",
            automatic=True,
        ),
    )


def _first_rules(prompt: Prompt) -> int:
    """Return the first block of the instructions, behind which a small model is told of its tools."""
    return next((i for i, block in enumerate(prompt.blocks) if block.role is Role.SYSTEM), -1)


def _last_index(prompt: Prompt, layer: Layer) -> int:
    return max((i for i, block in enumerate(prompt.blocks) if block.layer is layer), default=-1)


def frame_ends(prompt: Prompt) -> tuple[int, int]:
    """Return the last blocks of STATIC and of the whole frame (tools and system); -1 where there is none."""
    return _last_index(prompt, Layer.STATIC), last_frame_index(prompt)


def last_frame_index(prompt: Prompt) -> int:
    """Return the last block of tools and system: what every call of a segment begins with."""
    return max((i for i, b in enumerate(prompt.blocks) if b.role in (Role.TOOLS, Role.SYSTEM)), default=-1)
