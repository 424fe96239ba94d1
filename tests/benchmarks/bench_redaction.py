"""Redaction: how many made-up secrets of 70 kinds are found, how often real code is taken for one, and how fast.

Ours against detect-secrets (all of its plugins, and without its entropy plugins), where that is installed:
`python -m pip install detect-secrets` into the same environment, or into the one whose Python `--peer` names.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import sysconfig
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from secret_corpus import Case, corpus

from agentnb.context.redaction.redactor import redact

CODE_LINES = 50_000
PEER = """
import json, sys, tempfile, time
from pathlib import Path
from detect_secrets import SecretsCollection
from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class
from detect_secrets.settings import default_settings, get_settings
texts = json.load(sys.stdin)
out = []
with tempfile.TemporaryDirectory() as folder, default_settings():
    if sys.argv[1] == "precise":
        get_settings().disable_plugins("Base64HighEntropyString", "HexHighEntropyString", "IPPublicDetector")
    files = [Path(folder, f"{i}.py") for i in range(len(texts))]
    for file, text in zip(files, texts):
        file.write_text(text)
    started = time.process_time()
    for file in files:
        found = SecretsCollection()
        found.scan_file(str(file))
        out.append([secret.secret_value for _, secret in found])
    seconds = time.process_time() - started
print(json.dumps([out, seconds]))
"""
Detector = Callable[[list[str]], tuple[list[list[str]], float]]
"""Texts -> what each holds that should go, and the CPU seconds that took."""


def ours(texts: list[str]) -> tuple[list[list[str]], float]:
    started = time.process_time()
    found = [redact(text) for text in texts]
    seconds = time.process_time() - started
    return [[*map(str, item.found), item.text] for item in found], seconds


def peer(python: str, which: str) -> Detector:
    def detect(texts: list[str]) -> tuple[list[list[str]], float]:
        command = [python, "-c", PEER, which]
        out = subprocess.run(command, input=json.dumps(texts), capture_output=True, text=True, check=True).stdout
        found, seconds = json.loads(out)
        return found, seconds

    return detect


def is_gone(case: Case, found: list[str], *, redacted: bool) -> bool:
    """Whether the secret is out: no run of 12 of its letters is left over. A finder of values counts where it names
    any part of the secret: detect-secrets gives only the prefix of some."""
    letters = case.secret.split("-----")[2] if "-----BEGIN" in case.secret else _last_part(case.secret)
    if redacted:
        text = found[-1]
        return letters[:12] not in text and letters[-12:] not in text
    return any(value and (value in case.secret or case.secret in value) for value in found)


def _last_part(secret: str) -> str:
    """Of an address only its last part is secret."""
    return secret.rpartition("/")[2] if "://" in secret else secret


def library_code() -> list[str]:
    """Whole files of installed packages, in a random but fixed order, CODE_LINES lines at least."""
    root = Path(sysconfig.get_paths()["purelib"])
    names = (
        "networkx",
        "pandas",
        "IPython",
        "anthropic",
        "httpx2",
        "astroid",
        "google",
        "polars",
        "sklearn",
        "sqlalchemy",
    )
    files = sorted(file for name in names for file in (root / name).rglob("*.py"))
    random.Random(5).shuffle(files)
    out: list[str] = []
    lines = 0
    for file in files:
        text = file.read_text("utf-8", "replace")
        out.append(text)
        lines += text.count("\n")
        if lines >= CODE_LINES:
            break
    return out


def report(name: str, detect: Detector, cases: list[Case], code: list[str], *, redacted: bool) -> Counter[str]:
    found, _ = detect([case.text for case in cases])
    missed = Counter(
        case.kind for case, one in zip(cases, found, strict=True) if not is_gone(case, one, redacted=redacted)
    )
    taken, seconds = detect(code)
    wrong = sum(len(one) - (1 if redacted else 0) for one in taken)
    lines = sum(text.count("\n") for text in code)
    recall = 1 - sum(missed.values()) / len(cases)
    print(f"| {name} | {recall:.1%} | {1000 * wrong / lines:.2f} | {1e6 * seconds / lines:.0f} |")
    return missed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", default=sys.executable, help="a Python that has detect-secrets")
    parser.add_argument("--misses", action="store_true", help="list the kinds that are missed")
    options = parser.parse_args()
    cases, code = list(corpus()), library_code()
    kinds, lines = len({case.kind for case in cases}), sum(text.count("\n") for text in code)
    print(f"{len(cases)} made-up secrets of {kinds} kinds; {lines:,} lines of installed packages\n")
    print("| detector | secrets found | taken wrongly per 1,000 lines | µs per line |\n|---|---:|---:|---:|")
    all_missed = {"ours": report("ours", ours, cases, code, redacted=True)}
    has_peer = (
        subprocess.run([options.peer, "-c", "import detect_secrets"], capture_output=True, check=False).returncode == 0
    )
    for which in ("all", "precise") if has_peer else ():
        name = f"detect-secrets, {'all plugins' if which == 'all' else 'without entropy'}"
        all_missed[name] = report(name, peer(options.peer, which), cases, code, redacted=False)
    if not has_peer:
        print("\ndetect-secrets is not installed: not compared.")
    for name, missed in all_missed.items() if options.misses else ():
        print(f"\n{name} misses: {dict(missed)}")


if __name__ == "__main__":
    main()
