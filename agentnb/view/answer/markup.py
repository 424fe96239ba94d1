"""Show Markdown that a model wrote, as html and as Markdown again: CommonMark with tables, task lists and
strikethrough.

A model's text is untrusted. Raw html stays visible as text, links lead to http, https or mailto only, and pictures
become links. Formulas go to the front end as they are, unless a command in them could link or fetch. [home of
markdown-it-py]
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from typing import TYPE_CHECKING, Any

from agentnb.view.answer.highlight import PYTHON, code_html
from agentnb.view.style import CODE, PRE, clean

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_inline import StateInline
    from markdown_it.token import Token

CELL = "text-align:left;padding:3px 10px 3px 0;border:0;border-bottom:1px solid #80808033;vertical-align:top"
STYLES = {
    "p": "margin:0 0 8px 0",
    "h1": "margin:12px 0 6px 0;font-size:1.3em;font-weight:bold",
    "h2": "margin:12px 0 6px 0;font-size:1.15em;font-weight:bold",
    "h3": "margin:10px 0 4px 0;font-size:1em;font-weight:bold",
    "ul": "margin:0 0 8px 0;padding-left:24px",
    "ol": "margin:0 0 8px 0;padding-left:24px",
    "li": "margin:2px 0",
    "blockquote": "margin:0 0 8px 0;padding:0 0 0 12px;border:0;border-left:3px solid #80808066",
    "hr": "margin:10px 0;border:0;border-top:1px solid #80808055",
    "table": "border-collapse:collapse;margin:6px 0;font-size:0.93em",
    "tr": "background:transparent",
    "th": CELL,
    "td": CELL,
}
LINK = ' target="_blank" rel="nofollow noopener noreferrer"'
MOST_NESTED = 100
"""Blocks within each other. What lies deeper is left out."""

_ADDRESS = re.compile(r"(?:https?://|mailto:)[^\s<>\"']+\Z", re.IGNORECASE)
_FORMULA = re.compile(
    r"\$\$(?!\s*\$)(?P<display>[^$]+)\$\$"
    r"|\$(?P<inline>[^\s$](?:[^$\n]*[^\s$\\])?)\$(?!\d)"
    r"|\\\((?P<round>.+?)\\\)"
    r"|\\\[(?P<square>.+?)\\\]",
    re.DOTALL,
)
_REACHES_OUT = re.compile(
    r"\\(?:href|url|style|class|cssId|data|require|unicode|include\w*|html\w*|csname|mmlToken|special)\b", re.IGNORECASE
)
LONGEST_FORMULA = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeBlock:
    """Holds a block of code in an answer. `number` counts its Python blocks from 1; 0 is any other language."""

    number: int
    language: str
    source: str


def to_html(text: str) -> str:
    """Return the text as html whose only tags are ours; styles stand inline, so that every front end keeps them.

    Each Python block has the class `agentnb-code-N`, N as `code_blocks` numbers it. A front end's script may put its
    buttons there. Saved html has none, since no script runs in it.
    """
    tokens, env = parse(text)
    return str(_markdown().renderer.render(tokens, _markdown().options, env))


def parse(text: str) -> tuple[list[Token], dict[str, Any]]:
    """Return the tokens of a text and what its links refer to. An unclosed fence runs to the end."""
    env: dict[str, Any] = {}
    tokens = _markdown().parse(clean(text), env)
    number = 0
    for token in tokens:
        if token.type == "fence" and language_of(token).lower() in PYTHON:
            number += 1
            token.meta["number"] = number
    return tokens, env


def code_blocks(text: str) -> list[CodeBlock]:
    """Return the blocks of code of an answer, in order. The same text gives the same numbers."""
    found = [token for token in parse(text)[0] if token.type in ("fence", "code_block")]
    return [
        CodeBlock(number=token.meta.get("number", 0), language=language_of(token), source=token.content)
        for token in found
    ]


def language_of(token: Token) -> str:
    """Return the first word after a fence's marks, or nothing."""
    words = token.info.split()
    return words[0] if words else ""


def settled(text: str, *, in_lists: bool = False) -> int:
    """Return how many leading characters of a growing text no longer change their looks: all before its last block.

    `in_lists` counts all before the last item of a list, too. References that come later are the exception, and show at
    the end of the answer.
    """
    last = _last(text, in_lists=in_lists)
    return len("".join(f"{line}\n" for line in text.split("\n")[: last.map[0]])) if last and last.map else 0


def open_code(text: str) -> str:
    """Return the first line of the code block with which a growing text ends; nothing where none goes on."""
    last = _last(text)
    if last is None or last.map is None or last.type != "fence":
        return ""
    lines = text.split("\n")[last.map[0] : last.map[1]]
    whole = last.content.removesuffix("\n").split("\n")
    return f"{lines[0]}\n" if last.content and len(lines) == 1 + len(whole) else ""


def _last(text: str, *, in_lists: bool = False) -> Token | None:
    """Return the token that opens the last block, or the last item of a list."""
    deepest = 1 if in_lists else 0
    opening = (token for token in parse(text)[0] if token.map and (token.level == 0 or token.type == "list_item_open"))
    return next((token for token in reversed([*opening]) if token.level <= deepest), None)


@cache
def _markdown(*, tasks: bool = True) -> MarkdownIt:
    """Return the parser, made once: importing it takes some 30 ms. `tasks`: `- [ ]` begins an item of any kind."""
    from markdown_it import MarkdownIt
    from markdown_it.renderer import RendererHTML

    class Renderer(RendererHTML):
        """Writes html with our styles, through `_RULES`; any other token is a tag without attributes of the model's."""

        def renderToken(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:  # noqa: N802
            return _tag(tokens[idx])

    options = {"html": False, "tasklists": tasks, "maxNesting": MOST_NESTED}
    made = MarkdownIt("commonmark", options, renderer_cls=Renderer).enable(["table", "strikethrough"])
    made.validateLink = lambda url: bool(_ADDRESS.match(url))  # type: ignore[method-assign]
    made.inline.ruler.before("escape", "formula", _formula_rule)
    for name, rule in _RULES.items():
        made.add_render_rule(name, _as_method(rule))
    return made


def _as_method(rule: Callable[[Token], str]) -> Callable[..., str]:
    def render(_self: object, tokens: Sequence[Token], idx: int, _options: Any, _env: MutableMapping[str, Any]) -> str:
        return rule(tokens[idx])

    return render


def _formula_rule(state: StateInline, silent: bool) -> bool:
    """Find `$x^2$`, `$$…$$`, `\\(…\\)` and `\\[…\\]`. As in Pandoc a dollar beside a space, or before a digit, is
    money."""
    found = _formula_at(state.src, state.pos, state.posMax)
    if found is None:
        return False
    if not silent:
        kind = str(found.lastgroup)
        token = state.push("formula", "", 0)
        token.content, token.block = found[kind], kind in ("display", "square")
    state.pos = found.end()
    return True


def _formula_at(text: str, at: int, end: int) -> re.Match[str] | None:
    """Return the formula that begins here, unless a command in it could link, fetch or style."""
    found = _FORMULA.match(text, at, min(end, at + LONGEST_FORMULA)) if text[at] in "$\\" else None
    return None if found is None or _REACHES_OUT.search(found[0]) else found


def _tag(token: Token) -> str:
    if token.hidden:
        return ""
    tag = {"h4": "h3", "h5": "h3", "h6": "h3"}.get(token.tag, token.tag)
    if token.nesting == -1:
        return f"</{tag}>"
    style = STYLES.get(tag, "")
    if tag in ("th", "td") and (aligned := str(token.attrs.get("style") or "")) in _ALIGNED:
        style = style.replace("text-align:left", aligned)
    start = f' start="{int(token.attrs["start"])}"' if "start" in token.attrs else ""
    return f"<{tag}{start}{_style(style)}>"


_ALIGNED = ("text-align:center", "text-align:right")


def _style(style: str) -> str:
    return f' style="{style}"' if style else ""


def _code(token: Token) -> str:
    language = language_of(token)
    number = token.meta.get("number", 0)
    name = f"agentnb-code agentnb-code-{number}" if number else "agentnb-code"
    return f'<pre class="{name}" style="{PRE}">\n{code_html(token.content.rstrip(chr(10)), language)}</pre>'


def _task(token: Token) -> str:
    """Return a box that is drawn as a letter: a sanitized page keeps no form."""
    checked = token.meta.get("checked")
    if checked is None:
        return _tag(token)
    return f'<li style="margin:2px 0;list-style-type:none">{"☑" if checked else "☐"} '


def _link(token: Token) -> str:
    href = str(token.attrs["href"])
    return f'<a href="{escape(href)}"{LINK}>' if href else "<a>"


def _picture(token: Token) -> str:
    """Show a picture as a link: whoever opens the notebook must not be seen by the server that has it."""
    label = plain(token.children or ()) or "untitled"
    return f'<a href="{escape(str(token.attrs["src"]))}"{LINK}>picture: {_text(label)}</a>'


def _formula(token: Token) -> str:
    mark = "$$" if token.block else "$"
    return escape(f"{mark}{token.content}{mark}", quote=False)


def _text(text: str) -> str:
    """Return the text escaped: a dollar alone in an element opens no formula."""
    return escape(text).replace("$", "<span>$</span>")


_RULES: dict[str, Callable[[Token], str]] = {
    "text": lambda token: _text(token.content),
    "code_inline": lambda token: f'<code style="{CODE}">{escape(token.content)}</code>',
    "code_block": _code,
    "fence": _code,
    "softbreak": lambda token: "<br>",  # models break lines where they mean it
    "hardbreak": lambda token: "<br>",
    "list_item_open": _task,
    "link_open": _link,
    "image": _picture,
    "formula": _formula,
}


def plain(tokens: Sequence[Token]) -> str:
    """Return the words of inline tokens, without markup."""
    return "".join(
        plain(token.children) if token.children else " " if "break" in token.type else token.content for token in tokens
    )


# --- Markdown again ------------------------------------------------------------------------------------------------

_KEPT = re.compile(
    r"(?<![!\\])\[[^\[\]\\`<>]+\]\((?:https?://|mailto:)[^\s()<>\"'\\]+\)"
    r"|(?:(?<=[-*+] )|(?<=[.)] ))\[[ xX]\](?=\s)",
    re.IGNORECASE,
)
_BARE = re.compile(r"\w{1,20}://|www\.", re.IGNORECASE)
_LEAKS = re.compile(rf"<(?s:.*?)(?:{_BARE.pattern})|\n\s*<", re.IGNORECASE)
"""Of a span of code: what makes other readers see html. An address may take the closing tick; `<` may begin a line."""
_ESCAPABLE = frozenset(string.punctuation)
_OPENS = {"<": "&lt;", "[": "\\[", "]": "\\]", "$": "\\$", "`": "\\`"}


def to_markdown(text: str) -> str:
    """Return the text as Markdown in which nothing is raw html, fetches, or links elsewhere; code stays as it is."""
    text = clean(text)
    lines = text.split("\n")
    out: list[str] = [""] * len(lines)
    done = [False] * len(lines)
    # To other readers a task is text, also where it looks like a code block's fence.
    for first, end, kind in _regions(_markdown(tasks=False).parse(text)):
        if done[first]:  # a cell of a row that is written already
            continue
        region = "\n".join(lines[first:end])
        # Below a reference, which is text once it is escaped, an indented line goes on with that text.
        goes_on = kind == "indented" and first > 0 and lines[first - 1].strip() and not done[first - 1]
        shown = (
            region
            if kind in ("fence", "indented") and not goes_on
            else _row(region)
            if kind == "tr"
            else _escaped(region)
        )
        for at, line in zip(range(first, end), shown.split("\n"), strict=True):
            out[at], done[at] = line, True
    return "\n".join(new if known else _opened(old) for new, old, known in zip(out, lines, done, strict=True))


def _regions(tokens: Sequence[Token]) -> Iterator[tuple[int, int, str]]:
    """Yield (first line, line after the last, kind) of code, of table rows, and of what holds inline text."""
    kinds = {"fence": "fence", "code_block": "indented", "tr_open": "tr", "inline": "inline"}
    for token in tokens:
        if token.map is not None and token.type in kinds:
            yield token.map[0], token.map[1], kinds[token.type]


def _row(line: str) -> str:
    """Return a table's row: a span of code ends with its cell. Readers differ in which bars are escaped ones."""
    cells = re.split(r"(?<!\\)\|", line)
    out: list[str] = []
    for cell in cells:
        within = _BARE.search(re.split(r"\s", "|".join(out))[-1]) is not None
        out.append(_opened(cell) if "\\|" in cell and "<" in cell else _escaped(cell, within=within))
    return "|".join(out)


def _escaped(text: str, *, within: bool = False) -> str:
    """Return the text of one block: spans of code, formulas, good links and what is escaped already stay.

    `within` says that it begins inside an address, as readers may see it that look past a table's bars.
    """
    out = []
    at = 0
    bare = within  # inside an address that stands by itself: many readers take all up to a space for it, backticks too
    while at < len(text):
        end, shown = _in_address(text, at) if bare else _kept(text, at)
        *before, last = re.split(r"\s", shown)
        bare = (bare and not before) or _BARE.match(text, at) is not None or _BARE.search(last) is not None
        out.append(shown)
        at = end
    return "".join(out)


def _in_address(text: str, at: int) -> tuple[int, str]:
    """Return the same inside an address. It would take the backslash before `<`, or the end of a span of code."""
    if text.startswith("\\<", at):
        return at + 2, "&lt;"
    return (at + 1, "\\`") if text[at] == "`" else _kept(text, at)


def _kept(text: str, at: int) -> tuple[int, str]:
    """Return where the piece that begins at `at` ends, and how it is written."""
    formula = _formula_at(text, at, len(text))
    if formula is not None and not re.search(r"`|\]\(", formula[0]):
        return formula.end(), formula[0].replace("<", "\\lt ")
    if text[at] == "\\" and text[at + 1 : at + 2] in _ESCAPABLE:  # before a letter it escapes nothing
        return at + 2, text[at : at + 2]
    if text[at] == "[" and (link := _KEPT.match(text, at)):
        return link.end(), link[0]
    if text[at] == "`":
        ticks = re.compile(r"`+").match(text, at)
        assert ticks
        close = re.compile(rf"(?<!`){ticks[0]}(?!`)").search(text, ticks.end())
        if close and not _LEAKS.search(text, at, close.end()):
            return close.end(), text[at : close.end()]
        return ticks.end(), ticks[0].replace("`", "\\`")
    return at + 1, _OPENS.get(text[at], text[at])


def _opened(line: str) -> str:
    """Return a line that belongs to no text (a reference, a rule): whatever could open something is escaped."""
    return "".join(_OPENS.get(character, character) for character in line)


def fenced(text: str, language: str = "") -> str:
    """Return the text in a code fence that is longer than any run of backticks inside it."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"
