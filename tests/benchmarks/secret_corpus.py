"""Made-up secrets of many kinds, by shape: for tests and for the comparison of detectors. None was ever valid.

`corpus(seed)` gives the same texts on every machine. Each case holds the secret's own letters, so that a detector can
be asked whether they are gone.
"""

from __future__ import annotations

import base64
import random
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass

LOWER, DIGITS, HEX = string.ascii_lowercase, string.digits, "0123456789abcdef"
UPPER = string.ascii_uppercase
ALNUM = string.ascii_letters + DIGITS
URLSAFE = ALNUM + "_-"
B64 = ALNUM + "+/"


@dataclass(frozen=True, kw_only=True)
class Case:
    """One text with one secret in it. `where` says how it stands there."""

    kind: str
    where: str
    text: str
    secret: str


def pick(rng: random.Random, letters: str, n: int) -> str:
    """Letters and at least one digit among them, as generated keys have."""
    made = [rng.choice(letters) for _ in range(n)]
    if n > 3 and any(d in letters for d in DIGITS):
        made[rng.randrange(n)] = rng.choice(DIGITS)
    return "".join(made)


def _jwt(rng: random.Random) -> str:
    head = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').decode().rstrip("=")
    body = base64.urlsafe_b64encode(f'{{"sub":"{pick(rng, DIGITS, 10)}"}}'.encode()).decode().rstrip("=")
    return f"{head}.{body}.{pick(rng, URLSAFE, 43)}"


def _private_key(rng: random.Random, name: str) -> str:
    lines = "\n".join(pick(rng, B64, 64) for _ in range(6))
    return f"-----BEGIN {name}-----\n{lines}\n-----END {name}-----"


# Keys that can be told by themselves, whatever stands around them.
STANDING: dict[str, Callable[[random.Random], str]] = {
    "anthropic": lambda r: f"sk-ant-api03-{pick(r, URLSAFE, 93)}AA",
    "openai-project": lambda r: f"sk-proj-{pick(r, URLSAFE, 74)}T3BlbkFJ{pick(r, URLSAFE, 74)}",
    "openai": lambda r: f"sk-{pick(r, ALNUM, 20)}T3BlbkFJ{pick(r, ALNUM, 20)}",
    "openrouter": lambda r: f"sk-or-v1-{pick(r, HEX, 64)}",
    "google-api": lambda r: f"AIza{pick(r, URLSAFE, 35)}",
    "google-oauth-secret": lambda r: f"GOCSPX-{pick(r, URLSAFE, 28)}",
    "google-oauth-token": lambda r: f"ya29.{pick(r, URLSAFE, 120)}",
    "github": lambda r: f"ghp_{pick(r, ALNUM, 36)}",
    "github-fine": lambda r: f"github_pat_{pick(r, ALNUM, 22)}_{pick(r, ALNUM, 59)}",
    "gitlab": lambda r: f"glpat-{pick(r, URLSAFE, 20)}",
    "gitlab-runner": lambda r: f"glrt-{pick(r, URLSAFE, 20)}",
    "aws-key-id": lambda r: f"AKIA{pick(r, UPPER + '234567', 16)}",
    "slack-bot": lambda r: f"xoxb-{pick(r, DIGITS, 12)}-{pick(r, DIGITS, 12)}-{pick(r, ALNUM, 24)}",
    "slack-app": lambda r: f"xapp-1-A{pick(r, UPPER + DIGITS, 10)}-{pick(r, DIGITS, 13)}-{pick(r, HEX, 64)}",
    "slack-webhook": lambda r: (
        f"https://hooks.slack.com/services/T{pick(r, UPPER + DIGITS, 8)}/B{pick(r, UPPER + DIGITS, 8)}/"
        f"{pick(r, ALNUM, 24)}"
    ),
    "huggingface": lambda r: f"hf_{pick(r, ALNUM, 34)}",
    "stripe": lambda r: f"sk_live_{pick(r, ALNUM, 24)}",
    "stripe-restricted": lambda r: f"rk_live_{pick(r, ALNUM, 24)}",
    "stripe-webhook": lambda r: f"whsec_{pick(r, ALNUM, 32)}",
    "sendgrid": lambda r: f"SG.{pick(r, URLSAFE, 22)}.{pick(r, URLSAFE, 43)}",
    "twilio": lambda r: f"SK{pick(r, HEX, 32)}",
    "mailgun": lambda r: f"key-{pick(r, HEX, 32)}",
    "mailchimp": lambda r: f"{pick(r, HEX, 32)}-us12",
    "npm": lambda r: f"npm_{pick(r, ALNUM, 36)}",
    "pypi": lambda r: f"pypi-AgEIcHlwaS5vcmc{pick(r, URLSAFE, 150)}",
    "rubygems": lambda r: f"rubygems_{pick(r, HEX, 48)}",
    "docker": lambda r: f"dckr_pat_{pick(r, URLSAFE, 27)}",
    "jwt": _jwt,
    "discord-bot": lambda r: f"M{pick(r, ALNUM, 23)}.{pick(r, ALNUM, 6)}.{pick(r, URLSAFE, 38)}",
    "discord-webhook": lambda r: f"https://discord.com/api/webhooks/{pick(r, DIGITS, 18)}/{pick(r, URLSAFE, 68)}",
    "telegram": lambda r: f"{pick(r, '123456789', 10)}:AA{pick(r, URLSAFE, 33)}",
    "square": lambda r: f"sq0atp-{pick(r, URLSAFE, 22)}",
    "shopify": lambda r: f"shpat_{pick(r, HEX, 32)}",
    "digitalocean": lambda r: f"dop_v1_{pick(r, HEX, 64)}",
    "databricks": lambda r: f"dapi{pick(r, HEX, 32)}",
    "notion": lambda r: f"ntn_{pick(r, ALNUM, 46)}",
    "linear": lambda r: f"lin_api_{pick(r, ALNUM, 40)}",
    "figma": lambda r: f"figd_{pick(r, URLSAFE, 40)}",
    "atlassian": lambda r: f"ATATT3{pick(r, URLSAFE, 180)}={pick(r, HEX.upper(), 8)}",
    "airtable": lambda r: f"pat{pick(r, ALNUM, 14)}.{pick(r, HEX, 64)}",
    "vault": lambda r: f"hvs.{pick(r, URLSAFE, 90)}",
    "terraform": lambda r: f"{pick(r, ALNUM, 14)}.atlasv1.{pick(r, URLSAFE, 67)}",
    "grafana": lambda r: f"glsa_{pick(r, ALNUM, 32)}_{pick(r, HEX, 8)}",
    "newrelic": lambda r: f"NRAK-{pick(r, UPPER + DIGITS, 27)}",
    "postman": lambda r: f"PMAK-{pick(r, HEX, 24)}-{pick(r, HEX, 34)}",
    "pulumi": lambda r: f"pul-{pick(r, HEX, 40)}",
    "sentry": lambda r: f"sntrys_{pick(r, B64, 120)}",
    "doppler": lambda r: f"dp.pt.{pick(r, ALNUM, 43)}",
    "replicate": lambda r: f"r8_{pick(r, ALNUM, 37)}",
    "groq": lambda r: f"gsk_{pick(r, ALNUM, 52)}",
    "xai": lambda r: f"xai-{pick(r, ALNUM, 80)}",
    "perplexity": lambda r: f"pplx-{pick(r, ALNUM, 48)}",
    "langsmith": lambda r: f"lsv2_pt_{pick(r, HEX, 32)}_{pick(r, HEX, 10)}",
    "age": lambda r: f"AGE-SECRET-KEY-1{pick(r, 'QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L', 58)}",
    "fly": lambda r: f"FlyV1 fm2_{pick(r, B64, 120)}",
    "supabase": lambda r: f"sbp_{pick(r, HEX, 40)}",
    "rsa-key": lambda r: _private_key(r, "RSA PRIVATE KEY"),
    "openssh-key": lambda r: _private_key(r, "OPENSSH PRIVATE KEY"),
    "pgp-key": lambda r: _private_key(r, "PGP PRIVATE KEY BLOCK"),
}
# Secrets that only their name or their place gives away: `{}` is where the secret stands.
NAMED: dict[str, tuple[Callable[[random.Random], str], tuple[str, ...]]] = {
    "aws-secret": (
        lambda r: pick(r, B64, 40),
        ("aws_secret_access_key = {}", 'AWS_SECRET_ACCESS_KEY="{}"', "SecretAccessKey: {}", '"SecretAccessKey": "{}"'),
    ),
    "azure-storage": (
        lambda r: f"{pick(r, B64, 86)}==",
        ("DefaultEndpointsProtocol=https;AccountName=x;AccountKey={};EndpointSuffix=core.windows.net",),
    ),
    "azure-sas": (
        lambda r: f"{pick(r, ALNUM, 42)}%3D",
        ("https://x.blob.core.windows.net/c?sv=2024-11-04&se=2027-01-01&sp=r&sig={}",),
    ),
    "hex-key": (
        lambda r: pick(r, HEX, 40),
        (
            "WANDB_API_KEY={}",
            'wandb.login(key="{}")',
            'api_key: "{}"',
            "export TOGETHER_API_KEY={}",
            "client.api_key = '{}'",
        ),
    ),
    "password": (
        lambda r: pick(r, ALNUM + "!#%&", 14),
        (
            'password = "{}"',
            "DB_PASSWORD={}",
            "connect(user='ann', password='{}')",
            "db_pass: {}",
            '{{"passwd": "{}"}}',
            "PGPASSWORD={} psql",
            "machine db.example.org login ann password {}",
            "mysql -u ann --password={} shop",
            "Server=db;Database=x;User Id=ann;Password={};Encrypt=yes",
        ),
    ),
    "database-url": (
        lambda r: pick(r, ALNUM, 16),
        (
            "postgresql://ann:{}@db.example.org:5432/shop",
            "mongodb+srv://ann:{}@cluster0.abc.mongodb.net/x",
            "redis://:{}@cache:6379/0",
            "create_engine('mysql+pymysql://ann:{}@db/shop')",
            "amqps://ann:{}@queue/vhost",
        ),
    ),
    "bearer": (
        lambda r: pick(r, ALNUM, 40),
        ("Authorization: Bearer {}", 'headers={{"Authorization": "Bearer {}"}}', "curl -H 'Authorization: token {}' x"),
    ),
    "basic": (
        lambda r: base64.b64encode(f"ann:{pick(r, ALNUM, 14)}".encode()).decode(),
        ("Authorization: Basic {}", 'headers={{"Authorization": "Basic {}"}}'),
    ),
    "token": (
        lambda r: pick(r, ALNUM, 32),
        (
            "TOKEN={}",
            'auth_token: "{}"',
            'session.headers["X-Api-Key"] = "{}"',
            "https://api.example.org/x?access_token={}",
            "?api_key={}&x=1",
        ),
    ),
    "secret-key": (
        lambda r: pick(r, ALNUM + "!@#$%^&*(-_=+)", 50).replace("{", "x"),
        ("SECRET_KEY = '{}'", "JWT_SECRET='{}'"),
    ),
}
AROUND = {
    "code": 'value = "{}"',
    "log": "2026-11-22 10:00:01 INFO sent {} to the server",
    "json": '{{"id": 7, "value": "{}"}}',
    "shell": "export VALUE={}",
    "bare": "{}",
}


def corpus(seed: int = 7, *, each: int = 4) -> Iterator[Case]:
    """Every kind in every surrounding, `each` times."""
    rng = random.Random(seed)
    for kind, make in STANDING.items():
        for where, around in AROUND.items():
            for _ in range(each):
                secret = make(rng)
                yield Case(kind=kind, where=where, text=around.format(secret), secret=secret)
    for kind, (make, arounds) in NAMED.items():
        for around in arounds:
            for _ in range(each):
                secret = make(rng)
                yield Case(kind=kind, where=around, text=around.format(secret), secret=secret)


PROSE = "while we talk about the tides and their harmonic parts in long lines of plain text a dog sleeps"


def broken(seed: int = 3) -> Iterator[Case]:
    """The corpus in plain text, each secret broken by the end of a line, as terminals and e-mails break it."""
    rng = random.Random(seed)
    for case in corpus(each=1):
        if "\n" in case.text:
            continue
        for width, marks in ((72, ""), (80, ""), (72, "> ")):
            kept = rng.randrange(4, max(5, len(case.secret) - 4))  # of the secret on the first line
            room = width - len(marks) - kept - case.text.index(case.secret)
            if room > 1:
                begin = rng.randrange(len(PROSE))
                lead = f"{PROSE[begin:]} {PROSE}"[: room - 1]
                text = _folded(f"{lead} {case.text} and so on", width - len(marks), marks)
                yield Case(kind=case.kind, where=f"column {width} {marks}".strip(), text=text, secret=case.secret)


def _folded(line: str, width: int, marks: str) -> str:
    return "\n".join(marks + line[place : place + width] for place in range(0, len(line), width))
