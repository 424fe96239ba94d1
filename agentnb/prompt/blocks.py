"""From what was chosen to blocks, byte for byte: the static layer, the project, and what one turn adds. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from agentnb.canonical import JsonMapping, JsonObject
from agentnb.context.selection import Chosen, Selection, render
from agentnb.models.framing import attributes_of, framed
from agentnb.models.layers import Block, Layer
from agentnb.models.messages import Image, Role, Text, ToolSpec
from agentnb.prompt.instructions import SYSTEM
from agentnb.prompt.project_parts import OUTLINE, TREE, AnyPart, HeldParts, removed_entry
from agentnb.prompt.thread import held_definitions, needed


def static_blocks(tools: Iterable[ToolSpec]) -> tuple[Block, ...]:
    """The STATIC layer: tools by name, then the instructions. The same bytes for everybody with the same tools."""
    specs = sorted(tools, key=lambda tool: tool.name)
    return (
        *(Block(layer=Layer.STATIC, role=Role.TOOLS, content=tool, label=f"tool {tool.name}") for tool in specs),
        Block(layer=Layer.STATIC, role=Role.SYSTEM, content=Text(SYSTEM), label="instructions"),
    )


@dataclass(frozen=True, kw_only=True)
class Project:
    """What SEMI_STATIC is made of: packages with versions, parts (the tree of files is one), and folded definitions.

    `folded` are definitions that an earlier segment of the thread sent turn by turn; `left_out` is the number of its
    oldest turns that are not sent any more.
    """

    packages: Mapping[str, str]
    parts: tuple[AnyPart, ...] = ()
    folded: tuple[Chosen, ...] = ()
    left_out: int = 0


def semi_static_block(project: Project) -> Block | None:
    """The SEMI_STATIC layer, in one stable order. None when there is nothing to say."""
    texts = []
    if project.left_out:
        turns = f"{project.left_out} turn{'' if project.left_out == 1 else 's'}"
        texts.append(f"(The conversation began {turns} before what you see: what was said then is left out.)")
    if project.packages:
        lines = "\n".join(f"{name} {version}".rstrip() for name, version in sorted(project.packages.items()))
        texts.append(framed("packages", lines))
    parts = sorted(project.parts, key=lambda part: (part.name != TREE, part.name))
    folded = sorted(project.folded, key=lambda chosen: chosen.definition.name)
    pieces = [part.lacking({}) for part in parts]
    texts += [text for text, _ in pieces if text]
    texts += [render(chosen) for chosen in folded]
    if not texts:
        return None
    return Block(
        layer=Layer.SEMI_STATIC,
        role=Role.SYSTEM,
        content=Text("# The project\n\n" + "\n\n".join(texts)),
        label="project",
        holds=(*(entry for _, entries in pieces for entry in entries), *(receipt_entry(chosen) for chosen in folded)),
    )


@dataclass(frozen=True, kw_only=True)
class TurnParts:
    """What a turn may add, before it is laid out: only what the thread lacks is sent.

    `task` is the user's, redacted; `values` and `failure` are texts; `parts` are the project's parts as they are now;
    `removed` are names that no longer exist; `images` are pictures by the name of what they show. `cells` are the
    notebook's own texts with their entries, `told` the cells whose source the thread has with them, and `involved`
    those that the answer will rest on.
    """

    task: str
    selection: Selection
    values: tuple[str, ...] = ()
    failure: str = ""
    parts: tuple[AnyPart, ...] = ()
    removed: tuple[str, ...] = ()
    images: tuple[tuple[str, Image], ...] = ()
    cells: tuple[str, ...] = ()
    cell_entries: tuple[JsonMapping, ...] = ()
    told: frozenset[str] = frozenset()
    involved: frozenset[str] = frozenset()


def turn_blocks(parts: TurnParts, held_blocks: Iterable[Block]) -> tuple[Block, ...]:
    """At most one HYDRATION block with what the thread lacks, then the pictures and the query, which are DYNAMIC."""
    held = held_definitions(held_blocks)
    texts, holds = _hydration(parts, held)
    blocks = []
    if texts:
        label = ", ".join(_labels(holds))
        content = Text("\n\n".join(texts))
        blocks.append(Block(layer=Layer.HYDRATION, role=Role.USER, content=content, label=label, holds=tuple(holds)))
    for name, image in parts.images:
        blocks.append(Block(layer=Layer.DYNAMIC, role=Role.USER, content=image, label=f"picture of {name}"))
    blocks.append(Block(layer=Layer.DYNAMIC, role=Role.USER, content=Text(_query(parts)), label="task"))
    return tuple(blocks)


def _hydration(parts: TurnParts, held: HeldParts) -> tuple[list[str], list[JsonObject]]:
    texts: list[str] = list(parts.cells)
    holds: list[JsonObject] = [dict(entry) for entry in parts.cell_entries]
    for chosen in parts.selection.chosen:
        old = held.get(chosen.definition.name)
        if not needed(chosen.definition.digest, chosen.form, old) or is_shown(chosen, held):
            continue
        if chosen.definition.origin == "cell" and chosen.definition.cell in parts.told:
            holds.append(receipt_entry(chosen) | {"form": "full", "tokens": 0, "inside": chosen.definition.cell})
            continue
        replaces = str(old["digest"]) if old and old["digest"] != chosen.definition.digest else None
        texts.append(render(chosen, replaces=replaces))
        holds.append(receipt_entry(chosen))
    for part in parts.parts:
        text, entries = part.lacking(held)
        texts += [text] if text else []
        holds += entries
    for name in parts.removed:
        if name in held:
            texts.append(f"<removed {attributes_of({'name': name})}/>")
            holds.append(removed_entry(name))
    return texts, holds


def _labels(holds: Iterable[JsonMapping]) -> Iterable[str]:
    """What a block holds, for people: definitions by name, outlines by their module, files as the tree, each once."""
    names = (str(item["name"]) for item in holds if not item.get("inside"))
    return dict.fromkeys(_label(name) for name in names)


def _label(name: str) -> str:
    if name.startswith(("name:", "text:", "edit:", "gone:")):
        return "names" if name.startswith("name:") else "the notebook's text"
    if name.startswith(TREE):
        return TREE.rstrip(":")
    return name.rpartition(":")[0] if name.startswith(OUTLINE) else name


def is_shown(chosen: Chosen, held: HeldParts) -> bool:
    """Does the thread show this signature as it is now, be the body edited or not: alone, or in an outline?"""
    name, shown = chosen.definition.name, chosen.shown
    old = held.get(name)
    if not shown:
        return False
    if old is not None:
        return old["form"] == "signature" and old.get("shown") == shown
    parts = name.split(".")
    lines = (f"{OUTLINE}{'.'.join(parts[:end])}:{'.'.join(parts[end:])}" for end in range(1, len(parts)))
    return any(held.get(line, {}).get("digest") == shown for line in lines)


def receipt_entry(chosen: Chosen) -> JsonObject:
    """What the receipt says of one definition; JSON-able. `shown` is there for a signature only."""
    found = chosen.definition
    shown = {"shown": chosen.shown} if chosen.shown else {}
    return shown | {
        "name": found.name,
        "file": found.file,
        "cell": found.cell,
        "lines": list(found.lines),
        "form": chosen.form,
        "digest": found.digest,
        "tokens": chosen.tokens,
        "reason": chosen.reason,
    }


def _query(parts: TurnParts) -> str:
    values = f"<values>\n{chr(10).join(parts.values)}\n</values>\n\n" if parts.values else ""
    failure = f"{parts.failure}\n\n" if parts.failure else ""
    notes = "".join(f"Note: {note}\n" for note in parts.selection.notes)
    return f"{values}{failure}{notes}{chr(10) if notes else ''}<task>\n{parts.task}\n</task>"
