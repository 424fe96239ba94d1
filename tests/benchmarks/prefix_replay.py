"""Replay an edit script (make_prefix_edits.py) through the real agent, and read on the wire what came of it.

A temporary project is edited on disk, its modules are loaded again, and each turn is asked by a real session over a
simulator that keeps the published rules. Everything that is measured here is read from the requests that the
simulator received; nothing is taken from the agent's own books.
"""

from __future__ import annotations

import importlib
import itertools
import json
import os
import random
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from agentnb.agent.run_document import AgentRun
from agentnb.session import Session
from agentnb.settings import Settings
from agentnb.simulator import SimClock, Simulator
from agentnb.simulator.tokenizer import count

DATA = Path(__file__).parent / "data" / "prefix_edits.jsonl"
FAMILY = "claude-4"
CONTEXT_TOKENS = 1500
WRITE, READ = 1.25, 0.1
"""What a token costs, in uncached input tokens, when it is written for five minutes and when it is read."""

_HELD = re.compile(
    r'<(definition name|outline module|file file)="([^"]+)"([^>]*?)(?:/>|>\n(.*?)\n</(?:definition|outline|file)>)'
    r'|<removed name="([^"…]+)"/>',
    re.DOTALL,
)
_LINE = re.compile(r'(?:@property )?(?:async )?(?:def |class )?(\w+)|(""")')
_IMPORT = re.compile(r"(?:from \S+ )?import .*?(\w+)$")
_ATTRIBUTE = re.compile(r'(\w+)="([^"]*)"')


# --- the script ---


@dataclass(frozen=True)
class Script:
    """A package as it is at first, the turns (edits, then a question), and whether the package may be imported."""

    files: Mapping[str, Sequence[str]]
    turns: Sequence[Mapping[str, Any]]
    runs: bool = True


def load(path: Path = DATA, turns: int | None = None) -> Script:
    first, *rest = (json.loads(line) for line in path.read_text("utf-8").splitlines())
    return Script(first["files"], rest[:turns], first["runs"])


@dataclass
class Project:
    """The package on disk. Files are written with rising modification times, so that no edit goes unseen."""

    root: Path
    files: dict[str, list[str]]
    _written: itertools.count[int] = field(default_factory=lambda: itertools.count(1_700_000_000))

    def apply(self, edits: Iterable[Sequence[Any]]) -> set[str]:
        """Carry out a turn's edits; the paths that changed."""
        touched = set()
        for path, start, stop, lines in edits:
            self.files.setdefault(path, [])[start:stop] = lines
            touched.add(path)
        for path in touched:
            self.write(path)
        return touched

    def write(self, path: str) -> None:
        place = self.root / path
        if not self.files[path]:
            place.unlink(missing_ok=True)
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("\n".join(self.files[path]) + "\n", "utf-8")
        stamp = next(self._written)
        os.utime(place, (stamp, stamp))

    @property
    def modules(self) -> list[str]:
        """The importable modules, packages first."""
        found = sorted(path.removesuffix(".py").replace("/", ".") for path, lines in self.files.items() if lines)
        return sorted(name.removesuffix(".__init__") for name in found)


class Follows:
    """The agent's clock reads the simulator's, so that one push moves both."""

    def __init__(self, clock: SimClock) -> None:
        self._clock = clock

    def now(self) -> float:
        return self._clock.now()

    def monotonic(self) -> float:
        return self._clock.now()


# --- the replay ---


@dataclass(frozen=True)
class Sent:
    """One request as the simulator received it: blocks in render order, tokens of each, and the reply's usage."""

    turn: int
    blocks: tuple[str, ...]
    texts: tuple[str, ...]
    tokens: tuple[int, ...]
    stale: int
    usage: Mapping[str, Any]

    @property
    def total(self) -> int:
        return sum(self.tokens)


@dataclass(frozen=True)
class Replay:
    """What one replay sent, turn by turn, and the runs as the agent reports them."""

    sent: tuple[Sent, ...]
    runs: tuple[AgentRun, ...]


def replay(script: Script, root: Path, *, stale_limit: float, seed: int = 1) -> Replay:
    """Replay the script in the empty directory `root`. Pauses between the turns are 1 to 25 minutes, seeded."""
    pauses = random.Random(seed)
    runs: list[AgentRun] = []
    sent: list[Sent] = []
    clock = SimClock()
    project = Project(root / "project", {path: list(lines) for path, lines in script.files.items()})
    for path in project.files:
        project.write(path)
    with Simulator(speed=0, record=True, clock=clock) as simulator, _session(root, simulator, clock) as session:
        for number, turn in enumerate(script.turns):
            touched = project.apply(turn["edits"])
            if touched or not number:
                import_again(session, project, run=script.runs)
            runs.append(_ask(session, str(turn["task"]), number, stale_limit))
            seen = len(sent)
            sent += [sent_of(number, item.body, item.usage or {}) for item in simulator.requests[seen:]]
            clock.advance(pauses.uniform(60, 1500))
    return Replay(tuple(sent), tuple(runs))


@contextmanager
def _session(root: Path, simulator: Simulator, clock: SimClock) -> Iterator[Session]:
    settings = Settings(model="sim:claude-sonnet-4-6", home=root / "home", sim_speed=0, tools=("inspect",))
    project = root / "project"
    session = Session(settings=settings, simulated=simulator, clock=Follows(clock), environment={}, project=project)
    with project_on_path(project):
        try:
            yield session
        finally:
            session.close()


@contextmanager
def project_on_path(project: Path) -> Iterator[None]:
    """The project can be imported meanwhile; afterwards no module of it is left."""
    before = set(sys.modules)
    sys.path.insert(0, str(project))
    try:
        yield
    finally:
        sys.path.remove(str(project))
        for name in set(sys.modules) - before:
            if str(getattr(sys.modules[name], "__file__", "")).startswith(str(project)):
                del sys.modules[name]


def import_again(session: Session, project: Project, *, run: bool = True) -> None:
    """The modules as they are on disk now, as after %autoreload."""
    tops = {name.partition(".")[0] for name in project.modules}
    for name in [n for n in sys.modules if n.partition(".")[0] in tops]:
        del sys.modules[name]
    importlib.invalidate_caches()
    for name in project.modules:
        if run:
            importlib.import_module(name)
        else:
            sys.modules[name] = _hollow(name, project)
    session.cells.record("\n".join(f"import {name}" for name in project.modules), cell_id="imports", number=1)
    session.namespace.update({top: sys.modules[top] for top in tops})


def _hollow(name: str, project: Project) -> ModuleType:
    """A module that knows its file and has not run: code of a real history is read, never executed."""
    module = ModuleType(name)
    path = project.root / name.replace(".", "/")
    package = (path / "__init__.py").exists()
    module.__file__ = str(path / "__init__.py" if package else path.with_suffix(".py"))
    if package:
        module.__path__ = [str(path)]
    return module


def _ask(session: Session, task: str, number: int, stale_limit: float) -> AgentRun:
    request = session.request(
        task,
        cell=f"ask-{number}",
        execution=str(number),
        stale_limit=stale_limit,
        thread_stale_limit=stale_limit,
        context_tokens=CONTEXT_TOKENS,
    )
    agent = session.agent()
    run_id = session.new_run_id()
    agent.begin(request, run_id)
    run = agent.drive(run_id)
    if agent.raised is not None:
        raise agent.raised
    return run


# --- what was received ---


def sent_of(turn: int, body: Mapping[str, Any], usage: Mapping[str, Any]) -> Sent:
    """A request's body and its reply's usage as what is measured here."""
    items = [(role, _bare(block)) for role, block in parts_of(body)]
    texts = tuple(_text(block) for _, block in items)
    return Sent(
        turn=turn,
        blocks=tuple(json.dumps(item, sort_keys=True) for item in items),
        texts=texts,
        tokens=tuple(tokens_of(text) for text in texts),
        stale=stale_in("\n".join(texts)),
        usage=usage,
    )


def parts_of(body: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """(role, block) in render order: tools, system, messages."""
    out = [("tools", tool) for tool in body.get("tools", [])]
    out += [("system", block) for block in body["system"]]
    return out + [(message["role"], block) for message in body["messages"] for block in message["content"]]


def _bare(block: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in block.items() if name != "cache_control"}


def _text(block: Mapping[str, Any]) -> str:
    content = block.get("text", block.get("content"))
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content)
    return content if isinstance(content, str) else json.dumps(block)


_counts: dict[str, int] = {}


def tokens_of(text: str) -> int:
    """Tokens in the simulator's tokenizer, which is nobody's estimate."""
    if text not in _counts:
        _counts[text] = count(text, FAMILY)
    return _counts[text]


@dataclass(frozen=True)
class Version:
    """One version of a definition, an outline or a file as it stands in a prompt; a removal has no text."""

    name: str
    digest: str
    text: str
    form: str = ""

    @property
    def tokens(self) -> int:
        return tokens_of(self.text)


def versions_in(text: str) -> list[Version]:
    """Every version in the text of a prompt, in order."""
    out = []
    for match in _HELD.finditer(text):
        kind, name, attributes, body, removed = match.groups()
        given = dict(_ATTRIBUTE.findall(attributes or ""))
        if removed:
            out.append(Version(removed, "", ""))
            continue
        if kind.startswith("outline"):
            out += [Version(f"outline:{name}:{entry}", text, text) for entry, text in _entries(body or "")]
            out += [Version(f"outline:{name}:{gone}", "", "") for gone in given.get("removed", "").split(", ") if gone]
            continue
        key = name if kind.startswith("definition") else f"{kind.split()[0]}:{name}"
        out.append(Version(key, given.get("digest", ""), match.group(), given.get("form", "")))
    return out


def _entries(body: str) -> Iterator[tuple[str, str]]:
    """The entries of an outline with their names: each begins at the margin, a class's members one step in."""
    owner = ""
    for entry in filter(None, re.split(r'\n(?!        |    """)', body)):
        inside = entry.startswith("    ")
        found = _IMPORT.match(entry) or _LINE.match(entry.strip())
        assert found, entry
        name = found.group(1) or "__doc__"
        owner = owner if inside else name
        if not entry.endswith(":  # …"):
            yield (f"{owner}.{name}" if inside else name), entry


def stale_in(text: str) -> int:
    """Tokens of the versions that a later one replaces or removes."""
    newest: dict[str, list[Version]] = {}
    stale = 0
    for version in versions_in(text):
        held = newest.setdefault(version.name, [])
        if held and held[-1].digest != version.digest:
            stale += sum(item.tokens for item in held)
            held.clear()
        held.append(version)
    return stale


# --- figures ---


def kept(before: Sent, after: Sent) -> int:
    """Leading blocks of `after` that `before` began with too."""
    same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(before.blocks, after.blocks, strict=False))
    return sum(1 for _ in same)


def kept_tokens(before: Sent, after: Sent) -> int:
    return sum(after.tokens[: kept(before, after)])


def prefix_shares(sent: Sequence[Sent]) -> list[float]:
    """Per request after the first: the share of its tokens that is a prefix of the request before it."""
    return [kept_tokens(before, after) / after.total for before, after in itertools.pairwise(sent)]


def pooled_share(sent: Sequence[Sent]) -> float:
    """The same over all tokens together: long prompts count for more."""
    return sum(kept_tokens(*pair) for pair in itertools.pairwise(sent)) / sum(s.total for s in sent[1:])


def context_shares(sent: Sequence[Sent]) -> list[float]:
    """The same counting only what describes the code: tools, instructions, the project and definitions."""
    out = []
    for before, after in itertools.pairwise(sent):
        tokens = [_context_tokens(block, text) for block, text in zip(after.blocks, after.texts, strict=True)]
        out.append(sum(tokens[: kept(before, after)]) / sum(tokens))
    return out


def _context_tokens(block: str, text: str) -> int:
    if _is_frame(block):
        return tokens_of(text)
    return sum(version.tokens for version in versions_in(text))


def one_string(sent: Sent) -> str:
    """The blueprint's prompt of the same content: system, outlines, definitions, then what was said."""
    versions = {version.name: version.text for text in sent.texts for version in versions_in(text)}
    system = [_HELD.sub("", text) for text, block in zip(sent.texts, sent.blocks, strict=True) if _is_frame(block)]
    said = [_HELD.sub("", text) for text, block in zip(sent.texts, sent.blocks, strict=True) if not _is_frame(block)]
    held = [versions[name] for name in sorted(versions, key=lambda name: (not name.startswith("outline:"), name))]
    return "\n\n".join([*system, *held, *said])


def _is_frame(block: str) -> bool:
    return block.startswith(('["tools"', '["system"'))


def lower_bound(sent: Sequence[Sent]) -> float:
    """Each token written once and read ever after, stale ones no longer. `sent` is a replay without new segments."""
    first = WRITE * sent[0].total
    return first + sum(_least(before, after) for before, after in itertools.pairwise(sent))


def _least(before: Sent, after: Sent) -> float:
    new = after.total - kept_tokens(before, after)
    return WRITE * new + READ * max(0, after.total - after.stale - new)


def selection_shares(runs: Sequence[AgentRun]) -> tuple[float, float, float]:
    """Of the tokens of a turn's definitions: the shares as in the turn before, changed since, and new to it."""
    before = changed = new = 0
    for last, run in itertools.pairwise([_selected(run) for run in runs]):
        for name, (digest, tokens) in run.items():
            before += tokens if last.get(name, ("",))[0] == digest else 0
            changed += tokens if name in last and last[name][0] != digest else 0
            new += tokens if name not in last else 0
    total = before + changed + new
    return before / total, changed / total, new / total


def _selected(run: AgentRun) -> dict[str, tuple[str, int]]:
    items = [item for item in run.receipt["definitions"] if not item["reason"].endswith("(earlier turn)")]
    return {item["name"]: (item["digest"], item["tokens"]) for item in items}


def first_of_turns(sent: Sequence[Sent]) -> list[Sent]:
    """The first request of each turn: tool steps within a turn only ever extend it, so they are left out."""
    return [next(group) for _, group in itertools.groupby(sent, key=lambda item: item.turn)]


def worst_stale(sent: Sequence[Sent]) -> float:
    return max(item.stale / item.total for item in sent)


def billed(sent: Sequence[Sent]) -> float:
    """Cost of the input in token equivalents, by the usage that the simulator reported."""
    return sum(_billed(item.usage) for item in sent)


def _billed(usage: Mapping[str, Any]) -> float:
    written = usage.get("cache_creation", {})
    hour = written.get("ephemeral_1h_input_tokens", 0)
    minutes = usage.get("cache_creation_input_tokens", 0) - hour
    read = usage.get("cache_read_input_tokens", 0)
    return float(usage["input_tokens"] + WRITE * minutes + 2.0 * hour + READ * read)
