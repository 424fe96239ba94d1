"""Simulators that never wait, and real SDK clients that talk to them over loopback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from patience import PATIENCE

from agentnb.simulator import SimClock, Simulator

MODEL = "claude-sonnet-4-6"


@pytest.fixture
def make_sim() -> Iterator[Callable[..., Simulator]]:
    """Starts simulators on a virtual clock; stops them all at the end."""
    started: list[Simulator] = []

    def make(**options: Any) -> Simulator:
        sim = Simulator(**{"speed": 0, "clock": SimClock(), "record": True, **options}).start()
        started.append(sim)
        return sim

    yield make
    for sim in started:
        sim.stop()


@pytest.fixture
def sim(make_sim: Callable[..., Simulator]) -> Simulator:
    return make_sim()


@pytest.fixture(scope="session")
def http() -> Iterator[Any]:
    """One HTTP client for all: reading the certificates anew for each would take most of the tests' time."""
    import httpx2

    with httpx2.Client(verify=False, timeout=PATIENCE) as client:
        yield client


@pytest.fixture
def make_client(http: Any) -> Callable[..., Any]:
    """Anthropic's own client on a simulator, without retries."""
    import anthropic

    def make(sim: Simulator, **options: Any) -> anthropic.Anthropic:
        usual = {"api_key": "any", "base_url": sim.url, "max_retries": 0, "http_client": http}
        return anthropic.Anthropic(**{**usual, **options})

    return make


@pytest.fixture
def client(sim: Simulator, make_client: Callable[..., Any]) -> Any:
    return make_client(sim)


@pytest.fixture
def send(client: Any) -> Callable[..., Any]:
    """One plain request with the usual model and limit; keyword arguments as in messages.create."""

    def send(messages: Any, **options: Any) -> Any:
        if isinstance(messages, str):
            messages = [{"role": "user", "content": messages}]
        return client.messages.create(**{"model": MODEL, "max_tokens": 400, "messages": messages, **options})

    return send


@pytest.fixture
def get() -> Callable[[str], Any]:
    """The JSON at an address."""
    import json
    import urllib.request

    def get(address: str) -> Any:
        with urllib.request.urlopen(address) as reply:
            return json.load(reply)

    return get
