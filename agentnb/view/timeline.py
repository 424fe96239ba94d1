"""Show the timeline of a run's last call, in rows and words; what is estimated says so. Pure."""

from __future__ import annotations

from typing import NamedTuple

from agentnb.providers.latency import MIN_SAMPLES
from agentnb.view.number_format import count, number, plural, seconds
from agentnb.view.words.run_doc import Doc, part, recorded

INSTANT = 0.05
"""Seconds. What was played faster was not played at its pace."""


class Phase(NamedTuple):
    """Holds one row of a call's timeline, in seconds; None where it is not known (yet). `estimated`: not measured."""

    name: str
    start: float | None
    length: float | None
    estimated: bool = False

    def after(self, seconds: float) -> Phase:
        """Return the same, so many seconds later."""
        return self if self.start is None else self._replace(start=self.start + seconds)


def rows(doc: Doc) -> list[Phase]:
    """Return the timeline of the last call. What went before it stands apart: loading, and earlier attempts."""
    latency = part(doc, "latency")
    loading = number(part(doc, "clock").get("loading")) or 0.0
    waited = number(latency.get("retry_wait")) or 0.0
    out = [Phase("load the SDK", 0.0, loading)] if loading >= INSTANT else []
    if waited:
        attempts = number(latency.get("attempts")) or 2
        out.append(Phase(plural(max(1, attempts - 1), "retry", "retries"), loading if out else 0.0, waited))
    before = sum(row.length or 0.0 for row in out)
    return [*out, *(row.after(before) for row in _attempt_rows(latency, waited))]


def total(doc: Doc) -> float | None:
    """Return the seconds of all rows, loading too; None while the call goes on."""
    took = number(part(doc, "latency").get("total"))
    loading = number(part(doc, "clock").get("loading")) or 0.0
    return took if took is None or loading < INSTANT else took + loading


def _attempt_rows(latency: Doc, waited: float) -> list[Phase]:
    """Return the call that was answered. Queue and prefill cannot be told apart without an estimate."""
    connect, ttft = number(latency.get("connect")), number(latency.get("ttft"))
    total, headers = number(latency.get("total")), number(latency.get("headers"))
    above = number(part(latency, "queue_estimate").get("seconds"))
    thinking = number(part(latency, "thinking").get("seconds")) or 0.0
    began, modelled = connect or 0.0, bool(latency.get("modelled"))
    out = [Phase("connect", 0.0, connect)]
    if latency.get("streamed") is False:
        return [*out, Phase("wait, read and write", began, None if ttft is None else max(0.0, ttft - began))]
    if (measured := part(latency, "on_server")) and ttft is not None:
        queue, prefill, decode = (number(measured.get(name)) or 0.0 for name in ("queue", "prefill", "decode"))
        read = Phase("read the prompt", began + queue, prefill)
        return [*out, Phase("queue", began, queue), read, Phase("write the answer", began + queue + prefill, decode)]
    if headers is not None and ttft is not None and not modelled:
        out.append(Phase("until headers", began, max(0.0, headers - began)))
    reading = None if ttft is None else max(0.0, ttft - began - thinking - (above or 0.0))
    if above is not None or ttft is None:
        out.append(
            Phase("queue" if modelled else "queue above your usual", began, above, above is not None and not modelled)
        )
    name = "read the prompt" if above is not None else "wait and read the prompt"
    out.append(Phase(name, began + (above or 0.0), reading, estimated=above is not None and not modelled))
    if thinking:
        out.append(Phase("thinking (not shown)", began + (above or 0.0) + (reading or 0.0), thinking, not modelled))
    writing = None if ttft is None or total is None else max(0.0, total - waited - ttft)
    return [*out, Phase("write the answer", ttft, writing)]


def notes(doc: Doc) -> list[str]:
    """Return when the first token came beside what was expected, and which figures of the timeline are estimates, from
    what."""
    latency = part(doc, "latency")
    if was_instant(doc):
        return []
    if latency.get("streamed") is False:
        came = number(latency.get("ttft"))
        return [] if came is None else [f"The whole reply came after {seconds(came)}: it was not streamed."]
    basis = "" if recorded(doc) else _queue_basis(latency)
    return [said for said in (_first_token(latency, compare=not recorded(doc)), basis) if said]


def _first_token(latency: Doc, *, compare: bool) -> str:
    """Return `First token (TTFT) after 980 ms, as expected (0.70 to 0.99 s, from 12 calls); then 22 ms a token
    (TPOT).`"""
    ttft, tpot = number(latency.get("ttft")), number(latency.get("tpot"))
    low, high, basis = _expected(part(latency, "expected"))
    known = compare and low is not None and high is not None
    if ttft is None:
        return f"First token expected after {low:.2f} to {high:.2f} s (8 of 10 times; {basis})." if known else ""
    verdict = ""
    if known and low is not None and high is not None:
        thinking = number(part(latency, "thinking").get("seconds")) or 0.0
        came = ttft - thinking - (number(latency.get("connect")) or 0.0)
        word = "sooner than" if came < low else "later than" if came > high else "as"
        apart = f" {seconds(thinking)} of it thinking; the rest came" if thinking else ""
        verdict = f",{apart} {word} expected ({low:.2f} to {high:.2f} s, {basis})"
    pace = f"; then {seconds(tpot)} a token (TPOT)" if tpot else ""
    return f"First token (TTFT) after {seconds(ttft)}{verdict}{pace}."


def _expected(expected: Doc) -> tuple[float | None, float | None, str]:
    """Return (low, high, from what)."""
    samples = number(expected.get("samples"))
    basis = f"from {plural(samples, 'call')}" if samples else "from the catalogue's curve"
    return number(expected.get("low")), number(expected.get("high")), basis


def _queue_basis(latency: Doc) -> str:
    if latency.get("modelled") or number(latency.get("ttft")) is None:
        return ""
    if part(latency, "on_server"):
        return "The server on this machine measured how long it read and wrote; the rest was the queue."
    estimate = part(latency, "queue_estimate")
    samples = number(estimate.get("samples")) or 0
    if number(estimate.get("seconds")) is None:
        return f"No provider reports its queue; an estimate takes {MIN_SAMPLES} calls ({count(samples)} so far)."
    return f"≈ No provider reports its queue; your usual is estimated from {plural(samples, 'call')}."


def was_instant(doc: Doc) -> bool:
    """Tell whether a recording was played at once: how long that took says nothing."""
    total = number(part(doc, "latency").get("total"))
    return bool(recorded(doc)) and total is not None and total < INSTANT


def line(doc: Doc) -> str:
    """Return `Time of the last call: connect 1 ms, queue ≈ 80 ms, decode 2.12 s; total 3.10 s.`"""
    latency = part(doc, "latency")
    pieces = []
    for name, _, length, estimated in rows(doc):
        if length is not None:
            pieces.append(f"{name} {'≈ ' if estimated else ''}{seconds(length)}")
    if not pieces or was_instant(doc):
        return ""
    basis = " (modelled)" if latency.get("modelled") else ""
    return f"Time of the last call{basis}: {', '.join(pieces)}; total {seconds(total(doc))}."
