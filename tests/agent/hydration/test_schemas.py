"""A pinned database: its schema is read once, frozen with the segment, and sent again only when it is pinned again."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

import pytest

from agentnb.errors import InputError
from agentnb.notebook.commands import context

SECRET = "sk-ant-" + "api03-abcdEFGH1234567890_-xyz"


@pytest.fixture
def shop(book: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(context, "show_table", lambda *_: None)
    connection = sqlite3.connect(":memory:")
    connection.execute(f"CREATE TABLE items (id INTEGER, -- {SECRET}\n name TEXT)")
    book.session.namespace["db"] = connection
    yield connection
    connection.close()


def test_a_pinned_schema_is_frozen_until_it_is_pinned_again(book: Any, shop: sqlite3.Connection) -> None:
    context.agent_context(book.session, None, "pin db")
    first = book.ask("Hello?")
    assert "CREATE TABLE items" in json.dumps(book.bodies[0]["system"])
    assert SECRET not in json.dumps(book.bodies[0])
    shop.execute("CREATE TABLE orders (id INTEGER)")
    second = book.ask("And now?")
    assert "orders" not in json.dumps(book.bodies[1])
    assert second.cache.read >= first.cache.written - 20, "the prefix stayed"
    context.agent_context(book.session, None, "pin db")
    third = book.ask("And after pinning?")
    last = json.dumps(book.bodies[2]["messages"][-1])
    assert "orders" in last
    assert "replaces=" in last
    assert third.cache.read > 0
    assert book.bodies[2]["system"][0] == book.bodies[0]["system"][0]
    context.agent_context(book.session, None, "unpin db")
    assert book.session.pins.schemas == {}
    with pytest.raises(InputError):
        context.agent_context(book.session, None, "unpin db")
