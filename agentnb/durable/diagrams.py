"""Draw a machine and a run as pictures: Mermaid text, an inline SVG, and plain text. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from agentnb.durable.events import COMPLETED, FAILED, NOTED, Event

Moves = Counter[tuple[str, str]]
"""Counts of each transition by (state, next_state); "" is the beginning."""

_BOX, _GAP_X, _GAP_Y, _MARGIN = (150, 34), 70, 30, 24


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawing:
    """Holds the same thing in up to three forms; Jupyter shows the richest that it can."""

    plain: str
    svg: str
    mermaid: str = ""

    def __repr__(self) -> str:
        """Return the plain form: inside a tuple or a list nobody wants to read the source of a picture."""
        return self.plain

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        bundle = {"text/plain": self.plain, "image/svg+xml": self.svg}
        return bundle | ({"text/vnd.mermaid": self.mermaid} if self.mermaid else {})


def moves_of(histories: Iterable[Sequence[Event]]) -> Moves:
    """Return the transitions that were really taken, failures and resumptions included."""
    kinds = ("created", "step", "failed", "resumed")
    return Counter((e.state, e.next_state) for events in histories for e in events if e.kind in kinds)


def draw_machine(states: Mapping[str, Sequence[str]], moves: Moves, *, current: str | None = None) -> Drawing:
    """Return the states, the moves taken and the present state. Each state has its name and those that its writer says
    follow."""
    edges = {(state, target): 0 for state, targets in states.items() for target in targets} | dict(moves)
    ranks = _ranks(states, edges)
    return Drawing(
        plain=_machine_text(edges, ranks, current),
        svg=_machine_svg(edges, ranks, current),
        mermaid=_machine_mermaid(edges, ranks, current),
    )


def _ranks(states: Mapping[str, Sequence[str]], edges: Mapping[tuple[str, str], int]) -> dict[str, int]:
    """Return each state's distance from the beginning; the ends come last."""
    names = dict.fromkeys([*states, *(name for edge in edges for name in edge if name)])
    front = [target for (source, target) in edges if not source] or list(names)[:1]
    ranks = dict.fromkeys(front, 0)
    while front:
        following = [target for (source, target) in edges if source in front and target not in ranks]
        ranks |= dict.fromkeys(following, ranks[front[0]] + 1)
        front = following
    last = max(ranks.values(), default=0)
    ranks |= {name: last + 1 for name in names if name not in ranks}
    ends = [name for name in (COMPLETED, FAILED) if name in names]
    return ranks | dict.fromkeys(ends, max([rank for name, rank in ranks.items() if name not in ends], default=0) + 1)


def _machine_text(edges: Mapping[tuple[str, str], int], ranks: Mapping[str, int], current: str | None) -> str:
    lines = []
    for name in sorted(ranks, key=lambda name: ranks[name]):
        targets = [
            f"{target} ({count}x)" if count else target for (source, target), count in edges.items() if source == name
        ]
        lines.append(f"{'*' if name == current else ' '} {name}" + (f" -> {', '.join(targets)}" if targets else ""))
    return "\n".join(lines)


def _machine_mermaid(edges: Mapping[tuple[str, str], int], ranks: Mapping[str, int], current: str | None) -> str:
    ids = {name: f"s{index}" for index, name in enumerate(ranks)}
    lines = ["stateDiagram-v2", "  direction LR"]
    lines += [f'  state "{_plain_name(name)}" as {key}' for name, key in ids.items()]
    for (source, target), count in edges.items():
        lines.append(f"  {ids.get(source, '[*]')} --> {ids[target]}" + (f" : {count}" if count else ""))
    lines += [f"  {ids[name]} --> [*]" for name in (COMPLETED, FAILED) if name in ids]
    if current in ids:
        lines += ["  classDef current stroke-width:3px,font-weight:bold", f"  class {ids[current]} current"]
    return "\n".join(lines)


def _plain_name(name: str) -> str:
    return "".join(c if c.isalnum() or c in "_- ./" else "?" for c in name)


def _machine_svg(edges: Mapping[tuple[str, str], int], ranks: Mapping[str, int], current: str | None) -> str:
    places = _places(ranks)
    width = max((x for x, _ in places.values()), default=0) + _BOX[0] + _MARGIN
    height = max((y for _, y in places.values()), default=0) + _BOX[1] + _MARGIN + 16
    lines = [_edge_svg(edge, count, places) for edge, count in edges.items() if edge[0]]
    boxes = [_box_svg(name, place, name == current) for name, place in places.items()]
    return _svg(width, height, [*lines, *boxes], "States and the transitions taken")


def _places(ranks: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    rows: Counter[int] = Counter()
    places = {}
    for name, rank in sorted(ranks.items(), key=lambda item: item[1]):
        places[name] = (
            _MARGIN + rank * (_BOX[0] + _GAP_X),
            _MARGIN + 16 + rows[rank] * (_BOX[1] + _GAP_Y),
        )
        rows[rank] += 1
    return places


def _box_svg(name: str, place: tuple[int, int], current: bool) -> str:
    x, y = place
    style = 'stroke-width="3" font-weight="bold"' if current else 'stroke-width="1"'
    fill = "#3b7bcf40" if current else "none"
    shown = name if len(name) <= 20 else f"{name[:18]}…"
    return (
        f"<g {style}><title>{escape(name)}{' (now)' if current else ''}</title>"
        f'<rect x="{x}" y="{y}" width="{_BOX[0]}" height="{_BOX[1]}" rx="8" fill="{fill}"'
        f' stroke="#7d7d7d"/><text x="{x + _BOX[0] // 2}" y="{y + 22}" text-anchor="middle" fill="#7d7d7d"'
        f' stroke="none">{escape(shown)}</text></g>'
    )


def _edge_svg(edge: tuple[str, str], count: int, places: Mapping[str, tuple[int, int]]) -> str:
    (x1, y1), (x2, y2) = places[edge[0]], places[edge[1]]
    path, label = _route((x1, y1), (x2, y2))
    dashed = "" if count else ' stroke-dasharray="4 4"'
    text = f'<text x="{label[0]}" y="{label[1]}" text-anchor="middle" fill="#7d7d7d">{count}</text>' if count else ""
    return f'<path d="{path}" fill="none" stroke="#7d7d7d"{dashed} marker-end="url(#end)"/>{text}'


def _route(source: tuple[int, int], target: tuple[int, int]) -> tuple[str, tuple[int, int]]:
    """Return the path of an arrow between two boxes, and its count's place: onward by the sides, back from below."""
    (x1, y1), (x2, y2) = source, target
    if source == target:
        return f"M {x1 + 50} {y1} c 0 -26 50 -26 50 0", (x1 + 75, y1 - 23)
    if x2 > x1:
        y1, y2, x1 = y1 + _BOX[1] // 2, y2 + _BOX[1] // 2, x1 + _BOX[0]
        bend = _GAP_X // 2
        return f"M {x1} {y1} C {x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}", ((x1 + x2) // 2 + 14, (y1 + y2) // 2 - 5)
    y1, x2, y2 = y1 + _BOX[1] - 8, x2 + _BOX[0] - 40, y2 + _BOX[1]
    if x1 < x2:  # within a column
        x1 += 20
    return f"M {x1} {y1} C {x1 - 50} {y1} {x2} {y2 + 40} {x2} {y2}", (x1 - 26, y1 + 13)


def _svg(width: int, height: int, parts: Sequence[str], title: str) -> str:
    arrow = (
        '<defs><marker id="end" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M 0 0 L 8 4 L 0 8 z" fill="#7d7d7d"/></marker></defs>'
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        f' role="img" aria-label="{escape(title)}" font-family="sans-serif"'
        f' font-size="12">{arrow}{"".join(parts)}</svg>'
    )


def draw_timeline(events: Sequence[Event]) -> Drawing:
    """Return what happened to a run and when: a bar per event, as long as its step took. Seconds since the run's
    beginning.

    Between two bars nobody worked on the run: it was paused, waited for a person, or for a worker. A clock that was set
    back gives bars of no length; the order is the journal's. What a step noted lies within its bar.
    """
    began = events[0].at if events else 0.0
    spans, before = [], began
    for event in (event for event in events if event.kind != NOTED):
        took = event.data.get("seconds")
        begun = max(before, event.at - took) if isinstance(took, int | float) else before
        spans.append((max(0.0, begun - began), max(0.0, event.at - began), event))
        before = event.at
    return Drawing(plain=_timeline_text(spans), svg=_timeline_svg(spans))


_Span = tuple[float, float, Event]


def _timeline_text(spans: Sequence[_Span]) -> str:
    return "\n".join(
        f"{end:10.3f} s  {event.step:5d}  {event.kind:9}  {_said(event)}  ({max(0.0, end - begin):.3f} s)"
        for begin, end, event in spans
    )


def _said(event: Event) -> str:
    moved = event.next_state if event.state in ("", event.next_state) else f"{event.state} -> {event.next_state}"
    why = str(event.data.get("message") or event.data.get("reason") or "").splitlines()
    return f"{moved}: {why[0][:80]}" if why else moved


_COLOURS = {"step": "#2563eb", "created": "#7d7d7d", "failed": "#dc2626", "retried": "#d97706", "paused": "#d97706"}


def _arrow_to(event: Event) -> str:
    return f" → {escape(event.next_state[:24])}" if event.next_state in (COMPLETED, FAILED) else ""


def _timeline_svg(spans: Sequence[_Span], width: int = 720, left: int = 210) -> str:
    longest = max((end for _, end, _ in spans), default=0.0) or 1.0
    scale = (width - left - 150) / longest
    parts = []
    for index, (begin, end, event) in enumerate(spans):
        y, x = 20 + index * 20, left + begin * scale
        length = max(2.0, (end - begin) * scale)
        where, colour = escape((event.state or event.next_state)[:24]), _COLOURS.get(event.kind, "#0d9488")
        parts.append(
            f'<g><title>{escape(_said(event))}</title><text x="{left - 8}" y="{y + 11}" text-anchor="end"'
            f' fill="#7d7d7d">{event.step} {where}</text><rect x="{x:.1f}" y="{y}" width="{length:.1f}" height="14"'
            f' rx="2" fill="{colour}"/><text x="{x + length + 4:.1f}" y="{y + 11}" fill="#7d7d7d">'
            f"{end - begin:.3f} s{_arrow_to(event)}</text></g>"
        )
    return _svg(width, 40 + 20 * len(spans), parts, "Timeline of a run")
