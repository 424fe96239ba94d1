from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnb.context import redaction
from agentnb.context.redaction import mark_of, redact

KEYS = {
    "anthropic-key": "sk-ant-" + "api03-abcdEFGH1234567890_-xyz",
    "openai-key": "sk-proj-" + "abcDEF1234567890",
    "api-key": "sk-" + "abcDEF1234567890ghiJKL",
    "google-key": "AIza" + "SyD1234567890abcdefghijklmnopqrstuv",
    "github-token": "ghp_" + "abcdefghijklmnopqrstuvwxyz0123456789",
    "aws-key-id": "AKIA" + "ABCDEFGHIJKLMNOP",
    "slack-token": "xoxb-" + "123456789012-abcdefghij",
    "huggingface-token": "hf_" + "abcdefghijklmnopqrstuvwxyz",
    "jwt": "eyJ" + "hbGciOiJIUzI1NiJ9.eyJ" + "zdWIiOiIxMjM0In0.abcDEF1234567890",
}


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("around", ["{}", "key={}\n", "'{}'", "x {} y", '{{"k": "{}"}}', "https://h/?k={}&x=1"])
def test_provider_keys_are_taken_out_wherever_they_stand(kind: str, around: str) -> None:
    result = redact(around.format(KEYS[kind]))
    assert KEYS[kind] not in result.text
    assert result.found == ((kind, mark_of(kind, KEYS[kind])),)


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("postgres://ann:hunter2@db/x", "hunter2"),
        ("Authorization: Bearer abcDEF1234567890xyz", "abcDEF1234567890xyz"),
        ("DB_PASSWORD=tr0ub4dor&3x", "tr0ub4dor&3x"),
        ("password = 'correct-horse'", "correct-horse"),
        ("os.environ['OPENAI_API_KEY'] = 'abcd1234efgh'", "abcd1234efgh"),
        ('{"api_key": "a8f5f167f44f4964e6c998dee827110c"}', "a8f5f167f44f4964e6c998dee827110c"),
        ("AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfi", "wJalrXUtnFEMI/K7MDENG/bPxRfi"),
        ("AccountKey=abc123DEF456ghi789jkl/mno+pq==;Endpoint=x", "abc123DEF456ghi789jkl/mno+pq=="),
        ('"dbPassword": "hunter2hunter2"', "hunter2hunter2"),
        ("%env MY_TOKEN=abc123def456ghi", "abc123def456ghi"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----", "MIIE"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Blbn cut off here", "b3Blbn"),
    ],
)
def test_passwords_and_connection_strings(text: str, secret: str) -> None:
    result = redact(text)
    assert secret not in result.text
    assert len(result.found) == 1


@pytest.mark.parametrize(
    "text",
    [
        "password=password, token = settings.token",
        "def f(password: str, token=None, *, api_key: str | None = None): pass",
        "max_tokens=4096, token_count = 100000",
        "cache_key = sha256(x)",
        "secret = get_secret('prod/db')",
        "token = 'Hello world this is text'",
        "api_key=os.getenv('X')",
        "password: your-password-here",
        "tokenizer = AutoTokenizer()",
        "sk-learn-is-a-library-for-learning",
        "https://example.org:8080/a@b",
        "d41d8cd98f00b204e9800998ecf8427e",
    ],
)
def test_ordinary_code_stays(text: str) -> None:
    assert redact(text).text == text


def test_what_is_allowed_stays() -> None:
    key = KEYS["openai-key"]
    for allowed in (key, "openai-key", mark_of("openai-key", key)):
        assert redact(f"key {key}", allow=frozenset({allowed})).text == f"key {key}"


LIBRARY = """token = program[i]
token = text[start : self.pos_]
self._refresh_token = response_data["refresh_token"]
new_credentials = google.oauth2.credentials.Credentials(
session_token: Optional[str] = None
password = base64.b16encode(random_bytes[8:])
_PKCS1_MARKER = ("-----BEGIN RSA PRIVATE KEY-----", "-----END RSA PRIVATE KEY-----")
AWS_SECRET_ACCESS_KEY = "AWS_SECRET_ACCESS_KEY"
"s3.secret-access-key": "aws_secret_access_key",
_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:access_token"
"token_url": "https://sts.example.com/v1/oauth/token",
token_pattern = r"[0-9]{1,3}(?:st|nd|rd|th)"
taps = firwin(ntaps, pass_zero='lowpass', **kwargs)
headers = {"X-aws-ec2-metadata-token": imdsv2_session_token}
could not get Databricks token: databricks-sdk is not installed
to pass :paramref:`_sa.create_engine.json_serializer` to it
"refresh_token": "refreshToken",
"""


@pytest.mark.parametrize("line", LIBRARY.splitlines())
def test_lines_of_real_libraries_stay(line: str) -> None:
    assert redact(line).text == line


@pytest.fixture(scope="module")
def made_up() -> Any:
    """The made-up secrets of the benchmark: 69 kinds, each in several surroundings."""
    place = Path(__file__).parents[1] / "benchmarks" / "secret_corpus.py"
    spec = importlib.util.spec_from_file_location("secret_corpus", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("seed", [7, 8])
def test_every_kind_of_the_corpus_is_found_in_every_surrounding(made_up: Any, seed: int) -> None:
    cases = list(made_up.corpus(seed, each=2))
    assert len({case.kind for case in cases}) >= 60
    left = [case for case in cases if case.secret[-12:] in redact(case.text).text]
    assert [(case.kind, case.where) for case in left if "BEGIN" not in case.secret] == []
    keys = [case for case in cases if "BEGIN" in case.secret]
    assert all(case.secret.splitlines()[2] not in redact(case.text).text for case in keys)


def test_a_long_text_without_secrets_is_looked_through_once(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "an ordinary line\n" * 500
    assert redact(text).text == text
    monkeypatch.setattr(redaction, "SHAPES", None)
    assert redact(text) == redaction.Redacted(text, ())
    with pytest.raises(TypeError):
        redact(text + "one more")


def test_what_was_allowed_once_is_not_remembered_as_clean() -> None:
    text = "filler line\n" * 300 + f"key = '{KEYS['openai-key']}'\n"
    assert redact(text, allow=frozenset({"openai-key"})).text == text
    assert KEYS["openai-key"] not in redact(text).text


@given(st.text(alphabet=st.sampled_from("sk-ant AIza_=:'\"/@ghp01xX\nBEGIN PRIVATEKEY-password"), max_size=400))
def test_redacting_twice_changes_nothing_more_and_the_same_text_gives_the_same_marks(text: str) -> None:
    once = redact(text)
    assert redact(once.text).text == once.text
    assert redact(text) == once


@given(
    piece=st.sampled_from(
        ["a", "=", "-", "sk-", "eyJ", "://", "token: ", "password=", "A_", "a.", "-----BEGIN PRIVATE KEY-----"]
    ),
    other=st.sampled_from(["", "x", "0", ":", "@", "'"]),
)
def test_long_text_takes_linear_time(piece: str, other: str) -> None:
    # A quadratic pattern would not end within hypothesis' deadline of 200 ms a case.
    redact((piece * 20 + other) * 200)
