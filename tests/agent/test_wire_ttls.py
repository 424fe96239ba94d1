"""The TTL of each breakpoint, as the server received it: by seen pauses, longer ones first, 12 hours where asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agentnb.session import Session
from agentnb.settings import Settings
from agentnb.simulator import SimClock, Simulator

SECONDS = {"5m": 300, "1h": 3600}


class Day:
    """Questions over simulated hours, each with the body that the server received."""

    def __init__(self, session: Session, simulator: Simulator, clock: SimClock) -> None:
        self.session, self.simulator, self.clock = session, simulator, clock
        self.run: Any = None

    def ask(self, thread: str, *, pause: float) -> Any:
        number = len(self.simulator.requests) + 1
        request = self.session.request("Explain tides.", cell=f"c{number}", execution=str(number), thread=thread)
        agent, run_id = self.session.agent(), self.session.new_run_id()
        agent.begin(request, run_id)
        self.run = agent.drive(run_id)
        assert self.run.state == "COMPLETED"
        self.clock.advance(pause)
        return self.simulator.requests[-1].body


@pytest.fixture
def day(tmp_path: Path) -> Iterator[Callable[..., Day]]:
    clock = SimClock()
    with Simulator(speed=0, record=True, clock=clock) as simulator:
        sessions: list[Session] = []

        def made(**given: Any) -> Day:
            settings = Settings(home=tmp_path / "home", sim_speed=0, **given)
            sessions.append(Session(settings=settings, simulated=simulator, environment={}, clock=clock))
            return Day(sessions[-1], simulator, clock)

        yield made
        for session in sessions:
            session.close()


def ttls(body: Any) -> list[str]:
    """The TTLs in render order, on Anthropic's wire."""
    blocks = [*body.get("tools", []), *body["system"], *(b for m in body["messages"] for b in m["content"])]
    return [block["cache_control"]["ttl"] for block in blocks if "cache_control" in block]


def test_each_layer_gets_the_ttl_of_its_own_pauses_longer_ones_first(day: Callable[..., Day]) -> None:
    book = day(model="sim:claude-sonnet-4-6")
    rare = [ttls(book.ask(f"t{n}", pause=1500)) for n in range(6)]
    loop = [ttls(book.ask("loop", pause=20)) for _ in range(40)]
    assert set(rare[-1]) == {"1h"}, "what all share is asked again within the hour"
    assert loop[-1][0] == "1h"
    assert loop[-1][-2:] == ["5m", "5m"], "the conversation alone is asked again at once"
    for sent in (*rare, *loop):
        assert len(sent) <= 4
        assert [SECONDS[ttl] for ttl in sent] == sorted((SECONDS[ttl] for ttl in sent), reverse=True)


@pytest.mark.parametrize(("retention", "ttl"), [("", "30m"), ("long", "12h")])
def test_gpt_keeps_its_breakpoints_half_a_day_where_that_is_asked_for(
    day: Callable[..., Day], retention: str, ttl: str
) -> None:
    book = day(model="sim:gpt-6.2-sol", cache_retention=retention)
    first, again = book.ask("t", pause=7200), book.ask("t", pause=0)
    assert first["prompt_cache_options"]["ttl"] == again["prompt_cache_options"]["ttl"] == ttl
    points = [part["prompt_cache_breakpoint"] for part in _parts(again) if "prompt_cache_breakpoint" in part]
    assert 2 <= len(points) <= 4
    assert all(point.get("ttl", ttl) == ttl for point in points)
    assert bool(book.run.usage["cache_read"]) == (ttl == "12h")


def _parts(body: Any) -> Iterator[Any]:
    for item in body["input"]:
        yield from (part for part in item.get("content") or () if isinstance(part, dict))
