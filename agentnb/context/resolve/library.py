"""Tell library code by the live object: its qualified name, its signature and its docstring, never its body.

Only the lines of the header are read. A file of ten thousand lines costs a millisecond, and nothing is parsed.
"""

from __future__ import annotations

import inspect
import re
from dataclasses import replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from agentnb.context.notebook.trace import is_library
from agentnb.context.resolve.files import loaded_file, module_name, path_of, relative_file, stamp_of
from agentnb.context.static.definitions import Definition
from agentnb.context.static.syntax import first_line, header
from agentnb.context.values import static_inspect

HEAD_LINES = 300
"""Lines of a function that are read for its header."""


def of_function(code: CodeType, function: FunctionType | None = None, *, is_property: bool = False) -> Definition:
    """Return a library's function or method."""
    path = path_of(code.co_filename)
    claimed = static_inspect.plain(function.__module__) if function else ""
    doc = static_inspect.plain(function.__doc__) if function else _doc_of(code)
    inside = code.co_qualname.rpartition(".")[0]
    kind = "method" if inside and not inside.endswith("<locals>") else "function"
    if code.co_flags & inspect.CO_COROUTINE and kind == "function":
        kind = "async function"
    header = _header(path, code.co_firstlineno) or f"def {code.co_name}(...):"
    module = module_of(path, claimed)
    made = _told(f"{module}.{code.co_qualname}", kind, f"{header} ...", doc)
    if is_property:
        made = replace(made, kind="property", signature=f"@property {made.signature}")
    return replace(made, file=relative_file(path, module), lines=(code.co_firstlineno, _last_line(code)))


def of_class(cls: type) -> Definition | None:
    """Return a library's class, with how it is made; None for one of the user's, or one that is compiled."""
    module, qualname = static_inspect.class_name(cls)
    functions = [
        inner.__code__
        for value in static_inspect.class_dict(cls).values()
        if static_inspect.is_a(inner := static_inspect.unwrap(value), FunctionType)
    ]
    own = next((Path(c.co_filename) for c in functions if c.co_qualname.startswith(f"{qualname}.")), None)
    loaded = static_inspect.loaded_module(module) if module != "__main__" else None
    path = own or (loaded_file(loaded) if loaded else None)
    if path is None or not is_library(str(path)):
        return None
    bases = [static_inspect.class_name(base)[1] for base in cls.__bases__ if base is not object]
    made: Any = static_inspect.class_dict(cls).get("__init__")
    lines = [f"class {qualname.rpartition('.')[2]}({', '.join(bases)}):" if bases else f"class {qualname}:"]
    if static_inspect.is_a(made, FunctionType) and is_library(made.__code__.co_filename):
        lines.append(f"    {_header(Path(made.__code__.co_filename), made.__code__.co_firstlineno)} ...")
    doc = static_inspect.plain(static_inspect.class_dict(cls).get("__doc__"))
    module = module_of(path, module)
    return replace(_told(f"{module}.{qualname}", "class", "\n".join(lines), doc), file=relative_file(path, module))


def of_module(module: ModuleType) -> Definition | None:
    """Return a library's module by its import and its summary. None for one of the user's, or one without a file."""
    path = loaded_file(module)
    if path is None or not is_library(str(path)):
        return None
    name, doc = static_inspect.module_text(module, "__name__"), static_inspect.module_text(module, "__doc__")
    return replace(_told(name, "import", f"import {name}", doc), file=relative_file(path, name))


def is_library_function(code: CodeType) -> bool:
    """Tell whether it is a named function of a library, at its module's top or in a class."""
    return is_library(code.co_filename) and code.co_name[0] != "<" and "<locals>" not in code.co_qualname


def is_library_class(cls: type) -> bool:
    """Tell whether its module is a library's, or has no file; the notebook's own module may have any."""
    module = static_inspect.class_name(cls)[0]
    loaded = static_inspect.loaded_module(module)
    file = static_inspect.module_text(loaded, "__file__") if loaded else ""
    return module != "__main__" and (is_library(file) if file else True)


def module_of(path: Path, claimed: str) -> str:
    """Return the name of a file's module; the one that it claims, where that is loaded from this file."""
    loaded = static_inspect.loaded_module(claimed)
    if loaded is not None and loaded_file(loaded) == path:
        return static_inspect.module_text(loaded, "__name__")
    return module_name(path)


@lru_cache(1024)
def _told(name: str, kind: str, signature: str, doc: str) -> Definition:
    paragraphs = [part for part in inspect.cleandoc(doc).split("\n\n") if part.strip()]
    prose = (part for part in paragraphs if not re.match(r"[\w.]+\(", part.strip()))
    about = " ".join(" ".join(line for line in next(prose, "").split("\n") if line.strip("=-~*# ")).split())
    first, newline, rest = signature.partition("\n")
    said = f'  """{first_line(about)}"""' if about else ""
    return sourceless(name, kind, f"{first}{said}{newline}{rest}", about, docstring=doc)


def _header(path: Path, first: int) -> str:
    return _header_at(str(path), first, stamp_of(path))


@lru_cache(4096)
def _header_at(path: str, first: int, stamp: tuple[int, int]) -> str:
    """Return a function's first lines. `stamp` tells the version of the file."""
    try:
        with Path(path).open(encoding="utf-8", errors="replace") as file:
            return header("".join(islice(file, first - 1, first - 1 + HEAD_LINES)).lstrip(" \t"))
    except OSError:
        return ""


@lru_cache(4096)
def _last_line(code: CodeType) -> int:
    """Return the last line of a function's text that its code, or code inside it, stands on."""
    inside = [_last_line(item) for item in code.co_consts if isinstance(item, CodeType)]
    return max([code.co_firstlineno, *(line for _, _, line in code.co_lines() if line), *inside])


def _doc_of(code: CodeType) -> str:
    """Return a function's docstring, which is its first constant, where it has one."""
    found: Any = code.co_consts[0] if code.co_consts else None
    return found if type(found) is str and not code.co_name.startswith("<") else ""


def sourceless(name: str, kind: str, signature: str, doc: str, *, docstring: str = "") -> Definition:
    return Definition(
        name=name,
        kind=kind,
        origin="file",
        file="",
        cell="",
        lines=(0, 0),
        source="",
        signature=signature,
        doc=doc,
        docstring=docstring,
        library=True,
    )
