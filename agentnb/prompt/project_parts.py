"""Hold pieces of the project: the list of files, outlines, added files, schemas; and what of each a thread lacks.
Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from agentnb.canonical import JsonObject, digest
from agentnb.context.resolve.outlines import Outline, text_of
from agentnb.context.static.definitions import Line
from agentnb.models.framing import attributes_of, unframed

OUTLINE, TREE = "outline:", "tree:"
TREE_CHANGES = 20
"""New files, and files that are gone, that one turn tells of; the rest waits for the next."""
HeldParts = Mapping[str, Mapping[str, object]]
"""Holds the newest entry by name of all that a thread holds (see thread.held_definitions)."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """Holds a piece of the project that is sent as a whole. Its kind is "file" (added by name), "schema" (pinned),
    "instructions", "header" (a script's), "skills" (their list) or "skill" (one body).

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
    def hold(self) -> JsonObject:
        entry = {"name": self.name, "file": self.file, "cell": "", "lines": [1, self.text.count("\n") + 1]}
        return entry | {
            "form": self.kind,
            "digest": self.digest,
            "tokens": self.tokens,
            "reason": "part of the project",
        }

    def lacking(self, held: HeldParts) -> tuple[str, list[JsonObject]]:
        """Return what to send beside what the thread holds, with its entries; an empty text where it holds all."""
        before = held.get(self.name)
        if before is not None and before["digest"] == self.digest:
            return "", []
        return self.render(replaces=str(before["digest"]) if before else None), [self.hold]

    def render(self, *, replaces: str | None = None) -> str:
        """Return the part as the model reads it."""
        head = attributes_of({"file": self.file, "digest": self.digest, "replaces": replaces or ""})
        return f"<{self.kind} {head}>\n{unframed(self.text.strip())}\n</{self.kind}>"


@dataclass(frozen=True, kw_only=True)
class OutlinePart:
    """Holds the outline of one of the project's modules. It is held line by line. An edit of one signature makes only
    that line out of date, and only that line is sent again. A line's name in the list of what the thread holds is
    `outline:MODULE:NAME`. `count` estimates the tokens of those that are sent.
    """

    outline: Outline
    count: Callable[[str], int]

    @property
    def name(self) -> str:
        return f"{OUTLINE}{self.outline.module}:"

    @cached_property
    def digests(self) -> dict[str, str]:
        """Return the digest of each line, by the name under which it is held."""
        return {f"{self.name}{line.name}": digest(line.text) for line in self.outline.lines}

    def gone(self, held: HeldParts) -> list[str]:
        """Return the held lines of this module that it no longer has."""
        now = self.digests
        return [name for name in held if name.startswith(self.name) and name not in now]

    def lacking(self, held: HeldParts) -> tuple[str, list[JsonObject]]:
        """Return the lines that the thread does not hold as they are now, and the names gone, with their entries."""
        now, gone = self.digests, self.gone(held)
        lines = {f"{self.name}{line.name}": line for line in self.outline.lines}
        new = {name: line for name, line in lines.items() if held.get(name, {}).get("digest") != now[name]}
        if not new and not gone:
            return "", []
        again = any(name.startswith(self.name) for name in held)
        holds: list[JsonObject] = [
            {"name": name, "form": "outline", "digest": now[name], "tokens": self.count(line.text)}
            for name, line in new.items()
        ]
        holds += map(removed_entry, gone)
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
        head = attributes_of(attributes)
        body = unframed(text_of(lines))
        return f"<outline {head}>\n{body}\n</outline>" if body else f"<outline {head}/>"


@dataclass(frozen=True, kw_only=True)
class TreePart:
    """Holds the project's files by their paths, each with its tokens. They are held one by one: a turn tells only those
    that are new, or gone, since. A file's name in the list of what the thread holds is `tree:PATH`.

    `more` files were seen for which the list has no room. `others` may stand in folders not looked into.
    """

    files: Mapping[str, int]
    more: int = 0
    others: bool = False

    @property
    def name(self) -> str:
        return TREE

    @cached_property
    def digests(self) -> dict[str, str]:
        return {f"{TREE}{file}": digest(file) for file in self.files}

    def gone(self, held: HeldParts) -> list[str]:
        """Return the held files that are not there any more."""
        return sorted(name for name in held if name.startswith(TREE) and name.removeprefix(TREE) not in self.files)

    def lacking(self, held: HeldParts) -> tuple[str, list[JsonObject]]:
        """Return the whole list where the thread holds none; else one line with what changed, TREE_CHANGES of a kind.
        How many files are not told is said beside those that are."""
        again = any(name.startswith(TREE) for name in held)
        most = TREE_CHANGES if again else len(self.files)
        unknown = sorted(file for file in self.files if f"{TREE}{file}" not in held)
        new, left_out = unknown[:most], self._left_out(len(unknown[most:]))
        gone = self.gone(held)[:TREE_CHANGES]
        holds: list[JsonObject] = [
            {"name": f"{TREE}{file}", "form": "tree", "digest": digest(file), "tokens": self.files[file]}
            for file in new
        ]
        holds += map(removed_entry, gone)
        if not again:
            head = " ".join(filter(None, ["<tree", attributes_of({"left_out": left_out})]))
            return (f"{head}>\n" + unframed("\n".join(new)) + "\n</tree>" if new else ""), holds
        told = {"new": ", ".join(new), "removed": ", ".join(name.removeprefix(TREE) for name in gone)}
        line = attributes_of({**told, "left_out": left_out})
        return (f"<tree {line}/>" if new or gone else ""), holds

    def _left_out(self, waiting: int) -> str:
        """Return `40 files`, `40 files or more`: those that wait for the next turn, and those that have no room."""
        left = waiting + self.more
        if not left:
            return "files of some folders" if self.others else ""
        return f"{left:,} file{'' if left == 1 else 's'}{' or more' if self.others else ''}"


AnyPart = Part | OutlinePart | TreePart


def removed_entry(name: str) -> JsonObject:
    """Return the entry that says in the list of what the thread holds that it does so no more."""
    return {"name": name, "form": "removed", "digest": ""}
