"""The catalogue against the providers' own lists: over the real SDKs, with lists as the vendors send them."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import subprocess
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from patience import PATIENCE

from agentnb.__main__ import main
from agentnb.doctor import online
from agentnb.models import catalog
from agentnb.models.catalog import ListedModel
from agentnb.models.catalog_patch import compared
from agentnb.settings import KEY_VARIABLES
from agentnb.simulator import SimClock, Simulator

ROWS = catalog.rows()
TODAY = SimClock(1_796_059_000.0)  # 2026-11-30
ADDRESSES = {"ANTHROPIC_BASE_URL": "", "GOOGLE_GEMINI_BASE_URL": "", "OPENAI_BASE_URL": "/v1"}


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for variables in KEY_VARIABLES.values():
        monkeypatch.setenv(variables[0], "sk-nobody")


@pytest.mark.server
@pytest.mark.usefixtures("keys")
def test_lists_that_agree_bring_no_patch(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with Simulator(speed=0) as simulator:
        for name, path in ADDRESSES.items():
            monkeypatch.setenv(name, simulator.url + path)
        assert main(["doctor", "--online"]) == 0
    counted = {name: sum(row.provider == name for row in ROWS) for name in KEY_VARIABLES}
    assert capsys.readouterr().out.splitlines() == [
        f"# {name}: {counted[name]} models listed; as in the catalogue" for name in KEY_VARIABLES
    ]


# --- lists as the vendors send them: fields by the SDKs' types, pages, models for other things ------------------------


def claude(name: str, window: int | None, output: int | None, **more: Any) -> dict[str, Any]:
    line = {"id": "opus", "name": "Opus"}
    lists = {"capabilities": {"batch": {"supported": True}, "of_tomorrow": {"supported": True}}, "line": line}
    dates = {"created_at": "2026-09-01T00:00:00Z", "deprecated_at": None, "retires_at": None}
    limits = {"max_input_tokens": window, "max_tokens": output}
    return {"type": "model", "id": name, "display_name": name, "lifecycle": "active"} | lists | dates | limits | more


def gemini(name: str, window: int, output: int, *actions: str) -> dict[str, Any]:
    limits = {"inputTokenLimit": window, "outputTokenLimit": output}
    told = {"version": "001", "displayName": name, "description": "…", "temperature": 1, "topP": 0.95, "thinking": True}
    return {
        "name": f"models/{name}",
        "supportedGenerationMethods": actions or ("generateContent", "countTokens"),
        "ofTomorrow": {},
    } | {**limits, **told}


def gpt(name: str, ends: str | None = None) -> dict[str, Any]:
    made = {"object": "model", "created": 1_700_000_000, "owned_by": "system"}
    return {"id": name, **made, "shutdown_date": ends}


def as_sent(provider: str) -> list[dict[str, Any]]:
    """The catalogue's models, as the vendor would list them."""
    rows = [row for row in ROWS if row.provider == provider]
    if provider == "anthropic":
        return [claude(row.name, row.window, row.max_output) for row in rows]
    return [gemini(row.name, row.window, row.max_output) if provider == "google" else gpt(row.name) for row in rows]


def changed_lists() -> dict[str, list[dict[str, Any]]]:
    lists = {name: as_sent(name) for name in KEY_VARIABLES}
    retired = {"lifecycle": "retired", "retires_at": "2026-11-30T00:00:00Z"}
    anthropic = [one for one in lists["anthropic"] if one["id"] not in ("claude-sonnet-4-5", "claude-opus-4-5")]
    next(one for one in anthropic if one["id"] == "claude-opus-5-5")["max_tokens"] = 256_000
    lists["anthropic"] = [
        claude("claude-opus-6", 2_000_000, 256_000),
        *anthropic,
        claude("claude-opus-4-5-20251101", 200_000, 64_000, lifecycle="deprecated", retires_at="2027-03-01T00:00:00Z"),
        claude("claude-sonnet-4-5-20250929", 200_000, 64_000, **retired),
        claude("claude-mythos-1", None, None),
    ]
    lists["google"] += [
        gemini("gemini-2.5-flash-001", 8, 8),
        gemini("gemini-2.5-flash-preview-tts", 8_192, 16_384),
        gemini("gemini-flash-latest", 1_048_576, 65_536),
        gemini("gemma-3-27b-it", 131_072, 8_192),
        gemini("gemini-embedding-001", 2_048, 1, "embedContent"),
    ]
    lists["openai"] = [
        gpt("gpt-4.1", "2027-02-14"),
        *(one for one in lists["openai"] if one["id"] != "gpt-4.1"),
        *(gpt(name) for name in ("gpt-6.2-sol-2026-11-17", "gpt-image-2", "text-embedding-3-small", "o4-mini")),
    ]
    return lists


class Vendors(http.server.ThreadingHTTPServer):
    """The three lists on one port, in pages; `instead` answers all of them with a status and a body."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Vendor)
        self.lists = {name: as_sent(name) for name in KEY_VARIABLES}
        self.instead: tuple[int, bytes] | None = None
        self.asked: list[str] = []
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def handle_error(self, *_: object) -> None:
        """Say nothing of a client that left."""


class _Vendor(http.server.BaseHTTPRequestHandler):
    server: Vendors

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.server.asked.append(self.path)
        status, body = self.server.instead or (200, json.dumps(self.page(parts.path, query)).encode())
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def page(self, path: str, query: dict[str, str]) -> dict[str, Any]:
        if "v1beta" in path:
            start, models = int(query.get("pageToken", 0)), self.server.lists["google"]
            more = {"nextPageToken": str(start + 3)} if start + 3 < len(models) else {}
            return {"models": models[start : start + 3], **more}
        if "anthropic-version" not in self.headers:
            return {"object": "list", "data": self.server.lists["openai"]}
        models = self.server.lists["anthropic"]
        start = next((n + 1 for n, one in enumerate(models) if one["id"] == query.get("after_id")), 0)
        page = models[start : start + 6]
        return {"data": page, "has_more": start + 6 < len(models), "first_id": page[0]["id"], "last_id": page[-1]["id"]}

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def vendors(keys: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Vendors]:
    with Vendors() as made:
        for name, path in ADDRESSES.items():
            monkeypatch.setenv(name, f"http://127.0.0.1:{made.server_port}{path}")
        yield made
        made.shutdown()


@pytest.mark.server
def test_what_the_vendors_list_otherwise_is_a_patch_that_applies(vendors: Vendors, tmp_path: Path) -> None:
    vendors.lists = changed_lists()
    lines = list(online(os.environ, TODAY))
    assert [line for line in lines if line.startswith("#")] == [
        "# anthropic: 14 models listed; differences:",
        "#   it also lists, without limits or for other things: claude-mythos-1",
        "#   claude-sonnet-4-5 is not in its list: retired, or not open to this key",
        "# google: 9 models listed; differences:",
        "#   it also lists, without limits or for other things: gemini-2.5-flash-preview-tts, gemini-flash-latest",
        "# openai: 7 models listed; differences:",
        "#   it also lists, without limits or for other things: gpt-image-2",
    ]
    truth = {item["name"]: item for item in tomllib.loads(catalog.text())["model"]}
    changed = {item["name"]: item for item in tomllib.loads(applied("\n".join(lines), tmp_path))["model"]}
    read = {"limits_source": "the provider's list of models", "limits_checked": "2026-11-30"}
    new = changed.pop("claude-opus-6")
    assert changed == truth | {
        "claude-opus-5-5": truth["claude-opus-5-5"] | read | {"max_output": 256_000},
        "claude-opus-4-5": truth["claude-opus-4-5"] | read | {"retires": "2027-03-01"},
        "gpt-4.1": truth["gpt-4.1"] | read | {"retires": "2027-02-14"},
    }
    named = {"name": "claude-opus-6", "label": "claude-opus-6", "like": "claude-opus-5-5"}
    assert new == truth["claude-opus-5-5"] | named | read | {"window": 2_000_000, "max_output": 256_000}


def applied(patch: str, place: Path) -> str:
    """The catalogue's text after `git apply` of what was printed."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    file = place / "agentnb/models/catalog.toml"
    file.parent.mkdir(parents=True)
    file.write_text(catalog.text())
    subprocess.run(["git", "apply", "-p1"], cwd=place, input=f"{patch}\n", text=True, check=True, timeout=PATIENCE)
    return file.read_text()


@pytest.mark.server
@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (401, b'{"error": {"message": "invalid x-api-key", "code": 401}}', "answered 401: invalid x-api-key. Check "),
        (403, b'{"error": {"message": "not yours", "code": 403}}', "answered 403: not yours."),
        (200, b"<html>log in first</html>", "is not the API"),
        (200, b'{"data": null, "models": null}', "0 models listed; differences:"),
        (200, b'{"data": [null], "models": [{"inputTokenLimit": "many"}]}', "is not the API"),
        (
            200,
            json.dumps({"data": [{"id": "x", "lifecycle": "active"}], "has_more": True, "last_id": "x"}).encode(),
            "pages were read",
        ),
    ],
    ids=["key", "rights", "page", "empty", "kinds", "endless"],
)
def test_a_list_that_cannot_be_had_is_one_line_each(vendors: Vendors, status: int, body: bytes, said: str) -> None:
    vendors.instead = (status, body)
    lines = list(online(os.environ, TODAY))
    assert said in lines[0]
    assert all(line.startswith("#") and "\n" not in line for line in lines)
    assert [line for line in lines if line.startswith("# openai: ")]


@pytest.mark.server
def test_a_provider_that_says_nothing_is_given_up(vendors: Vendors, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentnb.providers.calling.LIST_TIMEOUT", 0.05)
    monkeypatch.setattr(_Vendor, "page", lambda *_: threading.Event().wait(0.5) or {})
    lines = list(online({"ANTHROPIC_API_KEY": "any"}, TODAY))
    assert lines[0].startswith("# anthropic: Anthropic did not answer in time")


def test_without_keys_nobody_is_asked() -> None:
    lines = list(online({}, TODAY))
    assert lines == [f"# {name}: no key is set, so it was not asked" for name in KEY_VARIABLES]


@pytest.mark.parametrize("name", ['claude-9"\nevil = 1', "claude-\x1b[2J", "claude-\u202eopus", "claude-opus\\"])
def test_a_name_that_is_none_stands_neither_in_the_patch_nor_on_the_screen(name: str) -> None:
    known = [ListedModel(name=row.name) for row in ROWS if row.provider == "anthropic"]
    listed = [*known, ListedModel(name=name, window=1_000_000)]
    found = compared(catalog.text(), "anthropic", listed, ROWS, "2026-11-30")
    assert found == compared(catalog.text(), "anthropic", known, ROWS, "2026-11-30")


def test_a_rounded_window_is_no_difference() -> None:
    row = catalog.lookup("claude-opus-5-5")
    exact = ListedModel(name=row.name, window=1_048_576, max_output=row.max_output)
    assert compared(catalog.text(), "anthropic", [exact], [row], "2026-11-30").text == catalog.text()


def test_a_list_of_ten_thousand_names_brings_a_patch_of_a_hundred_rows() -> None:
    """What a gateway lists is no measure of what a person reads; each row is put into a growing text."""
    new = [ListedModel(name=f"claude-x-{number}", window=1_000_000) for number in range(10_000)]
    other = [ListedModel(name=f"claude-y-{number}") for number in range(10_000)]
    found = compared(catalog.text(), "anthropic", [*new, *other], ROWS, "2026-11-30")
    assert len(tomllib.loads(found.text)["model"]) == len(ROWS) + 100
    assert "lists 10,000 models that are new here; the patch has the first 100" in " ".join(found.remarks)
    assert "claude-y-99 and 9,900 more" in found.remarks[0]
