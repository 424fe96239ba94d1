"""Write figures for people: counts, shares, seconds, dollars, times of day. What is not known is a dash, never a
zero."""

from __future__ import annotations

import math
from datetime import datetime

UNKNOWN = "–"
ASTRONOMICAL = 1e15
"""From here on it is no figure of a run. It is shown short, so that a damaged document fits a page."""


def number(value: object) -> float | None:
    """Return the value if it is a finite number, else None. Booleans are no numbers here."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return value if math.isfinite(value) else None
    except OverflowError:  # an integer that no float can hold
        return None


def count(value: object) -> str:
    """Write 1040 -> `1,040`."""
    known = number(value)
    if known is None:
        return UNKNOWN
    return f"{known:,.0f}" if abs(known) < ASTRONOMICAL else f"{known:.3g}"


def share(part: object, whole: object) -> str:
    """Return `85 %`; never `100 %` for less than all, never `0 %` for more than nothing."""
    some, total = number(part), number(whole)
    if some is None or total is None or total <= 0:
        return UNKNOWN
    percent = 100 * some / total
    if 0 < percent < 1:
        return "< 1 %"
    if 99 < percent < 100:
        return "> 99 %"
    return f"{percent:.0f} %" if abs(percent) < ASTRONOMICAL else f"{percent:.3g} %"


def fraction(part: object, whole: object) -> float:
    """Return part / whole between 0 and 1; 0 where either is unknown: the length of a bar."""
    some, total = number(part), number(whole)
    if some is None or total is None or total <= 0:
        return 0.0
    return min(1.0, max(0.0, some / total))


def seconds(value: object) -> str:
    """Return `12 ms`, `1.90 s`, `42.5 s`, `2 min 05 s`."""
    known = number(value)
    if known is None:
        return UNKNOWN
    if known < 0.9995:
        return "0 ms" if known <= 0 else "< 1 ms" if known < 0.0005 else f"{known * 1000:.0f} ms"
    if known < 59.95:
        return f"{known:.2f} s" if known < 9.995 else f"{known:.1f} s"
    if known >= ASTRONOMICAL:
        return f"{known:.3g} s"
    minutes, rest = divmod(round(known), 60)
    return f"{minutes:,} min {rest:02} s"


def dollars(value: object) -> str:
    """Return `$0.0123`, `$1.23`, `< $0.0001`."""
    known = number(value)
    if known is None:
        return UNKNOWN
    if 0 < known < 0.00005:
        return "< $0.0001"
    if abs(known) >= ASTRONOMICAL:
        return f"${known:.3g}"
    return f"${known:.4f}" if 0 < known < 0.99995 else f"${known:,.2f}"


def short_seconds(value: object) -> str:
    """Return `0.4 s`, `7.6 s`, `10 s`, `2 min 05 s`: where the exact figure stands elsewhere."""
    known = number(value)
    if known is None or known >= 59.5:
        return seconds(value)
    return "< 0.1 s" if 0 < known < 0.05 else f"{known:.1f} s" if known < 9.95 else f"{known:.0f} s"


def short_dollars(value: object) -> str:
    """Return `$0.012`, `$0.31`, `$1.23`: two figures that count."""
    known = number(value)
    if known is None or known < 0.00005 or known >= 0.0995:
        return dollars(value) if known is None or known < 0.0995 or known >= 0.99995 else f"${known:.2f}"
    return "$" + f"{known:.{3 if known >= 0.00995 else 4}f}".rstrip("0")


def time_of_day(epoch: object) -> str:
    """Return the seconds since the epoch -> `20:33:30` on this machine's clock."""
    known = number(epoch)
    if known is None:
        return UNKNOWN
    try:
        return datetime.fromtimestamp(known).astimezone().strftime("%H:%M:%S")
    except (OverflowError, OSError, ValueError):
        return UNKNOWN


def plural(value: object, one: str, many: str = "") -> str:
    """Return `1 step`, `3 steps`, `2 retries`."""
    return f"{count(value)} {one if value == 1 else many or one + 's'}"


def day_and_time(epoch: object) -> str:
    """Return the seconds since the epoch -> `2026-11-30 20:33` on this machine's clock."""
    known = number(epoch)
    try:
        return datetime.fromtimestamp(known).astimezone().strftime("%Y-%m-%d %H:%M") if known is not None else UNKNOWN
    except (OverflowError, OSError, ValueError):
        return UNKNOWN


def time_and_day(epoch: object, now: object) -> str:
    """Return when something is: `20:33`, or `2026-11-30 20:33` where that is another day than `now`."""
    day = day_and_time(epoch)
    return day[11:] if day[:10] == day_and_time(now)[:10] and day != UNKNOWN else day
