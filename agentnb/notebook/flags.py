"""The line of a magic: flags first, then the user's words, which are never parsed, formatted or escaped."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from agentnb.errors import InputError, nearest


@dataclass(frozen=True, kw_only=True)
class Flag:
    """One flag: its long name, its short one, the name of its value ("" for a switch), and one line of help."""

    name: str
    short: str = ""
    value: str = ""
    help: str = ""


AGENT_FLAGS = (
    Flag(name="model", short="m", value="MODEL", help="provider:model, or sim:model for the simulator"),
    Flag(name="thread", short="t", value="NAME", help="the conversation to go on with; `new` begins afresh"),
    Flag(name="tools", value="NAMES", help="tools the model may ask for, comma-separated; `none` for none"),
    Flag(name="allow", value="NAMES", help="tools that may act without being asked about, e.g. run_code"),
    Flag(name="budget", value="USD", help="refuse any call that could go beyond this sum"),
    Flag(name="max-steps", value="N", help="stop after N steps; the run can be resumed"),
    Flag(name="context", value="MODE", help="auto, marks (only `names` and @names) or none"),
    Flag(name="dry-run", help="show what would be sent, cost and hit; send nothing"),
    Flag(name="bg", help="go on in the background; the notebook stays free"),
    Flag(name="machine", value="NAME", help="give the task to the AgentStateMachine in this variable"),
    Flag(name="from", value="RUN:STEP", help="ask this after what that run had said by that step (default: its last)"),
    Flag(name="replay", value="MODE", help="live, record (into a file beside the notebook), replay (from it) or auto"),
    Flag(name="out", value="NAME", help="put the answer's text into this variable"),
)

_TOKEN = re.compile(r"\s*(?:'([^']*)'|\"([^\"]*)\"|(\S+))")
_FLAG = re.compile(r"--?[A-Za-z]")


def split_line(line: str, known: tuple[Flag, ...]) -> tuple[dict[str, str | bool], str]:
    """(flags by long name, the rest of the line as it stands). Raises InputError on an unknown flag."""
    flags: dict[str, str | bool] = {}
    by_name = _by_name(known)
    rest = line
    while _FLAG.match(rest.lstrip()):
        word, after = _take(rest)
        name, equals, inline = word.partition("=")
        flag = by_name.get(name)
        if flag is None:
            raise InputError(f"unknown flag {name}", todo=f"{nearest(name, list(by_name))} {_listing(known)}".strip())
        if not flag.value:
            _check_switch(flag, equals)
            flags[flag.name], rest = True, after
        elif equals:
            flags[flag.name], rest = inline, after
        else:
            flags[flag.name], rest = _value(flag, after)
    if rest.lstrip().startswith("-- "):
        rest = rest.lstrip()[3:]
    return flags, rest.strip()


def _by_name(known: tuple[Flag, ...]) -> Mapping[str, Flag]:
    long = {f"--{flag.name}": flag for flag in known}
    return long | {f"-{flag.short}": flag for flag in known if flag.short}


def _take(text: str) -> tuple[str, str]:
    match = _TOKEN.match(text)
    if match is None:
        return "", ""
    return next(group for group in match.groups() if group is not None), text[match.end() :]


def _check_switch(flag: Flag, equals: str) -> None:
    if equals:
        raise InputError(f"--{flag.name} takes no value", todo=f"Write --{flag.name}, or leave it out.")


def _value(flag: Flag, after: str) -> tuple[str, str]:
    value, rest = _take(after)
    if not value:
        raise InputError(f"--{flag.name} needs a value", todo=f"Write --{flag.name} {flag.value}: {flag.help}.")
    return value, rest


def _listing(known: tuple[Flag, ...]) -> str:
    names = (f"-{flag.short}/--{flag.name}" if flag.short else f"--{flag.name}" for flag in known)
    return f"Known: {', '.join(names)}."


N = TypeVar("N", int, float)


def number(flags: Mapping[str, str | bool], name: str, kind: type[N]) -> N | None:
    """The flag as a number, or None when it was not given. Raises InputError when it is not one."""
    text = flags.get(name)
    if text is None:
        return None
    try:
        return kind(str(text).removeprefix("$"))
    except ValueError:
        wanted, example = {"int": ("a whole number", "10")}.get(kind.__name__, ("a number", "0.05"))
        raise InputError(f"--{name} wants {wanted}, not {text!r}", todo=f"Write e.g. --{name} {example}.") from None


def names(flags: Mapping[str, str | bool], name: str) -> tuple[str, ...] | None:
    """The flag as names; None when it was not given, () for `none`."""
    text = flags.get(name)
    if text is None:
        return None
    found = tuple(part.strip() for part in str(text).split(",") if part.strip())
    return () if found == ("none",) else found


def usage(magic: str, known: tuple[Flag, ...]) -> str:
    """The usage text that `%%agent?` shows."""
    rows = []
    for flag in known:
        left = ", ".join(filter(None, (f"-{flag.short}" if flag.short else "", f"--{flag.name}")))
        rows.append(f"  {left + (' ' + flag.value if flag.value else ''):<26} {flag.help}")
    return f"{magic} [flags] TASK\n\nflags:\n" + "\n".join(rows)
