"""One way to ask the simulated model, and a conversation to ask it about."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agentnb.models.catalog import find
from agentnb.simulator.model.dialogue import Ask, Offer, Said, Spoken
from agentnb.simulator.model.reply_text import answer

TIDES = '''<definition name="tides.harmonic" file="tides.py" lines="10-31" digest="ab" form="full">
def harmonic(t, amplitude, phase=0.0, *, period: float = 12.42) -> float:
    """Height of one tidal constituent at time t."""
    return amplitude * np.cos(omega(period) * t + phase)
</definition>
<definition name="tides.omega" file="tides.py" lines="3-8" digest="cd" form="full">
def omega(period):
    """Angular speed of a constituent."""
    return 2 * PI / period
</definition>'''
CELLS = """<cell number="1" id="a" digest="12ab">
sales = [120, 130, 900]
</cell>
<cell number="2" digest="99" new_attribute="yes">
def growth(values):
    return values[-1] / values[0]

print(growth(sales))
<output kind="stream">
7.5
</output>
</cell>
<variables>
sales: list of 3: [120, 130, 900]
table: DataFrame, 12 rows x 3 columns
</variables>"""


def strings(name: str, *parameters: str) -> Offer:
    """A tool whose parameters are all strings, and required."""
    properties = {parameter: {"type": "string"} for parameter in parameters}
    return Offer(name=name, schema={"type": "object", "properties": properties, "required": [*parameters]})


@pytest.fixture
def tides() -> str:
    return TIDES


@pytest.fixture
def cells() -> str:
    return CELLS


@pytest.fixture
def ask() -> Callable[..., Spoken]:
    """The answer to a conversation; bare strings are the user's. `inspect` and `run_code` are offered by default."""

    def ask(*said: Said | str, **options: object) -> Spoken:
        row = find("claude-sonnet-4-6")
        assert row is not None
        spoken = tuple(Said(kind="text", role="user", text=one) if isinstance(one, str) else one for one in said)
        offers = (strings("inspect", "name"), strings("run_code", "code"))
        return answer(Ask(**{"model": row, "said": spoken, "offers": offers, **options}))  # type: ignore[arg-type]

    return ask
