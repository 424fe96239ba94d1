"""Gemini's cache objects from making to deleting, over the real SDK against the simulator's clock."""

from __future__ import annotations

import random
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from agentnb.errors import Overloaded
from agentnb.models import prices
from agentnb.models.catalog import Model, lookup
from agentnb.models.layers import Block, Layer, Prompt
from agentnb.models.messages import Role, Text
from agentnb.providers.base import CallAnswer
from agentnb.providers.google import GoogleProvider
from agentnb.providers.promptcache import (
    CacheObjects,
    Call,
    HeldObject,
    Ledger,
    Reuse,
    compare,
    life_of,
    maker,
    ours,
    pays,
    place_marks,
    predict,
    stays_worth,
)
from agentnb.providers.promptcache.policy import rates_of
from agentnb.simulator import SimClock, Simulator

MODEL = lookup("sim:gemini-3.1-pro-preview")
SLOW = (600.0,) * 6
LIFE = 1440.0  # seconds: storage costs 2.25 input prices an hour, a read saves 0.9 of one
ME, OTHER = "c0ffee.1.1.1", "c0ffee.2.2.1"


class Memory:
    """A storage that forgets nothing."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}

    def get(self, key: str) -> bytes | None:
        return self.values.get(key)

    def set(self, key: str, value: bytes, *, ttl: float | None = None) -> None:
        self.values[key] = value

    def delete(self, key: str) -> None:
        self.values.pop(key, None)

    def keys(self, prefix: str) -> Iterable[str]:
        return sorted(key for key in self.values if key.startswith(prefix))


@dataclass
class Desk:
    """One model, its objects, and the simulator that holds them."""

    simulator: Simulator
    clock: SimClock
    provider: GoogleProvider
    budget: float = 1.0
    ledger: Ledger = field(default_factory=lambda: Ledger(Memory()))
    gone: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.objects = self.session(ME)

    def session(self, owner: str) -> CacheObjects:
        """The objects of one kernel of those that share the ledger."""
        return CacheObjects(
            self.ledger, clock=self.clock, owner=owner, budget=self.budget, is_gone=self.gone.__contains__
        )

    def call(self, schema: str = "schema", question: str = "Hello?") -> Call:
        blocks = (
            block(Layer.STATIC, Role.SYSTEM, "You answer. " + "High water, low water. " * 1200),
            block(Layer.SEMI_STATIC, Role.SYSTEM, schema),
            block(Layer.DYNAMIC, Role.USER, question),
        )
        prompt = Prompt(model=MODEL.name, blocks=blocks, max_tokens=50)
        marks = place_marks(prompt, MODEL)
        tokens = tuple(len(b.canonical) // 4 for b in blocks)
        scope = self.provider.scope
        return Call(prompt=prompt, marks=marks, tokens=tokens, model=MODEL, scope=scope, at=self.clock.now())

    def ensure(
        self, call: Call, thread: str = "t", *, pauses: Sequence[float] = SLOW, replaced: bool = False
    ) -> HeldObject | None:
        return self.objects.ensure(self.provider, call, thread=thread, reuse=Reuse(pauses=pauses), replaced=replaced)

    def ask(self, call: Call, held: HeldObject | None) -> tuple[CallAnswer, Call]:
        call = replace(call, marks=self.objects.bind(call.marks, call.prompt, held))
        wire = self.provider.encode(call.prompt, call.marks, previous_message=None)
        return self.provider.ask(wire, lambda *_: None), call

    @property
    def listed(self) -> list[str]:
        return [str(one["name"]) for one in self.provider.list_caches()]


def block(layer: Layer, role: Role, text: str) -> Block:
    return Block(layer=layer, role=role, content=Text(text))


@pytest.fixture(params=["gemini", "vertex"])
def desk(request: pytest.FixtureRequest) -> Iterator[Desk]:
    clock = SimClock()
    with Simulator(speed=0, clock=clock, record=True) as simulator:
        on_vertex = request.param == "vertex"
        made = GoogleProvider(
            MODEL,
            clock=clock,
            key=None if on_vertex else "any",
            base_url=simulator.url,
            scope=f"sim:{simulator.instance}",
        )
        if on_vertex:
            from google.oauth2.credentials import Credentials

            where = {"vertexai": True, "project": "p", "location": "europe-west1"}
            made.client_options = where | {"credentials": Credentials(token="any")}  # type: ignore[no-untyped-call]
        yield Desk(simulator, clock, made)
        made.close()


def test_made_bound_read_and_paid(desk: Desk) -> None:
    held = desk.ensure(desk.call())
    assert held is not None
    assert desk.listed == [held.name]
    assert ours(desk.provider.list_caches()[0])
    call = replace(desk.call(), marks=desk.objects.bind(desk.call().marks, desk.call().prompt, held))
    expected = predict(call, desk.ledger)
    answer, call = desk.ask(desk.call(), held)
    assert answer.reply.usage.cache_read == held.tokens == expected.tokens
    report = compare(call, expected, answer.reply.usage, previous=None)
    assert "hit:" in report.reason
    assert held.name in report.marks[0] or any(held.name in mark for mark in report.marks)
    fresh = held.tokens * 2.0 / 1e6
    assert desk.objects.spent == pytest.approx(fresh + prices.storage_cost(MODEL, tokens=held.tokens, seconds=LIFE))


def test_found_again_by_the_next_call_and_by_another_thread(desk: Desk) -> None:
    held = desk.ensure(desk.call())
    again = desk.ensure(desk.call(question="And now?"), thread="u")
    assert held is not None
    assert again is not None
    assert again.name == held.name
    assert [user.thread for user in again.users] == ["t", "u"]
    assert len(desk.listed) == 1


def test_extended_while_it_is_used(desk: Desk) -> None:
    held = desk.ensure(desk.call())
    assert held is not None
    for _ in range(4):
        desk.clock.advance(1200)
        held = desk.ensure(desk.call())
        assert held is not None
        answer, _ = desk.ask(desk.call(), held)
        assert answer.reply.usage.cache_read == held.tokens
    assert len(desk.listed) == 1


def test_replaced_when_a_schema_changes(desk: Desk) -> None:
    first = desk.ensure(desk.call())
    second = desk.ensure(desk.call(schema="another schema"), replaced=True)
    assert first is not None
    assert second is not None
    assert desk.listed == [second.name]


def test_two_frames_that_a_thread_returns_to_keep_an_object_each(desk: Desk) -> None:
    first = [desk.ensure(desk.call()), desk.ensure(desk.call(schema="another schema"))]
    for _ in range(5):
        desk.clock.advance(600)
        assert None not in first
        again = [desk.ensure(desk.call()), desk.ensure(desk.call(schema="another schema"))]
        assert [held and held.name for held in again] == [held and held.name for held in first]
    assert len(desk.listed) == 2


def test_one_that_nobody_asks_for_lapses_by_itself(desk: Desk) -> None:
    desk.ensure(desk.call())
    desk.clock.advance(LIFE - 1)
    assert len(desk.listed) == 1
    desk.clock.advance(2)
    assert desk.listed == []


def test_one_that_no_longer_pays_is_used_and_not_extended(desk: Desk) -> None:
    held = desk.ensure(desk.call())
    assert held is not None
    desk.clock.advance(1200)
    assert desk.ensure(desk.call(), pauses=(5.0,) * 50) == held
    desk.clock.advance(LIFE - 1200)
    assert desk.ensure(desk.call(), pauses=(5.0,) * 50) is None
    assert desk.listed == []


def test_by_hand_it_is_made_and_extended_for_an_hour(desk: Desk) -> None:
    held = desk.objects.make(desk.provider, desk.call(), "t")
    desk.clock.advance(3000)
    longer = desk.objects.extend(desk.provider, held, MODEL)
    desk.clock.advance(3500)
    assert desk.listed == [longer.name]


def test_kept_while_another_thread_uses_it(desk: Desk) -> None:
    first = desk.ensure(desk.call())
    desk.ensure(desk.call(), thread="u")
    second = desk.ensure(desk.call(schema="another schema"), replaced=True)
    assert first is not None
    assert second is not None
    assert set(desk.listed) == {first.name, second.name}


def test_a_vanished_one_is_survived_with_one_retry(desk: Desk) -> None:
    held = desk.ensure(desk.call())
    assert held is not None
    desk.provider.delete_cache(held.name)  # by somebody else
    before = len(desk.simulator.requests)
    answer, _ = desk.ask(desk.call(), held)
    assert answer.fell_back
    assert answer.reply.text
    assert len(desk.simulator.requests) == before + 2
    desk.objects.vanished(held.name)
    assert desk.objects.find(desk.call().prompt, MODEL, desk.provider.scope) is None


def test_deleted_at_the_end(desk: Desk) -> None:
    held = desk.ensure(desk.call())
    assert held is not None
    assert desk.objects.mine() == [held]
    assert desk.objects.delete(desk.provider, held)
    assert desk.listed == []
    assert not desk.objects.delete(desk.provider, held), "gone already"


def test_two_kernels_that_make_the_same_object_at_once_keep_one(desk: Desk) -> None:
    first = desk.session(OTHER).make(desk.provider, desk.call(), "t")
    desk.clock.advance(1)
    kept = desk.objects.make(desk.provider, desk.call(), "u")  # it looked before the first one was there
    assert kept.name == first.name
    assert desk.listed == [first.name]
    assert {(user.owner, user.thread) for user in kept.users} == {(OTHER, "t"), (ME, "u")}
    assert desk.objects.spent == pytest.approx(first.tokens * 2.0 / 1e6), "what was made is paid, no storage"


def test_the_last_kernel_that_uses_an_object_deletes_it(desk: Desk) -> None:
    held = desk.ensure(desk.call())
    other = desk.session(OTHER)
    shared = other.ensure(desk.provider, desk.call(), thread="t", reuse=Reuse(pauses=SLOW))
    assert held is not None
    assert shared is not None
    assert shared.name == held.name
    assert not desk.objects.leave(desk.provider, shared), "the other kernel uses it"
    assert desk.listed == [held.name]
    assert desk.objects.mine() == []
    (left,) = other.mine()
    assert other.leave(desk.provider, left)
    assert desk.listed == []


def test_a_kernel_that_was_killed_keeps_nobody_from_deleting(desk: Desk) -> None:
    held = desk.session(OTHER).ensure(desk.provider, desk.call(), thread="t", reuse=Reuse(pauses=SLOW))
    assert held is not None
    (listed,) = desk.provider.list_caches()
    assert desk.objects.abandoned(listed, desk.provider.scope) is False, "in use, as far as anybody knows"
    desk.gone.add(OTHER)
    assert desk.objects.abandoned(listed, desk.provider.scope) is True
    again = desk.ensure(desk.call())
    assert again is not None
    assert again.name == held.name, "the frame is the same: it is used on"
    assert desk.objects.abandoned(listed, desk.provider.scope) is False
    assert desk.objects.leave(desk.provider, again), "the one that was killed does not count"
    assert desk.listed == []


def test_ours_are_known_by_their_label_without_the_ledger(desk: Desk) -> None:
    held = desk.session(OTHER).ensure(desk.provider, desk.call(), thread="t", reuse=Reuse(pauses=SLOW))
    assert held is not None
    (listed,) = desk.provider.list_caches()
    assert maker(listed) == OTHER
    desk.ledger.drop(held.name)
    assert desk.objects.abandoned(listed, desk.provider.scope) is None, "whoever made it may use it"
    desk.gone.add(OTHER)
    assert desk.objects.abandoned(listed, desk.provider.scope) is True
    assert desk.objects.abandoned({"name": "x", "displayName": "agentnb"}, desk.provider.scope) is True
    for label in ("", "agentnbs", "my agentnb cache"):
        assert not ours({"name": "x", "displayName": label})


def test_one_that_vanished_is_forgotten_when_it_is_to_be_extended(desk: Desk) -> None:
    held = desk.ensure(desk.call())
    assert held is not None
    desk.provider.delete_cache(held.name)  # by somebody else
    desk.clock.advance(1200)
    assert desk.ensure(desk.call()) is None
    assert desk.ledger.held() == []


def test_one_that_cannot_be_extended_now_is_used_for_what_it_has(desk: Desk) -> None:
    held = desk.ensure(desk.call())
    assert held is not None
    desk.clock.advance(1200)
    desk.provider.extend_cache = refused  # type: ignore[method-assign]
    assert desk.ensure(desk.call()) == held


def test_one_that_cannot_be_deleted_now_is_not_forgotten(desk: Desk) -> None:
    held = desk.ensure(desk.call())
    assert held is not None
    works, desk.provider.delete_cache = desk.provider.delete_cache, refused  # type: ignore[method-assign]
    desk.ensure(desk.call(schema="another schema"), replaced=True)
    assert held in desk.ledger.held()
    desk.provider.delete_cache = works  # type: ignore[method-assign]
    desk.ensure(desk.call(schema="another schema"), replaced=True)
    assert held.name not in desk.listed


def refused(name: str, *, seconds: int = 0) -> None:
    raise Overloaded("Google answered 503", status=503)


def test_nothing_is_made_where_the_price_is_unknown(desk: Desk) -> None:
    stranger = lookup("google:gemini-3.1-pro-strange")
    assert desk.ensure(replace(desk.call(), model=stranger)) is None
    assert desk.listed == []


def test_vertex_by_its_variables_is_another_place_and_keeps_its_address(
    monkeypatch: pytest.MonkeyPatch, desk: Desk
) -> None:
    """The SDK takes the switch from the environment and then forgets the address that stands beside it."""
    on_vertex = {
        "GOOGLE_GENAI_USE_VERTEXAI": "true",
        "GOOGLE_VERTEX_BASE_URL": desk.simulator.url,
        "GOOGLE_API_KEY": "any",
    }
    for name, value in on_vertex.items():
        monkeypatch.setenv(name, value)
    place = GoogleProvider.place(on_vertex)
    assert place != GoogleProvider.place({"GOOGLE_API_KEY": "any"})
    assert place != GoogleProvider.place(on_vertex | {"GOOGLE_CLOUD_PROJECT": "another"})
    assert GoogleProvider.place(on_vertex | {"GOOGLE_GENAI_USE_ENTERPRISE": "false"}) == GoogleProvider.place({})
    desk.provider = GoogleProvider(MODEL, clock=desk.clock, scope=place)
    held = desk.ensure(desk.call())
    assert held is not None
    answer, _ = desk.ask(desk.call(), held)
    assert answer.reply.usage.cache_read == held.tokens
    assert "/v1beta1/" in desk.simulator.requests[-1].path
    desk.provider.close()


def test_storage_is_paid_for_as_long_as_the_object_lives(desk: Desk) -> None:
    """Gemini 3.1 Pro: $2 per million tokens made, $4.50 per million tokens and hour kept."""
    held = desk.ensure(desk.call())
    assert held is not None
    assert desk.objects.spent == pytest.approx(held.tokens * (2.0 + 4.5 * LIFE / 3600) / 1e6)
    desk.clock.advance(1200)
    desk.objects.delete(desk.provider, held)
    assert desk.objects.spent == pytest.approx(held.tokens * (2.0 + 4.5 / 3) / 1e6)


def test_nothing_is_made_without_a_budget_or_below_the_minimum(desk: Desk) -> None:
    desk.objects.budget = 0.0
    assert desk.ensure(desk.call()) is None
    desk.objects.budget = 1.0
    small = desk.call()
    assert desk.ensure(replace(small, tokens=(10, 10, 10))) is None
    assert desk.listed == []


def test_it_does_not_pay_in_a_fast_loop_nor_over_hours() -> None:
    assert pays(MODEL, Reuse(pauses=SLOW))
    assert not pays(MODEL, Reuse(pauses=(5.0,) * 50))
    assert not pays(MODEL, Reuse(pauses=(4 * 3600.0,) * 3))


def test_it_does_not_pay_on_what_was_hardly_seen() -> None:
    assert not pays(MODEL, Reuse(pauses=()))
    assert not pays(MODEL, Reuse(pauses=(600.0,)))
    assert not pays(MODEL, Reuse(pauses=(800.0, 800.0))), "the frame may change before that is saved"
    assert not pays(MODEL, Reuse(pauses=(400.0, 10.0, 450.0, 1400.0) * 2)), "that might be chance"


def test_it_does_not_pay_where_the_prefix_lasts_longer_unasked_or_is_warm_now() -> None:
    assert pays(MODEL, Reuse(pauses=(600.0,) * 3))
    assert not pays(MODEL, Reuse(pauses=(600.0,) * 3, trusted=1800.0))
    assert not pays(MODEL, Reuse(pauses=(600.0,) * 3, warm=True))
    assert pays(MODEL, Reuse(pauses=(600.0,) * 5, warm=True)), "what it saves in five pauses is worth a write"


MODELS = [lookup(f"google:{name}") for name in ("gemini-3.1-pro-preview", "gemini-3.8-flash", "gemini-2.5-pro")]
PAUSES = st.lists(st.floats(min_value=1.0, max_value=6000.0), min_size=1, max_size=25)


def paid_one_by_one(model: Model, pauses: Sequence[float], *, trusted: float, objects: bool, warm: bool) -> float:
    """What a token costs over calls with such pauses between them, in input prices, on a clock: the calls find it
    cached unasked, or in an object that is stored to its end, extended by each call, made anew when it is gone, and
    left to lapse behind the last one."""
    rates, life, now, ends, total = rates_of(model, "1h"), life_of(model), 0.0, -1.0, 0.0
    for number, pause in enumerate((0.0, *pauses)):
        stored = min(pause, max(ends - now, 0.0))
        total += rates.storage * stored / 3600 if objects else 0.0
        now += pause
        there = warm if number == 0 else pause <= trusted
        if objects and now > ends:
            total += rates.write  # it is made, and then read
        total += rates.read if objects or there else rates.write
        ends = now + life
    return total + (rates.storage * life / 3600 if objects else 0.0)


@given(model=st.sampled_from(MODELS), pauses=PAUSES, trusted=st.sampled_from([0.0, 300.0, 600.0]), warm=st.booleans())
def test_no_object_is_made_that_would_cost_more_if_pauses_go_on_so(
    model: Model, pauses: list[float], trusted: float, warm: bool
) -> None:
    reuse = Reuse(pauses=pauses, trusted=trusted, warm=warm)
    if pays(model, reuse):
        given = {"trusted": trusted, "warm": warm}
        with_it = paid_one_by_one(model, pauses, objects=True, **given)
        assert with_it < paid_one_by_one(model, pauses, objects=False, **given)


@given(model=st.sampled_from(MODELS), pause=st.floats(min_value=1.0, max_value=6000.0), count=st.integers(2, 25))
def test_an_object_is_made_wherever_equal_pauses_make_it_cheaper(model: Model, pause: float, count: int) -> None:
    """No doubt is left where all pauses are alike: then brute force and the policy say the same."""
    pauses = [pause] * count
    with_it, without = (
        paid_one_by_one(model, pauses, trusted=300.0, objects=objects, warm=False) for objects in (True, False)
    )
    assume(abs(with_it - without) > 1e-9)
    assert pays(model, Reuse(pauses=pauses, trusted=300.0)) == (with_it < without)


@pytest.mark.slow
@pytest.mark.parametrize("changes", [0.0, 0.3], ids=["a frame that stays", "a frame that changes"])
@pytest.mark.parametrize("longest", [200.0, 1500.0, 5400.0])
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_a_user_whose_pauses_are_drawn_by_lot_is_not_expected_to_lose(
    model: Model, longest: float, changes: float
) -> None:
    """Turns of eight quick calls, pauses of up to so long, after which the frame changes with that chance; sessions of
    twenty turns: on the average objects add less than half a percent to what the frame costs, where they could only be
    bought by chance."""
    costs = [_session_costs(model, random.Random(seed), longest, changes) for seed in range(60)]
    assert statistics.mean(with_it / without for with_it, without in costs) < 1.005


def test_a_regular_user_saves_by_it() -> None:
    costs = [_session_costs(MODELS[1], random.Random(seed), 1500.0, 0.0) for seed in range(60)]
    assert statistics.mean(with_it / without for with_it, without in costs) < 0.95


def _session_costs(model: Model, rng: random.Random, longest: float, changes: float) -> tuple[float, float]:
    """What a token of the frame costs with the policy and without it, in input prices."""
    rates, life, trusted = rates_of(model, "1h"), life_of(model), 300.0
    seen: list[float] = []
    left, with_it, without = 0.0, rates.write, rates.write
    for pause in [gap for _ in range(20) for gap in (*(12.0,) * 8, rng.uniform(10.0, longest))]:
        seen.append(pause)
        there, made = pause <= trusted, left >= pause
        with_it += rates.storage * min(pause, left) / 3600
        left = max(left - pause, 0.0)
        if pause != 12.0 and rng.random() < changes:
            with_it += rates.storage * left / 3600 + rates.write
            without += rates.write
            seen, left = [], 0.0
            continue
        reuse = Reuse(pauses=seen, trusted=trusted)
        if not there and not made and pays(model, reuse):
            made, left = True, life
            with_it += rates.write
        elif not there and made and stays_worth(model, reuse):
            left = life
        with_it += rates.read if made or there else rates.write
        without += rates.read if there else rates.write
    return with_it + rates.storage * left / 3600, without
