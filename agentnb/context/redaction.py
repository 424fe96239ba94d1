"""Secrets out of text, before anything leaves the kernel: a stable mark stands for each.

Pure. Every pattern is anchored by a literal that scanning finds fast and bounded in length, so that 200 kB of pasted
log cost milliseconds. A mark is made from the secret's digest: the same key gives the same mark, so prefixes hold.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

MARK_HEX = 4
ENTROPY_BITS = 3.0
"""Bits per character from which the value of `password = …` counts as a secret of its own; prose has fewer."""
_PLACEHOLDER = re.compile(
    r"(?:x{3,}|\*{3,}|\.{3,}|your|example|changeme|placeholder|redacted|dummy|none|null|true|false|<|\{|\$|\[redacted)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Redacted:
    """`found` lists (kind, mark) in order of appearance, each mark once."""

    text: str
    found: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class _Shape:
    """`pattern`'s group `secret` is what is taken out; `hints` are literals one of which any match contains."""

    kind: str
    pattern: re.Pattern[str]
    hints: tuple[str, ...]
    judge: Callable[[str], bool] = lambda secret: True


def redact(text: str, *, allow: frozenset[str] = frozenset()) -> Redacted:
    """`text` with secrets replaced by marks such as `[redacted:anthropic-key:3f2a]`.

    `allow` holds what must stay: a mark, a kind, or the secret's own text. Redacting twice changes nothing more.
    """
    taken = _Taken(allow=allow)
    lowered = text.lower()
    for shape in SHAPES:
        if any(hint in lowered for hint in shape.hints):
            text = shape.pattern.sub(partial(_replaced, shape=shape, taken=taken), text)
    order = sorted(taken.found.items(), key=lambda item: text.find(item[0]))
    return Redacted(text, tuple((kind, mark) for mark, kind in order))


@dataclass(slots=True)
class _Taken:
    allow: frozenset[str]
    found: dict[str, str] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)  # what one shape was told to leave, a later one leaves too


def _replaced(match: re.Match[str], *, shape: _Shape, taken: _Taken) -> str:
    secret = match.group("secret")
    mark = mark_of(shape.kind, secret)
    if not taken.allow.isdisjoint({secret, mark, shape.kind}):
        taken.kept.add(secret)
    if "[redacted:" in secret or any(kept in secret for kept in taken.kept) or not shape.judge(secret):
        return match.group()
    taken.found[mark] = shape.kind
    start, end = match.span("secret")
    return match.group()[: start - match.start()] + mark + match.group()[end - match.start() :]


def mark_of(kind: str, secret: str) -> str:
    """The mark that stands for a secret."""
    return f"[redacted:{kind}:{hashlib.sha256(secret.encode('utf-8', 'replace')).hexdigest()[:MARK_HEX]}]"


def entropy(text: str) -> float:
    """Bits per character by the frequencies of the characters in `text`."""
    if not text:
        return 0.0
    counts = (text.count(character) for character in set(text))
    return -sum(n / len(text) * math.log2(n / len(text)) for n in counts)


def _is_secret_value(value: str) -> bool:
    """The value of a password-like name: not a placeholder, a call or a path to one, and not plain repetition."""
    if len(value) < 6 or _PLACEHOLDER.match(value) or value.endswith("("):
        return False
    if re.fullmatch(r"[A-Za-z_][\w.]*", value) and not re.search(r"\d", value):
        return False  # an identifier: `password=password`, `token = settings.token`
    return entropy(value) >= ENTROPY_BITS - (0.6 if len(value) < 12 else 0)


def _is_quoted_secret(value: str) -> bool:
    return len(value) >= 4 and not _PLACEHOLDER.match(value) and entropy(value) >= 1.5 and " " not in value.strip()


def _is_mixed(value: str) -> bool:
    """Letters and digits together, as generated keys have them; a long word has none."""
    return bool(re.search(r"\d", value) and re.search(r"[A-Za-z]", value)) and entropy(value) >= ENTROPY_BITS


def _shape(kind: str, pattern: str, *hints: str, judge: Callable[[str], bool] = lambda secret: True) -> _Shape:
    return _Shape(kind, re.compile(pattern), tuple(hint.lower() for hint in hints), judge)


def _token(kind: str, body: str, *hints: str, judge: Callable[[str], bool] = lambda secret: True) -> _Shape:
    """A key that stands by itself, with no letter or digit before it."""
    return _shape(kind, rf"(?<![A-Za-z0-9])(?P<secret>{body})", *hints, judge=judge)


def _is_no_placeholder(value: str) -> bool:
    return not _PLACEHOLDER.match(value)


_END = r"-----END [A-Z ]{0,30}PRIVATE KEY(?: BLOCK)?-----"
_NAMES = (
    r"(?:pass(?:word|wd|phrase)?|pwd|secret|token|api[_-]?key|access[_-]?key|secret[_-]?key|private[_-]?key|auth|"
    r"credentials?|client[_-]?secret|(?:account|signing|encryption|master|shared[_-]?access)[_-]?key)"
)
_NAME_HINTS = ("pass", "pwd", "secret", "token", "key", "auth", "credential")
# Before the name anything but a letter (`DB_PASSWORD`) or a hump (`dbPassword`), after it a short suffix and, in JSON,
# a closing quote.
_HUMP = r"(?:(?<![A-Za-z])|(?<=[a-z])(?=[A-Z]))"
_ASSIGNED = rf"{_HUMP}(?i:{_NAMES}(?:[_-][a-z0-9]{{1,20}})?[\"']?\]?[ \t]{{0,4}}(?:=|:)[ \t]{{0,4}})"
_AUTHORIZATION = r"(?i:\bauthorization[\"']?[ \t]{0,4}[:=][ \t]{0,4}[\"']?basic)[ \t]{1,4}"
_URL = r"(?<![a-z0-9])[a-z][a-z0-9+.-]{1,30}://[^\s:/@\"'<>\[]{0,100}:"

SHAPES: tuple[_Shape, ...] = (
    _shape(
        "private-key",
        rf"(?P<secret>-----BEGIN [A-Z ]{{0,30}}PRIVATE KEY(?: BLOCK)?-----(?:[^-]|-(?!----)){{0,20000}}+(?:{_END})?)",
        "private key",
    ),
    _token("anthropic-key", r"sk-ant-[A-Za-z0-9_-]{8,200}", "sk-ant-"),
    _token("openrouter-key", r"sk-or-[A-Za-z0-9_-]{16,200}", "sk-or-"),
    _token("openai-key", r"sk-(?:proj|svcacct|admin)-[A-Za-z0-9_-]{8,200}", "sk-"),
    _token("api-key", r"sk-[A-Za-z0-9_-]{20,200}", "sk-", judge=_is_mixed),
    _token("google-key", r"AIza[A-Za-z0-9_-]{30,60}", "aiza"),
    _token("google-token", r"ya29\.[A-Za-z0-9_-]{20,400}", "ya29."),
    _token("github-token", r"gh[pousr]_[A-Za-z0-9]{20,255}", "ghp_", "gho_", "ghu_", "ghs_", "ghr_"),
    _token("github-token", r"github_pat_[A-Za-z0-9_]{20,255}", "github_pat_"),
    _token("gitlab-token", r"glpat-[A-Za-z0-9_-]{16,64}", "glpat-"),
    _token("aws-key-id", r"A(?:KIA|SIA)[A-Z0-9]{16}(?![A-Za-z0-9])", "akia", "asia"),
    _token("slack-token", r"xox[abeoprs]-[A-Za-z0-9-]{10,250}", "xox"),
    _token("slack-webhook", r"https://hooks\.slack\.com/services/[A-Za-z0-9/]{20,80}", "hooks.slack.com"),
    _token("huggingface-token", r"hf_[A-Za-z0-9]{20,100}", "hf_"),
    _token("stripe-key", r"[rs]k_(?:live|test)_[A-Za-z0-9]{16,200}", "k_live_", "k_test_"),
    _token("sendgrid-key", r"SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{30,64}", "sg."),
    _token("groq-key", r"gsk_[A-Za-z0-9]{30,80}", "gsk_"),
    _token("xai-key", r"xai-[A-Za-z0-9]{30,120}", "xai-"),
    _token("npm-token", r"npm_[A-Za-z0-9]{36}", "npm_"),
    _token("pypi-token", r"pypi-[A-Za-z0-9_-]{40,300}", "pypi-"),
    _token("jwt", r"eyJ[A-Za-z0-9_-]{8,2000}\.eyJ[A-Za-z0-9_-]{8,4000}\.[A-Za-z0-9_-]{8,1000}", "eyj"),
    _shape("url-password", rf"{_URL}(?P<secret>[^\s/@\"'<>]{{1,200}})@", "://", judge=_is_no_placeholder),
    _shape("bearer-token", r"(?i:\bbearer)[ \t]{1,4}(?P<secret>[\w.~+/=-]{16,2000})", "bearer", judge=_is_mixed),
    _shape("basic-auth", rf"{_AUTHORIZATION}(?P<secret>[A-Za-z0-9+/=]{{8,2000}})", "basic"),
    _shape(
        "secret",
        _ASSIGNED + r"[rbuf]{0,2}(?P<quote>[\"'])(?P<secret>[^\"'\n]{4,300})(?P=quote)",
        *_NAME_HINTS,
        judge=_is_quoted_secret,
    ),
    _shape(
        "secret",
        _ASSIGNED + r"(?P<secret>[^\s\"',;)\]}(]{6,300})(?![\w(])",
        *_NAME_HINTS,
        judge=_is_secret_value,
    ),
)
"""Most specific first: a key that one shape took is a mark before the next one looks."""
