"""Writes the sample of the present format in PostgreSQL, as pg_dump gives it. Once released, a sample never changes."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

from make_sample import fill

from agentnb.durable.journal.postgres import PostgresJournal
from agentnb.durable.journal.postgres.schema import MIGRATIONS
from agentnb.durable.machine import AgentStateMachine

sys.path.insert(0, str(Path(__file__).parents[3]))
from postgres_server import PostgresServer


def main() -> None:
    server = PostgresServer()
    try:
        url = server.url(server.new_database())
        journal = PostgresJournal(url)
        fill(AgentStateMachine(journal))
        journal.close()
        options = ["--schema=agentnb", "--inserts", "--no-owner", "--no-privileges"]
        dumped = subprocess.run([server.program("pg_dump"), *options, url], capture_output=True, text=True, check=True)
    finally:
        server.remove()
    lines = [line for line in dumped.stdout.splitlines() if line and not line.startswith(("--", "\\"))]
    target = Path(__file__).with_name(f"journal-postgres-{len(MIGRATIONS)}.sql.gz")
    target.write_bytes(gzip.compress("\n".join(lines).encode(), mtime=0))


if __name__ == "__main__":
    main()
