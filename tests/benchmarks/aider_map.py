"""Print aider's repository maps for bench_selection: runs in an environment of its own that `make bench-peers` makes.

Standard input: JSON, a list of {"root", "files", "names", "tokens", "characters"}, where `tokens` is the size that the
map may have and `characters` how many of them make a token. Standard output: JSON, the list of map texts. As in aider's
own use the words of the task are the mentioned identifiers, and files that are called like one are mentioned files.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from pathlib import Path

from aider.repomap import RepoMap


class Quiet:
    """What RepoMap asks of aider's terminal."""

    def read_text(self, name: str) -> str:
        return Path(name).read_text("utf-8", errors="replace")

    def tool_output(self, *_: object, **__: object) -> None: ...

    tool_error = tool_warning = tool_output


class Model:
    """What RepoMap asks of aider's model: no tokenizer has to be fetched."""

    def __init__(self, characters: float) -> None:
        self.characters = characters

    def token_count(self, text: str) -> float:
        return len(text) / self.characters


def repository_map(question: dict, folder: str) -> str:
    RepoMap.TAGS_CACHE_DIR = folder  # else it writes into the package
    made = RepoMap(
        map_tokens=question["tokens"], root=question["root"], main_model=Model(question["characters"]), io=Quiet()
    )
    words = {word for word in re.split(r"\W+", question["names"]) if word}
    mentioned = {made.get_rel_fname(name) for name in question["files"] if Path(name).stem in words}
    return made.get_repo_map([], question["files"], mentioned_fnames=mentioned, mentioned_idents=words) or ""


if __name__ == "__main__":
    replies, sys.stdout = sys.stdout, sys.stderr
    with tempfile.TemporaryDirectory() as folder:
        json.dump([repository_map(question, folder) for question in json.load(sys.stdin)], replies)
