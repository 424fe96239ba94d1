"""What %agent_runs and %agent_context do. Each subcommand shows one table or one run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IPython.display import display

from agentnb import canonical
from agentnb.context.definitions import Definition
from agentnb.context.outlines import Outline
from agentnb.context.resolution import Resolver, Unresolved
from agentnb.context.schemas import kind_of, read_schema
from agentnb.context.secret_shapes import KINDS
from agentnb.errors import InputError, SchemaUnread, nearest
from agentnb.notebook import flags
from agentnb.notebook.asking import show_run
from agentnb.notebook.figures import plural
from agentnb.notebook.flags import Flag
from agentnb.notebook.kernel import RESULT, Notebook
from agentnb.notebook.render import table_bundle, table_html, table_text
from agentnb.notebook.sentences import image_line
from agentnb.notebook.tables import Code, Figure, Stacked
from agentnb.prompt.pieces import OutlinePart
from agentnb.runs.hydration import Pins
from agentnb.runs.machine import Replay
from agentnb.runs.project import FILE_CHARACTERS, read_added
from agentnb.runs.services import Limits
from agentnb.runs.session import working_directory

if TYPE_CHECKING:
    from agentnb.runs.record import AgentRun
    from agentnb.runs.session import Session

RESUME_FLAGS = (
    Flag(name="max-steps", value="N", help="steps in all that the run may take"),
    Flag(name="budget", value="USD", help="US dollars in all that the run may cost"),
    Flag(name="allow", value="NAMES", help="tools that may act"),
    Flag(name="unsure", value="WHAT", help="repeat or skip an action that may have happened already"),
    Flag(name="accept-versions", help="go on although the run was begun under another version"),
    Flag(name="take-over", help="take the run from a worker that is believed dead"),
)


def show_table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    notes: Sequence[str] = (),
    *,
    figure: str = "",
) -> None:
    """One table as html and as text; a `figure` is finished html that stands above the html's table."""
    display(table_bundle(title, columns, rows, notes, figure=figure), raw=True)


def dispatch(magic: str, table: dict[str, Callable[[str], None]], line: str) -> None:
    name, _, rest = line.strip().partition(" ")
    if name not in table:
        hint = nearest(name, list(table)) if name else ""
        what = f"%{magic} has no subcommand {name!r}" if name else f"%{magic} wants a subcommand"
        raise InputError(what, todo=f"{hint} Known: {', '.join(table)}.".strip())
    table[name](rest.strip())


# --- %agent_runs -------------------------------------------------------------------------------------------------


def agent_runs(notebook: Notebook, line: str) -> None:
    """list | show | resume | pause | fork | replay | export"""
    session = notebook.session
    table: dict[str, Callable[[str], None]] = {
        "list": lambda rest: _runs_list(session, rest),
        "show": lambda rest: _runs_show(session, rest),
        "resume": lambda rest: _runs_resume(notebook, rest),
        "pause": lambda rest: _runs_pause(session, rest),
        "fork": lambda rest: _runs_fork(session, rest),
        "replay": lambda rest: _runs_replay(session, rest),
        "export": lambda rest: _runs_export(session, rest),
    }
    dispatch("agent_runs", table, line)


def _runs_list(session: Session, rest: str) -> None:
    if rest and not rest.isdigit():
        raise InputError(f"%agent_runs list wants a number, not {rest!r}", todo="e.g. %agent_runs list 50")
    found = session.machine().journal.runs(limit=int(rest or 20))
    rows = [
        (
            Code(run.run_id),
            _state_of(run),
            run.step,
            run.tags.get("model", ""),
            run.tags.get("task", ""),
        )
        for run in found
    ]
    notes = [] if rows else ["No run yet."]
    title, columns = "Runs, newest first", ("run", "state", "steps", "model", "task")
    stacked = [(state, Stacked(task, (run, plural(steps, "step"), model))) for run, state, steps, model, task in rows]
    bundle = {
        "text/html": table_html(title, ("state", "task and run"), stacked, notes),
        "text/plain": table_text(title, columns, rows, notes),
    }
    display(bundle, raw=True)


def _state_of(run: Any) -> str:
    """The state, or the status where that says more: a paused run is in a state but goes nowhere."""
    if run.failed_in:
        return f"FAILED in {run.failed_in}"
    return run.state if run.status in ("running", "completed") else f"{run.status} in {run.state}"


def _runs_show(session: Session, rest: str) -> None:
    from agentnb.notebook.render import bundle

    display(bundle(session.find_run(_one_run(session, rest)).receipt), raw=True)


def _one_run(session: Session, rest: str) -> str:
    """The run that was named, or the newest one."""
    if rest:
        return rest.split()[0]
    newest = session.machine().journal.runs(limit=1)
    if not newest:
        raise InputError("the journal holds no run yet", todo="Run %%agent first.")
    return newest[0].run_id


def _runs_resume(notebook: Notebook, rest: str) -> None:
    """Go on with a paused or failed run from its last committed step."""
    word, _, line = rest.partition(" ")
    given, words = flags.split_line(line, RESUME_FLAGS)
    session = notebook.session
    if not word or words:
        raise InputError("%agent_runs resume wants one run", todo="e.g. %agent_runs resume r-20260101-120000-ab12")
    run_id = session.full_run_id(word)
    limits = Limits(
        max_steps=flags.number(given, "max-steps", int),
        budget=flags.number(given, "budget", float),
        allow=flags.names(given, "allow"),
    )

    def finish(run: AgentRun) -> None:
        notebook.shell.user_ns[RESULT] = run

    show_run(notebook, prepare=lambda agent: agent.resume(run_id, limits, given), run_id=run_id, finish=finish)


def _runs_pause(session: Session, rest: str) -> None:
    """Ask a run that goes on elsewhere (another kernel, a worker) to stop after its present step."""
    run_id = session.full_run_id(_wanted_run(rest, "pause"))
    session.machine().pause(run_id)
    note = f"It stops after its present step; %agent_runs resume {run_id} goes on."
    show_table("Run paused", ("run",), [(Code(run_id),)], [note])


def _runs_fork(session: Session, rest: str) -> None:
    """A new run from a step of an old one; nothing is executed yet."""
    run_id, step = session.origin(_wanted_run(rest, "fork").replace(" ", ":"))
    new = session.fork(run_id, step)
    note = f"Nothing was executed: %agent_runs resume {new} goes on from there."
    show_table("Run forked", ("new run", "from", "step"), [(Code(new), Code(run_id), step)], [note])


def _runs_replay(session: Session, rest: str) -> None:
    """Every step again with the recorded replies and results: no model is asked, nothing acts, nothing is committed."""
    run_id = session.full_run_id(_one_run(session, rest))
    agent = session.agent()
    last = agent.machine.get(run_id).step
    rows = [_replay_row(agent.machine.replay(run_id, step), step) for step in range(1, last + 1)]
    notes = ["Replayed from the journal: no model was asked. A difference means that the notebook or agentnb changed."]
    show_table(f"Replay of {run_id}", ("step", "leads to", "recorded", "result"), rows, notes)


def _replay_row(replay: Replay, step: int) -> tuple[object, ...]:
    differing = [
        name
        for name in sorted({*replay.context, *replay.recorded_context})
        if replay.context.get(name) != replay.recorded_context.get(name)
    ]
    same = "same" if replay.same else f"differs in {', '.join(differing) or 'the state'}"
    return step, replay.next_state, replay.recorded_state, same


def _wanted_run(rest: str, command: str) -> str:
    if not rest:
        raise InputError(
            f"%agent_runs {command} wants a run", todo=f"e.g. %agent_runs {command} r-20260101-120000-ab12"
        )
    return rest


def _runs_export(session: Session, rest: str) -> None:
    word, _, target = rest.partition(" ")
    if not word or not target.strip():
        raise InputError("%agent_runs export wants a run and a file", todo="e.g. %agent_runs export RUN run.json")
    run = session.find_run(word)
    file = Path(target.strip()).expanduser()
    try:
        file.write_bytes(canonical.dump(run.receipt))
    except OSError as error:
        raise InputError(f"the file cannot be written: {error.strerror}", about=str(file)) from error
    show_table("Run exported", ("run", "file", "bytes"), [(Code(run.run_id), str(file), f"{file.stat().st_size:,}")])


# --- %agent_context ----------------------------------------------------------------------------------------------


def agent_context(session: Session, run: AgentRun | None, line: str) -> None:
    """show | why | pin | unpin | add | allow | disallow"""
    table: dict[str, Callable[[str], None]] = {
        "show": lambda _: _context_show(session, run),
        "why": lambda rest: _context_why(session, run, rest),
        "pin": lambda rest: _context_pin(session, rest),
        "unpin": lambda rest: _context_unpin(session, rest),
        "add": lambda rest: _context_add(session, rest),
        "allow": lambda rest: _context_allow(session, run, rest),
        "disallow": lambda rest: _context_disallow(session, rest),
    }
    dispatch("agent_context", table, line)


def _context_show(session: Session, run: AgentRun | None) -> None:
    pins = session.pins
    pinned = [f"Pinned: {', '.join(pins.names)}."] if pins.names else []
    pinned += [f"Allowed, although it looks like a secret: {', '.join(pins.allow)}."] if pins.allow else []
    added = [f"Added: {', '.join(map(_nearby, pins.files))}."] if pins.files else []
    added += [f"Schemas: {', '.join(sorted(pins.schemas))}."] if pins.schemas else []
    modules = [f"{part.module} (in part)" if part.partial else part.module for part in _outlines(session)]
    added += [f"Outlines of your modules in use: {', '.join(modules)}."] if modules else []
    index = [f"{item}." for item in session.indexer.progress()]
    if run is None and (pinned or added):
        show_table(f"Context of the next task ({session.thread})", (), (), [*pinned, *added, *index])
        return
    if run is None:
        raise InputError("there is no conversation yet", todo="Run %%agent first, or %%agent --dry-run.")
    rows = [
        (
            Code(item["name"]),
            _place(item),
            item["form"],
            Figure(f"≈ {item['tokens']:,}"),
            "new" if item.get("new") else "held",
            item["reason"],
        )
        for item in run.receipt["definitions"]
    ]
    pictures = [f"Picture: {image_line(item)}." for item in run.receipt.get("images", ())]
    redacted = [f"Redacted: {item['kind']} as {item['mark']}." for item in run.receipt["redactions"]]
    show_table(
        f"Definitions in the conversation ({run.thread})",
        ("name", "where", "form", "tokens", "this turn", "why"),
        rows,
        [*pinned, *added, *_left_out(run), *redacted, *pictures, *run.receipt["notes"], *index],
    )


def _left_out(run: AgentRun) -> list[str]:
    """How many definitions the last task left out; `why` has the reason for each."""
    names = [item["name"] for item in run.receipt.get("left_out", ())]
    if not names:
        return []
    more = ", …" if len(names) > LEFT_OUT_SHOWN else ""
    shown = ", ".join(names[:LEFT_OUT_SHOWN])
    return [f"Left out: {len(names)} ({shown}{more}); %agent_context why NAME says why."]


LEFT_OUT_SHOWN = 5


def _place(item: dict[str, Any]) -> str:
    if item.get("file"):
        first, last = item["lines"]
        return f"{item['file']}:{first}" + (f"-{last}" if last != first else "")
    return f"cell {item.get('cell') or '?'}"


def _context_why(session: Session, run: AgentRun | None, rest: str) -> None:
    """Why a definition is in the conversation; or what the name means, and that it was not touched."""
    name = rest.strip().strip("`@")
    if not name:
        raise InputError("%agent_context why wants a name", todo="e.g. %agent_context why tides.harmonic")
    if _explained(run, name, called=name):
        return
    found = _resolved(session, name)
    if isinstance(found, Unresolved):
        raise InputError(f"{name!r} is not in the conversation, and {found.reason}", todo=found.nearest)
    if _explained(run, name, called=found.name):  # the task may call it by another name
        return
    place = found.file or f"cell {found.cell}"
    outlined = any(found.name == f"{part.module}.{line.name}" for part in _outlines(session) for line in part.lines)
    what = "only its signature, in the project's outline" if outlined else "not sent"
    row = (found.name, f"{place}:{found.lines[0]}", f"{what}: no task has named it or needed it one step on")
    show_table(f"Why not {name}", ("name", "where", "reason"), [row])


def _explained(run: AgentRun | None, name: str, *, called: str) -> bool:
    """Show why what is `called` so was sent, or was left out; False where the last run did neither."""
    receipt = run.receipt if run is not None else {"definitions": ()}
    held = [item for item in receipt["definitions"] if _is_called(item["name"], called)]
    out = [item for item in receipt.get("left_out", ()) if _is_called(item["name"], called)]
    if held:
        show_table(f"Why {name}", ("name", "where", "reason"), [(i["name"], _place(i), i["reason"]) for i in held])
    elif out:
        show_table(f"Why not {name}", ("name", "left out because"), [(i["name"], i["reason"]) for i in out])
    return bool(held or out)


def _outlines(session: Session) -> list[Outline]:
    """The outlines that a new project section would have."""
    parts = session.hydrator().parts(len)
    return [part.outline for part in parts if isinstance(part, OutlinePart)]


def _resolved(session: Session, name: str) -> Definition | Unresolved:
    session.refresh_index()
    resolver = Resolver(
        cells=session.cells, namespace=session.namespace, project=session.project, packages=session.indexer
    )
    return resolver.resolve(name)


def _context_pin(session: Session, rest: str) -> None:
    """Keep a definition in every turn's context, whether the task names it or not."""
    name = _wanted(rest, "pin", "tides.predict")
    if kind_of(session.namespace.get(name)):
        _pin_schema(session, name)
        return
    found = _resolved(session, name)
    if isinstance(found, Unresolved):
        raise InputError(f"{name!r} cannot be pinned: {found.reason}", todo=found.nearest)
    pins = session.pins
    if found.name not in pins.names:
        pins.names.append(found.name)
    settings = session.settings
    count = session.samples.counter_for(settings.model).count
    note = session.hydrator().why_not_in_full(found.name, count=count, budget=settings.context_tokens)
    _show_pins(session, pins, [note] if note else [])


def _pin_schema(session: Session, name: str) -> None:
    """Read a database's schema, now and only now, and keep it in the project section without its secrets."""
    scrub = session.scrubber()
    try:
        text = read_schema(session.namespace[name])
    except SchemaUnread as error:
        raise SchemaUnread(error.what, about=scrub(error.about), todo=error.todo) from None  # it may hold the address
    pins = session.pins
    pins.schemas[name] = scrub(text)
    _show_pins(session, pins)


def _context_unpin(session: Session, rest: str) -> None:
    """Let a pinned definition or an added file go; what was sent stays in the conversation."""
    name = _wanted(rest, "unpin", "tides.predict")
    pins = session.pins
    fitting = [
        pin for pin in [*pins.names, *pins.files, *pins.schemas] if _is_called(pin, name) or pin.endswith(f"/{name}")
    ]
    if not fitting:
        hint = nearest(name, [*pins.names, *pins.files, *pins.schemas])
        raise InputError(f"{name!r} is not pinned", todo=f"{hint} See %agent_context show.".strip())
    pins.names[:] = [pin for pin in pins.names if pin not in fitting]
    pins.files[:] = [pin for pin in pins.files if pin not in fitting]
    pins.schemas = {name: text for name, text in pins.schemas.items() if name not in fitting}
    _show_pins(session, pins)


def _context_add(session: Session, rest: str) -> None:
    """Put a file into the project section: frozen with the segment, sent again when it changes."""
    file = Path(_wanted(rest, "add", "schema.sql")).expanduser().resolve()
    if read_added(file) is None:
        raise InputError("the file cannot be read as UTF-8 text", about=str(file), todo="Give a text file that exists.")
    pins = session.pins
    if str(file) not in pins.files:
        pins.files.append(str(file))
    large = file.stat().st_size > FILE_CHARACTERS
    _show_pins(
        session, pins, [f"Only the beginning and the end of {file.name} go along: it is large."] if large else []
    )


def _context_allow(session: Session, run: AgentRun | None, rest: str) -> None:
    """Let what was taken for a secret stay from now on: one mark, or with a kind's name all of that kind."""
    name = _wanted(rest, "allow", "[redacted:secret:3f2]")
    known = [item["mark"] for item in (run.receipt["redactions"] if run is not None else ())]
    found = _mark_among(known, name)
    if found not in known and found not in KINDS:
        hint = nearest(name, [*known, *KINDS])
        raise InputError(
            f"{name!r} is no mark of the last run and no kind of secret",
            todo=f"{hint} See %agent_context show.".strip(),
        )
    pins = session.pins
    if found not in pins.allow:
        pins.allow.append(found)
    _show_pins(session, pins)


def _context_disallow(session: Session, rest: str) -> None:
    """Take an allowed secret out again from now on; what was sent stays in the conversation."""
    pins = session.pins
    name = _mark_among(pins.allow, _wanted(rest, "disallow", "[redacted:secret:3f2]"))
    if name not in pins.allow:
        raise InputError(f"{name!r} is not allowed", todo=nearest(name, pins.allow) or "See %agent_context show.")
    pins.allow.remove(name)
    _show_pins(session, pins)


def _mark_among(known: Sequence[str], name: str) -> str:
    """The mark that is meant, its brackets left out or not; else the name, as kinds are written."""
    return next((mark for mark in known if name in (mark, mark[len("[redacted:") : -1])), name.lower())


def _wanted(rest: str, command: str, example: str) -> str:
    name = rest.strip().strip("`@'\"")
    if not name:
        raise InputError(f"%agent_context {command} wants a name", todo=f"e.g. %agent_context {command} {example}")
    return name


def _show_pins(session: Session, pins: Pins, notes: Sequence[str] = ()) -> None:
    session.keep_pins(pins)
    rows = [("definition", Code(name)) for name in pins.names] + [("file", Code(_nearby(name))) for name in pins.files]
    rows += [("schema", Code(name)) for name in pins.schemas] + [("allowed", Code(name)) for name in pins.allow]
    notes = notes if rows else ["Nothing is pinned."]
    show_table(f"Pinned for the thread {session.thread}", ("kind", "name"), rows, notes)


def _nearby(file: str) -> str:
    """A path as the user would write it: from the working directory where the file lies below it."""
    here = working_directory()
    path = Path(file)
    return str(path.relative_to(here)) if here is not None and path.is_relative_to(here) else file


def _is_called(qualified: str, name: str) -> bool:
    return qualified == name or qualified.endswith(f".{name}")
