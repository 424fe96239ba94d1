"""Write the code that a task asks for: a function, a failing line guarded, a plot. Pure; built from the prompt's names.

Nothing reasons here, but the code runs: a demo shows code, and a person can insert it.
"""

from __future__ import annotations

import ast
import builtins
import re
import textwrap
from dataclasses import dataclass

from agentnb.simulator.model.prompt_parser import Conversation, failing, misspelled

_ASKED = r"(?:^|[.!?,;:]\s*|\b(?:please|you|i|me|and|then|now|also|to)\s+)"
_MAKE = re.compile(rf"{_ASKED}(?:write|make|define|create|implement|give me|propose|add)\b", re.IGNORECASE)
_FIX = re.compile(rf"{_ASKED}(?:fix|repair|mend|correct|debug)\b", re.IGNORECASE)
_PLOT = re.compile(rf"{_ASKED}(?:plot|draw|chart)\b|{_MAKE.pattern}[^.]*\b(?:plot|chart|figure)\b", re.IGNORECASE)
_NAMED = re.compile(r"\b(?:function|method|called|named)\s+[`\"]?([A-Za-z]\w*_\w+|[A-Za-z_]\w*(?=[`\"(]))")
_MARKED = re.compile(r"`([A-Za-z_]\w*)(?:\([^`]*\))?`")
_WORD = re.compile(r"[A-Za-z_]\w*")
_ASSIGNED = re.compile(r"^([A-Za-z_]\w*)(?:\s*:[^=\n]+)?\s*=(?!=)", re.MULTILINE)
_FILLERS = re.compile(
    r"an?|the|that|which|to|for|of|in|from|its?|my|our|one|function|method|please|and|with|as|returns"
)
_ACROSS = re.compile(r"`?\b([A-Za-z_]\w*)`?\s+(?:over|against|by)\s+(?:the\s+)?`?([A-Za-z_]\w*)")
_WINDOW = re.compile(r"\b(?:over|of|window)\D{0,12}(\d{1,4})\b")
_OPERATIONS = (
    (
        r"(?:moving|rolling|running) (?:mean|average)",
        "[sum(values[i : i + WINDOW]) / WINDOW for i in range(len(values) - WINDOW + 1)]",
    ),
    (r"mean|average", "sum(values) / len(values)"),
    (r"largest|highest|maximum|max", "max(values)"),
    (r"smallest|lowest|minimum|min", "min(values)"),
    (r"range|spread", "max(values) - min(values)"),
    (r"sums?|total|adds?", "sum(values)"),
    (r"counts?|number|length", "len(values)"),
    (r"sorts?|orders?", "sorted(values)"),
    (r"unique|distinct", "sorted(set(values))"),
    (r"doubles?", "[2 * value for value in values]"),
)
_FIGURE = "import matplotlib.pyplot as plt\n\nfig, ax = plt.subplots()\n"
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_ITERABLE = re.compile(r"\b(?:list|tuple|array|ndarray|Series|range|deque)\b")


@dataclass(frozen=True, kw_only=True)
class Written:
    """Holds code for a task, what it is in a few words, and the number of the cell to replace."""

    code: str
    what: str
    replaces: int | None = None


def write(held: Conversation) -> Written | None:
    """Return the code that the question asks for. None where it asks for none, or there is nothing to build on."""
    task = held.question
    if _FIX.search(task):
        return _fix(held)
    if _PLOT.search(task):
        return _plot(held)
    if _MAKE.search(task) and re.search(r"\b(?:function|method|def)\b", task):
        return _function(held)
    return None


def _function(held: Conversation) -> Written:
    """Return a function of the asked name, over `values`, with the operation that a word of the task names."""
    task = held.question
    called = _NAMED.search(task)
    marked = [name for name in _MARKED.findall(task) if not held.find(name) and name not in held.values]
    name = called[1] if called else marked[0] if marked else _name_of(task)
    body = next((code for words, code in _OPERATIONS if re.search(rf"\b(?:{words})\b", task)), "list(values)")
    window = _WINDOW.search(task)
    body = body.replace("WINDOW", window[1] if window else "5")
    doc = _doc_of(task)
    sample = next((name for name, line in _named_first(held) if _ITERABLE.search(line)), "[3, 1, 2]")
    code = f'def {name}(values):\n    """{doc}"""\n    return {body}\n\n\n{name}({sample})'
    return Written(code=code, what=f"a function `{name}`, tried on `{sample}`")


def _doc_of(task: str) -> str:
    """Return as a sentence what the task says that the function does; else the task."""
    words = " ".join(task.split()).replace("\\", "").replace('"', "'")
    does = re.search(r"\b(?:that|which) (\w[^,.;:]*)", words)
    said = f"{does[1][0].upper()}{does[1][1:]}" if does else words
    return textwrap.shorten(said.rstrip(".") + ".", 90, placeholder=" …")


def _name_of(task: str) -> str:
    """Return a name from the words that say what the function does."""
    rest = re.split(r"\bfunction\b|\bmethod\b|\bdef\b", task, maxsplit=1)[-1]
    words = [word.lower() for word in _WORD.findall(rest) if not _FILLERS.fullmatch(word.lower())]
    name = "_".join(words[:3])
    return name if name.isidentifier() else "answer"


def _plot(held: Conversation) -> Written | None:
    """Return a matplotlib cell over the value that the question names, else over the newest one."""
    known = [(name, line) for name, line in _named_first(held) if not re.search(r"\b(?:module|function|str)\b", line)]
    if not known:
        return None
    name, line = known[0]
    if (pair := _ACROSS.search(held.question)) and {*pair.groups()} <= {each for each, _ in known}:
        up, across = pair.groups()
        draw = f'ax.plot({across}, {up})\nax.set_xlabel("{across}")\nax.set_ylabel("{up}")'
        return Written(code=f"{_FIGURE}{draw}\nplt.show()", what=f"a plot of `{up}` over `{across}`")
    draw = f"{name}.plot(ax=ax)" if re.search(r"\b(?:DataFrame|Series)\b", line) else f"ax.plot({name})"
    if re.search(r"\bdict\b", line):
        draw = f"ax.bar(list({name}), list({name}.values()))"
    return Written(code=f'{_FIGURE}{draw}\nax.set_title("{name}")\nplt.show()', what=f"a plot of `{name}`")


def _named_first(held: Conversation) -> list[tuple[str, str]]:
    """Return (name, description) of live values and of names that cells assign: the question's first, then the
    newest."""
    assigned = {name: "" for cell in held.cells.values() for name in _ASSIGNED.findall(cell.source)}
    newest = [*reversed((assigned | held.values).items())]
    asked = _WORD.findall(held.question)
    return sorted(newest, key=lambda item: asked.index(item[0]) if item[0] in asked else len(asked))


def _fix(held: Conversation) -> Written | None:
    """Return the failing definition, or the whole cell that holds it, mended.

    An unknown name is spelled as a known one is; else the failing line is guarded.
    """
    source, line, kind = failing(held)
    if not source:
        return None
    cell = next((cell for cell in reversed(held.cells.values()) if source in cell.source), None)
    whole, replaces = (cell.source, cell.number) if cell else (source, None)
    wrong, right = misspelled(held)
    if wrong:
        spelled = re.sub(rf"\b{wrong}\b", right, whole)
        return Written(code=spelled, what=f"its source with `{right}` for `{wrong}`", replaces=replaces)
    if kind == "SyntaxError" and (completed := _completed(whole, line)):
        return Written(code=completed, what=f"its source with `{line}` completed", replaces=replaces)
    guarded = _guarded(whole, line, kind if hasattr(builtins, kind) else "Exception")
    return Written(code=guarded, what=f"its source with `{line}` guarded", replaces=replaces) if guarded else None


def _completed(source: str, line: str) -> str:
    """Return the source, which did not parse, with what its line lacks; empty where one character does not mend it."""
    tried = (source.replace(line, f"{line}{end}", 1) for end in ":)]}")
    return next((made for made in tried if _tree(made)), "")


def _guarded(source: str, line: str, kind: str) -> str:
    """Return the source with the innermost statement around the line in a `try`; empty where that makes no Python."""
    tree, lines = _tree(source), textwrap.dedent(source).splitlines()
    if tree is None:
        return ""
    number = next(i for i, text in enumerate(lines, 1) if text.strip() == line)
    inner = [node for node in ast.walk(tree) if isinstance(node, ast.stmt) and not isinstance(node, _DEFINITIONS)]
    around = [node for node in inner if node.lineno <= number <= (node.end_lineno or 0)]
    if not around:
        return ""
    node = around[-1]
    first, last, indent = node.lineno - 1, node.end_lineno or 0, " " * node.col_offset
    inside = [f"    {text}" if text else text for text in lines[first:last]]
    guard = [f"{indent}try:", *inside, f"{indent}except {kind}:", f"{indent}    {_instead(node)}"]
    made = "\n".join([*lines[:first], *guard, *lines[last:]])
    return made if _tree(made) else ""


def _instead(node: ast.stmt) -> str:
    """Return the statement that runs where the guarded one fails."""
    if isinstance(node, ast.Return):
        return "return None"
    names = (
        [target.id for target in node.targets if isinstance(target, ast.Name)] if isinstance(node, ast.Assign) else []
    )
    return f"{names[0]} = None" if names else "pass"


def _tree(source: str) -> ast.Module | None:
    """Return the parsed source; None where it is not Python, or more than can be read."""
    try:
        return ast.parse(textwrap.dedent(source))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
