"""Draw the agent's machine into ARCHITECTURE.md from its table (agentnb/agent/table.py), as Mermaid.

`python tests/machine_drawing.py` rewrites the drawing; tests/agent/test_table.py compares.
"""

from __future__ import annotations

from pathlib import Path

from agentnb.agent.table import BEGIN, TABLE
from agentnb.durable.events import COMPLETED

PAGE = Path(__file__).resolve().parents[1] / "ARCHITECTURE.md"
OPEN, CLOSE = "<!-- machine -->", "<!-- /machine -->"


def drawing() -> str:
    """Each event as an arrow from the state in which it happens to the one that it leads to."""
    arrows = [f"    [*] --> {BEGIN}"]
    for state, row in TABLE.items():
        arrows += [f"    {state} --> {target} : {event.value}" for event, target in row.next.items()]
    return "\n".join(["```mermaid", "stateDiagram-v2", *arrows, f"    {COMPLETED} --> [*]", "```"])


def told() -> str:
    return PAGE.read_text().partition(OPEN)[2].partition(CLOSE)[0].strip()


if __name__ == "__main__":
    text = PAGE.read_text()
    PAGE.write_text(f"{text.partition(OPEN)[0]}{OPEN}\n\n{drawing()}\n\n{CLOSE}{text.partition(CLOSE)[2]}")
