"""Tab completion on our magics' lines: flags, models, tools, modes, subcommands, and the names that these take."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IPython.core.completer import SimpleCompletion, context_matcher

from agentnb.notebook.flags import AGENT_FLAGS, Flag
from agentnb.settings import CONTEXT_MODES, REPLAY

if TYPE_CHECKING:
    from agentnb.notebook.kernel import Notebook

SUBCOMMANDS = {
    "agent_cache": ("status", "explain", "list", "warm", "extend", "clear", "prune", "latency"),
    "agent_runs": ("list", "show", "watch", "resume", "approve", "deny", "answer", "pause", "fork", "replay", "export"),
    "agent_context": ("show", "why", "prompt", "stale", "pin", "unpin", "add", "hide", "unhide", "allow", "disallow"),
}
_ARGUMENTS = {
    **dict.fromkeys((*SUBCOMMANDS["agent_runs"][1:], "explain"), "run"),
    "why": "definition",
    "pin": "definition",
    "hide": "definition",
    "unpin": "pin",
    "add": "file",
}
_VALUES = {flag.name: flag.completes for flag in AGENT_FLAGS if flag.completes}
"""Which kind of word a flag wants as its value."""
LISTS = frozenset({"tools", "allow"})
"""Flags that take several words, comma-separated."""
RECENT = 20

Offers = Mapping[str, Callable[[], Iterable[str]]]
_SHORT = {f"-{flag.short}": flag.name for flag in AGENT_FLAGS if flag.short}


def complete_words(line: str, offers: Offers) -> tuple[str, list[str]] | None:
    """(what is being typed, what fits it) at the end of `line`; None where that is free text or no line of ours.

    `offers` gives the words of a kind ("tool", "run", …); each is asked only when its turn comes.
    """
    stripped = line.lstrip()
    magic, space, rest = stripped.lstrip("%").partition(" ")
    if not stripped.startswith("%") or not space or not (magic == "agent" or magic in SUBCOMMANDS):
        return None
    words = rest.split(" ")
    if magic == "agent":
        return _flag_or_value(words, offers, AGENT_FLAGS)
    if len(words) == 1:
        return words[0], _fitting(words[0], SUBCOMMANDS[magic])
    kind = _ARGUMENTS.get(words[0])
    return (words[-1], _fitting(words[-1], offers[kind]())) if kind and len(words) == 2 else None


def _flag_or_value(words: list[str], offers: Offers, known: tuple[Flag, ...]) -> tuple[str, list[str]] | None:
    last = words[-1]
    flag, equals, value = last.partition("=")
    if not equals:
        flag, value = (words[-2] if len(words) > 1 else ""), last
    name = _SHORT.get(flag, flag.removeprefix("--"))
    if flag.startswith("-") and name in _VALUES:
        return _value(name, value, list(offers[_VALUES[name]]()))
    return (last, _fitting(last, [f"--{flag.name}" for flag in known])) if last.startswith("-") else None


def _value(name: str, text: str, words: list[str]) -> tuple[str, list[str]]:
    *before, last = text.split(",") if name in LISTS else [text]
    return last, [word for word in _fitting(last, words) if word not in before]


def _fitting(start: str, words: Iterable[str]) -> list[str]:
    return [word for word in dict.fromkeys(words) if word.startswith(start)]


# --- what the notebook offers ------------------------------------------------------------------------------------


def offers_of(notebook: Notebook) -> Offers:
    """The words that this notebook offers now. Nothing is opened, and nothing is written, for a completion."""
    return {
        "model": _models,
        "context": lambda: CONTEXT_MODES,
        "replay": lambda: REPLAY,
        "tool": lambda: _tools(notebook),
        "machine": lambda: _values(notebook, "agentnb.durable.machine", "AgentStateMachine"),
        "definition": lambda: _definitions(notebook),
        "run": lambda: [run.run_id for run in _runs(notebook)],
        "thread": lambda: ["new", *(run.tags["thread"] for run in _runs(notebook) if _is_named(run.tags))],
        "pin": lambda: _pins(notebook),
        "file": _files,
    }


def _tools(notebook: Notebook) -> list[str]:
    from agentnb.agent.tools.registry import NAMES

    return [*NAMES, *(tool.name for tool in _values(notebook, "agentnb.agent.tools.tool", "Tool").values())]


def _models() -> list[str]:
    from agentnb.models.catalog import rows

    return [f"{row.provider}:{row.name}" for row in rows()] + [f"sim:{row.name}" for row in rows()]


def _files() -> list[str]:
    """The files beside the notebook, without hidden ones."""
    return sorted(file.name for file in Path().iterdir() if file.is_file() and not file.name.startswith("."))


def _values(notebook: Notebook, module: str, name: str) -> dict[str, Any]:
    """The user's variables of one of our types. Where its module was never imported there can be none."""
    kind = getattr(sys.modules.get(module), name, None)
    if kind is None:
        return {}
    return {variable: value for variable, value in list(notebook.shell.user_ns.items()) if type(value) is kind}


def _definitions(notebook: Notebook) -> list[str]:
    """What the conversation holds and left out, then the user's own functions, classes and modules."""
    from agentnb.notebook.kernel import last_run

    run = last_run(notebook.shell.user_ns)
    held = [] if run is None else [*run.receipt["definitions"], *run.receipt.get("left_out", ())]
    own = [
        name
        for name, value in list(notebook.shell.user_ns.items())
        if not name.startswith("_") and name not in notebook.shell.user_ns_hidden and _is_code(value)
    ]
    return [*(str(item["name"]) for item in held), *sorted(own)]


def _is_code(value: object) -> bool:
    return type(value).__name__ in ("function", "type", "module", "ABCMeta", "EnumType")


def _runs(notebook: Notebook) -> list[Any]:
    """The newest runs, where this kernel has opened its journal."""
    return [] if notebook.opened is None else list(notebook.opened.machine().journal.runs(limit=RECENT))


def _is_named(tags: Mapping[str, str]) -> bool:
    return bool(tags.get("thread")) and not tags["thread"].startswith("session-")


def _pins(notebook: Notebook) -> list[str]:
    if notebook.opened is None:
        return []
    pins = notebook.opened.pins
    return [*pins.names, *(Path(file).name for file in pins.files)]


def matcher_for(notebook: Notebook) -> Callable[[Any], dict[str, Any]]:
    """IPython's matcher: our words alone where they apply, so that Jedi's do not mix in."""

    @context_matcher(identifier="agentnb.completion")  # type: ignore[untyped-decorator]
    def match(context: Any) -> dict[str, Any]:
        line = context.line_with_cursor[: context.cursor_position]
        found = complete_words(line, offers_of(notebook))
        fragment, words = found or ("", [])
        # IPython lets the others speak where we say nothing: what is typed already keeps Python's keywords away.
        words = words or [fragment] * bool(fragment)
        return {
            "completions": [SimpleCompletion(text=word, type="param") for word in words],
            "matched_fragment": fragment,
            "suppress": bool(words),
        }

    return match  # type: ignore[no-any-return]
