"""Word the line that a machine's first `%load_ext` shows: whom agentnb asks, how to ask, how to get help."""

from __future__ import annotations

import os
from collections.abc import Mapping

from agentnb.errors import AgentnbError
from agentnb.settings import KEY_VARIABLES, data_directory, from_environment

MARK = "greeted"
"""An empty file in the data directory: somebody was told."""


def greeting(environment: Mapping[str, str], model: str, local: str = "") -> str:
    """Return the line. `model` is what is set; empty: by the keys. `local` is a model on this machine that can be
    asked."""
    keys = [name for names in KEY_VARIABLES.values() for name in names if environment.get(name)]
    if model:
        asked = f"asks {model}"
    elif keys:
        asked = f"asks the model of your {keys[0]}"
    else:
        asked = "asks its simulator, for no API key is set"
    offer = f" A real model is here: %%agent -m {local}." if local and not (model or keys) else ""
    return f"agentnb {asked}.{offer} Write %%agent and a question below it. Help: %%agent?"


def greet_once(environment: Mapping[str, str] = os.environ) -> str:
    """Return the line where it was never shown on this machine, and can be remembered; else an empty text."""
    try:
        settings = from_environment(environment)
        home = data_directory(settings)
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        (home / MARK).touch(mode=0o600, exist_ok=False)
    except (AgentnbError, OSError):
        return ""
    from agentnb.providers.local.weights import offered

    return greeting(environment, settings.model, offered(home))
