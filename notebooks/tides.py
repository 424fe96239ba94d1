"""A small model of the tide at one harbour, for the notebooks: heights as a sum of harmonic constituents.

The constituents are those of an imaginary harbour; the method is the usual one (Schureman, 1940).
"""

import functools
import math
from dataclasses import dataclass

HOURS_PER_DAY = 24.0
MEAN_LEVEL = 2.10  # metres above chart datum


@dataclass(frozen=True)
class Constituent:
    """One harmonic part of the tide."""

    name: str
    amplitude: float  # metres
    speed: float  # degrees per hour
    phase: float  # degrees at time zero

    def height(self, hours: float) -> float:
        """Contribution to the water level at a time, in metres."""
        return self.amplitude * math.cos(math.radians(self.speed * hours - self.phase))


CONSTITUENTS = (
    Constituent("M2", 1.32, 28.984, 98.0),
    Constituent("S2", 0.41, 30.000, 131.0),
    Constituent("K1", 0.09, 15.041, 12.0),
    Constituent("O1", 0.07, 13.943, 341.0),
)


@functools.lru_cache(maxsize=4096)
def level(hours: float, mean: float = MEAN_LEVEL) -> float:
    """Water level above chart datum at a time, in metres."""
    return mean + sum(part.height(hours) for part in CONSTITUENTS)


def predict(days: float, *, step_hours: float = 0.5) -> list[float]:
    """Water levels from time zero on, one each `step_hours`, in metres."""
    count = int(days * HOURS_PER_DAY / step_hours) + 1
    return [level(i * step_hours) for i in range(count)]


def high_waters(levels: list[float], *, step_hours: float = 0.5) -> list[tuple[float, float]]:
    """The local maxima as (hours, metres) pairs, in order of time."""
    found = []
    for i in range(1, len(levels) - 1):
        if levels[i - 1] < levels[i] >= levels[i + 1]:
            found.append((i * step_hours, levels[i]))
    return found


def safe_window(levels: list[float], draught: float, *, depth: float = 1.5) -> float:
    """The share of time in which a boat of this draught (metres) floats over a sill at `depth` below datum."""
    enough = [height for height in levels if height + depth > draught]
    return len(enough) / len(levels)
