"""Put what PostgreSQL reports into our words. No password is in any of them. Pure: by codes and texts alone."""

from __future__ import annotations

from typing import Any, NamedTuple

from agentnb.errors import (
    AgentnbError,
    InputError,
    JournalError,
    JournalRefused,
    JournalUnreachable,
    StorageDamaged,
    StorageFull,
    StorageLocked,
    StorageReadOnly,
)


class Told(NamedTuple):
    """Tells where it happened, and what must not be said of it."""

    address: str
    secret: str

    def clean(self, text: str) -> str:
        """Return the text on one line, without the password."""
        line = " ".join(text.replace(self.secret, "***").split() if self.secret else text.split())
        return line.removeprefix("connection failed: ")[:300]


_RIGHTS = "Ask for the right to it: GRANT CREATE ON DATABASE lets agentnb make its tables, in a schema of their own."
_BY_CODE: dict[str, tuple[type[AgentnbError], str, str]] = {
    "25006": (
        StorageReadOnly,
        "the database takes no writes",
        "Name the primary server: a replica only reads.",
    ),
    "42501": (JournalRefused, "the database does not allow it", _RIGHTS),
    "53100": (StorageFull, "the server's disk is full; nothing of this write was kept", "Free some space there."),
    "53300": (JournalUnreachable, "the server takes no more connections", "Close some, or raise max_connections."),
    "55P03": (StorageLocked, "another worker has kept the run's row locked", "Try again."),
    "57014": (StorageLocked, "the server ended the statement, which took too long for it", "Try again."),
    "XX001": (StorageDamaged, "the database is damaged", "Put back a copy. Nothing was changed."),
    "XX002": (StorageDamaged, "an index of the database is damaged", "REINDEX it. Nothing was changed."),
    "42P01": (StorageDamaged, "a table of the journal is gone", "Put back a copy, or name another database."),
    "3F000": (StorageDamaged, "the journal's schema is gone", "Put back a copy, or name another database."),
    "42703": (StorageDamaged, "the journal's tables are not what agentnb made", "Name another database."),
}
_BY_CLASS: dict[str, tuple[type[AgentnbError], str, str]] = {
    "22": (InputError, "PostgreSQL cannot hold this text", "Take out characters that are none, such as NUL."),
    "54": (InputError, "a name is too long for PostgreSQL", "Choose a shorter one."),
    "28": (JournalRefused, "the server refuses the connection", "Check user and password."),
    "3D": (JournalRefused, "the database does not exist", "Make it, or name another."),
}
_PASSING = {"40001", "40P01"}
"""The server asks for the transaction to be done again."""
_LATER = ("starting up", "shutting down", "recovery", "not yet accepting", "too many", "connection slots")
"""Codes of a server on its way up or down, or full: it may let us in a moment later."""
_REFUSED = (
    ("password", "the server does not accept the password", "Check user and password (PGPASSWORD and ~/.pgpass too)."),
    ("authentication", "the server does not accept the user", "Check the user, and the server's pg_hba.conf."),
    ("pg_hba.conf", "the server takes no connection of this user from here", "Ask for a line in its pg_hba.conf."),
    ("permission denied", "the database does not allow it", "Ask for the right to connect to it."),
    ("does not exist", "the server knows no such user or database", "Make it, or name another."),
    ("FATAL", "the server refuses the connection", "Check the address and what the server's log says."),
)


def translate(error: Any, told: Told) -> AgentnbError:
    """Return our error for one of psycopg's."""
    code = error.sqlstate or ("22" if type(error).__name__ == "DataError" else "")  # a value that was never sent
    kind, what, todo = _BY_CODE.get(code) or _BY_CLASS.get(code[:2]) or (JournalError, "the database failed", "")
    said = told.clean(getattr(error.diag, "message_primary", None) or str(error))
    return kind(f"{what}: {said}", about=told.address, todo=todo)


def no_text(told: Told) -> AgentnbError:
    kind, what, todo = _BY_CLASS["22"]
    return kind(f"{what}: it holds half a character", about=told.address, todo=todo)


def is_passing(error: Any) -> bool:
    """Tell whether the same transaction may succeed at once."""
    return error.sqlstate in _PASSING


def gone(told: Told) -> AgentnbError:
    return JournalUnreachable(
        "the server went away and did not come back",
        about=told.address,
        todo="What was committed is kept; the step in flight is there whole or not at all. When it is back, go on.",
    )


def undecided(told: Told) -> AgentnbError:
    return JournalUnreachable(
        "the server has not decided yet what becomes of a write whose connection broke",
        about=told.address,
        todo="It is there whole or not at all: read the run anew. A replica that commits wait for may be down.",
    )


def of_opening(said: str, told: Told) -> AgentnbError:
    """Tell why no connection could be opened, from what was said: there is no code yet then."""
    for part, what, todo in () if any(later in said for later in _LATER) else _REFUSED:
        if part in said:
            return JournalRefused(f"{what}: {told.clean(said)}", about=told.address, todo=todo)
    return JournalUnreachable(
        f"the server cannot be reached: {told.clean(said)}",
        about=told.address,
        todo="Check the address, and that the server runs and listens there.",
    )


def may_pass(problem: AgentnbError) -> bool:
    """Tell whether a server that refused was perhaps only on its way down or up."""
    return isinstance(problem, JournalUnreachable)
