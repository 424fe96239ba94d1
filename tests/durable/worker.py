"""A process that drives runs for the tests: `python worker.py HOME LOG RUNS STEPS SEED`.

Each execution of a step appends one line to LOG with a single write: what the world outside saw of it.
"""

from __future__ import annotations

import os
import random
import sys
import time

from agentnb.durable.machine import AgentStateMachine
from agentnb.errors import ActionUnsure, LeaseHeld, RunPaused, StepConflict


def main(home: str, log: str, runs: str, steps: str, seed: str) -> None:
    machine = AgentStateMachine(home)
    out = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    chance = random.Random(int(seed))

    def work(context):
        step, run_id = machine.current.step, machine.current.run_id
        os.write(out, f"{run_id} {step} {os.getpid()}\n".encode())
        if chance.random() < 0.02:  # else the processes would hardly ever meet
            time.sleep(0.0005)
        context["n"] += 1
        context["log"] = [*context["log"][-20:], f"step {step}"]
        return ("COMPLETED" if step == int(steps) else "WORK"), context

    machine.register_state("WORK", work)
    open_runs = runs.split(",")
    print("ready", flush=True)
    sys.stdin.readline()
    while open_runs:
        run_id = chance.choice(open_runs)
        try:
            if machine.run_to_end(run_id, max_steps=chance.randrange(1, 20)).finished:
                open_runs.remove(run_id)
            elif chance.random() < 0.5:
                give_back(machine, run_id)
                time.sleep(chance.uniform(0, 0.02))  # SQLite's waiters look again at such intervals
        except (LeaseHeld, StepConflict):
            time.sleep(0.0002)
        except (RunPaused, ActionUnsure):
            machine.resume(run_id)


def give_back(machine, run_id):
    """Let another process have it."""
    hold = machine.journal.holds.get(run_id)
    if hold is not None and hold.valid:
        hold.valid = False
        machine.journal.release(hold.key, hold.fence)


if __name__ == "__main__":
    main(*sys.argv[1:])
