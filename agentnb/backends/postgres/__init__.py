"""The journal in PostgreSQL: one that several machines share."""

from agentnb.backends.postgres.journal import PostgresJournal

__all__ = ["PostgresJournal"]
