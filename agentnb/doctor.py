"""Say what `python -m agentnb doctor` says: what is installed, which model would be asked, and what can be reached."""

from __future__ import annotations

import os
import platform
import socket
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from difflib import unified_diff
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit

from agentnb._version import __version__
from agentnb.canonical import Clock
from agentnb.durable.journal.open import describe, is_begun
from agentnb.errors import AgentnbError
from agentnb.models import catalog
from agentnb.models.catalog import ListedModel
from agentnb.models.catalog_patch import Compared, compared
from agentnb.settings import KEY_VARIABLES, data_directory, default_model, from_environment

PACKAGES = {
    "ipython": "",
    "ipykernel": "a notebook needs it: pip install ipykernel",
    "ipywidgets": "the live view needs it",
    "jupyterlab": "pip install 'agentnb-jupyter[lab]', or any other notebook",
    "anthropic": "",
    "google-genai": "",
    "openai": "only for OpenAI's models: pip install 'agentnb-jupyter[openai]'",
    "astroid": "",
    "diskcache": "",
    "redis": "only for an event bus: pip install 'agentnb-jupyter[redis]'",
    "opentelemetry-api": "only for spans of runs: pip install 'agentnb-jupyter[otel]'",
    "distributed": "only for runs on a Dask cluster: pip install 'agentnb-jupyter[dask]'",
    "psycopg": "only for a journal in PostgreSQL: pip install 'agentnb-jupyter[postgres]'",
    "mcp": "only for tools of MCP servers: pip install 'agentnb-jupyter[mcp]'",
    "xllamacpp": "only for a model of your own: pip install 'agentnb-jupyter[local]'",
}
"""Package and what to say where it is missing."""
ADDRESSES = ("ANTHROPIC_BASE_URL", "GOOGLE_GEMINI_BASE_URL", "OPENAI_BASE_URL")
TIMEOUT = 3.0  # seconds


def report(environment: Mapping[str, str]) -> Iterator[str]:
    """Yield the lines, top to bottom. Nothing is written, and no provider is asked anything."""
    yield f"agentnb {__version__}, Python {platform.python_version()}"
    yield _line("model", _model(environment))
    yield _line("local models", _local(environment))
    for provider, variables in KEY_VARIABLES.items():
        found = [variable for variable in variables if environment.get(variable)]
        yield _line(f"key: {provider}", f"{found[0]} is set" if found else "not set")
    yield from (_line(name, _reached(environment[name])) for name in ADDRESSES if environment.get(name))
    yield _line("simulator", _simulator())
    home = data_directory(from_environment(environment))
    problem = _problem_of(home)
    yield _line("data", f"{home}{f' ({problem})' if problem else ''}")
    if environment.get("AGENTNB_JOURNAL"):
        yield _line("journal", _journal(environment["AGENTNB_JOURNAL"]))
    if environment.get("AGENTNB_BUS"):
        yield _line("bus", _bus(environment["AGENTNB_BUS"]))
    yield "installed"
    yield from (_line(name, _installed(name, missing)) for name, missing in PACKAGES.items())


def online(environment: Mapping[str, str], clock: Clock) -> Iterator[str]:
    """Yield what those providers whose key is set list otherwise than the catalogue, at the end as its patch.

    Each line before the patch begins with `#`, so the whole goes through `git apply` or `patch -p1`.
    """
    text = before = catalog.text()
    today = datetime.fromtimestamp(clock.now(), UTC).date().isoformat()
    for provider, variables in KEY_VARIABLES.items():
        if not any(environment.get(variable) for variable in variables):
            yield f"# {provider}: no key is set, so it was not asked"
            continue
        try:
            listed = _listed(provider, clock)
        except AgentnbError as error:
            yield f"# {provider}: {' '.join(str(error).split())}"
            continue
        found = compared(text, provider, listed, catalog.rows(), today)
        same = found == Compared(text)
        yield f"# {provider}: {len(listed)} models listed; {'as in the catalogue' if same else 'differences:'}"
        yield from (f"#   {remark}" for remark in found.remarks)
        text = found.text
    path = "agentnb/models/catalog.toml"
    yield from unified_diff(before.splitlines(), text.splitlines(), f"a/{path}", f"b/{path}", lineterm="")


def _listed(provider: str, clock: Clock) -> list[ListedModel]:
    """Ask one provider, through its SDK and with the SDK's own variables."""
    from agentnb.providers.anthropic import AnthropicProvider
    from agentnb.providers.google import GoogleProvider
    from agentnb.providers.openai import OpenAIProvider

    classes = {"anthropic": AnthropicProvider, "google": GoogleProvider, "openai": OpenAIProvider}
    asked = classes[provider](catalog.default_for(provider), clock=clock)
    try:
        return asked.listed()
    finally:
        asked.close()


def _line(name: str, said: str) -> str:
    return f"  {name:<22} {said}"


def _installed(name: str, missing: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return (
            f"not installed ({missing})"
            if missing
            else "not installed, and needed: pip install --force-reinstall agentnb-jupyter"
        )


def _model(environment: Mapping[str, str]) -> str:
    """Tell which model a task goes to when none is named, and why that one."""
    defaults = {provider: catalog.default_for(provider).name for provider in KEY_VARIABLES}
    chosen = from_environment(environment).model
    address = chosen or default_model(environment, tuple(KEY_VARIABLES), defaults)
    try:
        label = catalog.lookup(address).label
    except AgentnbError as error:
        return f"{address}: {error}"
    simulated = catalog.is_simulated(address)
    why = "AGENTNB_MODEL is set" if chosen else "no key is set" if simulated else "its key is set"
    return f"{address} ({'simulated ' if simulated else ''}{label}; {why})"


def _local(environment: Mapping[str, str]) -> str:
    """Tell which models on this machine can be asked, or how to get one."""
    from agentnb.providers.local.weights import here, runs_here

    names = [row.name for row, _ in here(data_directory(from_environment(environment)))]
    if not names:
        return "none; python -m agentnb local list shows which can be had"
    how = f"%%agent -m local:{names[0]}" if runs_here() else "to ask them: pip install 'agentnb-jupyter[local]'"
    return f"{', '.join(names)} ({how})"


def _simulator() -> str:
    """Tell whether the simulator can be started here and answers."""
    from agentnb.simulator import Simulator

    try:
        with Simulator(speed=0) as simulator:
            return f"starts here, {_reached(simulator.url).rpartition(', ')[2]}"
    except OSError as error:
        return f"cannot be started: {error.strerror or error}"


def _bus(address: str) -> str:
    """Tell whether others can be told what happens to runs."""
    from agentnb.durable.bus_redis import RedisBus

    try:
        bus = RedisBus(address)
        bus.check()
    except AgentnbError as error:
        return str(error)
    return f"{bus.place}, answers"


def _journal(place: str) -> str:
    """Return what becomes of runs where another place than the data directory is set. Nothing is made there."""
    try:
        if "://" in place:
            return describe(place)
        return f"{place}{'' if is_begun(place) else ' (not made yet)'}"
    except AgentnbError as error:
        return str(error)


def _reached(address: str) -> str:
    """Tell whether somebody listens at a base URL. Nothing is sent."""
    try:
        parts = urlsplit(address)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        with socket.create_connection((parts.hostname or "", port), timeout=TIMEOUT):
            return f"{parts.scheme}://{parts.hostname}:{port}, reachable"
    except (OSError, ValueError) as error:
        return f"not reachable: {getattr(error, 'strerror', '') or error}"  # the address itself may hold a password


def _problem_of(home: Path) -> str:
    """Return what is to be said of the data directory; nothing where it is in order."""
    if not home.exists():
        return "not made yet"
    if not home.is_dir():
        return "a file stands there: set AGENTNB_HOME to a directory"
    return "" if os.access(home, os.W_OK) else "cannot be written: set AGENTNB_HOME to a directory that can"
