"""`make demo`: run the quickstart in a real kernel, offline, and print what its runs showed.

Exit status 0 when the notebook ran and its figures are there; nothing outside a temporary directory is written.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from traitlets.config import Config

from agentnb.models.layers import layer_word

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
RUN = "application/vnd.agentnb.run.v1+json"


def execute(home: str) -> list[dict[str, Any]]:
    """The run documents that the quickstart left in its outputs, in order."""
    os.environ["AGENTNB_HOME"] = home
    book = nbformat.read(NOTEBOOKS / "01-quickstart.ipynb", as_version=4)
    # Where it can, the kernel listens on no port: it would warn of that.
    quiet = Config({"KernelManager": {"transport": "ipc", "ip": f"{home}/kernel"}} if os.name == "posix" else {})
    where = {"metadata": {"path": str(NOTEBOOKS)}}
    client = NotebookClient(book, timeout=120, kernel_name="python3", resources=where, config=quiet)
    client.execute()
    outputs = (output for cell in book.cells for output in cell.get("outputs", ()))
    return [output["data"][RUN] for output in outputs if RUN in output.get("data", {})]


def describe(run: dict[str, Any]) -> str:
    """One run for the terminal: question, answer, layers, cache, latency, cost."""
    layers = "\n".join(map(layer_line, run["layers"]))
    latency, cost = run["latency"], run["cost"]
    kind = "simulated" if run["simulated"] else "measured"
    return (
        f"> {run['task']}\n\n{run['text']}\n\n  layers of the last call\n{layers}\n"
        f"  prompt cache   {run['cache']['reason']}\n"
        f"  latency        first token after {latency['ttft']:.2f} s, then {latency['tpot'] * 1000:.0f} ms a token, "
        f"total {latency['total']:.2f} s ({kind})\n"
        f"  cost           ${cost['total']:.4f}; without the prompt cache ${cost['uncached']:.4f} ({kind})\n"
    )


def layer_line(layer: dict[str, Any]) -> str:
    name, tokens, cached = layer_word(layer["name"]), layer["tokens"], layer["cached_tokens"]
    return f"    {name:<13} ≈ {tokens:>5,} tokens, ≈ {cached:>5,} of them cached"


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="agentnb-demo-") as home:
        runs = execute(home)
    for run in runs:
        print(describe(run))
    finished = [run for run in runs if run["state"] == "COMPLETED"]
    print(f"{len(finished)} of {len(runs)} runs completed, all simulated: no key was used, nothing was spent.")
    return 0 if runs and len(finished) == len(runs) else 1


if __name__ == "__main__":
    sys.exit(main())
