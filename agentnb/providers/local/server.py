"""Run llama.cpp's server with one model, in a process of its own that ends when nobody uses it. [home of xllamacpp]

Source: xllamacpp 2026.10, which runs the server inside its process. It caches prefixes by itself; nothing is paid.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

from agentnb.errors import InputError, PackageMissing

CACHE_MIB = 512
"""Memory for prompts beside the one that was asked with last, where nobody says how much is free."""
KV_TYPE = "f16"
"""The type of the server's memory of a prompt: llama.cpp's default."""
LOOKS = 0.5  # seconds between two looks at whether anybody still uses it
MISSING = 'Run: pip install "agentnb-jupyter[local]"'


def version() -> str:
    """Return the installed version of the server; empty where there is none."""
    with contextlib.suppress(metadata.PackageNotFoundError):
        return metadata.version("xllamacpp")
    return ""


def start(
    weights: Path, *, key: str, port: int = 0, window: int = 8192, slots: Path | None = None, room: int = CACHE_MIB
) -> Any:
    """Return the server, loaded and listening on loopback; keep it, it ends with its last reference.

    It answers who has the `key`, and no web page. `window` is in tokens; port 0 takes a free one. Below `slots` it may
    save what it has read. It keeps earlier prompts in `room` MiB. Raises PackageMissing, and InputError on a file that
    it cannot load or a port that is taken.
    """
    _check_port(port)
    # Threads that spin while they wait starve a machine of two cores: 0.3 tokens a second instead of 40.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    try:
        import xllamacpp
    except ImportError as error:
        raise PackageMissing(f"llama.cpp's server is not installed ({error})", todo=MISSING) from error
    options = xllamacpp.CommonParams()
    options.model.path = str(weights)
    options.n_ctx, options.n_parallel, options.cache_ram_mib = window, 1, room
    options.slot_prompt_similarity = 0.0  # else a prompt that shares half of the last one drops the other half
    options.port, options.api_keys, options.ui = port, [key], False
    options.cors_origins, options.cors_origins_explicit, options.cors_credentials = "", True, False
    options.cpuparams.n_threads = os.cpu_count() or 2
    if slots is not None:
        options.slot_save_path, options.endpoint_slots = f"{slots}/", True
    try:
        return xllamacpp.Server(options)
    except (RuntimeError, ValueError) as error:
        raise InputError("llama.cpp cannot load it", about=f"{weights}: {error}", todo="Is it a GGUF file?") from error


def _check_port(port: int) -> None:
    """Raise InputError where another program listens there: the server itself does not say why it ends."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            about = error.strerror or str(error)
            todo = "Name another one: --port 0 takes a free one."
            raise InputError(f"port {port} cannot be listened at", about=about, todo=todo) from error


def serve(weights: Path, *, port: int, window: int, say: Callable[[str], None], wait: Callable[[], object]) -> None:
    """Start the server, say how to ask it, and keep it until `wait` returns or is interrupted."""
    import secrets

    key = secrets.token_urlsafe(24)
    server = start(weights, key=key, port=port, window=window)
    address, name = server.listening_address, weights.name.split("-")[0].lower()
    say(f"{weights.name} at {address}; end with Ctrl-C. Set before the kernel starts, then ask:")
    say(f"  export ANTHROPIC_BASE_URL={address} ANTHROPIC_API_KEY={key}    # %%agent -m anthropic:{name} --tools none")
    say(f"  export OPENAI_BASE_URL={address}/v1 OPENAI_API_KEY={key}    # %%agent -m openai:{name} --tools none")
    try:
        wait()
    except KeyboardInterrupt:
        say("ended")
    del server


def main() -> None:
    """Serve as `running.py` asks, until the last user has gone. A job comes on stdin, the address goes to stdout."""
    job = json.loads(sys.stdin.readline())
    slots = Path(job["slots"])
    slots.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        server = start(Path(job["weights"]), key=job["key"], window=job["window"], slots=slots, room=job["room"])
    except InputError as error:
        sys.exit(error.about)  # in the log, which who started it reads
    print(json.dumps({"address": server.listening_address}), flush=True)  # noqa: T201  read by who started it
    with Path(job["users"]).open("rb") as users:
        while not _is_alone(users):
            time.sleep(LOOKS)
        Path(job["record"]).unlink(missing_ok=True)
    os._exit(0)  # its threads may wait for each other for ever, and there is nothing left to write


def _is_alone(users: Any) -> bool:
    """Tell whether no kernel holds the file. Each has it locked for reading while it uses the server."""
    import fcntl

    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


if __name__ == "__main__":
    main()
