"""The providers' prompt caches: where breakpoints go, what is warm until when, what pays, why a call hit or missed.

The ledger predicts before a call and is compared after it. The reply's usage is the only proof.
"""

from agentnb.providers.promptcache.calls import (
    Call,
    expected_usage,
    known_tokens,
    layer_totals,
    message_salt,
    sent_record,
    settle_tokens,
    warm_entries,
)
from agentnb.providers.promptcache.diagnosis import CacheReport, Prediction, compare, predict
from agentnb.providers.promptcache.ledger import Held, Ledger, Sent, Storage, Warm
from agentnb.providers.promptcache.objects import CacheObjects, ObjectProvider, ours, pays
from agentnb.providers.promptcache.placement import automatic_mark, last_frame_index, place_marks
from agentnb.providers.promptcache.policy import (
    SLACK,
    TTL_SECONDS,
    BreakEven,
    Option,
    Plan,
    Rates,
    break_even,
    cost,
    kept_longer,
    plan_for,
    rates_of,
)

__all__ = [
    "SLACK",
    "TTL_SECONDS",
    "BreakEven",
    "CacheObjects",
    "CacheReport",
    "Call",
    "Held",
    "Ledger",
    "ObjectProvider",
    "Option",
    "Plan",
    "Prediction",
    "Rates",
    "Sent",
    "Storage",
    "Warm",
    "automatic_mark",
    "break_even",
    "compare",
    "cost",
    "expected_usage",
    "kept_longer",
    "known_tokens",
    "last_frame_index",
    "layer_totals",
    "message_salt",
    "ours",
    "pays",
    "place_marks",
    "plan_for",
    "predict",
    "rates_of",
    "sent_record",
    "settle_tokens",
    "warm_entries",
]
