"""Look at live objects without running anybody's code: no properties, no `__getattr__`, no `__repr__`."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Iterable, Sequence
from types import (
    BuiltinFunctionType,
    ClassMethodDescriptorType,
    CodeType,
    FunctionType,
    GenericAlias,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodDescriptorType,
    MethodType,
    MethodWrapperType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any, Final

from agentnb.canonical import JsonMapping, JsonObject

UNWRAP_LIMIT = 20
MISSING: Final = object()
COMPILED = (
    BuiltinFunctionType,
    MethodDescriptorType,
    WrapperDescriptorType,
    MethodWrapperType,
    ClassMethodDescriptorType,
    GetSetDescriptorType,
    MemberDescriptorType,
)
NO_INSTANCES = (type, ModuleType, FunctionType)
_type_dict = type.__dict__["__dict__"].__get__
_type_mro = type.__dict__["__mro__"].__get__
_type_module = type.__dict__["__module__"].__get__
_type_qualname = type.__dict__["__qualname__"].__get__
_short_name = type.__dict__["__name__"].__get__
_module_dict: Any = type.__dict__["__dict__"].__get__(ModuleType)["__dict__"].__get__


def is_a(value: object, kind: type | tuple[type, ...]) -> bool:
    """Do as `isinstance`, by the real type alone: a class may compute `__class__`, and a proxy does."""
    return issubclass(type(value), kind)


def class_dict(cls: type) -> JsonMapping:
    """Return a class's own attributes, past whatever its metaclass overrides."""
    found: JsonMapping = _type_dict(cls)
    return found


def plain(value: object) -> str:
    """Return a text as an exact `str`; an empty one for anything else. Names may be of a subclass that runs code."""
    return str.__str__(value) if is_a(value, str) else ""


def class_name(cls: type) -> tuple[str, str]:
    """Return (module, qualified name) of a class. One that code without a `__name__` made has no module."""
    try:
        module = plain(_type_module(cls))
    except AttributeError:
        module = ""
    return module, plain(_type_qualname(cls))


def function_name(function: FunctionType) -> tuple[str, str]:
    """Return (name, qualified name) of a function, which anybody may have set to anything that is a text."""
    return plain(function.__name__), plain(function.__qualname__)


def public(namespace: JsonMapping) -> list[tuple[str, Any]]:
    """Return the names that people may write and what they mean; `globals()[3] = 1` makes one that nobody can."""
    return [(name, value) for name, value in list(namespace.items()) if type(name) is str and name[:1] != "_"]


def module_dict(module: ModuleType) -> JsonObject:
    """Return a module's own names, past whatever its class overrides: one that loads when it is asked stays
    unloaded."""
    found: JsonObject = _module_dict(module)
    return found


def module_text(module: ModuleType, name: str) -> str:
    """Return `__name__`, `__file__` or another text among a module's own names; empty where it is none."""
    return plain(module_dict(module).get(name))


def loaded_module(name: str) -> ModuleType | None:
    """Return the module of that name that is in `sys.modules`; None for what only calls itself one."""
    found: Any = sys.modules.get(name)
    return found if is_a(found, ModuleType) else None


def loaded_class(module: str, name: str) -> type | None:
    """Return a class of a module that the user has imported; None where there is none. Nothing is imported."""
    loaded = sys.modules.get(module)
    found = attribute(loaded, name) if is_a(loaded, ModuleType) else None
    return found if is_a(found, type) else None


def type_name(value: object) -> str:
    """Return the class of a value as a reader knows it."""
    module, name = class_name(type(value))
    return name if module in {"builtins", "__main__"} else f"{module}.{name}"


def bases_of(cls: type) -> tuple[type, ...]:
    """Return the method resolution order, past whatever the metaclass overrides."""
    found: tuple[type, ...] = _type_mro(cls)
    return found


def class_attribute(cls: type, name: str) -> Any:
    """Return what a class or its bases store under `name`; MISSING where they store nothing."""
    return next((class_dict(base)[name] for base in bases_of(cls) if name in class_dict(base)), MISSING)


def own_dict(value: object) -> JsonObject:
    """Return the instance's own attributes; empty where it has none or its class computes `__dict__`."""
    if not is_a(class_attribute(type(value), "__dict__"), (GetSetDescriptorType, MemberDescriptorType)):
        return {}
    try:
        found = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return {}
    return found if type(found) is dict else {}


def slots_of(value: object) -> list[tuple[str, Any]]:
    """Return what a Python class's `__slots__` hold in the instance; a slot that is empty is left out."""
    slots = [
        (name, item)
        for base in reversed(bases_of(type(value)))
        if "__slots__" in class_dict(base)
        for name, item in class_dict(base).items()
        if is_a(item, MemberDescriptorType)
    ]
    return [(name, found) for name, item in slots if (found := _slot(item, value)) is not MISSING]


def attribute(value: Any, name: str) -> Any:
    """Return `value.name` as it is stored, descriptors as such; MISSING where only running code could tell.

    Not `inspect.getattr_static`: that one asks metaclasses for `__dict__`, which may be the user's code (3.11).
    """
    if is_a(value, ModuleType):
        return _module_attribute(value, name)
    value = origin(value)
    if is_a(value, type):
        found = class_attribute(value, name)
        return class_attribute(type(value), name) if found is MISSING else found
    found = class_attribute(type(value), name)
    if is_a(found, MemberDescriptorType):
        return _slot(found, value)
    return found if is_a(found, property) else own_dict(value).get(name, found)


def along(namespace: JsonMapping, parts: Sequence[str]) -> list[Any]:
    """Return the live objects that the parts of a dotted name lead through, as far as they are stored."""
    found: list[Any] = []
    for part in parts:
        value = attribute(found[-1], part) if found else namespace.get(part, MISSING)
        if value is MISSING:
            break
        found.append(value)
    return found


def bound_to(value: Any) -> list[object]:
    """Return the object whose method this is, also inside a partial; nothing of anything else."""
    while type(value) is functools.partial:
        value = value.func
    return [value.__self__] if type(value) is MethodType else []


def method_code(cls: type, name: str) -> CodeType | None:
    """Return the code of a class's method of that name, its own or inherited."""
    inner = unwrap(class_attribute(cls, name))
    return inner.__code__ if is_a(inner, FunctionType) else None


def classes_of(values: Iterable[object]) -> list[type]:
    """Return the class of each value that is an instance, by identity: a metaclass may compute hashes."""
    return list({id(type(value)): type(value) for value in values if not is_a(value, NO_INSTANCES)}.values())


def stored_names(value: Any) -> list[str]:
    """Return the names under which a value, or its classes, store attributes."""
    if is_a(value, ModuleType):
        return [name for name, _ in public(module_dict(value))]
    kind = value if is_a(value, type) else type(value)
    stored = (own_dict(value), *map(class_dict, bases_of(kind)))
    return [] if _is_computing(value) else list(dict.fromkeys(plain(name) for names in stored for name in names))


def computes_attributes(value: Any) -> bool:
    """Tell whether attributes may be computed: a module's or a class's `__getattr__`, a property."""
    if is_a(value, ModuleType):
        return "__getattr__" in module_dict(value)
    return class_attribute(type(value), "__getattr__") is not MISSING or _is_computing(value)


def is_generic(value: object) -> bool:
    """Tell whether it is `Model[int]` or the like."""
    return is_a(value, GenericAlias) or class_name(type(value))[0] == "typing"


def origin(value: object) -> Any:
    """Return the class of `Model[int]`, and of pandas' and xarray's accessors (`df.plot`); anything else is itself."""
    if is_a(value, GenericAlias):
        return _held(value, GenericAlias, "__origin__")
    if is_generic(value):
        return own_dict(value).get("__origin__", value)
    found = own_dict(value).get("_accessor")
    return found if is_a(found, type) and _is_computing(value) else value


def _is_computing(value: object) -> bool:
    """Tell whether a descriptor computes what an attribute means, as properties do."""
    plain_ones = (FunctionType, type, *COMPILED)
    return not is_a(value, plain_ones) and class_attribute(type(value), "__get__") is not MISSING


def _slot(slot: Any, value: Any) -> Any:
    try:
        return slot.__get__(value, type(value))
    except AttributeError:
        return MISSING


def _module_attribute(module: ModuleType, name: str) -> Any:
    names = module_dict(module)
    if name in names:
        return names[name]
    return sys.modules.get(f"{module_text(module, '__name__')}.{name}", MISSING)


def unwrap(value: object) -> Any:
    """Return the function or class inside decorators, descriptors, partials and wrapper objects; else the value
    itself."""
    if type(value) is FunctionType and not value.__dict__:  # the usual case: nothing is wrapped
        return value
    for _ in range(UNWRAP_LIMIT):
        inner = _inner(value)
        if inner is None or inner is value:
            return value
        value = inner
    return value


def _inner(value: object) -> Any:
    for wrapper, name in _WRAPPERS:
        if is_a(value, wrapper):
            return _held(value, wrapper, name)
    if is_a(value, (type, ModuleType)):
        return None
    if origin(value) is not value:
        return origin(value)
    own = own_dict(value)
    wrapped = own.get("__wrapped__")
    if wrapped is not None:
        return wrapped
    return None if is_a(value, (FunctionType, *COMPILED)) else _wrapped_by_name(own)


_WRAPPERS = (
    (property, "fget"),
    (staticmethod, "__func__"),
    (classmethod, "__func__"),
    (MethodType, "__func__"),
    (functools.cached_property, "func"),
    (functools.partial, "func"),
    (functools.partialmethod, "func"),
)


def _held(value: object, wrapper: type, name: str) -> Any:
    """Return what `wrapper` keeps under `name`, past whatever its subclass overrides; None where it keeps nothing."""
    slot = class_dict(wrapper).get(name)
    found = _slot(slot, value) if is_a(slot, (MemberDescriptorType, GetSetDescriptorType)) else MISSING
    return own_dict(value).get(name) if found is MISSING else found


def _wrapped_by_name(own: JsonMapping) -> Any:
    """Return the function that a wrapper object with the function's name keeps in an attribute."""
    name = plain(own.get("__name__"))
    held = (item for item in own.values() if is_a(item, FunctionType) and function_name(item)[0] == name)
    return next(held, None) if name else None


def compiled_text(value: Any) -> tuple[str, str, str, str] | None:
    """Return (qualified name, kind, signature, doc) of something compiled; None for what is not, or says nothing."""
    if is_a(value, type):
        return _compiled_class(value)
    cls = type(value)
    if not is_a(value, COMPILED) and not _is_compiled_callable(cls):
        return None
    name = _text(value, "__qualname__") or _text(value, "__name__")
    module = _text(value, "__module__") or _owner_module(value)
    doc = _text(value, "__doc__")
    kind = "function" if is_a(value, BuiltinFunctionType) and not _bound_to_object(value) else "method"
    kind = kind if is_a(value, COMPILED) else "function"
    if is_a(value, (GetSetDescriptorType, MemberDescriptorType)):
        return (f"{module}.{name}" if module else name), "property", f"{name}  # attribute", doc
    signature = f"def {name.rpartition('.')[2]}{_arguments(value, name, doc)}: ..."
    return (f"{module}.{name}" if module and module != "builtins" else name, kind, signature, doc) if name else None


def _bound_to_object(value: BuiltinFunctionType) -> bool:
    owner = value.__self__
    return owner is not None and not is_a(owner, ModuleType)


def _is_compiled_callable(cls: type) -> bool:
    """Return a callable type whose `__call__` and `__name__` are C: numpy's ufuncs, cython's functions."""
    call = class_attribute(cls, "__call__")
    name = class_attribute(cls, "__name__")
    return is_a(call, WrapperDescriptorType) and is_a(name, (GetSetDescriptorType, MemberDescriptorType))


def _compiled_class(cls: type) -> tuple[str, str, str, str]:
    module, name = class_name(cls)
    doc = plain(class_dict(cls).get("__doc__"))
    public = [key for key, item in class_dict(cls).items() if not key.startswith("_") and is_a(item, COMPILED)]
    members = [f"    {key}  # {_member_kind(class_dict(cls)[key])}" for key in public[:30]]
    full = f"{module}.{name}" if module != "builtins" else name
    return full, "class", "\n".join([f"class {_short_name(cls)}:", *members]) if members else f"class {name}: ...", doc


def _member_kind(item: object) -> str:
    return "attribute" if isinstance(item, GetSetDescriptorType | MemberDescriptorType) else "method"


def _text(value: object, name: str) -> str:
    """Return a text attribute that C code answers: no Python of anybody's runs."""
    slot = class_attribute(type(value), name)
    if is_a(slot, (GetSetDescriptorType, MemberDescriptorType)):
        try:
            slot = slot.__get__(value, type(value))
        except (AttributeError, TypeError, ValueError):
            return ""
    return plain(own_dict(value).get(name, slot))


def _owner_module(value: object) -> str:
    owner: Any = getattr(value, "__objclass__", None) if is_a(value, COMPILED) else None
    return class_name(owner)[0] if is_a(owner, type) else ""


_MODULE = re.compile(r"^\(\$module(?:, /(?=[,)]))?(?:, )?")
"""Phrases by which C functions say that they take none of the arguments themselves."""


def _arguments(value: object, name: str, doc: str) -> str:
    """Return `(x, /, out=None)` from the C signature, or from the first line of the doc as numpy writes it."""
    text = _MODULE.sub("(", " ".join(_text(value, "__text_signature__").split())).replace("$", "")
    if text.startswith("("):
        return text.replace("( ", "(").replace(", )", ")")
    first = doc.lstrip().partition("\n")[0]
    short = name.rpartition(".")[2]
    return first[len(short) :].partition(" -> ")[0] if first.startswith(f"{short}(") else "(...)"
