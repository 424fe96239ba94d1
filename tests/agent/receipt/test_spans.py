"""Runs as OpenTelemetry spans: the conventions' names, the journal's figures, nobody's words, and nothing when off."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from patience import PATIENCE

from agentnb.agent.receipt.spans import NAMES

CANARY = "CANARY-7f3a"
SECRET = "sk-ant-api03-" + "Zq9" * 30 + "-AAAA"


@pytest.fixture
def exported(book: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    book.session.settings = book.session.settings.with_changes(otel=True)
    yield exporter
    provider.shutdown()


def own(exported: InMemorySpanExporter) -> list[Any]:
    """Our spans alone: some SDKs make their own where OpenTelemetry is set up."""
    return [span for span in exported.get_finished_spans() if span.instrumentation_scope.name == "agentnb"]


def test_a_run_is_a_span_with_one_for_each_call_and_tool(book: Any, exported: InMemorySpanExporter) -> None:
    book.session.namespace["x"] = 3
    run = book.ask("Inspect `x` please.")
    assert not book.errors
    spans = own(exported)
    assert [span.name for span in spans] == [
        "chat claude-sonnet-4-6",
        "execute_tool inspect",
        "chat claude-sonnet-4-6",
        "invoke_agent agentnb",
    ]
    *below, root = spans
    assert all(span.parent is not None and span.parent.span_id == root.context.span_id for span in below)
    assert all(root.start_time <= span.start_time <= span.end_time <= root.end_time for span in below)
    assert root.attributes["agentnb.run_id"] == run.run_id
    assert root.attributes["gen_ai.conversation.id"] == run.thread
    calls = [step for step in run.steps if step.usage]
    for span, step in zip((spans[0], spans[2]), calls, strict=True):
        said, usage = span.attributes, step.usage
        assert said["gen_ai.provider.name"] == "anthropic"
        assert said["agentnb.simulated"] is True
        assert said["gen_ai.usage.cache_read.input_tokens"] == usage.cache_read
        written = usage.cache_write_5m + usage.cache_write_1h
        assert said["gen_ai.usage.cache_creation.input_tokens"] == written
        assert said["gen_ai.usage.input_tokens"] == usage.input + usage.cache_read + written
        assert said["gen_ai.usage.output_tokens"] == usage.output
        assert said["agentnb.cost_usd"] == pytest.approx(step.cost)
    assert spans[2].attributes["gen_ai.usage.cache_read.input_tokens"] > 0


def test_a_child_lies_below_the_tool_that_delegated_it(book: Any, exported: InMemorySpanExporter) -> None:
    run = book.ask("Delegate “Explain tide 1”, “Explain tide 2”, “Delegate the moon”.", tools=("delegate", "inspect"))
    assert run.state == "COMPLETED", run.error
    spans = {span.context.span_id: span for span in own(exported)}
    runs = {span.attributes["agentnb.run_id"]: span for span in spans.values() if span.name.startswith("invoke_agent")}
    root, children = runs.pop(run.run_id), run.receipt["children"]
    tools = [span for span in spans.values() if span.parent and span.parent.span_id == root.context.span_id]
    delegates = [span for span in tools if span.name == "execute_tool delegate"]
    assert sorted(runs) == sorted(child["run_id"] for child in children)
    assert len(delegates) == 3
    for child in runs.values():
        above = spans[child.parent.span_id]
        assert above in delegates
        assert above.start_time <= child.start_time <= child.end_time <= above.end_time
    assert not any("error.type" in span.attributes for span in delegates)
    assert {span.context.trace_id for span in spans.values()} == {root.context.trace_id}


def test_no_words_and_no_secret_leave_in_a_span(book: Any, exported: InMemorySpanExporter) -> None:
    book.cell(f"key = {SECRET!r}")
    book.session.namespace["x"] = CANARY
    run = book.ask(f"Inspect `x` please. {CANARY} {SECRET}")
    assert CANARY in str(run.receipt), "the run itself has the words"
    told = "".join(span.to_json() for span in exported.get_finished_spans())
    assert "execute_tool" in told
    assert CANARY not in told
    assert SECRET not in told


def test_a_failed_run_ends_its_span_with_the_code_alone(book: Any, exported: InMemorySpanExporter) -> None:
    book.simulator.inject(kind="drop", after_events=2, times=9)
    run = book.ask("Hello?", retry_wait=0.0)
    assert run.state == "FAILED"
    (root,) = [span for span in own(exported) if span.name.startswith("invoke_agent")]
    assert root.status.status_code is trace.StatusCode.ERROR
    assert root.attributes["error.type"]
    assert root.status.description is None


def test_the_names_are_those_of_the_conventions() -> None:
    theirs = {value for name, value in vars(gen_ai_attributes).items() if name.startswith("GEN_AI_")}
    own = {name for name in NAMES.values() if name.startswith("gen_ai.")}
    assert own <= theirs


def test_nothing_is_imported_while_it_is_off() -> None:
    code = (
        "import sys, agentnb.session, agentnb.settings as s, tempfile, pathlib\n"
        "settings = s.Settings(home=pathlib.Path(tempfile.mkdtemp()))\n"
        "session = agentnb.session.Session(settings=settings, environment={})\n"
        "session.machine(); session.close()\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry') or name.endswith('.spans')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert done.stdout.strip() == "[]"
