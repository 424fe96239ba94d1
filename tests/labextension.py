"""Build the JupyterLab extension from `agentnb/notebook/lab/src` into `agentnb/notebook/lab/built`, which is committed.

`make labextension` runs this in the environment of `make env-lab`. It needs npm and its registry; installing agentnb,
from the tree or from a wheel, needs neither. The built metadata holds the digest of the sources; a test compares it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LAB = ROOT / "agentnb" / "notebook" / "lab"
BUILT = LAB / "built"
WORK = ROOT / "build" / "labextension"


def sources() -> list[Path]:
    return [LAB / "package.json", LAB / "tsconfig.json", *sorted((LAB / "src").rglob("*.ts"))]


def digest_of_sources() -> str:
    """Names and contents, in order."""
    total = hashlib.sha256()
    for path in sources():
        total.update(f"{path.relative_to(LAB).as_posix()}\0{path.read_text()}\0".encode())
    return total.hexdigest()


def build() -> None:
    """Compile and bundle in a directory of its own, then put the result into the tree."""
    shutil.rmtree(WORK / "src", ignore_errors=True)
    shutil.rmtree(WORK / "lib", ignore_errors=True)
    for path in sources():
        copy = WORK / path.relative_to(LAB)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    run("npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts", "--loglevel=error")
    run("node_modules/.bin/tsc")
    (WORK / "core").mkdir(exist_ok=True)
    (WORK / "core" / "package.json").write_text(json.dumps(core()))
    run("node", "node_modules/.bin/build-labextension", "--core-path", str(WORK / "core"), ".")
    finish(WORK / "built")


def core() -> dict[str, Any]:
    """What JupyterLab shares with extensions; from the oldest versions on that ours names."""
    import jupyterlab

    shared: dict[str, Any] = json.loads((Path(jupyterlab.__file__).parent / "staging" / "package.json").read_text())
    shared["resolutions"] |= json.loads((LAB / "package.json").read_text())["dependencies"]
    return shared


def finish(built: Path) -> None:
    """Leave out what only building needs, say which sources these are, and replace what stood there."""
    metadata = json.loads((built / "package.json").read_text())
    kept = {name: metadata[name] for name in ("name", "version", "description", "license", "jupyterlab")}
    kept["agentnb"] = {"sources": digest_of_sources()}
    (built / "package.json").write_text(json.dumps(kept, indent=2) + "\n")
    (built / "install.json").write_text(
        json.dumps(
            {
                "packageManager": "python",
                "packageName": "agentnb-jupyter",
                "uninstallInstructions": "Uninstall the Python package agentnb-jupyter.",
            },
            indent=2,
        )
        + "\n"
    )
    shutil.rmtree(BUILT, ignore_errors=True)
    shutil.copytree(built, BUILT)
    size = sum(path.stat().st_size for path in BUILT.rglob("*") if path.is_file())
    print(f"{BUILT.relative_to(ROOT)}: {size:,} bytes")


def run(*command: str) -> None:
    subprocess.run(command, cwd=WORK, check=True)


if __name__ == "__main__":
    sys.exit(build())
