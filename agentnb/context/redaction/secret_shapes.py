"""List the shapes of secrets: providers' own keys, and what a name or a place gives away. Pure data and its judges.

Every pattern is anchored by a literal that scanning finds fast and bounded in length. Well-known detectors were
compared (make bench-context; 2026-11-23). detect-secrets, last released in May 2024, found 46 % of the made-up secrets
at ten times the time. kingfisher found 71 %, is a 47 MB program, and takes seconds to start. So the shapes stand here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

ENTROPY_BITS = 3.0
"""Bits per character from which the value of `password = …` counts as a secret of its own; prose has fewer."""
_PLACEHOLDER = re.compile(
    r"(?:x{3,}|\*{3,}|\.{3,}|your|example|changeme|placeholder|redacted|dummy|none|null|true|false|<|\{|\$|\[redacted)",
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
    r"https?://|urn:|[\d.]+$|[\w.-]*\.(?:json|pem|txt|ya?ml|toml|ini|cfg|py)$|(?:auto|none|basic|bearer)$",
    re.IGNORECASE,
)


_STAND_IN = frozenset(
    ["pass", "password", "passwd", "pwd", "pw", "secret", "token", "key", "test", "fake", "demo", "foo", "bar"]
).union(["tiger", "string", "str", "text", "bytes", "object"])
"""Words that stand for a secret in documentation, tests and schemas."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Tells a kind of secret. `pattern`'s group `secret` is what is taken out. Any match contains one of the literals
    `hints`.

    A match begins at most `before` characters before a hint. None means anywhere: its first character is rare, or the
    hint is common. `at_line`: it begins where a line does. `named`: a name or a place gives the secret away, not what
    it looks like. Such a name ends soon after its hint, and `NAME_ENDS` tells that at once.
    """

    kind: str
    pattern: re.Pattern[str]
    hints: tuple[str, ...]
    judge: Callable[[str], bool]
    before: int | None = 0
    at_line: bool = False
    named: bool = False


def entropy(text: str) -> float:
    """Bits per character by the frequencies of the characters in `text`."""
    if not text:
        return 0.0
    counts = (text.count(character) for character in set(text))
    return -sum(n / len(text) * math.log2(n / len(text)) for n in counts)


NAME_BITS = 4.2
"""Bits per character from which a value is too random to be a name."""


def _names_one(value: str) -> bool:
    """Know `aws_session_token`, `urn:…:token-type`, `THE_KEY_2`: the name or place of a secret, and none itself."""
    if _ADDRESS.match(value):
        return True
    digits = sum(character.isdigit() for character in value)
    is_name = bool(_SECRET_WORD.search(value) and re.fullmatch(r"[\w.:/{}-]+", value))
    return is_name and digits <= 3 and entropy(value) < NAME_BITS


def _is_path(value: str) -> bool:
    return bool(_PATH.match(value)) and entropy(value) < NAME_BITS


def _is_no_placeholder(value: str) -> bool:
    return not _PLACEHOLDER.match(value) and value.lower() not in _STAND_IN


def _is_password(value: str) -> bool:
    """Return the bare value of a password's name: not a placeholder, code that leads to one, or plain repetition."""
    if len(value) < 6 or _PLACEHOLDER.match(value) or _CODE.match(value) or _is_path(value):
        return False
    least = 2.0 if re.search(r"\d", value) else ENTROPY_BITS - (0.6 if len(value) < 12 else 0)
    return entropy(value) >= least


def _is_key(value: str) -> bool:
    """Return the bare value of a key's or token's name. Parsers call a word `token` too, so digits are asked for."""
    if _ON_CHAIN.fullmatch(value) or _NUMBER.fullmatch(value):
        return False
    return _is_password(value) and bool(re.search(r"\d", value)) and not _names_one(value)


_GENERATED = re.compile(r"(?<!\S)(?!\d[\d.,]*[A-Za-z]{1,4}(?!\S))(?=\S*(?:[A-Za-z]\d|\d[A-Za-z]))[^\s<>{}()\[\]%]{2,}")
"""A word with letters and digits side by side: frequent in a password with spaces, rare in a sentence."""


def _is_quoted_password(value: str) -> bool:
    if len(value) < 4 or not _is_no_placeholder(value):
        return False
    if _FORMAT.match(value) or _is_path(value):
        return False
    if " " in value.strip():
        return bool(_GENERATED.search(value))
    return entropy(value) >= 1.5 and not re.fullmatch(r"(?i)[a-z_]*pass[a-z_]*", value)


_WORDING = re.compile(r"[\s\"']|\{[A-Za-z_][\w.]*\}|\[\w-\w|\(\?|[\])]\+|^#[0-9a-fA-F]{3,8}$")
"""Words, a template, a pattern, a colour."""


def _is_quoted_key(value: str) -> bool:
    """Quoted beside a key's name: not the name of another one, an address, or a pattern."""
    if _WORDING.search(value):
        return False
    return _is_quoted_password(value) and "\\" not in value and value.count("%s") < 2 and not _names_one(value)


_ON_CHAIN = re.compile(r"0x[0-9a-fA-F]{40}|[1-9A-HJ-NP-Za-km-z]{43,44}")
"""An address on Ethereum or Solana: `token` is also what is traded there."""
_NUMBER = re.compile(r"[-+]?[\d.,]+(?:e[-+]?\d+)?")
_DIGEST = re.compile(r"[0-9a-fA-F]{32,128}|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
"""A digest or a UUID: what `key` names in a table, a cache and a log."""


def _is_quoted_token(value: str) -> bool:
    """Parsers compare their tokens with words: `token == "lambda"`."""
    return bool(re.search(r"\d", value)) and _is_quoted_key(value) and not _ON_CHAIN.fullmatch(value)


def _is_default(value: str) -> bool:
    """Return a value after a secret's name in a call or list, where names stand side by side too."""
    return len(value) >= 8 and " " not in value and _is_quoted_key(value) and _is_mixed_somewhat(value)


def _is_mixed_somewhat(value: str) -> bool:
    return (
        bool(re.search(r"\d", value) and re.search(r"[A-Za-z]", value))
        and entropy(value) >= 2.5
        and not _PLAIN.match(value)
    )


_PLAIN = re.compile(r"[A-Za-z_]+[-_]?\d{1,2}(?:[-_.][A-Za-z]+\d{0,2})*$")
"""`sha256`, `oauth2`, `field_1`: a word with a number."""


def _is_argument(value: str) -> bool:
    """Return what follows a flag of a command: not its next flag, a file, a number or a name."""
    return not value.isdigit() and not value.startswith(("-", "/", "./", "$", "@")) and _is_password(value)


def _is_flag_value(value: str) -> bool:
    return _is_argument(value) and _is_key(value)


def _is_cookie(value: str) -> bool:
    return bool(re.match(r"[\w.$-]{1,80}=[^\s=;]{8,}", value)) and _is_mixed(value)


def _is_mixed(value: str) -> bool:
    """Letters and digits together, as generated keys have them; a long word has none."""
    return bool(re.search(r"\d", value) and re.search(r"[A-Za-z]", value)) and entropy(value) >= ENTROPY_BITS


def _is_random(value: str) -> bool:
    """Find digits spread among letters: what a generator makes. Names with words in them have few digits."""
    return _has_digits(value) and not re.search(r"[a-z]{9}|_[a-z]{3,}_", value) and not _DIGEST.fullmatch(value)


def _has_digits(value: str) -> bool:
    return sum(character.isdigit() for character in value) >= 3 and _is_mixed(value)


def _any(secret: str) -> bool:
    return True


def _shape(kind: str, pattern: str, *hints: str, judge: Callable[[str], bool] = _any, before: int | None = 0) -> Shape:
    return Shape(kind, re.compile(pattern), tuple(hint.lower() for hint in hints), judge, before)


def _named(pattern: str, *hints: str, judge: Callable[[str], bool], before: int | None = 0) -> Shape:
    """Return the shape of a secret that a name or a place gives away."""
    return replace(_shape("secret", pattern, *hints, judge=judge, before=before), named=True)


def _token(kind: str, body: str, *hints: str, judge: Callable[[str], bool] = _any, before: int | None = 0) -> Shape:
    """Return the shape of a key that stands by itself, with no letter or digit before it."""
    return _shape(kind, rf"(?<![A-Za-z0-9])(?P<secret>{body})", *hints, judge=judge, before=before)


_END = r"-----END [A-Z ]{0,30}PRIVATE KEY(?: BLOCK)?-----"
_PASSWORDS = (
    r"(?:(?:pg)?pass(?:word|wd|phrase|code|wort)|(?<!low[_-])(?<!high[_-])(?<!band[_-])pass(?![a-z_-])|pwd|pw(?![A-Za-z])|kennwort|mot_?de_?passe|contrase(?:ñ|n)a|senha|"
    r"wachtwoord|пароль|密码|パスワード)"
)
_PLAIN_TOKENS = ("page", "pagination", "continuation", "s2", "cell")  # the last two name places on the earth
_PAGES = "".join(f"(?<!{word}{join})" for word in _PLAIN_TOKENS for join in ("", "_", "-"))
_WORDS = rf"(?:{_PAGES}token|auth|credentials?)"
_OTHERS = (
    r"(?:secret|api[_-]?key|access[_-]?key|secret[_-]?key|private[_-]?key|client[_-]?secret|"
    r"(?:account|signing|encryption|master|shared[_-]?access)[_-]?key)"
)
_KEYS = rf"(?:{_WORDS}|{_OTHERS})"
_PASSWORD_HINTS = ("pass", "pw", "kennwort", "contrase", "senha", "wachtwoord", "пароль", "密码", "パスワード")
_KEY_HINTS = ("secret", "token", "key", "auth", "credential")
_LONGEST_NAME = 16
"""Characters of a secret's name before the hint in it: `shared_access_key`; of a password's: `mot_de_passe`."""
_LONGEST_PASSWORD = 8
# Before the name stands no letter (`DB_PASSWORD`), or a hump (`dbPassword`); after it a short suffix.
_COLOURED = r"(?<=\[\dm)|(?<=\[\d\dm)|(?<=;\dm)|(?<=;\d\dm)|(?<=;\d\d\dm)"
_HUMP = rf"(?:(?<![A-Za-z])|(?<=[a-z])(?=[A-Z])|{_COLOURED})"
# `token_type`, `pass_zero`, `SECRET_PATH`: what is told about a secret is none.
_ABOUT = (
    r"types?|ids?|names?|patterns?|zero|ur[li]s?|files?|filename|path|dir|headers?|fields?|endpoint|providers?|count|"
    r"counts|length|limit|size|format|expir\w*|ttl|params?|prefix|suffix|class|cls|var|style|index|requests?|response|"
    r"encoding|codec|schemes?|methods?|algorithms?|alg|versions?|backend|domain|service|plugin|flow|regex|label|help|"
    r"strength|scores?|"
    r"error|errors|event|marker|usage|cost|price|kind|mode|scopes?|state|list|map|dict|set|func|callback|handler|factory"
)
_SUFFIX = rf"(?:[_-](?!(?:{_ABOUT})(?![a-z0-9]))[a-z0-9]{{1,20}})?"
_GAP = r"(?:[ \t]|\x1b\[[\d;]{0,8}m){0,8}"
# A bracket that only closes is no annotation's: it ends a mark, and what follows is another's value.
_ANNOTATION = r"[A-Za-z_][\w. |]{0,30}(?:\[[\w.\[\], |]{0,40}\][\w |]{0,20})?"
# `=`, `:`, `==`, `:=`, `: str =`; after the name a closing quote and bracket, before the value an opening parenthesis.
_EQUALS = (
    rf"\\{{0,2}}[\"']?\]?{_GAP}(?::[ \t]{{0,4}}{_ANNOTATION}(?==))?(?::=|[=!]=|=>|=|:){_GAP}"
    r"(?:\([ \t]{0,8}(?:\r?\n[ \t]{0,40})?)?"
)
_QUOTED = (
    r"[rbuf]{0,2}(?P<escape>\\{0,2})(?P<quote>\"\"\"|'\'\'|[\"'])"
    r"(?P<secret>(?:\\.|(?!(?P=quote))[^\\\n]){4,300}?)(?P=escape)(?P=quote)"
)
_BARE = r"(?P<secret>[^\s\"',;)\]}(\x1b]{6,300}+)(?![\w(])"
_AUTHORIZATION = r"(?i:\bauthorization[\"']?[ \t]{0,4}[:=][ \t]{0,4}[\"']?basic)[ \t]{1,4}"
_FIRST = r"\([ \t]{0,4}[rbuf]{0,2}(?P<first>[\"'])[^\"'\n]{1,80}(?P=first)[ \t]{0,4},[ \t]{0,4}"
_URL = r"(?<![a-z0-9])[a-z][a-z0-9+.-]{1,30}://[^\s:/@\"'<>\[]{0,100}:"

# (kind, what the key looks like, how it begins). Sources: the providers' docs on their token formats,
# read 2026-11-22, and keys' public descriptions.
_BY_PREFIX = (
    ("google-client-secret", r"GOCSPX-[A-Za-z0-9_-]{20,60}", "gocspx-"),
    ("gitlab-token", r"gl(?:rt|dt|ptt|ft|soat|oas|cbt|imt|agent)-[A-Za-z0-9_-]{16,300}", "gl"),
    ("slack-token", r"xapp-\d-[A-Z0-9]{8,20}-\d{8,20}-[a-f0-9]{32,128}", "xapp-"),
    ("stripe-secret", r"whsec_[A-Za-z0-9+/]{24,100}", "whsec_"),
    ("mailgun-key", r"key-[0-9a-f]{32}(?![A-Za-z0-9])", "key-"),
    ("rubygems-key", r"rubygems_[0-9a-f]{48}", "rubygems_"),
    ("docker-token", r"dckr_(?:pat|oat)_[A-Za-z0-9_-]{20,60}", "dckr_"),
    ("square-token", r"sq0(?:atp|csp)-[A-Za-z0-9_-]{20,60}", "sq0"),
    ("shopify-token", r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}", "shp"),
    ("digitalocean-token", r"do[opr]_v1_[0-9a-f]{64}", "doo_v1_", "dop_v1_", "dor_v1_"),
    ("databricks-token", r"dapi[0-9a-f]{32}(?:-\d)?(?![A-Za-z0-9])", "dapi"),
    ("notion-token", r"ntn_[A-Za-z0-9]{40,60}", "ntn_"),
    ("linear-key", r"lin_(?:api|oauth)_[A-Za-z0-9]{32,80}", "lin_"),
    ("figma-token", r"figd_[A-Za-z0-9_-]{30,60}", "figd_"),
    ("atlassian-token", r"AT[AC]TT3[A-Za-z0-9_=-]{20,400}", "atatt3", "atctt3"),  # `ATATT` alone begins many DNA reads
    ("atlassian-token", r"ATBB(?=[A-Za-z0-9]*\d)[A-Za-z0-9_=-]{20,400}", "atbb"),
    ("airtable-token", r"pat[A-Za-z0-9]{14}\.[0-9a-f]{64}", "pat"),
    ("vault-token", r"hv[sbr]\.[A-Za-z0-9_-]{20,300}", "hv"),
    ("grafana-token", r"gl(?:sa_[A-Za-z0-9]{32}_[0-9a-fA-F]{8}|c_[A-Za-z0-9+/]{32,400}={0,2})", "gl"),
    ("newrelic-key", r"NRA[KL]-[A-Z0-9]{27}", "nra"),
    ("postman-key", r"PMAK-[0-9a-f]{24}-[0-9a-f]{34}", "pmak-"),
    ("pulumi-token", r"pul-[0-9a-f]{40}", "pul-"),
    ("sentry-token", r"sntry[su]_[A-Za-z0-9+/=_-]{40,500}", "sntry"),
    ("doppler-token", r"dp\.(?:pt|st|ct|sa|scim|audit)\.(?:[a-z0-9_-]{2,35}\.)?[A-Za-z0-9]{40,44}", "dp."),
    ("replicate-token", r"r8_[A-Za-z0-9]{30,60}", "r8_"),
    ("perplexity-key", r"pplx-[A-Za-z0-9]{30,80}", "pplx-"),
    ("langsmith-key", r"lsv2_(?:pt|sk)_[0-9a-f]{32}_[0-9a-f]{10}", "lsv2_"),
    ("age-key", r"AGE-SECRET-KEY-1[A-Z0-9]{58}", "age-secret-key-"),
    ("fly-token", r"(?:FlyV1 )?fm2_[A-Za-z0-9+/=,]{40,2000}", "fm2_", "flyv1 fm2_"),
    ("supabase-token", r"sb(?:p_[0-9a-f]{40}|_secret_[A-Za-z0-9_-]{20,60})", "sb"),
    ("tailscale-key", r"tskey-(?:api|auth|client)-[A-Za-z0-9]{8,20}-[A-Za-z0-9]{20,60}", "tskey-"),
)

_NAME = rf"(?i:{_PASSWORDS}|{_KEYS}){_SUFFIX}"
_DATABASES = r"(?:postgres(?:ql)?|mysql|mariadb|mssql|oracle|mongodb|rediss?|amqps?)(?:\+\w{1,20})?"
_CLIENTS = r"(?:sshpass|mysql\w{0,6}|mariadb\w{0,6}|docker login|podman login|mongo\w{0,8}|redis-cli)"

# Places that give a secret away without an assignment: headers, addresses, calls, markup, SQL and command lines.
_IN_PLACE = (
    _shape(
        "cookie",
        r"(?i:\b(?:set-)?cookie[\"']?[ \t]{0,4}[:=][ \t]{0,4}[\"']?)(?P<secret>[^\s\"'][^\n\"']{7,4000})",
        "cookie",
        judge=_is_cookie,
        before=4,
    ),
    _shape("url-password", r"(?i:jdbc:oracle:\w{1,10}:[^\s/:@]{1,80}/)(?P<secret>[^\s@/\"']{1,100})@", "jdbc:oracle:"),
    _shape(
        "url-password",  # a slash that should have been written as %2F
        rf"(?i:\b{_DATABASES}://[^\s:/@\"'<>]{{0,100}}:)(?P<secret>[^\s@\"'<>]{{1,200}})@(?=[\w.\[-]+[:/]?)",
        "://",
        judge=_is_no_placeholder,
        before=32,
    ),
    _named(
        rf"(?:\bauth[ \t]{{0,4}}=[ \t]{{0,4}}|Auth|\blogin){_FIRST}{_QUOTED}",
        "auth",
        "login",
        judge=_is_quoted_password,
    ),
    _named(
        rf"<(?:[\w-]{{1,30}}:)?{_NAME}(?:[ \t][^<>\n]{{0,80}})?>(?P<secret>[^<>\n]{{6,200}})</",
        "</",
        judge=_is_key,
        before=None,
    ),
    _named(
        rf"(?i:\bname=[\"']?{_NAME}[\"']?[^<>\n]{{0,100}}?\bvalue=){_QUOTED}",
        "name=",
        judge=_is_quoted_key,
    ),
    _named(
        rf"(?i:\b(?:password|identified by))[ \t]{{1,4}}{_QUOTED}",
        "password",
        "identified by",
        judge=_is_default,
    ),
    replace(  # a row of a table that is printed: a Series, the settings of a client
        _named(
            rf"(?m)^[ \t]{{0,40}}(?:\w{{1,20}}[_-])?(?i:(?:{_PASSWORDS}|{_KEYS}){_SUFFIX})(?:[ \t]{{2,60}}|\t)"
            r"(?P<secret>[^\s\"']{6,200})[ \t]*$",
            *_PASSWORD_HINTS,
            *_KEY_HINTS,
            judge=_is_default,
            before=40 + 21 + _LONGEST_NAME,
        ),
        at_line=True,
    ),
    _named(
        r"(?i:\b(?:password|passphrase)[ \t]{1,4}(?:for|of)[ \t]{1,4}[^\n]{1,80}?(?::|[ \t]is)[ \t]{1,4})"
        r"(?P<secret>\S{6,200})",
        "password",
        "passphrase",
        judge=_is_password,
    ),
    _named(
        rf"(?i:\b{_CLIENTS}\b)[^\n|;&]{{0,120}}?[ \t,\"']-[pa]"
        r"(?:[\"'][ \t]{0,4},[ \t]{0,4}[\"']|[ \t]{0,2}[\"']?)(?P<secret>[^\s\"']{6,100})",
        *("sshpass", "mysql", "mariadb", "docker login", "podman login", "mongo", "redis-cli"),
        judge=_is_argument,
    ),
    _named(
        rf"(?i:\b{_CLIENTS}\b)[^\n|;&]{{0,120}}?[ \t]-[pa][ \t]{{0,2}}(?P<quote>[\"'])"
        r"(?P<secret>[^\"'\n]{6,100})(?P=quote)",
        *("sshpass", "mysql", "mariadb", "docker login", "podman login", "mongo", "redis-cli"),
        judge=_is_quoted_password,
    ),
    _named(
        r"(?i:\b(?:curl|wget|https?)[ \t])[^\n|;&]{0,200}?(?:-u|--user)[ \t=]{0,2}[\"']?[^\s:\"']{1,80}:"
        r"(?P<secret>[^\s\"']{4,200})",
        *("curl", "wget", "http"),
        judge=_is_no_placeholder,
    ),
    _named(
        rf"(?<![\w-])--?(?:[a-z]{{1,20}}-)?{_NAME}[ \t]{{1,2}}[\"']?(?P<secret>[^\s\"']{{6,200}})",
        *_PASSWORD_HINTS,
        *_KEY_HINTS,
        judge=_is_flag_value,
        before=24 + _LONGEST_NAME,
    ),
)

SHAPES: tuple[Shape, ...] = (
    _shape(
        "private-key",
        # A body must follow: a parser's own constant for the marker is none.
        r"(?P<secret>-----BEGIN [A-Z ]{0,30}PRIVATE KEY(?: BLOCK)?-----"
        r"(?=(?:\s|\\{1,4}[rn]|[\"'+]){0,30}+[A-Za-z0-9+/])"
        rf"(?:[^-]|-(?!----)){{0,20000}}+(?:{_END})?)",
        "-----begin",
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
    _token("slack-webhook", r"https://hooks\.slack\.com/services/[A-Za-z0-9/]{20,80}", "https://hooks.slack.com"),
    _token("huggingface-token", r"hf_[A-Za-z0-9]{20,100}", "hf_"),
    _token("stripe-key", r"[rs]k_(?:live|test)_[A-Za-z0-9]{16,200}", "k_live_", "k_test_", before=1),
    _token("sendgrid-key", r"SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{30,64}", "sg."),
    _token("groq-key", r"gsk_[A-Za-z0-9]{30,80}", "gsk_"),
    _token("xai-key", r"xai-[A-Za-z0-9]{30,120}", "xai-"),
    _token("npm-token", r"npm_[A-Za-z0-9]{36}", "npm_"),
    _token("pypi-token", r"pypi-[A-Za-z0-9_-]{40,300}", "pypi-"),
    *(_token(kind, body, *hints) for kind, body, *hints in _BY_PREFIX),
    _token("twilio-key", r"SK[0-9a-f]{32}(?![A-Za-z0-9])", "sk"),
    _token("mailchimp-key", r"[0-9a-f]{32}-us\d{1,2}(?!\d)", "-us", before=32),
    _token("discord-token", r"[MNO][\w-]{23,27}\.[\w-]{6}\.[\w-]{27,40}(?![\w-])", ".", judge=_has_digits, before=None),
    _token("telegram-token", r"\d{8,10}:[A-Za-z0-9_-]{35}(?![\w-])", ":", judge=_has_digits, before=None),
    _token("terraform-token", r"[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_-]{60,70}", ".atlasv1.", before=14),
    _shape(
        "discord-webhook",
        r"https://(?:\w{1,12}\.)?discord(?:app)?\.com/api/webhooks/\d{15,21}/(?P<secret>[\w-]{50,90})",
        "/api/webhooks/",
        before=36,
    ),
    _shape("azure-signature", r"[?&;]sig=(?P<secret>[A-Za-z0-9%+/]{20,120}={0,2})", "sig=", before=1),
    _shape(
        "url-signature",
        r"(?i:[?&;](?:X-(?:Amz|Goog)-(?:Signature|Security-Token)|Signature)=)(?P<secret>[A-Za-z0-9%+/=_.~-]{20,2000})",
        *("x-amz-s", "x-goog-s", "signature="),
        before=1,
    ),
    _token("jwt", r"eyJ[A-Za-z0-9_-]{8,2000}\.eyJ[A-Za-z0-9_-]{8,4000}\.[A-Za-z0-9_-]{8,1000}", "eyj"),
    _shape("url-password", rf"{_URL}(?P<secret>[^\s/@\"'<>]{{1,200}})@", "://", judge=_is_no_placeholder, before=31),
    _shape("bearer-token", r"(?i:\bbearer)[ \t]{1,4}(?P<secret>[\w.~+/=-]{16,2000})", "bearer", judge=_is_mixed),
    _shape(
        "authorization-token",
        r"(?i:\bauthorization[\"']?[ \t]{0,4}[:=][ \t]{0,4}[\"']?(?:token|key|apikey))[ \t=]{1,4}"
        r"(?P<secret>[\w.~+/=-]{16,500})",
        "authorization",
        judge=_is_mixed,
    ),
    _shape(
        "netrc-password",
        r"(?i:\blogin[ \t]{1,4}\S{1,80}[ \t]{1,4}password)[ \t]{1,4}(?P<secret>\S{4,200})",
        "login",
        judge=_is_no_placeholder,
    ),
    _named(
        r"\blogin\([ \t]{0,4}key[ \t]{0,4}=[ \t]{0,4}(?P<quote>[\"'])(?P<secret>[0-9a-f]{40})(?P=quote)",
        "login",
        judge=_has_digits,
    ),
    _named(
        r"(?i:\bkey[\"']?[ \t]{0,4}[=:][ \t]{0,4})(?P<quote>[\"'])(?P<secret>[A-Za-z0-9_-]{32,200})(?P=quote)",
        "key",
        judge=_is_random,
    ),
    *_IN_PLACE,
    _shape("basic-auth", rf"{_AUTHORIZATION}(?P<secret>[A-Za-z0-9+/=]{{8,2000}})", "authorization"),
    _named(
        rf"{_HUMP}(?i:{_PASSWORDS}{_SUFFIX}{_EQUALS}){_QUOTED}",
        *_PASSWORD_HINTS,
        judge=_is_quoted_password,
        before=_LONGEST_PASSWORD,
    ),
    _named(
        rf"{_HUMP}(?i:{_OTHERS}{_SUFFIX}{_EQUALS}){_QUOTED}",
        "secret",
        "key",
        judge=_is_quoted_key,
        before=_LONGEST_NAME,
    ),
    _named(
        rf"{_HUMP}(?i:{_WORDS}{_SUFFIX}{_EQUALS}){_QUOTED}",
        "token",
        "auth",
        "credential",
        judge=_is_quoted_token,
    ),
    _named(
        rf"{_HUMP}(?i:(?:{_PASSWORDS}|{_KEYS}){_SUFFIX})[\"'][ \t]{{0,4}},[ \t]{{0,4}}{_QUOTED}",
        *_PASSWORD_HINTS,
        *_KEY_HINTS,
        judge=_is_default,
        before=_LONGEST_NAME,
    ),
    _named(
        rf"{_HUMP}(?i:{_PASSWORDS}{_SUFFIX}{_EQUALS}){_BARE}",
        *_PASSWORD_HINTS,
        judge=_is_password,
        before=_LONGEST_PASSWORD,
    ),
    _named(rf"{_HUMP}(?i:{_KEYS}{_SUFFIX}{_EQUALS}){_BARE}", *_KEY_HINTS, judge=_is_key, before=_LONGEST_NAME),
)
"""Most specific first: a key that one shape took is a mark before the next one looks."""
GUESSABLE = frozenset({"secret", "url-password", "netrc-password", "basic-auth", "cookie"})
"""Kinds that people think up: to their marks a list of likely ones could be compared."""
NAME_ENDS = re.compile(r"[\w-]{0,60}+[^\w+/-]")
"""The rest of a name that begins with its hint, and what follows it. Much data has a hint in it by chance."""
NAME_HINTS = (*_PASSWORD_HINTS, *_KEY_HINTS)
"""Literals, in small letters; the name of a secret contains one of them."""
KINDS = tuple(sorted({shape.kind for shape in SHAPES}))
