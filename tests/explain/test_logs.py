"""Logs in each format give the same verdicts; what is no log is refused in words."""

from __future__ import annotations

import base64
import gzip
import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from unfolding import packed

from agentnb.errors import InputError
from agentnb.explain.judge import Unjudged
from agentnb.explain.logs import read_log
from agentnb.explain.report import explain, verdicts
from agentnb.explain.verdict import Verdict

DATA = Path(__file__).parent / "data"
LOG = DATA / "langchain-uuid.jsonl"
CALLS = [json.loads(line) for line in LOG.read_text().splitlines()]


def of(path: Path) -> list[Verdict]:
    found = list(verdicts(path))
    assert not [each for each in found if isinstance(each, Unjudged)]
    return [each for each in found if isinstance(each, Verdict)]


def written(path: Path, value: object) -> Path:
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def test_a_har_file(tmp_path: Path) -> None:
    entries = [
        {
            "startedDateTime": f"2026-11-30T10:00:{20 * i:02}.000Z",
            "request": {
                "url": f"https://api.anthropic.com{call['path']}",
                "method": "POST",
                "headers": [{"name": "x-api-key", "value": "secret"}],
                "postData": {"mimeType": "application/json", "text": json.dumps(call["request"])},
            },
            "response": {
                "headers": [],
                "content": {
                    "encoding": "base64",
                    "text": base64.b64encode(json.dumps(call["response"]).encode()).decode(),
                },
            },
        }
        for i, call in enumerate(CALLS)
    ]
    found = of(written(tmp_path / "a.har", {"log": {"entries": entries}}))
    assert [(v.cause, v.dollars) for v in found] == [(v.cause, v.dollars) for v in of(LOG)]


def cassette() -> dict[str, Any]:
    """As vcrpy writes it: bodies as text or packed bytes, values of headers in lists, the time in the reply's date."""
    return {
        "version": 1,
        "interactions": [
            {
                "request": {
                    "uri": f"https://api.anthropic.com{call['path']}",
                    "method": "POST",
                    "headers": {"Content-Type": ["application/json"]},
                    "body": json.dumps(call["request"]),
                },
                "response": {
                    "headers": {"Date": [f"Mon, 30 Nov 2026 10:00:{20 * i:02} GMT"]},
                    "body": {"string": gzip.compress(json.dumps(call["response"]).encode())},
                    "status": {"code": 200, "message": "OK"},
                },
            }
            for i, call in enumerate(CALLS)
        ],
    }


def test_a_cassette_of_vcrpy(tmp_path: Path) -> None:
    found = of(written(tmp_path / "a.yaml", yaml.safe_dump(cassette())))
    assert [(v.cause, v.dollars, v.at) for v in found][1:] == [(of(LOG)[1].cause, of(LOG)[1].dollars, found[0].at + 20)]


def test_bodies_alone_are_judged_by_the_rules(tmp_path: Path) -> None:
    found = of(written(tmp_path / "a.jsonl", "\n".join(json.dumps(call["request"]) for call in CALLS)))
    assert [each.read for each in found] == [None, None]
    assert "request-id" in found[1].cause
    assert "read not reported" in "\n".join(explain(tmp_path / "a.jsonl"))


def test_an_event_stream_says_what_was_read(tmp_path: Path) -> None:
    usage = {"input_tokens": 10, "cache_read_input_tokens": 1190, "output_tokens": 1}
    events = [
        {"type": "message_start", "message": {"usage": usage}},
        {"type": "message_delta", "usage": {"output_tokens": 40, "cache_read_input_tokens": None}},
    ]
    stream = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)
    call = {"path": "/v1/messages", "request": CALLS[0]["request"], "response": stream}
    assert of(written(tmp_path / "a.jsonl", json.dumps(call)))[0].read == 1190


def test_a_refused_call_and_an_unknown_shape_are_said_not_judged(tmp_path: Path) -> None:
    error = {"type": "error", "error": {"type": "invalid_request_error", "message": "max_tokens: Field required"}}
    refused = {"request": CALLS[0]["request"], "response": error}
    odd = {"request": {"model": "claude-opus-5-5", "messages": [{"role": "user", "content": 5}]}}
    lines = list(explain(written(tmp_path / "a.jsonl", "\n".join(map(json.dumps, (refused, odd))))))
    assert lines[0] == "not judged: refused: max_tokens: Field required"
    assert lines[1].startswith("not judged: the request has another shape than its wire's")


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("a.jsonl", '{"a": 1}\n{"b": 2}', "no call that can be judged"),
        ("a.jsonl", "INFO started\n{}", "a line of the log is no JSON"),
        ("a.yaml", "a: [", "no YAML"),
    ],
)
def test_what_is_no_log_is_refused(tmp_path: Path, name: str, text: str, what: str) -> None:
    with pytest.raises(InputError, match=what):
        read_log(written(tmp_path / name, text))


def test_a_log_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_log(tmp_path / "none.jsonl")


words = st.text(st.characters(min_codepoint=97, max_codepoint=110), min_size=1, max_size=6)


@given(turns=st.lists(words, min_size=3, max_size=9), gaps=st.lists(st.integers(1, 250), min_size=9, max_size=9))
def test_a_conversation_that_only_goes_on_misses_nothing(
    tmp_path_factory: pytest.TempPathFactory, turns: list[str], gaps: list[int]
) -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    rules = "\n".join(f"Rule {n}: never guess." for n in range(150))
    lines, at = [], 0
    for end in range(1, len(turns) + 1, 2):
        said = [
            {"role": "assistant" if i % 2 else "user", "content": [{"type": "text", "text": turn}]}
            for i, turn in enumerate(turns[:end])
        ]
        said[-1]["content"] = [{"type": "text", "text": turns[end - 1]} | mark]
        body = {"model": "claude-opus-5-5", "max_tokens": 9, "system": rules, "messages": said}
        lines.append(json.dumps({"at": at, "request": body}))
        at += gaps[end % 9]
    log = written(tmp_path_factory.mktemp("logs") / "a.jsonl", "\n".join(lines))
    assert [each.cause for each in of(log)] == [""] * len(lines)


# --- logs that were made to harm, or only odd -------------------------------------------------------------------------

ASKED = {"model": "claude-sonnet-4-6", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
URL = "https://api.anthropic.com/v1/messages"


def har(*entries: object) -> str:
    return json.dumps({"log": {"entries": entries}})


def entry(asked: object, **content: object) -> dict[str, Any]:
    return {"request": {"url": URL, "postData": {"text": asked}}, "response": {"content": content}}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.har", "a.yaml"])
def test_a_reply_that_unfolds_costs_little(tmp_path: Path, name: str) -> None:
    bomb = base64.b64encode(packed(b"\0", "gzip")).decode()
    cassette = {"request": {"uri": URL, "body": json.dumps(ASKED)}, "response": {"body": {"base64_string": bomb}}}
    as_har = har(entry(json.dumps(ASKED), encoding="base64", text=bomb))
    log = written(tmp_path / name, as_har if name == "a.har" else yaml.safe_dump({"interactions": [cassette]}))
    read_log(log)
    tracemalloc.start()
    try:
        (call,) = read_log(log)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert call.reply == ()
    assert most < 150_000_000


ODD = {
    "a.har": har(
        5,
        None,
        {"request": 5},
        {"request": {"url": 5, "headers": {"a": 1}, "postData": 5}, "response": []},
        {"request": {"url": "http://[::1", "postData": {"text": 5}}, "response": {"content": {"text": {}}}},
    ),
    "no-entries.har": json.dumps({"log": {"entries": 7}}),
    "deep.yaml": "interactions: " + "[" * 20_000,
    "laughs.yaml": "a: &a [x,x]\nb: &b [*a,*a]\ninteractions: *b\n",
    "itself.yaml": "interactions: &a [*a]\n",
    "code.yaml": "interactions:\n- !!python/object/apply:os.system ['touch here']\n",
    "deep.jsonl": '{"request":' + '{"a":' * 100_000,
    "nothing.jsonl": "",
}


@pytest.mark.parametrize("name", ODD)
def test_a_log_of_another_shape_is_refused_in_words(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError):
        read_log(written(tmp_path / name, ODD[name]))
    assert [each.name for each in tmp_path.iterdir()] == [name]


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        with pytest.raises(InputError, match="cannot be read"):
            read_log(path)


def test_a_file_that_begins_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(
        b"\xef\xbb\xbf" + json.dumps({"path": "/v1/messages", "request": ASKED}).encode()
    )
    assert len(read_log(tmp_path / "a.jsonl")) == 1


@pytest.mark.parametrize("at", ["NaN", "Infinity", "1e308", "-5", '"2026-99-99"', "[]", "null"])
def test_a_time_that_is_none_is_that_of_its_neighbour(tmp_path: Path, at: str) -> None:
    line = json.dumps({"at": "T", "path": "/v1/messages", "request": ASKED})
    lines = [line.replace('"T"', each) for each in (at, "1796059000")]
    log = written(tmp_path / "a.jsonl", "\n".join(lines))
    assert [call.at for call in read_log(log)] == [1_796_059_000, 1_796_059_000]


@pytest.mark.parametrize("model", ["\x1b[2Jclaude", "claude\u202e", "a\nb"])
def test_nothing_that_a_terminal_obeys_is_told(tmp_path: Path, model: str) -> None:
    asked = ASKED | {"model": model, "system": f"\x1b[31m{'x ' * 3000}"}
    odd = {"at": 0, "path": "/v1/messages", "request": {"model": "claude-sonnet-4-6", "messages": [{"\x1b[2J": 5}]}}
    lines = [{"at": n, "path": "/v1/messages", "request": asked | {"system": f"{n}\x1b[31m"}} for n in range(2)]
    log = written(tmp_path / "a.jsonl", "\n".join(map(json.dumps, [*lines, odd])))
    assert all(line.isprintable() for line in explain(log))


def test_what_other_libraries_sent_through_mitmproxy() -> None:
    """Recorded with mitmdump's `hardump`, two calls each: instructor, OpenAI's agents SDK, smolagents, and httpx alone.

    A reply is JSON or an event stream. What one wire was sent is not compared with another's.
    """
    found = of(DATA / "mitmproxy.har")
    assert [each.goes_on_from for each in found] == [0, 1, 0, 3, 2, 5, 0, 7]
    field, clock, _, session, attempt = (each for each in found if each.missed)
    assert '"description": "Number of the order."' in field.cause
    assert "tool 1 (Order) changed" in field.cause
    assert "'It is 10:04:11 now.' became 'It is 10:05:52 now.'" in clock.cause
    assert "'session 5f0c6a1e' became 'session b27d9e44'" in session.cause
    assert "'Attempt 1. Order 7 is late." in attempt.cause
    assert (attempt.could, attempt.read) == (4663, 2321)
    assert [round(each.dollars or 0, 4) for each in (field, clock, session, attempt)] == [
        0.0037,
        0.0035,
        0.0035,
        0.0081,
    ]


def test_a_last_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    line = json.dumps({"path": "/v1/messages", "request": ASKED})
    assert len(read_log(written(tmp_path / "a.jsonl", f"{line}\n{line}\n{line[:-20]}"))) == 2
    with pytest.raises(InputError, match="no JSON"):
        read_log(written(tmp_path / "b.jsonl", f"{line}\n{line[:-20]}\n{line}\n"))


def test_a_file_of_gigabytes_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "a.jsonl").open("wb") as file:
        file.truncate(3_000_000_000)
    with pytest.raises(InputError, match="cannot be read"):
        read_log(tmp_path / "a.jsonl")
