"""Manage connections to PostgreSQL: opened on demand, given back, made anew when the server went away. [home of
psycopg]

A write is one transaction, and either all of it is there or nothing. Where the connection breaks, the work is done
again on a new one. Where it breaks during a commit, the server is asked first what became of the transaction
(`pg_xact_status`). The server is waited for once it has been reached before: a restart takes seconds.

psycopg is imported when a database is opened. No error of its own leaves this module: ours say no password, and their
tracebacks hold none.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar
from urllib.parse import unquote

from agentnb.durable.journal.postgres import failures
from agentnb.durable.journal.postgres import statements as sql
from agentnb.errors import InputError, JournalUnreachable, PackageMissing
from agentnb.settings import without_password

if TYPE_CHECKING:
    import psycopg

T = TypeVar("T")
Rows: TypeAlias = list[tuple[Any, ...]]

EXAMPLE = "postgresql://user@host/database"
MOST = 8
"""Connections that one process has at most, opened as threads need them. The server flushes for several at once. 16
threads made 444 steps a second over 4, 601 over 8, 615 over 16 (bench_postgres.py, 2026-11-27)."""
PATIENCE = 30.0
"""Seconds for which a server that was reached before is waited for."""
WAITS = (0.02, 0.05, 0.1, 0.2, 0.5)
BLOCKED = 30_000  # milliseconds that a write waits for another one's row
IDLE = 10_000  # milliseconds after which the server ends the transaction of a client that has gone silent
_DEFAULTS = {
    "connect_timeout": "10", "keepalives_idle": "15", "keepalives_interval": "5", "keepalives_count": "3",
    "tcp_user_timeout": "30000", "fallback_application_name": "agentnb",
}  # fmt: skip


class Begun(NamedTuple):
    """Holds a transaction: its connection, and the server's time when it began."""

    connection: psycopg.Connection
    now: float

    def rows(self, statement: str, values: object = ()) -> Rows:
        return rows(self.connection, statement, values)

    def count(self, statement: str, values: object = ()) -> int:
        """Return how many rows the statement changed."""
        return count(self.connection, statement, values)


def rows(connection: psycopg.Connection, statement: str, values: object = ()) -> Rows:
    return _execute(connection, statement, values).fetchall()


def count(connection: psycopg.Connection, statement: str, values: object = ()) -> int:
    return _execute(connection, statement, values).rowcount


def _execute(connection: psycopg.Connection, statement: str, values: Any) -> psycopg.Cursor:
    return connection.execute(statement, values or None, prepare=True, binary=True)


class Server:
    """Holds one database, and this process's connections to it. Safe from several threads."""

    def __init__(
        self,
        url: str,
        *,
        synchronous: str = "FULL",
        most: int = MOST,
        patience: float = PATIENCE,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self.address = without_password(url)
        self._parameters = _parameters(url)
        self._secret = self._parameters.get("password") or _password_of(url)
        self._synchronous = synchronous.upper()
        self._most, self._patience, self._wait = most, patience, wait
        self._idle: list[psycopg.Connection] = []
        self._all: weakref.WeakSet[psycopg.Connection] = weakref.WeakSet()
        self._opening: weakref.WeakSet[_Slot] = weakref.WeakSet()
        self._make_lock()
        self._process = os.getpid()
        self.reached = False
        self.closed = False

    def _make_lock(self) -> None:
        """Make the lock. It is taken itself, not its condition, whose `__enter__` is Python code. An interrupt in the
        midst of that left it locked for every other thread.
        """
        self._lock = threading.Lock()
        self._given_back = threading.Condition(self._lock)

    @cached_property
    def _driver(self) -> Any:
        return _psycopg()

    # Work

    def read(self, statement: str, values: object = ()) -> Rows:
        """Return the rows that one statement gives."""
        return self.repeated(lambda connection: rows(connection, statement, values))

    def write(self, work: Callable[[Begun], T]) -> T:
        """Return the result of `work`, in one transaction, once it is durable. What `work` raises undoes all of it.

        `work` may be done more than once, each time anew; only one of its transactions is ever kept.
        """
        return self.repeated(lambda connection: self._transact(connection, work))

    def repeated(self, work: Callable[[psycopg.Connection], T]) -> T:
        """Return the result of `work`, done again on a new connection where one breaks, or where the server says:
        again."""
        waits, deadline = iter(WAITS), time.monotonic() + self._patience
        while True:
            try:
                with self._taken() as connection:
                    return work(connection)
            except _Again as again:
                problem = again.problem
            pause = next(waits, WAITS[-1])
            if time.monotonic() + pause > deadline:
                raise problem
            self._wait(pause)

    def _transact(self, connection: psycopg.Connection, work: Callable[[Begun], T]) -> T:
        begun = connection.execute(sql.BEGIN, prepare=False)
        begun.nextset()
        begun.nextset()
        ((transaction, now),) = begun.fetchall()
        try:
            result = work(Begun(connection, now))
        except Exception:
            if not connection.closed:
                connection.execute("ROLLBACK", prepare=False)
            raise
        try:
            connection.execute("COMMIT", prepare=False)
        except self._driver.OperationalError:
            if not connection.closed or not self._was_committed(transaction):
                raise
        return result

    def _was_committed(self, transaction: str) -> bool:
        """Return what became of a transaction whose commit was sent and never answered."""
        deadline = time.monotonic() + self._patience
        while time.monotonic() < deadline:
            ((status,),) = self.read(sql.STATUS, (transaction,))
            if status != "in progress":
                return bool(status == "committed")
            self._wait(WAITS[1])  # its own process has not seen yet that we are gone
        raise failures.undecided(self._told)

    # Connections

    @contextmanager
    def _taken(self) -> Iterator[psycopg.Connection]:
        """Lend a connection that nobody else uses meanwhile. Errors come out as ours, or as `_Again`."""
        connection = self._take()
        try:
            yield connection
        except self._driver.Error as error:
            problem = failures.translate(error, self._told)
            again = connection.closed or failures.is_passing(error)
            if connection.closed:
                problem = failures.gone(self._told)
                self._drop_idle()  # what ended this one has ended those
            raise (_Again(problem) if again else problem) from None
        except UnicodeEncodeError:
            raise failures.no_text(self._told) from None
        except BaseException as error:
            if not isinstance(error, Exception):  # an interrupt, in the midst of who knows what
                connection.close()
            raise
        finally:
            self._give_back(connection)

    def _take(self) -> psycopg.Connection:
        slot = _Slot()
        while True:
            with self._lock:
                if self.closed:
                    raise JournalUnreachable("the journal is closed", about=self.address, todo="Open it again.")
                if self._idle:
                    return self._idle.pop()
                if sum(not connection.closed for connection in self._all) + len(self._opening) < self._most:
                    self._opening.add(slot)
                    break
                self._given_back.wait(0.1)  # for ever, if an interrupt lost the one that was waited for: look again
        connection = self._open()
        self._opening.discard(slot)
        return connection

    def _give_back(self, connection: psycopg.Connection) -> None:
        with self._lock:
            usable = not connection.closed and connection.info.transaction_status == 0
            if usable and not self.closed and self._process == os.getpid():
                self._idle.append(connection)
            elif self._process == os.getpid():
                connection.close()
            self._given_back.notify()

    def _open(self) -> psycopg.Connection:
        connection, said = self._try_to_open()
        if connection is None:
            problem = failures.of_opening(said, self._told)
            raise (_Again(problem) if self.reached and failures.may_pass(problem) else problem)
        self._all.add(connection)
        self.reached = True
        return connection

    def _try_to_open(self) -> tuple[psycopg.Connection | None, str]:
        """Return a connection, or what was said instead. psycopg's own error, whose frames know the password, ends
        here."""
        try:
            connection = self._driver.connect(**self._parameters, autocommit=True)
        except UnicodeError:  # from the look-up of a name that no host can have
            return None, "the host's name cannot be looked up"
        except self._driver.Error as error:
            return None, str(error)
        try:
            self._prepare(connection)
        except self._driver.Error as error:
            connection.close()
            return None, str(error)
        return connection, ""

    def _prepare(self, connection: psycopg.Connection) -> None:
        """Nobody waits for ever, and a commit that was answered is on the disk, whatever the server's defaults are."""
        off = connection.execute("SELECT current_setting('synchronous_commit') = 'off'").fetchone()
        settings = [f"SET lock_timeout = {BLOCKED}", f"SET idle_in_transaction_session_timeout = {IDLE}"]
        if self._synchronous == "NORMAL":
            settings.append("SET synchronous_commit = off")
        elif off and off[0]:
            settings.append("SET synchronous_commit = on")
        connection.execute("; ".join(settings))

    @property
    def _told(self) -> failures.Told:
        return failures.Told(self.address, self._secret)

    def close(self) -> None:
        self.closed = True
        self._drop_idle()

    def _drop_idle(self) -> None:
        with self._lock:
            while self._idle:
                self._idle.pop().close()
            self._given_back.notify_all()

    def begin_anew(self) -> None:
        """Begin anew after a fork: the connections are the parent's, and not even closing them is ours to do."""
        _ABANDONED.extend(self._all)
        self._idle = []
        self._all, self._opening = weakref.WeakSet(), weakref.WeakSet()
        self._make_lock()
        self._process = os.getpid()


_ABANDONED: list[psycopg.Connection] = []


class _Slot:
    """Holds a connection that a thread is opening. It counts as long as the thread has it: no interrupt leaves one
    behind."""


class _Again(Exception):
    """The work may succeed on another connection; `problem` is what to say when patience is over."""

    def __init__(self, problem: Exception) -> None:
        self.problem = problem
        super().__init__(str(problem))


def _psycopg() -> Any:
    try:
        import psycopg
    except ImportError as error:
        raise PackageMissing(
            f"a journal in PostgreSQL needs psycopg ({error})", todo='Run: pip install "agentnb-jupyter[postgres]"'
        ) from error
    return psycopg


def _parameters(url: str) -> dict[str, str]:
    """Return what the address says, as psycopg wants it, over our defaults. Raises InputError, without quoting it."""
    parsed = _parsed(url)
    problem = _problem_of(parsed)
    if problem:
        raise InputError(
            problem,
            about=without_password(url),
            todo=f"Write {EXAMPLE}, and in user and password %40 for @, %3A %2F %3F %23 %25 for : / ? # %.",
        )
    return _DEFAULTS | (parsed or {})


def _parsed(url: str) -> dict[str, str] | None:
    psycopg = _psycopg()
    from psycopg.conninfo import conninfo_to_dict  # an import that was interrupted leaves no attribute of that name

    try:
        return {name: str(value) for name, value in conninfo_to_dict(url).items() if value is not None}
    except psycopg.Error:
        return None


def _password_of(text: str) -> str:
    """Return the password that stands in the address, decoded; an empty text where there is none."""
    credentials = text.partition("://")[2].rpartition("@")[0]
    return unquote(credentials.partition(":")[2])


def _problem_of(parsed: Mapping[str, object] | None) -> str:
    """Return what is wrong with an address, as PostgreSQL's library has read it (None: not at all); "" for nothing.

    Where a password was not percent-encoded, the library takes parts of it for a host, a port or a database. Its errors
    would name them, so such an address is refused before anybody is asked.
    """
    if parsed is None:
        return "the address of the database cannot be read"
    if any("@" in str(parsed.get(name) or "") for name in ("host", "dbname")) or not _are_ports(parsed.get("port")):
        return "the address of the database can be read in more than one way"
    return ""


def _are_ports(value: object) -> bool:
    return all(part.isdigit() for part in str(value).split(",") if part) if value else True
