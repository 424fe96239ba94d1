"""How a front end's id of a cell goes into prompts and views."""

from __future__ import annotations

import pytest

from agentnb.notebook.kernel import short_cell_id


@pytest.mark.parametrize(
    ("given", "short"),
    [
        ("63b13a2c-a05d-445a-ae6e-7f1d009f2d9c", "63b13a2c"),
        ("quickstart-03", "quickstart-03"),
        ("vscode-notebook-cell:/home/ada/secret-project/tides.ipynb#X20sZmlsZQ%3D%3D", "X20sZmlsZQ%3D%3D"),
        ("vscode-notebook-cell://ssh-remote%2Bhost/home/ada/tides.ipynb#W2sdnNj", "W2sdnNj"),
        ("", ""),
    ],
)
def test_an_id_is_short_and_names_no_machine(given: str, short: str) -> None:
    assert short_cell_id(given) == short
