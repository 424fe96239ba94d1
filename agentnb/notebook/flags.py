"""Read the line of a magic: flags first, then the user's words, which are never parsed, formatted or escaped."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from agentnb.canonical import JsonObject
from agentnb.errors import InputError, SettingsError, nearest
from agentnb.options import options_of, parse
from agentnb.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Flag:
    """Holds one flag: its long and short name, its value's name ("" for a switch), its help, what completes it."""

    name: str
    short: str = ""
    value: str = ""
    help: str = ""
    completes: str = ""


def _of_options() -> Iterator[Flag]:
    """Yield the flags of the options that have one."""
    for each in options_of(Settings):
        said = each.declared
        if said.flag:
            yield Flag(name=said.flag, short=said.short, value=said.metavar, help=said.help, completes=said.completes)


AGENT_FLAGS = (
    *_of_options(),
    Flag(
        name="thread",
        short="t",
        value="NAME",
        help="the conversation to go on with; `new` begins afresh",
        completes="thread",
    ),
    Flag(name="fix", help="propose a mended cell in the place of the one that failed last"),
    Flag(name="dry-run", help="show what would be sent, cost and hit; send nothing"),
    Flag(name="bg", help="go on in the background; the notebook stays free"),
    Flag(
        name="machine",
        value="NAME",
        help="give the task to the AgentStateMachine in this variable",
        completes="machine",
    ),
    Flag(
        name="from",
        value="RUN:STEP",
        help="ask this after what that run had said by that step (default: its last)",
        completes="run",
    ),
    Flag(name="out", value="NAME", help="put the answer's text into this variable"),
    Flag(name="as", value="TYPE", help="with --out: a value of this type, e.g. list[Point], a dataclass or DataFrame"),
)

RESUME_FLAGS = (
    Flag(name="model", short="m", value="MODEL", help="the model that goes on", completes="model"),
    Flag(name="max-steps", value="N", help="steps in all that the run may take"),
    Flag(name="budget", value="USD", help="US dollars in all that the run may cost"),
    Flag(name="allow", value="NAMES", help="tools that may act", completes="tool"),
    Flag(name="unsure", value="WHAT", help="repeat or skip an action that may have happened already"),
    Flag(name="accept-versions", help="go on although the run was begun under another version"),
    Flag(name="take-over", help="take the run from a worker that is believed dead"),
)
ANSWER_FLAGS = (
    Flag(name="call", value="N", help="only the call with this number; without it all that wait"),
    Flag(name="rest", help="approve the tool for the rest of the run"),
    Flag(name="digest", value="HEX", help="the calls that were shown; approve wants it"),
)
"""Of approve, deny and answer."""


def options_given(flags: Mapping[str, str | bool]) -> JsonObject:
    """Return the options that the flags set, by name. Raises InputError on a bad word, SettingsError on a bad value."""
    found = [each for each in options_of(Settings) if each.declared.flag in flags]
    try:
        given = {each.name: parse(each, str(flags[each.declared.flag])) for each in found}
    except SettingsError as error:
        raise InputError(error.what, todo=error.todo) from None
    Settings().with_changes(**given)
    return given


def count(flags: Mapping[str, str | bool], name: str) -> int | None:
    """Return the flag as a whole number; None where it was not given. Raises InputError where it is none."""
    text = str(flags.get(name, ""))
    if text and not text.isdecimal():
        raise InputError(f"--{name} wants a whole number, not {text!r}", todo=f"Use e.g. --{name} 1.")
    return int(text) if text else None


_TOKEN = re.compile(r"\s*(?:'([^']*)'|\"([^\"]*)\"|(\S+))")
_FLAG = re.compile(r"--?[A-Za-z]")


def split_line(line: str, known: tuple[Flag, ...]) -> tuple[dict[str, str | bool], str]:
    """Return (flags by long name, the rest of the line as it stands). Raises InputError on an unknown flag."""
    flags: dict[str, str | bool] = {}
    by_name = by_word(known)
    rest = line
    while _FLAG.match(rest.lstrip()):
        word, after = _take(rest)
        name, equals, inline = word.partition("=")
        flag = by_name.get(name)
        if flag is None:
            raise InputError(f"unknown flag {name}", todo=f"{nearest(name, list(by_name))} {_listing(known)}".strip())
        if not flag.value:
            if equals:
                raise InputError(f"--{flag.name} takes no value", todo=f"Write --{flag.name}, or leave it out.")
            flags[flag.name], rest = True, after
        elif equals:
            flags[flag.name], rest = inline, after
        else:
            flags[flag.name], rest = _value(flag, after)
    if rest.lstrip().startswith("-- "):
        rest = rest.lstrip()[3:]
    return flags, rest.strip()


def by_word(known: tuple[Flag, ...]) -> Mapping[str, Flag]:
    """Return the flags by what a person writes: `--model`, then `-m`."""
    long = {f"--{flag.name}": flag for flag in known}
    return long | {f"-{flag.short}": flag for flag in known if flag.short}


def _take(text: str) -> tuple[str, str]:
    match = _TOKEN.match(text)
    if match is None:
        return "", ""
    return next(group for group in match.groups() if group is not None), text[match.end() :]


def _take_type(text: str) -> tuple[str, str]:
    """Return a type and what follows: `dict[str, int]` and `Point | None` are one value, also without quotes."""
    value, rest = _take(text)
    quoted = text.lstrip()[:1] in ("'", '"')
    while not quoted and (value.count("[") > value.count("]") or value.endswith("|") or rest.lstrip().startswith("|")):
        more, rest = _take(rest)
        if not more:
            break
        value = f"{value} {more}"
    return value, rest


def _value(flag: Flag, after: str) -> tuple[str, str]:
    value, rest = _take_type(after) if flag.value == "TYPE" else _take(after)
    if not value:
        raise InputError(f"--{flag.name} needs a value", todo=f"Write --{flag.name} {flag.value}: {flag.help}.")
    return value, rest


def _listing(known: tuple[Flag, ...]) -> str:
    names = (f"-{flag.short}/--{flag.name}" if flag.short else f"--{flag.name}" for flag in known)
    return f"Known: {', '.join(names)}."


EXAMPLES = (
    ("%%agent", "with a question below it: asks about this notebook, its cells, values and errors"),
    ("%agent Why is the result above so large?", "asks on one line; alone, after an error, it explains that"),
    ("%agent --fix", "proposes a mended cell in the place of the one that failed"),
    ("%%agent --dry-run", "shows what would be sent and what it would cost, and sends nothing"),
    ("%agent -t new What does `clean` do?", "begins a new conversation; a name in backticks goes along for sure"),
)


def usage(magic: str, known: tuple[Flag, ...]) -> str:
    """Return the usage text that `%%agent?` shows."""
    rows = []
    for flag in known:
        left = ", ".join(filter(None, (f"-{flag.short}" if flag.short else "", f"--{flag.name}")))
        rows.append(f"  {left + (' ' + flag.value if flag.value else ''):<26} {flag.help}")
    lines = [f"  {line:<42} {what}" for line, what in EXAMPLES] if magic == "%%agent" else []
    examples = "\n".join(["\n\nexamples:", *lines]) if lines else ""
    return f"{magic} [flags] TASK{examples}\n\nflags:\n" + "\n".join(rows)


def check_key(given: Mapping[str, str | bool], settings: Settings) -> None:
    """Raise KeyMissing where the model that is named surely has no key, before anything is loaded or begun."""
    from agentnb.models import catalog
    from agentnb.providers.vendor import VENDORS

    address = str(given.get("model") or settings.model)
    recorded = str(given.get("replay") or settings.replay) in ("replay", "auto")
    if not address or address.startswith(("sim:", "local:")) or recorded or {"machine", "dry-run"} & {*given}:
        return
    vendor = VENDORS.get(catalog.lookup(address).provider)
    if vendor is not None and vendor.surely_without_key():
        raise vendor.missing_key()
