"""binder/ follows repo2docker's rules. The dry run proves that the files are found, not that the image builds."""

from __future__ import annotations

import http.client
import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from local_tasks import home_with
from patience import NBCONVERT, PATIENCE

ROOT = Path(__file__).resolve().parents[1]
RUNTIME = (ROOT / "binder" / "runtime.txt").read_text().strip().removeprefix("python-")


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


@pytest.mark.slow
def test_all_that_it_installs_can_be_had_as_wheels_for_its_python() -> None:
    """The image's longest step, resolved: the extras exist, and no package is left to compile."""
    options = ["--python-version", RUNTIME, "--python-platform", "x86_64-unknown-linux-gnu", "--only-binary", ":all:"]
    names = ["--no-binary", "agentnb-jupyter", "--quiet", str(ROOT / "binder" / "requirements.txt")]
    command = [sys.executable, "-m", "uv", "pip", "compile", *options, *names]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert {"xllamacpp", "jupyterlab", "openai", "matplotlib"} <= {
        line.split("==")[0] for line in done.stdout.splitlines()
    }


def test_nothing_can_be_spent_there() -> None:
    assert "AGENTNB_MODEL=sim:" in (ROOT / "binder" / "start").read_text()


def post_build(home: Path, **variables: str) -> tuple[dict[str, str], str]:
    """What repo2docker's image has after postBuild, as far as a home directory goes: (environment, what was said)."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AGENTNB_")}
    environment |= {"HOME": str(home), "PATH": path, "PYTHONPATH": str(ROOT)}
    command = [ROOT / "binder" / "postBuild"]
    done = subprocess.run(
        command, check=True, env=environment | variables, cwd=ROOT, capture_output=True, text=True, timeout=600
    )
    return environment, done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("command", [("-m", "jupyterlab"), ("-m", "jupyter_server")])
def test_it_lands_on_the_quickstart_however_it_is_started(command: tuple[str, str], tmp_path: Path) -> None:
    if importlib.util.find_spec("jupyterlab") is None:
        said = "jupyterlab is not installed here; run this test with the environment of `make env-lab`"
        pytest.fail(said) if os.environ.get("CI") else pytest.skip(said)
    environment, told = post_build(tmp_path, PIP_NO_INDEX="1")  # an index that has no weights
    assert "lesson 08 will be simulated" in told
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    options = [f"--ServerApp.port={port}", "--ServerApp.ip=127.0.0.1", "--no-browser", "--IdentityProvider.token="]
    start = [ROOT / "binder" / "start", sys.executable, *command, *options, "--allow-root"]
    server = subprocess.Popen(start, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        assert place_of(port, server) == "/lab/tree/notebooks/01-quickstart.ipynb"
        asked = f"http://127.0.0.1:{port}/lab/api/settings/@jupyterlab/apputils-extension:notification"
        settings = json.loads(urllib.request.urlopen(asked, timeout=PATIENCE).read())
        assert settings["schema"]["properties"]["fetchNews"]["default"] == "false"
    finally:
        server.terminate()
        server.wait(PATIENCE)


@pytest.mark.model
@pytest.mark.timeout(3600)
def test_lesson_08_asks_the_model_that_post_build_fetched(tmp_path: Path) -> None:
    """And its forecasts are the real server's figures. The weights are those that `make model` fetched."""
    models = home_with("qwen2.5-coder-0.5b", tmp_path / "fetched") / "models"
    weights = models / "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"
    (tmp_path / ".agentnb" / "models").mkdir(parents=True)
    (tmp_path / ".agentnb" / "models" / weights.name).symlink_to(weights.resolve())
    (tmp_path / ".agentnb").chmod(0o700)
    environment, told = post_build(tmp_path)
    assert "is here already" in told
    assert "simulated" not in told
    said = outputs_of_lesson_08(environment, tmp_path)
    assert "asks local:qwen2.5-coder-0.5b" in said
    assert "simulated" not in said
    rows = re.findall(r"expected +([\d,]+) +read +([\d,]+) +of +([\d,]+) tokens", said)
    assert len(rows) == 2
    for row in rows:
        expected, read, whole = (int(number.replace(",", "")) for number in row)
        assert abs(expected - read) <= 0.05 * whole
    assert len(re.findall(r"'prefill': \d", said)) == 2, "the server's own seconds"
    assert "run_code" in said


def outputs_of_lesson_08(environment: dict[str, str], place: Path) -> str:
    """The lesson runs in a new kernel, started as Binder starts what it runs. All texts that its cells put out."""
    execute = ["-m", "nbconvert", "--to", "notebook", "--execute", *NBCONVERT, "--ExecutePreprocessor.timeout=1800"]
    command = [ROOT / "binder" / "start", sys.executable, *execute, "--output-dir", str(place), "--output", "out"]
    lesson = ROOT / "notebooks" / "08-a-real-model.ipynb"
    done = subprocess.run([*command, str(lesson)], env=environment, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    outputs = [
        each for cell in json.loads((place / "out.ipynb").read_text())["cells"] for each in cell.get("outputs", [])
    ]
    return "\n".join("".join(each.get("text") or each.get("data", {}).get("text/plain") or "") for each in outputs)


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
