"""Answers as values: `--as TYPE` gives the model one more tool, whose argument is checked against the type.

A value that does not fit goes back to the model with its faults, at most twice. Nothing is converted on the way.
"""

from __future__ import annotations

import ast
import json
import typing
from collections.abc import Mapping
from typing import Any

from agentnb.agent.tools.arguments import WrongArguments, faults_in_words, plain_schema
from agentnb.agent.tools.tool import Outcome, Tool
from agentnb.errors import AnswerMismatch, InputError

NAME = "answer"
REPAIRS = 2
ASKED = "Give the result by a call of `answer`, once."
_NODES = (
    *(ast.Expression, ast.Name, ast.Attribute, ast.Subscript, ast.Tuple, ast.List, ast.BinOp, ast.BitOr),
    *(ast.Constant, ast.Load),
)
_ROWS = list[dict[str, str | int | float | bool | None]]
"""The type that a table is asked for as."""


class TypedAnswer:
    """One answer of a type: the tool that takes it, and the value once it `came`. Raises InputError on no type."""

    def __init__(self, text: str, namespace: Mapping[str, Any]) -> None:
        from pydantic import TypeAdapter
        from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError

        self.text = text
        self._kind = _named(text, namespace)
        self._is_table = getattr(self._kind, "__name__", "") == "DataFrame"
        try:
            self._adapter: TypeAdapter[Any] = TypeAdapter(_ROWS if self._is_table else self._kind)
            self._schema = plain_schema(self._adapter.json_schema())
        except (PydanticSchemaGenerationError, PydanticUserError) as error:
            raise InputError(
                f"--as cannot be {text}: {str(error).partition(chr(10))[0]}",
                todo="Name a dataclass, a pydantic model, list[...], dict[...], DataFrame, str, int, float or bool.",
            ) from None
        self.came = False
        self._value: object = None
        self._faults: list[str] = []

    @property
    def tool(self) -> Tool:
        """Return the tool by which the value comes."""
        schema = {name: part for name, part in self._schema.items() if name != "$defs"}
        definitions = self._schema.get("$defs")
        parameters = {
            "type": "object",
            "properties": {"value": schema},
            "required": ["value"],
            "additionalProperties": False,
            **({"$defs": definitions} if definitions else {}),
        }
        return Tool(
            name=NAME,
            description="Give the result of the task as a value of this schema. Call it once, when the value is right.",
            parameters=parameters,
            call=self._take,
            acts=False,
            on_main=False,
            take=self._checked,
            shows_values=False,
        )

    def value(self) -> object:
        """Return the value. Raises AnswerMismatch where none came that fits."""
        if not self.came:
            why = f": {self._faults[-1]}" if self._faults else ""
            times = len(self._faults)
            raise AnswerMismatch(
                f"the model gave no value that is {self.text}{why}"[:400],
                about=f"{times} attempt{'' if times == 1 else 's'}",
                todo="The variable is as it was. Ask again, or take a simpler type.",
            )
        return self._value

    def _checked(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        from pydantic import ValidationError

        if set(arguments) != {"value"}:
            raise WrongArguments("give `value`, and nothing else")
        if len(self._faults) > REPAIRS:
            raise WrongArguments("no further value is taken; end here and say what does not fit")
        try:
            return {"value": self._adapter.validate_json(json.dumps(arguments["value"]), strict=True)}
        except ValidationError as error:
            self._faults.append(faults_in_words(error.errors(include_url=False, include_input=False)))
            raise WrongArguments(self._faults[-1]) from None
        except (ValueError, TypeError, RecursionError) as error:
            raise WrongArguments(f"it is no JSON ({type(error).__name__})") from None

    def _take(self, value: Any) -> Outcome:
        self._value = self._kind(value) if self._is_table else value
        self.came = True
        return Outcome(text="Taken. End here, with one sentence for the person.")


def _named(text: str, namespace: Mapping[str, Any]) -> Any:
    """Return the type that a person wrote: names, attributes, `[...]` and `|` alone."""
    try:
        tree = ast.parse(text.strip(), mode="eval")
        if not all(isinstance(node, _NODES) for node in ast.walk(tree)):
            raise InputError(f"--as wants a type, not {text!r}", todo="Write e.g. --as list[Point] or --as DataFrame.")
        known = {**vars(typing), **_tables(namespace), **namespace}
        return eval(compile(tree, "<--as>", "eval"), known)  # noqa: S307 - a person's own words, of names alone
    except (SyntaxError, ValueError):
        raise InputError(f"--as wants a type, not {text!r}", todo="Write e.g. --as list[Point].") from None
    except (NameError, AttributeError, TypeError) as error:
        raise InputError(f"--as {text}: {error}", todo="Define the type in a cell first.") from None


def _tables(namespace: Mapping[str, Any]) -> dict[str, Any]:
    """`DataFrame` without an import of its own, where pandas or polars is imported."""
    found = (getattr(namespace.get(name), "DataFrame", None) for name in ("pd", "pandas", "pl", "polars"))
    table = next((each for each in found if each is not None), None)
    return {} if table is None else {"DataFrame": table}
