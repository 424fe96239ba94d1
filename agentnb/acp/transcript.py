"""Tell a run as a client shows it: the task, thoughts, text, and each call with its result. Pure.

While a run goes on, its text comes as it streams and the rest after each committed step. When a session is loaded, the
same comes from the journal at once. Both read the blocks that the run has committed, so both tell the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from agentnb.agent.approvals import Question
from agentnb.agent.conversation.turn_blocks import thoughts
from agentnb.agent.state import AgentState
from agentnb.canonical import JsonMapping
from agentnb.models.layers import Block
from agentnb.models.messages import Opaque, Role, Text, ToolCall, ToolResult
from agentnb.view.exact_text import ArgumentText, arguments_shown, exact
from agentnb.view.number_format import plural


@dataclass(frozen=True, kw_only=True)
class SaidPiece:
    """Holds a piece of text; `channel` is user, text or thinking."""

    channel: str
    text: str


@dataclass(frozen=True, kw_only=True)
class CalledTool:
    """Holds a call that the model asks for. Each argument stands to the letter: by its name, and in `shown` as
    Markdown."""

    call_id: str
    tool: str
    title: str
    arguments: Mapping[str, str]
    shown: str


@dataclass(frozen=True, kw_only=True)
class ReturnedResult:
    """Holds a call's result."""

    call_id: str
    text: str
    failed: bool


TranscriptPart = SaidPiece | CalledTool | ReturnedResult


@dataclass
class Transcript:
    """Remembers what a client was told of one run, and gives what it was not."""

    run_id: str
    _told: int = 0
    _streamed: dict[str, str] = field(default_factory=dict)

    def delta(self, channel: str, text: str) -> SaidPiece | None:
        """Return a piece of a streaming reply as it is told; None where it is no text for people."""
        if channel not in ("text", "thinking") or not text:
            return None
        self._streamed[channel] = self._streamed.get(channel, "") + text
        return SaidPiece(channel=channel, text=text)

    def committed(self, state: AgentState) -> Iterator[TranscriptPart]:
        """Yield what the run has committed and was not told yet. What a condensed run left out is not told again."""
        blocks, self._told = state.blocks[self._told :], max(len(state.blocks), self._told)
        for block in blocks:
            told = self._of(block)
            if told is not None:
                yield told
        self._streamed.clear()

    def _of(self, block: Block) -> TranscriptPart | None:
        match block.content:
            case Text(text) if block.role is Role.ASSISTANT:
                return self._rest("text", text)
            case Opaque() if block.role is Role.ASSISTANT:
                return self._rest("thinking", "".join(thoughts([block])))
            case ToolCall(call_id, name, arguments):
                return called(f"{self.run_id}/{call_id}", name, arguments)
            case ToolResult(call_id, _, text, is_error):
                return ReturnedResult(call_id=f"{self.run_id}/{call_id}", text=text, failed=is_error)
        return None

    def _rest(self, channel: str, text: str) -> SaidPiece | None:
        """Return what of a committed text was not streamed. One that was streamed otherwise stays as it was told."""
        streamed = self._streamed.pop(channel, "")
        rest = text.removeprefix(streamed) if text.startswith(streamed) else text
        return SaidPiece(channel=channel, text=rest) if rest else None

    def whole(self, state: AgentState) -> Iterator[TranscriptPart]:
        """Yield all of a run from the journal, its task first."""
        yield SaidPiece(channel="user", text=state.task)
        yield from self.committed(state)


def called(call_id: str, tool: str, arguments: JsonMapping) -> CalledTool:
    parts = arguments_shown(arguments)
    shown = "\n\n".join(f"{part.label}\n\n{_fenced(part.text, part.language)}" for part in parts)
    texts = {exact(name): part.text for name, part in zip(arguments, parts, strict=True)}
    return CalledTool(call_id=call_id, tool=tool, title=_title(tool, parts), arguments=texts, shown=shown)


def _title(tool: str, parts: Sequence[ArgumentText]) -> str:
    """Return the tool and how its first argument begins. Some clients show no more, so it says that there is more."""
    if not parts:
        return tool
    text = parts[0].text
    first = text.strip().partition("\n")[0][:60]
    return f"{tool}: {first}" + (
        "" if first == text and len(parts) == 1 else f" … ({plural(_lines(parts), 'line')} in all)"
    )


def _lines(parts: Sequence[ArgumentText]) -> int:
    return sum(part.text.count("\n") + 1 for part in parts)


def _fenced(text: str, language: str) -> str:
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text}\n{fence}"


def call_of(question: Question, state: AgentState, run_id: str) -> CalledTool:
    """Return the call that waits, under the id by which the transcript told it. What it shows is what would run."""
    last = [block.content for block in _last_reply(state.blocks) if isinstance(block.content, ToolCall)]
    call_id = last[question.number - 1].call_id if question.number <= len(last) else question.key
    return called(f"{run_id}/{call_id}", question.tool, question.arguments)


def _last_reply(blocks: Sequence[Block]) -> Sequence[Block]:
    end = len(blocks)
    while end and blocks[end - 1].role is not Role.ASSISTANT:
        end -= 1
    start = end
    while start and blocks[start - 1].role is Role.ASSISTANT:
        start -= 1
    return blocks[start:end]


def task_of(prompt: Sequence[Mapping[str, object]]) -> str:
    """Return a prompt's blocks as one text: words, the files that it names, the text that it brings along."""
    return "\n\n".join(part for part in map(_words, prompt) if part)


def _words(block: Mapping[str, object]) -> str:
    resource = block.get("resource")
    if isinstance(resource, Mapping) and isinstance(resource.get("text"), str):
        return f"{resource.get('uri', '')}\n{_fenced(str(resource['text']), '')}"
    return str(block.get("text") or block.get("uri") or "")
