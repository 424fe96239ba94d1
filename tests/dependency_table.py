"""Write ARCHITECTURE.md's table of what installing agentnb brings: licences and sizes, as they are installed here.

`python tests/dependency_table.py` rewrites it; tests/test_dependencies.py compares names and licences.
"""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- dependencies -->", "<!-- /dependencies -->"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SPDX = {  # of classifiers and of texts that name no licence by its short name
    "BSD License": "BSD-3-Clause",
    "BSD 3-Clause License": "BSD-3-Clause",
    "MIT License": "MIT",
    "Apache 2.0": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "ISC license": "ISC",
    "UNKNOWN": "ISC",  # ptyprocess, whose file LICENSE says so
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
}


def declared() -> dict[str, list[Requirement]]:
    """Every requirement in pyproject.toml, by the extra that asks for it; "" is what is always installed."""
    extras = {"": PROJECT["dependencies"], **PROJECT["optional-dependencies"]}
    return {extra: [Requirement(text) for text in texts] for extra, texts in extras.items()}


def brought(names: Iterator[str] | list[str]) -> set[str]:
    """The names of the distributions and of all that they need here."""
    found: set[str] = set()
    waiting = [canonicalize_name(name) for name in names]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        needs = (Requirement(text) for text in importlib.metadata.requires(name) or ())
        waiting += [
            canonicalize_name(need.name) for need in needs if not need.marker or need.marker.evaluate({"extra": ""})
        ]
    return found


def licence(name: str) -> str:
    """The licence of an installed distribution by its SPDX name, as far as its metadata says."""
    about = importlib.metadata.metadata(name)
    if about.get("License-Expression"):
        return str(about["License-Expression"])
    classed = [line.rpartition(" :: ")[2] for line in about.get_all("Classifier", []) if line.startswith("License ::")]
    said = (about.get("License") or "").strip().partition("\n")[0]
    return next((SPDX[text] for text in (said, *classed) if text in SPDX), said or ", ".join(classed) or "UNKNOWN")


def size(name: str) -> int:
    """Bytes of the files that a distribution has put down here, without what Python compiled."""
    files = importlib.metadata.files(name) or []
    return sum(
        path.stat().st_size for file in files if (path := Path(str(file.locate()))).is_file() and path.suffix != ".pyc"
    )


def table() -> str:
    """The table as Markdown: our own requirements one by one, then the sum of what they bring along."""
    ours = [requirement.name for requirement in declared()[""]]
    rows = [f"| {name} | {licence(name)} | {size(name) / 1e6:.1f} MB |" for name in ours]
    others = brought(ours) - {canonicalize_name(name) for name in ours}
    theirs = sorted({re.sub(r"[()]", "", licence(name)) for name in others})
    rows.append(
        f"| {len(others)} that these bring along | {', '.join(theirs)} | {sum(map(size, others)) / 1e6:.0f} MB |"
    )
    return "\n".join(["| package | licence | installed |", "|---|---|---|", *rows])


def told() -> str:
    return (ROOT / "ARCHITECTURE.md").read_text().partition(BEGIN)[2].partition(END)[0].strip()


if __name__ == "__main__":
    text = (ROOT / "ARCHITECTURE.md").read_text()
    before, after = text.partition(BEGIN)[0], text.partition(END)[2]
    (ROOT / "ARCHITECTURE.md").write_text(f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}")
