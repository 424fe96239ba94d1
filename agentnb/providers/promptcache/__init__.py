"""The providers' prompt caches: where breakpoints go, what is warm until when, what pays, why a call hit or missed.

The ledger predicts before a call and is compared after it. The reply's usage is the only proof.
"""

from agentnb.providers.promptcache.calls import (
    Call,
    anchored,
    expected_usage,
    known_tokens,
    layer_spans,
    layer_totals,
    message_salt,
    sent_record,
    settle_tokens,
    warm_entries,
)
from agentnb.providers.promptcache.changes import first_change, shared
from agentnb.providers.promptcache.diagnosis import CacheReport, Prediction, compare, observed_hit, predict
from agentnb.providers.promptcache.ledger import Held, Ledger, Sent, Storage, Warm
from agentnb.providers.promptcache.objects import CacheObjects, ObjectProvider, Reuse, ours, pays
from agentnb.providers.promptcache.placement import automatic_mark, frame_ends, last_frame_index, place_marks
from agentnb.providers.promptcache.policy import (
    LAYERS,
    SLACK,
    TTL_SECONDS,
    UNASKED,
    BreakEven,
    Choice,
    Option,
    Plan,
    Rates,
    Seen,
    break_even,
    cost,
    kept_longer,
    plan_for,
    plan_layers,
    rates_of,
    seen,
)
from agentnb.providers.promptcache.rewriting import Rewrite, pays_to_rewrite, saved_by_rewriting
from agentnb.providers.promptcache.trust import Trust

__all__ = [
    "LAYERS",
    "SLACK",
    "TTL_SECONDS",
    "UNASKED",
    "BreakEven",
    "CacheObjects",
    "CacheReport",
    "Call",
    "Choice",
    "Held",
    "Ledger",
    "ObjectProvider",
    "Option",
    "Plan",
    "Prediction",
    "Rates",
    "Reuse",
    "Rewrite",
    "Seen",
    "Sent",
    "Storage",
    "Trust",
    "Warm",
    "anchored",
    "automatic_mark",
    "break_even",
    "compare",
    "cost",
    "expected_usage",
    "first_change",
    "frame_ends",
    "kept_longer",
    "known_tokens",
    "last_frame_index",
    "layer_spans",
    "layer_totals",
    "message_salt",
    "observed_hit",
    "ours",
    "pays",
    "pays_to_rewrite",
    "place_marks",
    "plan_for",
    "plan_layers",
    "predict",
    "rates_of",
    "saved_by_rewriting",
    "seen",
    "sent_record",
    "settle_tokens",
    "shared",
    "warm_entries",
]
