"""Show and keep what %agent_context has: what the conversation holds and why, pins, added files, allowed secrets."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from IPython.display import display

from agentnb.agent.conversation.turn_blocks import block_text
from agentnb.agent.hydration.notebook_context import room_for_definitions
from agentnb.agent.hydration.project import FILE_CHARACTERS, read_added
from agentnb.agent.hydration.project_context import Pins
from agentnb.agent.run_document import DRY_RUN
from agentnb.agent.stale_answers import stale_among
from agentnb.agent.state import AgentState, is_agents
from agentnb.canonical import JsonMapping, JsonObject
from agentnb.context.notebook.cell_runs import says
from agentnb.context.redaction.secret_shapes import KINDS
from agentnb.context.resolve.outlines import Outline
from agentnb.context.resolve.resolution import Resolver, Unresolved
from agentnb.context.static.definitions import Definition
from agentnb.context.values.schemas import kind_of, read_schema
from agentnb.durable.journal.records import COMPLETED
from agentnb.errors import InputError, SchemaUnread, nearest
from agentnb.notebook.commands.subcommands import dispatch, show_table
from agentnb.prompt.project_parts import OutlinePart
from agentnb.session import working_directory
from agentnb.view.number_format import plural, short_dollars
from agentnb.view.prompt_view import PromptPart, cached_shares, prompt_bundle
from agentnb.view.tables import Code, Figure, Stacked
from agentnb.view.words.run_words import cell_words, image_line, with_cell_numbers

if TYPE_CHECKING:
    from agentnb.agent.run_document import AgentRun
    from agentnb.session import Session


def agent_context(session: Session, run: AgentRun | None, line: str) -> None:
    """show | why | prompt | stale | pin | unpin | add | hide | unhide | allow | disallow"""
    table: dict[str, Callable[[str], None]] = {
        "show": lambda _: _show(session, run),
        "why": lambda rest: _why(session, run, rest),
        "prompt": lambda rest: _prompt(session, run, rest),
        "stale": lambda _: _stale(session),
        "pin": lambda rest: _pin(session, rest),
        "unpin": lambda rest: _unpin(session, rest),
        "add": lambda rest: _add(session, rest),
        "hide": lambda rest: _hide(session, rest),
        "unhide": lambda rest: _unhide(session, rest),
        "allow": lambda rest: _allow(session, run, rest),
        "disallow": lambda rest: _disallow(session, rest),
    }
    dispatch("agent_context", table, line)


def _show(session: Session, run: AgentRun | None) -> None:
    kept = _kept_lines(session)
    if run is None and kept:
        show_table(f"Context of the next task ({session.thread})", (), (), kept)
        return
    if run is None:
        raise InputError("there is no conversation yet", todo="Run %%agent first, or %%agent --dry-run.")
    pictures = [f"Picture: {image_line(item)}." for item in run.receipt.get("images", ())]
    redacted = [f"Redacted: {item['kind']} as {item['mark']}." for item in run.receipt["redactions"]]
    numbered = _numbered(session, run)
    cells, definitions = run.receipt.get("cells", ()), numbered["definitions"]
    tokens = sum(int(item["tokens"]) for item in (*cells, *definitions))
    held = f"{plural(len(cells), 'cell')} and {plural(len(definitions), 'definition')}, ≈ {tokens:,} tokens"
    show_table(
        f"The model was given {held}",
        ("what", "tokens"),
        [*map(_cell_row, cells), *map(_definition_row, definitions)],
        [*kept, *_left_out(run), *redacted, *pictures, *run.receipt["notes"], f"Conversation: {run.thread}."],
    )


def _kept_lines(session: Session) -> list[str]:
    """Return what goes with every task, whatever it says: pins, added files, schemas, outlines."""
    pins = session.pins
    modules = [f"{part.module} (in part)" if part.partial else part.module for part in _outlines(session)]
    kept = {
        "Pinned": pins.names,
        "Allowed, although it looks like a secret": pins.allow,
        "Added": [_nearby(file) for file in pins.files],
        "Schemas": sorted(pins.schemas),
        "Hidden": [_hidden_word(session, name) for name in pins.hidden],
        "Outlines of your modules in use": modules,
    }
    return [f"{what}: {', '.join(names)}." for what, names in kept.items() if names]


def _cell_row(item: JsonMapping) -> tuple[object, ...]:
    form = {"cell": "in full", "whole": "at length", "brief": "outputs cut", "outline": "one line"}[item["form"]]
    return _held_row(f"[{item['execution_count']}]", item, form)


def _definition_row(item: JsonObject) -> tuple[object, ...]:
    return _held_row(item["name"], item, _place(item), item["form"])


def _held_row(name: str, item: JsonMapping, *facts: str) -> tuple[object, ...]:
    """Return the row of what the conversation holds. A definition within a cell that was sent has no tokens of its
    own."""
    told = (*facts, item["reason"], "new" if item.get("new") else "")
    return (Stacked(Code(name), told), Figure(f"≈ {item['tokens']:,}" if item["tokens"] else ""))


def _left_out(run: AgentRun) -> list[str]:
    """Return how many definitions the last task left out; `why` has the reason for each."""
    names = [item["name"] for item in run.receipt.get("left_out", ())]
    if not names:
        return []
    more = ", …" if len(names) > LEFT_OUT_SHOWN else ""
    shown = ", ".join(names[:LEFT_OUT_SHOWN])
    return [f"Left out: {len(names)} ({shown}{more}); %agent_context why NAME says why."]


LEFT_OUT_SHOWN = 5
_DEFINE = "Run the cell that defines it, or import its module."


def _place(item: JsonObject) -> str:
    if item.get("file"):
        first, last = item["lines"]
        return f"{item['file']}:{first}" + (f"-{last}" if last != first else "")
    return cell_words(item)


def _numbered(session: Session, run: AgentRun) -> JsonObject:
    return with_cell_numbers(run.receipt, session.cells.numbers)


def _why(session: Session, run: AgentRun | None, rest: str) -> None:
    """Show why a definition is in the conversation; or what the name means, and that it was not touched."""
    name = rest.strip().strip("`@")
    if not name:
        raise InputError("%agent_context why wants a name", todo="Write e.g. %agent_context why tides.harmonic")
    number = _cell_number(rest)
    if number is not None:
        _why_cell(session, run, number)
        return
    if _explained(session, run, name, called=name) or _stands_in_cells(session, run, name):
        return
    found = _resolved(session, name)
    if isinstance(found, Unresolved):
        raise InputError(f"{name!r} is not in the conversation, and {found.reason}", todo=found.nearest or _DEFINE)
    if _explained(session, run, name, called=found.name):  # the task may call it by another name
        return
    place = found.file or cell_words({"cell": found.cell, "execution": session.cells.numbers.get(str(found.cell))})
    outlined = any(found.name == f"{part.module}.{line.name}" for part in _outlines(session) for line in part.lines)
    what = "only its signature, in the project's outline" if outlined else "not sent"
    where = Stacked(Code(found.name), (f"{place}:{found.lines[0]}",))
    row = (where, f"{what}: no task has named it or needed it one step on")
    show_table(f"Why not {name}", ("definition", "reason"), [row])


def _stands_in_cells(session: Session, run: AgentRun | None, name: str) -> bool:
    """Show the sent cells that make or change a name, and its value where that was told; False for none."""
    if run is None:
        return False
    sent = {item["execution_count"]: item for item in run.receipt.get("cells", ())}
    flows = [(session.log.by_number[n].flow, item) for n, item in sent.items() if n in session.log.by_number]
    cells = [item for flow, item in flows if name in flow.binds | flow.changes | flow.defines]
    rows = [(_cell_row(item)[0], f"it makes or changes {name}") for item in cells]
    told = AgentState.from_json(session.machine().get(run.run_id).context).values if run.state != DRY_RUN else ()
    if any(item["name"] == name for item in told):
        rows.append((Stacked(Code("values"), ("beside the task",)), f"the task involves {name}"))
    if rows:
        show_table(f"Why {name}", ("where it stands", "reason"), rows)
    return bool(rows)


_CELL = re.compile(r"(?:cell\s*|in\s*)?\[?(\d+)\]?\Z", re.IGNORECASE)


def _cell_number(text: str) -> int | None:
    """Return the number of a cell as people write it: `3`, `[3]`, `In[3]`, `cell 3`."""
    found = _CELL.match(text.strip())
    return int(found.group(1)) if found else None


def _why_cell(session: Session, run: AgentRun | None, number: int) -> None:
    """Show why a cell is in the conversation, or what is known of it."""
    cells = run.receipt.get("cells", ()) if run is not None else ()
    rows = [_cell_row(item) for item in cells if item["execution_count"] == number]
    if rows:
        show_table(f"Why cell [{number}]", ("cell", "tokens"), rows)
        return
    known = session.log.by_number.get(number)
    if known is None:
        raise InputError(f"no cell of this kernel has the number {number}", todo="See %agent_context show.")
    newest = session.log.of_cell(known.cell)
    if session.log.is_hidden(known):
        why = "kept out by %agent_context hide"
    elif newest is not None and newest.number != number:
        why = f"it ran again as [{newest.number}]"
    else:
        why = "it ran after the last task"
    show_table(f"Why not cell [{number}]", ("cell", "reason"), [(Code(f"[{number}]"), why)])


def _prompt(session: Session, run: AgentRun | None, task: str) -> None:
    """Show the exact text of the last request; with a task, of the one that it would send now."""
    agent = session.agent()
    if task:
        preview = agent.next_request(session.request(task), session.new_run_id())
    elif run is None or run.state == DRY_RUN:
        raise InputError("nothing was sent yet", todo="Write a task behind it: %agent_context prompt What is df?")
    else:
        preview = agent.last_request(run.run_id)
    shares = cached_shares(preview.tokens, preview.cached)
    parts = [
        PromptPart(
            layer=block.layer.word,
            role=block.role.value,
            label=block.label or "text",
            text=block_text(block.content),
            tokens=tokens,
            cached=share,
        )
        for block, tokens, share in zip(preview.blocks, preview.tokens, shares, strict=True)
    ]
    title = "The next request" if task else f"The last request of {run.run_id if run else ''}"
    display(prompt_bundle(title, parts, exact=not task), raw=True)


def _stale(session: Session) -> None:
    """Show the answers of this notebook that rest on something older, with the price of asking again."""
    found = list(stale_among(session.hydrator(), _answers(session)))
    rows = [
        (Stacked(one.task, (one.note.rstrip("."), Code(one.run_id))), Figure(f"≈ {short_dollars(one.cost)}"))
        for one in reversed(found)
    ]
    total = f" All of them: ≈ {short_dollars(sum(one.cost or 0 for one in found))}." if len(found) > 1 else ""
    notes = [f"Run an answer's cell again to ask anew.{total}"] if rows else []
    title = f"{plural(len(rows), 'answer')} to ask again" if rows else "No answer rests on anything older"
    show_table(title, ("question", "asking again"), rows, notes)


def _answers(session: Session) -> Iterator[tuple[str, AgentState]]:
    """Yield the answers that stand in this notebook, the newest first: each cell's last one, in any conversation."""
    machine, kernel = session.machine(), f"{session.log.session}:"
    cells: set[str] = set()
    for run in machine.journal.runs(limit=ANSWERS):
        asked_here = run.tags.get("execution", "").startswith(kernel) or run.tags.get("thread") == session.thread
        cell = run.tags.get("cell", "")
        if not asked_here or run.inner or cell in cells:
            continue
        cells |= {cell} if cell else set()
        context = machine.get(run.run_id).context
        if run.status == COMPLETED and is_agents(context):
            yield run.run_id, AgentState.from_json(context)


ANSWERS = 500
"""Runs of the journal that are looked through for answers of this notebook: the newest."""


def _hide(session: Session, rest: str) -> None:
    """Keep a cell out of what is sent from now on; or a name, with every cell that says it. What was sent stays."""
    number, name = _cell_number(rest), _wanted(rest, "hide", "3")
    if number is not None:
        found = session.log.by_number.get(number)
        if found is None:
            raise InputError(f"no cell of this kernel has the number {number}", todo="See %agent_context show.")
        name = found.key
    elif name not in session.namespace and isinstance(_resolved(session, name), Unresolved):
        raise InputError(f"{name!r} is neither a cell's number nor a name", todo=nearest(name, list(session.namespace)))
    saying = [f"[{run.number}]" for run in session.log.runs if number is None and says(run.source, name)]
    pins = session.pins
    if name not in pins.hidden:
        pins.hidden.append(name)
    notes = [f"Every cell that says {name} is kept out with it: {', '.join(saying)}."] if saying else []
    notes.append("What was sent before stays in the conversation; -t new begins one without it.")
    _show_pins(session, pins, notes)


def _unhide(session: Session, rest: str) -> None:
    """Let a hidden cell or name be sent again."""
    number, name = _cell_number(rest), _wanted(rest, "unhide", "3")
    found = session.log.by_number.get(number) if number is not None else None
    name = found.key if found is not None else name
    pins = session.pins
    if name not in pins.hidden:
        hint = nearest(name, pins.hidden)
        raise InputError(f"{rest.strip()!r} is not hidden", todo=hint or "See %agent_context show.")
    pins.hidden.remove(name)
    _show_pins(session, pins)


def _explained(session: Session, run: AgentRun | None, name: str, *, called: str) -> bool:
    """Show why what is `called` so was sent, or was left out; False where the last run did neither."""
    receipt = _numbered(session, run) if run is not None else {"definitions": ()}
    held = [item for item in receipt["definitions"] if _is_called(item["name"], called)]
    out = [item for item in receipt.get("left_out", ()) if _is_called(item["name"], called)]
    if held:
        rows = [(Stacked(Code(item["name"]), (_place(item),)), item["reason"]) for item in held]
        show_table(f"Why {name}", ("definition", "reason"), rows)
    elif out:
        show_table(f"Why not {name}", ("definition", "left out because"), [(Code(i["name"]), i["reason"]) for i in out])
    return bool(held or out)


def _outlines(session: Session) -> list[Outline]:
    """Return the outlines that a new project section would have."""
    parts = session.hydrator().parts(len)
    return [part.outline for part in parts if isinstance(part, OutlinePart)]


def _resolved(session: Session, name: str) -> Definition | Unresolved:
    resolver = Resolver(cells=session.cells, namespace=session.namespace, project=session.project)
    return resolver.resolve(name)


def _pin(session: Session, rest: str) -> None:
    """Keep a definition in every turn's context, whether the task names it or not."""
    name = _wanted(rest, "pin", "tides.predict")
    if kind_of(session.namespace.get(name)):
        _pin_schema(session, name)
        return
    found = _resolved(session, name)
    if isinstance(found, Unresolved):
        raise InputError(f"{name!r} cannot be pinned: {found.reason}", todo=found.nearest or _DEFINE)
    pins = session.pins
    if found.name not in pins.names:
        pins.names.append(found.name)
    count = session.samples.counter_for(session.model_name()).count
    room = room_for_definitions(session.settings.context_tokens)
    note = session.hydrator().why_not_in_full(found.name, count=count, budget=room)
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


def _unpin(session: Session, rest: str) -> None:
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


def _add(session: Session, rest: str) -> None:
    """Put a file into the project section: frozen with the segment, sent again when it changes."""
    file = Path(_wanted(rest, "add", "schema.sql")).expanduser().resolve()
    if not file.is_file():
        raise InputError("there is no such file", about=str(file), todo="Give the path of a text file.")
    if read_added(file) is None:
        raise InputError("the file cannot be read as UTF-8 text", about=str(file), todo="Give a text file.")
    pins = session.pins
    if str(file) not in pins.files:
        pins.files.append(str(file))
    large = file.stat().st_size > FILE_CHARACTERS
    _show_pins(
        session, pins, [f"Only the beginning and the end of {file.name} go along: it is large."] if large else []
    )


def _allow(session: Session, run: AgentRun | None, rest: str) -> None:
    """Let what was taken for a secret stay from now on: one mark, or all of a kind."""
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


def _disallow(session: Session, rest: str) -> None:
    """Take an allowed secret out again from now on; what was sent stays in the conversation."""
    pins = session.pins
    name = _mark_among(pins.allow, _wanted(rest, "disallow", "[redacted:secret:3f2]"))
    if name not in pins.allow:
        raise InputError(f"{name!r} is not allowed", todo=nearest(name, pins.allow) or "See %agent_context show.")
    pins.allow.remove(name)
    _show_pins(session, pins)


def _mark_among(known: Sequence[str], name: str) -> str:
    """Return the mark that is meant, its brackets left out or not; else the name, as kinds are written."""
    return next((mark for mark in known if name in (mark, mark[len("[redacted:") : -1])), name.lower())


def _wanted(rest: str, command: str, example: str) -> str:
    name = rest.strip().strip("`@'\"")
    if not name:
        raise InputError(
            f"%agent_context {command} wants a name", todo=f"Write e.g. %agent_context {command} {example}"
        )
    return name


def _show_pins(session: Session, pins: Pins, notes: Sequence[str] = ()) -> None:
    session.keep_pins(pins)
    rows = [("pinned", Code(name)) for name in pins.names] + [("added", Code(_nearby(name))) for name in pins.files]
    rows += [("schema", Code(name)) for name in pins.schemas] + [("allowed", Code(name)) for name in pins.allow]
    rows += [("hidden", Code(_hidden_word(session, name))) for name in pins.hidden]
    title = "Your choices for this conversation" if rows else "Nothing is pinned, added, allowed or hidden"
    show_table(title, ("kind", "name"), rows, notes if rows else [])


def _hidden_word(session: Session, name: str) -> str:
    run = session.log.of_cell(name.removeprefix("cell:")) if name.startswith("cell:") else None
    return f"cell [{run.number}]" if run is not None else name


def _nearby(file: str) -> str:
    """Return a path as the user would write it: from the working directory where the file lies below it."""
    here = working_directory()
    path = Path(file)
    return str(path.relative_to(here)) if here is not None and path.is_relative_to(here) else file


def _is_called(qualified: str, name: str) -> bool:
    return qualified == name or qualified.endswith(f".{name}")
