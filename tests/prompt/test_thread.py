"""A thread is a tree of turns: where a new turn hangs, and what it must send."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agentnb.models.layers import Block, Layer
from agentnb.models.messages import Role, Text
from agentnb.prompt.thread import (
    ReadBlocks,
    Turn,
    held_definitions,
    is_branch,
    leaves_answers,
    needed,
    parent_for,
    path_to,
    removed_definitions,
)


def turn(run_id: str, parent: str | None, cell: str | None, execution: str, *, complete: bool = True) -> Turn:
    return Turn(
        run_id=run_id, parent=parent, cell=cell, execution=execution, kind="k", segment_root="a", complete=complete
    )


ABC = [turn("a", None, "one", "1"), turn("b", "a", "two", "2"), turn("c", "b", "three", "3")]


def test_a_new_cell_goes_on_from_the_newest_turn() -> None:
    parent = parent_for(ABC, cell="four", execution="4")
    assert parent is not None
    assert parent.run_id == "c"
    assert not is_branch(ABC, cell="four", execution="4")


def test_running_a_cell_again_branches_from_its_parent() -> None:
    parent = parent_for(ABC, cell="two", execution="4")
    assert parent is not None
    assert parent.run_id == "a"
    assert is_branch(ABC, cell="two", execution="4")
    assert parent_for(ABC, cell="one", execution="4") is None


def test_later_cells_go_on_from_the_newest_branch() -> None:
    turns = [*ABC, turn("d", "a", "two", "4")]
    parent = parent_for(turns, cell="five", execution="5")
    assert parent is not None
    assert [t.run_id for t in path_to(turns, parent)] == ["a", "d"]


def test_answers_are_left_behind_where_some_came_after() -> None:
    assert leaves_answers(ABC, cell="two", execution="4")
    assert not leaves_answers(ABC, cell="three", execution="4"), "nothing came after the last"
    assert not leaves_answers(ABC, cell="three", execution="3"), "the cell goes on, and is not run again"
    assert not leaves_answers(ABC, cell="four", execution="4"), "a new cell"
    failed = [*ABC, turn("d", "c", "four", "4", complete=False)]
    assert not leaves_answers(failed, cell="three", execution="5"), "what failed is no answer"


def test_two_uses_in_one_cell_follow_each_other() -> None:
    turns = [turn("a", None, "one", "1")]
    parent = parent_for(turns, cell="one", execution="1")
    assert parent is not None
    assert parent.run_id == "a"
    both = [*turns, turn("b", "a", "one", "1")]
    assert parent_for(both, cell="one", execution="2") is None, "running both again begins where the first began"


def test_a_turn_that_failed_is_not_built_upon() -> None:
    turns = [*ABC, turn("d", "c", "four", "4", complete=False)]
    parent = parent_for(turns, cell="five", execution="5")
    assert parent is not None
    assert parent.run_id == "c"


def test_without_cell_ids_every_turn_goes_to_the_end() -> None:
    turns = [turn("a", None, None, "1"), turn("b", "a", None, "2")]
    parent = parent_for(turns, cell=None, execution="3")
    assert parent is not None
    assert parent.run_id == "b"


@given(st.lists(st.sampled_from(["one", "two", "three", "four"]), min_size=1, max_size=30))
def test_every_path_only_ever_grows_at_its_end(cells: list[str]) -> None:
    """Whatever cells are run in whatever order: a turn's path is its parent's path and the turn itself."""
    turns: list[Turn] = []
    for number, cell in enumerate(cells):
        parent = parent_for(turns, cell=cell, execution=str(number))
        made = turn(f"r{number}", parent.run_id if parent else None, cell, str(number))
        before = path_to(turns, parent)
        turns.append(made)
        assert path_to(turns, made) == (*before, made)
        path_cells = [t.cell for t in path_to(turns, made)]
        assert path_cells.count(cell) == 1, "five re-runs do not put five stale turns into the prompt"


def holding(*items: tuple[str, str, str]) -> Block:
    holds = tuple({"name": name, "digest": digest, "form": form} for name, digest, form in items)
    return Block(layer=Layer.HYDRATION, role=Role.USER, content=Text("x"), holds=holds)


def test_the_newest_version_is_held_and_a_removed_one_is_not() -> None:
    held = held_definitions([holding(("f", "1", "full"), ("g", "1", "full")), holding(("f", "2", "full"))])
    assert held["f"]["digest"] == "2"
    assert "g" not in held_definitions([holding(("g", "1", "full")), holding(("g", "", "removed"))])


def test_a_signature_does_not_displace_the_full_text() -> None:
    held = held_definitions([holding(("f", "1", "full")), holding(("f", "1", "signature"))])
    assert held["f"]["form"] == "full"


def test_what_must_be_sent() -> None:
    full = {"digest": "1", "form": "full"}
    assert needed("1", "full", None)
    assert needed("2", "full", full)
    assert not needed("1", "full", full)
    assert not needed("1", "signature", full)
    assert needed("1", "full", {"digest": "1", "form": "signature"})


def stale_weights(blocks: list[Block], weights: list[float], current: dict[str, str]) -> list[float]:
    return ReadBlocks().then(blocks, weights).stale_weights(current)


def stale_share(blocks: list[Block], weights: list[float], current: dict[str, str]) -> float:
    return sum(stale_weights(blocks, weights, current)) / sum(weights)


def definition_block(*items: tuple[str, str, int]) -> Block:
    holds = tuple({"name": name, "digest": digest, "form": "full", "tokens": tokens} for name, digest, tokens in items)
    return Block(layer=Layer.HYDRATION, role=Role.USER, content=Text("…"), holds=holds)


def test_the_stale_share_is_that_of_every_older_version() -> None:
    blocks = [definition_block(("a", "1", 30), ("b", "1", 10)), definition_block(("a", "2", 20))]
    assert stale_share(blocks, [40, 20], {}) == 30 / 60
    assert stale_share(blocks, [40, 20], {"a": "3", "b": "1"}) == 50 / 60, "the last one too, if it has changed since"
    assert stale_share(blocks, [40, 20], {"b": ""}) == 40 / 60, "what was removed is stale"


def test_each_block_knows_how_much_of_it_is_out_of_date() -> None:
    blocks = [definition_block(("a", "1", 30), ("b", "1", 10)), definition_block(("a", "2", 20))]
    assert stale_weights(blocks, [40, 20], {}) == [30.0, 0.0]
    assert stale_weights(blocks, [40, 20], {"a": "3"}) == [30.0, 20.0]
    again = [*blocks, definition_block(("a", "1", 30))]
    assert stale_weights(again, [40, 20, 30], {}) == [30.0, 20.0, 0.0], (
        "what comes back is sent again: the first stays old"
    )


def test_the_stale_share_is_in_the_weight_of_the_blocks() -> None:
    """What a definition was estimated at when it was sent only divides its block."""
    blocks = [definition_block(("a", "1", 30), ("b", "1", 10)), definition_block(("a", "2", 20))]
    assert stale_share(blocks, [80, 40], {}) == 60 / 120


def test_a_signature_and_then_the_text_of_one_version_both_go_stale() -> None:
    blocks = [definition_block(("a", "1", 5)), definition_block(("a", "1", 30)), definition_block(("a", "2", 30))]
    assert stale_share(blocks, [5, 30, 30], {}) == 35 / 65


VERSIONS = st.tuples(st.sampled_from("abc"), st.sampled_from(["1", "2", ""]), st.integers(0, 40))


@given(
    st.lists(st.lists(VERSIONS, max_size=4), max_size=8),
    st.integers(0, 8),
    st.dictionaries(st.sampled_from("abcd"), st.sampled_from("123")),
)
def test_blocks_read_in_two_parts_say_the_same_as_read_at_once(
    told: list[list[tuple[str, str, int]]], cut: int, current: dict[str, str]
) -> None:
    blocks = [definition_block(*items) for items in told]
    weights = [float(10 + number) for number in range(len(blocks))]
    whole = ReadBlocks().then(blocks, weights)
    parts = ReadBlocks().then(blocks[:cut], weights[:cut]).then(blocks[cut:], weights[cut:])
    assert parts == whole
    assert parts.stale_weights(current) == whole.stale_weights(current)
    assert whole.held == held_definitions(blocks)


def test_a_removed_definition_is_remembered_as_such_until_it_is_sent_again() -> None:
    removed = Block(
        layer=Layer.HYDRATION,
        role=Role.USER,
        content=Text("…"),
        holds=({"name": "a", "digest": "", "form": "removed"},),
    )
    blocks = [definition_block(("a", "1", 5)), removed]
    assert removed_definitions(blocks) == ("a",)
    assert removed_definitions([*blocks, definition_block(("a", "1", 5))]) == ()
