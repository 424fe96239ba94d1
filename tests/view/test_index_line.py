"""The live view says how far the index has come, while it grows."""

from __future__ import annotations

from agentnb.view.view_text import summary_items


def test_the_live_view_says_how_far_the_index_is() -> None:
    live = {"phase": "answering", "elapsed": 1.2, "beside": "index: networkx 212 of 601 files"}
    document = {"state": "THINKING", "live": live}
    assert "index: networkx 212 of 601 files" in summary_items(document)
    assert "index" not in " ".join(summary_items(document | {"live": live | {"beside": ""}}))
    assert "index" not in " ".join(summary_items(document | {"state": "COMPLETED"}))
