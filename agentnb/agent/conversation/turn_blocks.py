"""Lay out replies, calls and results as blocks of a thread. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import assert_never

from agentnb import canonical
from agentnb.agent.approvals import Decision
from agentnb.agent.scrubber import scrubbed_value
from agentnb.agent.state import AgentState, StepEvent
from agentnb.agent.tools.tool import Outcome
from agentnb.canonical import JsonMapping, JsonObject
from agentnb.models.catalog import ImageRules, Model
from agentnb.models.framing import unframed
from agentnb.models.layers import Block, Layer
from agentnb.models.messages import (
    Content,
    Image,
    Opaque,
    Reply,
    Role,
    StopReason,
    Text,
    ToolCall,
    ToolResult,
    ToolSpec,
    Usage,
)
from agentnb.models.tokens import BLOCK_OVERHEAD, TokenCounter, image_tokens, pieces, scale_to_total


def event_of(reply: Reply) -> StepEvent:
    """Tell what a reply is: a demand for tools, one that the provider goes on with, or the answer."""
    if reply.calls and reply.stop in (StopReason.TOOLS, StopReason.END):
        return StepEvent.ASKED_FOR_TOOLS
    return StepEvent.BROKE_OFF if reply.stop is StopReason.PAUSED else StepEvent.ANSWERED


def reply_blocks(reply: Reply, *, step: int = 0) -> tuple[Block, ...]:
    """Return a reply as blocks of the thread: sent back exactly as it came. Of one that was cut off, only what is
    whole."""
    content = list(reply.content) if event_of(reply) is StepEvent.ASKED_FOR_TOOLS else _whole_parts(reply)
    if not any(isinstance(part, Text | ToolCall) for part in content):
        content.append(Text("(no answer)"))  # a user turn must be answered, or the next request is refused
    labels = (f"call of {part.name}" if isinstance(part, ToolCall) else "reply" for part in content)
    return tuple(
        Block(layer=Layer.DYNAMIC, role=Role.ASSISTANT, content=part, label=label, step=step)
        for part, label in zip(content, labels, strict=True)
    )


def _whole_parts(reply: Reply) -> list[Content]:
    """Leave calls out, since they are not carried out. Where the reply was cut off, so is the thinking that led to
    them or to nothing. Providers refuse thinking without its signature, and reasoning without what followed it."""
    kept: list[Content] = []
    thinking: list[Content] = []
    for part in reply.content:
        if isinstance(part, Opaque):
            thinking.append(part)
            continue
        kept += [*thinking, part] if isinstance(part, Text) else []
        thinking = []
    return kept + (thinking if reply.stop in (StopReason.END, StopReason.PAUSED) else [])


def result_block(call: ToolCall, outcome: Outcome, *, step: int = 0) -> Block:
    """Return a tool's outcome as a block: born in HYDRATION when it brings definitions, else in DYNAMIC."""
    return Block(
        layer=Layer.HYDRATION if outcome.holds else Layer.DYNAMIC,
        role=Role.USER,
        content=ToolResult(call.call_id, call.name, outcome.text, outcome.is_error),
        label=f"result of {call.name}",
        holds=outcome.holds,
        step=step,
    )


def misfit_block(faults: str, *, step: int) -> Block:
    """Tell the model what of its structured answer does not fit."""
    said = f"This is not the value that was asked for: {unframed(faults)}. Give the whole value again."
    return Block(layer=Layer.DYNAMIC, role=Role.USER, content=Text(said), label="what does not fit", step=step)


def open_calls(blocks: Iterable[Block]) -> list[ToolCall]:
    """Return the calls of this turn that have no result yet, in order. They are the last reply's: results come
    together.

    A result belongs to the first call with its id: an old journal may hold one id for two calls.
    """
    waiting: list[ToolCall] = []
    for part in (block.content for block in blocks):
        if isinstance(part, ToolCall):
            waiting.append(part)
        elif isinstance(part, ToolResult):  # servers on one's own machine may use an id again in the next step
            answered = next((i for i, call in enumerate(waiting) if call.call_id == part.call_id), None)
            waiting = [call for i, call in enumerate(waiting) if i != answered]
    return waiting


def plain(blocks: Iterable[Block]) -> list[Block]:
    """Return the blocks of another segment: what only the other model understands is dropped, tool traffic becomes
    text."""
    out = []
    for block in blocks:
        part = block.content
        if isinstance(part, Opaque):
            continue
        if isinstance(part, ToolCall):
            part = Text(f"(called {part.name} with {canonical.dump(dict(part.arguments)).decode()})")
        elif isinstance(part, ToolResult):
            part = Text(f"(result of {unframed(part.name)})\n{part.text}")
        out.append(replace(block, content=part))
    return out


def scrubbed(block: Block, scrub: Callable[[str], str]) -> Block:
    """Return the block with secrets taken out of its text."""
    content = block.content
    if isinstance(content, Text | Image):
        text = scrub(content.text)
        return block if text == content.text else replace(block, content=replace(content, text=text))
    return block


def suited(blocks: Iterable[Block], model: Model) -> tuple[Block, ...]:
    """Return the blocks as this model can take them: a picture by its description where it takes no pictures."""
    if model.images is not None:
        return tuple(blocks)
    return tuple(
        replace(block, content=Text(block.content.text)) if isinstance(block.content, Image) else block
        for block in blocks
    )


def block_tokens(content: Content, counter: TokenCounter, images: ImageRules | None) -> int:
    """Return the estimated tokens of a block, without the frame of the message that it stands in."""
    if isinstance(content, Image) and images is not None:
        return image_tokens(images, content.width, content.height)
    if isinstance(content, ToolResult):
        return counter.result(content.name, content.text)
    text = block_text(content)
    return counter.tool(text) if isinstance(content, ToolSpec) else counter.count(text)


def prompt_tokens(
    blocks: Sequence[Block],
    counter: TokenCounter,
    images: ImageRules | None,
    *,
    after: Role | None = None,
    replied: Mapping[str, int] = MappingProxyType({}),
) -> tuple[int, ...]:
    """Return the estimated tokens of each block that follows one of the role `after`. Where `after` is None they begin
    the prompt, and what the provider adds for tools counts too. `replied` has what a reply reported of its own blocks,
    by digest."""
    roles = [after, *(block.role for block in blocks)]
    tokens = [
        replied[block.digest]
        if block.digest in replied
        else block_tokens(block.content, counter, images) + _frame(block, before)
        for block, before in zip(blocks, roles, strict=False)
    ]
    if after is None and any(block.role is Role.TOOLS for block in blocks[:2]):
        tokens[0] += counter.tools_preamble
    return tuple(tokens)


def _frame(block: Block, before: Role | None) -> int:
    """Count a frame for words where the speaker changes; calls, results and pictures have one each."""
    return 0 if isinstance(block.content, Text) and block.role is before else BLOCK_OVERHEAD


def reply_tokens(blocks: Sequence[Block], usage: Usage, counter: TokenCounter, model: Model) -> dict[str, int]:
    """Return what a reply's blocks will count for as input, by digest: the reported output, shared among them.

    Thinking counts again where it is sent back, but for models that drop it. Recorded: OpenAI's reasoning 1,792 of
    1,792, Gemini 3's 102 of 102. Anthropic does not tell it apart. Thinking that is for people never counts again.
    """
    opaque = [(block, part) for block in blocks if isinstance(part := block.content, Opaque)]
    told = [(block, _thought(part.wire)) for block, part in opaque if part.is_for_people]
    thought = [block for block, part in opaque if not part.is_for_people]
    if thought and not usage.reasoning:
        return _shares(blocks, usage.output, counter)
    spoken = [block for block in blocks if not isinstance(block.content, Opaque)]
    hidden = min(usage.output, usage.reasoning or sum(counter.count(text) for _, text in told))
    again = 0 if model.drops_thoughts else usage.reasoning
    shares = _shares(thought, again, counter) | _shares(spoken, usage.output - hidden, counter)
    return shares | {block.digest: 0 for block, _ in told}


def _shares(blocks: Sequence[Block], tokens: int, counter: TokenCounter) -> dict[str, int]:
    """Share so many tokens among the blocks as they are estimated; words and calls have a frame besides."""
    shares = scale_to_total([block_tokens(block.content, counter, None) for block in blocks], tokens)
    return {
        block.digest: share + (0 if isinstance(block.content, Opaque) else BLOCK_OVERHEAD)
        for block, share in zip(blocks, shares, strict=True)
    }


def block_weight(content: Content) -> int:
    """Return a block's weight beside others of the same prompt, whichever the model: its pieces of text, or a
    stand-in."""
    if isinstance(content, Image):
        return max(1, content.width * content.height // 750)
    return pieces(block_text(content))


THOUGHTS = 50
"""Texts of thinking that a run keeps for people when its blocks are rewritten: the newest."""


def shown_thoughts(state: AgentState) -> tuple[str, ...]:
    """Return the thinking that this turn showed, in order, also where its blocks no longer hold it."""
    return (*state.thoughts, *thoughts(block for block in state.blocks if block.step >= state.thoughts_since))


def thoughts_kept(state: AgentState) -> AgentState:
    """Return the state with the thinking of its blocks kept beside them, before they are rewritten."""
    return replace(state, thoughts=shown_thoughts(state)[-THOUGHTS:], thoughts_since=state.replies + 1)


def thoughts(blocks: Iterable[Block]) -> list[str]:
    """Return the thinking that replies showed, in order. Sealed thinking has no text."""
    texts = (_thought(block.content.wire) for block in blocks if isinstance(block.content, Opaque))
    return [text for text in texts if text]


def _thought(wire: JsonMapping) -> str:
    """Return the text of one provider's thinking: Anthropic's, OpenAI's summaries or Gemini's thought parts."""
    if wire.get("type") == "reasoning":
        return "\n\n".join(str(part.get("text") or "") for part in wire.get("summary") or ())
    return str(wire.get("thinking") or (wire.get("text") if wire.get("thought") else "") or "").strip()


def block_text(content: Content) -> str:
    """Return the text of a block for counting: what of it reaches the tokenizer."""
    match content:
        case Text(text):
            return text
        case ToolResult(_, _, text, _):
            return text
        case ToolSpec(name, description, parameters):
            return f"{name} {description} {canonical.dump(dict(parameters)).decode()}"
        case ToolCall(_, name, arguments):
            return f"{name} {canonical.dump(dict(arguments)).decode()}"
        case Opaque(_, wire):
            return str(wire.get("thinking") or canonical.dump(dict(wire)).decode())
        case Image():
            return content.text
        case _:
            assert_never(content)


def what_came(reply: Reply) -> str:
    """Return a reply in three words, for the list of steps."""
    if reply.calls:
        return "asked for " + ", ".join(call.name for call in reply.calls)
    return "answered" if reply.stop is StopReason.END else f"answered ({reply.stop.value})"


def tool_record(
    call: ToolCall,
    outcome: Outcome,
    seconds: float,
    word: Decision | None = None,
    *,
    scrub: Callable[[str], str] = str,
) -> JsonObject:
    """Return one tool call as the run document tells it, without secrets; `word` is what a person said of it."""
    return {
        "name": call.name,
        "arguments": scrubbed_value(dict(call.arguments), scrub),
        "result": outcome.text,
        "is_error": outcome.is_error,
        "refused": outcome.refused,
        "seconds": round(seconds, 6),
        "decision": word.said if word else None,
    }


def end_note(reply: Reply) -> str:
    """Tell a person how a reply ended; nothing where it ended as it should."""
    why = f": {reply.stop_detail}" if reply.stop_detail else ""
    notes = {
        StopReason.MAX_TOKENS: f"The answer was cut off at {reply.usage.output:,} tokens (AgentNB.max_tokens).",
        StopReason.REFUSAL: f"The model refused to answer{why}. Run the cell again with other words: the refusal then "
        "leaves the conversation.",
        StopReason.CONTEXT_FULL: "The answer was cut off: the model's context window is full. Ask on with a lower "
        "AgentNB.compact_at, which condenses old steps, or with -m and a larger window.",
    }
    if reply.stop is not StopReason.END:
        return notes.get(reply.stop, "")
    if reply.stop_detail:
        return f"The model stopped for a reason that is none of the usual{why}."
    return "" if reply.text.strip() or reply.calls else "The model ended without an answer."


def recorded_reply(before: AgentState, after: AgentState, data: JsonMapping) -> Reply:
    """Return the reply that a journaled THINKING step took in: its blocks from the states, the rest from its event."""
    return Reply(
        content=tuple(block.content for block in after.blocks[len(before.blocks) :] if block.role is Role.ASSISTANT),
        stop=StopReason(data["stop"]),
        usage=Usage.from_json(data["usage"]),
        model=after.address,
        message_id=after.previous_message or "",
    )


def closed(blocks: Sequence[Block]) -> tuple[Block, ...]:
    """Return blocks that a new question may follow: a call without a result gets one that says why."""
    why = Outcome(text="Not carried out: the conversation was taken up again here.", is_error=True)
    step = blocks[-1].step if blocks else 0
    return (*blocks, *(result_block(call, why, step=step) for call in open_calls(blocks)))
