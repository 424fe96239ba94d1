"""Short waits between attempts, and a server that answers whatever it is told to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from loopback import Answer, Loopback

from agentnb.providers import calling, transport


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between attempts, where the provider names no time: a tenth of what a user waits."""
    for module, name in ((transport, "FIRST_WAIT"), (calling, "PAUSE")):
        monkeypatch.setattr(module, name, getattr(module, name) / 10)


@dataclass
class Answering(Loopback):
    """A server that gives every request the same answer, and counts."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    asked: int = 0

    def answer(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        self.asked += 1
        return self.status, self.headers, self.body


@pytest.fixture(scope="session")
def answering() -> type[Answering]:
    return Answering
