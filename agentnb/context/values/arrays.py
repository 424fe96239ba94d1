"""Tell of arrays, tensors and torch modules: shape, type, where they lie, and the first items."""

from __future__ import annotations

import sys
from typing import Any

from agentnb.context.values import static_inspect
from agentnb.context.values.text_format import ITEMS, cell, items

SCAN_CELLS = 500_000
"""Cells of a table or array that are searched for missing values or extremes; more takes over 20 ms."""
NESTED = 9
"""Levels of a network whose parameters are counted."""


def array(value: Any) -> str:
    about = f"{static_inspect.class_name(type(value))[1]}, shape {tuple(value.shape)}, {value.dtype}"
    if value.dtype.hasobject or value.dtype.fields or not value.size:
        return about
    first = ", ".join(cell(item) for item in value.flat[:ITEMS].tolist())
    return f"{about}{_spread(value)}: {first}{', …' if value.size > ITEMS else ''}"


def short(value: Any) -> str:
    """Return an array inside something else: its shape, and its items where they are few numbers."""
    kind = f"{static_inspect.class_name(type(value))[1]} {' x '.join(map(str, value.shape))} {value.dtype}"
    if value.dtype.kind not in "iufb" or not 0 < value.size <= ITEMS:
        return kind
    return f"{kind}: {', '.join(cell(item) for item in value.flat[:].tolist())}"


def _spread(value: Any) -> str:
    numpy = sys.modules["numpy"]
    masked = static_inspect.class_name(type(value))[1] == "MaskedArray"
    if value.dtype.kind not in "iuf" or value.size > SCAN_CELLS or masked:
        return ""
    least, most = (ends.reduce(value, axis=None) for ends in (numpy.fmin, numpy.fmax))  # past what is not a number
    gaps = int(numpy.isnan(value).sum()) if value.dtype.kind == "f" else 0
    return f", from {cell(least.item())} to {cell(most.item())}{f', {gaps} nan' if gaps else ''}"


def tensor(value: Any) -> str:
    """Return a torch tensor; its items where they lie in this machine's memory, in order."""
    grad = ", with gradient" if value.requires_grad else ""
    about = f"tensor, shape {tuple(value.shape)}, {value.dtype}, on {value.device.type}{grad}"
    at_hand = value.device.type == "cpu" and str(value.layout) == "torch.strided" and value.is_contiguous()
    if not at_hand or not value.numel():
        return about
    flat = value.detach().view(-1)
    first = ", ".join(cell(item) for item in flat[:ITEMS].tolist())
    ends = ""
    if flat.numel() <= SCAN_CELLS and not value.dtype.is_complex and str(value.dtype) != "torch.bool":
        ends = f", from {cell(flat.min().item())} to {cell(flat.max().item())}"
    return f"{about}{ends}: {first}{', …' if flat.numel() > ITEMS else ''}"


def network(value: object) -> str:
    """Return a torch module, the user's own too: its parts are stored, so that nothing of his code is needed."""
    own = static_inspect.own_dict(value)
    parts = own.get("_modules") or {}
    layers = items(
        (f"{key} {static_inspect.class_name(type(part))[1]}" for key, part in list(parts.items())[:ITEMS]), len(parts)
    )
    mode = "training" if own.get("training") else "evaluation"
    kind, size = static_inspect.type_name(value), _parameters(value, NESTED)
    return f"{kind}, a torch module in {mode}: {size} parameters; layers {layers}"


def _parameters(value: object, depth: int) -> int:
    own = static_inspect.own_dict(value)
    held = sum(int(item.numel()) for item in (own.get("_parameters") or {}).values() if item is not None)
    parts = (own.get("_modules") or {}).values() if depth else ()
    return held + sum(_parameters(part, depth - 1) for part in parts if part is not None)
