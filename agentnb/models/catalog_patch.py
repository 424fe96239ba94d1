"""Compare the catalogue with a provider's own list of models, and change its text to what the list says. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from agentnb.models.catalog import HOUSE, ListedModel, Model, default_for, find, lookup

NEAR = 0.06
"""Share by which two windows may differ: 1,000,000 and 1,048,576 are one window, rounded and exact."""
LEAST_WINDOW = 100_000
"""Tokens from which an unknown model gets a row: what draws, speaks or listens has less."""
MOST_NEW = 100
"""New models of one list that a patch has a row for, and that a remark names."""
_NAME = re.compile(r"[a-z0-9][a-z0-9._:-]*")
_SOURCE = '"the provider\'s list of models"'


@dataclass(frozen=True, slots=True)
class Compared:
    """Holds a comparison. `text` is that of catalog.toml as the list has it; `remarks` are what it cannot say."""

    text: str
    remarks: tuple[str, ...] = ()


def compared(text: str, provider: str, listed: Iterable[ListedModel], rows: Iterable[Model], today: str) -> Compared:
    """Return the catalogue's text changed where the list says otherwise, with a row for each new model for chats."""
    own = {each.name: each for each in listed if each.name.startswith(HOUSE[provider]) and _NAME.fullmatch(each.name)}
    if not own:
        return Compared(text, (f"none is called {HOUSE[provider]}…, so nothing is compared",))
    covered, other, new = set(), [], []
    for name, each in own.items():
        row = find(name, provider)
        if row is None and each.window >= LEAST_WINDOW and not name.endswith("-latest"):
            new.append(each)
        elif row is None:
            other.append(name)
        else:
            covered.add(row.name)
            changes = {} if name != row.name and row.name in own else dict(_changes(row, each, today))
            text = _changed(text, provider, row.name, changes)
    for each in new[:MOST_NEW]:
        text = _with_row(text, provider, each, today)
    more = f" and {len(other) - MOST_NEW:,} more" * (len(other) > MOST_NEW)
    remarks = [f"it also lists, without limits or for other things: {', '.join(other[:MOST_NEW])}{more}"] * bool(other)
    if len(new) > MOST_NEW:
        remarks.append(f"it lists {len(new):,} models that are new here; the patch has the first {MOST_NEW}")
    lost = [row.name for row in rows if row.provider == provider and row.name not in covered]
    return Compared(
        text, (*remarks, *(f"{name} is not in its list: retired, or not open to this key" for name in lost))
    )


def _changes(row: Model, each: ListedModel, today: str) -> Iterator[tuple[str, str]]:
    """Yield the keys of a row, and their values as TOML, where the list says otherwise."""
    found: dict[str, str] = {}
    if each.window and abs(each.window - row.window) > NEAR * row.window:
        found["window"] = str(each.window)
    if each.max_output and abs(each.max_output - row.max_output) > NEAR * row.max_output:
        found["max_output"] = str(each.max_output)
    if each.retires and each.retires != row.retires:
        found["retires"] = f'"{each.retires}"'
    if found:
        yield from (found | {"limits_source": _SOURCE, "limits_checked": f'"{today}"'}).items()


def _place(text: str, provider: str, name: str) -> tuple[int, int]:
    """Return where a model's row begins and ends."""
    start = text.index(f'[[model]]\nprovider = "{provider}"\nname = "{name}"\n')
    end = text.find("\n\n", start)
    return start, end if end >= 0 else len(text)


def _changed(text: str, provider: str, name: str, changes: Mapping[str, str]) -> str:
    if not changes:
        return text
    start, end = _place(text, provider, name)
    return text[:start] + _edited(text[start:end], changes) + text[end:]


def _edited(row: str, changes: Mapping[str, str]) -> str:
    """Return a row with these values; a key that it lacks comes before its tokenizer."""
    for key, value in changes.items():
        line = f"{key} = {value}"
        old = re.search(rf"(?m)^{key} = .*$", row)
        row = row.replace(old[0], line, 1) if old else row.replace("\ntokenizer = ", f"\n{line}\ntokenizer = ", 1)
    return row


def _with_row(text: str, provider: str, each: ListedModel, today: str) -> str:
    """Return the text with a row for a new model, behind the row of its relative.

    Its limits are the list's. Its price and all else stay the relative's, which the row names.
    """
    like = lookup(f"{provider}:{each.name}").like or default_for(provider).name
    start, end = _place(text, provider, like)
    lines = [line for line in text[start:end].split("\n") if not re.match(r"(?:default|retires|price\w*) = ", line)]
    values = {"name": f'"{each.name}"', "label": f'"{each.name}"', "like": f'"{like}"', "window": str(each.window)}
    values |= {"max_output": str(each.max_output)} if each.max_output > 0 else {}
    row = _edited("\n".join(lines), values | {"limits_source": _SOURCE, "limits_checked": f'"{today}"'})
    return f"{text[:end]}\n\n{row}{text[end:]}"
