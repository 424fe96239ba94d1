"""Take the pictures of a prompt: each becomes a value of the session, and its name stands in the task.

So it goes to the model as a figure of a notebook does, and code can read it.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, MutableMapping, Sequence
from itertools import count
from pathlib import Path
from urllib.parse import unquote, urlsplit

from agentnb.context.values.pictures import opened

MOST_PIXELS = 50_000_000


def with_pictures(
    prompt: Sequence[Mapping[str, object]], namespace: MutableMapping[str, object], folder: Path
) -> list[Mapping[str, object]]:
    """Return the prompt's blocks with a line of words for each picture, which is then in `namespace`."""
    return [_taken(block, namespace, folder) for block in prompt]


def _taken(block: Mapping[str, object], namespace: MutableMapping[str, object], folder: Path) -> Mapping[str, object]:
    kind = str(block.get("mimeType") or "")
    if not kind.startswith("image/"):
        return block
    try:
        picture = opened(_data(block, folder))
        if picture.width * picture.height > MOST_PIXELS:
            raise ValueError("it is too large")
        picture.load()
    except (OSError, ValueError, ImportError) as error:
        return {"text": f"({kind}, which cannot be read: {error})"}
    name = next(name for number in count(1) if (name := f"picture_{number}") not in namespace)
    namespace[name] = picture
    return {"text": f"({name}: {block.get('name') or kind})"}


def _data(block: Mapping[str, object], folder: Path) -> bytes:
    """Return a picture's bytes: sent along, or of a file in the session's directory. Raises OSError, ValueError."""
    if "data" in block:
        return base64.b64decode(str(block["data"]), validate=True)
    path = Path(unquote(urlsplit(str(block.get("uri"))).path)).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise ValueError("it lies outside of the session's directory")
    return path.read_bytes()
