"""One declaration an option: default, check, environment variable, %config trait, flag and help come from it."""

from __future__ import annotations

import pytest

from agentnb.errors import SettingsError
from agentnb.notebook.config import AgentNB
from agentnb.notebook.flags import AGENT_FLAGS, options_given
from agentnb.options import options_of
from agentnb.settings import Settings, from_environment

OPTIONS = {each.name: each for each in options_of(Settings)}
TYPED = {
    "switch": "off",
    "count": "7000",
    "number": "0.5",
    "names": "run_code, inspect",
    "path": "~/there",
    "text": "sim:x",
}
"""What a person might type for each kind of option."""


def typed(name: str) -> str:
    """Text that the option takes and that is not its default."""
    option = OPTIONS[name]
    others = [choice for choice in option.declared.choices if choice and choice != option.default]
    return others[0] if others else "on" if not option.default and option.kind == "switch" else TYPED[option.kind]


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_can_be_set_by_its_environment_variable(name: str) -> None:
    settings = from_environment({f"AGENTNB_{name.upper()}": typed(name)})
    assert getattr(settings, name) != OPTIONS[name].default
    assert getattr(from_environment({f"AGENTNB_{name.upper()}": " "}), name) == OPTIONS[name].default


@pytest.mark.parametrize("name", [name for name, each in OPTIONS.items() if each.declared.config and name != "trace"])
def test_every_option_can_be_set_by_config_and_goes_over_the_environment(name: str) -> None:
    config, chosen = AgentNB(), getattr(from_environment({f"AGENTNB_{name.upper()}": typed(name)}), name)
    setattr(config, name, ",".join(chosen) if isinstance(chosen, tuple) else chosen)
    assert getattr(config.over(from_environment({})), name) == chosen


@pytest.mark.parametrize("name", OPTIONS)
def test_help_is_short_and_names_the_option_s_use(name: str) -> None:
    words = OPTIONS[name].declared.help.split()
    assert 2 <= len(words) <= 20, OPTIONS[name].declared.help


def test_flags_come_from_the_declarations() -> None:
    flagged = {each.declared.flag for each in OPTIONS.values() if each.declared.flag}
    assert flagged <= {flag.name for flag in AGENT_FLAGS}
    given = options_given({"max-steps": "4", "budget": "$0.05", "tools": "none", "dry-run": True})
    assert given == {"max_steps": 4, "budget": 0.05, "tools": ()}


def test_what_nobody_set_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    config = AgentNB()
    monkeypatch.setenv("AGENTNB_RETRY_WAIT", "5")
    assert config.retry_wait == 5.0
    assert config.over(from_environment({"AGENTNB_RETRY_WAIT": "7"})).retry_wait == 7.0
    config.retry_wait = 9
    assert config.over(from_environment({"AGENTNB_RETRY_WAIT": "7"})).retry_wait == 9.0


def test_an_emptied_trait_follows_the_environment_again() -> None:
    config = AgentNB()
    config.model = "sim:gpt-4.1"
    config.model = ""
    assert config.over(from_environment({"AGENTNB_MODEL": "sim:gemini-2.5-pro"})).model == "sim:gemini-2.5-pro"


@pytest.mark.parametrize(
    ("name", "value"),
    [("retry_wait", "-1"), ("max_steps", "0"), ("max_steps", "1.5"), ("stream", "perhaps"), ("stale_limit", "2")],
)
def test_a_bad_value_is_refused_by_name_and_says_what_to_use(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as raised:
        from_environment({f"AGENTNB_{name.upper()}": value})
    assert "Use" in raised.value.todo or "Set" in raised.value.todo
