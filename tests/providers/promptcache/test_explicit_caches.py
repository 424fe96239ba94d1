"""Gemini's cache objects from making to deleting, over the real SDK against the simulator's clock."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
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
    compare,
    life_of,
    maker,
    ours,
    pays,
    place_marks,
    predict,
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
        return self.objects.ensure(
            self.provider, call, thread=thread, worth=pays(call.model, pauses), replaced=replaced
        )

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
    shared = other.ensure(desk.provider, desk.call(), thread="t", worth=True)
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
    held = desk.session(OTHER).ensure(desk.provider, desk.call(), thread="t", worth=True)
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
    held = desk.session(OTHER).ensure(desk.provider, desk.call(), thread="t", worth=True)
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
    assert pays(MODEL, SLOW)
    assert not pays(MODEL, (5.0,) * 50)
    assert not pays(MODEL, (4 * 3600.0,) * 3)


def test_it_takes_two_pauses_that_outlasted_what_is_cached_unasked() -> None:
    assert not pays(MODEL, ())
    assert not pays(MODEL, (600.0,))
    assert pays(MODEL, (600.0, *(12.0,) * 8, 900.0)), "the calls of a turn tell nothing of the next question"
    assert not pays(MODEL, (600.0,) * 3, unasked=1800.0)


def test_a_pause_too_long_to_store_through_counts_until_five_others_came() -> None:
    assert not pays(MODEL, (LIFE + 1, *(600.0,) * 4))
    assert pays(MODEL, (LIFE + 1, *(600.0,) * 5)), "one night does not speak against the day"


def test_none_is_made_of_what_hits_anyway(desk: Desk) -> None:
    assert desk.objects.ensure(desk.provider, desk.call(), thread="t", worth=True, warm=True) is None
    assert desk.listed == []


MODELS = [lookup(f"google:{name}") for name in ("gemini-3.1-pro-preview", "gemini-3.8-flash", "gemini-2.5-pro")]
PAUSES = st.lists(st.floats(min_value=1.0, max_value=6000.0), min_size=1, max_size=25)


@given(model=st.sampled_from(MODELS), pauses=PAUSES, unasked=st.sampled_from([0.0, 300.0, 600.0]))
def test_an_object_is_due_only_where_storing_through_each_such_pause_cost_less_than_sending_anew(
    model: Model, pauses: list[float], unasked: float
) -> None:
    rates = rates_of(model, "1h")
    if pays(model, pauses, unasked=unasked):
        outlasted = [pause for pause in pauses if pause > unasked]
        assert len(outlasted) >= 2
        assert all(rates.storage * pause / 3600 + rates.read <= rates.write for pause in outlasted[-5:])


@pytest.mark.parametrize("calls", [1, 4, 9])
def test_a_user_with_regular_pauses_saves_by_it(calls: int) -> None:
    """Turns of so many quick calls, ten to fifteen minutes between them: what the frame's tokens cost, by the clock."""
    for model in MODELS:
        rng, life, rates = random.Random(calls), life_of(model), rates_of(model, "1h")
        seen: list[float] = []
        left, with_it, without, there = 0.0, 0.0, 0.0, False
        for pause in [gap for _ in range(20) for gap in (*(12.0,) * (calls - 1), rng.uniform(600.0, 900.0))]:
            worth = pays(model, seen)
            with_it += rates.write if worth and left <= 0 and not there else 0.0
            stands = left > 0 or (worth and not there)
            with_it += rates.read if stands or there else rates.write
            without += rates.read if there else rates.write
            left = life if stands and worth else left
            with_it += rates.storage * min(pause, left) / 3600
            left, there = max(left - pause, 0.0), pause <= 300.0
            seen.append(pause)
        assert with_it + rates.storage * left / 3600 < without
