"""Imports point down, each third party has one home, and what must not be said is not said."""

from __future__ import annotations

import ast
import functools
import io
import re
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest
from patience import PATIENCE

import agentnb

sys.path.insert(0, str(Path(__file__).parent))
import module_table

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "agentnb"

ORDER = module_table.order()
"""Top-level folders and modules, lowest first, as ARCHITECTURE.md lists them."""
SIMULATOR_MAY_IMPORT = {"errors", "models.catalog", "simulator"}
HOMES = {
    "IPython": ("notebook",),
    "traitlets": ("notebook",),
    "ipywidgets": ("notebook.live.dashboard",),
    "comm": ("notebook.lab.comm",),
    "httpx2": (
        "providers.transport",
        "providers.anthropic",
        "providers.google",
        "providers.openai",
        "agent.tools.servers.mcp",
    ),
    "orjson": ("canonical",),
    "diskcache": ("storage",),
    "astroid": ("context.resolve.inference_worker",),
    "Stemmer": ("context.notebook.cell_runs",),
    "anthropic": ("providers.anthropic",),
    "google": ("providers.google",),
    "openai": ("providers.openai",),
    "genai_prices": ("models.prices",),
    "xllamacpp": ("providers.local.server",),
    "redis": ("durable.bus_redis",),
    "opentelemetry": ("agent.receipt.spans",),
    "distributed": ("fleet.dask",),
    "dask": ("fleet.dask",),
    "markdown_it": ("view.answer.markup",),
    "pygments": ("view.answer.highlight",),
    "matplotlib": ("context.values.pictures",),
    "PIL": ("context.values.pictures",),
    "sqlalchemy": ("context.values.schemas",),
    "pydantic_core": ("providers.local.branches", "agent.tools.arguments", "durable.contexts"),
    "pydantic": ("agent.tools.arguments", "agent.tools.typed_answer", "durable.contexts"),
    "mcp": ("agent.tools.servers.mcp",),
    "jsonschema": ("agent.tools.servers.schemas",),
    "pathspec": ("agent.tools.files",),
    "yaml": ("explain.logs",),
    "acp": ("acp.server",),
    "jupyter_ai_acp_client": ("acp.persona",),
    "jupyter_ai_persona_manager": ("acp.persona",),
    "psycopg": ("durable.journal.postgres.connecting",),
}


def module_name(path: Path) -> str:
    name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    return name.removesuffix(".__init__")


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@functools.cache
def imports_of(path: Path) -> frozenset[str]:
    """Dotted names that a module imports, also inside functions; TYPE_CHECKING blocks are no imports."""
    tree = parsed(path)
    skipped = {id(node) for guard in ast.walk(tree) if _is_type_checking(guard) for node in ast.walk(guard)}
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            found |= {_target(node.module, alias.name) for alias in node.names}
    return frozenset(found)


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _target(module: str, name: str) -> str:
    inner = f"{module}.{name}".removeprefix("agentnb.")
    return f"agentnb.{inner}" if module.startswith("agentnb") and inner in MODULES else module


def own_imports(module: str) -> set[str]:
    names = (name for name in imports_of(MODULES[module]) if name.startswith("agentnb."))
    return {name.removeprefix("agentnb.") for name in names}


@pytest.mark.parametrize("module", [module for module in MODULES if module != ""])
def test_imports_point_down(module: str) -> None:
    own = _place(module)
    above = [name for name in own_imports(module) if _place(name) > own]
    assert not above, f"{module} imports from above: {above}"


def _place(module: str) -> int:
    top = module.partition(".")[0]
    assert top in ORDER, f"{top} has no row in ARCHITECTURE.md's import order"
    return ORDER.index(top)


def test_each_folder_s_entries_import_each_other_in_one_direction_only() -> None:
    for folder in sorted({path.parent for path in MODULES.values()}):
        inside = ".".join(folder.relative_to(PACKAGE).parts)
        graph: dict[str, set[str]] = {}
        for module in MODULES:
            if (entry := _entry(module, inside)) is not None:
                reached = {_entry(name, inside) for name in own_imports(module)} - {None, entry}
                graph.setdefault(entry, set()).update(name for name in reached if name is not None)
        _assert_acyclic(graph)


def _entry(module: str, folder: str) -> str | None:
    """The file or folder of `folder` in which a module lies; None outside of it and for its __init__."""
    inner = module.removeprefix(f"{folder}.") if folder else module
    return None if folder and inner == module else inner.partition(".")[0] or None


def test_no_folder_is_crowded() -> None:
    counts = {folder: len(list(folder.glob("*.py"))) for folder in {path.parent for path in MODULES.values()}}
    crowded = {folder.name: count for folder, count in counts.items() if count > CROWDED}
    assert not crowded, f"more than about a dozen files side by side: {crowded}"


CROWDED = 15
"""Files of one folder, `__init__.py` counted."""


FOUND_BY_NAME = {"AgentnbPersona"}
"""Named outside of Python's text: an entry point."""


def test_what_nothing_names_is_not_there() -> None:
    """A class or function of a module is public, or something of the package uses it."""
    used: set[str] = {*agentnb.__all__, *FOUND_BY_NAME}
    for path in MODULES.values():
        for node in ast.walk(parsed(path)):
            match node:
                case ast.Name(id=name) | ast.Attribute(attr=name) | ast.alias(name=name):
                    used.add(name)
    made = {
        node.name: str(path)
        for path in MODULES.values()
        for node in parsed(path).body
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("__")
    }
    assert not {name: path for name, path in made.items() if name not in used}


OF_THE_WHOLE = {"benchmarks", "browser", "kernel", "shared", "soak"}
"""Folders of tests that are of no one room."""


def test_tests_lie_in_the_rooms_of_what_they_test() -> None:
    folders = {path.parent.relative_to(ROOT / "tests") for path in (ROOT / "tests").rglob("test_*.py")}
    astray = [str(each) for each in folders if each.parts[:1] and each.parts[0] not in OF_THE_WHOLE]
    assert not [each for each in astray if not (PACKAGE / each).is_dir()]


def test_the_tests_that_are_named_are_there() -> None:
    named = re.findall(r"`(?:tests/)?([\w/]*test_\w+\.py)", (ROOT / "ARCHITECTURE.md").read_text())
    assert len(named) > 10
    assert not [each for each in named if not (ROOT / "tests" / each).is_file()]


def test_nothing_inside_imports_the_front_door() -> None:
    for module in MODULES:
        assert "agentnb" not in imports_of(MODULES[module]) or module in ("", "__main__"), module


def test_there_are_no_import_cycles() -> None:
    graph = {module: own_imports(module) & set(MODULES) for module in MODULES}
    _assert_acyclic(graph)


def _assert_acyclic(graph: dict[str, set[str]]) -> None:
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path[path.index(module) :], module))
        if module not in done:
            for name in sorted(graph.get(module, ())):
                visit(name, (*path, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def test_each_type_has_a_name_of_its_own() -> None:
    """One name, one meaning: also a private class is named as no class of another module is."""
    homes: dict[str, set[str]] = {}
    for module, path in MODULES.items():
        for node in parsed(path).body:
            if (name := _type_named(node)) is not None:
                homes.setdefault(name.lstrip("_"), set()).add(module)
    assert not {name: sorted(modules) for name, modules in homes.items() if len(modules) > 1}


def _type_named(node: ast.stmt) -> str | None:
    """The name of a class, or of another name for a type: `Moves = Counter[...]`."""
    if isinstance(node, ast.ClassDef):
        return node.name
    target = (
        node.targets[0] if isinstance(node, ast.Assign) else node.target if isinstance(node, ast.AnnAssign) else None
    )
    is_alias = isinstance(target, ast.Name) and target.id[:1].isupper() and not target.id.isupper()
    return target.id if is_alias and isinstance(target, ast.Name) else None


def test_the_agent_s_state_is_read_by_its_attributes() -> None:
    """A run's context is decoded once (AgentState.from_json): nothing of the agent takes a key of it by a string."""
    for module, path in MODULES.items():
        if module.startswith(("agent.", "notebook.live", "session")):
            for node in ast.walk(parsed(path)):
                match node:
                    case (
                        ast.Subscript(value=ast.Attribute(attr="context"), slice=ast.Constant(value=str(key)))
                        | ast.Call(
                            func=ast.Attribute(value=ast.Attribute(attr="context"), attr="get"),
                            args=[ast.Constant(value=str(key)), *_],
                        )
                    ):
                        pytest.fail(f"{path}:{node.lineno} reads {key}")


ANY = 15
"""Times that `Any` may stand in 1,000 lines of code. JSON has names (canonical.JsonObject); a value that is only passed
on is an `object`."""


def test_any_is_rare() -> None:
    found = {
        module: sum(isinstance(node, ast.Name) and node.id == "Any" for node in ast.walk(parsed(path)))
        for module, path in MODULES.items()
    }
    lines = sum(map(_code_lines, MODULES.values()))
    most = sorted(found, key=lambda module: -found[module])[:10]
    told = {module: found[module] for module in most}
    assert sum(found.values()) * 1000 <= ANY * lines, f"{sum(found.values())} in {lines} lines; the most: {told}"


def _code_lines(path: Path) -> int:
    """Lines that hold code: no comments, no docstrings, no blank ones."""
    skipped = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    tokens = (t for t in tokenize.generate_tokens(io.StringIO(path.read_text()).readline) if t.type not in skipped)
    lines = {line for token in tokens for line in range(token.start[0], token.end[0] + 1)}
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            lines.difference_update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


def test_the_simulator_shares_no_code_with_what_it_judges() -> None:
    for module in MODULES:
        if module.partition(".")[0] == "simulator":
            strangers = {n for n in own_imports(module) if n.partition(".")[0] != "simulator"} - SIMULATOR_MAY_IMPORT
            assert not strangers, f"{module} imports {strangers}"


@pytest.mark.parametrize("package", HOMES)
def test_each_third_party_has_one_home(package: str) -> None:
    for module, path in MODULES.items():
        used = any(name.split(".")[0] == package for name in imports_of(path))
        home = any(module == home or module.startswith(f"{home}.") for home in HOMES[package])
        assert not used or home, f"{module} imports {package}, whose home is {HOMES[package]}"


def test_no_pickle_is_imported_anywhere() -> None:
    for module, path in MODULES.items():
        assert not {"pickle", "dill", "shelve", "marshal", "cloudpickle"} & imports_of(path), module


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = [
        "anthropic",
        "google.genai",
        "openai",
        "ipywidgets",
        "astroid",
        "diskcache",
        "IPython",
        "genai_prices",
        "redis",
        "psycopg",
        "pydantic",
        "pathspec",
    ]
    code = f"import sys, agentnb; print([name for name in {heavy!r} if name in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PATIENCE)
    assert out.stdout.strip() == "[]"


def test_the_module_table_says_what_each_module_says_of_itself() -> None:
    assert module_table.told() == module_table.table(ORDER), "run python tests/module_table.py"


def test_function_lengths() -> None:
    nodes = ((path, node) for path in MODULES.values() for node in ast.walk(parsed(path)))
    functions = ((path, node) for path, node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    lengths = sorted(((n.end_lineno - n.lineno + 1, path.name, n.name) for path, n in functions), reverse=True)
    assert lengths[len(lengths) // 2][0] <= 10, "the median function is longer than 10 lines"
    assert lengths[0][0] <= 75, f"too long: {lengths[:3]}"
