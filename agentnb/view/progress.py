"""Fold a run's events while it goes on: its stage, the answer so far, and its live view's parts. Pure.

What it keeps does not grow with the run: the newest steps alone, and the text of the present call.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any, Protocol

from agentnb.canonical import JsonMapping
from agentnb.view.number_format import count, number, plural, short_dollars, short_seconds
from agentnb.view.style import SMALL, clean, esc
from agentnb.view.words import cost_words, run_doc, run_words

NEWEST = 5
"""Steps shown while the run goes on."""
THOUGHT = 100
"""Letters of thinking shown while the model thinks."""
USUAL_FIRST_TOKEN = 1.5
"""Seconds, where nothing is known of the model."""
LOADING = "loading"
BAR_STYLES = (
    "<style>"
    ".agentnb-live {line-height:1.5}"
    ".agentnb-clock {display:flex;align-items:center;gap:10px;max-width:44em;margin:2px 0}"
    ".agentnb-bar {position:relative;display:flex;flex:1;height:6px;overflow:hidden;border-radius:3px;"
    "background:#80808033}"
    ".agentnb-bar i {height:6px} .agentnb-bar .c {background:#808080} .agentnb-bar .r {background:#1a8f7a}"
    ".agentnb-bar .w {background:#3f7fd0} .agentnb-bar b {position:absolute;left:50%;width:2px;height:6px;"
    "background:currentColor}"
    ".agentnb-clock small {min-width:4em;text-align:right;font-variant-numeric:tabular-nums}"
    ".agentnb-live .jupyter-widget-Collapse-header {background:none;border:0;padding:2px 0;font-weight:normal;"
    "font-size:0.9em;color:inherit}"
    ".agentnb-live .jupyter-widget-Collapse-contents {background:none;border:0;padding:0 0 0 16px;color:inherit}"
    "</style>"
)
"""For the bar of the live view, which is never saved: sent once, so that a tick is short."""


class ProgressEvent(Protocol):
    """Names what is read of one of a run's events."""

    kind: Any
    step: Any
    state: Any
    next_state: Any
    data: Any


@dataclass(slots=True, kw_only=True)
class Progress:
    """Holds one run as its events tell it. `feed` it from one thread at a time; times are seconds of the caller's
    clock."""

    began: float
    state: str = "HYDRATING"
    simulated: bool = False
    steps: int = 0
    text: str = ""
    stage: str = ""
    cost: float = 0.0
    plan: str = ""
    children: tuple[str, ...] = ()
    """A line for each child at work, or of the step before."""
    loading: float = 0.0
    """Seconds that went into loading the provider's SDK."""
    newest: deque[str] = field(default_factory=lambda: deque(maxlen=NEWEST))
    expected: float | None = None
    """Seconds from the beginning of the call to its first token."""
    call_began: float | None = None
    ready: float | None = None
    """When the SDK was loaded and the model began to read."""
    first_token: float | None = None
    thought: str = ""
    """The newest letters of what the model shows of its thinking."""
    sent: str = ""
    _parts: list[str] = field(default_factory=list)
    _loading_since: float | None = None
    _loaded_before: float = 0.0
    """Seconds of loading before the present call."""

    def feed(self, event: ProgressEvent, now: float) -> None:
        """Take one event of this run."""
        if event.kind == "delta":
            self._delta(event.data, now)
        elif event.kind == "phase":
            self._phase(clean(event.data.get("text") or ""), now)
        elif event.kind == "view":
            self._view(event.data.get("context") or {}, now)
        elif event.kind == "children":
            self.children = tuple(run_words.child_lines(event.data))
        elif event.kind in ("step", "failed"):
            self._step(event)

    @property
    def answer(self) -> str:
        """Return the text of the present call, joined only when it is looked at."""
        if self._parts:
            self.text += "".join(self._parts)
            self._parts.clear()
        return self.text

    def _delta(self, data: JsonMapping, now: float) -> None:
        channel = data.get("channel")
        if channel == "restart":  # the reply broke off and begins anew
            self.text, self.stage, self.first_token = "", "asking again: the reply broke off", None
            self.thought = ""
            self._parts.clear()
            return
        self.first_token = self.first_token or now
        if channel == "text":
            self._parts.append(str(data.get("text") or ""))
        elif channel == "thinking":
            self.thought = (self.thought + str(data.get("text") or ""))[-THOUGHT:]
        self.stage = {"text": "writing", "thinking": "thinking"}.get(str(channel), "calling a tool")

    def _phase(self, text: str, now: float) -> None:
        if self._loading_since is not None:
            self.loading += now - self._loading_since
            self._loading_since = None
        if text.startswith(LOADING):
            self._loading_since = now
        elif self.call_began is not None:
            self.ready = now
        self.stage = text

    def _view(self, context: JsonMapping, now: float) -> None:
        cost = number((context.get("cost") or {}).get("total"))
        self.cost = self.cost if cost is None else cost
        self.plan = run_words.plan_now(context)
        last = context.get("last") or {}
        latency = last.get("latency") or {}
        if "ttft" not in latency:  # a call that is about to be made
            self.call_began, self.ready, self.first_token = now, None, None
            self._loaded_before = self.loading
            self.expected = number((latency.get("expected") or {}).get("middle"))
            self.state, self.stage, self.text, self.thought = "THINKING", "", "", ""
            self._parts.clear()
            self.sent = _sent(last)

    def _step(self, event: ProgressEvent) -> None:
        self.state, self.stage, self.call_began, self.first_token = str(event.next_state), "", None, None
        if event.kind == "step":
            self.steps += 1
            self.text = "" if self.state == "THINKING" else self.answer
            self._parts.clear()
        self.newest.append(_step_words(event))

    # --- in words and html ---------------------------------------------------------------------------------------

    def stage_words(self) -> str:
        """Return `Asking: the model reads ≈ 2,112 tokens, ≈ 1,790 of them cached`"""
        word = run_doc.state_words({"state": self.state, "live": {}})[1]
        if self.call_began is None or self.state != "THINKING":
            return f"{word}: {self.stage}" if self.stage and self.state != "AWAITING_APPROVAL" else word
        if self.first_token is not None and self.stage in ("writing", "thinking", "calling a tool"):
            doing = {"writing": "writes", "thinking": "thinks", "calling a tool": "calls a tool"}[self.stage]
            thought = clean(" ".join(self.thought.split())) if self.stage == "thinking" else ""
            return f"{word}: the model {doing}{f': … {thought}' if thought else ''}"
        if self.stage.startswith("waiting for the first token") or not self.stage:
            return f"{word}: the model reads{f' {self.sent}' if self.sent else ''}"
        return f"{word}: {self.stage}"

    def aside(self, beside: str = "") -> list[str]:
        """Return what stands beside the stage: steps, the plan, cost so far, and what the figures are not."""
        return [
            *([f"step {count(self.steps + 1)}"] if self.steps > 1 else []),
            *([self.plan] if self.plan else []),
            *([f"{short_dollars(self.cost)} so far"] if self.cost else []),
            *([beside] if beside else []),
            *(["simulated"] if self.simulated else []),
        ]

    def line(self, now: float, beside: str = "") -> str:
        """Return all of it on one line, for a terminal."""
        return " · ".join([f"● {self.stage_words()}", *self.aside(beside), short_seconds(now - self.began)])

    def stage_html(self, beside: str = "") -> str:
        words = " · ".join(map(esc, [self.stage_words(), *self.aside(beside)]))
        colour = run_doc.state_words({"state": self.state, "live": {}})[2]
        children = "".join(f'<div style="margin:0 0 0 16px">{esc(line)}</div>' for line in self.children)
        return f'<div style="{SMALL}"><span style="color:{colour}">●</span> {words}{children}</div>'

    def clock_html(self, now: float) -> str:
        """Return the bar and the time. The mark in its middle is where the first token is expected."""
        parts = "".join(f'<i class="{kind}" style="width:{width:.1f}%"></i>' for kind, width in self._bar(now))
        mark = "<b></b>" if self.call_began is not None and self.first_token is None else ""
        time = short_seconds(max(0.0, now - self.began))
        return f'<div class="agentnb-clock"><div class="agentnb-bar">{parts}{mark}</div><small>{time}</small></div>'

    def _bar(self, now: float) -> list[tuple[str, float]]:
        """Connecting, reading and writing of the present call, each with its width in percent.

        The bar has no end that could be known. After t seconds it is t / (t + expected) long, so it always grows.
        """
        if self.call_began is None:
            return []
        loading = now - self._loading_since if self._loading_since is not None else 0.0
        half = (self.expected or USUAL_FIRST_TOKEN) + self.loading - self._loaded_before + loading
        ready = self.ready or (now if self._loading_since is not None else self.call_began)
        times = [ready, self.first_token or now, now]
        ends = [100 * (t - self.call_began) / (t - self.call_began + half) for t in times]
        return [("c", ends[0]), ("r", ends[1] - ends[0]), *([("w", ends[2] - ends[1])] if self.first_token else [])]

    def steps_html(self) -> str:
        """Return the newest steps; all are told when the run ends."""
        before = self.steps - len(self.newest)
        earlier = [f"{plural(before, 'earlier step')} …"] if before > 0 else []
        return f'<div style="{SMALL}">{"<br>".join(map(esc, [*earlier, *self.newest]))}</div>'


def _sent(last: JsonMapping) -> str:
    tokens, cached = cost_words.layer_totals({"layers": last.get("layers"), "live": {}})
    if not tokens:
        return ""
    return f"≈ {count(tokens)} tokens" + (f", ≈ {count(cached)} of them cached" if cached else "")


def _step_words(event: ProgressEvent) -> str:
    data = event.data
    what = clean("failed" if event.kind == "failed" else data.get("what") or "")[:200]
    took = f" ({short_seconds(data['seconds'])})" if number(data.get("seconds")) is not None else ""
    return f"{event.step} {run_doc.state_word(event.state)}{f': {what}' if what else ''}{took}"
