"""Name the command that goes on with a run which an error has ended. Pure."""

from __future__ import annotations

from agentnb.errors import (
    AccessRefused,
    ActionUnsure,
    AgentnbError,
    BudgetExceeded,
    LeaseHeld,
    ModelError,
    ModelUnknown,
    ProviderError,
    RequestRefused,
    RunRepeats,
    StepLimitReached,
    VersionChanged,
)

RESUME = "%agent_runs resume"

_FLAGS: tuple[tuple[type[AgentnbError], str], ...] = (
    (BudgetExceeded, "--budget USD goes on with more."),
    (StepLimitReached, "--max-steps N goes on with more."),
    (ActionUnsure, "--unsure repeat (or skip) goes on."),
    (VersionChanged, "--accept-versions goes on all the same."),
    (LeaseHeld, "--take-over takes it from a worker that is dead."),
    (RunRepeats, "goes on all the same; -m MODEL does so with another model."),
    (ModelUnknown, "-m MODEL goes on with another model."),
    (RequestRefused, "-m MODEL goes on with another model."),
    (ModelError, "goes on then; -m MODEL does so with another model."),
    (AccessRefused, "goes on then; -m MODEL does so with another model."),
    (ProviderError, "goes on; -m MODEL does so with another model."),
)


def way_on(code: str, run_id: str) -> str:
    """Return the command that goes on with a run which ended with an error of this code."""
    flags = next((said for kind, said in _FLAGS if code in _codes(kind)), "goes on from there.")
    return f"{RESUME} {run_id} {flags}"


def _codes(kind: type[AgentnbError]) -> set[str]:
    return {kind.code}.union(*(_codes(each) for each in kind.__subclasses__()))


def with_way_on(error: AgentnbError, run_id: str) -> None:
    """Add the command to what the error says is to be done, unless that names it already."""
    if RESUME not in error.todo:
        before = f"{error.todo}." if error.todo[-1:].isalnum() else error.todo
        error.todo = f"{before} {way_on(error.code, run_id)}".strip()
