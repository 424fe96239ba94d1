"""Ask for a summary of old steps, and lay it out where they stood. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from agentnb import canonical
from agentnb.agent.conversation.memory import ASKED_LABEL, SUMMARY_LABEL, Leaving, Sized, steps_in, unbound
from agentnb.models.framing import framed, unframed
from agentnb.models.layers import Block, Layer
from agentnb.models.messages import Role, Text, ToolCall, ToolResult

MOST_TASK, MOST_TASKS = 400, 40
"""Characters of an earlier task that stay, and the tasks: `recall` finds the rest."""
MOST_LINES = 200
_TASK = re.compile(r"<task>\n(.*)\n</task>", re.DOTALL)

INSTRUCTION = """\
(Not from the person: the conversation grows too long, and {which} will be taken out of it. Your next words take their
place, so write what you need to go on. Call no tool. At most 600 words, under these headings, as lists:
Asked; Found; Decided; Tried and failed; Files and cells touched; Open.
Write names, paths, numbers, wishes of the person and causes of errors exactly. Carry over what an earlier summary says.
End each line with the number of its step in brackets, as in [12]: `recall` reads a step by its number.)"""


def with_summary(sized: Sized, cut: Leaving, text: str) -> tuple[Block, ...]:
    """Return what stays of before, the person's earlier tasks, the summary, and the newest steps word for word."""
    gone = set(cut.gone)
    end = max(gone) + 1
    before = [block for index, block in enumerate(sized.blocks[:end]) if index not in gone]
    lost = [sized.blocks[index] for index in cut.gone]
    asked = asked_block(asked_before(lost))
    return (*before, *asked, summary_block(text, lost), *unbound(sized.blocks[end:]))


def summary_block(text: str, gone: Sequence[Block]) -> Block:
    """Return the summary in the place of these blocks, with what is no longer held and how to read it."""
    steps = steps_in(gone)
    names = sorted({str(item["name"]) for block in gone for item in block.holds if ":" not in str(item["name"])})
    which = f"Steps {steps[0]} to {steps[-1]}" if steps else "What was said before"
    told = [f"({which} stood here. recall(step=N) reads a step whole, recall(words=…) finds it.)"]
    told += (
        [unframed(f"(No longer above: {', '.join(names[:MOST_LINES])}. inspect brings them back.)")] if names else []
    )
    body = "\n".join([framed("condensed", text), *told])
    return Block(layer=Layer.DYNAMIC, role=Role.USER, content=Text(body), label=SUMMARY_LABEL)


def words_of(block: Block) -> str:
    """Return the summary's own words, without what we told around them."""
    text = block.content.text if isinstance(block.content, Text) else ""
    return text.partition("<condensed>\n")[2].partition("\n</condensed>")[0]


def asked_before(gone: Iterable[Block]) -> list[str]:
    """Return the person's tasks in these blocks, in their own words, those too that were carried over before."""
    out: list[str] = []
    for block in gone:
        if not isinstance(block.content, Text):
            continue
        if block.label == ASKED_LABEL:
            out += block.content.text.splitlines()[1:-1]
        elif block.label == "task" and (found := _TASK.search(block.content.text)):
            words = " ".join(found[1].split())
            out.append(f"- {words if len(words) <= MOST_TASK else words[: MOST_TASK - 1] + '…'}")
    return out[-MOST_TASKS:]


def asked_block(tasks: Sequence[str]) -> list[Block]:
    """Return the earlier tasks as a block; none where there are none."""
    text = framed("asked", "\n".join(tasks))
    return [Block(layer=Layer.DYNAMIC, role=Role.USER, content=Text(text), label=ASKED_LABEL)] if tasks else []


def as_text(blocks: Iterable[Block]) -> str:
    """Return the blocks as one text, each with the number of its step."""
    return "\n\n".join(f"[{block.step}] {said}" if block.step else said for block in blocks if (said := _said(block)))


def _said(block: Block) -> str:
    match block.content:
        case Text(text):
            return f"{'The model' if block.role is Role.ASSISTANT else 'The person'}: {unframed(text)}"
        case ToolCall(_, name, arguments):
            return unframed(f"called {name} {canonical.dump(dict(arguments)).decode()}")
        case ToolResult(_, name, text, is_error):
            return f"{name} {'failed' if is_error else 'gave'}: {text}"
        case _:
            return ""


def outline(gone: Sequence[Block]) -> str:
    """Return a line for each call, where no model has summed them up."""
    earlier = [words_of(block) for block in gone if block.label == SUMMARY_LABEL]
    calls = [block for block in gone if isinstance(block.content, ToolCall)]
    lines = [f"- {_said(block)[:120]} [{block.step}]" for block in calls[-MOST_LINES:]]
    return "\n".join([*earlier, "Called, with the numbers of the steps:", *lines])
