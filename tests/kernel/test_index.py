"""The index of packages in a real kernel: what the user sees of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.kernel


def test_the_index_shows_how_far_it_is_and_its_names_can_be_pinned_and_completed(kernel: Any) -> None:
    package = Path(kernel.directory) / "tidal_things"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "waves.py").write_text("def crest_height(x):\n    return 2 * x\n")
    kernel.ok("%load_ext agentnb\nimport tidal_things")
    kernel.ok("%agent Hello")
    kernel.ok("assert get_ipython()._agentnb_notebook.session.indexer.wait(30)")
    assert "index: tidal_things, 2 files." in kernel.ok("%agent_context show").text
    assert "tidal_things.waves.crest_height" in kernel.ok("%agent_context pin crest_height").text
    line = "%agent_context why cre"
    assert "crest_height" in kernel.client.complete(line, len(line), reply=True, timeout=30)["content"]["matches"]
