"""What a person lets run is what was shown, to the letter; and it is that call, whatever the model calls it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import scripted
import shown
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agentnb.agent import approvals
from agentnb.agent.approvals import BUTTON, COMMAND, EVENT, Answer, Proposed
from agentnb.agent.request import Limits
from agentnb.agent.run_document import AgentRun
from agentnb.agent.tools.tool import ToolBox, tool
from agentnb.models.messages import Reply, StopReason, ToolCall, Usage
from agentnb.notebook.approving import ask_in_terminal
from agentnb.notebook.commands.runs import calls_meant
from agentnb.notebook.live.buttons import Buttons
from agentnb.session import Session
from agentnb.settings import Settings
from agentnb.view.render import bundle

WAYS = ("buttons", "command", "terminal")


@dataclass
class Desk:
    """One kernel after the other over one data directory, before a server that says what it is told to."""

    server: scripted.Scripted
    wire: str
    home: Path
    ran: list[str] = field(default_factory=list)
    count: int = 0

    def __post_init__(self) -> None:
        self.session = self.start()

    def start(self) -> Session:
        model = scripted.MODELS[self.wire]
        session = Session(settings=Settings(model=model, home=self.home, stream=False), environment={})

        @tool(name="run_code")
        def run_code(code: str) -> str:
            """Run Python."""
            self.ran.append(code)
            return f"ran {len(self.ran)}: {len(code)} characters"

        session.extra_tools["run_code"] = run_code
        return session

    def restart(self) -> None:
        self.session.close()
        self.session = self.start()

    def ask(self, *calls: scripted.Call) -> AgentRun:
        self.server.calls = calls
        self.count += 1
        request = self.session.request("go", approval="ask", cell=f"c{self.count}", execution=str(self.count))
        agent, run_id = self.session.agent(), self.session.new_run_id()
        agent.begin(request, run_id)
        run = agent.drive(run_id)
        assert run.state == "WAITING", run.error
        return run

    def approve(self, run: AgentRun, way: str) -> AgentRun:
        """Let everything run that waits, by the way that a person takes; then go on to the end."""
        agent = self.session.agent()
        if way == "buttons":
            self.press(run, "Run")
        elif way == "terminal":
            agent.answer(run.run_id, ask_in_terminal(run.receipt, read=lambda prompt: "y"))
        else:
            waiting = calls_meant(self.session, run.run_id, None)
            agent.answer(run.run_id, [Answer(question=item, approved=True, by=COMMAND) for item in waiting])
        return agent.drive(run.run_id)

    def press(self, run: AgentRun, *words: str) -> None:
        """Press buttons of a run as they stand under its view."""
        agent = self.session.agent()
        buttons = Buttons(lambda *_, **__: _Output(), lambda answers: agent.answer(run.run_id, answers))
        buttons.ask(run.receipt)
        presses = {button.description: button for button in buttons.presses}
        for word in words:
            presses[word].click()
        buttons.close("")


class _Output:
    def update(self, *_: object, **__: object) -> None:
        return


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[str], Desk]]:
    made: list[Desk] = []

    def open_desk(wire: str, home: Path = tmp_path / "home") -> Desk:
        server = scripted.Scripted(wire)
        for name, path in scripted.ADDRESSES.items():
            monkeypatch.setenv(name, server.url + path)
        for name in scripted.KEYS:
            monkeypatch.setenv(name, "any")
        made.append(Desk(server, wire, home))
        return made[-1]

    yield open_desk
    for one in made:
        one.session.close()
        one.server.close()


# --- shown is what runs -------------------------------------------------------------------------------------------

HIDING = [
    "x = '''-----BEGIN PRIVATE KEY-----\na'''\nevil()\ny = '''-----END PRIVATE KEY-----'''\ndf.describe()",
    "cookie = a=CALL(1234567)",
    "password = '__import__(\"os\").getcwd()'; eval(password)",
    "df.describe()" + "\n" * 500 + "evil()",
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("code", HIDING, ids=["private key", "cookie", "password", "far below"])
def test_no_line_that_runs_is_hidden(desk: Callable[[str], Desk], code: str, way: str) -> None:
    at = desk("anthropic")
    run = at.ask(("c", "run_code", {"code": code}))
    forms = bundle(run.receipt)
    assert shown.of_html(forms["text/html"]) == shown.of_text(forms["text/plain"]) == [code]
    assert at.approve(run, way).state == "COMPLETED"
    assert at.ran == [code]


@pytest.mark.slow
def test_whatever_is_proposed_runs_as_it_was_shown(desk: Callable[[str], Desk], tmp_path: Path) -> None:
    at = desk("anthropic")
    numbers = itertools.count()

    @settings(max_examples=max(1, settings.default.max_examples // 5))  # each begins a session and asks
    @given(shown.payloads(), st.sampled_from(WAYS), st.booleans())
    @example(HIDING[0], "command", True)
    def holds(code: str, way: str, restarted: bool) -> None:
        with TemporaryDirectory(dir=tmp_path) as home:
            at.session.close()
            at.home, at.ran = Path(home) / str(next(numbers)), []
            at.session = at.start()
            run = at.ask(("c", "run_code", {"code": code}))
            views = [bundle(run.receipt)]
            if restarted:
                at.restart()
                run = at.session.find_run(run.run_id)
                views.append(bundle(run.receipt))
            for forms in views:
                assert shown.of_html(forms["text/html"]) == [code]
                assert shown.of_markdown(forms["text/markdown"]) == [code]
                assert shown.of_text(forms["text/plain"]) == [code]
            assert at.approve(run, way).state == "COMPLETED"
            assert at.ran == [code]

    holds()


def test_a_word_on_another_text_lets_nothing_run(desk: Callable[[str], Desk]) -> None:
    """As it would come from a view that showed something else."""
    at = desk("anthropic")
    run = at.ask(("c", "run_code", {"code": "evil()"}))
    agent = at.session.agent()
    (question,) = agent.questions(run.run_id)
    good = approvals.Question(number=1, step=question.step, tool="run_code", arguments={"code": "df.describe()"})
    agent.answer(run.run_id, [Answer(question=good, approved=True, by=BUTTON)])
    assert agent.drive(run.run_id).state == "WAITING"
    assert at.ran == []
    with_no_digest = {"step": question.step, "number": 1, "approved": True}
    agent.machine.send(run.run_id, EVENT, with_no_digest)
    assert agent.drive(run.run_id).state == "WAITING"
    assert at.ran == []


@given(shown.payloads(), shown.payloads())
def test_acting_runs_only_what_has_the_digest(seen: str, hidden: str) -> None:
    """A journal whose question and whose call are no longer one: the person is asked again, with the call itself."""
    proposed = Proposed(number=1, call=ToolCall("c", "run_code", {"code": seen}))
    asked = approvals.Approvals().asked([proposed], 3)
    (question,) = asked.waiting("r", allow=())
    word = asked.decision("r", Answer(question=question, approved=True, by=BUTTON).to_json(), at=0.0)
    assert word is not None
    said = replace(asked, decisions=(word,))

    @tool(name="run_code")
    def run_code(code: str) -> str:
        """Run."""
        return code

    box = ToolBox(tools={"run_code": run_code})
    other = Proposed(number=1, call=ToolCall("c", "run_code", {"code": hidden}))
    again = said.to_ask("r", box, [other])
    assert again == ([] if seen == hidden else [other])
    assert said.to_ask("r", box, [proposed]) == []


# --- one id for two calls -----------------------------------------------------------------------------------------

IDS: dict[str, tuple[str | None, str | None]] = {
    "twice": ("call_1", "call_1"),
    "blank": ("", ""),
    "spaces": (" ", " "),
    "missing": (None, None),
    "one blank": ("call_1", ""),
}


@pytest.mark.parametrize("ids", list(IDS))
@pytest.mark.parametrize("wire", list(scripted.MODELS))
def test_the_second_button_runs_the_second_call(desk: Callable[[str], Desk], wire: str, ids: str) -> None:
    at = desk(wire)
    first, second = IDS[ids]
    run = at.ask((first, "run_code", {"code": "first()"}), (second, "run_code", {"code": "second()"}))
    assert shown.of_text(bundle(run.receipt)["text/plain"]) == ["first()", "second()"]
    at.press(run, "Run 2")
    at.restart()
    agent = at.session.agent()
    (left,) = agent.questions(run.run_id)
    assert (left.number, left.arguments) == (1, {"code": "first()"})
    agent.answer(run.run_id, [Answer(question=left, approved=False, by=COMMAND, reason="no")])
    done = agent.drive(run.run_id)
    assert done.state == "COMPLETED", done.error
    assert at.ran == ["second()"]
    (denied_id, denied), (ran_id, ran) = scripted.results_in(at.server.bodies[-1])
    assert "did not approve" in denied
    assert ran.startswith("ran 1")
    assert denied_id != ran_id or denied_id is None, "Gemini takes calls without an id, in their order"


@pytest.mark.parametrize("wire", list(scripted.MODELS))
def test_both_run_once_each_with_their_own_result(desk: Callable[[str], Desk], wire: str) -> None:
    at = desk(wire)
    run = at.ask(("c", "run_code", {"code": "first()"}), ("c", "run_code", {"code": "second"}))
    at.press(run, "Run all 2")
    agent = at.session.agent()
    assert agent.drive(run.run_id).state == "COMPLETED"
    assert at.ran == ["first()", "second"]
    assert [text for _, text in scripted.results_in(at.server.bodies[-1])] == [
        "ran 1: 7 characters",
        "ran 2: 6 characters",
    ]
    last = agent.machine.get(run.run_id).step
    assert all(agent.machine.replay(run.run_id, step).same for step in range(1, last + 1))


@pytest.mark.parametrize("ids", ["twice", "blank", "missing"])
@pytest.mark.parametrize("wire", ["anthropic", "google", "responses"])
def test_another_model_goes_on_with_the_call_that_was_approved(
    desk: Callable[[str], Desk], wire: str, ids: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second of two calls with one id is approved; then the kernel ends, and another wire's model goes on."""
    at = desk(wire)
    first, second = IDS[ids]
    run = at.ask((first, "run_code", {"code": "first()"}), (second, "run_code", {"code": "second()"}))
    at.press(run, "Run 2")
    at.restart()
    other = "google" if wire == "anthropic" else "anthropic"
    server = scripted.Scripted(other)
    for name, path in scripted.ADDRESSES.items():
        monkeypatch.setenv(name, server.url + path)
    agent = at.session.agent()
    (left,) = agent.questions(run.run_id)
    agent.answer(run.run_id, [Answer(question=left, approved=False, by=COMMAND, reason="no")])
    agent.resume(run.run_id, Limits(model=scripted.MODELS[other]))
    done = agent.drive(run.run_id)
    server.close()
    assert done.state == "COMPLETED", done.error
    assert at.ran == ["second()"]
    told = str(server.bodies[0])
    assert told.index("first()") < told.index("second()") < told.index("did not approve") < told.index("ran 1: 8 char")


@given(st.lists(st.sampled_from(["", " ", "a", "b", "call_1"]), max_size=6))
def test_ids_of_a_reply_are_told_apart_and_always_the_same(ids: list[str]) -> None:
    def reply() -> Reply:
        calls = tuple(ToolCall(call_id, "f", {"n": n}) for n, call_id in enumerate(ids))
        return Reply(content=calls, stop=StopReason.TOOLS, usage=Usage(), model="m", message_id="r")

    made = [call.call_id for call in reply().calls]
    assert len(set(made)) == len(ids)
    assert all(call_id.strip() for call_id in made)
    assert [call.arguments["n"] for call in reply().calls] == list(range(len(ids)))
    assert reply() == reply()
    kept = [call_id for n, call_id in enumerate(ids) if call_id.strip() and call_id not in ids[:n]]
    assert [call_id for call_id in made if call_id in ids] == kept, "an id of the model's own goes back as it came"
