"""Run the lessons' cells as a person does, with numbers: nbval runs them without history, so that none counts as run.

nbval's cells are no functions and take no fixture, so this holds for the whole test run.
"""

import pytest
from nbval.kernel import RunningKernel

PATIENCE = 600
"""Seconds for a kernel to start, and for an output to follow its cell: nbval's own are too few for a busy machine."""


def pytest_configure(config: pytest.Config) -> None:
    config.option.nbval_kernel_startup_timeout = PATIENCE


def pytest_itemcollected(item: pytest.Item) -> None:
    item.output_timeout = PATIENCE


def _run(kernel: RunningKernel, source: str, allow_stdin: bool | None = None) -> str:
    message: str = kernel.kc.execute(source, store_history=True, allow_stdin=allow_stdin, stop_on_error=False)
    return message


RunningKernel.execute_cell_input = _run
