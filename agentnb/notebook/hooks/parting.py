"""Part a copy of the kernel from the page: it prints what it shows, sends nothing and asks nobody."""

from __future__ import annotations

import sys
from typing import Any


def part_from_page(shell: Any) -> None:
    """Change this process for good; only a copy of the kernel, which ends soon, may call it."""
    from IPython.core.displaypub import DisplayPublisher

    class Printing(DisplayPublisher):
        def publish(self, data: Any, *_: Any, **__: Any) -> None:
            sys.stdout.write(f"{data.get('text/plain', '(something without text is shown)')}\n")

        def clear_output(self, wait: bool = False) -> None:
            """Clear nothing: nothing of it stands on a page."""

    shell.display_pub = Printing(parent=shell)  # type: ignore[no-untyped-call]
    kernel = getattr(shell, "kernel", None)
    if kernel is not None:
        kernel._allow_stdin = False
        kernel.session.send = lambda *_, **__: {}
