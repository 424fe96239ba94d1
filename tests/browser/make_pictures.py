"""`make picture`: the README's moving picture, taken from a real JupyterLab while somebody asks, inserts and approves.

pytest does not collect this by itself; it is named on its command line. Frames are shown for as long as they lasted, up
to a limit, so that waiting is cut short; a moment that has to be read stays longer. The model is the simulator at its
usual pace, and says so.
"""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import Any

import pytest

Image = pytest.importorskip("PIL.Image")

pytestmark = pytest.mark.browser
OUT = Path(__file__).parents[2] / "notebooks" / "images" / "ask-insert-approve.gif"
WIDTH, HEIGHT = 940, 560
SHORTEST, LONGEST, TO_READ = 60, 150, 2200  # milliseconds
CELLS = [
    "%load_ext agentnb\nimport tides\n\nweek = tides.predict(days=7)\n"
    "print(f'{len(week)} levels, highest {max(week):.2f} m')",
    "",
]
ASK = "Write a function tidal_range that gives the range of a list of levels, and try it on `week`."
RUN = "Run `round(tidal_range(week) * 3.28084, 1)` and tell me the range in feet."
POINTER = """([x, y]) => {
    let dot = document.getElementById('pointer');
    if (!dot) {
        dot = document.body.appendChild(Object.assign(document.createElement('div'), {id: 'pointer'}));
        dot.style = 'position:fixed;z-index:9999;width:18px;height:18px;margin:-9px;border-radius:50%;' +
            'background:#e6762488;border:2px solid #e67624;pointer-events:none';
    }
    dot.style.left = x + 'px'; dot.style.top = y + 'px'; dot.style.display = x < 0 ? 'none' : '';
}"""


class Camera:
    """Takes frames of the notebook; equal ones in a row are one that lasts longer."""

    def __init__(self, page: Any) -> None:
        self._page = page
        self._taken = time.monotonic()
        self.frames: list[Any] = []
        self.lasted: list[float] = []

    def take(self) -> None:
        shot = self._page.locator(".jp-NotebookPanel:visible").screenshot(animations="disabled", caret="hide")
        frame = Image.open(io.BytesIO(shot)).convert("RGB")
        now = time.monotonic()
        if self.frames:
            self.lasted[-1] = min(self.lasted[-1] + (now - self._taken) * 1000, max(LONGEST, self.lasted[-1]))
        self._taken = now
        if not self.frames or frame.tobytes() != self.frames[-1].tobytes():
            self.frames.append(frame)
            self.lasted.append(SHORTEST)

    def hold(self) -> None:
        """Show this moment long enough to be read."""
        self.take()
        self.lasted[-1] = TO_READ

    def until(self, locator: Any) -> None:
        """Film until something is seen."""
        deadline = time.monotonic() + 90
        while not locator.is_visible():
            assert time.monotonic() < deadline, "what was waited for was never seen"
            self.take()

    def save(self, path: Path) -> None:
        first, *rest = [frame.quantize(64, dither=Image.Dither.NONE) for frame in self.frames]
        first.save(path, save_all=True, append_images=rest, duration=[*map(int, self.lasted)], loop=0, optimize=True)


def type_task(page: Any, camera: Camera, index: int, task: str) -> None:
    page.cell(index).locator(".cm-content").click()
    page.page.keyboard.insert_text("%%agent\n")
    for start in range(0, len(task), 6):
        page.page.keyboard.insert_text(task[start : start + 6])
        camera.take()
    camera.hold()
    page.page.keyboard.press("Shift+Enter")


def click(page: Any, camera: Camera, button: Any) -> None:
    button.scroll_into_view_if_needed()
    box = button.bounding_box()
    page.page.evaluate(POINTER, [box["x"] + box["width"] / 2, box["y"] + box["height"] / 2])
    camera.hold()
    button.click()
    page.page.evaluate(POINTER, [-1, -1])
    camera.take()


def test_ask_insert_approve(quickstart: Path, lab: Any, open_page: Any, light: None) -> None:
    path = lab.put("tide-tables.ipynb", CELLS)
    page = open_page(path.name, width=WIDTH, height=HEIGHT)
    page.wait_idle()
    page.run(0)
    page.wait_done(0)
    camera = Camera(page.page)
    type_task(page, camera, 1, ASK)
    insert = page.cell(1).get_by_role("button", name="Insert")
    camera.until(insert)
    camera.until(page.output(1).get_by_text("✓", exact=True))
    click(page, camera, insert)
    made = page.cell(2)
    made.locator(".cm-content").click()
    camera.hold()
    page.page.keyboard.press("Shift+Enter")
    camera.until(page.output(2).get_by_text("3.67"))
    camera.hold()
    type_task(page, camera, 3, RUN)
    approve = page.output(3).get_by_role("button", name="Run", exact=True)
    camera.until(approve)
    click(page, camera, approve)
    camera.until(page.output(3).get_by_text("✓", exact=True))
    page.cell(3).scroll_into_view_if_needed()
    camera.hold()
    camera.save(OUT)
    assert OUT.stat().st_size < 1_500_000
