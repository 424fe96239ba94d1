"""Do the facts that a question needs stand in the request, and for how many tokens? Questions about notebooks.

Each file in data/questions is a notebook (cells after `# %%`) and, after `# ?`, its questions: `[N]` asks after the
Nth cell, else at the end; `&` follows up on the question above it, in its conversation; after `=>` stand the facts that
an answer needs, as text. Most of the notebooks were looked at while the selection was written ("develop"), the others
were not ("held out"). Beside it stand two plain ways: the whole notebook with all its outputs, and the last three
cells.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import mean, median
from typing import Any

DATA = Path(__file__).parent / "data" / "questions"
WORKERS = 2
MANY = 15
"""Cells from which on at most half of the whole notebook's tokens may be added."""


@dataclass(frozen=True)
class Asked:
    """One question of a notebook: after which code cell, and the facts that its answer needs."""

    text: str
    after: int
    facts: tuple[str, ...]
    follows: bool = False


@dataclass(frozen=True)
class Written:
    """A notebook as data."""

    name: str
    develop: bool
    cells: tuple[str, ...]
    questions: tuple[Asked, ...]


@dataclass(frozen=True)
class Outcome:
    """What one way of asking brought: the share of the facts, the tokens added, the library's part of them."""

    notebook: str
    develop: bool
    many: bool
    question: str
    missing: tuple[str, ...]
    facts: int
    tokens: int
    library: int
    whole: int
    whole_missing: int
    three: int
    three_missing: int
    milliseconds: float


def read(path: Path) -> Written:
    text = path.read_text()
    body, _, asked = text.partition("\n# ?\n")
    parts = re.split(r"^# %%(.*)\n", body, flags=re.MULTILINE)
    cells = [code.rstrip() for kind, code in zip(parts[1::2], parts[2::2], strict=True) if "markdown" not in kind]
    questions = []
    for line in asked.strip().splitlines():
        place = re.match(r"\[(\d+)\]\s*", line)
        follows = line.startswith("&")
        words, _, facts = line[place.end() if place else 0 :].removeprefix("&").strip().partition(" => ")
        after = questions[-1].after if follows else int(place.group(1)) if place else len(cells)
        questions.append(Asked(words, after, tuple(fact.strip() for fact in facts.split(" | ")), follows))
    return Written(path.stem, "# develop" in parts[0], tuple(cells), tuple(questions))


def squeezed(text: str) -> str:
    return " ".join(text.replace("&lt;", "<").split())


def lacking(facts: Sequence[str], text: str) -> tuple[str, ...]:
    plain = squeezed(text)
    return tuple(fact for fact in facts if squeezed(fact) not in plain)


def shell_of(folder: Path) -> tuple[Any, Any]:
    """An IPython shell with the extension in it, as a kernel would have it, and our notebook."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    from agentnb.notebook import magics

    os.chdir(folder)
    os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"  # as in a kernel
    sys.path.insert(0, "")  # likewise
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance(config=Config({"HistoryManager": {"hist_file": ":memory:"}}))
    magics.load(shell)
    return shell, getattr(shell, magics._MARK)


def asked(written: Written) -> Iterator[Outcome]:
    with tempfile.TemporaryDirectory() as home:
        os.environ |= {"AGENTNB_HOME": f"{home}/data", "AGENTNB_MODEL": "sim:claude-sonnet-4-6"}
        os.environ |= {"AGENTNB_SIM_SPEED": "0"}
        shell, notebook = shell_of(Path(home))
        for number, source in enumerate(written.cells, 1):
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                shell.run_cell(source, store_history=True)
            thread = ""
            for question in written.questions:
                if question.after == number:
                    thread = thread if question.follows else f"q-{time.monotonic_ns()}"
                    yield outcome(written, question, notebook, thread)
        notebook.close()
        os.chdir("/")


def apart(books: Sequence[Written]) -> Iterator[Outcome]:
    """Each notebook in a process of its own: IPython keeps outputs for all the shells of a process together."""
    with ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        for outcomes in pool.map(_all, books):
            yield from outcomes


def _all(written: Written) -> list[Outcome]:
    warnings.simplefilter("ignore")
    return list(asked(written))


def outcome(written: Written, question: Asked, notebook: Any, thread: str) -> Outcome:
    """What the question brings; of a follow-up the facts may stand in the conversation before it."""
    from agentnb.agent.state import AgentState

    notebook.observe()
    session = notebook.session
    request = session.request(question.text, thread=thread, cell=f"ask-{time.monotonic_ns()}", tools=())
    agent, run_id = session.agent(), session.new_run_id()
    agent.begin(request, run_id)
    begun = time.process_time()
    opened = AgentState.from_json(agent.machine.get(run_id).context)
    state = agent._hydrating.fill(opened, run_id)
    spent = time.process_time() - begun
    if any(other.follows for other in written.questions):
        agent.drive(run_id)
    count = session.samples.counter_for(request.model).count
    before = [block for block in agent._hydrating._threads.before(state) if block.role.value == "user"]
    text = "\n".join(getattr(block.content, "text", "") for block in state.blocks)
    known = "\n".join(getattr(block.content, "text", "") for block in before if question.follows)
    told = [whole_cell(run) for run in session.log.runs]
    whole, three = "\n".join(told), "\n".join(told[-3:])
    library = sum(item["tokens"] for item in state.definitions if item["file"] and item["form"] == "signature")
    return Outcome(
        notebook=written.name,
        develop=written.develop,
        many=len(told) > MANY,
        question=question.text,
        missing=lacking(question.facts, f"{known}\n{text}"),
        facts=len(question.facts),
        tokens=count(text) - count(question.text),
        library=library,
        whole=count(whole),
        whole_missing=len(lacking(question.facts, whole)),
        three=count(three),
        three_missing=len(lacking(question.facts, three)),
        milliseconds=spent * 1000,
    )


def whole_cell(run: Any) -> str:
    return "\n".join([run.source, *(output.text for output in run.outputs)])


def share(outcomes: Sequence[Outcome], way: str) -> float:
    missing = {"ours": lambda each: len(each.missing), "whole": lambda each: each.whole_missing}.get(
        way, lambda each: each.three_missing
    )
    return mean(1 - missing(each) / each.facts for each in outcomes)


def told(outcomes: Sequence[Outcome], name: str) -> str:
    many = [each for each in outcomes if each.many]
    ratio = median(each.tokens / each.whole for each in many) if many else float("nan")
    library = sum(each.library for each in outcomes) / max(1, sum(each.tokens for each in outcomes))
    return (
        f"{name:10s} {len(outcomes):3d} questions  facts {share(outcomes, 'ours'):.3f}"
        f"  (whole {share(outcomes, 'whole'):.3f}, last three {share(outcomes, 'three'):.3f})"
        f"  tokens {median(each.tokens for each in outcomes):,.0f}"
        f" (whole {median(each.whole for each in outcomes):,.0f}, three {median(each.three for each in outcomes):,.0f})"
        f"  of the whole {ratio:.2f} over {MANY} cells  library {library:.1%}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--develop", action="store_true", help="only the notebooks that were looked at")
    parser.add_argument("--only", default="", help="only this notebook")
    parser.add_argument("--missing", action="store_true", help="print each fact that is missing")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    books = [read(path) for path in sorted(DATA.glob("*.txt"))]
    chosen = [book for book in books if (book.develop or not given.develop) and given.only in book.name]
    outcomes = list(apart(chosen))
    for each in outcomes if given.missing else ():
        if each.missing:
            print(f"{each.notebook}: {each.question}  lacks {list(each.missing)}")
    for name in dict.fromkeys(each.notebook for each in outcomes):
        print(told([each for each in outcomes if each.notebook == name], name))
    for name, kept in (("develop", True), ("held out", False)):
        some = [each for each in outcomes if each.develop is kept]
        print(told(some, name) if some else f"{name}: not asked")
    times = sorted(each.milliseconds for each in outcomes)
    print(f"own CPU ms a question: median {median(times):.0f}, p95 {times[int(0.95 * len(times))]:.0f}")


if __name__ == "__main__":
    sys.exit(main())
