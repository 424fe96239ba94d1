"""A notebook without a kernel: cells are run with `exec` under the file names that ipykernel gives them."""

from __future__ import annotations

import linecache
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.inputtransformer2 import TransformerManager
from patience import PATIENCE

from agentnb.context.notebook.cells import CellIndex
from agentnb.context.resolve.files import FileIndex
from agentnb.context.resolve.resolution import Resolver


class Notebook:
    def __init__(self, project: Path | None) -> None:
        self.project = project
        self.namespace: dict[str, Any] = {"__name__": "__main__"}
        self.transform = TransformerManager().transform_cell
        self.cells = CellIndex(self.transform)
        self.index = FileIndex()
        self.number = 0

    def run(self, source: str, *, cell_id: str | None = None, execute: bool = True) -> None:
        source = textwrap.dedent(source).strip("\n")
        self.number += 1
        self.cells.record(source, cell_id=cell_id, number=self.number)
        if execute:
            python, file = self.transform(source), f"/tmp/ipykernel_7/{id(self)}_{self.number}.py"
            linecache.cache[file] = (len(python), None, python.splitlines(keepends=True), file)  # as IPython does
            exec(compile(python, file, "exec"), self.namespace)

    @property
    def resolver(self) -> Resolver:
        return Resolver(cells=self.cells, namespace=self.namespace, project=self.project, index=self.index)

    @property
    def cold(self) -> Resolver:
        """The same cells before anything ran: only text to go by."""
        return Resolver(cells=self.cells, namespace={}, project=self.project, index=self.index, patience=PATIENCE)


@pytest.fixture(autouse=True)
def always_patient(patient: None) -> None:
    """In every test here."""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def write(project: Path) -> Callable[[str, str], Path]:
    def write_file(path: str, text: str) -> Path:
        file = project / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8", newline="")
        return file

    return write_file


@pytest.fixture
def notebook(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Notebook]:
    """Modules of the project can be imported, and are forgotten afterwards."""
    monkeypatch.syspath_prepend(str(project))
    before = set(sys.modules)
    yield Notebook(project)
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None)
        if file and str(file).startswith(str(project)):
            del sys.modules[name]
