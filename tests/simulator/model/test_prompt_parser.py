"""What the simulated model finds in a conversation."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agentnb.simulator.model.dialogue import Said
from agentnb.simulator.model.prompt_parser import Conversation, read


def user(*texts: str, role: str = "user") -> Conversation:
    return read([Said(kind="text", role=role, text=text) for text in texts])


def test_cells_with_their_outputs_whatever_their_attributes(cells: str) -> None:
    held = user(cells)
    assert held.cells[1].source == "sales = [120, 130, 900]"
    assert (held.cells[2].output, held.cells[2].source.startswith("def growth")) == ("7.5", True)
    assert held.definitions["growth"].place == "cell 2"
    assert set(held.values) == {"sales", "table"}


def test_a_cell_that_is_sent_again_replaces_the_older() -> None:
    held = user('<cell number="1">\nx = 1\n</cell>', '<cell number="1" replaces="ab">\nx = 2\n</cell>')
    assert held.cells[1].source == "x = 2"


def test_a_later_run_of_a_cell_takes_the_place_of_the_run_that_it_names() -> None:
    held = user('<cell number="1">\nx = 1\n</cell>', '<cell number="3" replaces="1">\nx = 2\n</cell>')
    assert [(number, cell.source) for number, cell in held.cells.items()] == [(3, "x = 2")]


def test_cells_that_are_told_in_a_line() -> None:
    lines = "1: df limit -> table 5 x 2\n2: look at\n3: def f():\n     return 1\n -> 1\n 2"
    held = user(f'<notebook form="outline">\n{lines}\n</notebook>', '<cell number="2">\ndf.head()\n</cell>')
    assert (held.cells[1].output, held.cells[2].source) == ("table 5 x 2", "df.head()")
    assert (held.cells[3].source, held.cells[3].output) == ("def f():\n    return 1", "1\n2")


def test_the_list_of_names_grows_and_shrinks() -> None:
    first = "<names>\ndf: DataFrame 5 x 2\nclean: function\nn: int\n</names>"
    held = user(first, '<names changes="yes" removed="n, m">\nk: list of 3\n</names>')
    assert held.values == {"df": "df: DataFrame 5 x 2", "k": "k: list of 3"}


def test_values_in_either_element() -> None:
    held = user("<values>\nweek: list of 337\n</values>", "<variables count='1'>\n- `df` DataFrame 3 x 4\n</variables>")
    assert held.values == {"week": "week: list of 337", "df": "- `df` DataFrame 3 x 4"}


def test_the_newest_version_of_a_definition_counts(tides: str) -> None:
    newer = tides.replace("2 * PI / period", "6.28 / period").replace('"cd"', '"ce" replaces="cd"')
    assert "6.28" in user(tides, newer).definitions["tides.omega"].source
    assert "tides.omega" not in user(tides, '<removed name="tides.omega"/>').definitions


def test_a_signature_does_not_hide_the_source(tides: str) -> None:
    held = user(tides, '<outline file="tides.py">\ndef omega(period): ...\n</outline>')
    assert held.definitions["tides.omega"].full
    assert not held.definitions["omega"].full


def test_a_name_as_the_package_offers_it_is_found() -> None:
    held = user('<definition name="networkx.classes.function.density">\ndef density(G): return 0\n</definition>')
    assert held.find("networkx.density") == held.find("density") == "networkx.classes.function.density"
    assert held.find("surge") == ""


def test_code_without_tags_is_found_in_what_the_user_says_only() -> None:
    code = "```python\nclass Tide(Wave):\n    def height(self): return 1\n```\nWhat is Tide?"
    assert list(user(code).definitions) == ["Tide"]
    assert not user(code, role="system").definitions


def test_elements_that_are_only_spoken_of_hold_nothing() -> None:
    assert user("Cells stand in <cell> elements, definitions in <definition> elements.") == Conversation(
        question="Cells stand in <cell> elements, definitions in <definition> elements."
    )


def test_the_next_question_starts_anew() -> None:
    done = [
        Said(kind="text", role="user", text="Run `1`"),
        Said(kind="call", role="assistant", name="run_code"),
        Said(kind="result", role="user", text="1"),
        Said(kind="text", role="assistant", text="1"),
        Said(kind="other", role="assistant"),  # Gemini's signatures follow the text
    ]
    assert (read(done).rounds, read(done).question) == (1, "Run `1`")
    after = read([*done, Said(kind="text", role="user", text="Why?")])
    assert (after.rounds, after.calls, after.question) == (0, (), "Why?")


def test_an_error_that_still_stands_is_the_one_told_before() -> None:
    told = "<error>\nValueError: bad\n</error>\n<task>Why?</task>"
    said = [Said(kind="text", role="user", text=told), Said(kind="text", role="assistant", text="So.")]
    still = "<error>\nThe error told last still stands.\n</error>\n<task>Fix it</task>"
    assert read([*said, Said(kind="text", role="user", text=still)]).failure.strip() == "ValueError: bad"
    assert read([*said, Said(kind="text", role="user", text="Fix it")]).failure == ""


@given(st.text(alphabet='<>/"= celtaskourp123\n', max_size=200))
def test_any_text_is_read(text: str) -> None:
    user(text, f'<cell number="1">{text}</cell>', f"<variables>{text}</variables>")
