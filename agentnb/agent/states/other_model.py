"""Go on with another model in mid-run, in a new segment that keeps what was said."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from agentnb import canonical
from agentnb.agent.conversation.turn_blocks import plain, thoughts_kept
from agentnb.agent.deps import Services
from agentnb.agent.state import AgentState, Base, Segment
from agentnb.models import catalog
from agentnb.models.layers import Block, Layer


def with_model(state: AgentState, address: str, run_id: str, services: Services) -> AgentState:
    """Return the state as another model takes it up.

    Every block stays where it stood. What only the old model understands is dropped, and tool traffic becomes text.
    So no call may be open.
    """
    model, threads = services.model(address), services.threads
    frozen = threads.before(state)
    options = replace(state.options, model=address, max_tokens=min(state.options.max_tokens, model.max_output))
    return replace(
        thoughts_kept(state),
        options=options,
        label=model.label,
        simulated=catalog.is_simulated(address),
        kind=segment_kind(address, frozen),
        segment=_own_segment(state, run_id, services),
        blocks=tuple(plain(state.blocks)),
        previous_end=0,
        previous_message=None,
    ).noted(
        f"Prompt begun anew: the run goes on with {model.label}.",
        catalog.refused_effort(model, state.options.effort),
    )


def segment_kind(address: str, blocks: Iterable[Block]) -> str:
    """Return the digest of what a segment freezes by its own: the model, the tools and the instructions."""
    return canonical.digest_of([address, [block.digest for block in blocks if block.layer is Layer.STATIC]])


def _own_segment(state: AgentState, run_id: str, services: Services) -> Segment:
    """Return the segment that this run begins: it holds all that the old one sends before this turn."""
    if state.segment.begins:
        return state.segment
    path = services.threads.path_of(state)
    base = Base(state.segment.root, path[-1].run_id if path else "")
    return Segment(root=run_id, begins=True, base=base)
