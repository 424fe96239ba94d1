"""Markdown that a model wrote: the whole of CommonMark, and nothing of it runs, loads or leaves its frame."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from agentnb.view.answer import markup
from agentnb.view.answer.highlight import STYLES, code_ansi, code_html
from agentnb.view.answer.proposed import difference
from agentnb.view.answer.terminal import answer_text
from agentnb.view.style import clean

DATA = Path(__file__).with_name("data")
CASES = [json.loads(line) for line in (DATA / "markdown.jsonl").read_text().splitlines()]
HOSTILE: list[str] = json.loads((DATA / "hostile.json").read_text())
MARKS = "".join(["`*[]()|#-<> \n\t~1.$\\!_&;:x"])
LINK = re.compile(r"(https?://|mailto:)", re.IGNORECASE)
TAGS = {
    *("p", "span", "strong", "em", "s", "code", "pre", "br", "hr", "a", "ul", "ol", "li", "blockquote"),
    *("h1", "h2", "h3", "table", "thead", "tbody", "tr", "th", "td"),
}
ATTRIBUTES = {"style", "class", "href", "target", "rel", "start"}


class Reader(HTMLParser):
    """What html says, without styles: tags, links, numbers and words."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.said: list[str] = []
        self.foreign: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.foreign += [tag] if tag not in TAGS else []
        self.foreign += [f"{tag} {name}" for name in given if name not in ATTRIBUTES]
        if "href" in given and not LINK.match(given["href"] or ""):
            self.foreign.append(f"href {given['href']}")
        if tag not in ("br", "hr", "input"):
            self.open.append(tag)
        if tag == "br":
            self.handle_data("\n")
        elif tag == "input":
            self.handle_data("☑" if "checked" in given else "☐")
        elif tag != "span" and not (tag == "code" and "pre" in self.open):
            kept = [f"{name}={given[name]}" for name in ("href", "start") if name in given]
            aligned = re.search(r"text-align:(center|right)", given.get("style") or "")
            self.said.append(" ".join([_level(tag), *kept, *([aligned[1]] if aligned else [])]))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        inside = "pre" in self.open
        if not self.open or self.open.pop() != tag:
            self.foreign.append(f"/{tag}")
        if tag != "span" and not (tag == "code" and inside):
            self.said.append(f"/{_level(tag)}")

    def handle_data(self, data: str) -> None:
        words = data if "pre" in self.open else re.sub(r"\s+", " ", data)
        if self.said and self.said[-1].startswith("'"):
            self.said[-1] += words
        else:
            self.said.append(f"'{words}")

    def handle_comment(self, data: str) -> None:
        self.foreign.append(f"comment {data}")

    def handle_decl(self, decl: str) -> None:
        self.foreign.append(f"declaration {decl}")

    unknown_decl = handle_decl
    handle_pi = handle_decl


def _level(tag: str) -> str:
    return "h3" if tag in ("h4", "h5", "h6") else tag


def read(html: str) -> Reader:
    found = Reader()
    found.feed(html)
    found.close()
    found.said = [text for piece in found.said if (text := " ".join(piece.split()) if "'" in piece else piece) != "'"]
    found.said = [piece.replace("' ", "'").rstrip() for piece in found.said]
    return found


def is_plain(markdown: str) -> bool:
    """Whether we mean to show it as CommonMark says: no raw html, no pictures, no formulas, links to where they may."""
    tokens = MarkdownIt("commonmark", {"tasklists": True}).enable(["table", "strikethrough"]).parse(markdown)
    flat = [inner for token in tokens for inner in (token, *(token.children or ()))]
    if any(token.type.startswith(("html", "image")) for token in flat):
        return False
    links = [str(token.attrs["href"]) for token in flat if token.type == "link_open"]
    formulas = "formula" in {inner.type for token in markup.parse(markdown)[0] for inner in token.children or ()}
    unread = re.sub(r"\](\(|: *)(https?:|mailto:)", "", markdown)
    return all(map(LINK.match, links)) and not re.search(r"\][(:]", unread) and not formulas


PLAIN = [case for case in CASES if is_plain(case["markdown"])]


@pytest.mark.parametrize("case", PLAIN, ids=lambda case: case["from"])
def test_commonmark_and_its_extensions_look_as_their_own_tests_say(case: dict[str, str]) -> None:
    assert read(markup.to_html(case["markdown"])).said == read(case["html"]).said


def test_code_may_begin_with_a_blank_line() -> None:
    """A browser drops the newline that follows <pre>, so one more stands there."""
    assert re.search(r"<pre [^>]*>\n\nx = 1", re.sub(r"</?span[^>]*>", "", markup.to_html("```\n\nx = 1\n```")))


def test_most_of_the_specification_is_checked() -> None:
    assert len(PLAIN) > 480


@pytest.mark.parametrize("text", [*HOSTILE, *(case["markdown"] for case in CASES if case not in PLAIN)])
def test_no_attack_becomes_markup(text: str) -> None:
    shown = read(markup.to_html(text))
    assert (shown.foreign, shown.open) == ([], [])
    again = read(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(markup.to_markdown(text)))
    assert {said for said in again.foreign if said not in FOREIGN_TO_US} == set()
    assert "\x1b" not in answer_text(text)


FOREIGN_TO_US = {"h4", "h5", "h6"}
hostile = st.one_of(
    st.text(),
    st.text(alphabet=MARKS, max_size=200),
    st.sampled_from(HOSTILE),
    st.lists(st.sampled_from([*HOSTILE, "\n\n", "- ", "> ", "`", "```\n", "| ", "$", "\\", "[", "]("]), max_size=6).map(
        "".join
    ),
)


@given(hostile)
@settings(deadline=None)
def test_nothing_that_a_model_writes_becomes_markup(text: str) -> None:
    shown = read(markup.to_html(text))
    assert (shown.foreign, shown.open) == ([], [])


@given(hostile)
@example("0```\n<!A>```")
@example("- [ ] ~~~ <img src=x>")
@example("[r]: mailto:a@b\n    <img src=x>\n    <b>\n\n    <i>")
@example("1. [x] ```<b>\n   <i>\n   ```\n   <u>")
@settings(deadline=None)
def test_as_markdown_it_fetches_and_runs_nothing_either(text: str) -> None:
    again = read(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(markup.to_markdown(text)))
    assert {said for said in again.foreign if said not in FOREIGN_TO_US} == set()


PIECES = [
    "`",
    "``",
    "|",
    "\\|",
    "\\\\|",
    "<img src=x>",
    "<b>",
    "x",
    " ",
    "https://a.b",
    "www.a.b",
    "\\",
    "$",
    "[y](https://c.d)",
]


@given(st.lists(st.sampled_from(PIECES), max_size=9).map("".join), st.booleans())
@example(r"https://a.b\<img src=x>", False)
@example(r"\www.a.b\<img src=x>", False)
@example("`<img src=x>https://a.b`", False)
@settings(deadline=None)
def test_neither_a_row_nor_a_bare_address_ends_a_span_of_code_unseen(text: str, in_table: bool) -> None:
    """Readers with GitHub's extensions take a bare address up to the next space, and a bar for the end of a cell."""
    written = markup.to_markdown(f"| a | b |\n|---|---|\n| {text} | y |\n" if in_table else text)
    reader = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    assert {said for said in read(reader.render(written)).foreign if said not in FOREIGN_TO_US} == set()
    as_github_reads = re.sub(r"(?:https?://|www\.)[^\s<]*", "ADDRESS", written)
    assert {said for said in read(reader.render(as_github_reads)).foreign if said not in FOREIGN_TO_US} == set()


@given(hostile, st.integers(20, 100))
@settings(deadline=None)
def test_in_a_terminal_no_control_character_is_left(text: str, width: int) -> None:
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", answer_text(text, width=width))


LINES = [
    "- a",
    "1. b",
    "  c",
    "    d",
    "```python",
    "  ```",
    "x = 1",
    "```",
    "",
    "> q",
    "| a | b |",
    "|---|---|",
    "# h",
]
LINES += ["~~~", "***", "* x", "   - n", "text **b", "c** d", "---"]


@given(hostile | st.lists(st.sampled_from(LINES), max_size=14).map("\n".join))
@settings(deadline=None)
def test_what_is_settled_stays_as_it_is_while_the_rest_grows(text: str) -> None:
    if re.search(r"\]:", text):
        return  # a reference that comes later changes what stands before it
    text = clean(text)
    opening = markup.open_code(text)
    end = text.rindex("\n") + 1 if opening else markup.settled(text, in_lists=True)
    parts = markup.to_html(text[:end]) + markup.to_html(opening + text[end:])
    assert plain_words(parts) == plain_words(markup.to_html(text))


def plain_words(html: str) -> str:
    """Return what is read, without what parts it: a list that is parted is two lists."""
    return "".join(re.sub(r"<[^>]*>", "", html).split())


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("a **b** c", "<strong>b</strong>"),
        ("a *b* c", "<em>b</em>"),
        ("a **`b`** c", ">b</code></strong>"),
        ("2 * 3 * 4", "2 * 3 * 4"),
        ("[docs](https://example.org/a?b=1)", 'href="https://example.org/a?b=1"'),
        ("[docs](javascript:alert)", "[docs](javascript:alert)"),
        ("![pixel](https://example.org/p.png)", ">picture: pixel</a>"),
        ("3. three", '<ol start="3"'),
        ("```python\nx < 1", "x &lt; <span"),
        ("- a\n  ```python\n  x\n  ```", ">\nx</pre>"),
        ("`a` and `` b`c ``", "b`c"),
        ("- [x] done", "☑ done"),
        ("~~old~~", "<s>old</s>"),
        ("it costs $5", "<span>$</span>5"),
        ("from $5 to $10, then a_b_c", "<span>$</span>5 to <span>$</span>10, then a_b_c"),
        ("where $x_1^2 * y_1 * z$", "where $x_1^2 * y_1 * z$"),
        (r"where \(a_1 * b_1\)", "where $a_1 * b_1$"),
        (r"\[ \sum_i x_i < 3 \]", r"$$ \sum_i x_i &lt; 3 $$"),
        ("$$\n\\frac{a}{b}\n$$", "$$\n\\frac{a}{b}\n$$"),
        ("`$x$` is code", "$x$</code> is code"),
    ],
)
def test_the_markdown_that_is_understood(text: str, html: str) -> None:
    assert html in markup.to_html(text)


@pytest.mark.parametrize(
    "text",
    [
        "- [x] done\n- [ ] open",
        "`a<b>` and [docs](https://example.org/a_b) and \\<",
        "| a | b |\n|---|---|\n| `x<y` | 2 |",
        "```html\n<b>\n```\n\n    <i>",
        "where $x_1^2$ and \\(y\\)",
        "> quote\n\n1. one\n   - two",
    ],
)
def test_good_markdown_stays_as_it_is(text: str) -> None:
    assert markup.to_markdown(text) == text


def test_python_blocks_have_numbers_that_stay() -> None:
    text = "```python\na\n```\n\n```bash\nb\n```\n\n- x\n\n  ```py\n  c\n  ```\n"
    assert [(each.number, each.source) for each in markup.code_blocks(text)] == [(1, "a\n"), (0, "b\n"), (2, "c\n")]
    assert re.findall(r"agentnb-code-(\d)", markup.to_html(text)) == ["1", "2"]
    more = text + "\n```python\nd\n```"
    assert markup.code_blocks(more)[:3] == markup.code_blocks(text)


@given(
    st.text(alphabet="def f(x):\n \t'\"#1.5+<>&\\\x00é"), st.sampled_from(["python", "html", "diff", "", "nonsense"])
)
@settings(deadline=None)
def test_colours_change_no_letter_of_the_code(source: str, language: str) -> None:
    reader = read(f"<pre>{code_html(source.replace(chr(0), ''), language)}</pre>")
    assert reader.foreign == []
    assert re.sub(r"<[^>]*>", "", code_html(source, language)).count("\n") == source.count("\n")
    assert re.sub(r"\x1b\[[\d;]*m", "", code_ansi(source, language)) == source


def test_colours_are_read_on_a_light_page_and_on_a_dark_one() -> None:
    for style in STYLES.values():
        colour = re.search(r"#\w{6}", style)
        assert colour
        for page in ("#ffffff", "#111111"):
            assert contrast(colour[0], page) >= 4, (style, page)


def contrast(one: str, other: str) -> float:
    """WCAG's ratio of brightness."""
    bright, dark = sorted((_brightness(one), _brightness(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def _brightness(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@given(st.text(alphabet="`*[]()|#-<> \n\t~1.", max_size=3000))
@settings(deadline=None, max_examples=30)
def test_long_runs_of_marks_are_read_in_one_go(text: str) -> None:
    assert read(markup.to_html(text)).foreign == []


@pytest.mark.slow
def test_a_log_of_200_kilobytes_is_shown() -> None:
    for line in ("x" * 200_000, "`*[|" * 5_000, "# " * 100_000, "\n".join(["| a"] * 6_000), "\\(" * 5_000):
        assert markup.to_html(line)
        assert markup.to_markdown(line)


def test_a_terminal_gets_lists_tables_and_quotes_within_its_width() -> None:
    text = "# Tides\n\nThe *drift* comes from **one** term, see [docs](https://a.example/b).\n\n"
    text += "1. add `K2`\n   ```python\n   fit(1)\n   ```\n2. wait\n\n> quoted\n\n- [x] done\n  - deeper\n\n"
    text += "| name | meaning of the term in many words |\n|---|---|\n| K2 | lunisolar semidiurnal constituent |"
    assert answer_text(text, width=40) == (
        "Tides\n-----\n\nThe drift comes from one term, see docs\n(https://a.example/b).\n\n"
        "1. add `K2`\n       fit(1)\n2. wait\n\n> quoted\n\n- [x] done\n  - deeper\n\n"
        "name  meaning of the term in many words\n----  ---------------------------------\n"
        "K2    lunisolar semidiurnal constituent"
    )
    coloured = answer_text(text, width=40, colours=True)
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured).replace("Tides\n\n", "Tides\n-----\n\n") == answer_text(
        text, width=40
    )


def test_the_last_line_of_a_difference_has_its_colour_too() -> None:
    gone, come = STYLES["Generic.Deleted"], STYLES["Generic.Inserted"]
    shown = f'<span style="{gone}">-two\n</span><span style="{come}">+three</span>'
    assert code_html("-two\n+three", "diff") == shown


def test_dots_stand_for_lines_that_a_difference_leaves_out_above() -> None:
    many = [f"line {number}" for number in range(20)]
    assert difference("\n".join(many), "\n".join([*many[:-1], "other"]))[0] == "⋯"
    assert difference("\n".join(many), "\n".join(["other", *many[1:]]))[0] == "-line 0"
    assert difference("", "one") == ["+one"]
