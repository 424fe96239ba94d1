"""Write the reference pages from what the code declares: magics, settings, models, errors, events, the run document.

`python tests/reference_pages.py` rewrites agentnb/docs/pages/reference; tests/test_docs.py compares. An
event's meaning, which no declaration says, stands here, and a test asks for every one.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from pathlib import Path

import agentnb
from agentnb import errors
from agentnb.agent.tools.registry import NAMES
from agentnb.durable.events import JOURNALED_KINDS
from agentnb.models import catalog
from agentnb.notebook.flags import AGENT_FLAGS, ANSWER_FLAGS, EXAMPLES, RESUME_FLAGS, Flag
from agentnb.notebook.magics import MAGICS, AgentMagics
from agentnb.options import Option, options_of
from agentnb.settings import TOOLS, RunOptions, Settings

REFERENCE = Path(__file__).resolve().parents[1] / "agentnb" / "docs" / "pages" / "reference"
WRITTEN = "<!-- written by tests/reference_pages.py -->"

EVENTS = {
    "created": "a run was begun; `data` names what it began with",
    "step": "a step was committed; `data` is what its handler attached",
    "failed": "a step failed; `data` has the error. The run keeps its state and its last good context",
    "retried": "a step failed and will be tried again; `data` has the error and when",
    "delayed": "the step is to be made later; `data` has the reason and how many seconds it waits",
    "paused": "the run was paused, by a person or by itself; `data` has the reason",
    "resumed": "a paused or failed run goes on",
    "cancelled": "the run was given up",
    "woken": "an event from outside came for the run; `data` is what it brought",
    "noted": "the step in flight kept `data` at once: a reply has come, with what it had used",
    "answered": "an event from outside was the answer to a question that the run had asked",
}
SIGNALS = {
    "delta": "text as it streams: `data.channel` is text or thinking, or restart where a reply begins anew",
    "phase": "`data.text` says in words what the run does now",
    "children": "`data.children` says how the runs stand that this one delegated",
    "view": "`data.context` is what the run's view shows beside its steps",
}


def pages() -> dict[str, str]:
    """Return every page by its file's name."""
    return {
        "magics.md": _magics(),
        "settings.md": _settings(),
        "models.md": _models(),
        "errors.md": _errors(),
        "events.md": _events(),
        "run-document.md": _run_document(),
        "python.md": _python(),
    }


def _page(title: str, *parts: str) -> str:
    return "\n\n".join([f"# {title}", WRITTEN, *parts]) + "\n"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    names = [*head]
    lines = [names, ["---"] * len(names), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _magics() -> str:
    told = [_magic(name) for name in MAGICS]
    flags = [
        "## Flags of `%%agent` and `%agent`",
        _table(("flag", "does"), map(_flag, AGENT_FLAGS)),
        "## Flags of `%agent_runs resume`",
        _table(("flag", "does"), map(_flag, RESUME_FLAGS)),
        "## Flags of `%agent_runs approve`, `deny` and `answer`",
        _table(("flag", "does"), map(_flag, ANSWER_FLAGS)),
    ]
    return _page("Magics", *told, *flags)


def _magic(name: str) -> str:
    """Return a magic's section: its usage as code, then what its docstring says; of `agent` the examples."""
    usage, _, rest = (inspect.getdoc(getattr(AgentMagics, name)) or "").partition("\n\n")
    if name == "agent":
        rest = _table(("write", "what it does"), ((f"`{line}`", what) for line, what in EXAMPLES))
    return f"## `{name}`\n\n```text\n{' '.join(usage.split())}\n```\n\n{rest}"


def _flag(flag: Flag) -> tuple[str, str]:
    forms = [f"--{flag.name}", *([f"-{flag.short}"] if flag.short else [])]
    value = f" {flag.value}" if flag.value else ""
    return ", ".join(f"`{form}{value}`" for form in forms), flag.help


def _settings() -> str:
    of_runs = {each.name for each in options_of(RunOptions)}
    every = options_of(Settings)
    head = ("setting", "default", "what it is for")
    return _page(
        "Settings",
        "A setting is made by `%config AgentNB.NAME = …`, by an environment variable, or, where it has one, by a flag "
        "for one task. A flag goes over `%config`, and that over the environment. `%config AgentNB` lists them.",
        "## Of each run",
        _table(head, (_setting(each) for each in every if each.name in of_runs)),
        "## Of the kernel",
        _table(head, (_setting(each) for each in every if each.name not in of_runs)),
        "## Tools that come built in",
        f"`{'`, `'.join(NAMES)}`. A model has {_listed(TOOLS)} by default.",
    )


def _listed(names: Iterable[str]) -> str:
    *first, last = (f"`{name}`" for name in names)
    return f"{', '.join(first)} and {last}"


def _setting(option: Option) -> tuple[str, str, str]:
    said = option.declared
    ways = [f"`AgentNB.{option.name}`"] if said.config else []
    ways += [f"`{option.variable}`"] + ([f"`--{said.flag}`"] if said.flag else [])
    unsaid = [choice for choice in said.choices if choice and choice not in said.help]
    choices = f" Also {', '.join(f'`{choice}`' for choice in unsaid)}." if unsaid else ""
    return "<br>".join(ways), _default(option.default), f"{said.help}.{choices}"


def _default(value: object) -> str:
    if value is None or value == "" or value == ():
        return ""
    return f"`{', '.join(value) if isinstance(value, tuple) else value}`"


def _models() -> str:
    head = ("model", "window", "reply at most", "prompt cache", "effort", "pictures", "limits checked", "retires")
    return _page(
        "Models",
        "The catalogue's rows. `-m PROVIDER:NAME` asks one, `-m sim:NAME` has it simulated. Sizes are in tokens. "
        "`agentnb.price(NAME, input=…, output=…)` tells prices: from genai-prices and the catalogue. A model "
        "that is not here works by the newest row of its family, and its runs say so. `python -m agentnb doctor "
        "--online` compares the rows with the providers' own lists.",
        _table(head, map(_model, catalog.rows())),
    )


def _model(row: catalog.Model) -> tuple[str, ...]:
    rules = row.cache
    least = f"from {rules.minimum:,} tokens" if rules.minimum else ""
    parts = [rules.kind.value.replace("_", " "), least, " or ".join(rules.ttls)]
    return (
        f"`{row.provider}:{row.name}`",
        f"{row.window:,}",
        f"{row.max_output:,}",
        ", ".join(part for part in parts if part),
        ", ".join(row.effort.levels),
        "yes" if row.images else "",
        row.limits_checked,
        row.retires,
    )


def _errors() -> str:
    rows = [(f"`{cls.code}`", f"`{cls.__name__}`", inspect.getdoc(cls) or "") for cls in error_classes()]
    return _page(
        "Errors",
        "Every error says what happened, to which object, and what to do. Its code stays the same from version to "
        "version. In a script they come as exceptions below `agentnb.AgentnbError`.",
        _table(("code", "exception", "what happened"), ((code, name, _first(doc)) for code, name, doc in rows)),
    )


def error_classes() -> Iterator[type[errors.AgentnbError]]:
    """Yield the exceptions in the order in which they are written."""
    for value in vars(errors).values():
        if isinstance(value, type) and issubclass(value, errors.AgentnbError):
            yield value


def _first(doc: str) -> str:
    return " ".join(doc.partition("\n\n")[0].split())


def _events() -> str:
    journaled = [(f"`{kind}`", EVENTS[kind]) for kind in EVENTS if kind in JOURNALED_KINDS]
    return _page(
        "Events",
        "What happens to a run is told on a bus: `machine.events.subscribe(callback)`. An event has `run_id`, `step`, "
        "`kind`, `state`, `next_state`, `at` (seconds since the epoch), `data`, `seq` and `version`.",
        "## In the journal",
        "These are rows of the run's history, written in the transaction of the step that they tell of; `seq` counts.",
        _table(("kind", "says"), journaled),
        "## Signals",
        "These are heard by who listens now, and kept nowhere; their `seq` is 0.",
        _table(("kind", "says"), ((f"`{kind}`", said) for kind, said in SIGNALS.items())),
    )


def _run_document() -> str:
    fields = agentnb.run_schema()["properties"]
    return _page(
        "The run document",
        "`_agent.receipt`, the output `application/vnd.agentnb.run.v1+json` of a cell, and "
        "`%agent_runs export RUN FILE` are the same JSON. What is estimated says so, and what is not known is null. "
        "`agentnb.run_schema()` is its JSON Schema.",
        _table(("key", "holds"), ((f"`{key}`", field["description"]) for key, field in fields.items())),
    )


def _python() -> str:
    """Return directives: mkdocstrings puts signatures and docstrings in their place."""
    names = [name for name in agentnb.__all__ if not name.startswith(("__", "load_", "unload_"))]
    said = "What `import agentnb` offers. Everything else may change without notice."
    return _page("Python", said, *(f"::: agentnb.{name}" for name in names))


if __name__ == "__main__":
    REFERENCE.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (REFERENCE / name).write_text(text)
