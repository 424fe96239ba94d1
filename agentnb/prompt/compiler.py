"""Offer ASTContextCompiler: entities of a code base, and prompts of four layers, in the calls of the blueprint."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from agentnb.canonical import JsonObject, digest
from agentnb.context.resolve.files import FileIndex, decoded, read_bytes
from agentnb.context.static.definitions import FileDefinitions
from agentnb.context.static.scanner import parse_definitions
from agentnb.context.static.syntax import normalise, parse
from agentnb.errors import InputError, PathOutsideRoot, nearest
from agentnb.models.layers import Layer
from agentnb.models.tokens import TokenCounter


class ASTContextCompiler:
    """Entities of a code base, and prompts of four layers, in the calls that the blueprint's readers know.

    `codebase_root` is the directory that relative paths start from; nothing outside it is read, whatever links lead
    there. A file is parsed once per version. Raises InputError where `codebase_root` is no path.

    >>> _ = (home / "tides.py").write_text("def mean(levels):\\n    return sum(levels) / len(levels)\\n")
    >>> compiler = agentnb.ASTContextCompiler(home)
    >>> print(compiler.extract_entity("tides.py", "mean"))
    def mean(levels):
        return sum(levels) / len(levels)
    >>> prompt = compiler.compile_prompt("Be brief.", "", [("tides.py", "mean")], "What is it for?")
    >>> [layer["name"] for layer in prompt["layers"]]
    ['STATIC', 'SEMI_STATIC', 'HYDRATION', 'DYNAMIC']
    """

    def __init__(self, codebase_root: str | Path, *, tokenizer: str = "claude-4") -> None:
        if not isinstance(codebase_root, str | Path):
            raise InputError("codebase_root is no path", about=repr(codebase_root), todo="Give a directory.")
        self._root = Path(codebase_root).resolve()
        self._counter = TokenCounter(tokenizer)
        self._files = FileIndex()

    def extract_entity(self, path: str, name: str) -> str:
        """Return the exact source of `name` (`function`, `Class`, `Class.method`, `CONSTANT`) in the file, with
        decorators.

        A missing file, a broken file or an unknown name gives a comment of one line that says so. It never raises: the
        text is meant for a prompt. Raises PathOutsideRoot for a path that leaves the code base.
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
        """Return what the file defines now. One that no longer parses is not answered for by the version before."""
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
    ) -> JsonObject:
        """Return the four layers as one text, from most static to most dynamic. Raises InputError for what is no text.

        `dependencies` are pairs of a path and a name. Returns `prompt`, `cache_key`, `static_token_length` and
        `layers`. `cache_key` is the digest, and `static_token_length` the estimated tokens, of all but the query.
        `layers` are four entries `{name, text, tokens, digest}`. Dependencies are sorted, so the same facts in another
        order give the same bytes.
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

    def _layer(self, layer: Layer, text: str) -> JsonObject:
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
    """Return the pairs of path and name, each once, sorted."""
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
    """Return what the user gave, inside a comment: a line break would end the comment and go on as code."""
    flat = "".join(character if character.isprintable() else " " for character in str(text))
    return flat if len(flat) <= limit else f"{flat[:limit]}…"


def _parses(source: str) -> bool:
    """Tell whether this definition is whole, although its file is broken elsewhere."""
    try:
        parse(source)
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
