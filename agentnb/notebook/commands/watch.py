"""Show, for `%agent_runs watch`, a run that goes on elsewhere (another kernel, a worker) as its own notebook shows it.

What is shown comes from the journal. A bus (`AgentNB.bus`) tells at once that there is news, and streams the answer.
Without one the journal is looked at twenty times a second, and the answer comes with its step.
"""

from __future__ import annotations

import queue

from agentnb.agent.run_document import AgentRun, document_of, state_of
from agentnb.durable.events import JOURNALED_KINDS, Event
from agentnb.durable.journal import leases, records
from agentnb.durable.machine import AgentStateMachine
from agentnb.errors import RunInterrupted
from agentnb.notebook.kernel import Notebook
from agentnb.notebook.live.live_view import View
from agentnb.notebook.main_thread import TICK


class RunWatch:
    """Holds one run, watched from the main thread until it stops; an interrupt ends the watching and not the run."""

    def __init__(self, notebook: Notebook, run_id: str) -> None:
        session = notebook.session
        self._session, self._machine, self._run_id = session, session.machine(), run_id
        self._heard: queue.SimpleQueue[Event] = queue.SimpleQueue()
        run, self._history = self._machine.get(run_id), self._machine.history(run_id)
        begun = session.clock.monotonic() - max(0.0, session.clock.now() - run.created)
        self._view = View(notebook, run, since=begun, beside=self._beside)

    def watch(self) -> AgentRun:
        """Show the run until it has ended, is paused or waits; gives it as it stands then."""
        for event in self._history:
            self._view.feed(event)
        with self._session.follow(after=self._history[-1].seq) as follower:
            follower.subscribe(self._heard.put, run_id=self._run_id)
            try:
                self._until_it_stops()
            except KeyboardInterrupt:
                todo = f"It goes on where it runs; %agent_runs pause {self._run_id} would stop it."
                raise RunInterrupted(f"no longer watching run {self._run_id}", todo=todo) from None
            finally:
                run = AgentRun(document_of(self._machine.get(self._run_id), self._machine.history(self._run_id)))
                self._view.finish(run.receipt)
        return run

    def _until_it_stops(self) -> None:
        while self._machine.get(self._run_id).status == records.RUNNING:
            self._view.paint()
            for event in self._wait():
                self._view.feed(event)

    def _wait(self) -> list[Event]:
        """Return what has come by when something of the journal has, or a moment has passed."""
        try:
            events = [self._heard.get(timeout=TICK)]
        except queue.Empty:
            return []
        while not self._heard.empty():
            events.append(self._heard.get())
        if any(event.kind in JOURNALED_KINDS for event in events):
            events.append(_picture(self._machine, events[-1]))
        return events

    def _beside(self) -> str:
        owner = self._machine.journal.row(self._run_id).owner
        if owner is None or leases.is_dead(owner):
            return "no process is at work on it just now"
        return f"at work: {leases.describe(owner)}"


def _picture(machine: AgentStateMachine, event: Event) -> Event:
    """Return what the journal holds of the run, as the signal with which its own notebook is shown the same."""
    shown = state_of(machine.get(event.run_id).context).shown()
    return Event(
        run_id=event.run_id, step=event.step, kind="view", state=event.state, next_state=event.next_state,
        at=event.at, data={"context": shown},
    )  # fmt: skip
