"""How a run looks: nothing a model writes becomes markup, nothing missing breaks a view, figures are exact."""

from __future__ import annotations

import json
import re
from datetime import datetime
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agentnb.view import number_format
from agentnb.view.answer import markup
from agentnb.view.panels import prefix_html
from agentnb.view.plots.latency_plot import latency_svg
from agentnb.view.render import MIME, bundle, run_html, run_markdown, run_text
from agentnb.view.tables import Code, Stacked, table_html, table_text

TAGS = {
    *("div", "p", "span", "strong", "em", "s", "code", "pre", "br", "hr", "a", "ul", "ol", "li", "blockquote"),
    *("ins", "del", "h1", "h2", "h3", "table", "thead", "tbody", "tr", "th", "td", "details", "summary", "progress"),
}
ATTRIBUTES = {"style", "class", "title", "href", "target", "rel", "value", "max", "scope", "start", "colspan"}
CLASSES = re.compile(
    r"jp-RenderedHTMLCommon agentnb-run|mathjax_ignore tex2jax_ignore|agentnb-code( agentnb-code-\d+)?|agentnb-steps"
    r"|agentnb-offered"
)
VOID = {"br", "hr"}
# What JupyterLab's sanitizer for untrusted notebooks drops from a style.
STRIPPED = re.compile(r"var\(|rgba?\(|url\(|calc\(|transition|animation", re.IGNORECASE)


QUESTION = {"number": 1, "step": 3, "tool": "run_code", "arguments": {"code": "fit(gauge)\nplot()"}}
WORD = {"run": "r-1", "approved": False, "rest": False, "reason": "not yet", "by": "command", "at": 1732310000.0}


def full() -> dict[str, Any]:
    """A run with every field filled."""
    step = {
        "n": 2,
        "state": "THINKING",
        "next": "ACTING",
        "seconds": 1.9,
        "what": "asked for 1 tool",
        "usage": {"input": 12, "cache_read": 1800, "output": 60},
        "cost": 0.0041,
        "tools": [
            {
                "name": "inspect",
                "arguments": {"name": "tides.refit"},
                "result": "def refit(): ...",
                "seconds": 0.01,
                "decision": {"approved": True, "rest": True, "reason": "", "by": "button", "at": 1732310000.0},
            }
        ],
    }
    names = ("STATIC", "SEMI_STATIC", "HYDRATION", "DYNAMIC")
    figures_ = ((1040, 1040), (310, 310), (520, 450), (242, 0))
    return {
        "schema": "agentnb.run.v1",
        "run_id": "r-1",
        "thread": "main",
        "turn": 2,
        "branch": True,
        "state": "COMPLETED",
        "model": "sim:claude-sonnet-4-6",
        "label": "Claude Sonnet 4.6",
        "simulated": True,
        "task": "why?",
        "text": "Because of **K2**.",
        "error": {"type": "RateLimited", "code": "provider.rate-limited", "message": "refused", "todo": "Wait."},
        "notes": ["a note"],
        "live": {"phase": "waiting for the first token", "elapsed": 1.2},
        "steps": [step],
        "layers": [
            {"name": name, "tokens": tokens, "cached_tokens": cached, "digest": "ab", "estimated": True}
            for name, (tokens, cached) in zip(names, figures_, strict=True)
        ],
        "usage": {"input": 12, "cache_read": 1800, "cache_write_5m": 300, "cache_write_1h": 0, "output": 140},
        "cost": {"total": 0.0123, "uncached": 0.0201, "known": True, "simulated": True},
        "latency": {
            "connect": 0.001,
            "headers": 0.9,
            "ttft": 0.98,
            "tpot": 0.022,
            "total": 3.1,
            "queue_estimate": {"seconds": 0.08, "samples": 6},
            "modelled": False,
        },
        "cache": {
            "expected": 1790,
            "read": 1800,
            "written": 300,
            "minimum": 1024,
            "prefix": 2112,
            "reason": "hit: 1,800 of 2,112 input tokens",
            "warm_until": 1732310000.0,
        },
        "budget": {"limit": 0.05, "spent": 0.0123},
        "definitions": [
            {
                "name": "tides.harmonic",
                "file": "tides.py",
                "lines": [10, 31],
                "form": "full",
                "tokens": 210,
                "new": True,
            }
        ],
        "redactions": [{"kind": "anthropic-key", "mark": "[redacted:anthropic-key:3f2a]"}],
        "approvals": {"waiting": [QUESTION], "decided": [QUESTION | WORD]},
        "proposals": [
            {"source": "fit(gauge)", "why": "It fits `gauge` <anew>.", "replaces": 0},
            {"source": "x = 2", "why": "", "replaces": 3, "before": "x = 1"},
        ],
    }


def changed(**fields: Any) -> dict[str, Any]:
    return full() | {"error": None, "live": None} | fields


class Audit(HTMLParser):
    """Reads html as a browser would and notes every tag and attribute that is not ours, and what stays open."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.foreign: list[str] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.styles: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in TAGS:
            self.foreign.append(tag)
        for name, value in attrs:
            self._check(tag, name, value or "")
        if tag not in VOID:
            self.open.append(tag)

    def _check(self, tag: str, name: str, value: str) -> None:
        if name not in ATTRIBUTES:
            self.foreign.append(f"{tag} {name}")
        if name == "class" and not CLASSES.fullmatch(value):
            self.foreign.append(f"class {value}")
        if name == "href" and not value.startswith(("http://", "https://", "mailto:")):
            self.foreign.append(f"href {value}")
        if name == "style":
            self.styles.add(value)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.foreign.append(f"/{tag}")

    def handle_comment(self, data: str) -> None:
        self.foreign.append(f"comment {data}")

    def handle_decl(self, decl: str) -> None:
        self.foreign.append(f"declaration {decl}")

    def handle_pi(self, data: str) -> None:
        self.foreign.append(f"instruction {data}")

    def unknown_decl(self, data: str) -> None:
        self.foreign.append(f"declaration {data}")

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def audit(html: str) -> Audit:
    found = Audit()
    found.feed(html)
    found.close()
    return found


def visible(html: str) -> str:
    return "".join(audit(html).text)


hostile = st.one_of(
    st.text(),
    st.sampled_from(
        [
            "<script>alert(1)</script>",
            '"><img src=x onerror=alert(1)>',
            "'-alert(1)-'",
            "</pre></details><b>",
            "<!-- x",
            "<![CDATA[",
            "[x](javascript:alert(1))",
            '[x](https://a.b/"onmouseover="alert(1))',
            "![x](https://a.b/c.png)",
            "`<b>`",
            "**<b>**",
            "| a | b |\n|---|---|\n| <i> | `x` |",
            "```\n</pre><script>\n",
            "1. <li>\n2. x",
            "99999999999. x",
            "\x00\ud800\x1b[31m",
        ]
    ),
    st.lists(
        st.sampled_from(["*", "**", "`", "```\n", "[", "](", ")", "|", "\n", "<", ">", "&", '"', "# ", "- ", "$5"])
    ).map("".join),
)
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), hostile)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(hostile, inner, max_size=3), max_leaves=6
)


def poisoned(value: Any, text: str) -> Any:
    """The same document with this text in the place of every text."""
    if isinstance(value, dict):
        return {key: poisoned(item, text) for key, item in value.items()}
    if isinstance(value, list):
        return [poisoned(item, text) for item in value]
    return text if isinstance(value, str) else value


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """A document of which any part, at any depth, may be missing, null or of another type."""

    def damage(value: Any) -> Any:
        fate = draw(st.integers(0, 19))
        if fate == 0:
            return draw(anything)
        if fate == 1:
            return None
        if isinstance(value, dict):
            return {key: damage(item) for key, item in value.items() if draw(st.integers(0, 9))}
        if isinstance(value, list):
            return [damage(item) for item in value]
        return value

    return {key: damage(value) for key, value in full().items() if draw(st.integers(0, 9))}


@given(hostile, st.sampled_from(["COMPLETED", "FAILED", "THINKING", "WAITING", None]), st.booleans())
def test_no_text_in_any_field_becomes_markup(text: str, state: str | None, live: bool) -> None:
    document = poisoned(full(), text) | ({"state": state} if state else {})
    document |= {} if live else {"live": None}
    found = audit(run_html(document))
    assert found.foreign == []
    assert found.open == []


@given(hostile)
def test_text_adds_no_style_of_its_own(text: str) -> None:
    plain = full() | {"proposals": []}  # whose code has colours
    ours = audit(run_html(poisoned(plain, "plain"))).styles | audit(markup.to_html(SAMPLE)).styles | KNOWN_STYLES
    theirs = audit(run_html(poisoned(plain, text))).styles
    assert set(map(without_widths, theirs)) <= set(map(without_widths, ours))


def without_widths(style: str) -> str:
    """A style as it is for any width: that of a column and of a list's number come from the text's length."""
    return re.sub(r"\b\d+\.\dem|(?<=margin:2px 0 2px )\d+px", "#", style)


SAMPLE = """# a
## b
### c
p `c` **b**

- x
- [ ] y

1. y

> q

***

| a | b | c |
|:-:|---|--:|
| c | d | e |

```
x
```"""
KNOWN_STYLES = (
    audit(run_html(changed(state="X"))).styles
    | audit(run_html(changed(text=""))).styles
    | audit(table_html("", ("a", "b"), [("long " * 20, "long " * 20)])).styles
    | audit(table_html("", ("a", "b"), [("long " * 4, "long " * 4)])).styles
)


@pytest.mark.slow
@given(documents())
@example({"layers": [{"tokens": 1e107}], "cost": {"total": 1e200}, "latency": {"total": 1e90}})
@example({"layers": [{"tokens": 520}, {"cached_tokens": 5.2e140}]})
@example({"steps": [{"state": "X" * 300}]})
@settings(max_examples=settings.default.max_examples * 2)
def test_any_damaged_document_still_shows(document: dict[str, Any]) -> None:
    found = audit(run_html(document))
    assert found.foreign == []
    assert found.open == []
    assert max(map(len, run_text({k: v for k, v in document.items() if k != "text"}).split("\n"))) <= 200
    run_markdown(document)


@given(st.dictionaries(st.sampled_from(sorted(full())), anything))
def test_every_field_may_hold_anything(fields: dict[str, Any]) -> None:
    found = audit(run_html(fields))
    assert found.foreign == []
    run_text(fields)
    run_markdown(fields)


def test_an_empty_document_shows_that_nothing_is_known() -> None:
    assert "Not started" in visible(run_html({}))
    assert "Not started" in run_text({})


def test_styles_survive_the_untrusted_sanitizer() -> None:
    for document in (changed(), full(), changed(text=SAMPLE), changed(state="THINKING", live={})):
        for style in audit(run_html(document)).styles:
            assert not STRIPPED.search(style), style


@given(hostile, hostile)
def test_tables_escape_their_cells(text: str, title: str) -> None:
    found = audit(table_html(title, (text, "n"), [(text, 1), (None, 2.5)], [text]))
    assert found.foreign == []
    assert found.open == []


cells = st.text() | st.integers() | st.text().map(Code) | st.builds(Stacked, st.text(), st.tuples(st.text(), st.text()))


@given(st.lists(st.tuples(cells, st.integers(), cells, cells), max_size=5), st.integers(60, 110))
def test_text_tables_fit_a_terminal(rows: list[tuple[object, ...]], width: int) -> None:
    lines = table_text("Runs", ("run", "steps", "task", "more"), rows, width=width).split("\n")
    assert max(map(len, lines)) <= width


def test_the_outcome_is_one_line_where_the_terminal_has_room() -> None:
    doc = changed(plan=[{"text": "read", "state": "doing"}], children=[{"task": "read the log"}])
    (line,) = (line for line in run_text(doc, width=110).split("\n") if line.startswith("✓"))
    assert line.endswith("plan: 0 of 1 done · 1 part delegated · simulated")
    assert len(line) > 80


def test_in_a_narrow_terminal_no_figure_is_cut() -> None:
    columns = ("when", "question", "cost", "cached", "worked")
    row = (
        "21:42",
        Stacked("Explain gauge with an example", (Code("r-20261130-214243-ebb762"),)),
        "$0.023",
        "49 %",
        "5.2 s",
    )
    shown = table_text("", columns, [row], width=40)
    assert max(map(len, shown.splitlines())) <= 40
    assert all(said in shown for said in ("when 21:42", "r-20261130-214243-ebb762", "cost $0.023", "cached 49 %"))
    assert shown.startswith("Explain gauge with an example")


def test_a_text_table_cuts_no_sentence() -> None:
    words = [f"word{n}" for n in range(40)]
    row = (Code("r-20260101-120000-ab12"), Stacked(" ".join(words[:20]), (" ".join(words[20:]),)), 5, "x" * 90)
    text = table_text("Runs", ("run", "task", "steps", "path"), [row])
    assert [word for word in words if word not in text.split()] == []


def test_the_answer_comes_first_then_one_line_then_the_rest() -> None:
    for form in (visible_html, run_text, run_markdown):
        compact, full = form(changed()), form(changed(), full=True)
        assert full.index("K2") < full.index("✓ 1.9 s") < full.index("Project")
        assert ("Project" in compact) is (form is visible_html), "html has it behind a fold"


def test_the_line_says_time_cost_savings_context_and_simulated() -> None:
    cells = [{"cell": 3}, {"cell": 4}]
    line = "✓ 1.9 s · $0.012 (saved 39 %) · 2 cells, 1 definition · simulated"
    assert line in run_text(changed(cells=cells)).split("\n")
    shown = visible(run_html(changed(cells=cells)))
    assert line + " · details" in " ".join(shown.split())
    assert "✗ Failed · 1.9 s" in run_text(changed(state="FAILED"))
    assert "$0.02 (66 % more, stored for the next)" in run_text(changed(cost={"total": 0.02, "uncached": 0.01205}))


def test_everything_else_is_behind_one_fold() -> None:
    assert "<details open" not in run_html(changed())
    assert run_html(changed(), full=True).count("<details open") == 1
    assert run_html(changed()) == run_html(changed(), full=True).replace("<details open", "<details")


def test_the_clock_never_runs_backwards() -> None:
    """The live view said 12.1 s, so the static one does not say 1.9 s."""
    assert "✓ 12 s" in run_text(changed(clock={"seconds": 12.1}))
    assert "✓ 1.9 s" in run_text(changed(clock={"seconds": 0.2})), "a modelled call counts with its modelled time"


def visible_html(document: dict[str, Any], *, full: bool = False) -> str:
    return visible(run_html(document, full=full))


def test_estimates_are_marked_and_reports_are_not() -> None:
    html = visible(run_html(changed()))
    assert "≈ 1,040" in html
    assert "≈ 80 ms" in html, "a queue is never measured"
    assert "≈ 2,112" not in html, "the sum is what the provider reported"


def test_without_an_estimate_the_queue_is_not_told_apart_from_the_prefill() -> None:
    latency = full()["latency"] | {"queue_estimate": {"seconds": None, "samples": 2}}
    html = visible(run_html(changed(latency=latency)))
    assert "wait and read the prompt" in html
    assert "979 ms" in html


def test_what_is_estimated_and_what_was_expected_is_said_under_the_timeline() -> None:
    expected = {"low": 0.7, "middle": 0.8, "high": 0.9, "samples": 12}
    latency = full()["latency"] | {"modelled": False, "expected": expected}
    for view in (run_text(changed(latency=latency), full=True), visible(run_html(changed(latency=latency)))):
        assert "First token (TTFT) after 980 ms, later than expected (0.70 to 0.90 s, from 12" in view
        assert "estimated from 6 calls" in view
    thought = latency | {"ttft": 1.28, "thinking": {"seconds": 0.4, "tokens": 19}}
    told = "after 1.28 s, 400 ms of it thinking; the rest came as expected (0.70 to 0.90 s"
    assert told in " ".join(run_text(changed(latency=thought), full=True).split())
    few = latency | {"queue_estimate": {"seconds": None, "samples": 2}}
    assert "an estimate takes 5 calls (2 so far)" in run_text(changed(latency=few), full=True)


def test_while_a_call_waits_the_view_says_what_is_expected_and_no_zero() -> None:
    empty = [layer | {"tokens": 0, "cached_tokens": 0} for layer in full()["layers"]]
    waiting = changed(state="THINKING", text="", live={"phase": "waiting for the first token", "elapsed": 0.3})
    waiting |= {"latency": {"expected": {"low": 0.53, "high": 0.62, "samples": 0}}, "layers": empty}
    html = visible(run_html(waiting))
    assert "First token expected after 0.53 to 0.62 s (8 of 10 times; from the catalogue's curve)." in html
    assert "What this request sends" in html
    assert "≈ 0" not in html


def test_a_refused_tool_says_how_to_allow_it() -> None:
    call = {"name": "run_code", "arguments": {}, "result": "Refused", "refused": True}
    steps = [{"n": 2, "state": "ACTING", "next": "THINKING", "tools": [call, call]}]
    for view in (run_text(changed(steps=steps)), visible(run_html(changed(steps=steps)))):
        assert "run_code, which may act and was not allowed. %%agent --allow run_code lets it." in view.replace(
            "\n", " "
        )
    assert "--allow" not in run_text(changed())
    asked = [steps[0] | {"tools": [call | {"name": "ask_user"}]}]
    assert "a question for you, and nobody was there" in " ".join(run_text(changed(steps=asked)).split())
    assert "--allow ask_user" not in run_text(changed(steps=asked))


def waits(*questions: dict[str, Any]) -> dict[str, Any]:
    return changed(state="WAITING", text="", approvals={"waiting": list(questions), "decided": []})


def test_a_run_that_waits_shows_each_call_whole_and_how_to_answer() -> None:
    code = "\n".join(f"step({n})" for n in range(3000))
    tide = {"number": 2, "step": 3, "tool": "tide", "arguments": {"place": "Dover", "days": [1, 2]}}
    document = waits(QUESTION | {"arguments": {"code": code}}, tide)
    for view in (run_text(document), visible(run_html(document)), run_markdown(document).replace("\\", "")):
        assert "Waiting for your approval of 2 calls" in view
        assert "1. run_code, in your kernel and with your rights" in view
        assert "step(0)" in view
        assert "step(2999)" in view, "what is approved must be what was read"
        assert "Dover" in view
        words = " ".join(view.split())
        assert "%agent_runs approve r-1 lets it run, %agent_runs deny r-1 WHY tells the model no" in words
    line = visible(run_html(document)).partition("details")[0]
    assert "Waiting for your approval of 2 calls" in line
    assert "$0.012" in line, "what it cost so far is on the line of its state"


@pytest.mark.parametrize("trick", ["\u202e", "\u2066", "\u200b", "\u2028", "\ufeff", "\x1b", "\r"])
def test_nothing_hides_in_a_call(trick: str) -> None:
    """Marks that turn the order of a line around, or vanish, make other code of it than what is seen."""
    document = waits(QUESTION | {"arguments": {"code": f"a{trick}b"}})
    for view in (run_text(document), visible(run_html(document)), run_markdown(document)):
        assert f"a⟨U+{ord(trick):04X}⟩b" in view


def test_code_cannot_end_the_block_that_it_is_shown_in() -> None:
    code = "x\n```\n**not code**\n````\n"
    assert f"`````python\n{code}\n`````" in run_markdown(waits(QUESTION | {"arguments": {"code": code}}))


def test_what_was_said_is_told_with_who_and_when() -> None:
    for view in (run_text(changed()), visible(run_html(changed())), run_markdown(changed()).replace("\\", "")):
        words = " ".join(view.split())
        assert re.search(r"Denied by command at \d\d:\d\d:\d\d: run_code\(code='fit\(gauge\)", words), words
        assert 'The model was told: "not yet"' in words
        assert "--allow" not in words, "it was asked about"
    steps = visible(run_html(changed()))
    assert "approved for the rest of the run by a button at" in steps


def test_a_table_for_narrow_windows_stacks_what_belongs_together() -> None:
    cell = Stacked("a <task> of many words", (Code("r-1-2"), "2 steps", "", "sim:model"))
    html = table_html("Runs", ("state", "task"), [("COMPLETED", cell)])
    found = audit(html)
    assert found.foreign == []
    assert found.open == []
    assert re.search(r"a &lt;task&gt; of many words<br>.*>r-1-2</code>\s·</span>.*>2 steps\s·</span>.*sim:model", html)
    text = table_text("Runs", ("state", "task"), [("COMPLETED", cell)])
    assert text.split("\n")[-2:] == ["COMPLETED  a <task> of many words", "             r-1-2 · 2 steps · sim:model"]


def test_bars_are_told_apart_on_paper_which_has_no_backgrounds() -> None:
    styles = " ".join(audit(run_html(full())).styles)
    assert re.search(r"border-top:1\dpx solid #1a937d", styles), "what was read from the prompt cache"
    assert re.search(r"border-top:1\dpx solid #4383d2", styles), "what was measured"
    assert not re.search(r"background:#1a937d(?![0-9a-f])", styles)
    assert "background:#4383d2" not in styles


def test_a_recording_is_labelled_and_its_speed_is_no_measurement() -> None:
    played = changed(recorded="2026-11-27, claude-sonnet-4-6", latency=full()["latency"] | {"total": 0.001})
    for view in (run_text(played), visible(run_html(played)), run_markdown(played).replace("\\", "")):
        assert "recorded 2026-11-27, claude-sonnet-4-6" in view.replace("\n", " ")
        assert "First token" not in view
    slowly = changed(recorded="2026-11-27, claude-sonnet-4-6")
    assert "How long the recording played" in visible(run_html(slowly))


def test_a_dry_run_says_that_all_is_forecast() -> None:
    cache = full()["cache"] | {"reason": "expected: warm prefix of 1,790 tokens", "read": 0, "written": 0}
    html = visible(run_html(changed(state="DRY_RUN", cache=cache, latency=None, steps=[])))
    assert "Dry run" in html
    assert "≈ $0.0123" in html
    assert "What would be sent" in html
    assert "read 0" not in html


@pytest.mark.parametrize(("hours", "shown"), [(1, "warm until 21:33."), (24, "warm until 2026-12-01 20:33.")])
def test_a_prompt_that_is_warm_until_another_day_says_so(hours: int, shown: str) -> None:
    asked = datetime.fromisoformat("2026-11-30 20:33").timestamp()
    document = full()
    document["steps"][-1]["at"] = asked
    document["cache"] |= {"warm_until": asked + hours * 3600}
    assert shown in " ".join(run_text(document, full=True).split())


def test_below_the_minimum_the_distance_is_shown() -> None:
    cache = full()["cache"] | {"prefix": 812, "read": 0}
    for view in (run_text(changed(cache=cache), full=True), visible(run_html(changed(cache=cache)))):
        assert "812 of 1,024 tokens" in view


def test_a_failure_says_what_to_do() -> None:
    view = run_text(changed(state="THINKING", error=full()["error"]))
    assert "✗ RateLimited: refused. Wait. [provider.rate-limited]" in view
    assert "Failed" in view, "a failed run keeps its state, and still is a failed run"


def test_a_failure_says_how_to_go_on_and_names_its_code_once() -> None:
    failed = changed(state="FAILED", error={"type": "X", "code": "x.y", "message": "it costs $1 of $2", "todo": ""})
    assert "%agent_runs resume" in run_text(failed)
    assert run_text(failed).count("x.y") == 1
    paused = changed(state="PAUSED", live=None)
    assert "%agent_runs resume" in run_html(paused)
    assert "%agent_runs resume" not in bundle(paused, error_follows=True)["text/html"], "what follows says it"


def test_a_failed_attempt_is_no_step() -> None:
    steps = [{"n": 1, "state": "HYDRATING", "next": "THINKING", "what": "1 definition held"}]
    steps += [
        {"n": 1, "state": "THINKING", "next": "FAILED", "failed": True},
        {"n": 2, "state": "THINKING", "next": "COMPLETED"},
    ]
    text = run_text(changed(steps=steps), full=True)
    assert "2 steps, 1 failed attempt:" in text
    assert "     asking failed" in text.split("\n")
    assert "<td" in run_html(changed(steps=steps))


def test_an_error_that_follows_is_not_told_twice() -> None:
    failed = changed(state="FAILED", error={"type": "X", "code": "x.y", "message": "gone wrong", "todo": ""})
    shown = bundle(failed, error_follows=True)
    assert not any("gone wrong" in shown[kind] for kind in ("text/html", "text/markdown", "text/plain"))
    assert all("Failed" in shown[kind] for kind in ("text/html", "text/markdown", "text/plain"))
    assert shown[MIME]["error"]["message"] == "gone wrong"


def test_dollars_outside_the_answer_are_never_formulas() -> None:
    class Formulas(HTMLParser):
        """Text with a dollar that stands in no element which MathJax passes by."""

        def __init__(self) -> None:
            super().__init__()
            self.ignored: list[bool] = []
            self.found: list[str] = []

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            if tag not in ("br", "img"):
                self.ignored.append("mathjax_ignore" in (dict(attrs).get("class") or ""))

        def handle_endtag(self, tag: str) -> None:
            self.ignored.pop()

        def handle_data(self, data: str) -> None:
            if "$" in data and not any(self.ignored):
                self.found.append(data)

    parser = Formulas()
    error = {"type": "X", "code": "x.y", "message": "it costs $1 and $2 is left", "todo": "Pay $3."}
    parser.feed(run_html(changed(text="", error=error, notes=["$4 and $5"], task="for $6 or $7")))
    assert parser.found == []


def test_ids_and_dates_in_tables_stay_on_one_line() -> None:
    html = table_html("Runs", ("run", "began", "task"), [(Code("r-1-2"), "01-02 10:00", "a task of many words")])
    cells = re.findall(r'<td style="([^"]*)">(?:<code style="([^"]*)">)?', html)
    assert ["white-space:nowrap" in cell for cell, _ in cells] == [True, True, False]
    assert cells[0][1].endswith("white-space:pre")


def test_an_unfinished_run_of_a_dead_kernel_is_not_shown_as_running() -> None:
    assert "Not finished: it stopped while asking" in run_text(changed(state="THINKING"))


def test_a_secret_that_was_removed_is_mentioned() -> None:
    assert "1 secret left out before sending" in run_text(changed())


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0 ms"),
        (0.0001, "< 1 ms"),
        (0.012, "12 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.00 s"),
        (1.9, "1.90 s"),
        (42.51, "42.5 s"),
        (59.96, "1 min 00 s"),
        (125, "2 min 05 s"),
        (None, "–"),
        (True, "–"),
        (float("nan"), "–"),
    ],
)
def test_seconds(value: Any, shown: str) -> None:
    assert number_format.seconds(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "$0.00"), (0.00001, "< $0.0001"), (0.0123, "$0.0123"), (1.234, "$1.23"), (12345, "$12,345.00")],
)
def test_dollars(value: float, shown: str) -> None:
    assert number_format.dollars(value) == shown


@given(st.integers(0, 10**7), st.integers(1, 10**7))
def test_a_share_is_100_percent_only_of_all_and_0_only_of_nothing(part: int, whole: int) -> None:
    shown = number_format.share(part, whole)
    if part < whole:
        assert shown != "100 %"
    if part > 0:
        assert shown != "0 %"


def test_the_bundle_is_json_without_a_widget() -> None:
    made = bundle(changed())
    assert set(made) == {"text/html", "text/markdown", "text/plain", MIME}
    kept = json.loads(json.dumps(made))[MIME]
    assert {name: kept[name] for name in changed()} == changed()


def test_a_plot_is_read_on_a_light_page_and_on_a_dark_one() -> None:
    """As a picture it cannot know the page's colours: no paper of its own, and ink with contrast on both."""
    svg = latency_svg("a < b", {"cold": [(0, 0.4), (20_000, 2.5)], "measured_cold": [(3_000, 0.8)]})
    ElementTree.fromstring(svg)
    assert not re.search(r"currentColor|#fff|white|#000|black|#222", svg)


@pytest.mark.parametrize(
    ("cached", "mark"),
    [
        ((1040, 310, 520, 242), ""),
        ((1040, 310, 0, 0), "◀ the prefix broke here, in Your notebook"),
        ((0, 0, 0, 0), "◀ none of it was warm"),
    ],
)
def test_where_the_prefix_broke(cached: tuple[int, ...], mark: str) -> None:
    layers = [layer | {"cached_tokens": read} for layer, read in zip(full()["layers"], cached, strict=True)]
    drawn = visible(prefix_html(changed(layers=layers)))
    assert mark in drawn
    assert drawn.count("◀") == bool(mark)


def test_a_name_in_backticks_is_code_in_the_reason_of_a_proposal() -> None:
    html = run_html(changed())
    assert re.search(r"It fits <code[^>]*>gauge</code> &lt;anew&gt;\.", html)


def test_a_files_name_moves_no_terminal() -> None:
    rows = [("a\x1b[2Jb.py", "named \x07"), (Code("\x9b31m.py"), 1)]
    shown = table_text("Files", ("name", "why"), rows, ["\x1b]0;x\x07"])
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", shown)
