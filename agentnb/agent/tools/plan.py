"""Hold the plan of a run: the model's short list of what is done, in work and open. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

MOST, LONGEST = 20, 200
"""Steps of a plan, and characters of one."""
_MARKS = {"done": "[x]", "doing": "[>]", "open": "[ ]"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanItem:
    """Holds one step of a plan, in the model's own words."""

    text: str
    state: Literal["open", "doing", "done"] = "open"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> PlanItem:
        return cls(text=value["text"], state=value["state"])


def plan_text(plan: Sequence[PlanItem]) -> str:
    """Write the plan as the model reads it again, a line each."""
    return "\n".join(f"{_MARKS[item.state]} {item.text}" for item in plan)
