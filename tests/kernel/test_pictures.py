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
    assert "1 picture, 1 sent with this task" in first.text
    kernel.ok("%%agent\nAnd `fig` once more?")
    assert "Picture: fig" in kernel.ok("%agent_context show").text


def test_a_connection_of_the_main_thread_is_described_and_pinned(kernel: Any) -> None:
    kernel.ok("import sqlite3\ndb = sqlite3.connect(':memory:')\n_ = db.execute('CREATE TABLE tides (high REAL)')")
    assert "schema" in kernel.ok("%agent_context pin db").text
    layers = kernel.ok("%agent What is in the project?").run["layers"]
    assert next(layer["tokens"] for layer in layers if layer["name"] == "SEMI_STATIC") > 0
    assert "Nothing is pinned" in kernel.ok("%agent_context unpin db").text
    assert "CREATE TABLE tides" in kernel.ok("%%agent -t new\nInspect `db` please.").text
