"""List the shapes of secrets: providers' own keys, and what a name or a place gives away. Pure data.

Every pattern is anchored by a literal that scanning finds fast and bounded in length. Well-known detectors were
compared (make bench-context; 2026-11-23). detect-secrets, last released in May 2024, found 46 % of the made-up secrets
at ten times the time. kingfisher found 71 %, is a 47 MB program, and takes seconds to start. So the shapes stand here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from agentnb.context.redaction.secret_judges import (
    any_value,
    has_digits,
    is_argument,
    is_braced,
    is_cookie,
    is_default,
    is_flag_value,
    is_generated,
    is_key,
    is_mixed,
    is_no_placeholder,
    is_of_account,
    is_password,
    is_quoted_key,
    is_quoted_password,
    is_random,
)


@dataclass(frozen=True, slots=True)
class Shape:
    """Tells a kind of secret. `pattern`'s group `secret` is what is taken out. Any match contains one of the literals
    `hints`.

    A match begins at most `before` characters before a hint. None means anywhere: its first character is rare, or the
    hint is common. `named`: a name or a place gives the secret away, not what
    it looks like. `begins`: only there may a match begin. `ends`: that must come at its hint; both are quick tests.
    `beside`: that must stand within `AROUND` characters.
    """

    kind: str
    pattern: re.Pattern[str]
    hints: tuple[str, ...]
    judge: Callable[[str], bool]
    before: int | None = 0
    named: bool = False
    beside: re.Pattern[str] | None = None
    begins: re.Pattern[str] | None = None
    ends: re.Pattern[str] | None = None


def _shape(
    kind: str, pattern: str, *hints: str, judge: Callable[[str], bool] = any_value, before: int | None = 0
) -> Shape:
    return Shape(kind, re.compile(pattern), tuple(hint.lower() for hint in hints), judge, before)


def _named(pattern: str, *hints: str, judge: Callable[[str], bool] = any_value, before: int | None = 0) -> Shape:
    """Return the shape of a secret that a name or a place gives away."""
    shape = _shape("secret", pattern, *hints, judge=judge, before=before)
    return replace(shape, named=True, ends=_NAME_ENDS if before else None)


def _assigned(pattern: str, *hints: str, judge: Callable[[str], bool], before: int) -> Shape:
    """Return the shape of a secret that is given to a name: `DB_PASSWORD=…`, `dbPassword: …`, in colours too."""
    return replace(_named(pattern, *hints, judge=judge, before=before), begins=_HUMP, ends=_VALUE_COMES)


def _token(
    kind: str, body: str, *hints: str, judge: Callable[[str], bool] = any_value, before: int | None = 0
) -> Shape:
    """Return the shape of a key that stands by itself, with no letter or digit before it."""
    return _shape(kind, rf"(?<![A-Za-z0-9])(?P<secret>{body})", *hints, judge=judge, before=before)


_END = r"-----END [A-Z ]{0,30}PRIVATE KEY(?: BLOCK)?-----"
# A password's and a key's names by themselves; words with other meanings, whose values must look generated.
_PASSWORDS = (
    r"(?:(?:pg)?pass(?:word|wd|phrase|wort)|kennwort|mot_?de_?passe|contrase(?:ñ|n)a|senha|"
    r"wachtwoord|пароль|密码|パスワード)"
)
_KEYS = (
    r"(?:(?:api|access|secret|private|license|fernet|signing|encryption|subscription|master|(?:pre[_-]?)?shared(?:[_-]?access)?)"
    r"[_-]?key|client[_-]?secret|(?<=[_-])secret|(?<=[a-z])secret)"
)
_DATA_TOKENS = (
    "page",
    "pagination",
    "continuation",
    "cursor",
    "sync",
    "change",
    "lock",
    "resume",
    "cache",
    "s2",
    "cell",
)
_NOT_DATA = "".join(f"(?<!{word}{join})" for word in _DATA_TOKENS for join in ("", "_", "-"))
_SHORT = r"(?:pass(?:code)?|pw|pwd|psk|secret)(?![a-z])"
_WEAK = rf"(?:(?:identity|registry)?{_NOT_DATA}token|auth|credentials?|account[_-]?key|{_SHORT})"
_ACCOUNT = re.compile(
    r"(?i:(?<![a-z0-9])(?:[a-z]{1,10}_|db|my|pg)?(?:user|usr|uid|login|admin|root|e-?mail|mail|smtp|imap|s?ftp|ssh|ldap|(?:open)?vpn|"
    r"[a-z]{0,9}sql|db|database|mongo|redis|wifi|ssid|proxy)(?:name|_?id|pass|pw)?(?![a-z0-9])|\bpwd[\"']?[ \t]*[:=])"
)
"""A user or a server, named beside a short word, says that it is a password's."""
AROUND = 80
"""Characters before and after a name and its value in which what must stand beside them may stand."""
_PASSWORD_HINTS = ("pass", "pw", "kennwort", "contrase", "senha", "wachtwoord", "пароль", "密码", "パスワード")
_KEY_HINTS = ("secret", "token", "key", "auth", "credential")
_LONGEST_NAME = 16
"""Characters of a secret's name before the hint in it: `shared_access_key`; of a password's: `mot_de_passe`."""
_LONGEST_PASSWORD = 8
_HUMP = re.compile(
    r"(?=[^\W\d_])(?:(?<![A-Za-z])|(?<=[a-z])(?=[A-Z])|"
    r"(?<=\[\dm)|(?<=\[\d\dm)|(?<=;\dm)|(?<=;\d\dm)|(?<=;\d\d\dm))"
)
_NAME_ENDS = re.compile(r"[\w-]{0,60}+[^\w+/-]")
_VALUE_COMES = re.compile(r"[\w-]{0,60}+\\{0,2}[\"']?\]?(?:[ \t]|\x1b\[[\d;]{0,8}m){0,8}[:=!,]")
"""The rest of a name that begins with its hint, and what follows it. Much data has a hint in it by chance."""
# `token_type`, `pass_zero`, `SECRET_PATH`: what is told about a secret is none.
_ABOUT = (
    r"types?|ids?|names?|patterns?|zero|ur[li]s?|files?|filename|path|dir|headers?|fields?|endpoint|providers?|count|"
    r"counts|length|limit|size|format|expir\w*|ttl|params?|prefix|suffix|class|cls|var|style|index|requests?|response|"
    r"encoding|codec|schemes?|methods?|algorithms?|alg|versions?|backend|domain|service|plugin|flow|regex|label|help|"
    r"strength|scores?|polic\w+|rules?|hints?|"
    r"error|errors|event|marker|usage|cost|price|kind|mode|scopes?|state|list|map|dict|set|func|callback|handler|factory"
)
_SUFFIX = rf"(?:[_-](?!(?:{_ABOUT})(?![a-z0-9]))[a-z0-9]{{1,20}})?"
_YAML = r"(?:[&!][\w!-]{1,30}[ \t]{1,4})?(?:[>|][+-]?[ \t]{0,4}\r?\n[ \t]{1,40})?"
_GAP = r"(?:[ \t]|\x1b\[[\d;]{0,8}m){0,8}"
# A bracket that only closes is no annotation's: it ends a mark, and what follows is another's value.
_ANNOTATION = r"[A-Za-z_][\w. |]{0,30}(?:\[[\w.\[\], |]{0,40}\][\w |]{0,20})?"
# `=`, `:`, `==`, `:=`, `: str =`; after the name a closing quote and bracket. Before the value an opening parenthesis,
# as in `SecretStr(`, or YAML's anchors, tags and signs of a block.
_EQUALS = (
    rf"\\{{0,2}}[\"']?\]?{_GAP}(?::[ \t]{{0,4}}{_ANNOTATION}(?==))?(?::=|[=!]=|=>|=|:){_GAP}"
    rf"(?:(?:Secret\w{{0,12}})?\([ \t]{{0,8}}(?:\r?\n[ \t]{{0,40}})?)?{_YAML}"
)
_QUOTED = (
    r"[rbuf]{0,2}(?P<escape>\\{0,2})(?P<quote>\"\"\"|'\'\'|[\"'])"
    r"(?P<secret>(?:\\.|(?!(?P=quote))[^\\\n]){4,300}?)(?P=escape)(?P=quote)"
)
_BARE = r"(?P<secret>[^\s\"',;)\]}(\x1b]{6,300}+)(?![\w(])"
_EITHER = (
    r"(?:[rbuf]{0,2}\\{0,2}[\"']{1,3})?(?P<secret>[\w!$^*~?.+/:%-]{8,2000}+={0,2})(?<!:)(?=[\s\"',;)\]}<&#\\\x1b]|$)"
)
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

_CRYPT = ("$apr1$", "$1$", "$2a$", "$2b$", "$2y$", "$5$", "$6$", "$y$", "$argon2")
_NAME = rf"(?i:(?:{_PASSWORDS}|{_KEYS}|{_WEAK})(?![_-](?:hash|digest|fingerprint)){_SUFFIX})"
_STRONG = rf"(?i:{_PASSWORDS}{_SUFFIX}|{_KEYS})"
_HINTS = (*_PASSWORD_HINTS, *_KEY_HINTS)
_DATABASES = r"(?:postgres(?:ql)?|mysql|mariadb|mssql|oracle|mongodb|rediss?|amqps?)(?:\+\w{1,20})?"
_CLIENTS = r"(?:sshpass|mysql\w{0,6}|mariadb\w{0,6}|docker login|podman login|mongo\w{0,8}|redis-cli)"

# Places that give a secret away without an assignment: headers, addresses, calls, markup, SQL and command lines.
_IN_PLACE = (
    _shape(
        "cookie",
        r"(?i:\b(?:set-)?cookie[\"']?[ \t]{0,4}[:=][ \t]{0,4}[\"']?)(?P<secret>[^\s\"'][^\n\"']{7,4000})",
        "cookie",
        judge=is_cookie,
        before=4,
    ),
    _shape("url-password", r"(?i:jdbc:oracle:\w{1,10}:[^\s/:@]{1,80}/)(?P<secret>[^\s@/\"']{1,100})@", "jdbc:oracle:"),
    _shape(
        "url-password",  # a slash that should have been written as %2F
        rf"(?i:\b{_DATABASES}://[^\s:/@\"'<>]{{0,100}}:)(?P<secret>[^\s@\"'<>]{{1,200}})@(?=[\w.\[-]+[:/]?)",
        "://",
        judge=is_no_placeholder,
        before=32,
    ),
    _named(
        rf"(?:\bauth[ \t]{{0,4}}=[ \t]{{0,4}}|Auth|\blogin){_FIRST}{_QUOTED}",
        "auth",
        "login",
        judge=is_quoted_password,
    ),
    _named(
        rf"<(?:(?:[\w-]{{1,30}}:)?{_NAME}(?:[ \t][^<>\n]{{0,80}})?|\w{{1,30}} (?:name|key)=\"[\w.-]{{0,60}}?{_NAME}\")>"
        r"\{?(?P<secret>[^<>{}\n]{6,200})\}?</",
        "</",
        judge=is_key,
        before=None,
    ),
    *(
        _named(  # a form's field, a manifest's variable, a setting in XML
            rf"(?i:\b(?:name|key|type)[\"']?[ \t]{{0,4}}[:=][ \t]{{0,4}}[\"']?)[\w.-]{{0,60}}?{name}"
            rf"(?>[\"']?[^<>{{}}\n]{{0,100}}?[\s,]{{1,60}}(?i:[\"']?\bvalue[\"']?[ \t]{{0,4}}[:=][ \t]{{0,4}})){value}",
            *("name", "key", "type"),
            judge=judge,
        )
        for name, value, judge in (
            (_STRONG, _QUOTED, is_quoted_password),
            (_STRONG, _BARE, is_password),
            (_NAME, _EITHER, is_generated),
        )
    ),
    _named(  # by position: a place and a user, or one of them, come first
        rf"\b(?:connect|set_password){_FIRST}(?:[\"'][^\"'\n]{{1,80}}[\"'][ \t]{{0,4}},[ \t]{{0,4}})?{_QUOTED}",
        *("connect(", "set_password("),
        judge=is_default,
    ),
    _named(  # shells and Docker
        rf"\b(?:ENV|setx|setenv|set -[a-zA-Z]{{1,4}})[ \t]{{1,4}}\w{{0,60}}?{_NAME}[ \t]{{1,4}}[\"']?"
        r"(?P<secret>[^\s\"'=]{6,200})",
        *("env ", "setx ", "setenv ", "set -"),
        judge=is_flag_value,
    ),
    _named(
        r"\becho[ \t]{1,4}[\"']?(?P<secret>[^\s\"'|]{6,100})[\"']?[ \t]{0,4}\|[^\n|]{0,100}?"
        r"(?:--password-stdin|\bsudo -S)\b",
        "echo ",
        judge=is_argument,
    ),
    _named(  # Terraform
        rf"\bvariable[ \t]{{1,4}}\"[\w-]{{0,60}}?{_NAME}\"[ \t]{{0,4}}\{{[^{{}}]{{0,400}}?"
        rf"\bdefault[ \t]{{0,20}}=[ \t]{{0,4}}{_QUOTED}",
        "variable",
        judge=is_quoted_key,
    ),
    _named(
        rf"(?:\bConvertTo-SecureString[ \t]{{1,4}}(?:-String[ \t]{{1,4}})?|\bFernet\([ \t]{{0,4}}){_QUOTED}",
        "convertto-securestring",
        "fernet(",
        judge=is_quoted_password,
    ),
    _named(  # the first or second argument of a client
        r"(?:Client|Bot|A(?:PI|pi)|Pinecone|OpenAI|Github)\([ \t]{0,4}(?:[\"'][\w.@-]{1,80}[\"'][ \t]{0,4},[ \t]{0,4})?"
        r"(?P<quote>[\"'])(?P<secret>[\w.:~+/-]{20,300}={0,2})(?P=quote)",
        *("client(", "bot(", "api(", "pinecone(", "openai(", "github("),
        judge=is_generated,
    ),
    _named(r"(?i:\b(?:pwd|password)=)\{(?P<secret>[^\s{}\"']{4,100})\}", "pwd={", "password={", judge=is_braced),
    replace(  # what libpq reads
        _named(r"\bpassword=(?P<secret>[^\s'\",)]{4,200})", "password=", judge=is_no_placeholder),
        beside=re.compile(r"\b(?:host|port|user|dbname)=[^\s,)'\"]+[ \t]"),
    ),
    _named(
        r"\b(?:smbclient|rpcclient|net|wmic)\b[^\n|;&]{0,120}? -U ?[^\s%]{1,80}%(?P<secret>\S{4,100})",
        *("smbclient", "rpcclient", "net ", "wmic"),
        judge=is_no_placeholder,
    ),
    _named(
        r"\bfrom_(?:private_)?key\([ \t]{0,4}(?P<quote>[\"'])(?P<secret>(?:0x)?[0-9a-fA-F]{64})(?P=quote)",
        *("from_key", "from_private_key"),
    ),
    _named(r"(?i:\bwif)\W{1,5}(?P<secret>[5KLc9][1-9A-HJ-NP-Za-km-z]{50,51})", "wif"),
    _named(r"(?i:/user:)\S{1,80}[ \t]{1,4}(?P<secret>[^\s/]\S{5,100})", "/user:", judge=is_password),
    replace(
        _named(rf"(?i:\bkey[\"']?[ \t]{{0,4}}[:=][ \t]{{0,4}}){_EITHER}", "key", judge=is_generated),
        beside=re.compile(r"\buser_?name\b"),
    ),
    _named(
        rf"(?i:\b(?:password|identified by))[ \t]{{1,4}}{_QUOTED}",
        "password",
        "identified by",
        judge=is_default,
    ),
    _named(
        r"(?i:\b(?:bind_?pw|root_?pw|requirepass|masterauth))[ \t]{1,20}(?P<secret>\S{6,200})",
        *("bind_pw", "bindpw", "root_pw", "rootpw", "requirepass", "masterauth"),
        judge=is_password,
    ),
    _named(
        r"(?i:\b(?:password|passphrase)[ \t]{1,4}(?:is|was)[ \t]{1,4})[\"'`]?(?P<secret>[^\s\"'`]{6,100})",
        "password",
        "passphrase",
        judge=is_default,
    ),
    _named(
        r"(?i:\b(?:password|passphrase)[ \t]{1,4}(?:for|of)[ \t]{1,4}[^\n]{1,80}?(?::|[ \t]is)[ \t]{1,4})"
        r"(?P<secret>\S{6,200})",
        "password",
        "passphrase",
        judge=is_password,
    ),
    _named(
        rf"(?i:\b{_CLIENTS}\b)[^\n|;&]{{0,120}}?[ \t,\"']-[pa]"
        r"(?:[\"'][ \t]{0,4},[ \t]{0,4}[\"']|[ \t]{0,2}[\"']?)(?P<secret>[^\s\"']{6,100})",
        *("sshpass", "mysql", "mariadb", "docker login", "podman login", "mongo", "redis-cli"),
        judge=is_argument,
    ),
    _named(
        rf"(?i:\b{_CLIENTS}\b)[^\n|;&]{{0,120}}?[ \t]-[pa][ \t]{{0,2}}(?P<quote>[\"'])"
        r"(?P<secret>[^\"'\n]{6,100})(?P=quote)",
        *("sshpass", "mysql", "mariadb", "docker login", "podman login", "mongo", "redis-cli"),
        judge=is_quoted_password,
    ),
    _named(
        r"(?i:\b(?:curl|wget|https?)[ \t])[^\n|;&]{0,200}?(?:-u|--user)[ \t=]{0,2}[\"']?[^\s:\"']{1,80}:"
        r"(?P<secret>[^\s\"']{4,200})",
        *("curl", "wget", "http"),
        judge=is_no_placeholder,
    ),
    replace(
        _named(
            rf"--?(?:[a-z]{{1,20}}-)?{_NAME}[ \t]{{1,2}}[\"']?(?P<secret>[^\s\"']{{6,200}})",
            *_HINTS,
            judge=is_flag_value,
            before=24 + _LONGEST_NAME,
        ),
        begins=re.compile(r"(?<![\w-])-"),
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
    _shape(
        "private-key",
        r"\bPrivate-Lines: \d{1,3}\r?\n(?P<secret>(?:[A-Za-z0-9+/=]{1,64}(?:\r?\n)?){1,60}+)",
        "private-lines:",
    ),
    _token("anthropic-key", r"sk-ant-[A-Za-z0-9_-]{8,200}", "sk-ant-"),
    _token("openrouter-key", r"sk-or-[A-Za-z0-9_-]{16,200}", "sk-or-"),
    _token("openai-key", r"sk-(?:proj|svcacct|admin)-[A-Za-z0-9_-]{8,200}", "sk-"),
    _token("api-key", r"sk-[A-Za-z0-9_-]{20,200}", "sk-", judge=is_mixed),
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
    _token("discord-token", r"[MNO][\w-]{23,27}\.[\w-]{6}\.[\w-]{27,40}(?![\w-])", ".", judge=has_digits, before=None),
    _token("telegram-token", r"(?:bot)?\d{8,10}:[A-Za-z0-9_-]{35}(?![\w-])", ":", judge=has_digits, before=None),
    _shape("password-hash", r"(?P<secret>\$(?:apr1|1|2[aby]|5|6|y|argon2\w{1,2})\$[\w./$=,+-]{20,300})", *_CRYPT),
    _shape("password-hash", r"(?P<secret>\{S?SHA\}[A-Za-z0-9+/]{27,60}={0,2})", "{sha}", "{ssha}"),
    _shape(
        "ansible-vault", r"\$ANSIBLE_VAULT;[\w.;]{1,40}(?P<secret>(?:\s{1,40}[0-9a-f]{2,80}){1,2000})", "$ansible_vault"
    ),
    _shape(
        "pgpass-password",
        r"(?m)^[^\s:#]{1,100}:(?:543\d|6432|\*):[^\s:]{1,63}:[^\s:]{1,63}:(?P<secret>[^\s:]{4,100})$",
        *(":543", ":6432:", ":*:"),
        judge=is_no_placeholder,
        before=100,
    ),
    _shape(
        "seed-phrase",
        r"(?i:\b(?:mnemonic|(?:seed|recovery)[ _-]?(?:phrase|words)))[\"']?[ \t]{0,4}[:=][ \t]{0,4}[\"']?"
        r"(?P<secret>(?:[a-z]{3,8} ){11,23}[a-z]{3,8})",
        *("mnemonic", "seed", "recovery"),
    ),
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
    _shape("url-password", rf"{_URL}(?P<secret>[^\s/@\"'<>]{{1,200}})@", "://", judge=is_no_placeholder, before=31),
    _shape("url-password", r"[a-z]://(?P<secret>[\w-]{16,200})@", "://", judge=is_generated, before=1),
    _shape(
        "office-webhook",
        r"https://[\w.-]{0,60}office(?:365)?\.com/webhook\w{0,3}/(?P<secret>[\w@/-]{60,300})",
        "office.com/webhook",
        "office365.com/webhook",
        before=68,
    ),
    _shape("bearer-token", r"(?i:\bbearer)[ \t]{1,4}(?P<secret>[\w.~+/=-]{16,2000})", "bearer", judge=is_mixed),
    _shape(
        "authorization-token",
        r"(?i:\bauthorization[\"']?[ \t]{0,4}[:=][ \t]{0,4}[\"']?(?:token|key|apikey))[ \t=]{1,4}"
        r"(?P<secret>[\w.~+/=-]{16,500})",
        "authorization",
        judge=is_mixed,
    ),
    _shape(
        "netrc-password",
        r"(?i:\blogin[ \t]{1,4}\S{1,80}\s{1,40}password)[ \t]{1,4}(?P<secret>\S{4,200})",
        "login",
        judge=is_no_placeholder,
    ),
    _named(
        r"\blogin\([ \t]{0,4}key[ \t]{0,4}=[ \t]{0,4}(?P<quote>[\"'])(?P<secret>[0-9a-f]{40})(?P=quote)",
        "login",
        judge=has_digits,
    ),
    _named(
        r"(?i:\bkey[\"']?[ \t]{0,4}[=:][ \t]{0,4})(?P<quote>[\"'])(?P<secret>[A-Za-z0-9_-]{32,200})(?P=quote)",
        "key",
        judge=is_random,
    ),
    *_IN_PLACE,
    _shape("basic-auth", rf"{_AUTHORIZATION}(?P<secret>[A-Za-z0-9+/=]{{8,2000}})", "authorization"),
    _assigned(
        rf"(?i:{_PASSWORDS}{_SUFFIX}{_EQUALS}){_QUOTED}",
        *_PASSWORD_HINTS,
        judge=is_quoted_password,
        before=_LONGEST_PASSWORD,
    ),
    _assigned(rf"(?i:{_KEYS}{_EQUALS}){_QUOTED}", "secret", "key", judge=is_quoted_key, before=_LONGEST_NAME),
    replace(
        _assigned(
            rf"{_STRONG}[\"'][ \t]{{0,4}},[ \t]{{0,4}}{_QUOTED}", *_HINTS, judge=is_default, before=_LONGEST_NAME
        ),
        ends=re.compile(r"[\w-]{0,60}+[\"'][ \t]{0,4},"),
    ),
    _assigned(
        rf"(?i:{_PASSWORDS}{_SUFFIX}{_EQUALS}){_BARE}",
        *_PASSWORD_HINTS,
        judge=is_password,
        before=_LONGEST_PASSWORD,
    ),
    _assigned(
        rf"(?i:{_STRONG}{_EQUALS})`(?P<secret>[^`\n]{{6,200}})`", *_HINTS, judge=is_default, before=_LONGEST_NAME
    ),
    _assigned(rf"(?i:{_KEYS}{_EQUALS}){_BARE}", "secret", "key", judge=is_key, before=_LONGEST_NAME),
    _assigned(
        rf"{_NAME}(?:{_EQUALS}|[\"'][ \t]{{0,4}},[ \t]{{0,4}}){_EITHER}",
        *_HINTS,
        judge=is_generated,
        before=_LONGEST_NAME,
    ),
    *(
        replace(
            _assigned(
                rf"(?i:(?:db|user|root|admin|bind|smtp|ftp|mail)?{_SHORT}{_EQUALS}){value}",
                *("pass", "pw", "psk", "secret"),
                judge=is_of_account,
                before=5,
            ),
            beside=_ACCOUNT,
        )
        for value in (_QUOTED, _BARE)
    ),
)
"""Most specific first: a key that one shape took is a mark before the next one looks."""
COLUMNS = tuple(
    _named(rf"[\w .#-]{{0,40}}?{name}s?", judge=judge) for name, judge in ((_STRONG, is_default), (_NAME, is_generated))
)
"""Kinds of a table's columns, whose pattern is of the name: the cells below it are judged."""
GUESSABLE = frozenset({"secret", "url-password", "netrc-password", "basic-auth", "cookie"})
"""Kinds that people think up: to their marks a list of likely ones could be compared."""
NAME_HINTS = _HINTS
"""Literals, in small letters; the name of a secret contains one of them."""
KINDS = tuple(sorted({shape.kind for shape in SHAPES}))
