"""Check a call's arguments against the schema that a server lists for its tool. Pure. [home of jsonschema]

A schema that cannot be read is not checked here: the server has the last word. Nothing in it is fetched. Patterns are
left to the server: one can be written that never ends.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from agentnb.agent.tools.arguments import MAX_TROUBLES, WrongArguments
from agentnb.agent.tools.tool import shorten
from agentnb.canonical import JsonMapping, JsonObject

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

MOST_SAID = 300
"""Characters of one fault: it quotes what was given."""


def fitting(schema: JsonMapping, arguments: JsonMapping) -> JsonObject:
    """Return the arguments where they fit the schema. Raises WrongArguments, which says what does not."""
    given = dict(arguments)
    try:
        faults = list(_checker(schema).iter_errors(json.loads(json.dumps(given))))  # as the server will read it
    except Exception:  # noqa: BLE001 - a schema that is none, refers elsewhere or to itself: the server checks
        return given
    said = sorted(
        shorten(f"{fault.json_path}: {fault.message}".removeprefix("$: ").removeprefix("$."), MOST_SAID)
        for fault in faults
    )
    more = [f"and {len(said) - MAX_TROUBLES} more"] if len(said) > MAX_TROUBLES else []
    if said:
        raise WrongArguments("; ".join([*said[:MAX_TROUBLES], *more]))
    return given


def _checker(schema: JsonMapping) -> Validator:
    """Return what checks by the newest draft; importing it takes some 50 ms. Raises ValueError on names by pattern."""
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend
    from referencing import Registry

    if '"patternProperties"' in json.dumps(dict(schema)):
        raise ValueError
    return extend(Draft202012Validator, {"pattern": lambda *_: None})(dict(schema), registry=Registry())
