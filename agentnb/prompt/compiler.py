"""From what was chosen to blocks, byte for byte; and ASTContextCompiler, the blueprint's face over the same parts."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentnb.canonical import digest
from agentnb.context.definitions import FileDefinitions, Line
from agentnb.context.files import FileIndex, decoded, read_bytes
from agentnb.context.outlines import Outline, text_of
from agentnb.context.scanning import parse_definitions
from agentnb.context.selection import Chosen, Selection, render
from agentnb.context.syntax import normalise
from agentnb.errors import InputError, PathOutsideRoot, nearest
from agentnb.prompt.instructions import SYSTEM
from agentnb.prompt.layers import Block, Layer
from agentnb.prompt.thread import held_definitions, needed
from agentnb.prompt.tokens import TokenCounter
from agentnb.providers.messages import Image, Role, Text, ToolSpec


def static_blocks(tools: Iterable[ToolSpec]) -> tuple[Block, ...]:
    """The STATIC layer: tools by name, then the instructions. The same bytes for everybody with the same tools."""
    specs = sorted(tools, key=lambda tool: tool.name)
    return (
        *(Block(layer=Layer.STATIC, role=Role.TOOLS, content=tool, label=f"tool {tool.name}") for tool in specs),
        Block(layer=Layer.STATIC, role=Role.SYSTEM, content=Text(SYSTEM), label="instructions"),
    )


OUTLINE, TREE = "outline:", "tree:"
TREE_CHANGES = 20
"""New files, and files that are gone, that one turn tells of; the rest waits for the next."""
Held = Mapping[str, Mapping[str, object]]
"""What a thread holds: the newest entry by name (see thread.held_definitions)."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A piece of the project that is sent as a whole: a file added by name ("file"), or a pinned schema ("schema").

    `tokens` is an estimate. Its name in the list of what the thread holds is `kind:file`.
    """

    kind: str
    file: str
    text: str
    tokens: int

    @property
    def name(self) -> str:
        return f"{self.kind}:{self.file}"

    @property
    def digest(self) -> str:
        return digest(self.text)

    @property
    def digests(self) -> dict[str, str]:
        return {self.name: self.digest}

    @property
    def hold(self) -> dict[str, Any]:
        entry = {"name": self.name, "file": self.file, "cell": "", "lines": [1, self.text.count("\n") + 1]}
        return entry | {
            "form": self.kind,
            "digest": self.digest,
            "tokens": self.tokens,
            "reason": "part of the project",
        }

    def lacking(self, held: Held) -> tuple[str, list[dict[str, Any]]]:
        """What has to be sent beside what the thread holds, with its entries; an empty text where it holds it all."""
        before = held.get(self.name)
        if before is not None and before["digest"] == self.digest:
            return "", []
        return self.render(replaces=str(before["digest"]) if before else None), [self.hold]

    def render(self, *, replaces: str | None = None) -> str:
        """The part as the model reads it."""
        new = f' replaces="{replaces}"' if replaces else ""
        return (
            f'<{self.kind} file="{escape_attribute(self.file)}" digest="{self.digest}"{new}>\n'
            f"{self.text.strip().replace(f'</{self.kind}', f'&lt;/{self.kind}')}\n</{self.kind}>"
        )


@dataclass(frozen=True, kw_only=True)
class OutlinePart:
    """The outline of one of the project's modules. It is held line by line: an edit of one signature makes only that
    line out of date, and only that line is sent again. A line's name in the list of what the thread holds is
    `outline:MODULE:NAME`.
    """

    outline: Outline

    @property
    def name(self) -> str:
        return f"{OUTLINE}{self.outline.module}:"

    @property
    def digests(self) -> dict[str, str]:
        """The digest of each line, by the name under which it is held."""
        return {f"{self.name}{line.name}": digest(line.text) for line in self.outline.lines}

    def gone(self, held: Held) -> list[str]:
        """The held lines of this module that it no longer has."""
        now = self.digests
        return [name for name in held if name.startswith(self.name) and name not in now]

    def lacking(self, held: Held) -> tuple[str, list[dict[str, Any]]]:
        """The lines that the thread does not hold as they are now, and the names that are gone, with their entries."""
        now, gone = self.digests, self.gone(held)
        lines = {f"{self.name}{line.name}": line for line in self.outline.lines}
        new = {name: line for name, line in lines.items() if held.get(name, {}).get("digest") != now[name]}
        if not new and not gone:
            return "", []
        again = any(name.startswith(self.name) for name in held)
        holds: list[dict[str, Any]] = [
            {"name": name, "form": "outline", "digest": now[name], "tokens": line.tokens} for name, line in new.items()
        ]
        holds += [{"name": name, "form": "removed", "digest": ""} for name in gone]
        return self._rendered(tuple(new.values()), gone=gone, again=again), holds

    def _rendered(self, lines: Sequence[Line], *, gone: Sequence[str], again: bool) -> str:
        shown = self.outline
        removed = ", ".join(name.removeprefix(self.name) for name in gone)
        attributes = {
            "module": shown.module,
            "file": shown.file,
            "partial": "true" if shown.partial and not again else "",
            "changes": "true" if again else "",
            "removed": removed,
        }
        head = " ".join(f'{key}="{escape_attribute(value)}"' for key, value in attributes.items() if value)
        body = text_of(lines).replace("</outline", "&lt;/outline")
        return f"<outline {head}>\n{body}\n</outline>" if body else f"<outline {head}/>"


@dataclass(frozen=True, kw_only=True)
class TreePart:
    """The project's files by their paths, each with its tokens. They are held one by one: a turn tells only those
    that are new, or gone, since. A file's name in the list of what the thread holds is `tree:PATH`.
    """

    files: Mapping[str, int]

    @property
    def name(self) -> str:
        return TREE

    @property
    def digests(self) -> dict[str, str]:
        return {f"{TREE}{file}": digest(file) for file in self.files}

    def gone(self, held: Held) -> list[str]:
        """The held files that are not there any more."""
        return sorted(name for name in held if name.startswith(TREE) and name.removeprefix(TREE) not in self.files)

    def lacking(self, held: Held) -> tuple[str, list[dict[str, Any]]]:
        """The whole list where the thread holds none; else one line with what changed, TREE_CHANGES of a kind."""
        again = any(name.startswith(TREE) for name in held)
        most = TREE_CHANGES if again else len(self.files)
        new = sorted(file for file in self.files if f"{TREE}{file}" not in held)[:most]
        gone = self.gone(held)[:TREE_CHANGES]
        holds: list[dict[str, Any]] = [
            {"name": f"{TREE}{file}", "form": "tree", "digest": digest(file), "tokens": self.files[file]}
            for file in new
        ]
        holds += [{"name": name, "form": "removed", "digest": ""} for name in gone]
        if not again:
            return ("<tree>\n" + "\n".join(new) + "\n</tree>" if new else ""), holds
        told = {"new": new, "removed": [name.removeprefix(TREE) for name in gone]}
        line = " ".join(f'{key}="{escape_attribute(", ".join(files))}"' for key, files in told.items() if files)
        return (f"<tree {line}/>" if line else ""), holds


Piece = Part | OutlinePart | TreePart


@dataclass(frozen=True, kw_only=True)
class Project:
    """What SEMI_STATIC is made of: packages with versions, parts (the tree of files is one), and folded definitions.

    `folded` are definitions that an earlier segment of the thread sent turn by turn; `left_out` is the number of its
    oldest turns that are not sent any more.
    """

    packages: Mapping[str, str]
    parts: tuple[Piece, ...] = ()
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
        texts.append(f"<packages>\n{lines}\n</packages>")
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
    `removed` are names that no longer exist; `images` are pictures by the name of what they show.
    """

    task: str
    selection: Selection
    values: tuple[str, ...] = ()
    failure: str = ""
    parts: tuple[Piece, ...] = ()
    removed: tuple[str, ...] = ()
    images: tuple[tuple[str, Image], ...] = ()


def turn_blocks(parts: TurnParts, held_blocks: Iterable[Block]) -> tuple[Block, ...]:
    """At most one HYDRATION block with what the thread lacks, then the pictures and the query, which are DYNAMIC."""
    held = held_definitions(held_blocks)
    texts, holds = _hydration(parts, held)
    blocks = []
    if texts:
        label = f"definitions: {', '.join(_labels(holds))}"
        content = Text("\n\n".join(texts))
        blocks.append(Block(layer=Layer.HYDRATION, role=Role.USER, content=content, label=label, holds=tuple(holds)))
    for name, image in parts.images:
        blocks.append(Block(layer=Layer.DYNAMIC, role=Role.USER, content=image, label=f"picture of {name}"))
    blocks.append(Block(layer=Layer.DYNAMIC, role=Role.USER, content=Text(_query(parts)), label="task"))
    return tuple(blocks)


def _hydration(parts: TurnParts, held: Held) -> tuple[list[str], list[dict[str, Any]]]:
    texts: list[str] = []
    holds: list[dict[str, Any]] = []
    for chosen in parts.selection.chosen:
        old = held.get(chosen.definition.name)
        if not needed(chosen.definition.digest, chosen.form, old) or is_shown(chosen, held):
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
            texts.append(f'<removed name="{escape_attribute(name)}"/>')
            holds.append({"name": name, "form": "removed", "digest": ""})
    return texts, holds


def _labels(holds: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    """What a block holds, for people: definitions by name, outlines by their module, files as the tree, each once."""
    names = (str(item["name"]) for item in holds)
    return dict.fromkeys(_label(name) for name in names)


def _label(name: str) -> str:
    if name.startswith(TREE):
        return TREE.rstrip(":")
    return name.rpartition(":")[0] if name.startswith(OUTLINE) else name


def is_shown(chosen: Chosen, held: Held) -> bool:
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


def receipt_entry(chosen: Chosen) -> dict[str, Any]:
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


def escape_attribute(text: str) -> str:
    """Text that is safe inside a double-quoted attribute."""
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace("\n", " ")


class ASTContextCompiler:
    """Entities of a code base, and prompts of four layers, in the calls that the blueprint's readers know.

    `codebase_root` is the directory that relative paths start from; nothing outside it is read, whatever links lead
    there. A file is parsed once per version.
    """

    def __init__(self, codebase_root: str | Path, *, tokenizer: str = "claude-4") -> None:
        if not isinstance(codebase_root, str | Path):
            raise InputError("codebase_root is no path", about=repr(codebase_root), todo="Give a directory.")
        self._root = Path(codebase_root).resolve()
        self._counter = TokenCounter(tokenizer)
        self._files = FileIndex()

    def extract_entity(self, path: str, name: str) -> str:
        """The exact source of `name` (`function`, `Class`, `Class.method`, `CONSTANT`) in the file, with decorators.

        A missing file, a broken file or an unknown name gives a comment of one line that says so, never an exception:
        the text is meant for a prompt. Raises PathOutsideRoot for a path that leaves the code base.
        """
        shown = _on_one_line(path)
        try:
            file = self._inside(path)
            parsed = self._parsed(file)
        except (OSError, SyntaxError, ValueError, LookupError, RuntimeError) as error:
            return f"# {shown}: {_why_unread(error)}"
        found = parsed.by_name.get(name)
        if found is not None and (not parsed.error or _parses(found.source)):
            return found.source
        if parsed.error:
            return f"# {shown}: it does not parse: {_on_one_line(str(parsed.error))}"
        hint = nearest(name, list(parsed.by_name))
        return f"# {shown}: no definition is called {_on_one_line(name) or 'by an empty name'}. {hint}".rstrip()

    def _parsed(self, file: Path) -> FileDefinitions:
        """What the file defines now. One that no longer parses is not answered for by the version before."""
        if not file.is_file():
            raise OSError("it is a directory or a device" if file.exists() else "there is no such file")
        parsed = self._files.definitions(file, module=file.stem)
        if parsed is None or parsed.error:
            return parse_definitions(normalise(decoded(read_bytes(file))), module=file.stem, file=file.name)
        return parsed

    def compile_prompt(
        self,
        system_prompt: str,
        schema_context: str = "",
        dependencies: Iterable[Sequence[str]] = (),
        query: str = "",
    ) -> dict[str, Any]:
        """The four layers as one text, from most static to most dynamic. Raises InputError for what is no text.

        `dependencies` are pairs of a path and a name. Returns `prompt`; `cache_key`, the digest of all but the query;
        `static_token_length`, the estimated tokens of all but the query; and `layers`, four entries
        `{name, text, tokens, digest}`. Dependencies are sorted, so the same facts in another order give the same bytes.
        """
        entities = _pairs(dependencies)
        hydration = "\n\n".join(
            f"# {_on_one_line(path)}: {_on_one_line(name)}\n{self.extract_entity(path, name)}"
            for path, name in entities
        )
        texts = {
            Layer.STATIC: _text(system_prompt, "system_prompt"),
            Layer.SEMI_STATIC: _text(schema_context, "schema_context"),
            Layer.HYDRATION: hydration,
            Layer.DYNAMIC: _text(query, "query"),
        }
        layers = [self._layer(layer, text.replace("\r\n", "\n").strip()) for layer, text in texts.items()]
        prefix = "\n\n".join(item["text"] for item in layers[:3] if item["text"])
        return {
            "prompt": "\n\n".join(part for part in (prefix, layers[3]["text"]) if part),
            "cache_key": digest(prefix),
            "static_token_length": sum(item["tokens"] for item in layers[:3]),
            "layers": layers,
        }

    def _layer(self, layer: Layer, text: str) -> dict[str, Any]:
        return {"name": layer.value, "text": text, "tokens": self._counter.count(text), "digest": digest(text)}

    def _inside(self, path: str) -> Path:
        file = (self._root / path).resolve()
        if not file.is_relative_to(self._root):
            raise PathOutsideRoot(
                f"{_on_one_line(path)!r} is outside the code base",
                todo="Give a path inside it, relative to its root.",
            )
        return file


def _text(value: object, name: str) -> str:
    """Half a character, which nothing could send, becomes a question mark."""
    if not isinstance(value, str):
        raise InputError(f"{name} is no text", about=type(value).__name__, todo="Give a str.")
    return value.encode("utf-8", "replace").decode("utf-8")


def _pairs(dependencies: object) -> list[tuple[str, str]]:
    """The pairs of path and name, each once, sorted."""
    given = list(dependencies) if isinstance(dependencies, Iterable) and not isinstance(dependencies, str) else None
    pairs = [tuple(map(str, pair)) for pair in given or () if isinstance(pair, Sequence) and not isinstance(pair, str)]
    wrong = given is None or len(pairs) != len(given) or any(len(pair) != 2 for pair in pairs)
    if wrong:
        raise InputError(
            "dependencies are no pairs of a path and a name",
            about=repr(dependencies)[:100],
            todo='e.g. [("shapes.py", "Box.area")]',
        )
    return sorted({(pair[0], pair[1]) for pair in pairs})


def _on_one_line(text: object, limit: int = 100) -> str:
    """What the user gave, inside a comment: a line break would end the comment and go on as code."""
    flat = "".join(character if character.isprintable() else " " for character in str(text))
    return flat if len(flat) <= limit else f"{flat[:limit]}…"


def _parses(source: str) -> bool:
    """Whether this definition is whole, although its file is broken elsewhere."""
    try:
        ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return False
    return True


def _why_unread(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"it is not {error.encoding} text (byte {error.start})"
    if isinstance(error, RuntimeError):
        return "its symbolic links lead in a circle"
    if isinstance(error, OSError) and error.strerror:
        return f"it cannot be read: {error.strerror}"
    return f"it cannot be read: {_on_one_line(error)}"


__all__ = [
    "ASTContextCompiler",
    "OutlinePart",
    "Part",
    "Project",
    "TurnParts",
    "receipt_entry",
    "semi_static_block",
    "static_blocks",
    "turn_blocks",
]
