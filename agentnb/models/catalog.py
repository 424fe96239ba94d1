"""Tell what is known of each model: window, what a prompt cache needs, how its latency behaves. Each row says from
where.

The rows live in catalog.toml. Prices come from genai-prices (prices.py); a row's own only fill what that package lacks.
"""

from __future__ import annotations

import itertools
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from enum import StrEnum
from functools import cache
from importlib import resources

from agentnb.canonical import JsonMapping
from agentnb.errors import ModelUnknown, nearest

PROVIDERS = ("anthropic", "google", "openai", "local")


class CacheKind(StrEnum):
    BREAKPOINTS = "breakpoints"  # only what is marked is cached
    AUTOMATIC = "automatic"  # the provider caches prefixes by itself
    EXPLICIT_OBJECT = "explicit_object"  # a cache is an object with a name and a life; prefixes are automatic too
    IMPLICIT = "implicit"  # prefixes are automatic, in whole parts of the prompt, and there are no objects
    NONE = "none"


@dataclass(frozen=True, kw_only=True)
class LatencyProfile:
    """Holds seconds to first token against uncached prompt tokens (`knots`), seconds per output token, and the queue.

    The queue is log-normal with median `queue_median` and log-deviation `queue_sigma`, both seconds.
    """

    knots: tuple[tuple[int, float], ...]
    tpot: float
    queue_median: float
    queue_sigma: float
    source: str
    checked: str
    cached_share: float = 0.1

    def prefill(self, tokens: float) -> float:
        """Return f(tokens) in seconds, piecewise linear through the knots, extended by the last slope."""
        points = self.knots
        for (x0, y0), (x1, y1) in itertools.pairwise(points):
            if tokens <= x1:
                return y0 + (y1 - y0) * (tokens - x0) / (x1 - x0)
        (x0, y0), (x1, y1) = points[-2:]
        return y1 + (y1 - y0) * (tokens - x1) / (x1 - x0)

    def ttft(self, *, tokens: int, uncached: int) -> float:
        """Return f(u) + 0.1 (f(n) - f(u)): seconds to first token for n prompt tokens, u of them uncached."""
        cold = self.prefill(uncached)
        return cold + self.cached_share * (self.prefill(tokens) - cold)


@dataclass(frozen=True, kw_only=True)
class CacheRules:
    """Tells what the provider publishes of its prompt cache. Tokens and seconds."""

    kind: CacheKind
    minimum: int = 0
    breakpoints: int = 0
    lookback: int = 0
    ttls: tuple[str, ...] = ()
    source: str = ""
    checked: str = ""


class ImageRule(StrEnum):
    """Counts a picture of w x h pixels; `base`, `per` and `edge` are ImageRules' own."""

    AREA = "area"  # w*h/per tokens, scaled down before so that no edge is over `edge`
    TILES = "tiles"  # scaled into 2048 x 2048 and its short edge to 768; base + per for each tile of 512 x 512
    PATCHES = "patches"  # per token for each patch of 32 x 32
    CROPS = "crops"  # up to 384 x 384 it is `per`; else `per` for each square crop of 1/1.5 of the short edge
    FIXED = "fixed"  # `per`, whatever the size


@dataclass(frozen=True, kw_only=True)
class ImageRules:
    """Tells what the provider publishes of pictures in a prompt. No rules: the model is not known to take any."""

    rule: ImageRule
    per: int
    base: int = 0
    edge: int = 0
    source: str = ""
    checked: str = ""


@dataclass(frozen=True, kw_only=True)
class EffortRules:
    """Tells which levels of effort a model takes. No levels: it takes none.

    `spoils` is what another level makes the provider process anew: "messages", "all" or nothing. A `quiet` model thinks
    unasked, also between tools. It leaves that out of its replies unless a request asks for it.
    """

    levels: tuple[str, ...] = ()
    spoils: str = ""
    quiet: bool = False
    source: str = ""
    checked: str = ""

    def taken(self, effort: str) -> str:
        """Return the effort where the model takes it, else nothing."""
        return effort if effort in self.levels else ""


@dataclass(frozen=True, kw_only=True)
class Model:
    """Holds one catalogue row. `provider` and `name` are the address; `known` is False for a model without a row.
    Such a one has `like`, the name of its family's row, where the family is known.

    `drops_thoughts`: what a reply thought does not count as input when the reply is sent back. `structured`: it gives
    answers by a schema, with tools at hand too. A `small` one is told the brief instructions. `retires` is the day
    (ISO date, "" unknown) from which the provider answers no more. `price` and `price_until` are this row's own prices:
    those of now, and those before a date.
    """

    provider: str
    name: str
    label: str
    window: int
    max_output: int
    tokenizer: str
    cache: CacheRules
    latency: LatencyProfile
    default: bool = False
    known: bool = True
    like: str = ""
    images: ImageRules | None = None
    drops_thoughts: bool = False
    structured: bool = False
    small: bool = False
    effort: EffortRules = field(default_factory=EffortRules)
    retires: str = ""
    limits_source: str = ""
    limits_checked: str = ""
    price: Mapping[str, float] = field(default_factory=dict)
    price_until: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    price_source: str = ""
    price_checked: str = ""


@dataclass(frozen=True, kw_only=True)
class ListedModel:
    """Holds what a provider's own list says of a model. 0 and "" where it does not tell; `retires` is an ISO date.

    Raises TypeError where a list says something else.
    """

    name: str
    window: int = 0
    max_output: int = 0
    retires: str = ""

    def __post_init__(self) -> None:
        kinds = tuple(map(type, (self.name, self.window, self.max_output)))  # the SDKs hand on what was sent
        if kinds != (str, int, int):
            raise TypeError("a model's name is no text, or its limits are no numbers")
        if self.retires:
            date.fromisoformat(self.retires)


def retirement(model: Model, now: float) -> str:
    """Return a sentence for people where the model's last day is near or over; `now` in seconds since the epoch."""
    if not model.retires:
        return ""
    day = datetime.fromtimestamp(now, UTC).date()
    left, instead = (date.fromisoformat(model.retires) - day).days, default_for(model.provider)
    if left > NOTICE:
        return ""
    ends = f"retires on {model.retires}" if left > 0 else f"was retired on {model.retires}"
    return (
        f"{model.label} {ends}. Its provider's present model is {instead.label}: -m {instead.provider}:{instead.name}"
    )


def refused_effort(model: Model, effort: str) -> str:
    """Return a sentence for people where the model does not take the effort that was asked for."""
    if not effort or model.effort.taken(effort):
        return ""
    takes = f"It takes {', '.join(model.effort.levels)}." if model.effort.levels else "It takes none."
    return f"{model.label} does not take the effort {effort!r}, so none was sent. {takes}"


NOTICE = 60  # days before a model's last one from which it is told
SIMULATED = "sim:"


def is_simulated(address: str) -> bool:
    """Tell whether a model's address, or a scope, is the simulator's."""
    return address.startswith(SIMULATED)


def split_address(address: str) -> tuple[bool, str | None, str]:
    """Return `sim:NAME`, `PROVIDER:NAME`, `sim:PROVIDER:NAME` or `NAME` -> (simulated, provider or None, name)."""
    simulated = is_simulated(address)
    rest = address.removeprefix(SIMULATED)
    head, colon, tail = rest.partition(":")
    if colon and head in PROVIDERS:
        return simulated, head, tail
    return simulated, None, rest


@cache
def rows() -> tuple[Model, ...]:
    """Return every row of the catalogue, in file order."""
    raw = tomllib.loads(text())
    profiles = {name: _profile(value) for name, value in raw["latency"].items()}
    return tuple(_row(item, profiles) for item in raw["model"])


def text() -> str:
    """Return catalog.toml as it is installed."""
    return resources.files("agentnb.models").joinpath("catalog.toml").read_text("utf-8")


def find(name: str, provider: str | None = None) -> Model | None:
    """Return a model's row by exact name, or the row whose name it extends with a date, or None."""
    candidates = [row for row in rows() if provider in (None, row.provider)]
    for row in candidates:
        if row.name == name:
            return row
    return next((row for row in candidates if _SNAPSHOT.fullmatch(name.removeprefix(row.name))), None)


_SNAPSHOT = re.compile(r"-(?:\d{3,4}|\d{8}|\d{4}-\d\d-\d\d)")
"""Suffixes of a model as it was on a day, by vendor: `-001`, `-20251001`, `-2026-11-17`. `-6` is another version."""


def lookup(address: str) -> Model:
    """Return the row that an address names. An unknown name under a known provider works, with `known=False`.

    Raises ModelUnknown, with the nearest name, where not even the provider is clear or the simulator has no rules.
    """
    simulated, provider, name = split_address(address)
    row = find(name, provider)
    if row is not None and not (simulated and row.provider == LOCAL):
        return row
    if provider == LOCAL and not simulated:
        return _own_file(name, address)
    if provider is not None and not simulated and name:
        return _stranger(provider, name)
    raise ModelUnknown(
        f"no model is called {address!r}",
        todo=" ".join(part for part in (_suggest(name, simulated), _HOW) if part),
    )


_HOW = "Write provider:model, e.g. anthropic:claude-sonnet-4-6, or sim:claude-sonnet-4-6 for the simulator."


def _suggest(name: str, simulated: bool) -> str:
    prefix = "sim:" if simulated else ""
    return nearest(
        prefix + name.lower(), [f"{prefix}{row.name}" if simulated else f"{row.provider}:{row.name}" for row in rows()]
    ) or nearest(name.lower(), [row.name for row in rows()])


def default_for(provider: str) -> Model:
    """Return the provider's present mid-size model."""
    return next(row for row in rows() if row.provider == provider and row.default)


LOCAL = "local"
"""Names the provider of models on this machine."""


def _own_file(name: str, address: str) -> Model:
    """Return the row of a GGUF file of the user's own: that of a model like those fetched. Raises ModelUnknown."""
    if not name.endswith(".gguf"):
        names = [f"{LOCAL}:{row.name}" for row in rows() if row.provider == LOCAL]
        todo = f"{nearest(address, names)} Known: {', '.join(names)}; or local:/path/to/FILE.gguf".strip()
        raise ModelUnknown(f"no model on this machine is called {name!r}", todo=todo)
    label = name.rpartition("/")[2].removesuffix(".gguf")
    return replace(default_for(LOCAL), name=name, label=label, default=False, known=False)


HOUSE = {"anthropic": "claude", "google": "gemini", "openai": "gpt-"}
"""Prefixes of the names of a provider's own models."""


def _stranger(provider: str, name: str) -> Model:
    of_the_house = name.startswith(HOUSE.get(provider, ""))
    like = _relative(provider, name) if of_the_house and _version(name) else default_for(provider)
    return Model(
        provider=provider,
        name=name,
        label=name,
        window=like.window,
        max_output=like.max_output,
        # A server of the user's own speaks this wire for some open model: most of those count about like o200k.
        tokenizer=like.tokenizer if of_the_house else "o200k",
        cache=_cache_of_its_time(provider, name, like),
        latency=like.latency,
        known=False,
        like=like.name if of_the_house and _family(name) & _family(like.name) else "",
        # A name under openai: may be any server's own model. A picture that it does not take would fail the run.
        images=like.images if of_the_house and provider != "openai" else None,
        effort=like.effort if of_the_house else EffortRules(),
    )


def _relative(provider: str, name: str) -> Model:
    """Return the newest row of this name's family that is no newer; the oldest where all are newer.

    Where the provider has no row of that family, any of its rows will do. Of several, the default.
    """
    listed = [row for row in rows() if row.provider == provider]
    kin = [row for row in listed if _family(row.name) & _family(name)]
    own = sorted(kin or listed, key=lambda row: (_version(row.name), row.default))
    return next((row for row in reversed(own) if _version(row.name) <= _version(name)), own[0])


def _cache_of_its_time(provider: str, name: str, like: Model) -> CacheRules:
    """Return the relative's rules; where the provider has caches of another kind by this version, those."""
    since = [row for row in rows() if row.provider == provider and _version(like.name) < _version(row.name)]
    later = [row for row in since if _version(row.name) <= _version(name)]
    newest = max(later, key=lambda row: _version(row.name), default=like)
    return newest.cache if newest.cache.kind is not like.cache.kind else like.cache


def _family(name: str) -> set[str]:
    """Return `claude-opus-5-5` -> {"opus"}; empty where the name has no such word."""
    return set(re.findall(r"[a-z]{2,}", name)) - {"claude", "gemini", "gpt", "preview", "latest"}


def _version(name: str) -> tuple[int, ...]:
    """Return `gemini-3.1-pro` -> (3, 1); () where the name has none."""
    found = re.search(r"-(\d+)(?:[.-](\d{1,2})(?!\d))?", name)
    return tuple(int(part) for part in found.groups() if part) if found else ()


def _profile(value: JsonMapping) -> LatencyProfile:
    fields = dict(value)
    fields["knots"] = tuple((int(x), float(y)) for x, y in value["knots"])
    return LatencyProfile(**fields)


def _row(item: JsonMapping, profiles: Mapping[str, LatencyProfile]) -> Model:
    fields = dict(item)
    rules = dict(fields.pop("cache"))
    rules["kind"] = CacheKind(rules["kind"])
    rules["ttls"] = tuple(rules.get("ttls", ()))
    fields["latency"] = profiles[fields["latency"]]
    if "images" in fields:
        pictures = dict(fields["images"])
        fields["images"] = ImageRules(**(pictures | {"rule": ImageRule(pictures["rule"])}))
    if "effort" in fields:
        fields["effort"] = EffortRules(**(fields["effort"] | {"levels": tuple(fields["effort"].get("levels", ()))}))
    return Model(cache=CacheRules(**rules), **fields)
