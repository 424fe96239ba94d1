"""Recorded replies: found by layer digests, played without a server, and a miss that says what changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentnb.errors import InputError, NotRecorded, RunInterrupted
from agentnb.models import catalog
from agentnb.models.messages import Reply, StopReason, Text, Usage
from agentnb.providers.base import CallAnswer, OnText, Wire
from agentnb.providers.cassettes import FILE, Cassette, Playing, Replaying, read_pace
from agentnb.providers.transport import CallTrace
from agentnb.simulator import SimClock


@pytest.fixture(autouse=True)
def beside_the_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / FILE


def conversation(book: Any, mode: str, thread: str) -> list[Any]:
    book.session.namespace["x"] = 3
    tasks = ("Hello there", "Inspect `x` please.", "And now?")
    return [book.ask(task, replay=mode, thread=thread) for task in tasks]


@pytest.mark.parametrize("model", ["sim:claude-sonnet-4-6", "sim:gemini-2.5-flash", "sim:gpt-6.1-sol"])
def test_a_recorded_conversation_plays_again_without_a_request(book: Any, model: str) -> None:
    book.session.settings = book.session.settings.with_changes(model=model)
    recorded = conversation(book, "record", "first")
    sent = len(book.simulator.requests)
    again = conversation(book, "replay", "second")
    assert not book.errors
    assert len(book.simulator.requests) == sent, "nothing was sent"
    assert [run.text for run in again] == [run.text for run in recorded]
    assert [run.usage for run in again] == [run.usage for run in recorded]
    for run in again:
        assert run.cost == 0
        assert model.removeprefix("sim:") in run.receipt["recorded"]
        assert any(note.startswith("Recorded ") for note in run.receipt["notes"])
    assert recorded[0].receipt["recorded"] is None


def test_the_recordings_are_no_part_of_the_project_that_is_described(book: Any, beside_the_notebook: Path) -> None:
    (beside_the_notebook.parent / "tides.csv").write_text("level\n3\n")
    book.session.project = beside_the_notebook.parent
    book.ask("Hello", replay="record", thread="a")
    assert "tides.csv" in json.dumps(book.bodies[0])
    assert book.ask("Hello", replay="replay", thread="b").state == "COMPLETED", book.errors


def test_auto_records_what_is_missing(book: Any) -> None:
    book.ask("Hello", replay="auto", thread="a")
    book.ask("Hello", replay="auto", thread="b")
    assert len(book.simulator.requests) == 1


def test_a_miss_names_the_layer_that_changed(book: Any) -> None:
    book.ask("Hello", replay="record", thread="a")
    book.ask("Something else", replay="replay", thread="b")
    (error,) = book.errors
    assert isinstance(error, NotRecorded)
    assert "Conversation changed" in str(error)
    assert "Instructions changed" not in str(error)
    assert "Hello" in str(error), "it names the nearest recording"
    assert "--replay record" in error.todo


def test_another_model_is_named(book: Any) -> None:
    book.ask("Hello", replay="record", thread="a")
    book.ask("Hello", replay="replay", thread="b", model="sim:claude-haiku-4-5")
    assert "no reply of claude-haiku-4-5 is recorded" in str(book.errors[0])


def test_the_file_is_readable_and_holds_no_request(book: Any, beside_the_notebook: Path) -> None:
    book.session.namespace["secret_sauce"] = "umami"
    book.ask("What is `secret_sauce`?", replay="record")
    text = beside_the_notebook.read_text()
    (entry,) = json.loads(text)["entries"]
    assert set(entry) == {"model", "recorded", "simulated", "task", "layers", "parts", "pace", "reply"}
    assert set(entry["layers"]) == {"STATIC", "SEMI_STATIC", "HYDRATION", "DYNAMIC"}
    assert "authorization" not in text.lower()
    assert "You are the assistant inside a Jupyter notebook" not in text
    assert len(text) < 4000


def test_a_miss_names_the_definition_that_changed(book: Any) -> None:
    book.cell("def tide(hours):\n    return hours * 2")
    book.cell("def moon():\n    return 1", cell_id="other")
    book.ask("Explain `tide` and `moon`", replay="record", thread="a")
    book.cell("def tide(hours):\n    return hours * 3")
    book.ask("Explain `tide` and `moon`", replay="replay", thread="b")
    said = str(book.errors[-1])
    assert "Your notebook changed since" in said
    assert "Your notebook: changed tide" in said
    assert "moon" not in said.partition("recorded for")[0]
    book.ask("Explain `tide`, only", replay="replay", thread="c")
    said = str(book.errors[-1])
    assert "gone moon" in said
    assert "recorded for 'Explain `tide` and `moon`', asked 'Explain `tide`, only'" in said


def test_another_tool_is_named(book: Any) -> None:
    book.ask("Hello", replay="record", thread="a")
    book.ask("Hello", replay="replay", thread="b", tools=("inspect",))
    assert "Instructions: gone" in str(book.errors[-1])
    assert "run_code" in str(book.errors[-1])


KEY = "sk-0123456789-very-secret"
HEADERS = ("authorization", "x-api-key", "x-goog-api-key")


@pytest.mark.parametrize("model", ["sim:claude-sonnet-4-6", "sim:gemini-2.5-flash", "sim:gpt-6.1-sol"])
def test_nothing_of_the_connection_is_recorded(book: Any, beside_the_notebook: Path, model: str) -> None:
    """Every value of every header that was sent and that came, the key among them, searched for in the file."""
    provider = book.session.provider(model)
    provider._key = KEY
    provider.connect()
    client = provider._require_transport().client
    values: list[str] = []
    client.event_hooks["request"].append(lambda request: values.extend(request.headers.values()))
    client.event_hooks["response"].append(lambda response: values.extend(response.headers.values()))
    book.ask("Hello", replay="record", model=model)
    text = beside_the_notebook.read_text()
    assert any(KEY in value for value in values), "the key was among what is searched for"
    telling = {value for value in values if len(value) >= 8}
    assert len(telling) > 5
    assert [value for value in telling if value in text] == []
    assert KEY not in text
    assert book.simulator.url not in text
    assert not any(name in text.lower() for name in HEADERS)


class Waits:
    """A clock and a wait that agree: waiting moves the clock, and is written down."""

    def __init__(self) -> None:
        self.clock = SimClock()
        self.waited: list[float] = []

    def wait(self, seconds: float) -> bool:
        self.waited.append(seconds)
        self.clock.advance(seconds)
        return False


class Slow:
    """A live provider that says four words, one a second, after thinking for two."""

    scope = "live"

    def __init__(self, clock: SimClock) -> None:
        self.model = catalog.lookup("anthropic:claude-sonnet-4-6")
        self._clock = clock

    def ask(self, wire: Wire, on_text: OnText) -> CallAnswer:
        trace = CallTrace(started=self._clock.monotonic())
        self._clock.advance(2.0)
        on_text("thinking", "hm")
        on_text("text", "lost")
        on_text("restart", "")
        for word in ("High ", "water ", "at ", "noon."):
            self._clock.advance(1.0)
            on_text("text", word)
        usage = Usage(input=10, output=4)
        reply = Reply(content=(Text("High water at noon."),), stop=StopReason.END, usage=usage, model="m")
        return CallAnswer(reply=reply, trace=trace)


@pytest.mark.parametrize(("speed", "expected"), [(1.0, [3.0, 1.0, 1.0, 1.0]), (2.0, [1.5, 0.5, 0.5, 0.5]), (0.0, [])])
def test_a_reply_plays_at_the_pace_it_came(beside_the_notebook: Path, speed: float, expected: list[float]) -> None:
    waits = Waits()
    wire = Wire(body={}, layers={"STATIC": "1"})
    cassette = Cassette(beside_the_notebook)
    live: Any = Slow(waits.clock)
    Replaying(live, cassette, mode="record", clock=waits.clock).ask(wire, lambda *_: None)
    playing = Playing(speed=speed, wait=waits.wait)
    heard: list[tuple[str, str]] = []
    again = Replaying(live, Cassette(beside_the_notebook), mode="replay", clock=waits.clock, playing=playing)
    answer = again.ask(wire, lambda kind, text: heard.append((kind, text)))
    assert waits.waited == pytest.approx(expected)
    assert "".join(text for _, text in heard) == answer.reply.text == "High water at noon."
    assert len(heard) == (4 if speed else 1)
    assert answer.recorded.endswith("claude-sonnet-4-6")


def test_a_recorded_reply_can_be_interrupted(beside_the_notebook: Path) -> None:
    waits = Waits()
    wire = Wire(body={}, layers={"STATIC": "1"})
    live: Any = Slow(waits.clock)
    cassette = Cassette(beside_the_notebook)
    Replaying(live, cassette, mode="record", clock=waits.clock).ask(wire, lambda *_: None)
    playing = Playing(speed=1.0, wait=lambda _: True)
    with pytest.raises(RunInterrupted):
        Replaying(live, cassette, mode="replay", clock=waits.clock, playing=playing).ask(wire, lambda *_: None)


@pytest.mark.parametrize("crlf", [False, True])
def test_recordings_of_before_play_at_once(book: Any, beside_the_notebook: Path, crlf: bool) -> None:
    """Without a pace and without names, and with the line ends that an editor or git on Windows gives."""
    recorded = book.ask("Hello", replay="record", thread="a")
    value = json.loads(beside_the_notebook.read_text())
    for name in ("pace", "parts"):
        del value["entries"][0][name]
    text = json.dumps(value, indent=1) + "\n"
    beside_the_notebook.write_bytes((text.replace("\n", "\r\n") if crlf else text).encode())
    book.session.settings = book.session.settings.with_changes(replay_speed=1.0)
    again = book.ask("Hello", replay="replay", thread="b")
    assert again.text == recorded.text
    book.ask("Other", replay="replay", thread="c")
    assert "Conversation changed" in str(book.errors[-1])


def test_a_file_of_a_newer_version_is_a_clear_error(book: Any, beside_the_notebook: Path) -> None:
    beside_the_notebook.write_text('{"format": 9, "entries": []}')
    book.ask("Hello", replay="replay")
    assert "newer agentnb" in str(book.errors[0])


def test_a_damaged_file_is_a_clear_error(book: Any, beside_the_notebook: Path) -> None:
    beside_the_notebook.write_text("{not json")
    book.ask("Hello", replay="replay")
    assert isinstance(book.errors[0], InputError)
    assert beside_the_notebook.read_text() == "{not json"


@pytest.mark.parametrize("damage", ["usage", "content", "stop"])
def test_a_recording_that_somebody_edited_is_a_clear_error(book: Any, beside_the_notebook: Path, damage: str) -> None:
    book.ask("Hello", replay="record", thread="a")
    value = json.loads(beside_the_notebook.read_text())
    value["entries"][0]["reply"][damage] = 5
    beside_the_notebook.write_text(json.dumps(value))
    book.ask("Hello", replay="replay", thread="b")
    assert isinstance(book.errors[0], InputError)


def test_two_kernels_record_into_one_file(beside_the_notebook: Path) -> None:
    clock = SimClock()
    live: Any = Slow(clock)
    one, other = Cassette(beside_the_notebook), Cassette(beside_the_notebook)
    for cassette, layer in ((one, "1"), (other, "2"), (one, "3"), (other, "4")):
        wire = Wire(body={}, layers={"STATIC": layer})
        Replaying(live, cassette, mode="auto", clock=clock).ask(wire, lambda *_: None)
    assert [entry["layers"]["STATIC"] for entry in one.entries] == ["1", "2", "3", "4"]
    beside_the_notebook.unlink()
    assert other.entries == []


def test_what_could_not_be_recorded_is_not_asked_for(tmp_path: Path) -> None:
    wire = Wire(body={}, layers={"STATIC": "1"})
    clock = SimClock()
    live: Any = Slow(clock)
    with pytest.raises(InputError, match="cannot be recorded here"):
        Replaying(live, Cassette(tmp_path / "gone" / FILE), mode="record", clock=clock).ask(wire, lambda *_: None)
    assert clock.monotonic() == SimClock().monotonic(), "nobody was asked"


def test_what_is_missing_and_cannot_be_asked_for_says_both(book: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    book.ask("Hello", replay="record", thread="a")
    book.ask("Bye", replay="auto", thread="b", model="anthropic:claude-sonnet-4-6")
    said = str(book.errors[0])
    assert "Conversation changed" in said
    assert "ANTHROPIC_API_KEY is not set" in said


@pytest.mark.parametrize("pace", ["nan text 5", "inf text 5", "1e300 text 5", "-1 text 5", "1 text -5", "soon"])
def test_a_pace_that_nobody_can_keep_is_none(pace: str) -> None:
    assert read_pace(pace) == []


@pytest.mark.parametrize("pace", [5, None, ["1 text 5"], {}])
def test_a_pace_that_is_no_text_is_a_clear_error(book: Any, beside_the_notebook: Path, pace: Any) -> None:
    book.ask("Say hello.", replay="record")
    file = beside_the_notebook
    written = json.loads(file.read_text())
    written["entries"][0]["pace"] = pace
    file.write_text(json.dumps(written))
    run = book.ask("Say hello.", replay="replay")
    assert "the recorded replies cannot be read" in run.error.message
