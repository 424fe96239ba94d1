"""What a model's code did to the notebook's names is told, and taken back; what was changed since is left."""

from __future__ import annotations

import copy
import sys
from collections import Counter, defaultdict
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnb.agent.tools.run_code import run_in
from agentnb.agent.tools.running.names import MANY
from agentnb.agent.tools.running.undo import Undo


def run(space: dict[str, Any], code: str, undo: Undo | None = None) -> Undo:
    undo = undo or Undo()
    undo.noting(space, code, lambda: run_in(space, code))
    return undo


@pytest.fixture
def space() -> dict[str, Any]:
    shared = [1, 2]
    return {
        "x": 1,
        "items": shared,
        "alias": shared,
        "table": pd.DataFrame({"a": [1, 2]}),
        "array": np.arange(4),
        "config": {"deep": {"a": 1}},
        "pair": ([1, 2], "x"),
        "held": {"table": pd.DataFrame({"a": [1, 2]}), "array": np.arange(3)},
        "model": Library(),
        "account": made("class Account:\n    def __init__(self): self.owner, self.items = 'Ada', [1]"),
        "point": made("import dataclasses\n@dataclasses.dataclass\nclass Point:\n    x: int = 1"),
        "slotted": made("import dataclasses\n@dataclasses.dataclass(slots=True)\nclass Slotted:\n    x: int = 1"),
        "settings": SimpleNamespace(rate=1, deep={"a": 1}),
        "counts": Counter("aab"),
        "groups": defaultdict(list, {"a": [1]}),
    }


class Library:
    """An object whose class no notebook defines."""


def made(source: str) -> Any:
    """An object of the class that a cell defines."""
    space: dict[str, Any] = {"__name__": "__main__"}
    exec(source, space)
    return next(kind() for kind in space.values() if isinstance(kind, type))


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("y = 2; x = 5; del config", "It makes `y`; changes `x`; deletes `config`."),
        ("items.append(3)", "It changes `items`."),
        ("table['b'] = 0", "It changes `table`."),
        ("table.loc[0, 'a'] = 9", "It changes `table`."),
        ("array[1] = 7", "It changes `array`."),
        ("config['new'] = 1", "It changes `config`."),
        ("config['deep']['a'] = 2", "It changes `config`."),
        ("pair[0].append(3)", "It changes `pair`."),
        ("held['table']['b'] = held['array'][0] = 9", "It changes `held`."),
        ("account.owner = 'Bob'; account.items.append(2); account.new = 1", "It changes `account`."),
        ("point.x = 2", "It changes `point`."),
        ("del settings.rate; settings.deep['b'] = 1", "It changes `settings`."),
        ("counts['c'] += 1; groups['b'].append(1)", "It changes `counts`, `groups`."),
        ("x", "It makes, changes and deletes no name."),
        ("_hidden = 1", "It makes, changes and deletes no name."),
        ("y = 1; 1/0", "It makes `y`."),
        ("%matplotlib\nx = 2", "It makes, changes and deletes no name."),
    ],
)
def test_all_is_as_it_was(space: dict[str, Any], code: str, told: str) -> None:
    kept_as_they_are = ("model", "slotted")
    before = copy.deepcopy({name: value for name, value in space.items() if name not in kept_as_they_are})
    before |= {name: space[name] for name in kept_as_they_are}
    objects = dict(space)
    undone = run(space, code).undo(space)
    assert undone is not None
    assert undone.did.sentence == told
    assert undone.since == ()
    assert {name for name in space if not name.startswith("_")} == set(before)
    for name, value in before.items():
        if isinstance(value, pd.DataFrame):
            assert space[name].equals(value)
        elif isinstance(value, np.ndarray):
            assert (space[name] == value).all()
        elif name == "held":
            assert space[name]["table"].equals(value["table"])
            assert (space[name]["array"] == value["array"]).all()
        elif name == "account":
            assert vars(space[name]) == vars(value)
        else:
            assert space[name] == value
        assert space[name] is objects[name], "the object is the same, for other names of it"


def test_other_names_of_a_table_see_that_it_is_as_it_was(space: dict[str, Any]) -> None:
    table = space["table"]
    space |= {"same": table, "column": table["a"]}
    undo = run(space, "table.drop(columns='a', inplace=True)\ntable['b'] = 'x'\ntable.index = [5, 6]")
    undo.undo(space)
    assert space["table"] is space["same"] is table
    assert table.equals(pd.DataFrame({"a": [1, 2]}))
    assert list(table.index) == [0, 1]
    table.loc[0, "a"] = 7
    assert table["a"].sum() == 9, "it works as any table"


def test_an_array_of_another_shape_is_replaced(space: dict[str, Any]) -> None:
    undone = run(space, "array.resize(2, 2, refcheck=False)").undo(space)
    assert undone is not None
    assert undone.did.changed == ("array",)
    assert space["array"].shape == (4,)


def test_pieces_are_taken_back_newest_first_and_then_there_is_none(space: dict[str, Any]) -> None:
    undo = run(space, "x = 2")
    run(space, "x = 3", undo)
    first, second = undo.undo(space), undo.undo(space)
    assert first is not None
    assert second is not None
    assert (first.code, first.more, second.code, second.more) == ("x = 3", 1, "x = 2", 0)
    assert space["x"] == 1
    assert undo.undo(space) is None


def test_what_was_changed_since_is_left_as_it_is(space: dict[str, Any]) -> None:
    undo = run(space, "y = []; z = 1; x = 2; items = [0]; del model; array[0] = 9")
    space["x"] = "mine"
    space["y"].append("mine")
    space["items"].append("mine")
    space["model"] = "mine"
    space["array"][2] = 99
    undone = undo.undo(space)
    assert undone is not None
    assert undone.since == ("array", "items", "model", "x", "y")
    assert (space["x"], space["y"], space["items"], space["model"]) == ("mine", ["mine"], [0, "mine"], "mine")
    assert list(space["array"]) == [9, 1, 99, 3]
    assert "z" not in space


def test_what_no_copy_is_kept_of_is_said(space: dict[str, Any]) -> None:
    space["long"] = list(range(MANY + 1))
    undone = run(space, "long.append(1); model.fitted = True; slotted.x = 2; account; point; x").undo(space)
    assert undone is not None
    assert undone.did.unseen == ("long", "model", "slotted")


def test_code_that_a_person_stops_can_be_taken_back_too(space: dict[str, Any]) -> None:
    undo = Undo()
    code = "x = 2; y = 3\nraise KeyboardInterrupt"
    with pytest.raises(KeyboardInterrupt):
        undo.noting(space, code, lambda: run_in(space, code))
    undo.undo(space)
    assert space["x"] == 1
    assert "y" not in space


class Awkward(list[int]):
    """Neither copied nor compared."""

    def __eq__(self, other: object) -> bool:
        raise AssertionError("nobody may compare it")

    __hash__ = None  # type: ignore[assignment]

    def copy(self) -> list[int]:
        raise AssertionError("nobody may copy it")


def test_the_persons_own_objects_are_left_alone(space: dict[str, Any]) -> None:
    space["awkward"] = Awkward([1])
    undone = run(space, "awkward.append(2); x = 5").undo(space)
    assert undone is not None
    assert (undone.did.changed, undone.did.unseen) == (("x",), ("awkward",))
    assert len(space["awkward"]) == 2


values = st.recursive(
    st.integers() | st.text(max_size=3), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner)
)
steps = st.sampled_from(
    ["a = b", "b = a", "c = [a]", "del a", "a = 1; a = 2", "d = dict(x=b)", "b = list(c); b.append(a)", "c.append(b)"]
)


@given(st.dictionaries(st.sampled_from("abc"), values), st.lists(steps, max_size=6))
def test_undoing_all_that_ran_gives_the_names_back(start: dict[str, Any], codes: list[str]) -> None:
    """Whatever runs in whatever order: taken back piece by piece, each name is bound to its object again."""
    space, undo = dict(start), Undo()
    was = {name: (value, list(value) if isinstance(value, list) else value) for name, value in space.items()}
    for code in codes:
        run(space, code, undo)
    while undo.undo(space) is not None:
        pass
    space.pop("__builtins__", None)
    assert space.keys() == was.keys()
    for name, (value, copied) in was.items():
        assert space[name] is value
        assert space[name] == copied
    assert sys.getrefcount(space) < 10
