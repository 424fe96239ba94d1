"""Tell a library's function briefly: its signature, its summary, the parameters that code uses, what is returned. Pure.

Docstrings are read in the three styles that people write: numpy's sections, Google's, and Sphinx's fields.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Collection, Iterator
from functools import lru_cache

SUMMARY, PART = 200, 90
"""Characters of the summary, and of what is said of one parameter."""
RETURNS = "returns: "
PARTS = 6
"""Parameters of one function that are told."""
LONG = 240
"""Characters of a signature that is told as it stands."""
READ = 512
"""Docstrings and signatures whose parts are remembered."""
CALLS, ARGUMENTS = 20, 2_000
"""Calls that are looked at for what they pass, and characters of each."""
_NUMPY = re.compile(r"^(\w[\w ]*)\n-{3,}[ \t]*$", re.MULTILINE)
_GOOGLE = re.compile(r"^(Args|Arguments|Parameters|Keyword Args|Returns|Yields)[ \t]*:[ \t]*$", re.MULTILINE)
_FIELD = re.compile(r"^:(?:param|parameter|arg|key|keyword)\s+(?:[\w.\[\], |]+\s+)?\*{0,2}(\w+)\s*:", re.MULTILINE)
_RETURNED = re.compile(r"^:returns?\s*:", re.MULTILINE)
_ENTRY = re.compile(r"^(\*{0,2}\w+(?:\s*,\s*\*{0,2}\w+)*)\s*(?:\(([^\n]*)\))?\s*:\s*([^\n]*)$", re.MULTILINE)


@lru_cache(READ)
def brief(signature: str, docstring: str, *, name: str, code: str) -> str:
    """Return what is told of a function or class that `code` calls by this `name`."""
    used = parameters_used(signature, name, code)
    parts = parts_that_matter(docstring, used) if docstring else []
    parts = [part for part in parts if not ("->" in signature and part.startswith(RETURNS))]
    told = parts[1:] if '"""' in signature else parts
    return "\n".join([shortened(signature, used), *(f"# {part}" for part in told)])


def parts_that_matter(docstring: str, used: Collection[str]) -> list[str]:
    """Return the summary, a line for each parameter of `used` that it documents, and one for what is returned."""
    summary, parameters, returned = _read(docstring)
    told = {name: f"{name}: {_short(about, PART)}" for name, about in parameters if name in used and about}
    out = [summary, *list(told.values())[:PARTS], f"{RETURNS}{returned}" if returned else ""]
    return [part for part in out if part]


@lru_cache(READ)
def _read(docstring: str) -> tuple[str, tuple[tuple[str, str], ...], str]:
    """Return its summary, its parameters with all that is said of them, and what is returned."""
    text = inspect.cleandoc(docstring).replace("\r", "")
    paragraphs = (part for part in text.split("\n\n") if part.strip() and not re.match(r"[\w.]+\(", part.strip()))
    return _short(next(paragraphs, ""), SUMMARY), tuple(_parameters(text)), _short(_returns(text), PART)


def _short(text: str, limit: int) -> str:
    """Return its first sentence on one line."""
    words = " ".join(line for line in text.split("\n") if line.strip("=-~*# ")).split()
    sentence, stop, _ = " ".join(words).partition(". ")
    line = sentence + stop.strip()
    return line if len(line) <= limit else f"{line[: limit - 1].rstrip()}…"


def _sections(text: str) -> dict[str, str]:
    """Return the sections of a docstring in numpy's or Google's style, by their title in lower case."""
    for heading in (_NUMPY, _GOOGLE):
        found = list(heading.finditer(text))
        ends = [*(match.start() for match in found[1:]), len(text)]
        if found:
            return {m[1].lower(): text[m.end() : end].strip("\n") for m, end in zip(found, ends, strict=True)}
    return {}


def _parameters(text: str) -> Iterator[tuple[str, str]]:
    """Yield each documented parameter with its type and what is said of it."""
    fields = list(_FIELD.finditer(text))
    for match in fields:
        yield match[1], re.split(r"\n(?=:|\S)|\n\s*\n", text[match.end() :], maxsplit=1)[0]
    sections = _sections(text)
    for title in ("parameters", "other parameters", "args", "arguments", "keyword args"):
        yield from _entries(sections.get(title, ""))


def _entries(section: str) -> Iterator[tuple[str, str]]:
    text = inspect.cleandoc(section)
    found = list(_ENTRY.finditer(text))
    ends = [*(match.start() for match in found[1:]), len(text)]
    for match, end in zip(found, ends, strict=False):
        kind, said = match[2] or "", match[3]
        about = f"{kind} {said} {text[match.end() : end]}"
        for name in match[1].split(","):
            yield name.strip().lstrip("*"), about


def _returns(text: str) -> str:
    field = _RETURNED.search(text)
    if field:
        return re.split(r"\n(?=:)|\n\s*\n", text[field.end() :], maxsplit=1)[0]
    section = _sections(text).get("returns", "")
    return re.split(r"\n\s*\n", inspect.cleandoc(section), maxsplit=1)[0]


# signatures -----------------------------------------------------------------------------------------------------------


def shortened(signature: str, used: Collection[str]) -> str:
    """Return a long signature without annotations; of the parameters that are not used only the number."""
    head, mark, rest = signature.partition(": ...")
    node = _parsed(head) if len(signature) > LONG else None
    if node is None or not mark:
        return signature
    every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    placed = len(node.args.posonlyargs) + len(node.args.args)
    missing = placed - len(node.args.defaults)
    defaults = [None] * missing + [*node.args.defaults, *node.args.kw_defaults]
    pairs = list(zip(every, defaults, strict=True))
    kept = [(item, default) for item, default in pairs if default is None or item.arg in used]
    told = [item.arg + (f"={ast.unparse(default)}" if default else "") for item, default in kept]
    more = [f"… {len(pairs) - len(kept)} more"] if len(pairs) > len(kept) else []
    starred = [f"**{node.args.kwarg.arg}"] if node.args.kwarg else []
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    prefix = head.partition("def ")[0]
    return f"{prefix}def {node.name}({', '.join([*told, *more, *starred])}){returns}{mark}{rest}"


# what code passes ----------------------------------------------------------------------------------------------------


def parameters_used(signature: str, name: str, code: str) -> set[str]:
    """Return the parameters of `def f(…)` that calls of `name` in `code` pass, by keyword or by place."""
    ordered = _ordered(signature)
    found: set[str] = set()
    for number, match in enumerate(re.finditer(rf"\b{re.escape(name)}\(", code)):
        if number == CALLS:
            break
        arguments = list(_arguments(code[match.end() : match.end() + ARGUMENTS]))
        keywords = {key[1] for argument in arguments if (key := re.match(r"\s*(\w+)\s*=(?!=)", argument))}
        found |= keywords | set(ordered[: len(arguments) - len(keywords)])
    return found


def _ordered(signature: str) -> list[str]:
    """Return the parameters that may be given by place, without `self`."""
    head = _parsed(signature.partition(": ...")[0])
    if head is None:
        return []
    names = [item.arg for item in (*head.args.posonlyargs, *head.args.args)]
    return names[1:] if names[:1] in (["self"], ["cls"]) else names


@lru_cache(READ)
def _parsed(head: str) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
    try:
        found = ast.parse(f"{head[head.find('def ') if head.startswith('@') else 0 :]}: pass").body[0]
    except (SyntaxError, ValueError, RecursionError):
        return None
    return found if isinstance(found, ast.FunctionDef | ast.AsyncFunctionDef) else None


def _arguments(text: str) -> Iterator[str]:
    """Yield the arguments of a call whose text begins after its bracket."""
    depth, start, quote = 0, 0, ""
    for place, character in enumerate(text):
        if quote:
            quote = "" if character == quote and text[place - 1] != "\\" else quote
        elif character in "\"'":
            quote = character
        elif character in "([{":
            depth += 1
        elif character in ")]}" and depth:
            depth -= 1
        elif character in ",)" and not depth:
            if text[start:place].strip():
                yield text[start:place]
            start = place + 1
            if character == ")":
                return
