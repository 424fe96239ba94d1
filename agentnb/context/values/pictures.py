"""Draw the figures that a task names as PNG or JPEG; the same figure gives the same bytes.

The user's object is not touched. A figure is copied and the copy drawn, without its canvas, callbacks and window. A
picture that is not read yet is read from its file a second time. Drawing runs what the figure itself draws with, as
showing does: a tick formatter may be the user's. Therefore only a figure that the task names is drawn, in a thread, for
SECONDS at most. Pictures hold no metadata.
"""

from __future__ import annotations

import base64
import copy
import io
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from agentnb.context.values import static_inspect
from agentnb.models.messages import Image

EDGE = 768
"""Pixels of the longer edge at most: what most providers would scale a larger one down to."""
DPI = 100
BYTES = 400_000
"""Bytes of a picture at most. A PNG above it becomes a JPEG, and what is still above it is not sent."""
SECONDS = 10.0
_TOPS = {"matplotlib", "mpl_toolkits", "PIL"}


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """Holds a picture of a value, or `why` there is none; `seconds` is what drawing took."""

    image: Image | None
    why: str = ""
    seconds: float = 0.0


def draw(value: object, *, text: str, patience: float = SECONDS) -> Drawn | None:
    """Return the picture of a figure, an axes, an array of axes or a PIL image; None for anything else.

    `text` describes it and goes with it.
    """
    work = _work_for(value)
    return None if work is None else _drawn(work, text, patience)


def draw_shown(data: str | bytes, *, text: str, patience: float = SECONDS) -> Drawn:
    """Return a picture that a cell has shown (PNG or JPEG, bytes or base64), within our bounds, without metadata."""
    return _drawn(lambda: opened(base64.b64decode(data) if isinstance(data, str) else data), text, patience)


def is_drawable(value: object) -> bool:
    """Tell whether `draw` makes a picture of it."""
    return _work_for(value) is not None


def open_in_pyplot() -> Any:
    """Return the figure that pyplot would go on drawing in; None where none is open."""
    pyplot = static_inspect.loaded_class("matplotlib._pylab_helpers", "Gcf")
    manager = pyplot.get_active() if pyplot is not None else None  # type: ignore[attr-defined]
    return manager.canvas.figure if manager is not None else None


def opened(data: bytes) -> Any:
    """Return a picture of these bytes, unread. Raises OSError where they are none, ImportError without Pillow."""
    from PIL import Image as Pillow

    return Pillow.open(io.BytesIO(data))


def _drawn(work: Callable[[], Any], text: str, patience: float) -> Drawn:
    """Return what `work` gives, encoded, in a thread that is given up after `patience` seconds."""
    made: list[Drawn] = []
    started = time.perf_counter()

    def run() -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a missing glyph is told when the user shows the figure himself
                made.append(_encoded(work(), text))
        except BaseException as error:  # noqa: BLE001 - the figure's own code runs here; its failure is no failure of ours
            made.append(Drawn(image=None, why=f"it could not be drawn: {static_inspect.class_name(type(error))[1]}"))

    worker = threading.Thread(target=run, daemon=True, name="agentnb-picture")
    worker.start()
    worker.join(patience)
    seconds = round(time.perf_counter() - started, 3)
    found = made[0] if made else Drawn(image=None, why=f"drawing it took over {patience:.0f} s")
    return Drawn(image=found.image, why=found.why, seconds=seconds)


def _work_for(value: Any) -> Callable[[], Any] | None:
    """Return what makes a PIL image of the value; None where it is none of a known class. A subclass of the user's is
    not taken: its methods are his code."""
    value = _first_of_grid(value)
    if static_inspect.class_name(type(value))[0].partition(".")[0] not in _TOPS:
        return None
    figure, axes = (
        static_inspect.loaded_class("matplotlib.figure", "Figure"),
        static_inspect.loaded_class("matplotlib.axes", "Axes"),
    )
    picture = static_inspect.loaded_class("PIL.Image", "Image")
    if figure is not None and static_inspect.is_a(value, figure):
        return lambda: _figure(value)
    if axes is not None and static_inspect.is_a(value, axes):
        return lambda: _figure(value.get_figure(root=True))
    if picture is not None and static_inspect.is_a(value, picture):
        return lambda: _picture(value)
    return None


def _first_of_grid(value: object) -> Any:
    """Return the first axes of the array that `plt.subplots` gives; anything else is itself."""
    array = static_inspect.loaded_class("numpy", "ndarray")
    if type(value) is not array:
        return value
    grid: Any = value
    return grid.flat[0] if grid.dtype.hasobject and 0 < grid.size <= 100 else grid


def _figure(figure: Any) -> Any:
    """Return a copy of the figure, drawn at a size of its own. Its state is copied as for pickling, which leaves out
    canvas and callbacks. What would register the copy with pyplot is taken out."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image as Pillow

    state = figure.__getstate__()
    state.pop("_restore_to_pylab", None)
    twin = object.__new__(type(figure))
    twin.__setstate__(copy.deepcopy(state, {id(figure): twin}))
    twin.set_dpi(min(DPI, EDGE / max(twin.get_size_inches())))
    canvas = FigureCanvasAgg(twin)
    canvas.draw()
    width, height = canvas.get_width_height()
    return Pillow.frombuffer("RGBA", (width, height), bytes(canvas.buffer_rgba()), "raw", "RGBA", 0, 1)


def _picture(picture: Any) -> Any:
    from PIL import Image as Pillow
    from PIL import ImageOps

    if not getattr(picture, "tile", None):
        return ImageOps.exif_transpose(picture.copy())
    # Reading it would change the user's object: the file is closed, its data kept.
    with Pillow.open(picture.filename) as again:
        return ImageOps.exif_transpose(again)


def _encoded(picture: object, text: str) -> Drawn:
    flat = _flattened(picture)
    for kind, options in (("png", {"compress_level": 6}), ("jpeg", {"quality": 85}), ("jpeg", {"quality": 50})):
        buffer = io.BytesIO()
        flat.save(buffer, kind, **options)
        if buffer.tell() <= BYTES:
            data = base64.b64encode(buffer.getvalue()).decode("ascii")
            width, height = flat.size
            return Drawn(image=Image(f"image/{kind}", data, text, width, height))
    return Drawn(image=None, why=f"it is larger than {BYTES:,} bytes")


def _flattened(picture: Any) -> Any:
    """Draw it on white, within EDGE, and nothing beside the pixels: whatever the object carried (Exif, profiles) is
    left."""
    from PIL import Image as Pillow

    scale = min(1.0, EDGE / max(picture.size))
    size = tuple(max(1, round(edge * scale)) for edge in picture.size)
    layer = picture.convert("RGBA")
    layer = layer.resize(size, Pillow.Resampling.LANCZOS) if layer.size != size else layer
    flat = Pillow.new("RGB", size, "white")
    flat.paste(layer, mask=layer.getchannel("A"))
    return flat
