"""Make an edit script for bench_prefix.py: the files of a package, then what each turn edits and asks.

    python tests/benchmarks/make_prefix_edits.py                             # the shipped one: synthetic, seeded
    python tests/benchmarks/make_prefix_edits.py --git REPO --under PACKAGE --out FILE  # a real history

JSON Lines. The first line has the files as they are at first, `{"files": {path: [line, …]}, "runs": bool}`, and whether
their code may be imported; where not, the modules are there without having run. Each other line is a
turn: `{"edits": [[path, start, stop, [line, …]], …], "task": text}`. Edits of a turn replace
lines [start, stop) and are applied in order. A file without lines does not exist.

The synthetic script has the statistics that six real repositories showed between two commits: of the definitions that
the work touches, 60 % of the text is as before, 25 % was changed and 15 % is new to it. Work stays in a place for a
while: what was edited lately is edited again, and half of the new definitions are written just then.
"""

from __future__ import annotations

import argparse
import difflib
import json
import random
import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data" / "prefix_edits.jsonl"
TURNS = 100
STATEMENTS = (4, 11)  # in a function's loop: at least, at most
MODULES = ("pricing", "stock", "orders", "billing", "customers", "reports", "shipping", "refunds")
VERBS = ("apply", "check", "collect", "count", "find", "group", "join", "limit", "merge", "rank", "split", "sum_up")
NOUNS = ("rates", "items", "lines", "parcels", "claims", "offers", "batches", "totals", "groups", "terms", "slots")
FIELDS = ("price", "weight", "quantity", "discount", "age", "score", "margin", "delay")
QUESTIONS = (
    "What does this do now",
    "Is there a mistake in",
    "How would a test look for",
    "Why is the total off in",
    "What would you simplify in",
    "Does an empty list pass through",
)
Edit = list[Any]


class Package:
    """A package in memory: modules of functions, each a list of lines, some `statements` in its loop."""

    def __init__(self, chance: random.Random, statements: tuple[int, int] = STATEMENTS) -> None:
        self._chance = chance
        self._statements = statements
        self.modules: dict[str, dict[str, list[str]]] = {name: {} for name in MODULES}
        self.helper: dict[str, str] = {}
        for module in MODULES:
            for _ in range(9):
                self.add(module)

    def add(self, module: str) -> str:
        """Write one more function; its dotted name."""
        functions = self.modules[module]
        free = [f"{v}_{n}" for v in VERBS for n in NOUNS if not any(f"{v}_{n}" in m for m in self.modules.values())]
        name = self._chance.choice(free)
        helper = self._chance.choice(list(functions)) if functions else ""
        functions[name] = self._written(module, name, helper)
        dotted = f"shop.{module}.{name}"
        self.helper[dotted] = f"shop.{module}.{helper}" if helper else ""
        return dotted

    def remove(self, dotted: str) -> None:
        _, module, name = dotted.split(".")
        del self.modules[module][name]

    def change(self, dotted: str) -> None:
        """Rewrite one to three lines of the body, and now and then the signature."""
        _, module, name = dotted.split(".")
        lines = self.modules[module][name]
        body = [i for i, line in enumerate(lines) if line.startswith("        ") and "_" not in line]
        for i in self._chance.sample(body, k=min(len(body), self._chance.randint(1, 3))):
            lines[i] = self._statement()
        if self._chance.random() < 0.08:
            lines[0] = f"def {name}(items, rate={self._number()}):"

    def names(self) -> list[str]:
        return [f"shop.{module}.{name}" for module, functions in self.modules.items() for name in functions]

    def texts(self) -> dict[str, list[str]]:
        """The files as lines."""
        out = {"shop/__init__.py": ['"""A small shop."""']}
        for module, functions in self.modules.items():
            lines = [f'"""The {module} of a small shop."""']
            for body in functions.values():
                lines += ["", "", *body]
            out[f"shop/{module}.py"] = lines
        return out

    def _written(self, module: str, name: str, helper: str) -> list[str]:
        call = [f"        total += {helper}([item], {self._number()})"] if helper else []
        return [
            f"def {name}(items, rate={self._number()}):",
            f'    """{name.replace("_", " ").capitalize()} of the {module}, rounded to cents."""',
            "    total = 0.0",
            "    for item in items:",
            *(self._statement() for _ in range(self._chance.randint(*self._statements))),
            *call,
            "    return round(total, 2)",
        ]

    def _statement(self) -> str:
        field, other = self._chance.sample(FIELDS, 2)
        forms = (
            f'        total += item["{field}"] * rate - {self._number()}',
            f'        total = max(total, item.get("{field}", {self._number()}) + item["{other}"])',
            f'        item["{field}"] = min(item["{other}"], {self._number()} * rate)',
            f'        total -= {self._number()} if item["{field}"] > item["{other}"] else rate',
        )
        return self._chance.choice(forms)

    def _number(self) -> float:
        return round(self._chance.uniform(0.1, 99), 2)


class Work:
    """What somebody works on from turn to turn: six named functions and what they call."""

    def __init__(self, chance: random.Random, statements: tuple[int, int] = STATEMENTS) -> None:
        self._chance = chance
        self.package = Package(chance, statements)
        self.named = chance.sample([n for n in self.package.names() if n.split(".")[1] in MODULES[:2]], 6)
        self._lately: list[str] = []

    def turn(self, number: int) -> dict[str, Any]:
        """Edit the package, then ask."""
        if number:
            self._edit()
            self._move_on()
            if number % 10 == 0:
                self._remove()
        listed = ", ".join(f"`{name}`" for name in self.named)
        task = f"{self._chance.choice(QUESTIONS)}: {listed}?"
        if number % 8 == 5:
            task += f" Inspect `{self._chance.choice(self.package.names())}` for it."
        return {"task": task}

    def _edit(self) -> None:
        """Change a quarter of what the work touches, rather what was changed lately."""
        alive = set(self.package.names())
        helpers = {self.package.helper[name] for name in self.named}
        touched = sorted({name for name in {*self.named, *helpers} if name in alive})
        count = int(len(touched) / 4 + self._chance.random())
        changed: list[str] = []
        while len(changed) < count:
            weights = [3.0 if name in self._lately else 1.0 for name in touched]
            changed = sorted({*changed, *self._chance.choices(touched, weights)})
        for name in changed:
            self.package.change(name)
        self._lately = [*changed, *self._lately][:8]

    def _move_on(self) -> None:
        """15 % of six names are new: nine times in ten, one of them."""
        if self._chance.random() > 0.9:
            return
        module = self._chance.choice(self.named).split(".")[1]
        if self._chance.random() < 0.3:
            module = self._chance.choice(MODULES)
        others = [n for n in self.package.names() if n.split(".")[1] == module and n not in self.named]
        written = self._chance.random() < 0.5 or not others
        new = self.package.add(module) if written else self._chance.choice(others)
        self.named = [*self.named[1:], new]

    def _remove(self) -> None:
        """Delete a function that nothing calls and the work has left."""
        called = set(self.package.helper.values())
        free = [name for name in self.package.names() if name not in called and name not in self.named]
        if free:
            self.package.remove(self._chance.choice(free))


def synthetic(seed: int = 4, statements: tuple[int, int] = STATEMENTS) -> Iterator[dict[str, Any]]:
    work = Work(random.Random(seed), statements)
    before = work.package.texts()
    yield {"files": before, "runs": True}
    for number in range(TURNS):
        asked = work.turn(number)
        after = work.package.texts()
        yield {"edits": edits_between(before, after), **asked}
        before = after


def edits_between(before: dict[str, list[str]], after: dict[str, list[str]]) -> list[Edit]:
    """Edits in an order in which they can be applied: from the end of each file to its beginning."""
    out: list[Edit] = []
    for path in sorted({*before, *after}):
        old, new = before.get(path, []), after.get(path, [])
        found = difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
        out += [[path, i, j, new[k:m]] for tag, i, j, k, m in reversed(found) if tag != "equal"]
    return out


# --- a real history ---


def from_git(repository: Path, under: str, turns: int) -> Iterator[dict[str, Any]]:
    """One turn a commit: its edits, and a question about at most six of the functions that it changed."""
    commits = git(repository, "rev-list", "--first-parent", "--reverse", "HEAD", "--", under).split()[-turns - 1 :]
    before = files_at(repository, commits[0], under)
    yield {"files": before, "runs": False}
    names: list[str] = []
    for commit in commits[1:]:
        after = files_at(repository, commit, under)
        edits = edits_between(before, after)
        names = [*dict.fromkeys([*changed_names(edits, after), *names])][:6]
        listed = ", ".join(f"`{name}`" for name in names)
        yield {"edits": edits, "task": f"What does this do now: {listed}?"}
        before = after


def changed_names(edits: Sequence[Edit], after: dict[str, list[str]]) -> list[str]:
    """The top-level functions and classes in whose lines the edits of a commit fall, at most six."""
    out: list[str] = []
    for path, start, _, lines in edits:
        module = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        above = after.get(path, [])[: start + len(lines)]
        found = [m.group(1) for line in above if (m := re.match(r"(?:async )?(?:def|class) (\w+)", line))]
        out += [f"{module}.{found[-1]}"] if found else []
    return [*dict.fromkeys(out)][:6]


def files_at(repository: Path, commit: str, under: str) -> dict[str, list[str]]:
    listed = git(repository, "ls-tree", "-r", "--name-only", commit, "--", under).splitlines()
    wanted = [path for path in listed if path.endswith(".py")]
    return {_other(path): _other(git(repository, "show", f"{commit}:{path}")).splitlines() for path in wanted}


def _other(text: str) -> str:
    """The same under another name: agentnb's own history must not be mistaken for the agentnb that replays it."""
    return re.sub(r"\bagentnb\b", "studied", text)


def git(repository: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(repository), *arguments], check=True, capture_output=True, text=True)
    return done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--git", type=Path, help="a repository whose history is to be replayed")
    parser.add_argument("--under", default="", help="the folder in it that holds the package")
    parser.add_argument("--out", type=Path, default=DATA)
    given = parser.parse_args()
    made = from_git(given.git, given.under, TURNS) if given.git else synthetic()
    lines = [json.dumps(item, ensure_ascii=False, separators=(",", ":")) for item in made]
    given.out.write_text("\n".join(lines) + "\n", "utf-8")
    print(f"{given.out}: {len(lines) - 1} turns, {given.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
