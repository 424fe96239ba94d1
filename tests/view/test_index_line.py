"""The live view says what goes on beside the run, while it does."""

from __future__ import annotations

from agentnb.view.progress import Progress


def test_the_live_view_says_what_goes_on_beside_the_run() -> None:
    beside = "index: networkx 212 of 601 files"
    run = Progress(began=0.0)
    assert beside in run.line(1.0, beside)
    assert beside in run.stage_html(beside)
    assert "index" not in run.line(1.0)
