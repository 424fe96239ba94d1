"""Offer tools on the project's files: list, read, search, and change by exact replacement. Nothing outside the project.

One rule says which files there are: those below the project's root that no `.gitignore` leaves out. Hidden folders,
links that lead out and files that usually hold secrets do not count. What is not listed is neither read nor changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

from agentnb.agent.tools.tool import Outcome, Unable
from agentnb.models.framing import unframed

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

SECRET = (
    *(".git", ".gitconfig", ".git-credentials", ".env", ".env.*", "*.env", ".envrc", ".netrc", "_netrc", ".pgpass"),
    *(".npmrc", ".pypirc", ".htpasswd", ".my.cnf"),
    *("*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "*.keystore", "*.kdbx", "*.ppk", "*.asc", "*.gpg", "*.ovpn"),
    *("id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", "credentials*", "*credential*.json", "secret*", "*secrets.*"),
    *(
        "*service*account*.json",
        "client_secret*",
        "token",
        "token.*",
        "*_token.*",
        "*.tfstate",
        "*.tfvars",
        "kubeconfig",
    ),
)
"""Names of files that usually hold secrets."""
EXAMPLES = (".env.example", ".env.sample", ".env.template")
SKIPPED = frozenset({"__pycache__", "node_modules", "venv", "env", "site-packages"})
MAX_FILES = 20_000
"""Files that are looked at to list a project."""
MAX_LISTED = 300
MAX_READ = 12_000
"""Characters that one reading gives; the rest is read by line numbers."""
MAX_SIZE = 2_000_000
"""Bytes of a file that is read, searched or changed."""
MAX_FOUND = 60
VERSION = 12
"""Hex digits that tell one text of a file from another."""
NEW = "new"


@dataclass(frozen=True, slots=True)
class FileText:
    """Holds a file's text as it is now, and the version that names it."""

    path: Path
    text: str

    @property
    def version(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()[:VERSION]

    def with_its_line_ends(self, part: str) -> str:
        """Return a part of the text with CRLF where all lines of the file end so. Models write plain ends."""
        uses_crlf = "\r\n" in self.text and not re.search(r"(?<!\r)\n", self.text)
        return re.sub(r"\r?\n", "\r\n", part) if uses_crlf else part


class ProjectFiles:
    """Holds the files of one project. `root` is None where no folder is the project."""

    def __init__(self, root: Path | None) -> None:
        self._given = root

    def list_files(self, pattern: str = "") -> str:
        """List the project's files with their sizes. `pattern` is as in .gitignore, e.g. `*.py` or `src/`."""
        found = self._matching(pattern)
        lines = [f"{name} ({(self._root / name).stat().st_size:,} bytes)" for name in found[:MAX_LISTED]]
        more = [f"… and {len(found) - MAX_LISTED:,} more; ask with a pattern."] if len(found) > MAX_LISTED else []
        return "\n".join([*lines, *more]) or "No file."

    def read_file(self, path: str, first_line: int = 1, last_line: int = 0) -> Outcome:
        """Read a file of the project, or some of its lines. Its version is what edit_file wants. Of a notebook the
        cells' sources are read."""
        found = self._read(path)
        shown = _cells_of(found.text) if found.path.suffix == ".ipynb" else found.text
        lines = shown.splitlines(keepends=True)
        first = max(first_line, 1)
        part, end = _fitting(lines[first - 1 : last_line or None])
        which = f"lines {first} to {first - 1 + end} of {len(lines)}" if end else f"no line from {first} on"
        more = (
            f"\n[read on with first_line={first + end}]" if first - 1 + end < (last_line or len(lines)) and end else ""
        )
        return Outcome(text=unframed(f"{path}, {which}, version {found.version}:\n{part}{more}"))

    def search_code(self, text: str, files: str = "") -> str:
        """Find the lines of the project's files that contain a text, as it stands. `files` is a pattern as in
        .gitignore. Lower case finds upper case too."""
        if not text.strip():
            raise Unable("Give a text to look for.")
        hits = [hit for name in self._matching(files) for hit in self._hits(name, text)][: MAX_FOUND + 1]
        more = ["… and more; look for something rarer."] if len(hits) > MAX_FOUND else []
        sized = () if hits else self._matching(files)
        large = [name for name in sized if (self._root / name).stat().st_size > MAX_SIZE]
        left = f" Not searched, for their size: {', '.join(large[:MAX_FOUND])}." if large else ""
        return "\n".join([*hits[:MAX_FOUND], *more]) or f"No line has {text!r}.{left}"

    def edit_file(self, path: str, version: str, old: str, new: str) -> str:
        """Change a file of the project: put `new` in the place of `old`, which must stand in it exactly once.
        `version` is the one that read_file told. For a file that is not there yet: version `new`, and an empty `old`.
        The person sees the difference first."""
        target, before, after = self._edited(path, version, old, new)
        _write(target, after)
        done = FileText(target, after)
        return f"{'Changed' if before is not None else 'Made'} {path}; it has version {done.version} now."

    def edit_trouble(self, path: str, version: str, old: str, new: str) -> str:
        """Raise Unable where the change cannot be made as the file is now."""
        self._edited(path, version, old, new)
        return ""

    def _edited(self, path: str, version: str, old: str, new: str) -> tuple[Path, str | None, str]:
        """Return the file, its text before (None: there is none yet), and after the change."""
        if path.lower().endswith(".ipynb"):
            raise Unable("A notebook is open in an editor: propose cells instead.")
        if version == NEW:
            if old:
                raise Unable("A new file has no old text.")
            return self._by_own_path(path, self._place_of_new(path)), None, new
        found = self._read(path)
        self._by_own_path(path, found.path)
        if version != found.version:
            raise Unable(f"{path} has version {found.version} now, not {version[:VERSION]}: read it again.")
        old, new = found.with_its_line_ends(old), found.with_its_line_ends(new)
        if not old or (count := _times(found.text, old)) != 1:
            why = "is empty" if not old else f"stands in {path} {count} times"
            raise Unable(f"`old` {why}; it must stand there exactly once.")
        if old == new:
            raise Unable("`new` is the same as `old`: nothing would change.")
        return found.path, found.text, found.text.replace(old, new)

    # --- which files there are -------------------------------------------------------------------------------

    @property
    def _root(self) -> Path:
        """Return the project's folder itself, links followed."""
        root = self._given.resolve() if self._given else None
        if root is None or not root.is_dir() or root in (Path.home().resolve(), Path(root.anchor)):
            raise Unable("No folder is the project here: the notebook works in no folder of its own.")
        return root

    def _matching(self, pattern: str) -> list[str]:
        from pathspec import GitIgnoreSpec

        wanted = GitIgnoreSpec.from_lines([pattern.strip().removeprefix("./") or "*"])
        return sorted(name for name in _listed(self._root) if wanted.match_file(name))

    def _read(self, path: str) -> FileText:
        found = self._inside(path)
        if not _may_be_listed(self._root, found):
            raise Unable(f"{path} may not be read: it is hidden, ignored, or may hold secrets.")
        return FileText(found, _text_of(found, path))

    def _inside(self, path: str) -> Path:
        """Return the file itself, links followed. Raises Unable where it is none, or lies outside."""
        try:
            found = (self._root / path).resolve(strict=True)
        except (OSError, ValueError, RuntimeError):
            outside = path.startswith(("/", "~")) or ".." in Path(path).parts
            raise Unable(f"{path[:200]!r} is {'outside of the project' if outside else 'no file'}.") from None
        if not found.is_relative_to(self._root):
            raise Unable(f"{path[:200]!r} is outside of the project.")
        if not found.is_file():
            raise Unable(f"{path[:200]!r} is no file.")
        return found

    def _place_of_new(self, path: str) -> Path:
        """Return the place of a new file: in an existing folder, under a name that the list would show."""
        try:
            folder = (self._root / path).parent.resolve(strict=True)
        except (OSError, ValueError, RuntimeError):
            raise Unable(f"The folder of {path[:200]!r} is not there.") from None
        target = folder / Path(path).name
        if not target.is_relative_to(self._root):
            raise Unable(f"{path[:200]!r} is outside of the project.")
        if os.path.lexists(target):
            raise Unable(f"{path} is there already: read it, then name its version.")
        if not _may_be_listed(self._root, target):
            raise Unable(f"{path} may not be made: it would be hidden, ignored, or count as secret.")
        return target

    def _by_own_path(self, path: str, found: Path) -> Path:
        """Return the file. Raises Unable where the path leads to it by a link or a detour: --allow goes by the path."""
        own = found.relative_to(self._root).as_posix()
        if path != own:
            raise Unable(f"Name the file by its own path: {own}.")
        return found

    def _hits(self, name: str, text: str) -> Iterator[str]:
        try:
            found = _text_of(self._root / name, name)
        except (Unable, OSError):
            return
        fold = text == text.lower()
        if (text in found.lower()) if fold else (text in found):
            for number, line in enumerate(found.splitlines(), 1):
                if text in (line.lower() if fold else line):
                    yield f"{name}:{number}: {line.strip()[:200]}"


def _listed(root: Path) -> Iterator[str]:
    """Yield the project's files, by their paths below it; at most MAX_FILES."""
    count = 0
    for folder, folders, names in os.walk(root):
        here = Path(folder)
        ignored = _ignores(root, here)
        folders[:] = sorted(name for name in folders if not _is_skipped(here / name, ignored))
        for name in sorted(names):
            file = here / name
            if _is_wanted(root, file, ignored):
                yield file.relative_to(root).as_posix()
                count += 1
            if count >= MAX_FILES:
                return


def _is_skipped(folder: Path, ignored: Ignores) -> bool:
    name = folder.name
    return (
        name in SKIPPED
        or (name.startswith(".") and name != ".github")
        or folder.is_symlink()
        or (folder / "pyvenv.cfg").exists()
        or ignored.has(folder, folder=True)
    )


def _is_wanted(root: Path, file: Path, ignored: Ignores) -> bool:
    if not file.name.isprintable() or _is_secret(file.name) or ignored.has(file) or not file.is_file():
        return False
    return not file.is_symlink() or (file.resolve().is_relative_to(root) and not _is_secret(file.resolve().name))


def _is_secret(name: str) -> bool:
    lowered = name.lower()
    return lowered not in EXAMPLES and any(fnmatch(lowered, pattern) for pattern in SECRET)


@dataclass(frozen=True, slots=True)
class Ignores:
    """Holds the `.gitignore` files that hold for one folder, each with the folder where it stands."""

    specs: tuple[tuple[Path, GitIgnoreSpec], ...]

    def has(self, path: Path, *, folder: bool = False) -> bool:
        """Tell whether the path is left out: the nearest file that speaks of it decides."""
        for base, spec in reversed(self.specs):
            found = spec.check_file(path.relative_to(base).as_posix() + ("/" if folder else ""))
            if found.include is not None:
                return found.include
        return False


def _ignores(root: Path, folder: Path) -> Ignores:
    above = [root, *(root / part for part in _steps(folder.relative_to(root)))]
    return Ignores(tuple((base, spec) for base in above if (spec := _spec(base)) is not None))


def _steps(path: Path) -> list[Path]:
    return [*reversed(path.parents[:-1]), path] if path.parts else []


def _spec(folder: Path) -> GitIgnoreSpec | None:
    from pathspec import GitIgnoreSpec

    try:
        return GitIgnoreSpec.from_lines((folder / ".gitignore").read_text("utf-8", "replace").splitlines())
    except (OSError, ValueError):
        return None


def _may_be_listed(root: Path, file: Path) -> bool:
    """Tell whether a file at this place would be listed."""
    for folder in (root / part for part in _steps(file.parent.relative_to(root))):
        if _is_skipped(folder, _ignores(root, folder.parent)):
            return False
    return file.name.isprintable() and not _is_secret(file.name) and not _ignores(root, file.parent).has(file)


# --- texts -------------------------------------------------------------------------------------------------------


def _text_of(file: Path, called: str) -> str:
    """Return the file's text, its line ends as they are. Raises Unable where it is large or no text."""
    with file.open("rb") as opened:
        raw = opened.read(MAX_SIZE + 1)
    if len(raw) > MAX_SIZE:
        raise Unable(f"{called} is larger than {MAX_SIZE:,} bytes.")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise Unable(f"{called} is no text.")
    return text


def _times(text: str, part: str) -> int:
    """Count the places where the part stands, those that overlap too."""
    return len(re.findall(f"(?={re.escape(part)})", text))


def _fitting(lines: list[str]) -> tuple[str, int]:
    """Return the lines that fit into one reading, and how many these are. Of a line that is too long, keep the
    beginning."""
    size = 0
    for number, line in enumerate(lines):
        size += len(line)
        if size > MAX_READ:
            return ("".join(lines[:number]), number) if number else (f"{line[:MAX_READ]}[… line cut …]\n", 1)
    return "".join(lines), len(lines)


def _cells_of(text: str) -> str:
    """Return a notebook's cells as a script has them; the text itself where it is no notebook."""
    try:
        cells = json.loads(text)["cells"]
        return "\n".join(f"# %% [{cell['cell_type']}]\n{''.join(cell['source'])}\n" for cell in cells)
    except (ValueError, KeyError, TypeError):
        return text


def _write(target: Path, text: str) -> None:
    """Put the text into the place of the file at once, or not at all; it keeps its mode."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=".agentnb-")
    try:
        with os.fdopen(handle, "wb") as opened:
            opened.write(text.encode())
        if target.exists():
            shutil.copymode(target, name)
        else:
            Path(name).chmod(0o644)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
