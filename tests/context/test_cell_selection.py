"""Which cells a question brings: by number, place and kind, by names and what they use, by rare words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnb.context.cell_selection import CellChoice, HeldCell, choose
from agentnb.context.notebook.cell_runs import CellLog, CellRun, stem
from agentnb.context.notebook.cell_text import outline_line
from agentnb.context.notebook.outputs import Output
from agentnb.context.notebook.pointing import pointed, pointed_words
from agentnb.context.question_words import CellQuestion, match_words, names_spoken_of


def count(text: str) -> int:
    return len(text) // 4


def log_of(*cells: str | tuple[str, str, str]) -> CellLog:
    log = CellLog()
    for number, cell in enumerate(cells, 1):
        source, kind, text = (cell, "", "") if isinstance(cell, str) else cell
        outputs: list[Any] = [Output(kind=kind, text=text)] if kind else []  # type: ignore[arg-type]
        log.record(source, cell=f"id{number}", number=number, outputs=outputs)
    return log


def chosen(
    log: CellLog, task: str, *, held: dict[str, HeldCell] | None = None, budget: int = 16_000, **more: Any
) -> CellChoice:
    question = CellQuestion(task=task, **more)
    return choose(question, log.runs, held=held or {}, by_number=log.by_number, count=count, budget=budget)


def held_after(choice: CellChoice) -> dict[str, HeldCell]:
    return {i.run.cell: HeldCell(number=i.run.number, form=i.form.name, body=i.body) for i in choice.picked}


def numbers(choice: CellChoice) -> list[int]:
    return [item.run.number for item in choice.picked]


FILLER = [
    (f"step_{i} = transform_{i}(source_{i})\nprint(step_{i})" + "\n# padding" * 30, "printed", f"{i}.5\n" * 30)
    for i in range(1, 40)
]


def reasons(choice: CellChoice) -> dict[int, str]:
    return {item.run.number: item.reason for item in choice.picked}


def test_a_small_notebook_is_told_whole_and_in_the_order_of_running() -> None:
    log = log_of("a = 1", "b = a + 1", ("b", "result", "2"))
    assert numbers(chosen(log, "Hello")) == [1, 2, 3]
    assert not chosen(log, "Hello").outlined


@pytest.mark.parametrize(
    ("task", "number"),
    [
        ("Explain In[7].", 7),
        ("Explain cell 7 please", 7),
        ("What does Out[7] mean?", 7),
        ("Erkläre Zelle 7.", 7),
        ("Explique la celda 7", 7),
        ("Explique la cellule 7", 7),
        ("解释单元格 7", 7),
        ("セル 7 を説明して", 7),
        ("Compare cells 3, 5 and 7", 7),
        ("Go through cells 5-8", 7),
        ("Explain the 7th cell", 7),
        ("Explain the seventh cell", 7),
        ("Why is step_7 odd?", 7),
        ("What about step 7?", 7),
        ("Explain the cell above", 39),
        ("Was macht die Zelle oben?", 39),
        ("Explain two cells above", 38),
        ("the previous cell", 39),
    ],
)
def test_cells_by_number_and_place_in_a_long_notebook(task: str, number: int) -> None:
    choice = chosen(log_of(*FILLER), task)
    assert number in numbers(choice)
    assert len(choice.outlined) > 10, "the others get a line each"
    assert {item.run.number for item in choice.picked} | {run.number for run in choice.outlined} == set(range(1, 40))


def test_last_of_each_kind() -> None:
    cells: list[Any] = [*FILLER]
    cells[4] = ("plt.plot(x)", "figure", "Figure: 1 line")
    cells[9] = ("frame", "table", "  a\n0 1\n[99 rows x 1 columns]")
    cells[14] = ("1/0", "error", "ZeroDivisionError: division by zero\n    1/0")
    cells[19] = ("noisy()", "warnings", "UserWarning: careful")
    log = log_of(*cells)
    for task, number in (
        ("What does the last plot show?", 5),
        ("Describe the table above.", 10),
        ("What is this error?", 15),
        ("What went wrong?", 15),
        ("Why the ZeroDivisionError?", 15),
        ("Can I ignore the warning?", 20),
    ):
        assert number in numbers(chosen(log, task)), task


def test_a_backward_slice_brings_what_is_used_and_what_changed_it() -> None:
    cells: list[Any] = [*FILLER]
    cells[2] = "raw = load('a.csv')" + "\n# padding" * 20
    cells[5] = "raw['price'] = raw.price.fillna(0)" + "\n# padding" * 20
    cells[8] = "table = pivot(raw)" + "\n# padding" * 20
    cells[30] = "raw.drop(columns='id', inplace=True)" + "\n# padding" * 20
    choice = chosen(log_of(*cells), "Where does `table` come from?")
    why = reasons(choice)
    assert why[9] == "sets table"
    assert why[3] == "sets raw, which cell 9 uses"
    assert why[6] == "changes raw, which cell 9 uses"


def test_stale_cells_are_never_taken_for_current_ones() -> None:
    log = log_of("limit = 10", *FILLER)
    log.record("limit = 99", cell="other", number=41)
    choice = chosen(log, "What is the limit?")
    texts = {item.run.number: item.text for item in choice.picked}
    assert "limit = 99" in texts[41]
    assert 1 not in texts or choice.picked[0].reason != "sets limit"


def test_a_function_that_a_later_cell_defines_anew_is_told_as_past() -> None:
    log = log_of(
        "def price(x):\n    return 2 * x", "old = price(3)", "def price(x):\n    return 3 * x", "price = wrap(price)"
    )
    told = {item.run.number: item.text for item in chosen(log, "What does price do?").picked}
    assert 'past="price is defined anew in cell 3"' in told[1]
    assert all("past=" not in told[number] for number in (2, 3, 4)), "what wraps the old one needs it"


@pytest.mark.parametrize(
    ("task", "known", "found"),
    [
        ("the thick model", ["thick_model", "thin_model"], ["thick_model"]),
        ("our sales", ["sale"], ["sale"]),
        ("Why is ThickModel slow?", ["thick_model"], ["thick_model"]),
        ("is x too large", ["x"], ["x"]),
        ("I am a reader", ["a", "I"], []),
        ("what is in it", ["it", "in_"], []),
        ("`a` and @b", ["a", "b"], ["a", "b"]),
        ("Warum ist umsatz so hoch?", ["umsatz"], ["umsatz"]),
    ],
)
def test_names_as_people_say_them(task: str, known: list[str], found: list[str]) -> None:
    assert names_spoken_of(task, known) == found


def test_inflections_share_a_stem() -> None:
    for words in (("outlier", "outliers"), ("fit", "fitting", "fitted"), ("query", "queries"), ("mean", "means")):
        assert len({stem(word) for word in words}) == 1, words


def test_a_follow_up_keeps_what_it_speaks_of() -> None:
    log = log_of(*FILLER)
    choice = chosen(log, "and why is that?", earlier=("Explain `step_12`.",))
    assert reasons(choice)[12] == "sets step_12"


def test_nothing_is_sent_twice_and_a_richer_form_says_so() -> None:
    log = log_of(*FILLER)
    first = chosen(log, "Explain cell 7.")
    held = held_after(first)
    held |= {run.cell: HeldCell(number=run.number, form="outline") for run in first.outlined}
    again = chosen(log, "Explain cell 7.", held=held)
    assert not again.picked
    assert not again.outline_text
    other = chosen(log, "Explain cell 9.", held=held)
    (item,) = [item for item in other.picked if item.run.number == 9]
    if held["id9"].form == "outline":
        assert 'more_than="its line"' in item.text


def test_a_run_that_changed_nothing_says_only_that() -> None:
    log = log_of("a = 1", ("a", "result", "1"))
    first = chosen(log, "What?")
    held = held_after(first)
    log.record("a", cell="id2", number=3, outputs=[Output(kind="result", text="1")])
    (item,) = chosen(log, "What?", held=held).picked
    assert item.text == '<cell number="3" replaces="2" state="the same source and outputs"/>'


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                ["a = b", "b = 1", "a", "print(a)", "b += 1", "def f():\n    return a", "%%bash\nls", "((("]
            ),
            st.sampled_from(["", "printed", "result", "table", "error", "figure"]),
            st.text(max_size=400),
        ),
        max_size=40,
    ),
    st.text(max_size=80) | st.sampled_from(["Explain cell 3", "the last plot", "a", "everything", "In[99]"]),
    st.integers(0, 3000),
)
def test_whatever_is_asked_the_budget_holds_and_every_cell_is_told_once(
    cells: list[tuple[str, str, str]], task: str, budget: int
) -> None:
    log = log_of(*cells)
    choice = chosen(log, task, budget=budget)
    lines = sum(count(outline_line(item.run)) for item in choice.picked)
    assert sum(item.tokens for item in choice.picked) <= budget + lines, "a cell that is told needs no line"
    told = [run.number for run in (*(item.run for item in choice.picked), *choice.outlined)]
    assert sorted(told) == sorted(run.number for run in log.runs)
    orders = [item.run.order for item in choice.picked]
    assert orders == sorted(orders)
    assert chosen(log, task, budget=budget) == choice, "the same question brings the same bytes"


def test_hidden_cells_and_our_own_are_no_context() -> None:
    log = CellLog()
    log.record("%%agent\nExplain.", cell="x", number=1)
    log.record("%load_ext agentnb\n%config AgentNB.model = 'sim:gpt-4.1'", cell="y", number=2)
    log.record("%load_ext agentnb\nimport math", cell="z", number=3)
    log.record("secret = 1", cell="s", number=4)
    log.hidden.add("s")
    assert [run.number for run in log.runs] == [3]
    assert isinstance(log.of_cell("s"), CellRun)
    assert log.of_number(4) is None


def test_the_functions_and_methods_that_a_spoken_of_cell_calls_come_along() -> None:
    cells: list[Any] = [*FILLER]
    cells[3] = "def rate(x):\n    return x * 2" + "\n# padding" * 20
    cells[6] = "class Till:\n    def settle(self, x):\n        return rate(x)" + "\n# padding" * 20
    cells[20] = "till.settle(4)"
    why = reasons(chosen(log_of(*cells), "Explain cell 21."))
    assert why[7] == "defines settle, which cell 21 calls"
    assert why[4] == "defines rate, which cell 7 calls"


def test_the_cells_in_which_an_error_was_raised_come_along() -> None:
    cells: list[Any] = [*FILLER]
    cells[5] = "def pick(rows):\n    return rows.pop(99)" + "\n# padding" * 20
    cells[20] = ("go()", "error", "IndexError: pop index out of range\n    go()\n        return rows.pop(99)")
    assert reasons(chosen(log_of(*cells), "Why did it fail?"))[6] == "an error was raised in it"


def test_which_of_several_plots_is_meant_is_said_by_the_words_before() -> None:
    cells: list[Any] = [*FILLER]
    for place in (4, 12, 25):
        cells[place] = (f"plt.plot(x{place})", "figure", "Figure: 1 line")
    log = log_of(*cells)
    for task, number in (
        ("What does the last plot show?", 26),
        ("Describe the first plot.", 5),
        ("And the second figure?", 13),
        ("What does the plot before that show?", 13),
        ("Describe the previous chart", 13),
    ):
        assert [n for n, why in reasons(chosen(log, task)).items() if "figure" in why] == [number], task
    both = reasons(chosen(log, "Compare both plots."))
    assert {5, 13, 26} == {n for n, why in both.items() if why == "one of the figures"}


@pytest.mark.parametrize(
    ("task", "number"),
    [
        ("What does the peak plot show?", 5),
        ("Is the histogram right?", 13),
        ("Explain the plot of rainfall.", 26),
        ("Explain the plot.", 26),
        ("What does the last plot of the peak show?", 26),
    ],
)
def test_a_plot_is_told_from_others_by_the_words_beside_it(task: str, number: int) -> None:
    cells: list[Any] = [*FILLER]
    cells[4] = ("ax.plot(levels)\nax.set_title('Peak')\nplt.show()", "figure", "matplotlib figure, 'Peak'")
    cells[12] = ("plt.hist(levels)\nplt.show()", "figure", "matplotlib figure, 20 patches")
    cells[25] = ("rainfall.plot()", "figure", "matplotlib figure, 1 lines")
    assert [n for n, why in reasons(chosen(log_of(*cells), task)).items() if " figure" in why] == [number]


def test_what_is_meant_by_its_place_is_said() -> None:
    log = log_of("a = 1", ("b = 2\nb", "table", "2"), "c = 3")
    runs = log.runs
    for task, above, words in (
        ("Explain the cell above.", runs[0], "The task points at cell 1 (the cell above)."),
        ("Explain the cell above.", runs[2], ""),
        ("Explain the first cell", None, "The task points at cell 1 (the first cell)."),
        ("Explain the table above.", None, "The task points at cell 2 (the last table)."),
        ("Explain the table.", None, "The task points at cell 2 (the last table)."),
        ("Explain cell 2.", None, ""),
    ):
        means = pointed(task, runs, by_number=log.by_number, placed=runs, above=above)
        assert pointed_words(task, means, runs) == words


def test_a_small_notebook_is_told_whole_whatever_is_asked() -> None:
    rows = "\n".join(f"row {number}" for number in range(25))
    log = log_of(*((f"step_{i} = load({i})\nstep_{i}", "result", rows) for i in range(8)))
    for task in ("Hello", "Summarise this notebook.", "Explain In[3].", "Why is step_2 so?"):
        choice = chosen(log, task, budget=4_000)
        assert [item.form.name for item in choice.picked] == ["cell"] * 8, task


@pytest.mark.parametrize(
    ("task", "number"), [("the cell after step_9", 10), ("What does the cell before step_9 do?", 8)]
)
def test_a_cell_beside_one_that_is_named(task: str, number: int) -> None:
    assert number in numbers(chosen(log_of(*FILLER), task))


def test_the_function_above_is_the_last_that_was_defined() -> None:
    cells: list[Any] = [*FILLER]
    cells[10] = "def tidy(x):\n    return x"
    assert 11 in numbers(chosen(log_of(*cells), "Write a test for the function above."))


def test_the_other_one_is_what_has_a_part_of_its_name() -> None:
    cells: list[Any] = [*FILLER]
    cells[3], cells[30] = "thin_model = 1" + "\n# padding" * 20, "thick_model = 2" + "\n# padding" * 20
    earlier = ("And why?", "How good is the thick model?")
    why = reasons(chosen(log_of(*cells), "And the other one?", earlier=earlier))
    assert why[4] == "sets thin_model"
    assert 31 in why


@pytest.mark.parametrize(
    ("task", "source"),
    [
        ("Wie viele Patienten fehlen?", "patient_table = 3"),
        ("Why did ann have to pay?", "print('paid by', 4)"),
        ("Is it rising over the years?", "slope = np.polyfit(a, b, 1)"),
    ],
)
def test_words_in_other_forms_find_their_cells(task: str, source: str) -> None:
    cells: list[Any] = [*FILLER]
    cells[8] = source
    assert 9 in numbers(chosen(log_of(*cells), task))


def test_the_cell_that_was_written_anew_after_one_that_failed_comes_along() -> None:
    cells: list[Any] = [*FILLER]
    cells[8] = ("rows = read('a.csv', sepp=';')", "error", "TypeError: unexpected keyword 'sepp'")
    cells[9] = "rows = read('a.csv', sep=';')"
    assert reasons(chosen(log_of(*cells), "What was the error?"))[10] == "is much like cell 9, which failed"


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("two cells up", [11]),
        ("explain what the two cells above do", [11, 12]),
        ("zwei Zellen weiter oben", [11]),
        ("dos celdas arriba", [11]),
        ("deux cellules plus haut", [11]),
        ("die vorletzte Zelle erklären", [11]),
        ("the next to last cell", [11]),
        ("the cell before last", [11]),
        ("first two cells", [1, 2]),
        ("die dritte Zelle bitte", [3]),
        ("la tercera celda", [3]),
        ("explain _3", [3]),
        ("explain output 3", [3]),
        ("was sagt Ausgabe 3?", [3]),
        ("Was zeigt die zweite Grafik?", [6]),
        ("¿Por qué la segunda gráfica es distinta?", [6]),
        ("le deuxième graphique", [6]),
        ("the 2nd plot", [6]),
        ("Explain plot 2", [6]),
        ("explain figure number 3", [8]),
        ("the last two plots", [6, 8]),
        ("die erste Tabelle", [3]),
        ("Warum schlägt das fehl?", [9]),
        ("¿por qué falla?", [9]),
        ("how many are above the mean?", []),
        ("days above 30 degrees", []),
    ],
)
def test_places_are_understood_in_other_wordings_and_languages(task: str, expected: list[int]) -> None:
    kinds = {3: "table", 4: "figure", 6: "figure", 8: "figure", 9: "error", 11: "table"}
    log = log_of(*((f"v{n} = {n}", kinds[n], f"{n}") if n in kinds else f"v{n} = {n}" for n in range(1, 13)))
    means = pointed(task, log.runs, by_number=log.by_number, above=log.runs[-1])
    assert sorted(run.number for run, _ in means.cells) == expected


def test_a_plot_that_nobody_has_shown_is_told_from_one_that_is_asked_for() -> None:
    log = log_of("a = 1", ("a", "result", "1"))
    for task, lacks in (("Explain the plot.", True), ("What does this histogram say?", True), ("Plot a.", False)):
        assert pointed(task, log.runs, by_number=log.by_number).no_figure is lacks, task
    log.record("draw(a)", cell="id3", number=3, outputs=[Output(kind="figure", text="one")])
    assert not pointed("Explain the plot.", log.runs, by_number=log.by_number).no_figure


def test_a_verb_that_asks_for_a_plot_points_at_none() -> None:
    cells: list[Any] = [*FILLER]
    cells[4] = ("plt.plot(x)", "figure", "Figure: 1 line")
    log = log_of(*cells)
    for task in ("Plot step_20 over time.", "Please plot step_20.", "Thanks. Now plot step_20"):
        assert "the last figure" not in reasons(chosen(log, task)).values(), task
    assert "the last figure" in reasons(chosen(log, "Label the axes of the plot.")).values()


def test_a_parameter_of_one_letter_and_a_word_with_a_capital_inside_are_words() -> None:
    cells: list[Any] = [*FILLER]
    cells[6] = "def elo(k=24):\n    return k * 2" + "\n# padding" * 20
    cells[16] = "# pH of the sample" + "\n# padding" * 20
    log = log_of(*cells)
    assert 7 in numbers(chosen(log, "What changes with a larger k?"))
    assert 17 in numbers(chosen(log, "Explain the formula for the pH."))


def test_an_older_run_that_is_named_takes_no_newer_ones_place() -> None:
    log = log_of("limit = 1", *FILLER)
    log.record("limit = 2", cell=log.of_number(1).cell, number=60)
    held = {log.of_number(60).cell: HeldCell(number=60, form="cell")}
    (picked,) = [item for item in chosen(log, "Explain In[1].", held=held).picked if item.run.number == 1]
    assert picked.older
    assert '<cell number="1" older_than="60">' in picked.text


def test_an_older_run_that_is_named_first_is_told_as_older_beside_the_newest() -> None:
    log = log_of(*FILLER[:20])
    log.record("step_3 = 0\nprint(step_3)", cell="id3", number=21)
    choice = chosen(log, "Explain In[3].", budget=300)
    told = next(item for item in choice.picked if item.run.number == 3)
    assert told.older
    assert '<cell number="3" older_than="21">' in told.text
    assert 21 in {*numbers(choice), *(run.number for run in choice.outlined)}


def test_where_a_question_points_at_nothing_any_cell_may_be_meant() -> None:
    cells = [
        f"level_{i} = gauge_{i}.read(quality={i}) + offset_{i}  # the {i}th station, up the river" for i in range(60)
    ]
    log = log_of(*cells)
    vague, clear = chosen(log, "Warum ist das so?"), chosen(log, "Why is `level_7` so high?")
    assert len(vague.picked) == len(cells)
    assert len(clear.picked) < len(cells)
    assert len(chosen(log, "Warum ist das so?", budget=500).picked) < len(cells)


@pytest.mark.parametrize(
    ("task", "source"),
    [
        ("Which network is fastest?", "by_net = frame.groupby('net').ms.mean()"),
        ("How was the temperature made up?", "frame['temp'] = 11 + noise"),
        ("Which ones say the same thing?", "pairs = frame.duplicated()"),
    ],
)
def test_abbreviations_and_what_code_calls_it_find_their_cells(task: str, source: str) -> None:
    log = log_of(*FILLER[:10], source, *FILLER[10:])
    assert reasons(chosen(log, task))[11].startswith("the question's word")


@pytest.mark.parametrize(
    ("task", "source"),
    [
        ("Which two of them are most alike?", "pair = unravel(likeness.argmax())"),
        ("Who is the gloomiest?", "scores.sort_values()"),
        ("Wie hoch ist der Mittelwert?", "values.mean()"),
        ("Combien de lignes ?", "len(rows)"),
        ("¿Qué columna falta?", "rows.isna()"),
        ("Which ones are ignored?", "STOP = {1, 2}"),
    ],
)
def test_questions_in_other_words_and_languages_find_their_cells(task: str, source: str) -> None:
    choice = chosen(log_of(*FILLER[:20], source, *FILLER[20:]), task)
    assert reasons(choice)[21].startswith("the question's word")


def test_of_cells_that_names_and_words_lead_to_those_come_first_that_share_most_of_the_question() -> None:
    long = "\n".join(f"runs[{i}] = {i}" for i in range(60))
    counted = ("zone.value_counts()", "printed", "zone 3   16\n" * 40)
    log = log_of("runs = load()", *[long] * 5, counted, *(f"y{i} = 1" for i in range(14)))
    found = reasons(chosen(log, "How many runs were in zone 3?"))
    assert found[7].startswith("the question's words")
    assert found[1] == "sets runs"


def test_the_five_cells_that_share_most_are_told_however_little_half_of_the_notebook_is() -> None:
    found = [f"print('tie', {i}, '{'x' * 150}')" for i in range(7)]
    log = log_of(*found, *(f"y{i} = 1" for i in range(14)))
    told = set(numbers(chosen(log, "Which tie was removed?"))) & set(range(1, 8))
    assert 5 <= len(told) < 7


def test_of_several_names_that_code_has_for_a_thing_a_cell_counts_one() -> None:
    cells = list(log_of("a.max(); a.argmax(); a.idxmax(); a.nlargest()", "peak = hourly[3]").runs)
    matched = match_words(CellQuestion(task="Where is the peak?"), cells)
    assert matched[cells[0].identity].weight < matched[cells[1].identity].weight


def test_a_single_digit_counts_less_than_a_word() -> None:
    cells = list(log_of(("show(a)", "printed", "9"), ("show(b)", "printed", "rank")).runs)
    matched = match_words(CellQuestion(task="Why rank 9?"), cells)
    assert matched[cells[0].identity].weight < matched[cells[1].identity].weight


def test_what_code_calls_a_thing_is_looked_for_in_code_alone() -> None:
    log = log_of(*FILLER[:20], ("look_at(frame)", "table", "min 1\nmax 9"), "top = frame.max()", *FILLER[20:])
    found = reasons(chosen(log, "Which one is the largest?"))
    assert found[22].startswith("the question's word")
    assert not found.get(21, "").startswith("the question's word")


def test_a_cell_that_writes_a_module_is_where_its_functions_come_from() -> None:
    written = "%%writefile lifts.py\ndef nearest(lifts):\n    return min(lifts)\n"
    log = log_of(written, "from lifts import nearest", *FILLER, "pick = nearest([3, 1])")
    assert reasons(chosen(log, "How does nearest work?"))[1] == "defines nearest"
    assert "calls" in reasons(chosen(log, "Explain pick."))[1]


def test_a_follow_up_that_leaves_out_its_noun_takes_the_one_before() -> None:
    log = log_of(
        *FILLER[:20],
        ("draw(a)", "figure", "one"),
        ("draw(b)", "figure", "two"),
        ("draw(c)", "figure", "three"),
        *FILLER,
    )
    before = ("What does the first plot show?",)
    assert reasons(chosen(log, "and the second?", earlier=before))[22] == "the second figure"
