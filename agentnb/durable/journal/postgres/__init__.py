"""Keep the journal in PostgreSQL: one that several machines share."""

from agentnb.durable.journal.postgres.journal import PostgresJournal

__all__ = ["PostgresJournal"]
