"""Redaction does not eat science, and catches what it once let pass. An outside detector judges both."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import pytest
import science
import secret_corpus
from hypothesis import given
from hypothesis import strategies as st

from agentnb.agent.scrubber import Scrubber
from agentnb.context.redaction.redactor import redact

PASSWORD = "Tr0ub4dor&3x"


@pytest.mark.parametrize("field", science.FIELDS)
@pytest.mark.parametrize("seed", [1, 2])
def test_of_200_lines_of_a_field_none_is_marked(field: str, seed: int) -> None:
    lines = science.lines(field, seed)
    assert len(lines) == 200
    assert [line for line in lines if redact(line).found] == []
    assert redact("\n".join(lines)).found == (), "nor of all as one text"


@pytest.mark.parametrize(
    "text",
    [
        *(f"password = b'{PASSWORD}'", f"PASSWORD: bytes = b'{PASSWORD}'", f"{{'password': b'{PASSWORD}'}}"),
        f"password    {PASSWORD}\nuser        bob\ndtype: object",
        f"user        bob\npassword    {PASSWORD}\nName: 0, dtype: object",
        f"['mysql', '-u', 'bob', '-p{PASSWORD}', 'db']",
        f'subprocess.run(["mysql", "-uroot", "-p{PASSWORD}"])',
        f"['sshpass', '-p', '{PASSWORD}', 'ssh', 'host']",
        *(f"Password for bob: {PASSWORD}", f"Enter password for 'bob': {PASSWORD}"),
        *(f"Password for https://bob@git.example: {PASSWORD}", f"password of bob is {PASSWORD}"),
        f'password = "it\'s my {PASSWORD} word"',
        f"password = 'say \"hello\" to {PASSWORD}'",
        f"password: 'a \\'quoted\\' {PASSWORD}'",
        f"PGPASSWORD='my dog {PASSWORD} barks'",
        f"mysql -uroot -p'my dog {PASSWORD} barks' db",
        f"db_password    {PASSWORD}\ndtype: str",
    ],
)
def test_passwords_that_once_passed(text: str) -> None:
    result = redact(text)
    assert PASSWORD not in result.text
    assert len(result.found) == 1


@pytest.mark.parametrize("name", ["X-Amz-Signature", "X-Goog-Signature", "X-Amz-Security-Token", "Signature"])
def test_the_signature_of_an_address_is_taken_out(name: str) -> None:
    signature = "a1b2c3d4" * 8
    address = f"https://b.s3.amazonaws.com/k?X-Amz-Expires=3600&{name}={signature}&x=1"
    assert redact(address).text.startswith(f"https://b.s3.amazonaws.com/k?X-Amz-Expires=3600&{name}=[redacted:")


def test_a_variable_of_bytes_is_known_by_its_name() -> None:
    scrub = Scrubber(variables=lambda: [("db_password", PASSWORD.encode())])
    assert PASSWORD not in scrub.of_output(f"it is b'{PASSWORD}', that is {PASSWORD}")


def test_a_series_with_a_password_shows_none() -> None:
    pandas = pytest.importorskip("pandas")
    from agentnb.context.values.description import describe

    series = pandas.Series({"user": "bob", "password": PASSWORD})
    assert PASSWORD not in Scrubber()(describe("settings", series))
    assert PASSWORD not in Scrubber().of_output(repr(series))
    assert PASSWORD not in Scrubber().of_output(str(pandas.DataFrame({"value": series})))


# --- words with two meanings, and the forms of files that hold secrets --------------------------------------------

SHARED = Path(science.__file__).parent
WORDS = [
    (part.partition("\n")[0], part.partition("\n")[2].splitlines())
    for part in re.split(r"(?m)^== ", (SHARED / "science_words.txt").read_text("utf-8"))[1:]
]
FORMS = (SHARED / "secret_forms.txt").read_text("utf-8").strip("\n").split("\n----\n")


@pytest.mark.parametrize(("field", "shapes"), WORDS)
@pytest.mark.parametrize("seed", [1, 2])
def test_pass_token_key_and_secret_mean_other_things_in_science(field: str, shapes: list[str], seed: int) -> None:
    dice = random.Random(seed)
    lines = [science.filled(shape, dice) for shape in shapes * 2]
    assert len(lines) >= 200
    assert [line for line in lines if redact(line).found] == []
    assert redact("\n".join(lines)).found == (), "nor of all as one text"


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.partition("⟦")[0][-40:])
def test_the_files_that_hold_secrets_are_known_by_their_form(form: str) -> None:
    filled = science.filled(form, random.Random(form))
    clean = redact(re.sub("[⟦⟧]", "", filled)).text
    for secret in re.findall("⟦(.+?)⟧", filled, re.DOTALL):
        assert secret not in clean
        assert len(secret) < 15 or (secret[2:12] not in clean and secret[-10:] not in clean)


@pytest.mark.parametrize(
    "around", ["user: bob\n{}: hunter2x", "SMTP_HOST=h\nSMTP_{}=hunter2x", "x = ({'login': 'bob', '{}': 'hunter2x'})"]
)
@pytest.mark.parametrize("word", ["pass", "pw", "secret"])
def test_a_short_word_beside_a_user_or_a_server_names_a_password(around: str, word: str) -> None:
    assert "hunter2x" not in redact(around.replace("{}", word)).text
    assert "hunter2x" in redact(f"{word}: hunter2x").text


CELLS = [
    "user",
    "password",
    "api_key",
    "token",
    "bob",
    "",
    "Tr0ub4dor&3x",
    "Zx8Kq2Lm9Rt4vB6n",
    "---",
    "Name: password, dtype: str",
]

# --- an outside detector ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def judge() -> Any:
    """Betterleaks' own rules. No secret of a run reaches it: it judges what is made up here."""
    found = pytest.importorskip("pybetterleaks")
    return lambda text: found.scan_text(text, redact=False).findings


@pytest.fixture(scope="module")
def cases() -> list[Any]:
    return [*secret_corpus.corpus(each=2)]


@pytest.mark.slow
def test_an_outside_detector_finds_nothing_more_in_what_was_redacted(judge: Any, cases: list[Any]) -> None:
    assert len(judge("\n\n".join(case.text for case in cases))) > 400, "it finds what is there before"
    left = judge("\n\n".join(redact(case.text).text for case in cases))
    assert [(found.rule_id, found.match) for found in left] == []


@pytest.mark.slow
def test_an_outside_detector_finds_nothing_more_in_the_forms(judge: Any) -> None:
    forms = [re.sub("[⟦⟧]", "", science.filled(form, random.Random(form))) for form in FORMS]
    assert len(judge("\n\n".join(forms))) > 100, "it finds what is there before"
    left = judge("\n\n".join(redact(form).text for form in forms))
    assert [(found.rule_id, found.match) for found in left] == []


@given(
    st.lists(st.lists(st.sampled_from(CELLS), min_size=1, max_size=4), max_size=6),
    st.sampled_from([",", " | ", "  ", "\t"]),
)
def test_of_any_table_nothing_more_is_taken_the_second_time(rows: list[list[str]], sign: str) -> None:
    text = "\n".join(sign.join(row) for row in rows)
    once = redact(text).text
    assert redact(once).text == once
    assert once.count("\n") == text.count("\n")


@pytest.mark.slow
def test_an_outside_detector_knows_no_providers_key_in_the_lines_of_science(judge: Any) -> None:
    """Its rule for any key by its name takes 350 of the 1,200 lines, digests and UUIDs; ours takes none."""
    assert {found.rule_id for found in judge("\n".join(science.everything()))} <= {"generic-api-key"}
