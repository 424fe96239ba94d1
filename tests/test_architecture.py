"""Imports point down, each third party has one home, and what must not be said is not said."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "agentnb"

# Lowest first; a module imports from lower rows and from its own. ARCHITECTURE.md says why.
ROWS = (
    ("_version", "errors", "canonical"),
    (
        "settings",
        "storage",
        "providers.messages",
        "providers.catalog",
        "prompt.layers",
        "prompt.tokens",
        "runs.events",
    ),
    ("simulator", "context", "runs.journal"),
    ("backends.postgres", "backends.redis", "runs.opening"),
    (
        "prompt.instructions",
        "prompt.pieces",
        "prompt.blocks",
        "prompt.compiler",
        "prompt.thread",
        "runs.machine",
        "runs.tools",
        "runs.budget",
    ),
    ("providers", "runs.hydration", "runs.record", "runs.agent", "runs.session"),
    ("backends.dask", "backends.driving", "backends.fleet", "notebook"),
    ("doctor",),
    ("__main__", "__init__"),
)
# Parts of a room that stand in the room's own row.
ROOM_OF = {
    "runs.deltas": "runs.journal",
    "runs.embedded": "runs.journal",
    "runs.following": "runs.journal",
    "runs.groupcommit": "runs.journal",
    "runs.leases": "runs.journal",
    "runs.rows": "runs.journal",
    "runs.rules": "runs.journal",
    "runs.schema": "runs.journal",
    "runs.statements": "runs.journal",
    "runs.tables": "runs.journal",
    "runs.composition": "runs.machine",
    "runs.contexts": "runs.machine",
    "runs.drawing": "runs.machine",
    "runs.stepping": "runs.machine",
    "runs.current": "runs.machine",
    "runs.holds": "runs.machine",
    "runs.policies": "runs.machine",
    "runs.purse": "runs.budget",
    "runs.samples": "runs.agent",
    "runs.rhythm": "runs.agent",
    "runs.rebasing": "runs.agent",
    "runs.fitting": "runs.agent",
    "runs.services": "runs.agent",
    "runs.keepalive": "runs.agent",
    "runs.threads": "runs.agent",
    "runs.scripting": "runs.session",
    "runs.segments": "runs.agent",
    "runs.hydrating": "runs.agent",
    "runs.picturing": "runs.record",
    "runs.spending": "runs.record",
    "runs.preparing": "runs.agent",
    "runs.project": "runs.hydration",
    "runs.scrubbing": "runs.hydration",
    "runs.thinking": "runs.agent",
    "runs.acting": "runs.agent",
    "runs.approvals": "runs.record",
    "runs.conversation": "runs.agent",
}
SIMULATOR_MAY_IMPORT = {"errors", "providers.catalog", "simulator"}
HOMES = {
    "IPython": ("notebook", "settings"),
    "traitlets": ("notebook", "settings"),
    "ipywidgets": ("notebook.dashboard",),
    "httpx2": ("providers.transport", "providers.anthropic", "providers.google", "providers.openai"),
    "orjson": ("canonical",),
    "diskcache": ("storage",),
    "astroid": ("context.inference_worker",),
    "jedi": ("context.inference_worker",),
    "anthropic": ("providers.anthropic",),
    "google": ("providers.google",),
    "openai": ("providers.openai",),
    "genai_prices": ("providers.prices",),
    "xllamacpp": ("providers.localserver",),
    "redis": ("backends.redis",),
    "distributed": ("backends.dask",),
    "dask": ("backends.dask",),
    "matplotlib": ("context.pictures",),
    "PIL": ("context.pictures",),
    "sqlalchemy": ("context.schemas",),
    "psycopg": ("backends.postgres.connecting",),
}


def module_name(path: Path) -> str:
    name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    return name.removesuffix(".__init__")


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def row_of(module: str) -> int:
    module = ROOM_OF.get(module, module)
    matches = [
        (len(entry), number)
        for number, row in enumerate(ROWS)
        for entry in row
        if module == entry or module.startswith(f"{entry}.")
    ]
    assert matches, f"{module} has no row: put it into ROWS (and into ARCHITECTURE.md)"
    return max(matches)[1]


@functools.cache
def imports_of(path: Path) -> frozenset[str]:
    """Dotted names that a module imports, also inside functions; TYPE_CHECKING blocks are no imports."""
    tree = ast.parse(path.read_text())
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


RULED = [
    module for module in MODULES if module not in ("", "backends", "context", "prompt", "providers", "runs", "notebook")
]


@pytest.mark.parametrize("module", [module for module in RULED if module != "__init__"])
def test_imports_point_down(module: str) -> None:
    above = [name for name in own_imports(module) if row_of(name) > row_of(module)]
    assert not above, f"{module} imports from above: {above}"


def test_nothing_inside_imports_the_front_door() -> None:
    for module in MODULES:
        assert "agentnb" not in imports_of(MODULES[module]) or module in ("", "__main__"), module


def test_there_are_no_import_cycles() -> None:
    graph = {module: own_imports(module) & set(MODULES) for module in MODULES}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path[path.index(module) :], module))
        if module not in done:
            for name in sorted(graph[module]):
                visit(name, (*path, module))
            done.add(module)

    for module in graph:
        visit(module, ())


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
    ]
    code = f"import sys, agentnb; print([name for name in {heavy!r} if name in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert out.stdout.strip() == "[]"


def test_the_module_table_says_what_each_module_says_of_itself() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    rooms = re.split(r"^### ", text.partition("<!-- modules -->")[2].partition("<!-- /modules -->")[0], flags=re.M)
    told = {
        (re.match(r"\w+", room)[0].removeprefix("The"), name): what  # type: ignore[index]
        for room in rooms[1:]
        for name, what in re.findall(r"^\| `([^`]+\.py)` \| (.*) \|$", room, flags=re.M)
    }
    files = [path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py")]
    kept = [file for file in files if file.name != "__init__.py" or not file.parts[1:]]
    own = {(f.parts[0] if f.parts[1:] else "", "/".join(f.parts[1:] or f.parts)): _says(PACKAGE / f) for f in kept}
    assert told == own, "the table in ARCHITECTURE.md holds the first paragraph of each module's docstring"


def _says(path: Path) -> str:
    return " ".join((ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n\n")[0].split())


def test_function_lengths() -> None:
    nodes = ((path, node) for path in MODULES.values() for node in ast.walk(ast.parse(path.read_text())))
    functions = ((path, node) for path, node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    lengths = sorted(((n.end_lineno - n.lineno + 1, path.name, n.name) for path, n in functions), reverse=True)
    assert lengths[len(lengths) // 2][0] <= 10, "the median function is longer than 10 lines"
    assert lengths[0][0] <= 75, f"too long: {lengths[:3]}"
