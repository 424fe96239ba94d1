"""Figures and databases in a real kernel, where the agent works in a thread of its own."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = [pytest.mark.kernel, pytest.mark.slow]


def test_a_figure_of_the_inline_backend_goes_along_and_stays_as_it_was(kernel: Any) -> None:
    pytest.importorskip("matplotlib")
    kernel.ok(
        "%matplotlib inline\nimport matplotlib.pyplot as plt\nfig, ax = plt.subplots()\n_ = ax.plot([1, 3, 2])\n"
        "called = []\n_ = fig.canvas.mpl_connect('draw_event', called.append)"
    )
    kernel.ok("called.clear(); before = (fig.dpi, fig.canvas, plt.get_fignums(), plt.get_backend())")
    first = kernel.ok("%%agent\nWhat does `fig` show?")
    (item,) = first.run["images"]
    assert (item["name"], item["media_type"], item["new"]) == ("fig", "image/png", True)
    assert "What a picture shows cannot be redacted" in first.text.replace("\n", " ")
    kernel.ok("assert called == [] and before == (fig.dpi, fig.canvas, plt.get_fignums(), plt.get_backend())")
    assert [item["new"] for item in kernel.ok("%%agent\nAnd `ax` again?").run["images"]] == [False]
    assert kernel.ok("%%agent --context none\nWhat does fig show?").run["images"] == []
    kernel.ok("%%agent\nAnd `fig` once more?")
    assert "Picture: fig" in kernel.ok("%agent_context show").text


def test_a_connection_of_the_main_thread_is_described_and_pinned(kernel: Any) -> None:
    kernel.ok("import sqlite3\ndb = sqlite3.connect(':memory:')\n_ = db.execute('CREATE TABLE tides (high REAL)')")
    assert "schema" in kernel.ok("%agent_context pin db").text
    layers = kernel.ok("%agent What is in the project?").run["layers"]
    assert next(layer["tokens"] for layer in layers if layer["name"] == "SEMI_STATIC") > 0
    assert "Nothing is pinned, added" in kernel.ok("%agent_context unpin db").text
    said = kernel.ok("%%agent -t new\nInspect `db` please.").text
    assert "its schema is read when it is pinned" in " ".join(said.split())


SPEAKS = "%%agent\nWhat does the plot above show?"


def number_of(result: Any) -> int:
    """The number that the front end shows beside the cell."""
    inputs = (message for message in result.messages if message["header"]["msg_type"] == "execute_input")
    return int(next(inputs)["content"]["execution_count"])


def test_a_figure_that_was_only_shown_goes_along_with_its_cell(kernel: Any) -> None:
    pytest.importorskip("matplotlib")
    kernel.ok(
        "%matplotlib inline\nimport gc, weakref\nimport matplotlib.pyplot as plt\nfrom matplotlib.figure import Figure"
    )
    plot = "plt.plot([1, 3, 2], label='high')\nplt.title('Tide')\nseen = weakref.ref(plt.gcf());"
    drawn = kernel.ok(plot, cell="ebb")
    assert any("image/png" in bundle for bundle in drawn.displays)
    first = kernel.ok(SPEAKS, cell="ask")
    (item,) = first.run["images"]
    assert item["name"] == f"figure shown by cell {number_of(drawn)}"
    assert "1 lines 'high'" in item["text"]
    assert "'Tide'" in item["text"]
    assert [i["new"] for i in kernel.ok(SPEAKS.replace("above", "now"), cell="ask 2").run["images"]] == [False]
    kernel.ok("assert plt.get_fignums() == []\ngc.collect()\nassert seen() is None", cell="held")
    again = kernel.ok(plot, cell="ebb") and kernel.ok(SPEAKS, cell="ask 3")
    assert again.run["images"][0]["digest"] == item["digest"], "the same figure anew is the same bytes"
    assert kernel.ok("%%agent\nWhat is 1 + 1?").run["images"] == []
    kernel.ok("pass", cell="ebb")
    assert kernel.ok(SPEAKS, cell="ask 4").run["images"] == [], "its cell ran anew and shows nothing"


def test_results_many_figures_and_charts_that_the_front_end_draws(kernel: Any) -> None:
    pytest.importorskip("matplotlib")
    kernel.ok("%matplotlib inline\nimport matplotlib.pyplot as plt\nfrom PIL import Image")
    red = kernel.ok("Image.new('RGB', (20, 10), 'red')", cell="red")
    assert [(i["name"], i["width"]) for i in kernel.ok("%agent Explain this picture").run["images"]] == [
        (f"figure shown by cell {number_of(red)}", 20)
    ]
    six = kernel.ok("for i in range(6):\n    plt.plot([i])\n    plt.show()", cell="six")
    names = [i["name"] for i in kernel.ok("%agent Compare the plots").run["images"]]
    assert names == [f"figure {i} of 4 shown by cell {number_of(six)}" for i in range(1, 5)]
    kernel.ok("from IPython.display import clear_output\nplt.plot([1])\nplt.show()\nclear_output()", cell="cleared")
    assert f"shown by cell {number_of(six)}" in kernel.ok("%agent And these plots?").run["images"][0]["name"]
    chart = {"data": [{"type": "bar", "name": "high"}], "layout": {"title": {"text": "Tide"}}}
    bars = kernel.ok(
        f"display({{'application/vnd.plotly.v1+json': {chart}, 'text/plain': 'f'}}, raw=True)", cell="bars"
    )
    run = kernel.ok("%agent Explain the chart").run
    assert run["images"] == []
    assert f"No picture of figure shown by cell {number_of(bars)} was sent" in " ".join(run["notes"])


def test_what_threads_and_tasks_show_after_their_cell_ended_goes_along_with_the_cell_that_shows_it(kernel: Any) -> None:
    pytest.importorskip("matplotlib")
    kernel.ok("%matplotlib inline\nimport asyncio, threading\nimport matplotlib.pyplot as plt")
    kernel.ok(
        "ended, go = threading.Event(), asyncio.Event()\n"
        "get_ipython().events.register('post_run_cell', lambda result: ended.set())\n"
        "def draw(title, wait=ended.wait):\n    wait()\n    fig, ax = plt.subplots()\n    ax.set_title(title)\n"
        "    display(fig)\n    plt.close(fig)\n"
        "async def later():\n    await go.wait()\n    draw('From a task', wait=int)"
    )
    begun = kernel.send(
        "ended.clear()\nworker = threading.Thread(target=draw, args=['From a thread'])\nworker.start()", "ebb"
    )
    shown = kernel.collect(begun)
    if not shown.displays:
        kernel.collect(begun, into=shown, until=lambda result: bool(result.displays))
    (item,) = kernel.ok(SPEAKS, cell="ask").run["images"]
    ebb = f"figure shown by cell {number_of(shown)}"
    assert item["name"] == ebb
    assert "'From a thread'" in item["text"], "what only the figure itself can tell"
    flow = kernel.ok("task = asyncio.get_running_loop().create_task(later())", cell="flow")
    kernel.ok("go.set(); await task; print('a later cell')", cell="other")
    (item,) = kernel.ok(SPEAKS, cell="ask 2").run["images"]
    assert (item["name"], "'From a task'" in item["text"]) == (f"figure shown by cell {number_of(flow)}", True)
    kernel.ok("pass", cell="flow")
    assert kernel.ok(SPEAKS, cell="ask 3").run["images"][0]["name"] == ebb


def test_unloading_leaves_no_hook_and_nothing_that_a_figure_shows_is_changed(kernel: Any) -> None:
    pytest.importorskip("matplotlib")
    hooks = (
        "[*get_ipython().display_pub._hooks, *getattr(get_ipython().displayhook, '_hooks', ())], "
        "[key for key in (*get_ipython().display_formatter.mimebundle_formatter.type_printers, "
        "*get_ipython().display_formatter.mimebundle_formatter.deferred_printers) if 'Figure' in str(key)]"
    )
    kernel.ok("%matplotlib inline\nimport matplotlib.pyplot as plt\n_ = plt.plot([1])")
    kernel.ok("%unload_ext agentnb")
    kernel.ok(f"assert ({hooks}) == ([], []), ({hooks})")
    plain = kernel.ok("_ = plt.plot([1, 2])").displays
    kernel.ok("%load_ext agentnb")
    assert kernel.ok("_ = plt.plot([1, 2])").displays == plain


def test_the_figure_that_is_spoken_of_goes_along_and_no_other(kernel: Any) -> None:
    pytest.importorskip("matplotlib")
    kernel.ok("%matplotlib inline\nimport matplotlib.pyplot as plt\nfrom PIL import Image")
    peak = number_of(kernel.ok("plt.plot([1, 5, 2])\nplt.title('Peak')\nplt.show()", cell="peak"))
    bars = number_of(kernel.ok("plt.bar(['a', 'b'], [5, 2])\nplt.show()", cell="bars"))
    red = number_of(kernel.ok("Image.new('RGB', (20, 10), 'red')", cell="red"))
    for task, numbers in (
        (f"Is the chart in In[{peak}] right?", [peak]),
        (f"Explain In[{bars}] and its output.", [bars]),
        ("Why is the first plot so high?", [peak]),
        ("What does the bar chart say?", [bars]),
        ("Explain the peak plot.", [peak]),
        ("What does the plot above show?", [red]),
        ("Compare all plots.", [peak, bars, red]),
        (f"Explain In[{bars}].", []),
    ):
        names = [item["name"] for item in kernel.ok(f"%%agent -t new\n{task}").run["images"]]
        assert names == [f"figure shown by cell {number}" for number in numbers], task
