"""What can be set, and by whom: defaults < environment < %config < magic flags."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from agentnb.errors import SettingsError, nearest

TOOLS = ("inspect", "run_code")
MARKS = ("placed", "automatic")
CACHE_RETENTION = ("", "long")
REPLAY = ("live", "auto", "record", "replay")
APPROVAL = ("", "ask", "deny")
CONTEXT_MODES = ("auto", "marks", "none")
LONGEST_RETRY_WAIT = 86_400.0  # seconds: a day
SIMULATED_DEFAULT = "sim:claude-sonnet-4-6"

KEY_VARIABLES = {
    "anthropic": ("ANTHROPIC_API_KEY",),
    "google": ("GOOGLE_API_KEY", "GEMINI_API_KEY"),
    "openai": ("OPENAI_API_KEY",),
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One run's settings. `budget` is in US dollars (None: no limit); `context_tokens` bounds a turn's definitions.

    `marks` says who places Anthropic's breakpoints: we (placed), or the provider (automatic: one, at the tail).
    `cache_retention` "long" asks OpenAI to keep prefixes for 24 h (12 h on models with breakpoints), not 5 or 30 min.
    `cache_budget` bounds, in US dollars a session, what may be spent on keeping prompts warm and on paid cache objects.
    `stream` False asks for each reply in one piece, for servers and proxies that cannot stream. `replay_speed` is the
    pace of recorded replies: 0 gives them at once, 1 as fast as they came. `retry_wait` is the most seconds that are
    waited where a provider asks for a wait (429, overload); one that asks for more is an error that names the wait.
    `approval` says what becomes of a tool's call that acts and is not allowed: ask (the run waits for a person's word),
    deny (the model is told), or empty: ask where a person sits before a front end or a terminal.
    A thread's prompt is written anew when more than `stale_limit` of it is out-of-date text of the frozen project
    section, or more than `thread_stale_limit` of it out-of-date text of any kind. `bus` is the address of a Redis or
    Valkey server that tells other processes what happens to runs. `journal` names where runs are kept, where that is
    not the data directory: another one, or postgresql://…. Both addresses may hold a password.
    """

    model: str = ""
    home: Path | None = None
    sim_speed: float = 1.0
    tools: tuple[str, ...] = TOOLS
    allow: tuple[str, ...] = ()
    budget: float | None = None
    max_steps: int = 30
    max_tokens: int = 4096
    context: str = "auto"
    context_tokens: int = 4000
    stale_limit: float = 0.10
    thread_stale_limit: float = 0.25
    cache_budget: float = 0.0
    replay: str = "live"
    marks: str = "placed"
    cache_retention: str = ""
    stream: bool = True
    replay_speed: float = 0.0
    retry_wait: float = 60.0
    approval: str = ""
    bus: str = field(default="", repr=False)
    journal: str = field(default="", repr=False)

    def with_changes(self, **changes: Any) -> Settings:
        """A copy with every change that is not None. Raises SettingsError on an unknown name or a bad value."""
        known = [each.name for each in fields(self)]
        for name in set(changes) - set(known):
            raise SettingsError(
                f"there is no setting called {name!r}",
                todo=f"{nearest(name, known)} Known: {', '.join(known)}.".strip(),
            )
        changed = replace(self, **{name: value for name, value in changes.items() if value is not None})
        _check(changed)
        return changed


def from_environment(environment: Mapping[str, str]) -> Settings:
    """The defaults with the AGENTNB_… variables applied."""
    home = environment.get("AGENTNB_HOME")
    return Settings().with_changes(
        model=environment.get("AGENTNB_MODEL") or None,
        home=Path(home).expanduser() if home else None,
        sim_speed=_number(environment, "AGENTNB_SIM_SPEED"),
        cache_budget=_number(environment, "AGENTNB_CACHE_BUDGET"),
        replay=environment.get("AGENTNB_REPLAY") or None,
        stream=_switch(environment, "AGENTNB_STREAM"),
        replay_speed=_number(environment, "AGENTNB_REPLAY_SPEED"),
        retry_wait=_number(environment, "AGENTNB_RETRY_WAIT"),
        approval=environment.get("AGENTNB_APPROVAL") or None,
        bus=environment.get("AGENTNB_BUS") or None,
        journal=environment.get("AGENTNB_JOURNAL") or None,
    )


_SECRET_NAMES = re.compile("password|secret|token", re.IGNORECASE)


def without_password(address: str) -> str:
    """The address of a server as it may be shown. Where it is not clear what the password is, too much is left out."""
    scheme, separator, rest = address.partition("://")
    credentials, at, place = rest.rpartition("@")
    user = credentials.partition(":")[0] if at else ""
    path, mark, parameters = place.partition("?")
    kept = "&".join(each for each in parameters.split("&") if not _SECRET_NAMES.search(each.partition("=")[0]))
    return f"{scheme}{separator}{user}{at}{path}{mark if kept else ''}{kept}"


class QuietAddress(str):
    """An address that may hold a password; whoever looks at it sees none."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(without_password(self))


def traces_cells(environment: Mapping[str, str]) -> bool:
    """Does AGENTNB_TRACE ask to record what every cell runs?"""
    return environment.get("AGENTNB_TRACE", "").strip().lower() in {"1", "true", "yes", "on"}


def data_directory(settings: Settings) -> Path:
    """The directory of the journal: AGENTNB_HOME, or the user's data directory."""
    if settings.home is not None:
        return settings.home
    import platformdirs

    return Path(platformdirs.user_data_dir("agentnb", appauthor=False))


def journal_place(settings: Settings) -> str | Path:
    """Where runs are kept, as `open_journal` takes it: AGENTNB_JOURNAL, or the data directory."""
    return settings.journal or data_directory(settings)


def default_model(environment: Mapping[str, str], served: tuple[str, ...], defaults: Mapping[str, str]) -> str:
    """The model when none is named: of the first served provider whose key is set, or the simulator."""
    for provider in served:
        if any(environment.get(variable) for variable in KEY_VARIABLES[provider]):
            return f"{provider}:{defaults[provider]}"
    return SIMULATED_DEFAULT


def _number(environment: Mapping[str, str], name: str) -> float | None:
    text = environment.get(name)
    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        raise SettingsError(f"{name} is not a number: {text!r}", todo="Set it to a number, e.g. 1 or 0.5.") from None


def _switch(environment: Mapping[str, str], name: str) -> bool | None:
    text = environment.get(name, "").strip().lower()
    if text in ("", "1", "true", "yes", "on"):
        return True if text else None
    if text in ("0", "false", "no", "off"):
        return False
    raise SettingsError(f"{name} is neither on nor off: {text!r}", todo="Set it to 1 or 0.")


_BOUNDS = (
    ("sim_speed", 0, math.inf, "AGENTNB_SIM_SPEED", "Use 1 (real time), 10 or 0 (do not wait)."),
    ("max_steps", 1, math.inf, "--max-steps", "Use 1 or more; AgentNB.max_steps = 0 is the default."),
    ("budget", 0, math.inf, "--budget", "Give US dollars, e.g. 0.05; AgentNB.budget = 0 is no limit."),
    ("cache_budget", 0, math.inf, "cache_budget", "Give US dollars, e.g. 0.05, or 0 for none."),
    ("replay_speed", 0, math.inf, "AGENTNB_REPLAY_SPEED", "Use 0 (at once), 1 (as recorded) or more."),
    ("retry_wait", 0, LONGEST_RETRY_WAIT, "retry_wait", f"Use 0 to {LONGEST_RETRY_WAIT:,.0f} seconds."),
    ("stale_limit", 0, 1, "stale_limit", "Use 0 to 1, e.g. 0.1."),
    ("thread_stale_limit", 0, 1, "thread_stale_limit", "Use 0 to 1, e.g. 0.25."),
    ("context_tokens", 0, math.inf, "context_tokens", "Use 0 or more, e.g. 4000."),
    ("max_tokens", 1, math.inf, "max_tokens", "Use 1 or more."),
)
"""(setting, least, most, what people call it, what to do)."""
_CHOICES = (
    ("replay", REPLAY, "--replay"),
    ("marks", MARKS, "marks"),
    ("cache_retention", CACHE_RETENTION, "cache_retention"),
    ("context", CONTEXT_MODES, "--context"),
    ("approval", APPROVAL, "approval"),
)


def _check(settings: Settings) -> None:
    for name, least, most, called, todo in _BOUNDS:
        value = getattr(settings, name)
        is_number = isinstance(value, int | float) and math.isfinite(value)
        if value is not None and not (is_number and least <= value <= most):
            raise SettingsError(f"{called} is {value!r}", todo=todo)
    for name, known, called in _CHOICES:
        value = getattr(settings, name)
        if value not in known:
            empty = ", or leave it empty" if "" in known else ""
            raise SettingsError(f"{called} is {value!r}", todo=f"Use {_or([*filter(None, known)])}{empty}.")


def _or(words: Sequence[str]) -> str:
    """`a`, `a or b`, `a, b or c`."""
    return " or ".join(part for part in (", ".join(words[:-1]), words[-1]) if part)
