"""Declare options: one declaration gives the default, the check, the environment variable, the %config trait and the
flag.

A settings class is a frozen dataclass whose fields are made by `option(...)`. Everything else reads the declaration:
`parse` turns text into a value, `check` refuses a bad one, `from_environment` reads AGENTNB_<NAME>.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from agentnb.canonical import JsonObject
from agentnb.errors import SettingsError

Kind = Literal["text", "switch", "count", "number", "names", "path"]
_KINDS: Mapping[str, Kind] = {
    "str": "text",
    "bool": "switch",
    "bool | None": "switch",
    "int": "count",
    "float": "number",
    "float | None": "number",
    "tuple[str, ...]": "names",
    "Path | None": "path",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """Holds what an option's declaration says beside its default.

    `flag` names the magic's flag, `short` its short form, and `metavar` its value in help. `completes` is the kind of
    word that completes it. `config` False keeps it out of %config. `secret` keeps its value out of every repr.
    """

    help: str
    least: float = -math.inf
    most: float = math.inf
    choices: tuple[str, ...] = ()
    example: str = ""
    flag: str = ""
    short: str = ""
    metavar: str = ""
    completes: str = ""
    config: bool = True
    secret: bool = False


def option(default: Any, help: str, **declared: Any) -> Any:  # noqa: A002  the field's word for it
    """Return a dataclass field that is an option. Keywords are those of `Declared`."""
    said = Declared(help=help, **declared)
    made: Field[Any] = field(default=default, repr=not said.secret, metadata={"declared": said})
    return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """Holds one option as its class declares it."""

    name: str
    kind: Kind
    default: Any
    optional: bool
    declared: Declared

    @property
    def variable(self) -> str:
        """Return its environment variable."""
        return f"AGENTNB_{self.name.upper()}"

    @property
    def called(self) -> str:
        """Return its name as people type it: the flag where it has one."""
        if self.declared.flag:
            return f"--{self.declared.flag}"
        return self.name if self.declared.config else self.variable


def options_of(settings: type) -> tuple[Option, ...]:
    """Return the options of a settings class, in the order in which they are declared."""
    return tuple(
        Option(
            name=each.name,
            kind=_KINDS[str(each.type)],
            default=each.default,
            optional="None" in str(each.type),
            declared=each.metadata["declared"],
        )
        for each in fields(settings)
        if "declared" in each.metadata
    )


def parse(option: Option, text: str, called: str = "") -> Any:
    """Return the value that a person typed. Raises SettingsError where it is no value of this kind."""
    called = called or option.called
    example = option.declared.example
    match option.kind:
        case "switch":
            return _switch(text, called)
        case "count" | "number":
            try:
                return (int if option.kind == "count" else float)(text.removeprefix("$"))
            except ValueError:
                wanted = "a whole number" if option.kind == "count" else "a number"
                raise SettingsError(f"{called} wants {wanted}, not {text!r}", todo=f"Use e.g. {example}.") from None
        case "names":
            found = tuple(part.strip() for part in text.split(",") if part.strip())
            return () if found == ("none",) else found
        case "path":
            return Path(text).expanduser()
        case _:
            return text


def _switch(text: str, called: str) -> bool:
    lowered = text.strip().lower()
    if lowered in ("1", "true", "yes", "on"):
        return True
    if lowered in ("0", "false", "no", "off"):
        return False
    raise SettingsError(f"{called} is neither on nor off: {text!r}", todo="Set it to 1 or 0.")


def check(option: Option, value: Any) -> None:
    """Refuse a value that the declaration does not allow. Raises SettingsError, which says what to use."""
    declared = option.declared
    if value is None and option.optional:
        return
    if option.kind in ("count", "number"):
        is_number = isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
        if not (is_number and declared.least <= value <= declared.most):
            raise SettingsError(f"{option.called} is {value!r}", todo=f"Use {_range(declared)}.")
    if declared.choices and value not in declared.choices:
        empty = ", or leave it empty" if "" in declared.choices else ""
        raise SettingsError(
            f"{option.called} is {value!r}", todo=f"Use {_or([*filter(None, declared.choices)])}{empty}."
        )


def from_environment(settings: type, environment: Mapping[str, str]) -> JsonObject:
    """Return what the AGENTNB_… variables set, by option's name. An empty variable sets nothing."""
    given = ((each, environment.get(each.variable, "")) for each in options_of(settings))
    return {each.name: parse(each, text, each.variable) for each, text in given if text.strip()}


def _range(declared: Declared) -> str:
    bound = f"{declared.least:,.0f} or more" if declared.most == math.inf else ""
    bound = bound or f"{declared.least:,.0f} to {declared.most:,.0f}"
    return f"{bound}, e.g. {declared.example}" if declared.example else bound


def _or(words: Sequence[str]) -> str:
    """Return `a`, `a or b`, `a, b or c`."""
    return " or ".join(part for part in (", ".join(words[:-1]), words[-1]) if part)
