"""Find where a question points: cells by number or place, the last plot, the table above, the error. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from agentnb.context.notebook.cell_runs import CellRun, stem, words_of

_NOUN = (
    r"cells?|zellen?|cellules?|celdas?|cell[ae]|c[ée]lulas?|cellen?|kom[oó]rk[aię]\w*|"
    r"ячейк\w*|клітин\w*|セル|单元格|儲存格|셀|hücre\w*"
)
_NUMBER = re.compile(
    rf"\b(?:in|out)\s?\[\s?(?P<a>\d+)\s?\]|(?<![\w\]\)])\[(?P<b>\d+)\]"
    rf"|(?:{_NOUN})\s*(?:no\.?|nr\.?|number|nummer|num[ée]ro|#|№)?\s*(?P<c>\d+)(?P<more>(?:\s*(?:,|and|und|et|y|e|or|to|bis|-|–|&|\+)+\s*\d+)*)"
    rf"|(?P<d>\d+)(?:st|nd|rd|th|\.)\s+(?:{_NOUN})\b"
    r"|(?<![\w.])_(?P<e>\d+)\b"
    r"|\b(?:input|output|eingabe|ausgabe|entrada|salida|entrée|sortie|uscita|saída)\s+(?P<f>\d+)\b(?!\.\d)",
    re.IGNORECASE,
)
_RANGE = re.compile(r"(\d+)\s*(?:to|bis|-|–|through)\s*(\d+)")
_ENGLISH = {
    "first": r"erste[nrsm]?|primer[oa]?|premi[eè]re?|prim[oa]|primeir[oa]|eerste|1st",
    "second": r"zweite[nrsm]?|segund[oa]|deuxi[eè]me|second[eoa]|tweede|2nd",
    "third": r"dritte[nrsm]?|tercer[oa]?|troisi[eè]me|terz[oa]|terceir[oa]|derde|3rd",
    "fourth": r"vierte[nrsm]?|cuart[oa]|quatri[eè]me|quart[oa]|vierde|4th",
    "fifth": r"f[uü]nfte[nrsm]?|quint[oa]|cinqui[eè]me|vijfde|5th",
    "penultimate": r"vorletzte[nrsm]?|pen[uú]ltim[oa]|avant-derni[eè]re?|voorlaatste"
    r"|(?:second|next)[ -](?:to[ -](?:the[ -])?)?last|last but one",
    "two": r"zwei|dos|deux|dois|twee",
    "three": r"drei|tres|trois|três|drie",
    "four": r"vier|cuatro|quatre|quatro",
    "five": r"f[uü]nf|cinco|cinq|vijf",
}
"""Words that count, with what other languages say for them."""
_FOREIGN = re.compile("|".join(rf"(?P<{word}>\b(?:{ways})\b)" for word, ways in _ENGLISH.items()), re.IGNORECASE)
_ORDINALS = {"first": 0, "second": 1, "third": 2, "fourth": 3, "fifth": 4, "sixth": 5, "seventh": 6, "eighth": 7}
_ORDINAL = re.compile(rf"\b({'|'.join(_ORDINALS)})\s+(?:code\s+)?(?:{_NOUN})\b", re.IGNORECASE)
_FIRST_FEW = re.compile(rf"\bfirst\s+(two|three|four|five|[2-9])\s+(?:code\s+)?(?:{_NOUN})", re.IGNORECASE)
_BACK = {"last": 0, "previous": 0, "preceding": 0, "latest": 0, "penultimate": 1}
_BEFORE = re.compile(
    r"\b(?:(?P<all>(?:the|these|those|die|diese|las|los|les|ces)\s+)?"
    rf"(?P<n>two|three|four|five|2|3|4|5)\s+(?:{_NOUN})\s+(?:further |weiter |más |plus )?"
    r"(?:above|up|ago|back|before|earlier|higher|oben|davor|zuvor|vorher|arriba|atrás|antes|haut|avant)"
    rf"|(?P<but>(?:{_NOUN})\s+before\s+(?:the\s+)?last)"
    rf"|(?P<one>{'|'.join(_BACK)})\s+(?P<count>two|three|four|five|2|3|4|5)?\s*(?:code\s+)?(?:{_NOUN}))\b",
    re.IGNORECASE,
)
_COUNTS = {"two": 2, "three": 3, "four": 4, "five": 5, "2": 2, "3": 3, "4": 4, "5": 5}
_ABOVE = re.compile(
    r"\b(?:above(?!\s+(?:an?|the|my|our|its|zero|average|normal|\d[\d.,]*)\b)|just (?:ran|printed|got|did)"
    r"|oben|obige\w*|vorige\w*|letzte\w*|ci-dessus|pr[ée]c[ée]dente?"
    r"|derni[èe]re?"
    r"|anterior|arriba|[úu]ltim[oa]|sopra|precedente|acima|hierboven|vorige|powyżej|выше|предыдущ\w*|последн\w*"
    r"|this (?:cell|output|result|code)|what (?:i|we) just|these results?)\b|上の|上面|上述|前の|위의|この|这个|直前",
    re.IGNORECASE,
)
_KINDS: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = (
    (
        re.compile(
            r"\b(?:plots?|figures?|charts?|graphs?|pictures?|photos?|(?<=this )images?|(?<=the )images?"
            r"|histograms?|heat ?maps?|curves?|scatter|diagrams?|grafik\w*"
            r"|abbildung"
            r"|diagramm\w*|graphique|gráfic[oa]|график\w*|wykres\w*)\b|图|グラフ|그래프",
            re.IGNORECASE,
        ),
        ("figure",),
    ),
    (
        re.compile(
            r"\b(?:tables?|data ?frames?|tabelle\w*|tableau|tablas?|tabell[ae]|таблиц\w*|tabel\w*)\b|表", re.IGNORECASE
        ),
        ("table",),
    ),
    (
        re.compile(
            r"\b(?:errors?|exceptions?|tracebacks?|crash\w*|fail(?:s|ed|ing|ure)?|raise[sd]?|br(?:eak|oke)\w*|fehler\w*|erreur|errore?"
            r"|erros?|ошибк\w*|b[łl][ąa]d\w*|\w+Error|\w+Exception|fix (?:it|this)"
            r"|schlägt\b[^.?!]*\bfehl|fehlgeschlagen|(?:funktioniert|geht|klappt|läuft)\b[^.?!]{0,30}\bnicht"
            r"|fall[aoó]|no funciona|ça plante|(?:marche|fonctionne) pas|non funziona|não funciona|falh\w+"
            r"|(?:goes|went|is|go) wrong|(?:not|n.?t) work\w*|complain\w*|bl[eo]w\w* up|chok\w+)\b|错误|エラー|오류",
            re.IGNORECASE,
        ),
        ("error",),
    ),
    (re.compile(r"\bwarn(?:ing|ings|s)?\b|\b\w+Warning\b|warnung\w*", re.IGNORECASE), ("warnings",)),
    (
        re.compile(
            r"\b(?:logs?|print(?:s|ed|out)?|epochs?|progress|list(?:ed|ing)?)\b",
            re.IGNORECASE,
        ),
        ("printed",),
    ),
    (re.compile(r"\b(?:widgets?|sliders?|drop ?downs?|buttons?)\b", re.IGNORECASE), ("widget",)),
)
_THE_FIGURE = re.compile(
    r"\b(?:the|this|that|last|latest|previous)\s+(?:\w+\s+)?"
    r"(?:plot|figure|chart|histogram|scatter|heat ?map)\b(?!\s+\w*(?:func|method|code))",
    re.IGNORECASE,
)
_CODE = re.compile(
    r"\b(?:(?:last|latest|previous|this|that|obige|letzte|dernière|última)\s+(?:function|method|class|funktion|klasse"
    r"|fonction|classe|función|clase)|(?:function|method|class|funktion|klasse|fonction|función|clase)\s+"
    r"(?:above|just|i just|oben|ci-dessus|arriba))\b",
    re.IGNORECASE,
)
_WHICH = re.compile(
    r"\b(?:last|latest)\s+(?P<count>two|three|four|five|[2-6])\s+$"
    r"|\b(?P<which>first|second|third|fourth|previous|other|both|all|every|each)"
    r"\s+(?:of the\s+)?(?:\w+\s+)?(?:two\s+)?$"
    r"|\bbefore\s+(?:that|(?:the\s+)?last)\b",
    re.IGNORECASE,
)
_NUMBERED = re.compile(r"\s+(?:no\.?|nr\.?|number|nummer|#)?\s*(?P<place>[1-9])\b(?![.:,]?\d)", re.IGNORECASE)
"""Places of the plot, table or error that is meant, by the words before the noun; without one, the last."""
_ASKS = re.compile(
    r"(?:.*[.!?,]\s+)?(?:(?:please|now|then|and|also|can you|could you)\s+)*\w+", re.IGNORECASE | re.DOTALL
)
"""Words that end with a verb that asks for something: the plot of "Plot the ages" is not there yet."""
_BESIDE = re.compile(
    rf"\b(?:{_NOUN})\s+(?:right |just )?(?P<side>before|above|after|below)\s+(?!this|that|it\b)", re.IGNORECASE
)
_ENTIRE = re.compile(
    r"\b(?:(?:this|the|my|whole|entire|our|dieses?|das|ce|este|esta|el|il|o)\s+(?:\w+\s+)?"
    r"(?:notebook|notizbuch|cuaderno|carnet|caderno|ноутбук\w*)"
    r"|(?:all|every|each)(?: (?:of )?(?:the|my|these))? cells?|everything|so far(?=\s*(?:[,.?!:]|\Z))"
    r"|step by step|summar\w+|overview"
    r"|zusammenfass\w*|résum\w*|resum\w+|riassum\w*)\b|笔记本|ノートブック|总结|要約",
    re.IGNORECASE,
)
_NEARLY_ALL = re.compile(
    r"\b(?:(?:the|this|that|whole|entire|full) (?:whole |entire |full |printed )?(?:list|log|output|table|dump"
    r"|print\w*)"
    r"|all (?:the )?(?:rows|lines|values|entries|items)|which (?:rows?|lines?|entr\w+|items?))\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Pointed:
    """Holds what a question points at: cells with the reason, in the order of mention; and whether it means
    everything."""

    cells: tuple[tuple[CellRun, str], ...] = ()
    entire: bool = False
    at_length: bool = False
    """It speaks of a list or table as a whole."""
    beside: int = 0
    """Steps from the named cell to the meant one: "the cell after the import" is 1."""
    missing: tuple[int, ...] = ()
    """Numbers of cells that are not there."""
    above: bool = False
    no_figure: bool = False
    """It speaks of the plot, and no cell has shown one."""


def pointed(
    task: str,
    runs: Sequence[CellRun],
    *,
    by_number: Mapping[int, CellRun],
    placed: Sequence[CellRun] = (),
    above: CellRun | None = None,
) -> Pointed:
    """Return the cells that the words of `task` mean.

    `placed` are the cells by their place in the notebook, where that is known. `above` is the one over the asking cell.
    """
    task = _counted_in_english(task)
    order = list(placed or runs)
    before = _up_to(order, above) if above is not None else list(runs)
    numbered, missing = _numbered(task, by_number, placed)
    found = [*numbered, *_ordinals(task, order), *_before(task, before)]
    found += _of_kind(task, before) if not numbered else []
    beside = _BESIDE.search(task) if not numbered else None
    once: dict[tuple[str, int], tuple[CellRun, str]] = {}
    for run, reason in found:
        once.setdefault((run.cell, run.number), (run, reason))
    return Pointed(
        cells=tuple(once.values()),
        entire=bool(_ENTIRE.search(task)),
        at_length=bool(_NEARLY_ALL.search(task)),
        missing=missing,
        above=_says_above(task) and beside is None,
        no_figure=bool(_THE_FIGURE.search(task)) and not any(run.has("figure") for run in runs),
        beside=0 if beside is None else -1 if beside["side"].lower() in ("before", "above") else 1,
    )


def _counted_in_english(task: str) -> str:
    return _FOREIGN.sub(lambda match: match.lastgroup or "", task)


def _numbered(
    task: str, by_number: Mapping[int, CellRun], placed: Sequence[CellRun]
) -> tuple[list[tuple[CellRun, str]], tuple[int, ...]]:
    """Return the cells named by number, which is first an execution count and then a place. Add the numbers of none."""
    found, missing = [], []
    for number, as_place, certain in _numbers(task):
        run = by_number.get(number)
        if run is not None:
            found.append((run, f"cell {number} is named"))
        elif as_place and 0 < number <= len(placed):
            found.append((placed[number - 1], f"cell {number} by its place"))
        elif certain:
            missing.append(number)
    return found, tuple(dict.fromkeys(missing))


def _ordinals(task: str, order: Sequence[CellRun]) -> Iterator[tuple[CellRun, str]]:
    for match in _ORDINAL.finditer(task):
        word = match.group(1).lower()
        if _ORDINALS[word] < len(order):
            yield order[_ORDINALS[word]], f"the {word} cell is named"
    for match in _FIRST_FEW.finditer(task):
        yield from ((run, "one of the first cells") for run in order[: _COUNTS.get(match[1].lower()) or int(match[1])])


def _before(task: str, before: Sequence[CellRun]) -> Iterator[tuple[CellRun, str]]:
    for match in _BEFORE.finditer(task):
        yield from ((run, BEFORE) for run in _counted(match, before))
    if _ABOVE.search(_BEFORE.sub("", task)) and before:
        yield before[-1], ABOVE


def _says_above(task: str) -> bool:
    return bool(_ABOVE.search(task) or _BEFORE.search(task))


def _of_kind(task: str, before: Sequence[CellRun]) -> Iterator[tuple[CellRun, str]]:
    """Return the last cell that showed what is spoken of, or the one meant by its place among such."""
    for pattern, kinds in _KINDS:
        said = next((found for found in pattern.finditer(task) if not _ASKS.fullmatch(task[: found.end()])), None)
        shown = [run for run in before if run.has(*kinds)] if said else []
        word = _WORD_FOR[kinds[0]]
        if said and shown:
            after = task[said.end() :]
            which = _WHICH.search(task[: said.start()]) or _WHICH.match(after.lstrip())
            which = which or (_NUMBERED.match(after) if kinds[0] in ("figure", "table") else None)
            told = _told_apart(*_beside_noun(task, said), shown) if which is None else None
            yield from [(told, f"the {word} that the words tell of")] if told else _meant(which, shown, word)
    defined = next((run for run in reversed(before) if run.flow.defines), None) if _CODE.search(task) else None
    if defined is not None:
        yield defined, "the last cell that defines a function or class"


ABOVE, BEFORE = "the cell above", "a cell before this one is named"
_CELL = re.compile(_NOUN, re.IGNORECASE)


def pointed_words(task: str, means: Pointed, runs: Sequence[CellRun]) -> str:
    """Say which cells are meant by their place or by what they showed; the order of running does not tell.

    Empty where only the last cell is, or cells by the number that they have.
    """
    meant = [(run, why) for run, why in means.cells if why != f"cell {run.number} is named"]
    if any(why not in (ABOVE, BEFORE) for _, why in meant) and not _CELL.search(task):
        meant = [(run, why) for run, why in meant if why not in (ABOVE, BEFORE)]  # "the plot above" is no cell
    if all(run is runs[-1] for run, _ in meant):
        return ""
    cells = ", ".join(f"cell {run.number} ({why.removesuffix(' is named')})" for run, why in meant)
    return f"The task points at {cells}."


def _beside_noun(task: str, noun: re.Match[str]) -> tuple[set[str], str]:
    """Return the stems of the words that say which one is meant, and the noun's: "peak" and "plot"."""
    before = _ADJECTIVES.search(task[: noun.start()])
    after = _OF.match(task[noun.end() :])
    said = words_of(" ".join([before.group() if before else "", after.group(1) if after else ""]))
    kind = stem(noun.group().replace(" ", ""))
    return ({stem(word) for word in said} - _SAID_OF_ANY, kind) if not said & _NEWEST else (set(), "")


_ADJECTIVES = re.compile(r"(?:[\w'-]+[ \t]+){1,3}\Z")
_OF = re.compile(r"\s+(?:of|for|with|about|titled|named|called|on|from)\s+([\w ,'\"-]{2,60})")
_NEWEST = {"last", "latest", "newest", "above", "previous", "just", "letzte", "dernier", "dernière"}
_PLAIN = "the this that my our an in of is and does what why did which show with"
_KIND = "plot figure chart graph diagram table frame error log print list widget"
_SAID_OF_ANY = {stem(word) for word in f"{_PLAIN} {_KIND}".split()}


def _told_apart(said: set[str], kind: str, shown: Sequence[CellRun]) -> CellRun | None:
    """Return the one run that has more of these words than any other; None where no run has.

    Code writes the kind in full or cut short: a histogram is `hist`.
    """
    kinds = [any(len(known) > 3 and kind.startswith(known) for known in run.stems - _SAID_OF_ANY) for run in shown]
    counts = [len(said & run.stems) + is_kind for run, is_kind in zip(shown, kinds, strict=True)]
    most = max(counts, default=0)
    return shown[counts.index(most)] if most and len(shown) > 1 and counts.count(most) == 1 else None


def kind_words(task: str) -> list[str]:
    """Return the words of a text that speak of what cells show: "plot", "table", "error"."""
    return [match.group() for pattern, _ in _KINDS for match in pattern.finditer(task)]


def _meant(which: re.Match[str] | None, shown: Sequence[CellRun], word: str) -> list[tuple[CellRun, str]]:
    found = which.groupdict() if which is not None else {}
    if found.get("count"):
        return [(run, f"one of the last {word}s") for run in shown[-_COUNTS.get(found["count"].lower(), 6) :]]
    if found.get("place") and int(found["place"]) <= len(shown):
        return [(shown[int(found["place"]) - 1], f"{word} {found['place']} by its place")]
    said = "" if which is None or found.get("place") else (found.get("which") or "previous").lower()
    if said in ("both", "all", "every", "each"):
        return [(run, f"one of the {word}s") for run in shown[-6:]]
    if said in _ORDINALS and _ORDINALS[said] < len(shown):
        return [(shown[_ORDINALS[said]], f"the {said} {word}")]
    if said in ("other", "previous") and len(shown) > 1:
        return [(shown[-2], f"the last {word} but one")]
    return [(shown[-1], f"the last {word}")]


_WORD_FOR = {
    "figure": "figure",
    "table": "table",
    "error": "error",
    "warnings": "warning",
    "printed": "printed output",
    "widget": "widget",
}


def _numbers(task: str) -> Iterator[tuple[int, bool, bool]]:
    """Yield the numbers of cells in the text. Beside each: whether it may be a place, unlike `In[3]`, and whether it
    surely means a cell, unlike `[3]`."""
    for match in _NUMBER.finditer(task):
        if match.group("c"):
            text = match.group("c") + (match.group("more") or "")
            spans = {int(a): int(b) for a, b in _RANGE.findall(text)}
            for first, last in spans.items():
                yield from ((number, True, True) for number in range(first, min(last, first + 40) + 1))
            yield from ((int(number), True, True) for number in re.findall(r"\d+", text))
        elif match.group("d"):
            yield int(match.group("d")), True, True
        else:
            number = next(match[name] for name in "abef" if match[name])
            yield int(number), False, bool(match.group("a"))


def _up_to(order: Sequence[CellRun], above: CellRun) -> list[CellRun]:
    places = [index for index, run in enumerate(order) if run.cell == above.cell]
    return list(order[: places[0] + 1]) if places else list(order)


def _counted(match: re.Match[str], before: Sequence[CellRun]) -> Iterable[CellRun]:
    if match.group("n"):
        back = _COUNTS[match.group("n").lower()]
        return before[-back:][: back if match.group("all") else 1] if len(before) >= back else ()
    if match.group("count"):
        return before[-_COUNTS[match.group("count").lower()] :]
    if match.group("but"):
        return before[-2:-1]
    back = _BACK[match.group("one").lower()]
    return before[-1 - back :][:1] if len(before) > back else ()
