"""The plan of a run: a short list that the model keeps of what is done, in work and still open. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

MOST, LONGEST = 20, 200
"""Steps of a plan, and characters of one."""
_MARKS = {"done": "[x]", "doing": "[>]", "open": "[ ]"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanItem:
    """One step of a plan, in the model's own words."""

    text: str
    state: Literal["open", "doing", "done"] = "open"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> PlanItem:
        return cls(text=value["text"], state=value["state"])


def plan_text(plan: Sequence[PlanItem]) -> str:
    """The plan as the model reads it again, a line each."""
    return "\n".join(f"{_MARKS[item.state]} {item.text}" for item in plan)
