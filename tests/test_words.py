"""Docstrings and comments in plain words: a verb first, short sentences, no phrase that a reader must decode."""

from __future__ import annotations

import ast
import io
import itertools
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "agentnb"
MOST_WORDS = 20
PAGES = [PACKAGE.parent / "README.md", *sorted((PACKAGE / "docs" / "pages").glob("*.md"))]
DECODED = ("such that", "of which", "what of the")
NOUN_CLAUSES = ("What", "How", "Whether", "Where", "Who", "Which", "Why")
"""A docstring says what happens, so it begins with none of these; a comment may name a place with `Where`."""
PROMPTS = {"inspect", "run_code", "propose_cell", "run_tests", "plan", "delegate"}
"""Tools whose docstrings are sent to models: a changed word makes every user's next call a write of its prompt."""
DRAWN = ("    ", "%", ">>>", "AgentnbError", "Format 1 of a frame")
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
HARD = (
    "agent/conversation/threads.py",
    "agent/segments/segments.py",
    "durable/journal/deltas.py",
    "durable/journal/leases.py",
    "context/resolve/resolution.py",
)


def docstrings(tree: ast.Module) -> Iterator[str]:
    """Yield the docstrings of the module, its classes and functions, and those below assignments."""
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and getattr(node, "name", "") not in PROMPTS:
            yield ast.get_docstring(node) or ""
        body = getattr(node, "body", None)
        for statement, after in itertools.pairwise(body) if isinstance(body, list) else ():
            match statement, after:
                case ((ast.Assign() | ast.AnnAssign()), ast.Expr(ast.Constant(str(text)))):
                    yield text


def comments(source: str) -> Iterator[str]:
    """Yield the comments, those on lines that follow each other as one."""
    lines: list[str] = []
    place = (0, 0)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and not re.match(r"#\s*(noqa|type:|pragma)", token.string):
            alone = token.line.strip().startswith("#")
            if not alone or token.start != (place[0] + 1, place[1]):
                yield " ".join(lines)
                lines = []
            lines.append(token.string.lstrip("#").strip())
            place = token.start if alone else (0, 0)
    yield " ".join(lines)


def sentences(text: str) -> Iterator[str]:
    """Yield the sentences: of a list those of each point, and none of what is drawn or set out as a table."""
    for paragraph in re.split(r"\n\s*\n|\n\s*(?=- )", text):
        lines = paragraph.strip("\n").split("\n")
        if not lines[0].startswith(DRAWN):
            prose = re.sub(r"``?[^`]*``?", "code", " ".join(lines))
            yield from re.split(r"(?<=[.?!])\s+", re.sub(r"\[home of [^]]*\]", "", prose))


NOT_SHOWN = ("simulator", "prompt/instructions.py", "agent/conversation/summary.py", "context/static/english_words.py")
"""Where text is another's, or for the model alone, or a list of words."""
NO_WORDS = re.compile(r"\\|<\w|\b(?:SELECT|INSERT|UPDATE|DELETE|CREATE|SET)\b|--- ")
"""Patterns, html and SQL."""
OLD_WORDS = re.compile("|".join(("(?i)semi-static", "hydration", "-1 means", *DECODED)))
LATE_CONDITION = re.compile(r"\w[\w )`]* (?:if|unless|provided that|in case) \w")


def shown(tree: ast.Module) -> Iterator[str]:
    """Yield the texts that people may see: literals of several words, a placeholder in them counted as one."""
    hidden = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    hidden |= {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        match node:
            case ast.JoinedStr(values=parts):
                text = "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in parts)
            case ast.Constant(value=str(text)) if id(node) not in hidden:
                pass
            case _:
                continue
        if len(text.split()) > 3 and not NO_WORDS.search(text):
            yield text


TYPESCRIPT = re.compile(
    r"""//[^\n]*|/\*.*?\*/|"((?:[^"\\\n]|\\.)*)"|'((?:[^'\\\n]|\\.)*)'|`((?:[^`\\]|\\.)*)`""", re.DOTALL
)


def shown_by_page(source: str) -> Iterator[str]:
    """Yield such texts of the page's part: literals of TypeScript, but no comment and no style sheet."""
    for comment_or_literal in TYPESCRIPT.finditer(source):
        text = re.sub(r"\$\{[^}]*\}", "X", "".join(filter(None, comment_or_literal.groups())))
        if len(text.split()) > 3 and "{" not in text:
            yield text


def unplain(text: str) -> Iterator[str]:
    """Yield the sentences of a shown text that are long, or say their condition last, or old words."""
    for sentence in re.split(r"(?<=[.?!])\s+|\n", text):
        if length(sentence) > MOST_WORDS or LATE_CONDITION.search(sentence) or OLD_WORDS.search(sentence):
            yield sentence


def length(sentence: str) -> int:
    return sum(1 for word in sentence.split() if re.search(r"\w", word))


def faults(module: Path) -> Iterator[str]:
    """Yield what a module says that is not plain."""
    source = module.read_text()
    said = [text for text in docstrings(ast.parse(source)) if text.strip()]
    yield from (text for text in said if text.split()[0].strip(",.:;") in NOUN_CLAUSES)
    for text in [*said, *comments(source)]:
        yield from (text for phrase in DECODED if re.search(rf"\b{phrase}\b", " ".join(text.lower().split())))
        yield from (sentence for sentence in sentences(text) if length(sentence) > MOST_WORDS)


def test_docstrings_and_comments_are_plain() -> None:
    found = [
        f"{path.relative_to(PACKAGE)}: {fault}" for path in sorted(PACKAGE.rglob("*.py")) for fault in faults(path)
    ]
    assert not found, "\n".join(found)


NO_VERBS = frozenset(
    [
        "A",
        "All",
        "An",
        "As",
        "At",
        "By",
        "Each",
        "Every",
        "Everything",
        "For",
        "From",
        "If",
        "In",
        "Is",
        "It",
        "Its",
        "No",
        "Not",
        "Nothing",
        "Of",
        "On",
        "One",
        "Only",
        "Our",
        "That",
        "The",
        "There",
        "These",
        "This",
        "Those",
        "To",
        "Two",
        "When",
        "With",
    ]
)
RAISED = frozenset(
    [
        "CallCut",
        "GaveUp",
        "NoMessage",
        "OverLimit",
        "ReachesOut",
        "RefusedForNow",
        "Unable",
        "_Again",
        "_NeedsMore",
        "_TooManyTools",
    ]
)
"""Exceptions outside of errors.py: what one says of itself is a sentence for whoever meets it."""


def test_docstrings_begin_with_a_verb() -> None:
    """The front doors and the magics' own help begin with what is typed."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.parent == PACKAGE and path.stem in ("__init__", "__main__", "errors"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            said = ast.get_docstring(node) if isinstance(node, DOCUMENTED) else None
            if said and " | " not in said and not said.startswith("%") and getattr(node, "name", "") not in RAISED:
                first = said.split()[0].strip(",.:;")
                if first in NO_VERBS or not first[0].isupper():
                    found.append(f"{path.relative_to(PACKAGE)}: {said.partition(chr(10))[0]}")
    assert not found, "\n".join(found)


def test_what_people_see_is_plain() -> None:
    found = [
        f"{name}: {sentence}"
        for name, path in ((str(path.relative_to(PACKAGE)), path) for path in sorted(PACKAGE.rglob("*.py")))
        if not name.startswith(NOT_SHOWN)
        for text in shown(ast.parse(path.read_text()))
        for sentence in unplain(text)
    ]
    assert not found, "\n".join(found)


def test_what_the_page_says_is_plain() -> None:
    pages = sorted((PACKAGE / "notebook" / "lab" / "src").glob("*.ts"))
    texts = [(path.name, text) for path in pages for text in shown_by_page(path.read_text())]
    assert len(texts) > 9
    assert not [(name, sentence) for name, text in texts for sentence in unplain(text)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_of_the_documentation_is_plain(page: Path) -> None:
    """No code, table, heading or picture: what is read as sentences."""
    text = re.sub(r"```.*?```|^[|#!].*?$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)|<[^>]*>", r"\1", text)
    assert [one for one in sentences(text) if length(one) > MOST_WORDS] == []


def test_literals_of_the_page_are_found() -> None:
    source = """// A comment: "of no interest to anybody here".
    say('It\\'s run now'); /* "nor is this one, of course" */
    say(`Nothing of ${names} is sent if ${reason}`); say("Yes"); style(".row { display: flex; gap: 8px }");
    """
    assert list(shown_by_page(source)) == ["Nothing of X is sent if X"]
    assert list(unplain("Nothing of X is sent if X"))


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("The run was stopped. Resume it.", True),
        (" ".join(["word"] * 21), False),
        ("Nothing is sent if the budget is spent", False),
        ("If the budget is spent, nothing is sent", True),
    ],
)
def test_a_text_is_judged(text: str, plain: bool) -> None:
    assert (not list(unplain(text))) is plain


@pytest.mark.parametrize("module", HARD)
def test_a_hard_module_begins_with_a_page_that_says_why(module: str) -> None:
    page = ast.get_docstring(ast.parse((PACKAGE / module).read_text())) or ""
    assert len(page.split()) >= 100, module
