"""Judge by its letters whether a value is a secret: a password, a key, a generated text or plain words. Pure."""

from __future__ import annotations

import math
import re

ENTROPY_BITS = 3.0
"""Bits per character from which the value of `password = …` counts as a secret of its own; prose has fewer."""
_PLACEHOLDER = re.compile(
    r"(?:x{3,}|\*{3,}|\.{3,}|your|example|changeme|placeholder|redacted|dummy|none|null|true|false|<|\{|\$|\[redacted|![A-Za-z]+$)",
    re.IGNORECASE,
)


# `settings.token`, `tokens[0]`, `Optional[str]`, `imdsv2_session_token`, an address, markup: what code puts there.
_CODE = re.compile(
    r"\[|[A-Za-z_][A-Za-z_.]*$|[A-Za-z_]\w*(?:\.[A-Za-z_]\w*){2,8}$|[A-Za-z_][\w.]*\[|_?[a-z]+\d{0,2}(?:[_.][A-Za-z]+(?:\d{1,2}[a-z]*)?)+$|https?://|urn:|[^`]*`",
)
_FORMAT = re.compile(r"(?:%[sdr]|\{\w*\}|[:@/._-])+$")
_PATH = re.compile(r"~?(?:/[\w.@+-]+)+/?$")
_SECRET_WORD = re.compile(r"token|key|secret|passw|credential|auth", re.IGNORECASE)
_ADDRESS = re.compile(
    r"https?://|urn:|[\d.]+$|[\w.-]*\.(?:json|pem|crt|cer|txt|ya?ml|toml|ini|cfg|py)$|(?:auto|none|basic|bearer)$",
    re.IGNORECASE,
)


_STAND_IN = frozenset(
    ["pass", "password", "passwd", "pwd", "pw", "secret", "token", "key", "test", "fake", "demo", "foo", "bar"]
).union(["tiger", "string", "str", "text", "bytes", "object"])
"""Words that stand for a secret in documentation, tests and schemas."""


def entropy(text: str) -> float:
    """Bits per character by the frequencies of the characters in `text`."""
    if not text:
        return 0.0
    counts = (text.count(character) for character in set(text))
    return -sum(n / len(text) * math.log2(n / len(text)) for n in counts)


NAME_BITS = 4.2
"""Bits per character from which a value is too random to be a name."""


def names_one(value: str) -> bool:
    """Know `aws_session_token`, `urn:…:token-type`, `THE_KEY_2`: the name or place of a secret, and none itself."""
    if _ADDRESS.match(value):
        return True
    digits = sum(character.isdigit() for character in value)
    is_name = bool(_SECRET_WORD.search(value) and re.fullmatch(r"[\w.:/{}-]+", value))
    return is_name and digits <= 3 and entropy(value) < NAME_BITS


def is_path(value: str) -> bool:
    return bool(_PATH.match(value)) and entropy(value) < NAME_BITS


def is_no_placeholder(value: str) -> bool:
    return not _PLACEHOLDER.match(value) and value.lower() not in _STAND_IN


def is_password(value: str) -> bool:
    """Return the bare value of a password's name: not a placeholder, code that leads to one, or plain repetition."""
    if len(value) < 6 or _PLACEHOLDER.match(value) or _CODE.match(value) or is_path(value):
        return False
    least = 2.0 if re.search(r"\d", value) else ENTROPY_BITS - (0.6 if len(value) < 12 else 0)
    return entropy(value) >= least


def is_key(value: str) -> bool:
    """Return the bare value of a key's name. Keys of tables are words too, so digits are asked for."""
    return is_password(value) and bool(re.search(r"\d", value)) and not names_one(value) and not _is_of_data(value)


_GENERATED = re.compile(r"(?<!\S)(?!\d[\d.,]*[A-Za-z]{1,4}(?!\S))(?=\S*(?:[A-Za-z]\d|\d[A-Za-z]))[^\s<>{}()\[\]%]{2,}")
"""A word with letters and digits side by side: frequent in a password with spaces, rare in a sentence."""


def is_quoted_password(value: str) -> bool:
    if re.fullmatch("(?:[a-z]{4} ){3}[a-z]{4}", value):  # as a mail provider makes one for a program
        return True
    if len(value) < 4 or not is_no_placeholder(value):
        return False
    if _FORMAT.match(value) or is_path(value):
        return False
    if " " in value.strip():
        return bool(_GENERATED.search(value))
    return entropy(value) >= 1.5 and not re.fullmatch(r"(?i)[a-z_]*pass[a-z_]*", value)


_WORDING = re.compile(r"[\s\"']|\{[A-Za-z_][\w.]*\}|\[\w-\w|\(\?|[\])]\+|^#[0-9a-fA-F]{3,8}$")
"""Words, a template, a pattern, a colour."""


def is_quoted_key(value: str) -> bool:
    """Quoted beside a key's name: not the name of another one, an address, or a pattern. Escaped bytes are one."""
    if re.search(r"\\x[0-9a-f]{2}", value):
        return len(value) >= 8
    if _WORDING.search(value) or _is_of_data(value):
        return False
    return is_quoted_password(value) and "\\" not in value and value.count("%s") < 2 and not names_one(value)


_NUMBER = re.compile(r"[-+]?[\d.,]+(?:e[-+]?\d+)?")
_VERSIONED = re.compile(r"(?:[A-Za-z]+-)+\d+(?:\.\d+)+(?:-[a-z]+)*")
"""A licence, a model: `apache-2.0`."""
_CAPITALS = re.compile(r"[A-Z*-]+")
"""A protein's sequence, a structure's key, a name of a variable."""


def _is_of_data(value: str) -> bool:
    return any(form.fullmatch(value) for form in (_NUMBER, _VERSIONED, _CAPITALS))


_DIGEST = re.compile(r"(?:0x)?[0-9a-fA-F]{32,128}|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
"""A digest or a UUID: what `key` names in a table, a cache and a log."""


_BASE58, _BECH32 = "1-9A-HJ-NP-Za-km-z", "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_ON_CHAIN = re.compile(
    rf"0x[0-9a-fA-F]{{40}}(?:[0-9a-fA-F]{{24}})?|[{_BASE58}]{{43,44}}|[13DLTXr][{_BASE58}]{{32,34}}"
    rf"|(?:\w+/)?[a-z]{{2,12}}1[{_BECH32}]{{38,58}}(?:/\w+)?|ibc/[0-9A-Fa-f]{{64}}|0014[0-9a-f]{{40}}|[0-9a-f]{{64}}i\d+|[0-9a-f]{{15,16}}"
)
"""An address, a script or a hash of a chain; a cell of a grid. `token` names these too."""
_RUN = re.compile(r"[A-Za-z0-9]{8,}")
_PIECE = re.compile(r"[A-Za-z]+|\d+")
_ELEMENT = (
    "A[cglmrstu]|B[aehikr]?|C[adeflmnorsu]?|D[bsy]|E[rsu]|F[elmr]?|G[ade]|H[efgos]?|I[nr]?|Kr?|L[airuv]|M[cdgnot]|"
    "N[abdehiop]?|O[gs]?|P[abdmortu]?|R[abefghnu]|S[bcegimnr]?|T[abcehilms]|U|V|W|Xe|Yb?|Z[nr]"
)
_CODE_OF_DATA = re.compile(rf"(?:[A-Za-z]\d+){{1,5}}|(?:(?:{_ELEMENT})\d*)+")
"""A place or a number of a series, as `h09v05` and `c312p045`; a formula, as `NaHCO3`."""


def is_generated(value: str) -> bool:
    """Return the value of a word with other meanings, as `pass`, `token` and `auth` have: it must look generated.

    A word of eight letters and digits changes between them four times, or it is long and mixed.
    """
    if _PLACEHOLDER.match(value) or _CODE.match(value) or re.match("~?/[a-z]+/", value) or names_one(value):
        return False
    if _ON_CHAIN.fullmatch(value) or "(" in value:
        return False
    return bool(_DIGEST.fullmatch(value) or _is_long_and_mixed(value) or any(map(_is_mixed_run, _RUN.findall(value))))


def _is_mixed_run(run: str) -> bool:
    if _CODE_OF_DATA.fullmatch(run) or (len(run) < 16 and re.search(r"\dx\d", run)):  # `DMF2x81mL`
        return False
    return len(_PIECE.findall(run)) >= 5 and bool(re.search("[a-z]", run))


def _is_long_and_mixed(value: str) -> bool:
    joints = len(re.findall(r"[^A-Za-z0-9]", value.rstrip("=")))
    if len(value) < 16 or joints > len(value) / 8 or not is_mixed(value) or _CODE_OF_DATA.fullmatch(value):
        return False
    if len(value) < 24 and (joints or re.search("[a-z]{6}", value)):
        return False
    has_both = bool(re.search("[A-Z]", value) and re.search("[a-z]", value))
    return has_both and (len(value) < 24 or has_digits(value) or entropy(value) >= 4.5)


_MEASURE = re.compile(r"[-+]?\d[\d.,]*[A-Za-z%]{1,4}(?:/\w{1,4})?$")


def is_of_account(value: str) -> bool:
    """Return the value of `pass`, `pw` or `secret` where a user or a server is named beside it."""
    return is_password(value) and not (_MEASURE.match(value) or _ADDRESS.match(value) or value.startswith(("/", "~/")))


def is_braced(value: str) -> bool:
    """Return a value in the braces of ODBC, which is no field of a format: `{Tr33!House}`."""
    return bool(re.search(r"\d", value) and re.search(r"[^\w.\[\]'\":()]", value)) and is_quoted_password(value)


def is_default(value: str) -> bool:
    """Return a value after a secret's name in a call or list, where names stand side by side too."""
    return len(value) >= 8 and " " not in value and is_quoted_key(value) and is_mixed_somewhat(value)


def is_mixed_somewhat(value: str) -> bool:
    return (
        bool(re.search(r"\d", value) and re.search(r"[A-Za-z]", value))
        and entropy(value) >= 2.5
        and not _PLAIN.match(value)
    )


_PLAIN = re.compile(r"[A-Za-z_]+[-_]?\d{1,2}(?:[-_.][A-Za-z]+\d{0,2})*$")
"""`sha256`, `oauth2`, `field_1`: a word with a number."""


def is_argument(value: str) -> bool:
    """Return what follows a flag of a command: not its next flag, a file, a number or a name."""
    return not value.isdigit() and not value.startswith(("-", "/", "./", "$", "@")) and is_password(value)


def is_flag_value(value: str) -> bool:
    return is_argument(value) and is_key(value)


def is_cookie(value: str) -> bool:
    return bool(re.match(r"[\w.$-]{1,80}=[^\s=;]{8,}", value)) and is_mixed(value)


def is_mixed(value: str) -> bool:
    """Letters and digits together, as generated keys have them; a long word has none."""
    return bool(re.search(r"\d", value) and re.search(r"[A-Za-z]", value)) and entropy(value) >= ENTROPY_BITS


def is_random(value: str) -> bool:
    """Find digits spread among letters: what a generator makes. Names with words in them have few digits."""
    return has_digits(value) and not re.search(r"[a-z]{9}|_[a-z]{3,}_", value) and not _DIGEST.fullmatch(value)


def has_digits(value: str) -> bool:
    return sum(character.isdigit() for character in value) >= 3 and is_mixed(value)


def any_value(secret: str) -> bool:
    return True
