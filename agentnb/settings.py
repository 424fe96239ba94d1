"""Declare every option once, and say who may set it: defaults < environment < %config < magic flags.

An option's name is its %config trait (`AgentNB.<name>`) and its environment variable (`AGENTNB_<NAME>`). A declaration
has the option's flag, the values it takes and what it is for. options.py reads the rest from there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

from agentnb import options
from agentnb.errors import SettingsError, nearest
from agentnb.options import option

TOOLS = ("inspect", "read_cell", "run_code", "propose_cell", "plan")
"""The tools that a model has by default: what most tasks need, for each costs tokens in every request."""
MARKS = ("placed", "automatic")
CACHE_RETENTION = ("", "long")
REPLAY = ("live", "auto", "record", "replay")
RERUN = ("ask", "keep")
STYLES = ("", "tutor")
EFFORTS = ("", "low", "medium", "high", "xhigh", "max")
APPROVAL = ("", "ask", "deny")
CONTEXT_MODES = ("auto", "cells", "marks", "none")
VALUES = ("full", "schema")
VIEWS = ("compact", "full")
LONGEST_RETRY_WAIT = 86_400.0  # seconds: a day
SIMULATED_DEFAULT = "sim:claude-sonnet-4-6"

KEY_VARIABLES = {
    "anthropic": ("ANTHROPIC_API_KEY",),
    "google": ("GOOGLE_API_KEY", "GEMINI_API_KEY"),
    "openai": ("OPENAI_API_KEY",),
}


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Holds the options of one run. A request carries them, and the run's state keeps them."""

    model: str = option(
        "",
        "provider:model, or sim:model for the simulator; empty: by the keys that are set",
        flag="model",
        short="m",
        metavar="MODEL",
        completes="model",
    )
    tools: tuple[str, ...] = option(
        TOOLS,
        "tools the model may ask for, comma-separated; none for none",
        flag="tools",
        metavar="NAMES",
        completes="tool",
    )
    allow: tuple[str, ...] = option(
        (),
        "tools that may act without being asked about, e.g. run_code",
        flag="allow",
        metavar="NAMES",
        completes="tool",
    )
    budget: float | None = option(
        None,
        "US dollars; a call that could go beyond is refused",
        flag="budget",
        metavar="USD",
        least=0,
        example="0.05",
    )
    max_steps: int = option(
        30, "stop after so many steps; the run can be resumed", flag="max-steps", metavar="N", least=1, example="60"
    )
    max_tokens: int = option(4096, "tokens that a reply may have", least=1, example="8000")
    effort: str = option(
        "",
        "how much the model thinks, where it takes that: low to max; empty: its default",
        flag="effort",
        metavar="LEVEL",
        completes="effort",
        choices=EFFORTS,
    )
    remind_every: int = option(
        20, "calls after which the model is told the task and its plan again; 0 for never", least=0, example="10"
    )
    context: str = option(
        "auto",
        "auto, cells (no definitions), marks (only `names` and @names) or none",
        flag="context",
        metavar="MODE",
        completes="context",
        choices=CONTEXT_MODES,
    )
    context_tokens: int = option(
        16_000, "tokens of cells and definitions that a turn may add", least=0, example="16000"
    )
    compact_at: int = option(
        60_000, "tokens that a request may have before old steps are condensed", least=1, example="40000"
    )
    compact_model: str = option(
        "", "the model that sums old steps up; empty: the run's own", metavar="MODEL", completes="model"
    )
    stale_limit: float = option(
        0.10, "share of a prompt that out-of-date text of the project section may have", least=0, most=1, example="0.1"
    )
    thread_stale_limit: float = option(
        0.25, "share of a prompt that may be out of date", least=0, most=1, example="0.25"
    )
    replay: str = option(
        "live",
        "live, record (into a file beside the notebook), replay (from it) or auto",
        flag="replay",
        metavar="MODE",
        completes="replay",
        choices=REPLAY,
    )
    replay_speed: float = option(
        0.0, "pace of recorded replies: 0 gives them at once, 1 as recorded", least=0, example="1"
    )
    marks: str = option(
        "placed",
        "who places Anthropic's breakpoints: placed (agentnb), automatic (one, by the provider)",
        choices=MARKS,
    )
    cache_retention: str = option(
        "", "long: OpenAI keeps prompt prefixes for 24 h (12 h on models with breakpoints)", choices=CACHE_RETENTION
    )
    stream: bool = option(True, "off: ask for each reply in one piece, where a server or proxy cannot stream")
    retry_wait: float = option(
        60.0,
        "seconds waited at most where a provider asks for a wait (429, overload)",
        least=0,
        most=LONGEST_RETRY_WAIT,
        example="300",
    )
    style: str = option(
        "",
        "tutor: hints and questions instead of solutions; it proposes no cell (with the course's TUTOR.md)",
        flag="style",
        metavar="STYLE",
        completes="style",
        choices=STYLES,
    )
    rehearse: bool = option(False, "try code in a copy of the kernel before it is approved, and show what it would do")
    approval: str = option(
        "",
        "calls that act and are not allowed: ask, deny, or empty: ask where somebody can answer",
        choices=APPROVAL,
    )


@dataclass(frozen=True, kw_only=True)
class Settings(RunOptions):
    """Holds one kernel's or one script's settings."""

    home: Path | None = option(None, "the data directory; empty: the user's own", config=False)
    sim_speed: float = option(
        1.0, "the simulator's pace: 1 is real time, 0 does not wait", least=0, example="10", config=False
    )
    values: str = option(
        "full",
        "full, or schema: names, types, shapes and columns only; no value, output, picture or result is sent",
        choices=VALUES,
        example="schema",
    )
    cache_budget: float = option(
        0.0, "US dollars a session may spend on keeping prompts warm and on cache objects", least=0, example="0.05"
    )
    bus: str = option("", "redis://… of a server that tells other kernels what happens to runs", secret=True)
    journal: str = option(
        "",
        "where runs are kept: a directory or postgresql://user@host/database; empty: the data directory",
        secret=True,
    )
    rerun: str = option(
        "keep",
        "when a cell asks again: keep (its answer, while question and all that it used are the same), or ask",
        choices=RERUN,
    )
    otel: bool = option(False, "tell runs, calls and tools as OpenTelemetry spans (extra otel), without their content")
    live: bool = option(True, "off: show a run only when it has ended")
    view: str = option(
        "compact", "compact: the answer, and one line that opens to the rest; full: all of it at once", choices=VIEWS
    )
    trace: bool | None = option(None, "record what every cell runs; on where Python is 3.12 or later")

    def with_changes(self, **changes: Any) -> Self:
        """Return a copy with every change that is not None. Raises SettingsError on an unknown name or a bad value."""
        known = [each.name for each in fields(self)]
        for name in set(changes) - set(known):
            raise SettingsError(
                f"there is no setting called {name!r}",
                todo=f"{nearest(name, known)} Known: {', '.join(known)}.".strip(),
            )
        changed = replace(self, **{name: value for name, value in changes.items() if value is not None})
        for each in options.options_of(type(self)):
            options.check(each, getattr(changed, each.name))
        return changed


def from_environment(environment: Mapping[str, str]) -> Settings:
    """Return the defaults with the AGENTNB_… variables applied. Raises SettingsError on a bad value."""
    return Settings().with_changes(**options.from_environment(Settings, environment))


_SECRET_NAMES = re.compile("password|secret|token", re.IGNORECASE)


def without_password(address: str) -> str:
    """Return the address of a server as it may be shown. Where it is not clear what the password is, too much is left
    out."""
    scheme, separator, rest = address.partition("://")
    credentials, at, place = rest.rpartition("@")
    user = credentials.partition(":")[0] if at else ""
    path, mark, parameters = place.partition("?")
    kept = "&".join(each for each in parameters.split("&") if not _SECRET_NAMES.search(each.partition("=")[0]))
    return f"{scheme}{separator}{user}{at}{path}{mark if kept else ''}{kept}"


class QuietAddress(str):
    """Holds an address that may hold a password; whoever looks at it sees none."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(without_password(self))


def data_directory(settings: Settings) -> Path:
    """Return the directory of the journal: AGENTNB_HOME, or the user's data directory."""
    if settings.home is not None:
        return settings.home
    import platformdirs

    return Path(platformdirs.user_data_dir("agentnb", appauthor=False))


def journal_place(settings: Settings) -> str | Path:
    """Return where runs are kept, as `open_journal` takes it: AGENTNB_JOURNAL, or the data directory."""
    return settings.journal or data_directory(settings)


def default_model(environment: Mapping[str, str], served: tuple[str, ...], defaults: Mapping[str, str]) -> str:
    """Return the model when none is named: of the first served provider whose key is set, or the simulator."""
    for provider in served:
        if any(environment.get(variable) for variable in KEY_VARIABLES[provider]):
            return f"{provider}:{defaults[provider]}"
    return SIMULATED_DEFAULT
