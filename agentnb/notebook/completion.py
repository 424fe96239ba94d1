"""Tab completion on our magics' lines: flags, models, tools, modes and subcommands."""

from __future__ import annotations

from typing import Any

from IPython.core.completer import SimpleCompletion, context_matcher

from agentnb.notebook.flags import AGENT_FLAGS
from agentnb.settings import CONTEXT_MODES, TOOLS

SUBCOMMANDS = {
    "agent_cache": ("status", "explain", "list", "warm", "extend", "clear", "prune", "latency"),
    "agent_runs": ("list", "show", "resume", "pause", "fork", "replay", "export"),
    "agent_context": ("show", "why", "pin", "unpin", "add"),
}


def complete_words(line: str) -> list[str] | None:
    """What fits at the end of `line`; None when the line is not one of our magics'. Pure but for the catalogue."""
    stripped = line.lstrip()
    magic, space, rest = stripped.lstrip("%").partition(" ")
    if not stripped.startswith("%") or not space or not magic.startswith("agent"):
        return None
    words = rest.split(" ")
    last = words[-1]
    before = words[-2] if len(words) > 1 else ""
    if magic in SUBCOMMANDS:
        return [name for name in SUBCOMMANDS[magic] if name.startswith(last)] if len(words) == 1 else []
    if before in ("-m", "--model"):
        return [name for name in _models() if name.startswith(last)]
    values = {"--allow": TOOLS, "--tools": TOOLS, "--context": CONTEXT_MODES, "-t": ("new",), "--thread": ("new",)}
    if before in values:
        return [name for name in values[before] if name.startswith(last)]
    return [f"--{flag.name}" for flag in AGENT_FLAGS if f"--{flag.name}".startswith(last)] if last[:1] == "-" else None


def _models() -> list[str]:
    from agentnb.providers.catalog import rows

    return [f"{row.provider}:{row.name}" for row in rows()] + [f"sim:{row.name}" for row in rows()]


@context_matcher()  # type: ignore[untyped-decorator]
def match(context: Any) -> dict[str, Any]:
    """IPython's matcher: our words alone where they apply, so that Jedi's do not mix in."""
    line = context.line_with_cursor[: context.cursor_position]
    found = complete_words(line)
    if not found:
        return {"completions": [], "suppress": False}
    token = line.rpartition(" ")[2]
    return {
        "completions": [SimpleCompletion(text=word, type="param") for word in found],
        "matched_fragment": token,
        "suppress": True,
    }
