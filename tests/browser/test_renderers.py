"""The same saved outputs in each renderer that is not JupyterLab. `make screenshots` leaves the pictures in
build/screenshots; each test also says what must be seen there.

The notebook is run once, by a program, as papermill and nbconvert do: nobody is there, no widget is shown.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import screenshots
from page_checks import FAINT, STANDS_OUT

pytestmark = [pytest.mark.browser, pytest.mark.slow]
CELLS = [
    "%load_ext agentnb",
    "def gauge(day):\n    return 2 * day",
    "%agent Explain gauge with an example",
    "%config AgentNB.view = 'full'",
    "%agent What does gauge give on day 3?",
    "%agent_runs",
    "%agent_cache status",
    "%agent_cache explain",
    "%agent_cache latency",
    "%agent --dry-run Explain gauge again",
]
SAID = (
    "Simulated reply",
    "✓",
    "stored for the next",
    "What the last request sent",
    "2 questions",
    "Dry run",
    "warm for",
)
# What renderers bring: VS Code's webview sets no more than the theme's colours and its own font, and stripes tables;
# Colab shows an output in a frame of its own; a code host keeps elements and drops what could style or load anything.
VSCODE = """
body {{ background: {paper}; color: {ink}; font: 13px system-ui; margin: 16px; }}
code, pre {{ color: {code}; font-family: monospace; }} a {{ color: #3794ff; }}
table {{ border-collapse: collapse; }} table, th, tr, td {{ border: none; text-align: right; }}
tr:nth-child(even) {{ background: {stripe}; }}
"""
PAGES = {
    "vscode-dark": (VSCODE.format(paper="#1f1f1f", ink="#cccccc", code="#d7ba7d", stripe="#7f7f7f14"), 900),
    "vscode-light": (VSCODE.format(paper="#ffffff", ink="#3b3b3b", code="#a31515", stripe="#7f7f7f14"), 900),
    "vscode-contrast": (VSCODE.format(paper="#000000", ink="#ffffff", code="#d7ba7d", stripe="#7f7f7f14"), 900),
    "colab-dark": ("body { background: #383838; color: #d5d5d5; font: 14px Roboto, sans-serif; margin: 8px; }", 720),
    "code-host": ("body { background: #fff; color: #1f2328; font: 16px system-ui; margin: 24px; }", 800),
}
SANITIZE = """() => {
    const kept = ['href', 'src', 'alt', 'title', 'open', 'colspan', 'rowspan', 'scope', 'start', 'align'];
    for (const node of document.querySelectorAll('body *'))
        for (const name of node.getAttributeNames()) if (!kept.includes(name)) node.removeAttribute(name);
    for (const node of document.querySelectorAll('progress, input, svg, img[src^="data:image/svg"]')) node.remove();
}"""


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A notebook that a program has run from top to bottom."""
    from tests.browser.conftest import notebook_of

    home = tmp_path_factory.mktemp("executed")
    book, made = home / "book.ipynb", home / "executed.ipynb"
    book.write_text(json.dumps(notebook_of(CELLS)))
    command = [sys.executable, "-m", "nbconvert", "--execute", "--to", "notebook", "--output", str(made), str(book)]
    environment = os.environ | {"AGENTNB_SIM_SPEED": "0", "AGENTNB_HOME": str(home / "home")}
    subprocess.run(command, check=True, timeout=300, capture_output=True, env=environment)
    assert "widget-view" not in made.read_text()
    return made


def outputs_of(book: Path) -> Iterator[str]:
    """Yield the html of each output, or its text where it has none, as renderers choose."""
    for cell in json.loads(book.read_text())["cells"]:
        for output in cell["outputs"]:
            data = output.get("data", {"text/plain": output.get("text", "")})
            html = data.get("text/html")
            yield "".join(html) if html else f"<pre>{''.join(data['text/plain'])}</pre>"


@pytest.fixture
def shown(executed: Path, browser: Any) -> Iterator[Any]:
    """`shown(html, width)` is a page with this html."""
    pages = []

    def opened(html: str, *, width: int = 1280) -> Any:
        page = browser.new_page(viewport={"width": width, "height": 1000})
        pages.append(page)
        page.set_content(html)
        return page

    yield opened
    for page in pages:
        page.close()


@pytest.mark.parametrize("name", PAGES)
def test_in_other_renderers(executed: Path, shown: Any, name: str) -> None:
    style, width = PAGES[name]
    body = "".join(f'<div style="margin:0 0 24px 0">{html}</div>' for html in outputs_of(executed))
    page = shown(f"<html><head><style>{style}</style></head><body>{body}</body></html>", width=width)
    faint, wide = page.evaluate(FAINT), page.evaluate(STANDS_OUT)
    if name == "code-host":
        page.evaluate(SANITIZE)
    screenshots.take(page, name, full_page=True)
    words = page.inner_text("body")
    assert [said for said in SAID if said not in words] == []
    assert ("█ cached ░ new" in words) is (name == "code-host"), "letters draw the bars where styles are dropped"
    assert faint == [], "every word can be read"
    assert wide == [], "nothing scrolls sideways"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_as_html_of_nbconvert(executed: Path, shown: Any, theme: str) -> None:
    from nbconvert import HTMLExporter

    html, _ = HTMLExporter(theme=theme).from_filename(str(executed))
    page = shown(html)
    fold = page.locator(".agentnb-run summary").first
    fold.click()
    page.get_by_text("What the last request sent").first.wait_for()
    screenshots.take(page, f"nbconvert-{theme}", full_page=True)
    assert page.evaluate(FAINT) == []
    assert page.evaluate(STANDS_OUT) == []


def test_on_paper(executed: Path, shown: Any) -> None:
    """From the browser's own menu. Paper has no backgrounds and opens no fold."""
    from nbconvert import HTMLExporter

    html, _ = HTMLExporter().from_filename(str(executed))
    page = shown(html)
    page.emulate_media(media="print")
    assert words_missing(page.pdf(format="A4", print_background=False), "paper") == []


def test_as_pdf_of_nbconvert(executed: Path, browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`nbconvert --to webpdf`, with the browser that is here in the place of one that playwright would fetch."""
    from nbconvert import WebPDFExporter

    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path))
    exporter = WebPDFExporter(disable_sandbox=True)
    with pytest.raises(RuntimeError) as told:
        exporter.from_filename(str(executed))
    wanted = re.search(r"Executable doesn't exist at (\S+)", str(told.value.__cause__))
    assert wanted
    Path(wanted[1]).parent.mkdir(parents=True)
    Path(wanted[1]).symlink_to(os.environ.get("AGENTNB_CHROMIUM") or shutil.which("chromium") or "")
    pdf, _ = exporter.from_filename(str(executed))
    assert words_missing(pdf, "webpdf") == []


def words_missing(pdf: bytes, name: str) -> list[str]:
    """The words that none of its pages says."""
    pdfium = pytest.importorskip("pypdfium2")
    text = ""
    for number, sheet in enumerate(pdfium.PdfDocument(pdf)):
        if screenshots.WANTED:
            sheet.render(scale=1.3).to_pil().save(screenshots.place_of(f"{name}-{number + 1}"))
        text += sheet.get_textpage().get_text_bounded()
    return [said for said in SAID if said not in " ".join(text.split())]


def test_a_plot_is_a_picture_with_words(executed: Path) -> None:
    """A plot is SVG within a picture, which has no paper of its own and says in words what it shows."""
    found = "".join(outputs_of(executed)).split("data:image/svg+xml;base64,")[1:]
    assert len(found) >= 2
    for rest in found:
        svg = base64.b64decode(rest.partition('"')[0]).decode()
        assert "<title>" in svg
        assert "background" not in svg
        assert ' alt="' in rest[: rest.index(">")] + ">"
