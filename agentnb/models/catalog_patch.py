"""Compare the catalogue with a provider's own list of models, and word the difference as a patch of its rows. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from agentnb.models.catalog import HOUSE, ListedModel, Model, find, lookup

NEAR = 0.06
"""Share by which two windows may differ: 1,000,000 and 1,048,576 are one window, rounded and exact."""


def patch_lines(provider: str, listed: Iterable[ListedModel], rows: Iterable[Model], today: str) -> Iterator[str]:
    """Yield the lines to paste into catalog.toml, grouped by model; none where list and catalogue agree.

    A model without limits in the list is only named, since most of those are no chat models.
    """
    own = [each for each in listed if each.name.startswith(HOUSE[provider])]
    for each in own:
        row = find(each.name, provider)
        if row is None:
            yield from _new_row(provider, each, today) if each.window else ()
        elif changed := list(_changes(row, each)):
            yield f"# {provider}:{row.name}"
            yield from changed
            yield f'limits_source = "the provider\'s list of models"\nlimits_checked = "{today}"'
    if bare := [each.name for each in own if not each.window and find(each.name, provider) is None]:
        yield f"# {provider} also lists, without limits: {', '.join(bare)}"
    covered = {row.name for each in own if (row := find(each.name, provider))}
    for row in rows:
        if row.provider == provider and row.name not in covered:
            yield f"# {provider}:{row.name} is not in the provider's list: retired, or not open to this key"


def _changes(row: Model, each: ListedModel) -> Iterator[str]:
    if each.window and abs(each.window - row.window) > NEAR * row.window:
        yield f"window = {each.window} # was {row.window}"
    if each.max_output and abs(each.max_output - row.max_output) > NEAR * row.max_output:
        yield f"max_output = {each.max_output} # was {row.max_output}"
    if each.retires and each.retires != row.retires:
        yield f'retires = "{each.retires}" # was "{row.retires}"'


def _new_row(provider: str, each: ListedModel, today: str) -> Iterator[str]:
    """Yield the head of a row; its prompt cache, prices and effort are for a person to look up."""
    kin = lookup(f"{provider}:{each.name}")
    yield f"# {provider}:{each.name} is not in the catalogue; until it is, it works as {kin.like or 'the default'}"
    yield f'[[model]]\nprovider = "{provider}"\nname = "{each.name}"\nlabel = "{each.name}"'
    yield f"window = {each.window}\nmax_output = {each.max_output}"
    yield f'limits_source = "the provider\'s list of models"\nlimits_checked = "{today}"'
