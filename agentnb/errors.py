"""The exception tree. Every error says what happened, to which object, and what to do, under a stable code.

AgentnbError
├── InputError            what the user typed: a flag, a name, an empty cell
├── SettingsError         a setting or an environment variable
├── StorageError          the data directory
│   └── StorageUnsafe · StorageDamaged · StorageFull · StorageReadOnly · StorageLocked
├── JournalError          runs and their steps
│   └── RunUnknown · RunExists · RunFinished · StepUnknown · StepConflict · LeaseHeld
│       · StateUnknown · HandlerError · ContextNotStorable · VersionChanged
│       · RunPaused · RunCancelled · RunSuspended · ActionUnsure · StateTimeout
│       · JournalUnreachable · JournalRefused
├── ContextError          definitions and files
│   └── DefinitionNotFound · PathOutsideRoot · SchemaUnread
├── ModelError            which model, and may we ask it
│   └── ModelUnknown · KeyMissing · PackageMissing
├── ProviderError         what a provider, or the way to it, answered
│   ├── RequestRefused
│   │   └── PromptTooLong
│   └── AccessRefused · RateLimited · Overloaded · ServerFault
│       · ConnectionFailed · CallTimeout · StreamBroken · NotRecorded
├── BackendError          servers that several machines share
│   └── BusUnreachable · BusRefused
│       · FleetUnreachable · WorkersMissing · VersionsDiffer · HandlerNotFound · WorkerLost
├── BudgetExceeded        the next call could cost more than what is left
├── StepLimitReached      --max-steps
├── ToolError
│   └── ToolUnknown · ToolRefused · ToolFailed
└── RunInterrupted        the user pressed stop
    └── Stopped           while a cell showed a run of the agent
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import ClassVar

LINE = 59
"""Columns of a message below a cell."""


class AgentnbError(Exception):
    """The root. `what` happened, to which object (`about`), and what to do (`todo`)."""

    code: ClassVar[str] = "agentnb"
    spent: Mapping[str, int] | None = None
    """The tokens that a call to a model had used when it ended so, as a Usage in JSON; None: no call was made."""

    def __init__(self, what: str, *, about: str = "", todo: str = "") -> None:
        self.what = what
        self.about = about
        self.todo = todo
        super().__init__(what)

    def __str__(self) -> str:
        about = f" ({self.about})" if self.about else ""
        todo = f" {self.todo}" if self.todo else ""
        return f"{self.what}{about}.{todo} [{self.code}]"

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross process borders (Dask); the default reduction would lose the keyword-only parts.
        return (_rebuild, (type(self), self.__dict__.copy()))

    def _render_traceback_(self) -> list[str]:
        """IPython's hook: one clean message instead of our own frames. Source: IPython/core/interactiveshell.py.

        What happened, then what to do, in lines that a window of 600 pixels holds: JupyterLab breaks longer ones in the
        middle of words.
        """
        happened = f"{self.what}{f' ({self.about})' if self.about else ''}."
        parts = (f"{type(self).__name__}: {happened}", str(self).removeprefix(happened).lstrip())
        return [
            line for part in parts for line in textwrap.wrap(part, LINE, break_long_words=False, break_on_hyphens=False)
        ]


def _rebuild(cls: type[AgentnbError], state: dict[str, object]) -> AgentnbError:
    error = cls.__new__(cls)
    error.__dict__.update(state)
    error.args = (state.get("what", ""),)
    return error


class InputError(AgentnbError):
    code = "input"


class SettingsError(AgentnbError):
    code = "settings"


class StorageError(AgentnbError):
    code = "storage"


class StorageUnsafe(StorageError):
    code = "storage.unsafe"


class StorageDamaged(StorageError):
    code = "storage.damaged"


class StorageFull(StorageError):
    code = "storage.full"


class StorageReadOnly(StorageError):
    code = "storage.read-only"


class StorageLocked(StorageError):
    code = "storage.locked"


class JournalError(AgentnbError):
    code = "journal"


class RunUnknown(JournalError):
    code = "run.unknown"


class RunExists(JournalError):
    code = "run.exists"


class RunFinished(JournalError):
    code = "run.finished"


class StepUnknown(JournalError):
    code = "step.unknown"


class StepConflict(JournalError):
    code = "step.conflict"


class LeaseHeld(JournalError):
    code = "run.leased"


class StateUnknown(JournalError):
    code = "state.unknown"


class HandlerError(JournalError):
    code = "state.handler"


class ContextNotStorable(JournalError):
    code = "context.not-storable"


class VersionChanged(JournalError):
    code = "state.version"


class RunPaused(JournalError):
    code = "run.paused"


class RunCancelled(JournalError):
    code = "run.cancelled"


class RunSuspended(JournalError):
    """Raised inside a handler: the step cannot go on yet. Nothing of it is committed, and the run is paused."""

    code = "run.suspended"


class ActionUnsure(JournalError):
    """An outside effect may have happened already; it is asked about, never silently repeated."""

    code = "action.unsure"


class StateTimeout(JournalError):
    code = "state.timeout"


class JournalUnreachable(JournalError):
    """The server of a shared journal cannot be reached, or went away."""

    code = "journal.unreachable"


class JournalRefused(JournalError):
    """The server of a shared journal does not let us in, or does not let us do what we need."""

    code = "journal.refused"


class ContextError(AgentnbError):
    code = "context"


class DefinitionNotFound(ContextError):
    code = "definition.unknown"


class PathOutsideRoot(ContextError):
    code = "path.outside"


class SchemaUnread(ContextError):
    code = "context.schema"


class ModelError(AgentnbError):
    code = "model"


class ModelUnknown(ModelError):
    code = "model.unknown"


class KeyMissing(ModelError):
    code = "key.missing"


class PackageMissing(ModelError):
    code = "package.missing"


class ProviderError(AgentnbError):
    """`status` is the HTTP status (None: no answer came), `request_id` the provider's own, where it sent one."""

    code = "provider"

    def __init__(
        self,
        what: str,
        *,
        about: str = "",
        todo: str = "",
        status: int | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(what, about=about, todo=todo)
        self.status = status
        self.request_id = request_id

    def __str__(self) -> str:
        request = f" Request id {self.request_id}." if self.request_id else ""
        return super().__str__().removesuffix(f" [{self.code}]") + f"{request} [{self.code}]"


class RequestRefused(ProviderError):
    code = "provider.refused"


class PromptTooLong(RequestRefused):
    """The prompt has more tokens than the model takes."""

    code = "provider.prompt-too-long"


class AccessRefused(ProviderError):
    code = "provider.access"


class RateLimited(ProviderError):
    code = "provider.rate-limited"


class Overloaded(ProviderError):
    code = "provider.overloaded"


class ServerFault(ProviderError):
    code = "provider.fault"


class ConnectionFailed(ProviderError):
    code = "provider.connection"


class CallTimeout(ProviderError):
    code = "provider.timeout"


class StreamBroken(ProviderError):
    code = "provider.stream"


class NoReply(ProviderError):
    """What came is whole and readable, and no model's reply: asking again would bring the same."""

    code = "provider.no-reply"


class NotRecorded(ProviderError):
    """Only recorded replies were asked for, and there is none for this request."""

    code = "provider.not-recorded"


class BackendError(AgentnbError):
    code = "backend"


class BusUnreachable(BackendError):
    code = "bus.unreachable"


class BusRefused(BackendError):
    code = "bus.refused"


class FleetUnreachable(BackendError):
    code = "fleet.unreachable"


class WorkersMissing(BackendError):
    code = "fleet.no-workers"


class VersionsDiffer(BackendError):
    code = "fleet.versions"


class HandlerNotFound(BackendError):
    """What a name like `module:attribute` should lead to cannot be imported in this process."""

    code = "handler.import"


class WorkerLost(BackendError):
    """The run's task was lost with its worker, again and again."""

    code = "fleet.worker-lost"


class BudgetExceeded(AgentnbError):
    code = "budget.exceeded"


class StepLimitReached(AgentnbError):
    code = "steps.limit"


class ToolError(AgentnbError):
    code = "tool"


class ToolUnknown(ToolError):
    code = "tool.unknown"


class ToolRefused(ToolError):
    code = "tool.refused"


class ToolFailed(ToolError):
    code = "tool.failed"


class RunInterrupted(AgentnbError):
    code = "run.interrupted"


class Stopped(RunInterrupted):
    """A person stopped a run: no failure, so one line tells it, without the name of an error."""

    def _render_traceback_(self) -> list[str]:
        return [f"{self.what}. {self.todo}"]


def nearest(word: str, known: list[str] | tuple[str, ...], *, cutoff: float = 0.5) -> str:
    """`Did you mean x?` for the closest known word, or an empty string. difflib is imported only when needed.

    `cutoff` is how alike they must be, from 0 to 1.
    """
    import difflib

    close = difflib.get_close_matches(word, known, n=1, cutoff=cutoff)
    return f"Did you mean {close[0]}?" if close else ""
