"""Bring the agent into Jupyter AI's chat: a persona that starts `python -m agentnb acp`. Jupyter AI imports this."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from jupyter_ai_acp_client.base_acp_persona import BaseAcpPersona
from jupyter_ai_persona_manager import PersonaDefaults, PersonaRequirementsUnmet

if importlib.util.find_spec("acp") is None:
    raise PersonaRequirementsUnmet("agentnb in this chat needs the extra acp: pip install 'agentnb-jupyter[acp]'")


class AgentnbPersona(BaseAcpPersona):  # type: ignore[misc]
    """Serves all chats of a server from one process, as the persona `agentnb`."""

    def __init__(self, *args: object, **named: object) -> None:
        super().__init__(*args, executable=[sys.executable, "-m", "agentnb", "acp"], **named)

    @property
    def defaults(self) -> PersonaDefaults:
        return PersonaDefaults(
            name="agentnb",
            description="An agent whose runs survive, with prompt caches that hit.",
            avatar_path=str(Path(__file__).with_name("avatar.svg")),
            system_prompt="unused",
        )
