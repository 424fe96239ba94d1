"""How often each layer of a prompt is asked with: from the times of earlier calls, whatever thread they belonged to.

STATIC is shared by all threads of this user on a model with the same tools, SEMI_STATIC by the calls of a segment, and
the rest belongs to the thread. Which calls share a layer is told by the digest of the prefix that ends with it.
"""

from __future__ import annotations

from agentnb.agent.samples import Samples
from agentnb.models.layers import Prompt
from agentnb.providers.promptcache import LAYERS, Call, Seen, frame_ends, layer_spans, seen

KEPT = 7 * 86400.0
"""Seconds for which the times of a prefix's calls are remembered: longer gaps decide nothing."""


def layers_seen(samples: Samples, call: Call, *, thread: str, now: float, notebook: bool) -> list[Seen]:
    """What the policy needs to know of each of its LAYERS: tokens, and the pauses between its calls so far."""
    gaps = [samples.pauses(name, now) for name in _names(call.prompt, thread)]
    return [
        seen(layer, tokens, pauses, notebook=notebook)
        for layer, (tokens, _), pauses in zip(LAYERS, layer_spans(call), gaps, strict=True)
    ]


def learn_call(samples: Samples, prompt: Prompt, *, thread: str, at: float) -> None:
    """Note that a call was made: for its thread, and for the layers that it shares with others."""
    *frame, own = _names(prompt, thread)
    for name in dict.fromkeys(frame):
        samples.learn_call(name, at, ttl=KEPT)
    samples.learn_call(own, at)


def _names(prompt: Prompt, thread: str) -> tuple[str, str, str]:
    static, frame = (f"prefix/{prompt.model}/{prompt.chain[i] if i >= 0 else ''}" for i in frame_ends(prompt))
    return static, frame, thread
