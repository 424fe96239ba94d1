"""The address of a database: its password, and what is wrong with an address that cannot be read. Pure.

Where a password was not percent-encoded, PostgreSQL's library takes parts of it for a host, a port or a database. Its
errors would name them, so such an address is refused before anybody is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import unquote

EXAMPLE = "postgresql://user@host/database"


def password_of(text: str) -> str:
    """Return the password that stands in the address, decoded; an empty text where there is none."""
    credentials = text.partition("://")[2].rpartition("@")[0]
    return unquote(credentials.partition(":")[2])


def problem_of(text: str, parsed: Mapping[str, object] | None) -> str:
    """Return what is wrong with an address, as PostgreSQL's library has read it (None: not at all); "" where nothing
    is."""
    if parsed is None:
        return "the address of the database cannot be read"
    if any("@" in str(parsed.get(name) or "") for name in ("host", "dbname")) or not _are_ports(parsed.get("port")):
        return "the address of the database can be read in more than one way"
    return ""


def _are_ports(value: object) -> bool:
    return all(part.isdigit() for part in str(value).split(",") if part) if value else True
