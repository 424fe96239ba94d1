"""Hold the built-in agent's machine: one table, (state, event) -> next state, and the handler of each state.

How it works
============

A run of the agent is one turn of a conversation. It is in one of five states. Each step calls the handler of the
present state. The handler gets the run's record (state.py). It returns what happened, which is the event, and the next
record. The event and this table say which state comes next; the machine (durable/machine.py) commits both as one step.
So a kill, an interrupt or a failure leaves behind the record of the last committed step. A run goes on from there, in
any process.

HYDRATING finds what the task touches in the notebook and lays out the turn's blocks. It happens once.

THINKING makes one call to the model. A reply that asks for tools goes on to ACTING. A reply that the provider broke off
to go on with later (`pause_turn`) is sent back unchanged: THINKING again. Any other reply is the answer, also one that
was cut off or refused. The record's notes say so, and the run is complete.

CONDENSING comes before a call whose prompt has grown too large, or too dear to read again. It makes old results into
stubs, or asks for a summary of old steps, and goes back to THINKING. What it takes out stays in the journal.

ACTING carries out every call of the reply, in order, and goes back to THINKING with all results at once. Where one of
them needs a person's word, none is carried out yet. The questions are committed and the run waits.

AWAITING_APPROVAL takes one delivered word a step. The engine wakes it: a state named AWAITING_X sleeps until an outside
event X is delivered, and costs nothing meanwhile. When nothing is left to ask, ACTING comes again, and finds the words.

What is not in the table is the engine's, and the same in every state. A handler that raises leaves the run FAILED; one
that is interrupted leaves it PAUSED. Both keep the state that it was in, and `resume` goes on from there. A limit on
steps or money that is reached raises. Steps that only ask, listen or condense do not count towards the limit of steps.

The picture in ARCHITECTURE.md is made from this table (tests/machine_drawing.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from agentnb.agent.approvals import AWAITING_APPROVAL
from agentnb.agent.deps import Services
from agentnb.agent.state import AgentState, Step, StepEvent
from agentnb.agent.states.acting import Acting, Listening
from agentnb.agent.states.condensing import Condensing
from agentnb.agent.states.hydrating import Hydrating
from agentnb.agent.states.thinking import Thinking
from agentnb.durable.events import COMPLETED


class Row(NamedTuple):
    """Holds one state: what makes its handler, and where each event leads."""

    handler: Callable[[Services], Callable[[AgentState], Step]]
    next: Mapping[StepEvent, str]


HYDRATING, THINKING, ACTING, CONDENSING = "HYDRATING", "THINKING", "ACTING", "CONDENSING"
BEGIN = HYDRATING

TABLE: Mapping[str, Row] = {
    HYDRATING: Row(Hydrating, {
        StepEvent.HYDRATED: THINKING,
    }),
    THINKING: Row(Thinking, {
        StepEvent.ASKED_FOR_TOOLS: ACTING,
        StepEvent.BROKE_OFF: THINKING,
        StepEvent.DOES_NOT_FIT: THINKING,
        StepEvent.ANSWERED: COMPLETED,
        StepEvent.OUTGROWN: CONDENSING,
    }),
    CONDENSING: Row(Condensing, {
        StepEvent.CONDENSED: THINKING,
    }),
    ACTING: Row(Acting, {
        StepEvent.CARRIED_OUT: THINKING,
        StepEvent.MUST_ASK: AWAITING_APPROVAL,
    }),
    AWAITING_APPROVAL: Row(Listening, {
        StepEvent.HEARD: AWAITING_APPROVAL,
        StepEvent.ALL_SAID: ACTING,
    }),
}  # fmt: skip
