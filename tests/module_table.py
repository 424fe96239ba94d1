"""Write ARCHITECTURE.md's table of modules anew: the first paragraph of each module's docstring, folder by folder.

`python tests/module_table.py` rewrites it; tests/test_architecture.py compares.
"""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "agentnb"
BEGIN, END = "<!-- modules -->", "<!-- /modules -->"


def table(order: tuple[str, ...]) -> str:
    """The table as Markdown: the ground first, then each folder in import order."""
    rooms = [_room("The ground", sorted(PACKAGE.glob("*.py")), PACKAGE)]
    folders = [PACKAGE / name for name in order if (PACKAGE / name).is_dir()]
    rooms += [_room(f"{folder.name}: {_says(folder / '__init__.py')}", _modules(folder), folder) for folder in folders]
    return "\n\n".join(rooms)


def _modules(folder: Path) -> list[Path]:
    files = [
        path for path in folder.rglob("*.py") if path.name != "__init__.py" or len(path.read_text().split("\n")) > 3
    ]
    return sorted((path for path in files if path != folder / "__init__.py"), key=lambda path: (len(path.parts), path))


def _room(title: str, files: list[Path], folder: Path) -> str:
    rows = [f"| `{path.relative_to(folder).as_posix()}` | {_says(path)} |" for path in files]
    return "\n".join([f"### {title}", "", "| module | owns |", "|---|---|", *rows])


def _says(path: Path) -> str:
    return " ".join((ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n\n")[0].split())


def order() -> tuple[str, ...]:
    """The top level in import order, as ARCHITECTURE.md lists it: a numbered row each."""
    rows = (ROOT / "ARCHITECTURE.md").read_text().partition("## Import order")[2].partition("\n## ")[0].split("\n")
    numbered = [row.partition(". ")[2] for row in rows if row[:1].isdigit()]
    return tuple(name.strip("`/ ") for row in numbered for name in row.partition(":")[0].split(","))


def told() -> str:
    return (ROOT / "ARCHITECTURE.md").read_text().partition(BEGIN)[2].partition(END)[0].strip()


if __name__ == "__main__":
    text = (ROOT / "ARCHITECTURE.md").read_text()
    before, after = text.partition(BEGIN)[0], text.partition(END)[2]
    (ROOT / "ARCHITECTURE.md").write_text(f"{before}{BEGIN}\n\n{table(order())}\n\n{END}{after}")
