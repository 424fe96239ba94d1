"""State machines that workers import by name. `log` in a context is a file that gets a line per execution of a step."""

from __future__ import annotations

import os
import time
from pathlib import Path

import agentnb


def register(machine):
    def count(context):
        step, log = machine.current.step, Path(context["log"])
        write(log, f"{machine.current.run_id} {step} {os.getpid()}\n")
        wanted = context.get("processes", 0)
        while wanted and len({line.split()[2] for line in log.read_text().splitlines()}) < wanted:
            time.sleep(0.01)  # they are waited for, however late they come
        time.sleep(context.get("seconds", 0))
        context["n"] += 1
        return ("COMPLETED" if step == context["most"] else "COUNT"), context

    machine.register_state("COUNT", count)


def write(log, line):
    out = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(out, line.encode())
    os.close(out)


def register_trouble(machine):
    def trouble(context):
        if context["kind"] == "raise":
            raise ValueError("the gauge is broken")
        if context["kind"] == "kill":
            os._exit(1)
        if context["kind"] == "nonsense":
            return context
        return "COMPLETED", context

    machine.register_state("TROUBLE", trouble)


not_callable = "text"


@agentnb.tool(safe=True)
def gauge(station: str) -> str:
    """The water level at a station."""
    return f"{station}: 3.20 m"


def forget(variable):
    """Take a variable of the worker's environment away, and give back what it was."""
    return os.environ.pop(variable)


def remember(variable, value):
    os.environ[variable] = value
