"""`python -m agentnb simulator --explain` judges any client as it asks; `explain LOG` prints the same of a log."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import anthropic
import pytest
from patience import PATIENCE

DATA = Path(__file__).parent / "data"


@pytest.mark.slow
def test_the_simulator_says_what_a_client_breaks_while_it_asks() -> None:
    command = [sys.executable, "-m", "agentnb", "simulator", "--port", "0", "--speed", "0", "--explain"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as simulator:
        assert simulator.stdout is not None
        url = re.search(r"http://\S+", simulator.stdout.readline())
        assert url is not None
        client = anthropic.Anthropic(api_key="any", base_url=url[0])
        for now in ("10:04", "10:05"):
            client.messages.create(
                model="claude-opus-5-5",
                max_tokens=20,
                system=[
                    {
                        "type": "text",
                        "text": f"It is {now}.\n" + "Never guess.\n" * 300,
                        "cache_control": {"type": "ephemeral"},
                    }
                ],
                messages=[{"role": "user", "content": "Hello"}],
            )
        os.kill(simulator.pid, signal.SIGTERM)
        said = simulator.stdout.read()
    assert "call 1  claude-opus-5-5" in said
    assert "system block 1 changed; line 1: 'It is 10:04.' became 'It is 10:05.'" in said
    assert "price: $0.0" in said


@pytest.mark.slow
def test_the_command_prints_the_verdicts_of_a_log() -> None:
    command = [sys.executable, "-m", "agentnb", "explain", str(DATA / "litellm-expired.jsonl")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert "expired: 7 min since the call before it" in done.stdout
