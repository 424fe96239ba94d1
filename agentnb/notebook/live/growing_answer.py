"""Show a growing answer as widgets. What is settled is sent once; the open end is sent again when it has doubled.

So an answer costs three to four times its length on the wire, however long it is. A style sheet has the styles that
stand inline in a saved view: this view is never saved.
"""

from __future__ import annotations

import re
from typing import Any

from agentnb.view.answer import highlight
from agentnb.view.answer.markup import STYLES, open_code, settled, to_html
from agentnb.view.style import CODE, PRE, clean

PIECE = 1_000
"""Characters that a widget takes, at the least, before another is opened for what comes."""
LATEST = 1.5
"""Seconds after which an open end that has grown is sent again, doubled or not."""

_TAGS = {**STYLES, "pre": PRE, "code": CODE}
_COLOURS = {style: chr(ord("a") + n) for n, style in enumerate(dict.fromkeys(highlight.STYLES.values()))}
_RULES = {
    **_TAGS,
    **{f"i[{name}]": f"font-style:normal;{style}" for style, name in _COLOURS.items()},
    ":is(.widget-html,.widget-html-content)": "font-size:inherit;line-height:inherit",
    ".agentnb-cut>pre:last-child": "margin-bottom:0;padding-bottom:0;border-radius:4px 4px 0 0",
    ".agentnb-on>pre:first-child": "margin-top:0;padding-top:0;border-radius:0",
}
STYLE_SHEET = "".join(f".agentnb-run.agentnb-live {names} {{{style}}}" for names, style in _RULES.items())
STYLE_SHEET = f"<style>{STYLE_SHEET}</style>"
"""For the answer's parts: sent once."""
_TAG = re.compile(r'<(/?)(\w+)((?: [\w-]+="[^"]*")*)>')
_COLOUR = re.compile(r"</?i\b[^>]*>")


class GrowingAnswer:
    """Widgets in `box`, the open end last."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self._end = library.HTML("", layout={"width": "100%", "margin": "0", "height": "auto"})
        self._look = {"layout": self._end.layout, "style": self._end.style}  # one for all: each is a model of its own
        self.box = library.VBox([self._end], layout={"width": "100%", "overflow": "visible"})
        self._settled = self._opening = self._sent = ""
        self._sent_at = float("-inf")

    @property
    def widgets(self) -> list[Any]:
        return list(self.box.children)

    def show(self, text: str, now: float) -> None:
        """Show the text as far as it is worth a message."""
        text = clean(text)
        if not text.startswith(self._settled):
            for widget in self.box.children[:-1]:
                widget.close()
            self.box.children = (self._end,)
            self._settled = self._opening = self._sent = ""
        rest = text[len(self._settled) :]
        if len(rest) > PIECE and (length := self._part(rest)):
            self._settled, rest = self._settled + rest[:length], rest[length:]
        doubled = len(rest) >= 2 * len(self._sent) or not rest.startswith(self._sent)
        if rest != self._sent and (doubled or now - self._sent_at >= LATEST):
            self._send(_COLOUR.sub("", _html(self._opening + rest)), opening=self._opening)
            self._sent, self._sent_at = rest, now

    def _part(self, rest: str) -> int:
        """Leave what is settled in the widget that it has, and open another. Return how much is settled."""
        source = self._opening + rest
        opening = open_code(source)
        length = (source.rindex("\n") + 1 if opening else settled(source, in_lists=True)) - len(self._opening)
        if length < PIECE:
            return 0
        self._send(_html(self._opening + rest[:length]), opening=self._opening, cut=bool(opening))
        self._end, self._opening, self._sent = self._library.HTML("", **self._look), opening, ""
        self.box.children = (*self.box.children, self._end)
        return length

    def _send(self, html: str, *, opening: str, cut: bool = False) -> None:
        names = " ".join(["agentnb-cut"] * cut + ["agentnb-on"] * bool(opening))
        self._end.value = f'<div class="{names}">{html}</div>' if names else html


def _html(text: str) -> str:
    return _TAG.sub(_short, to_html(text))


def _short(tag: re.Match[str]) -> str:
    """Return one tag with what the style sheet knows left out."""
    close, name, rest = tag.groups()
    if name == "span":
        colour = _COLOURS.get(rest[len(' style="') : -1], "")
        return f"<{close}i {colour}>" if colour else f"<{close}i>"
    kept = rest.removesuffix(f' style="{_TAGS.get(name)}"')
    return f"<{close}{name}{'' if name == 'pre' else kept}>"
