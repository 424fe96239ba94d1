"""Answer `inference.py`, in a process of its own: astroid infers what an expression means. [home of astroid]

Run by its path in isolated mode: a line of JSON in, a line of JSON out. It reads source text and imports nothing but
compiled modules of Python's own library. It ends with its standard input, or after ten minutes without a question.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

IDLE_SECONDS = 600.0
CELLS = "<cells>"
FoundPlace = tuple[str | None, int, str] | None
"""(file, or None for the cells themselves; line; name), or None where nobody knows."""


def main() -> None:
    """Serve questions until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt of the kernel goes to its whole process group
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="ascii")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what a library prints is no reply
    questions: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(questions,), daemon=True).start()
    while True:
        try:
            question = json.loads(questions.get(timeout=IDLE_SECONDS))
        except queue.Empty:
            return
        replies.write(json.dumps(answer(**question)) + "\n")
        replies.flush()


def _read(questions: queue.SimpleQueue[bytes]) -> None:
    for line in sys.stdin.buffer:
        questions.put(line)
    os._exit(0)  # the kernel is gone: whatever is being inferred, nobody waits for it


def answer(code: str, expression: str, path: list[str]) -> FoundPlace:
    """Return where the definition of `expression` after `code` stands, with `path` as the import path."""
    import astroid  # noqa: F401 - before `path`: a user's file may be called like a part of it

    sys.path[:] = path
    try:
        return _by_astroid(code, expression)
    except (Exception, RecursionError):  # noqa: BLE001 - it fails in many ways on other people's code
        return None


# astroid --------------------------------------------------------------------------------------------------------------

_seen: dict[str, tuple[int, int]] = {}


def _by_astroid(code: str, expression: str) -> FoundPlace:
    import astroid

    manager = astroid.MANAGER
    _forget_changed(manager)
    module = astroid.parse(f"{code}\n{expression}\n", module_name="", path=CELLS)
    found = _place(module.body[-1].value)
    for item in manager.astroid_cache.values():
        if item.file and item.file not in _seen:
            _seen[item.file] = _stamp(item.file)
    return found


def _stamp(file: str) -> tuple[int, int]:
    try:
        found = Path(file).stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


def _forget_changed(manager: Any) -> None:
    """Forget what changed. astroid never looks at modification times: when a file that it has read changes, all it
    knows goes."""
    if any(_stamp(file) != stamp for file, stamp in _seen.items()):
        manager.clear_cache()
        _seen.clear()


def _place(node: object) -> FoundPlace:
    """Return the definition behind an attribute: among its owner's attributes, else what the node is inferred as."""
    for find in (_owner_attributes, _inferred):
        for found in find(node):
            place = _located(found)
            if place is not None:
                return place
    return None


def _owner_attributes(node: Any) -> Iterator[Any]:
    for owner in _safely(node.expr.infer):
        yield from _safely(partial(owner.getattr, node.attrname))


def _inferred(node: Any) -> Iterator[Any]:
    return _safely(node.infer)


def _safely(produce: Callable[[], Any]) -> Iterator[Any]:
    """Yield astroid's answers as far as it gets; its errors end them."""
    import astroid

    try:
        yield from produce()
    except (astroid.AstroidError, RecursionError, AttributeError):
        return


def _located(found: Any) -> FoundPlace:
    found = getattr(found, "_proxied", found)
    kind = type(found).__name__
    if kind not in {"FunctionDef", "AsyncFunctionDef", "ClassDef", "AssignName", "AssignAttr"}:
        return None
    file = found.root().file
    name = found.attrname if kind == "AssignAttr" else found.name
    if file and Path(file).name == CELLS:
        return None, found.lineno, _name_in_cells(found)
    return (str(file), found.lineno, name) if file and found.lineno else None


def _name_in_cells(found: Any) -> str:
    """Return `M.fit`; for `self.w = …` the method that sets it."""
    if hasattr(found, "qname"):
        return str(found.qname()).lstrip(".")
    scope = found.scope()
    owner = str(scope.qname()).lstrip(".")
    if type(scope).__name__ == "FunctionDef":
        return owner
    return f"{owner}.{found.name}" if owner else str(found.name)


if __name__ == "__main__":
    main()
