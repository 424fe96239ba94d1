"""The public API is what `__all__` says: all of it is documented, and every example does what it shows."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import agentnb
from agentnb.agent.run_document import AgentRun

NAMES = """
ASTContextCompiler Agent AgentRun AgentStateMachine AgentnbError Branch CacheReport DaskExecutor Fleet Latency Layer
RedisBus Retry SimClock Simulator Step Usage __version__ load_ipython_extension open_journal parallel price run_schema
submachine tool unload_ipython_extension
"""
OBJECTS = {name: getattr(agentnb, name) for name in agentnb.__all__ if not name.startswith("__")}
CLASSES = {name: each for name, each in OBJECTS.items() if inspect.isclass(each)}
EXTENSION = {"load_ipython_extension", "unload_ipython_extension"}
"""IPython calls these; people write `%load_ext agentnb`."""
SERVED = {"DaskExecutor": "server", "RedisBus": "server"}


def test_these_names_are_public_and_no_others() -> None:
    assert agentnb.__all__ == NAMES.split()
    assert dir(agentnb) == sorted(agentnb.__all__)
    with pytest.raises(AttributeError, match="Agents"):
        agentnb.Agents  # noqa: B018


def members(kind: type) -> Iterator[tuple[str, str]]:
    """Yield the public members that agentnb gives a class, with what their docstrings say."""
    for base in kind.__mro__:
        if base.__module__.partition(".")[0] != "agentnb":
            continue
        for name, value in vars(base).items():
            if not name.startswith("_") and (callable(value) or isinstance(value, property | classmethod)):
                yield name, inspect.getdoc(getattr(kind, name)) or ""
        yield from ((name, said) for name, said in fields(base) if not name.startswith("_"))


def fields(kind: type) -> Iterator[tuple[str, str]]:
    """Yield the annotated members of a class with the docstrings below them."""
    tree = ast.parse(Path(inspect.getfile(kind)).read_text())
    body = next(node.body for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name == kind.__name__)
    for number, statement in enumerate(body):
        match statement, body[number + 1 : number + 2]:
            case ast.AnnAssign(target=ast.Name(id=name)), [ast.Expr(ast.Constant(str(said)))]:
                yield name, said
            case ast.AnnAssign(target=ast.Name(id=name)), _:
                yield name, ""


@pytest.mark.parametrize("name", CLASSES)
def test_every_member_is_documented(name: str) -> None:
    undocumented = [member for member, said in members(CLASSES[name]) if not said.strip()]
    assert not [member for member in undocumented if not hasattr(dict, member)]


@pytest.mark.parametrize("name", CLASSES)
def test_every_member_stands_in_an_example(name: str) -> None:
    """In that of its class, which `test_every_example_runs` runs."""
    example = "\n".join(re.findall(r"(?:>>>|\.\.\.) .*", inspect.getdoc(CLASSES[name]) or ""))
    mine = [member for member, _ in members(CLASSES[name]) if not hasattr(dict, member)]
    assert not [member for member in mine if not re.search(rf"\b{member}\b", example)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> AgentRun:
    home = tmp_path_factory.mktemp("home")
    with agentnb.Agent(model="sim:claude-sonnet-4-6", home=home, sim_speed=0, namespace={"depth": 3.5}) as agent:
        return agent.run("What is `depth`?")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[getattr(pytest.mark, SERVED[name])] if name in SERVED else []) for name in OBJECTS],
)
def test_every_example_runs(
    name: str, run: AgentRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv("AGENTNB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AGENTNB_SIM_SPEED", "0")
    monkeypatch.setenv("AGENTNB_MODEL", "sim:claude-sonnet-4-6")
    given = {"agentnb": agentnb, "run": run, "home": tmp_path}
    if name == "RedisBus":
        given["redis"] = request.getfixturevalue("redis_address")
    text = inspect.getdoc(OBJECTS[name]) or ""
    example = doctest.DocTestParser().get_doctest(text, given, name, None, 0)
    assert example.examples or name in EXTENSION, "it has an example"
    told: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example, out=told.append)
    assert not told, "".join(told)


def test_what_is_public_is_found_where_it_is_said_to_be() -> None:
    for name, place in agentnb._HOMES.items():
        module, _, there = place.partition(":")
        assert getattr(importlib.import_module(module), there or name) is getattr(agentnb, name)
