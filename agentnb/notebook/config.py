"""Make `%config AgentNB` from the settings' declarations: one trait an option."""

from __future__ import annotations

import os
import sys
from typing import Any

from traitlets import Bool, Float, Int, TraitError, TraitType, Undefined, Unicode, default, validate
from traitlets.config.configurable import Configurable

from agentnb.errors import SettingsError
from agentnb.options import Option, check, options_of, parse
from agentnb.settings import QuietAddress, Settings, from_environment

_OPTIONS = {each.name: each for each in options_of(Settings) if each.declared.config}


class _Configured(Configurable):
    """Knows which traits a person has set; the others follow the environment."""

    _chosen: frozenset[str] = frozenset()

    @validate(*_OPTIONS)
    def _take(self, proposal: Any) -> Any:
        """Check what a person sets, and note that it was set. An observer would miss a value that changes nothing."""
        chosen, value = _OPTIONS[proposal["trait"].name], proposal["value"]
        if value == "":
            self._chosen -= {chosen.name}
            return value
        try:
            check(chosen, parse(chosen, value) if chosen.kind == "names" else value)
        except SettingsError as error:
            raise TraitError(f"{error.what}. {error.todo}") from None
        if chosen.name == "trace" and value:
            _refuse_impossible_tracing()
        self._chosen |= {chosen.name}
        return QuietAddress(value) if chosen.declared.secret else value

    def update_config(self, config: Any) -> None:
        """Set what `%config` says. A refusal is told in the cell. `%config` itself only logs it; where the notebook
        logs elsewhere, nobody sees that."""
        try:
            super().update_config(config)
        except TraitError as error:
            sys.stderr.write(f"Not set: {error}\n")

    def over(self, settings: Settings) -> Settings:
        """Return the settings with what was set here on top. An empty value means: as the environment or the default
        says."""
        return settings.with_changes(**{name: _value(_OPTIONS[name], getattr(self, name)) for name in self._chosen})


def _value(chosen: Option, value: Any) -> Any:
    return parse(chosen, value) if chosen.kind == "names" else value


def _refuse_impossible_tracing() -> None:
    from agentnb.context.notebook.trace import unavailable
    from agentnb.notebook.hooks.tracing import INSTEAD

    if why := unavailable():
        raise TraitError(f"{why}. {INSTEAD}")


def _trait(chosen: Option) -> TraitType[Any, Any]:
    kinds: dict[str, type[TraitType[Any, Any]]] = {"switch": Bool, "count": Int, "number": Float}
    made = kinds.get(chosen.kind, Unicode)(help=chosen.declared.help, allow_none=chosen.optional)
    made.tag(config=True)
    # %config sees only what changes, and a switch that nobody has read counts as False: setting False would be lost.
    made.default_value = Undefined
    return made


def _default(chosen: Option) -> Any:
    """Return the value that holds while nobody sets the trait: the environment's, else the declared one."""

    @default(chosen.name)
    def effective(self: Configurable) -> Any:
        value = getattr(from_environment(os.environ), chosen.name)
        value = ",".join(value) if chosen.kind == "names" else value
        return QuietAddress(value) if chosen.declared.secret else value

    return effective


def _made() -> dict[str, Any]:
    traits = {name: _trait(chosen) for name, chosen in _OPTIONS.items()}
    return traits | {f"_{name}_of_the_environment": _default(chosen) for name, chosen in _OPTIONS.items()}


AgentNB: type[_Configured] = type(
    "AgentNB",
    (_Configured,),
    {"__doc__": "The options of agentnb in this kernel. Empty: as the environment or the default says.", **_made()},
)
