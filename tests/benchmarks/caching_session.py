"""A session of notebook turns that agentnb, the blueprint and other clients all go through, on one simulator.

The turns are made by make_prefix_edits.py: a small project, edits between the turns, and tasks that name six
definitions each, of which about 60 % are as before, 25 % changed and 15 % new. Each task also asks for tool steps,
which the simulated model makes: `inspect` of names whose results are given here. Beside that a notebook grows: some
cells have run before the first task, two more run before each, and each seventh is an earlier one that runs again.
Pauses between the turns are 1 to 25 minutes, 12 s pass with each tool step, all on a virtual clock.

The sizes are those of the session by which the goals of bench_caching.py were set: what every call begins with has
6.4k tokens, the definitions that a task touches 1.5k of source. How much a tool step brings was not said of it. Its
figures (1.10 times the bound with everything written for an hour, 7.3 with everything sent again) leave about 215
tokens a step, call and result, and so much a step has here; clients that mark the system text and the last messages
for an hour cost 1.28 there and here. The more a step brings, the more is new in each call, and the higher is what
nobody can go below: `bench_caching.py --result` shows it.
"""

from __future__ import annotations

import ast
import itertools
import random
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import prefix_replay as pr
from make_prefix_edits import synthetic

from agentnb.agent.hydration.project_context import Pins
from agentnb.agent.tools.tool import tool
from agentnb.context.notebook.outputs import Output
from agentnb.models.catalog import lookup
from agentnb.models.messages import Usage
from agentnb.providers import anthropic, google, openai_responses
from agentnb.session import Session
from agentnb.settings import Settings
from agentnb.simulator import SimClock, Simulator

CELLS_BEFORE = 8
RESULT = 170  # tokens, about, that the tools of one step bring together
STATEMENTS = (2, 4)  # in the loop of each function: a definition has some 135 tokens
STEP_SECONDS = 12.0
FIRST, LAST = 60.0, 1500.0  # seconds: the pauses between two turns
WORDS = [
    a + b for a, b in itertools.product(("ta", "ri", "mo", "ke", "lu", "sa", "pe", "vo"), ("n", "r", "st", "l", "k"))
]
SCHEMA = "\n".join(
    f"create table table_{i:02} (id integer primary key, owner_{i} text not null, amount_{i} real, changed_{i} date);"
    for i in range(68)
)
"""A file that the user has added: with it, what every call begins with is as large as in the reference session."""
_DECODE = {
    "anthropic": anthropic.decode_usage,
    "google": google.decode_usage,
    "openai": openai_responses.decode_usage,
}


@dataclass(frozen=True)
class Cell:
    """One run of a cell: its id, its number, its source and what it printed."""

    id: str
    number: int
    source: str
    output: str


@dataclass(frozen=True)
class Turn:
    """`edits` come before the task; `pause` seconds pass before both; `named` are the definitions that the task names
    as they are then, `sources` all of the project's by their names. `cells` run right before the task."""

    edits: Sequence[Sequence[Any]]
    task: str
    pause: float
    named: Sequence[str]
    sources: Mapping[str, str]
    cells: Sequence[Cell] = ()


@dataclass(frozen=True)
class Story:
    """The whole session: the project as it is at first, its turns, how many tools each step calls, and how many tokens
    they bring together."""

    files: dict[str, list[str]]
    turns: Sequence[Turn]
    parallel: int
    steps: int
    result: int


def story(turns: int, steps: int, parallel: int, *, result: int = RESULT, seed: int = 7) -> Story:
    rng = random.Random(seed)
    first, *rest = itertools.islice(synthetic(statements=STATEMENTS), turns + 1)
    files = {path: list(lines) for path, lines in first["files"].items()}
    present = {path: list(lines) for path, lines in files.items()}
    out: list[Turn] = []
    notebook = _notebook(seed)
    for number, turn in enumerate(rest):
        for path, start, stop, lines in turn["edits"]:
            present.setdefault(path, [])[start:stop] = lines
        question = re.sub(r" Inspect `[^`]+` for it\.", "", str(turn["task"]))
        rounds = (
            "inspect " + ", ".join(f"probe_{number}_{step}_{i}" for i in range(parallel)) for step in range(steps)
        )
        sources = dict(sources_of(present))
        out.append(
            Turn(
                edits=turn["edits"],
                task=f"{question} First {' then '.join(rounds)}.",
                pause=rng.uniform(FIRST, LAST) if number else 0.0,
                named=[sources[name] for name in re.findall(r"`([\w.]+)`", question)],
                sources=sources,
                cells=[next(notebook) for _ in range(2 if number else CELLS_BEFORE)],
            )
        )
    return Story(files, out, parallel, steps, result)


def _notebook(seed: int) -> Iterator[Cell]:
    """Cells in the order of running. Each seventh run is one of an earlier cell, which prints something else."""
    rng = random.Random(seed)
    sources: dict[str, str] = {}
    for number in itertools.count(1):
        cell = rng.choice(list(sources)) if number % 7 == 0 else f"cell-{number}"
        words = [rng.choice(WORDS) for _ in range(6)]
        sources.setdefault(
            cell, f"{words[0]}_{number} = table.groupby('{words[1]}').{words[2]}.mean()\n{words[0]}_{number}"
        )
        rows = (f"{rng.choice(WORDS):8} {rng.uniform(0, 99):8.3f}" for _ in range(6))
        yield Cell(cell, number, sources[cell], "\n".join([words[1], *rows]))


def sources_of(files: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str]]:
    """(`package.module.function`, its source) of every function in the files."""
    for path, lines in files.items():
        text = "\n".join(lines)
        for node in ast.parse(text).body:
            if isinstance(node, ast.FunctionDef):
                name = f"{path.removesuffix('.py').replace('/', '.')}.{node.name}"
                yield name, ast.get_source_segment(text, node) or ""


def result_of(name: str, given: Story) -> str:
    """What `inspect` brings of a probe: the same words whoever asks."""
    rng = random.Random(name)
    return " ".join(rng.choice(WORDS) for _ in range(round(given.result / given.parallel * 0.87)))


@dataclass(frozen=True)
class Told:
    """What went over the wire: each call's usage, what was spent beside the calls (in US dollars), and the requests.

    `chosen` are the definitions that each turn's task touched, with the form (full or signature) that was chosen.
    """

    usages: list[Usage]
    spent: float
    bodies: list[Any]
    answers: list[str]
    chosen: list[dict[str, str]]
    segments: int = 0
    pings: int = 0
    cells: Sequence[Sequence[str]] = ()
    """The cells that were told in each turn, as they would be pasted."""


def by_agentnb(given: Story, address: str, home: Path, **settings: Any) -> Told:
    """The real agent with the settings that a user gets, but for the ones given."""
    clock, model = SimClock(), lookup(address)
    project = pr.Project(home / "project", {path: list(lines) for path, lines in given.files.items()})
    for path in project.files:
        project.write(path)
    with (
        Simulator(speed=0, record=True, clock=clock) as simulator,
        _session(home, address, simulator, clock, settings) as session,
    ):
        _with_probes(session, given, clock)
        (home / "project" / "tables.sql").write_text(SCHEMA, "utf-8")
        session.keep_pins(Pins(files=[str(home / "project" / "tables.sql")]))
        pause = Pause(clock)
        session.keepalive._wait = pause.wait
        runs = []
        for number, turn in enumerate(given.turns):
            later = given.turns[number + 1 : number + 2]
            pause.left = later[0].pause if later else 0.0
            runs.append(_turn(session, project, turn, number))
            session.keepalive.join(60)
            clock.advance(pause.left)
        seen = [item for item in simulator.requests if item.usage is not None]
        session.close_objects()
        return Told(
            usages=[_DECODE[model.provider](item.usage or {}) for item in seen],
            spent=session.objects.spent if model.provider == "google" else 0.0,
            bodies=[item.body for item in seen],
            answers=[run.text for run in runs],
            chosen=[_chosen(run) for run in runs],
            segments=sum(any("Prompt begun anew" in note for note in run.receipt["notes"]) for run in runs),
            pings=session.keepalive.sent,
            cells=[_cells_told(run, session) for run in runs],
        )


@contextmanager
def _session(
    home: Path, address: str, simulator: Simulator, clock: SimClock, settings: dict[str, Any]
) -> Iterator[Session]:
    chosen = Settings(model=address, home=home / "home", sim_speed=0, max_steps=60)
    with pr.project_on_path(home / "project"):
        session = Session(
            settings=chosen.with_changes(**settings),
            simulated=simulator,
            clock=pr.Follows(clock),
            environment={},
            project=home / "project",
        )
        try:
            yield session
        finally:
            session.close()


class Pause:
    """The pause behind a turn, as the pings see it: waiting moves the clock as far as the pause lasts."""

    def __init__(self, clock: SimClock) -> None:
        self._clock = clock
        self.left = 0.0

    def wait(self, stopped: threading.Event, seconds: float) -> bool:
        if stopped.is_set() or seconds > self.left:
            return True
        self.left -= seconds
        self._clock.advance(seconds)
        return False


def _with_probes(session: Session, given: Story, clock: SimClock) -> None:
    @tool(safe=True)
    def inspect(name: str) -> str:
        """Look up a definition or a variable by its name: its source, or what it holds."""
        clock.advance(STEP_SECONDS / given.parallel)
        return result_of(name, given)

    session.extra_tools["inspect"] = inspect


def _turn(session: Session, project: pr.Project, turn: Turn, number: int) -> Any:
    for cell in turn.cells:
        session.cells.record(cell.source, cell_id=cell.id, number=cell.number)
        outputs = [Output(kind="result", text=cell.output)]
        session.log.record(cell.source, cell=cell.id, number=cell.number, outputs=outputs)
    touched = project.apply(turn.edits)
    if touched or not number:
        pr.import_again(session, project)
    tools = session.settings.tools  # the probe replaces the one of its name
    request = session.request(turn.task, cell=f"ask-{number}", execution=str(number), tools=tools)
    agent, run_id = session.agent(), session.new_run_id()
    agent.begin(request, run_id)
    run = agent.drive(run_id)
    if agent.raised is not None:
        raise agent.raised
    return run


def _chosen(run: Any) -> dict[str, str]:
    held = run.receipt["definitions"]
    return {item["name"]: item["form"] for item in held if not item["reason"].endswith("(earlier turn)")}


def _cells_told(run: Any, session: Session) -> list[str]:
    told = (item["execution_count"] for item in run.receipt["cells"] if item["new"] and item["form"] != "outline")
    runs = (session.log.by_number[number] for number in told)
    return ["\n".join([each.source, *(output.text for output in each.outputs)]) for each in runs]


def one_text_each(given: Story, told: Told) -> Iterator[tuple[float, str]]:
    """Each call of the session in the blueprint's order, with the pause before it: system, outlines, the definitions
    of the turn, then everything that was said, tool calls too."""
    system = _system(told)
    said: list[str] = []
    for number, (turn, answer) in enumerate(zip(given.turns, told.answers, strict=True)):
        said += [*told.cells[number], turn.task]
        for step in range(given.steps + 1):
            yield (turn.pause if step == 0 else STEP_SECONDS), "\n\n".join([system, *turn.named, *said])
            if step < given.steps:
                names = [f"probe_{number}_{step}_{i}" for i in range(given.parallel)]
                said += [f"inspect({name})\n{result_of(name, given)}" for name in names]
        said.append(answer)


def _system(told: Told) -> str:
    """agentnb's instructions and the project's outlines, whichever wire they went over."""
    body = told.bodies[0]
    if "system" in body:
        return "\n\n".join(block["text"] for block in body["system"])
    if "systemInstruction" in body:
        return "\n\n".join(part["text"] for part in body["systemInstruction"]["parts"])
    return str(body.get("instructions") or "") + "\n\n".join(_developer(body["input"]))


def _pasted(turn: Turn, chosen: Mapping[str, str]) -> list[str]:
    texts = {name: turn.sources[name] for name in chosen if name in turn.sources}
    return [text if chosen[name] == "full" else text.partition("\n")[0] for name, text in texts.items()]


def _developer(items: Sequence[Any]) -> Iterator[str]:
    for item in items:
        if item.get("role") in ("system", "developer"):
            yield from (part["text"] for part in item["content"])


def for_peers(given: Story, told: Told) -> dict[str, Any]:
    """The session as another client is told of it: agentnb's own system text, and before each task the definitions
    that agentnb chose for it, as they are then: the same context for everybody. `told` is over Anthropic's wire."""
    return {
        "system": _system(told),
        "turns": [
            {"pause": turn.pause, "text": "\n\n".join([*cells, *_pasted(turn, chosen), turn.task])}
            for turn, chosen, cells in zip(given.turns, told.chosen, told.cells, strict=True)
        ],
        "results": {
            name: result_of(name, given) for turn in given.turns for name in re.findall(r"probe_\w+", turn.task)
        },
        "step_seconds": STEP_SECONDS / given.parallel,
    }
