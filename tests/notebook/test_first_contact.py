"""What a machine's first load shows says whom agentnb asks, and never names a key."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentnb.notebook.hooks.first_contact import greet_once


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "agentnb asks its simulator, for no API key is set."),
        ({"OPENAI_API_KEY": "sk-canary"}, "agentnb asks the model of your OPENAI_API_KEY."),
        ({"AGENTNB_MODEL": "google:gemini-2.5-flash", "OPENAI_API_KEY": "sk-canary"}, "asks google:gemini-2.5-flash."),
    ],
)
def test_it_names_the_model_or_the_variable_once(tmp_path: Path, environment: dict[str, str], said: str) -> None:
    here = environment | {"AGENTNB_HOME": str(tmp_path / "home")}
    shown = greet_once(here)
    assert said in shown
    assert "canary" not in shown
    assert "\n" not in shown
    assert shown.endswith(" Write %%agent and a question below it. Help: %%agent?")
    assert greet_once(here) == ""


def test_a_real_model_that_is_here_is_offered_where_no_key_is_set(tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp")
    home = tmp_path / "home"
    (home / "models").mkdir(parents=True, mode=0o700)
    (home / "models" / "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf").write_bytes(b"GGUF")
    shown = greet_once({"AGENTNB_HOME": str(home)})
    assert "simulator" in shown
    assert " A real model is here: %%agent -m local:qwen2.5-coder-0.5b. " in shown
    (home / "greeted").unlink()
    assert "real model" not in greet_once({"AGENTNB_HOME": str(home), "OPENAI_API_KEY": "sk-canary"})


def test_a_bad_setting_or_place_breaks_no_load(tmp_path: Path) -> None:
    assert greet_once({"AGENTNB_HOME": "/dev/null/x"}) == ""
    assert greet_once({"AGENTNB_HOME": str(tmp_path), "AGENTNB_BUDGET": "lots"}) == ""
