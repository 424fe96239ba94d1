"""Read and write rows in PostgreSQL: what the rules of a journal ask for, within one
transaction."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from agentnb.canonical import Clock, dump, load
from agentnb.durable.journal import leases
from agentnb.durable.journal.postgres import statements as sql
from agentnb.durable.journal.postgres.connecting import Begun
from agentnb.durable.journal.records import ActionRow, Delivery, Freed, NewRun, RunRow, StatusChange, StepWrite
from agentnb.durable.journal.sqlite.statements import row_of
from agentnb.durable.journal.transactions import (
    Added,
    Rules,
    failed_in,
    first_event,
    no_step,
    owner_after,
    owner_of_moved,
    versions_after,
)


class PostgresTables(Rules):
    """Holds the tables within a transaction that has begun; a row that is read is locked until its end.

    Time is the server's, as it was at the beginning, unless the caller gives a clock of its own.
    """

    def __init__(self, begun: Begun, *, owner: str, clock: Clock, counted: Clock | None) -> None:
        self.rows, self.count = begun.rows, begun.count
        self.owner = owner
        self._now = begun.now if counted is None else counted.now()
        self._tick = clock.monotonic()

    def now(self) -> float:
        return self._now

    def tick(self) -> float:
        return self._tick

    # Runs

    def row(self, run_id: str) -> RunRow | None:
        found = self.rows(f"{sql.SELECT_ROW} WHERE run_id = %s FOR UPDATE", (run_id,))
        return row_of(found[0]) if found else None

    def keep_others_out(self, key: int) -> None:
        self.rows(sql.LOCK, (key,))

    def add_runs(self, news: Sequence[NewRun], now: float) -> Mapping[str, int]:
        columns = [
            (new.run_id, new.state, new.status, _text(new.versions), *(new.origin or (None, None)), _text(new.tags))
            for new in news
        ]
        wakes = [new.wake_at for new in news]
        keys: dict[str, int] = dict(self.rows(sql.ADD_RUNS, (now, now, *map(list, zip(*columns, strict=True)), wakes)))
        first = {new.run_id: new for new in reversed(news)}  # of two with one name the first is made
        made = [(key, first[run_id]) for run_id, key in keys.items()]
        events = [(key, event.next_state, event.frame, event.data) for key, event in
                  ((key, first_event(new, now)) for key, new in made)]  # fmt: skip
        if events:
            self.count(sql.ADD_FIRST, (now, *map(list, zip(*events, strict=True))))
        tags = [(sql.digest_of_tag(*tag), key) for key, new in made for tag in new.tags.items()]
        if tags:
            self.count(sql.ADD_TAGS, tuple(map(list, zip(*tags, strict=True))))
        return keys

    # Leases

    def take_lease(self, row: RunRow, until: float, tick: float) -> RunRow:
        self.rows(sql.CLAIM, (self.owner, until, tick, row.key))
        return self.known_row(row.summary.run_id)

    def owners(self, beginning: str) -> list[str]:
        return [str(row[0]) for row in self.rows(sql.OWNERS, (beginning,))]

    def find_free(self, states: Collection[str], tags: Mapping[str, str], dead: Collection[str]) -> str | None:
        tagged, digests = sql.with_tags(tags)
        mine = f"{leases.this_host()}."
        asked = (list(states), self._now, mine, self._tick, mine, self._now, list(dead), *digests)
        found = self.rows(f"{sql.SELECT_FREE} AND {tagged} {sql.ONE_FREE}", asked)
        return str(found[0][0]) if found else None

    # Steps

    def append(self, key: int, event: Added, *, keyframe: bool = False, fence: int = 0) -> int:
        return int(self.rows(sql.APPEND, (key, fence, keyframe, *event))[0][0])

    def move(self, w: StepWrite, now: float, tick: float) -> bool:
        lease = (owner_of_moved(w, self.owner), now + w.lease, tick + w.lease)
        values = (w.next_state, w.status, w.step, now, *lease, failed_in(w), w.wake_at, w.key, w.step - 1, w.fence)
        return self.count(sql.MOVE, values) == 1

    def put_mark(self, row: RunRow, status: str, mark: StatusChange, now: float) -> None:
        kept = (mark.failed_in, mark.error, mark.attempt, owner_after(mark, row), versions_after(mark, row))
        self.count(sql.MARK, (status, mark.state, now, *kept, mark.wake_at, int(mark.release), row.key))

    def set_control(self, key: int, control: str | None) -> None:
        self.count(sql.CONTROL, (control, key))

    def next_part(self, row: RunRow) -> int:
        return int(self.rows(sql.NEXT_PART, (row.key, row.summary.step))[0][0])

    def frames(self, row: RunRow, step: int) -> tuple[str, list[bytes]]:
        return chain_of(self.rows(sql.FRAMES, {"key": row.key, "step": step}), row.summary.run_id, step)

    def prune(self, run_ids: Collection[str], before: float, dry_run: bool) -> Freed:
        keys = [row[0] for row in self.rows(sql.DOOMED, (list(run_ids), before))]
        freed = Freed(*self.rows(sql.FREED, (keys,))[0])
        for statement in () if dry_run else sql.PRUNE:
            self.count(statement, (keys,))
        return freed

    # Outside events and outside effects

    def first_delivery(self, key: int, name: str) -> Delivery | None:
        found = self.rows(sql.WAITING, (key, name))
        return delivery_of(found)

    def add_delivery(self, key: int, name: str, event_id: str | None, data: bytes, now: float) -> bool:
        return self.count(sql.DELIVER, (key, name, event_id, data, now)) > 0

    def use_up(self, delivery: int, step: int) -> None:
        self.count(sql.USE_UP, (step, delivery))

    def actions(self, key: int, step: int | None) -> list[tuple[int, ActionRow]]:
        return actions_of(self.rows(sql.ACTIONS, (key, step, step)))

    def put_action(self, key: int, step: int, action: ActionRow) -> None:
        values = (key, step, action.name, action.status, action.fence, self._now, action.data)
        self.count(sql.PUT_ACTION, values)


def _text(values: Mapping[str, str]) -> str:
    return dump(dict(values)).decode()


def chain_of(found: list[tuple[int, str, bytes]], run_id: str, step: int) -> tuple[str, list[bytes]]:
    """Return the state at `step` and the frames from its keyframe on. Raises StepUnknown."""
    if not found or found[-1][0] != step:
        raise no_step(run_id, step)
    return found[-1][1], [row[2] for row in found]


def delivery_of(found: list[tuple[int, str, bytes, float]]) -> Delivery | None:
    return Delivery(found[0][0], found[0][1], load(found[0][2]), found[0][3]) if found else None


def actions_of(found: list[tuple[int, str, str, int, bytes | None]]) -> list[tuple[int, ActionRow]]:
    return [(row[0], ActionRow(*row[1:])) for row in found]
