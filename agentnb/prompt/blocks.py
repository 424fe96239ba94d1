"""Turn what was chosen into blocks, byte for byte: the static layer, the project, and what one turn adds. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from agentnb.canonical import JsonMapping, JsonObject
from agentnb.context.notebook.basis import lacking_values
from agentnb.context.selection import Chosen, Selection, render
from agentnb.models.framing import attributes_of, framed
from agentnb.models.layers import Block, Layer
from agentnb.models.messages import Image, Role, Text, ToolSpec
from agentnb.prompt.instructions import BRIEF, SYSTEM, TUTOR
from agentnb.prompt.project_parts import OUTLINE, TREE, AnyPart, HeldParts, removed_entry
from agentnb.prompt.thread import needed


def static_blocks(
    tools: Iterable[ToolSpec],
    *,
    style: str = "",
    course: str = "",
    answer: JsonMapping | None = None,
    small: bool = False,
) -> tuple[Block, ...]:
    """Return the STATIC layer: tools by name, then the instructions. The same bytes for everybody with the same tools.

    Before them stands the schema of a structured `answer`: providers put it first. A style adds its own instructions,
    and what the course says to its tutors. A `small` model gets the brief instructions, and its
    tools behind them.
    """
    specs = sorted(tools, key=lambda tool: tool.name)
    wanted = [ToolSpec("answer", "", answer)] if answer is not None else []
    told = [Block(layer=Layer.STATIC, role=Role.TOOLS, content=tool, label=f"tool {tool.name}") for tool in specs]
    text = Text(BRIEF if small else SYSTEM)
    rules = [Block(layer=Layer.STATIC, role=Role.SYSTEM, content=text, label="instructions")]
    return (
        *(Block(layer=Layer.STATIC, role=Role.FORMAT, content=each, label="answer's schema") for each in wanted),
        *([*rules, *told] if small else [*told, *rules]),
        *([Block(layer=Layer.STATIC, role=Role.SYSTEM, content=Text(_tutor(course)), label="tutor")] if style else []),
    )


def _tutor(course: str) -> str:
    return f"{TUTOR}\n{framed('instructions', course, file='TUTOR.md')}\n" if course else TUTOR


@dataclass(frozen=True, kw_only=True)
class Project:
    """Holds what makes SEMI_STATIC: packages with versions, parts (the tree of files is one), and folded definitions.

    `folded` are definitions that an earlier segment of the thread sent turn by turn.
    """

    packages: Mapping[str, str]
    parts: tuple[AnyPart, ...] = ()
    folded: tuple[Chosen, ...] = ()


def semi_static_block(project: Project) -> Block | None:
    """Return the SEMI_STATIC layer, in one stable order. None when there is nothing to say."""
    texts = []
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
    """Holds what a turn may add, before it is laid out: only what the thread lacks is sent.

    `task` is the user's, redacted; `values` and `failure` are texts. `standing` are those with values that the thread
    has. `parts` are the project's parts as they are now; `removed` are names that no longer exist. `images` are
    pictures by the name of what they show. `cells` are the notebook's own texts with their entries. `told` are the
    cells whose source the thread has with them, and `involved` those that the answer will rest on. `meant` names
    those that the task points at by their place.
    """

    task: str
    selection: Selection
    values: tuple[str, ...] = ()
    standing: tuple[str, ...] = ()
    failure: str = ""
    parts: tuple[AnyPart, ...] = ()
    removed: tuple[str, ...] = ()
    images: tuple[tuple[str, Image], ...] = ()
    cells: tuple[str, ...] = ()
    cell_entries: tuple[JsonMapping, ...] = ()
    told: frozenset[str] = frozenset()
    involved: frozenset[str] = frozenset()
    meant: str = ""


def turn_blocks(parts: TurnParts, held: HeldParts) -> tuple[Block, ...]:
    """Return at most one HYDRATION block with what the thread lacks, then the pictures and the query, which are
    DYNAMIC."""
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
    """Return what a block holds, for people: definitions by name, outlines by their module, files as the tree, each
    once."""
    names = (str(item["name"]) for item in holds if not item.get("inside"))
    return dict.fromkeys(_label(name) for name in names)


def _label(name: str) -> str:
    if name.startswith(("name:", "text:", "head:", "edit:", "gone:")):
        return "names" if name.startswith("name:") else "the notebook's text"
    if name.startswith(TREE):
        return TREE.rstrip(":")
    return name.rpartition(":")[0] if name.startswith(OUTLINE) else name


def is_shown(chosen: Chosen, held: HeldParts) -> bool:
    """Tell whether the thread shows this signature as it is now, alone or in an outline. The body may be edited."""
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
    """Return what the receipt says of one definition; JSON-able. `shown` is there for a signature only."""
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
    lacking = "\n".join(lacking_values(parts.values, parts.standing))
    values = f"<values>\n{lacking}\n</values>\n\n" if lacking else ""
    failure = f"{parts.failure}\n\n" if parts.failure else ""
    said = [*([parts.meant] if parts.meant else []), *parts.selection.notes]
    notes = "".join(f"Note: {note}\n" for note in said)
    return f"{values}{failure}{notes}{chr(10) if notes else ''}<task>\n{parts.task}\n</task>"
