"""Complete our magics' lines: flags, models, tools, modes, subcommands, and the names that these take."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IPython.core.completer import SimpleCompletion, context_matcher

from agentnb.errors import AgentnbError
from agentnb.notebook.flags import AGENT_FLAGS, ANSWER_FLAGS, RESUME_FLAGS, Flag, by_word
from agentnb.settings import CONTEXT_MODES, EFFORTS, REPLAY, STYLES, journal_place

if TYPE_CHECKING:
    from agentnb.durable.journal.records import RunSummary
    from agentnb.notebook.kernel import Notebook

SUBCOMMANDS = {
    "agent_cache": ("status", "explain", "list", "warm", "extend", "clear", "prune", "latency"),
    "agent_runs": (
        *("list", "show", "watch", "resume", "approve", "deny", "answer", "undo"),
        *("pause", "fork", "replay", "export"),
    ),
    "agent_context": ("show", "why", "prompt", "stale", "pin", "unpin", "add", "hide", "unhide", "allow", "disallow"),
}
_ARGUMENTS = {
    **dict.fromkeys((*(name for name in SUBCOMMANDS["agent_runs"] if name not in ("list", "undo")), "explain"), "run"),
    "why": "definition",
    "pin": "definition",
    "hide": "definition",
    "unpin": "pin",
    "add": "file",
}
_FLAGS = {"resume": RESUME_FLAGS, **dict.fromkeys(("approve", "deny", "answer"), ANSWER_FLAGS)}
"""Flags of the subcommands that have some."""
LISTS = frozenset({"tools", "allow"})
"""Flags that take several words, comma-separated."""
RECENT = 20
SHOWN = 48
"""Characters of what a word is."""

Words = Mapping[str, str]
"""Words that may be typed, each with what it is, in a few words or none."""
Offers = Mapping[str, Callable[[], Words | Iterable[str]]]


def complete_words(line: str, offers: Offers) -> tuple[str, Words] | None:
    """Return (what is being typed, what fits it) at the end of `line`. None where that is free text or no line of ours.

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
    if words[0] in _FLAGS and (len(words) > 2 or words[-1].startswith("-")):
        return _flag_or_value(words[1:], offers, _FLAGS[words[0]])
    kind = _ARGUMENTS.get(words[0])
    return (words[-1], _fitting(words[-1], offers[kind]())) if kind and len(words) == 2 else None


def _flag_or_value(words: list[str], offers: Offers, known: tuple[Flag, ...]) -> tuple[str, Words] | None:
    last = words[-1]
    flag, equals, value = last.partition("=")
    if not equals:
        flag, value = (words[-2] if len(words) > 1 else ""), last
    written = by_word(known)
    given = written.get(flag)
    if given is not None and given.completes:
        *before, last = value.split(",") if given.name in LISTS else [value]
        return last, {
            word: what for word, what in _fitting(last, offers[given.completes]()).items() if word not in before
        }
    described = {word: f"flag: {flag.help}" for word, flag in written.items()}
    return (last, _fitting(last, described)) if last.startswith("-") else None


def _fitting(start: str, words: Words | Iterable[str]) -> Words:
    described = words if isinstance(words, Mapping) else dict.fromkeys(words, "")
    return {word: what for word, what in described.items() if word.startswith(start)}


# --- what the notebook offers ------------------------------------------------------------------------------------


def offers_of(notebook: Notebook) -> Offers:
    """Return the words that this notebook offers now. Nothing is opened, and nothing is written, for a completion."""
    return {
        "model": _models,
        "context": lambda: CONTEXT_MODES,
        "replay": lambda: REPLAY,
        "style": lambda: list(filter(None, STYLES)),
        "effort": lambda: list(filter(None, EFFORTS)),
        "tool": lambda: _tools(notebook),
        "machine": lambda: list(_values(notebook, "agentnb.durable.machine", "AgentStateMachine")),
        "definition": lambda: _definitions(notebook),
        "run": lambda: {run.run_id: f"run: {run.tags.get('task', '')}" for run in _runs(notebook)},
        "thread": lambda: ["new", *(run.tags["thread"] for run in _runs(notebook) if _is_named(run.tags))],
        "pin": lambda: _pins(notebook),
        "file": _files,
    }


def _tools(notebook: Notebook) -> list[str]:
    from agentnb.agent.tools.registry import NAMES

    return [
        *NAMES,
        *_servers(notebook),
        *(tool.name for tool in _values(notebook, "agentnb.agent.tools.tool", "Tool").values()),
    ]


def _servers(notebook: Notebook) -> tuple[str, ...]:
    """Return the MCP servers that `--tools` takes; none while a file of theirs cannot be read."""
    from agentnb.agent.hydration.project import own_root
    from agentnb.agent.tools.servers.mcp import McpServers

    with contextlib.suppress(AgentnbError, OSError):
        opened = notebook.opened
        return (opened.servers if opened else McpServers(own_root(Path.cwd()), os.environ)).known()
    return ()


def _models() -> Words:
    """Return the models with their prices. Loading those takes half of the 0.3 s that a completion may take."""
    from agentnb.models.catalog import LOCAL, rows

    real = {f"{row.provider}:{row.name}": _price(f"{row.provider}:{row.name}") for row in rows()}
    return real | {
        f"sim:{row.name}": "model: the simulator as it, free of charge" for row in rows() if row.provider != LOCAL
    }


def _price(model: str) -> str:
    from agentnb.models.prices import price

    read, written = price(model, input=100_000), price(model, output=100_000)
    return f"model: ${10 * (read or 0):g} in, ${10 * (written or 0):g} out a million tokens" if read else "model"


def _files() -> list[str]:
    """Return the files beside the notebook, without hidden ones."""
    return sorted(file.name for file in Path().iterdir() if file.is_file() and not file.name.startswith("."))


def _values(notebook: Notebook, module: str, name: str) -> dict[str, Any]:
    """Return the user's variables of one of our types. Where its module was never imported there can be none."""
    kind = getattr(sys.modules.get(module), name, None)
    if kind is None:
        return {}
    return {variable: value for variable, value in list(notebook.shell.user_ns.items()) if type(value) is kind}


def _definitions(notebook: Notebook) -> list[str]:
    """Return what the conversation holds and left out, then the user's own functions, classes and modules."""
    from agentnb.notebook.kernel import last_run

    run = last_run(notebook.shell.user_ns)
    held = [] if run is None else [*run.receipt["definitions"], *run.receipt.get("left_out", ())]
    own = [
        name
        for name, value in list(notebook.shell.user_ns.items())
        if not name.startswith("_")
        and name not in notebook.shell.user_ns_hidden
        and type(value).__name__ in ("function", "type", "module", "ABCMeta", "EnumType")
    ]
    return [*(str(item["name"]) for item in held), *sorted(own)]


def _runs(notebook: Notebook) -> list[RunSummary]:
    """Return the newest runs. A fresh kernel reads the journal on this machine; none is made, and no server asked."""
    if notebook.opened is not None:
        return notebook.opened.runs(RECENT)
    from agentnb.durable.journal.open import is_begun, open_journal

    place = journal_place(notebook.settings)
    with contextlib.suppress(AgentnbError):
        if "://" not in str(place) and is_begun(place):
            with contextlib.closing(open_journal(place)) as journal:
                return [run for run in journal.runs(limit=RECENT) if not run.inner]
    return []


def _is_named(tags: Mapping[str, str]) -> bool:
    return bool(tags.get("thread")) and not tags["thread"].startswith("session-")


def _pins(notebook: Notebook) -> list[str]:
    if notebook.opened is None:
        return []
    pins = notebook.opened.pins
    return [*pins.names, *(Path(file).name for file in pins.files)]


def matcher_for(notebook: Notebook) -> Callable[[Any], dict[str, Any]]:
    """Return IPython's matcher: our words alone where they apply, so that Jedi's do not mix in."""

    @context_matcher(identifier="agentnb.completion")  # type: ignore[untyped-decorator]
    def match(context: Any) -> dict[str, Any]:
        line = context.line_with_cursor[: context.cursor_position]
        found = complete_words(line, offers_of(notebook))
        fragment, words = found or ("", {})
        # IPython lets the others speak where we say nothing, and Jedi takes longest where nothing is typed yet.
        words = words or ({fragment: ""} if found else {})
        return {
            "completions": [SimpleCompletion(text=word, type=_short(what)) for word, what in words.items()],
            "matched_fragment": fragment,
            "suppress": bool(words),
            "ordered": True,  # runs: the newest first; flags: as they are declared
        }

    return match  # type: ignore[no-any-return]


def _short(what: str) -> str:
    """Return the words beside a completion: one line. JupyterLab would break it at spaces and hyphens."""
    line = "\u00a0".join(what.replace("-", "\u2011").split()) or "param"
    return line if len(line) <= SHOWN else f"{line[: SHOWN - 1]}…"
