"""Record what every cell runs, unless it is switched off: a tool id of `sys.monitoring` is held only meanwhile."""

from __future__ import annotations

from typing import Any

from agentnb.context.notebook.trace import ProfileHook, Ran, Recording, Watch, is_users, unavailable, watching

INSTEAD = "Put %%agent_trace above a cell instead."


class CellTrace:
    """Holds one cell at a time, from IPython's pre_run_cell to its post_run_cell."""

    def __init__(self) -> None:
        self._watch: Watch | ProfileHook | None = None
        self._info: Any = None
        self.note = ""

    def begin(self, info: object, *, asked: bool = False) -> None:
        """Record the cell that `info` stands for. Cells that it runs in turn (`%run`, a macro) belong to it.

        `asked` for this one cell: a profile hook does it where it cannot be had for next to nothing.
        """
        if self._watch is not None:
            return
        record = Recording(is_users)
        if asked:
            self._watch, self._info = watching(record), info
            return
        why = unavailable()
        self.note = f"{why}. {INSTEAD}" if why else ""
        watch = Watch(record)
        if not why and watch.start():
            self._watch, self._info = watch, info

    def end(self, info: object) -> tuple[Ran, ...]:
        """Return what the cell ran, with an error or without; nothing for a cell that is not the recorded one."""
        return self.stop() if self._watch is not None and info is self._info else ()

    def stop(self) -> tuple[Ran, ...]:
        """End whatever is being recorded."""
        watch, self._watch, self._info = self._watch, None, None
        if watch is None:
            return ()
        watch.stop()
        return watch.record.ran
