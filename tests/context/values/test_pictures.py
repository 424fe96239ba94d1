"""Figures and images as pictures: the same bytes each time, bounded, no metadata, and nothing of the user's moves."""

from __future__ import annotations

import base64
import io
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentnb.context.values.description import LIMIT, describe
from agentnb.context.values.pictures import BYTES, EDGE, draw

matplotlib = pytest.importorskip("matplotlib")
pytestmark = pytest.mark.slow  # importing the libraries takes seconds
Pillow = pytest.importorskip("PIL.Image")


@pytest.fixture
def plt() -> Iterator[Any]:
    matplotlib.use("Agg")
    from matplotlib import pyplot

    yield pyplot
    pyplot.close("all")


def tide(plt: Any, **options: Any) -> Any:
    figure, axes = plt.subplots(**options)
    axes.plot([1, 3, 2], label="high")
    axes.set_title("Tide")
    return figure


def pixels(image: Any) -> Any:
    found = Pillow.open(io.BytesIO(base64.b64decode(image.data)))
    found.load()
    return found


def test_a_figure_gives_the_same_bytes_each_time(plt: Any) -> None:
    figure = tide(plt)
    first, second = draw(figure, text="fig"), draw(figure, text="fig")
    assert first is not None
    assert second is not None
    assert first.image is not None
    assert first.image == second.image
    assert (first.image.width, first.image.height) == pixels(first.image).size == (640, 480)
    again = draw(tide(plt), text="fig")
    assert again is not None
    assert again.image == first.image
    figure.axes[0].set_title("Ebb")
    changed = draw(figure, text="fig")
    assert changed is not None
    assert changed.image != first.image


def test_axes_and_grids_of_axes_mean_their_figure(plt: Any) -> None:
    figure, grid = plt.subplots(2, 2)
    images = [found.image for value in (figure, grid, grid[0, 0]) if (found := draw(value, text=""))]
    assert len(images) == 3
    assert images[0] == images[1] == images[2] != None  # noqa: E711 - all three are pictures


def test_drawing_touches_nothing_of_the_users(plt: Any) -> None:
    called: list[str] = []
    figure = tide(plt, layout="constrained", dpi=50)
    figure.canvas.mpl_connect("draw_event", lambda event: called.append("drawn"))

    def seen() -> tuple[object, ...]:
        drawn = (figure.canvas, figure.dpi, figure.stale, figure.axes[0].get_position().bounds)
        return *drawn, plt.get_fignums(), plt.gcf(), dict(matplotlib.rcParams), list(figure.axes[0].lines)

    before = seen()
    made = draw(figure, text="fig")
    assert made is not None
    assert made.image is not None
    assert seen() == before
    assert called == []


def test_describing_a_figure_settles_nothing_and_tells_what_is_drawn(plt: Any) -> None:
    figure = tide(plt)
    figure.suptitle("Harbour")
    figure.axes[0].set_xlabel("h")
    text = describe("fig", figure)
    assert text == (
        "fig: matplotlib figure, 1 axes, 'Harbour'\nAxes, 'Tide', x 'h'; 1 lines 'high'; data x 0 to 2, y 1 to 3"
    )
    assert figure.axes[0]._stale_viewlims["x"], "limits are still to be settled by the user's own drawing"
    assert describe("ax", figure.axes[0]).startswith("ax: matplotlib axes: Axes, 'Tide'")
    _, many = plt.subplots(5, 5)
    assert len(describe("many", many[0, 0].get_figure())) <= LIMIT


@pytest.mark.parametrize("size", [(1, 1), (40, 3), (3, 40)])
def test_a_picture_is_bounded(plt: Any, size: tuple[int, int]) -> None:
    numpy = pytest.importorskip("numpy")
    figure = plt.figure(figsize=size, dpi=300)
    figure.add_axes((0, 0, 1, 1)).imshow(numpy.random.default_rng(1).random((600, 600)), aspect="auto")
    made = draw(figure, text="")
    assert made is not None
    assert made.image is not None
    assert max(made.image.width, made.image.height) <= EDGE
    assert len(base64.b64decode(made.image.data)) <= BYTES


def test_noise_becomes_a_jpeg_and_carries_no_metadata() -> None:
    noise = Pillow.frombytes("RGB", (768, 768), os.urandom(768 * 768 * 3))
    made = draw(noise, text="noise")
    assert made is not None
    assert made.image is not None
    assert made.image.media_type == "image/jpeg"
    photo = Pillow.new("RGBA", (3000, 10), (255, 0, 0, 0))
    photo.info["comment"] = "taken at home"
    flat = draw(photo, text="")
    assert flat is not None
    assert flat.image is not None
    found = pixels(flat.image)
    assert (found.size, found.info, found.getpixel((0, 0))) == ((768, 3), {}, (255, 255, 255))
    assert photo.size == (3000, 10)


def test_a_picture_that_is_not_read_yet_stays_unread(tmp_path: Path) -> None:
    file = tmp_path / "x.png"
    Pillow.new("RGB", (20, 10), "blue").save(file)
    lazy = Pillow.open(file)
    assert describe("p", lazy) == "p: PIL image, 20 x 10 pixels, RGB, PNG"
    made = draw(lazy, text="")
    assert made is not None
    assert made.image is not None
    assert lazy.tile, "its data would be read if the user's object had been loaded"


def test_what_cannot_be_drawn_says_why(plt: Any) -> None:
    figure = tide(plt)

    def broken(*_: object) -> str:
        raise LookupError("no such label")

    figure.axes[0].xaxis.set_major_formatter(broken)
    made = draw(figure, text="")
    assert made is not None
    assert made.image is None
    assert made.why == "it could not be drawn: LookupError"
    figure.axes[0].xaxis.set_major_formatter(lambda *_: time.sleep(0.5) or "x")
    slow = draw(figure, text="", patience=0.05)
    assert slow is not None
    assert "took over" in slow.why


def test_other_things_are_no_pictures(plt: Any) -> None:
    class Mine(matplotlib.figure.Figure):
        def __getstate__(self) -> Any:
            raise SystemExit("user code ran")

    values: list[Any] = [3, "fig", [1], object(), Mine(), plt]
    assert [draw(value, text="") for value in values] == [None] * len(values)


SCRIPT = """
import sys, matplotlib
matplotlib.use("Agg")
from matplotlib import pyplot
from agentnb.context.values.pictures import draw
figure, axes = pyplot.subplots()
axes.bar(["a", "b"], [1, 2])
axes.set_xlabel(r"$x^2$")
sys.stdout.write(draw(figure, text="").image.data)
"""


def test_another_process_gives_the_same_bytes() -> None:
    out = set()
    for seed, zone in (("1", "UTC"), ("2", "Asia/Tokyo")):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "TZ": zone}
        found = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, check=True)
        out.add(found.stdout)
    assert len(out) == 1
