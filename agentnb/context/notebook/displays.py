"""Keep what cells have shown: their figures and pictures, as shown; and tell whether a task speaks of them.

Kept is what the front end received, never the object. A figure that was closed after it was shown is not held.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from agentnb.canonical import JsonMapping
from agentnb.context.values.description import settled
from agentnb.context.values.figures import plotly_spec, svg_text, vega_spec

KEPT = 40
"""Figures that are kept: the newest."""
CHARACTERS = 4_000_000
"""Characters of a picture in base64, and of an html page that is looked through. Of a larger one only words are
kept."""
TOTAL = 8_000_000
"""Of all pictures that are kept, the newest excepted."""
WORDS = 600
_PICTURES = ("image/png", "image/jpeg")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """Holds a shown figure: its words and, of a PNG or JPEG, its `data`, as bytes or base64.

    `value` finds the object instead where somebody else keeps it (`Out`, pyplot); it may find None by then.
    """

    cell: str
    text: str = ""
    data: str | bytes = ""
    why: str = ""
    value: Callable[[], Any] | None = None


@dataclass(slots=True)
class Displays:
    """Holds the newest figures that were shown. `name` is the display's id, under which it may be shown anew.

    Safe to call from several threads.
    """

    _kept: list[tuple[str, Shown]] = field(default_factory=list)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def take(self, bundle: JsonMapping, *, cell: str, about: str = "", name: str = "") -> Shown | None:
        """Remember an output if it is a figure, which is returned. `about` says more than the output's own text."""
        shown = figure_of(bundle, cell=cell, about=about)
        with self._lock:
            before = next((shown.cell for known, shown in self._kept if name and known == name), cell)
            if name:
                self._kept = [item for item in self._kept if item[0] != name]
            if shown is not None:
                self.keep(replace(shown, cell=before), name=name)
        return shown

    def keep(self, shown: Shown, *, name: str = "") -> None:
        """Remember one more; the oldest go."""
        with self._lock:
            kept = [*self._kept, (name, shown)][-KEPT:]
            while len(kept) > 1 and sum(len(item.data) for _, item in kept[:-1]) > TOTAL:
                del kept[0]
            self._kept = kept

    def forget(self, cell: str) -> None:
        """Forget the cell's outputs, which are gone: it runs anew, or cleared them."""
        with self._lock:
            self._kept = [item for item in self._kept if item[1].cell != cell]

    @property
    def kept(self) -> tuple[Shown, ...]:
        """Return all that is kept, the newest last."""
        return tuple(shown for _, shown in self._kept)


def of_latest(kept: Sequence[Shown]) -> tuple[Shown, ...]:
    """Return what the newest cell that showed any has shown, in the order in which it did."""
    return tuple(shown for shown in kept if shown.cell == kept[-1].cell)


def figure_of(bundle: JsonMapping, *, cell: str, about: str = "") -> Shown | None:
    """Return an output by its mime bundle as a figure; None for one that is none."""
    picture = next((found for kind in _PICTURES if isinstance(found := bundle.get(kind), str | bytes)), "")
    words = _words(bundle)
    if not picture and words is None:
        return None
    text = settled(about or words or _plain(bundle), WORDS)
    if len(picture) > CHARACTERS:
        return Shown(cell=cell, text=text, why=f"it was shown with over {CHARACTERS:,} characters")
    return Shown(cell=cell, text=text, data=picture, why="" if picture else "it was not shown as PNG or JPEG")


def _words(bundle: JsonMapping) -> str | None:
    """Return what a figure that its front end draws says of itself; None where the output is no such figure."""
    for kind, found in bundle.items():
        if kind.startswith("application/vnd.plotly") and type(found) is dict:
            return plotly_spec(found)
        if kind.startswith("application/vnd.vega") and type(found) is dict:
            return vega_spec(found)
        if kind == "image/svg+xml" and type(found) is str:
            return svg_text(found)
        if kind == "text/html" and type(found) is str and "vega-embed" in found[:2000]:
            return _vega_page(found)
        if kind.startswith("application/vnd.bokehjs_exec"):
            return "Bokeh figure"
    return None


def _vega_page(page: str) -> str:
    """Return the chart in the html that Altair shows by itself."""
    start = page.rfind("})({", 0, CHARACTERS)
    with contextlib.suppress(ValueError, RecursionError):
        found = json.JSONDecoder().raw_decode(page, start + 3)[0] if start >= 0 and len(page) <= CHARACTERS else {}
        return vega_spec(found if type(found) is dict else {})
    return "Vega-Lite chart"


def _plain(bundle: JsonMapping) -> str:
    found = bundle.get("text/plain")
    return " ".join(found[:WORDS].split()) if type(found) is str else "a picture"


def names_of(shown: Sequence[Shown], numbers: Mapping[str, int]) -> dict[str, Shown]:
    """Return figures by what the model and the receipt call them: by the cell's number."""
    found: dict[str, Shown] = {}
    for cell in dict.fromkeys(item.cell for item in shown):
        place = f"shown by cell {numbers.get(cell, cell)}" if cell else "open in pyplot"
        own = [item for item in shown if item.cell == cell]
        for number, item in enumerate(own, 1):
            found[f"figure {number} of {len(own)} {place}" if len(own) > 1 else f"figure {place}"] = item
    return found


# whether a task speaks of a figure ------------------------------------------------------------------------------------

_NOUN = (
    r"(?:(?:sub|box|bar|scatter|line|pair|violin|contour|surface)[ -]?)?(?:plots?|figures?|charts?|graphs?|curves?)|"
    r"(?:histogram|heat ?map|picture|image|diagram|visuali[sz]ation|scatter)s?"
)
_BETWEEN = r"(?:(?!(?:an?|of|for|to|with|in|and|or) )[\w-]+ ){0,3}?"
_POINTED = re.compile(
    rf"\b(?:the|this|that|these|those|my|our|its|last|latest|previous|above|displayed) {_BETWEEN}(?:{_NOUN})\b"
    rf"|\b(?:{_NOUN}) (?:above|displayed|shown|(?:that |which )?(?:I|we|you) )",
    re.IGNORECASE,
)
_MADE = re.compile(
    # A figure that is to be made: `a new plot`, `plot x`, `please chart it`, `figure out`.
    rf"\b(?:an?|another|new|some|any|each|every|no) {_BETWEEN}(?:{_NOUN})\b|\bfigur(?:e|ed|ing) (?:it )?out\b"
    r"|(?:^|[.;:!?,] |\b(?:to|please|and|then|you|we|I|let's|function|method|def) )"
    r"(?:re)?(?:plot|graph|chart|picture|image)\b",
    re.IGNORECASE,
)
_ANY = re.compile(rf"\b(?:{_NOUN})\b", re.IGNORECASE)


def speaks_of_figure(task: str, *, names_data: bool) -> bool:
    """Tell whether a task means a figure that was shown: `the plot above`; or any `plot` where it names no variable."""
    text = " ".join(task.split())
    if _POINTED.search(text):
        return True
    return not names_data and bool(_ANY.search(_MADE.sub(" ", text)))
