"""Take secrets out of everything that leaves the kernel for one agent, and list what was taken."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agentnb.context.redaction.redactor import named_secrets, redact


@dataclass(kw_only=True)
class Scrubber:
    """Takes secrets out of everything that leaves the kernel, and keeps the list of what it took."""

    allow: frozenset[str] = frozenset()
    found: dict[str, str] = field(default_factory=dict)
    variables: Callable[[], Iterable[tuple[object, object]]] = tuple

    def __call__(self, text: str) -> str:
        """Return the text with a mark for each secret."""
        # Half a character (in a file's name, in a table) can be neither stored nor sent. It must not end the run.
        text = text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
        result = redact(text, allow=self.allow)
        self.found.update({mark: kind for kind, mark in result.found})
        return result.text

    def of_output(self, text: str) -> str:
        """Return the same for what code gave: what a variable named as a secret holds goes too, wherever it stands.

        Not for code: the same source must give the same bytes whatever the variables hold.
        """
        named = named_secrets(self.variables(), text, allow=self.allow)
        for secret, (kind, mark) in sorted(named.items(), key=lambda item: -len(item[0])):
            text = text.replace(secret, mark)
            self.found[mark] = kind
        return self(text)

    def report(self) -> list[dict[str, str]]:
        """List what was taken, for the receipt: kind and mark of each."""
        return [{"kind": kind, "mark": mark} for mark, kind in sorted(self.found.items())]


def scrubbed_value(value: object, scrub: Callable[[str], str]) -> Any:
    """Return a JSON value with secrets taken out of its texts."""
    if isinstance(value, str):
        return scrub(value)
    if isinstance(value, Mapping):
        return {scrub(str(key)): scrubbed_value(item, scrub) for key, item in value.items()}
    return [scrubbed_value(item, scrub) for item in value] if isinstance(value, list | tuple) else value
