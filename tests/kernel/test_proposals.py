"""Proposed cells in a real kernel: offered on a page that has our extension, else as the next cell; never run."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Any

import pytest
import scripted

pytestmark = pytest.mark.kernel

RUN = "application/vnd.agentnb.run.v1+json"


@pytest.fixture
def kernel(start: Callable[..., Any], server: scripted.Scripted) -> Any:
    """A kernel before a server that makes the calls it is told to; cell 3 holds a mistake."""
    key = {"ANTHROPIC_API_KEY": "any", "ANTHROPIC_BASE_URL": server.url, "AGENTNB_MODEL": "anthropic:claude-sonnet-4-6"}
    made = start(**key)
    made.ok("%load_ext agentnb\n%config AgentNB.stream = False")
    made.ok("ran = []")
    made.ok("total = 2 - 3\ntotal", cell="cell-three")
    return made


def propose(*cells: tuple[str, str, int]) -> list[Any]:
    return [
        (str(n), "propose_cell", {"source": source, "why": why} | ({"replaces": replaces} if replaces else {}))
        for n, (source, why, replaces) in enumerate(cells)
    ]


def payload_of(kernel: Any, code: str) -> tuple[Any, list[dict[str, Any]]]:
    """A cell's result, and the payload of its reply."""
    seen: list[dict[str, Any]] = []
    get = kernel.client.get_shell_msg

    def noting(**options: Any) -> Any:
        reply = get(**options)
        seen.extend(reply["content"].get("payload", []))
        return reply

    kernel.client.get_shell_msg = noting
    try:
        return kernel.ok(code), seen
    finally:
        kernel.client.get_shell_msg = get


def test_without_a_page_new_cells_become_the_next_cell_and_a_change_is_shown(kernel: Any, server: Any) -> None:
    server.calls = propose(
        ("ran.append(1)", "To begin.", 0), ("total = 2 + 3\ntotal", "A sum.", 3), ("ran", "To look.", 0)
    )
    shown, payload = payload_of(kernel, "%agent go")
    (text,) = [item for item in payload if item["source"] == "set_next_input"]
    assert text["replace"] is False
    assert text["text"] == (
        "# To begin.\nran.append(1)\n\n# In the place of cell 3: A sum.\ntotal = 2 + 3\ntotal\n\n# To look.\nran"
    )
    for form in ("text/html", "text/markdown", "text/plain"):
        assert "ran.append(1)" in shown.displays[0][form].replace("\\", "")
        assert "-total = 2 - 3" in shown.displays[0][form], form
        assert "+total = 2 + 3" in shown.displays[0][form], form
    assert "in the place of cell 3" in shown.text
    assert [item["replaces"] for item in shown.run["proposals"]] == [0, 3, 0]
    assert kernel.value("ran") == []
    assert kernel.value("total") == -1


def test_one_proposal_becomes_the_next_cell_as_it_is(kernel: Any, server: Any) -> None:
    server.calls = propose(("%%time\nran.append(1)", "To begin.", 0))
    _, payload = payload_of(kernel, "%agent go")
    assert [item["text"] for item in payload if item["source"] == "set_next_input"] == ["%%time\nran.append(1)"]


def test_a_change_alone_stands_below_whole_and_can_be_copied_later(kernel: Any, server: Any) -> None:
    server.calls = propose(("total = 2 + 3\ntotal", "A sum.", 3))
    shown, payload = payload_of(kernel, "%agent go")
    assert [item["text"] for item in payload if item["source"] == "set_next_input"] == ["total = 2 + 3\ntotal"]
    page = re.sub("</?span[^>]*>", "", shown.displays[0]["text/html"])
    for form in (page, shown.displays[0]["text/plain"]):
        whole = re.sub("<[^>]*>", "\n", form.partition("The whole cell, to copy:")[2])
        assert [line.strip() for line in whole.strip().splitlines()][:2] == ["total = 2 + 3", "total"]


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class Page:
    """A page with our extension, as far as the kernel speaks with it."""

    def __init__(self, kernel: Any) -> None:
        self.kernel, self.received = kernel, []
        self._next, kernel._next = kernel._next, self._noted
        self._send("comm_open", {"target_name": "agentnb", "data": {"order": [], "runs": [], "since": 0.0}})

    def _noted(self, deadline: float) -> Any:
        message = self._next(deadline)
        if message is not None and message["content"].get("comm_id") == "page":
            self.received.append(message["content"]["data"])
        return message

    def tell(self, *cells: tuple[str, int | None, str]) -> None:
        order = [{"id": name, "kind": "code", "count": count, "digest": digest(text)} for name, count, text in cells]
        texts = {digest(text): text for *_, text in cells}
        self._send("comm_msg", {"data": {"type": "cells", "asking": None, "order": order, "texts": texts}})

    def _send(self, kind: str, content: dict[str, Any]) -> None:
        client = self.kernel.client
        client.shell_channel.send(client.session.msg(kind, {"comm_id": "page"} | content))

    def proposed(self) -> list[dict[str, Any]]:
        return [item for item in self.received if item["type"] == "propose"]


def test_a_page_is_shown_each_proposal_with_the_text_that_it_is_for(kernel: Any, server: Any) -> None:
    page = Page(kernel)
    page.tell(("cell-three", 3, "total = 2 - 3\ntotal"), ("ask", None, "%agent go"))
    server.calls = propose(("a = 1", "First.", 0), ("b = 2", "Second.", 0), ("total = 2 + 3\ntotal", "A sum.", 3))
    request = kernel.send("%agent go", "ask")
    shown = kernel.collect(request)
    assert shown.status == "ok", shown.error
    proposed = page.proposed()
    assert [(item["cell"], item["digest"], item["source"]) for item in proposed] == [
        ("ask", None, "a = 1"),
        ("ask", None, "b = 2"),
        ("cell-three", digest("total = 2 - 3\ntotal"), "total = 2 + 3\ntotal"),
    ], "in the order in which they were proposed"
    assert proposed[2]["mark"] == {"run": shown.run["run_id"], "model": shown.run["model"]}
    assert proposed[2]["why"] == "A sum."
    assert kernel.value("total") == -1


def test_a_cell_that_was_edited_since_it_ran_is_not_replaced(kernel: Any, server: Any) -> None:
    page = Page(kernel)
    page.tell(("cell-three", 3, "total = 7"), ("ask", None, "%agent go"))
    server.calls = propose(("total = 2 + 3", "A sum.", 3))
    kernel.collect(kernel.send("%agent go", "ask"))
    (item,) = page.proposed()
    assert (item["cell"], item["digest"]) == ("ask", None)
    assert "has changed since it ran" in item["why"]
