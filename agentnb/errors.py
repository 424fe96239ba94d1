"""Hold the exception tree. Every error says what happened, to which object, and what to do, under a stable code.

AgentnbError
├── InputError            what the user typed: a flag, a name, an empty cell
├── SettingsError         a setting or an environment variable
├── StorageError          the data directory
│   └── StorageUnsafe · StorageDamaged · StorageFull · StorageReadOnly · StorageLocked
├── JournalError          runs and their steps
│   └── RunUnknown · RunExists · RunFinished · StepUnknown · StepConflict · LeaseHeld
│       · StateUnknown · HandlerError · ContextNotStorable · VersionChanged
│       · RunPaused · RunCancelled · RunSuspended · RunDelayed · ActionUnsure · StateTimeout
│       · JournalUnreachable · JournalRefused
├── ContextError          definitions and files
│   └── PathOutsideRoot · SchemaUnread
├── ModelError            which model, and may we ask it
│   └── ModelUnknown · KeyMissing · PackageMissing · WeightsMissing · LocalModelFailed
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
├── RunRepeats            the model makes the same call again and again, and nothing comes of it
├── ToolError
│   └── ToolUnknown · ToolServerFailed
├── AnswerMismatch        no value of the type that --as names
└── RunInterrupted        the user pressed stop
    └── Stopped           while a cell showed a run of the agent
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Mapping
from typing import ClassVar

LINE = 59
"""Columns of a message below a cell."""


class AgentnbError(Exception):
    """The root. `what` happened, to which object (`about`), and what to do (`todo`).

    >>> try:
    ...     agentnb.AgentStateMachine().execute_step("nobody")
    ... except agentnb.AgentnbError as error:
    ...     print(error.code, error.spent)
    run.unknown None
    """

    code: ClassVar[str] = "agentnb"
    """Stable from version to version, one for each class."""
    spent: Mapping[str, int] | None = None
    """Tokens that a call had used when it ended so, as a Usage in JSON; None: no call was made."""

    def __init__(self, what: str, *, about: str = "", todo: str = "") -> None:
        self.what = what
        self.about = about
        self.todo = todo
        super().__init__(what)

    def __str__(self) -> str:
        todo = f" {self.todo}" if self.todo else ""
        return in_sight(f"{self._happened()}{todo} [{self.code}]")

    def _happened(self) -> str:
        """Return the first sentence, with one full stop: a provider's message may have its own."""
        about = f" ({self.about})" if self.about else ""
        return f"{self.what.removesuffix('.')}{about}."

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross process borders (Dask); the default reduction would lose the keyword-only parts.
        return (_rebuild, (type(self), self.__dict__.copy()))

    def _render_traceback_(self) -> list[str]:
        """IPython's hook: one clean message instead of our own frames. Source: IPython/core/interactiveshell.py.

        Return what happened, then what to do, in lines that fit a window of 600 pixels. JupyterLab breaks longer ones
        in the middle of words.
        """
        happened = in_sight(self._happened())
        parts = (f"{type(self).__name__}: {happened}", str(self).removeprefix(happened).lstrip())
        return [
            line
            for part in parts
            for line in textwrap.wrap(part, terminal_width(LINE), break_long_words=False, break_on_hyphens=False)
        ]


def terminal_width(most: int) -> int:
    """Return the columns that a line may have: fewer than `most` where text goes to a narrower terminal."""
    if sys.stdout is None or not sys.stdout.isatty():
        return most
    import shutil

    return min(most, shutil.get_terminal_size().columns - 1)


def in_sight(text: str) -> str:
    """Return the text with its control characters written out: no provider's message may move a terminal."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""All but tab and newline, what turns the direction of text, and halves of characters."""


def _rebuild(cls: type[AgentnbError], state: dict[str, object]) -> AgentnbError:
    error = cls.__new__(cls)
    error.__dict__.update(state)
    error.args = (state.get("what", ""),)
    return error


class InputError(AgentnbError):
    """A magic's line or cell cannot be understood: a flag, a name, an empty task."""

    code = "input"


class SettingsError(AgentnbError):
    """A setting or an environment variable has a value that it cannot have."""

    code = "settings"


class StorageError(AgentnbError):
    """The data directory cannot be used."""

    code = "storage"


class StorageUnsafe(StorageError):
    """The data directory is open to others, or what was to be stored is not safe to store."""

    code = "storage.unsafe"


class StorageDamaged(StorageError):
    """The data directory or a journal holds something that agentnb did not write, or that is damaged."""

    code = "storage.damaged"


class StorageFull(StorageError):
    """The disk of the data directory is full."""

    code = "storage.full"


class StorageReadOnly(StorageError):
    """The data directory cannot be written."""

    code = "storage.read-only"


class StorageLocked(StorageError):
    """Another process has locked the data directory's file for too long."""

    code = "storage.locked"


class JournalError(AgentnbError):
    """A run or a step cannot be read or committed."""

    code = "journal"


class RunUnknown(JournalError):
    """The journal holds no run of that id."""

    code = "run.unknown"


class RunExists(JournalError):
    """There is a run of that id already."""

    code = "run.exists"


class RunFinished(JournalError):
    """The run has ended, so no step of it can be made."""

    code = "run.finished"


class StepUnknown(JournalError):
    """The run has no such step."""

    code = "step.unknown"


class StepConflict(JournalError):
    """Another process committed this step first; nothing of ours was written."""

    code = "step.conflict"


class LeaseHeld(JournalError):
    """Another worker holds the run at present."""

    code = "run.leased"


class StateUnknown(JournalError):
    """No handler is registered for the state that the run is in."""

    code = "state.unknown"


class HandlerError(JournalError):
    """A state's handler gave back something else than the next state and a context."""

    code = "state.handler"


class ContextNotStorable(JournalError):
    """A context holds a value that JSON has no form for."""

    code = "context.not-storable"


class VersionChanged(JournalError):
    """The run was begun under another version of its state machine."""

    code = "state.version"


class RunPaused(JournalError):
    """The run is paused, and goes on when it is resumed."""

    code = "run.paused"


class RunCancelled(JournalError):
    """The run was cancelled."""

    code = "run.cancelled"


class RunSuspended(JournalError):
    """Raised inside a handler: the step cannot go on yet. Nothing of it is committed, and the run is paused."""

    code = "run.suspended"


class RunDelayed(JournalError):
    """Raised inside a handler: the step is to be made `seconds` later. Nothing of it is committed; the run waits.

    `data` is JSON that the journal keeps with the wait.
    """

    code = "run.delayed"

    def __init__(self, what: str, *, seconds: float, data: Mapping[str, object] | None = None) -> None:
        super().__init__(what)
        self.seconds, self.data = seconds, dict(data or {})


class ActionUnsure(JournalError):
    """An outside effect may have happened already; it is asked about, never silently repeated."""

    code = "action.unsure"


class StateTimeout(JournalError):
    """A state's handler took longer than it may."""

    code = "state.timeout"


class JournalUnreachable(JournalError):
    """The server of a shared journal cannot be reached, or went away."""

    code = "journal.unreachable"


class JournalRefused(JournalError):
    """The server of a shared journal does not let us in, or does not let us do what we need."""

    code = "journal.refused"


class ContextError(AgentnbError):
    """A definition or file for the prompt cannot be read."""

    code = "context"


class PathOutsideRoot(ContextError):
    """The path leads out of the directory that may be read."""

    code = "path.outside"


class SchemaUnread(ContextError):
    """A database did not tell its schema."""

    code = "context.schema"


class ModelError(AgentnbError):
    """The model cannot be asked as things stand here."""

    code = "model"


class ModelUnknown(ModelError):
    """No model of that name is known."""

    code = "model.unknown"


class KeyMissing(ModelError):
    """The environment variable with the provider's key is not set."""

    code = "key.missing"


class PackageMissing(ModelError):
    """The package that this needs is not installed."""

    code = "package.missing"


class WeightsMissing(ModelError):
    """The weights of a model on this machine are not there."""

    code = "weights.missing"


class LocalModelFailed(ModelError):
    """A model on this machine cannot be started, or its server ended."""

    code = "model.local"


class ProviderError(AgentnbError):
    """`status` is the HTTP status (None: no answer came), `request_id` the provider's own, where it sent one.

    `asked_wait` is how many seconds a refusal asked to wait, where it said so.
    """

    code = "provider"
    asked_wait: float | None = None

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
    """The provider refused the request as it is; sending it again brings the same."""

    code = "provider.refused"


class PromptTooLong(RequestRefused):
    """The prompt has more tokens than the model takes."""

    code = "provider.prompt-too-long"


class AccessRefused(ProviderError):
    """The provider does not accept the key, or the key may not use this model."""

    code = "provider.access"


class RateLimited(ProviderError):
    """The provider allows no more requests or tokens for now."""

    code = "provider.rate-limited"


class Overloaded(ProviderError):
    """The provider has too much to do for now."""

    code = "provider.overloaded"


class ServerFault(ProviderError):
    """The provider failed."""

    code = "provider.fault"


class ConnectionFailed(ProviderError):
    """The provider could not be reached."""

    code = "provider.connection"


class CallTimeout(ProviderError):
    """The provider did not answer in time."""

    code = "provider.timeout"


class StreamBroken(ProviderError):
    """The reply broke off before its end."""

    code = "provider.stream"


class NoReply(ProviderError):
    """The reply is whole and readable, and no model's reply: asking again would bring the same."""

    code = "provider.no-reply"


class NotRecorded(ProviderError):
    """Only recorded replies were asked for, and there is none for this request."""

    code = "provider.not-recorded"


class BackendError(AgentnbError):
    """A server that several machines share cannot be used."""

    code = "backend"


class BusUnreachable(BackendError):
    """The server of the event bus cannot be reached."""

    code = "bus.unreachable"


class BusRefused(BackendError):
    """The server of the event bus does not let us in."""

    code = "bus.refused"


class FleetUnreachable(BackendError):
    """The scheduler of a fleet's workers cannot be reached."""

    code = "fleet.unreachable"


class WorkersMissing(BackendError):
    """The scheduler has no worker."""

    code = "fleet.no-workers"


class VersionsDiffer(BackendError):
    """A worker has other versions of the packages than this process."""

    code = "fleet.versions"


class HandlerNotFound(BackendError):
    """A name like `module:attribute` cannot be imported in this process."""

    code = "handler.import"


class WorkerLost(BackendError):
    """The run's task was lost with its worker, again and again."""

    code = "fleet.worker-lost"


class BudgetExceeded(AgentnbError):
    """The next call could cost more than what is left of the budget; it was not made."""

    code = "budget.exceeded"


class StepLimitReached(AgentnbError):
    """The run has made as many steps as it may."""

    code = "steps.limit"


class RunRepeats(AgentnbError):
    """The model made the same call with the same result again, though it was told."""

    code = "run.repeats"


class ToolError(AgentnbError):
    """A tool cannot be called."""

    code = "tool"


class ToolUnknown(ToolError):
    """There is no tool of that name."""

    code = "tool.unknown"


class ToolServerFailed(ToolError):
    """A server whose tools are used cannot be reached, ended, or did not answer in time."""

    code = "tool.server"


class AnswerMismatch(AgentnbError):
    """The model gave no value of the type that was asked for."""

    code = "answer.mismatch"


class RunInterrupted(AgentnbError):
    """A person pressed stop; the step in flight was not committed."""

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
