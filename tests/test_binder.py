"""binder/ follows repo2docker's rules. The dry run proves that the files are found, not that the image builds."""

from __future__ import annotations

import http.client
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from patience import PATIENCE

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def dockerfile(tmp_path_factory: pytest.TempPathFactory) -> str:
    if importlib.util.find_spec("repo2docker") is None:
        said = "repo2docker is not installed here; run this test with the environment of `make env-lab`"
        pytest.fail(said) if os.environ.get("CI") else pytest.skip(said)
    checkout = tmp_path_factory.mktemp("checkout")
    for name in ("binder", "notebooks", "agentnb"):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, checkout / name)
    command = [
        sys.executable,
        "-m",
        "repo2docker",
        "--no-build",
        "--debug",
        "--user-id",
        "1000",
        "--user-name",
        "jovyan",
    ]
    done = subprocess.run([*command, str(checkout)], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout + done.stderr


@pytest.mark.slow
def test_each_file_is_picked_up(dockerfile: str) -> None:
    assert "binder/requirements.txt" in dockerfile
    assert "binder/postBuild" in dockerfile
    assert "binder/start" in dockerfile
    assert "3.13" in dockerfile


def test_scripts_can_be_executed() -> None:
    for name in ("start", "postBuild"):
        assert os.access(ROOT / "binder" / name, os.X_OK), name


def test_nothing_can_be_spent_there() -> None:
    assert "AGENTNB_MODEL=sim:" in (ROOT / "binder" / "start").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("command", [("-m", "jupyterlab"), ("-m", "jupyter_server")])
def test_it_lands_on_the_quickstart_however_it_is_started(command: tuple[str, str], tmp_path: Path) -> None:
    if importlib.util.find_spec("jupyterlab") is None:
        said = "jupyterlab is not installed here; run this test with the environment of `make env-lab`"
        pytest.fail(said) if os.environ.get("CI") else pytest.skip(said)
    home = {**os.environ, "HOME": str(tmp_path)}
    subprocess.run([ROOT / "binder" / "postBuild"], check=True, env=home, cwd=ROOT)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    options = [f"--ServerApp.port={port}", "--ServerApp.ip=127.0.0.1", "--no-browser", "--IdentityProvider.token="]
    start = [ROOT / "binder" / "start", sys.executable, *command, *options, "--allow-root"]
    server = subprocess.Popen(start, env=home, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        assert place_of(port, server) == "/lab/tree/notebooks/01-quickstart.ipynb"
        asked = f"http://127.0.0.1:{port}/lab/api/settings/@jupyterlab/apputils-extension:notification"
        settings = json.loads(urllib.request.urlopen(asked, timeout=PATIENCE).read())
        assert settings["schema"]["properties"]["fetchNews"]["default"] == "false"
    finally:
        server.terminate()
        server.wait(PATIENCE)


def place_of(port: int, server: subprocess.Popen[bytes]) -> str:
    """Where the server sends who asks for nothing else, as soon as it listens."""
    while server.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        try:
            connection.request("GET", "/")
            return (connection.getresponse().getheader("location") or "").partition("?")[0]
        except ConnectionRefusedError:
            time.sleep(0.1)
        finally:
            connection.close()
    pytest.fail(f"the server ended with {server.returncode}")


def test_the_quickstart_exists() -> None:
    assert (ROOT / "notebooks" / "01-quickstart.ipynb").is_file()
