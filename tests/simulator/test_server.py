"""The HTTP edge: time, faults, starting and stopping, through the real SDK."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import openai
import pytest
from google import genai
from patience import PATIENCE

from agentnb.errors import InputError
from agentnb.models.catalog import find
from agentnb.simulator import SimClock, Simulator

ASK: dict[str, Any] = {
    "model": "claude-sonnet-4-6",
    "max_tokens": 300,
    "messages": [{"role": "user", "content": "hello"}],
}


def running() -> set[threading.Thread]:
    """The threads there are, but for those by which the tests have a limit."""
    return {thread for thread in threading.enumerate() if not isinstance(thread, threading.Timer)}


def modelled(headers: Any) -> dict[str, float]:
    return {name: float(value) for name, value in re.findall(r"(\w+)=([\d.]+)", headers["agentnb-sim-timing"])}


def test_importing_is_light() -> None:
    code = (
        "import sys, agentnb.simulator; "
        "print([m for m in ('http.server', 'anthropic', 'orjson', 'IPython', 'agentnb.prompt') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_modelled_times_follow_the_catalogue(client: Any) -> None:
    long = {**ASK, "system": [{"type": "text", "text": "word " * 5000, "cache_control": {"type": "ephemeral"}}]}
    row = find("claude-sonnet-4-6")
    assert row is not None
    for _ in range(2):
        raw = client.messages.with_raw_response.create(**long)
        usage, times = raw.parse().usage, modelled(raw.headers)
        total = usage.input_tokens + usage.cache_read_input_tokens + usage.cache_creation_input_tokens
        ttft = row.latency.ttft(tokens=total, uncached=total - usage.cache_read_input_tokens)
        assert times["ttft"] == pytest.approx(ttft, abs=1e-3)
        assert times["tpot"] == row.latency.tpot
        assert times["total"] == pytest.approx(times["queue"] + ttft + usage.output_tokens * row.latency.tpot, abs=3e-3)


@pytest.mark.parametrize("stream", [False, True])
def test_a_virtual_clock_moves_by_the_modelled_total(make_sim: Any, make_client: Any, *, stream: bool) -> None:
    sim = make_sim(speed=1, clock=SimClock())
    client = make_client(sim)
    begun = sim.clock.now()
    if stream:
        with client.messages.stream(**ASK) as open_stream:
            open_stream.get_final_message()
            headers = open_stream.response.headers
    else:
        headers = client.messages.with_raw_response.create(**ASK).headers
    assert sim.clock.now() - begun == pytest.approx(modelled(headers)["total"], abs=2e-3)


def test_the_queue_follows_the_seed(make_sim: Any, make_client: Any) -> None:
    def queues(seed: int) -> list[float]:
        client = make_client(make_sim(seed=seed))
        return [modelled(client.messages.with_raw_response.create(**ASK).headers)["queue"] for _ in range(3)]

    assert queues(1) == queues(1) != queues(2)


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("429", anthropic.RateLimitError),
        ("500", anthropic.InternalServerError),
        ("503", anthropic.InternalServerError),
        ("529", anthropic.APIStatusError),
        ("refuse", anthropic.APIConnectionError),
    ],
)
def test_a_fault_hits_once(sim: Simulator, client: Any, kind: str, error: type[Exception]) -> None:
    sim.inject(kind, retry_after=2)
    with pytest.raises(error) as caught:
        client.messages.create(**ASK)
    if kind.isdigit():
        assert caught.value.response.headers["retry-after"] == "2"
        assert caught.value.status_code == int(kind)
    assert client.messages.create(**ASK).stop_reason == "end_turn"


def test_the_sdks_own_retries_overcome_faults(sim: Simulator, make_client: Any) -> None:
    sim.inject("529", times=2, retry_after=0.001)
    assert make_client(sim, max_retries=2).messages.create(**ASK).stop_reason == "end_turn"
    assert [kept.status for kept in sim.requests] == [529, 529, 200]


def streamed(client: Any) -> Any:
    with client.messages.stream(**ASK) as stream:
        return stream.get_final_message()


def test_a_drop_in_mid_stream(sim: Simulator, client: Any) -> None:
    import httpx2

    sim.inject("drop", after_events=5)
    with pytest.raises((httpx2.ReadError, httpx2.RemoteProtocolError, anthropic.APIConnectionError)):
        streamed(client)
    assert streamed(client).stop_reason == "end_turn"


def test_an_error_event_in_mid_stream(sim: Simulator, client: Any) -> None:
    sim.inject("error_event", after_events=5)
    with pytest.raises(anthropic.APIStatusError, match="Overloaded") as caught:
        streamed(client)
    assert caught.value.status_code == 200  # the head had gone out already


def test_garbage_in_mid_stream_breaks_it_off(sim: Simulator, client: Any) -> None:
    sim.inject("garbage", after_events=5)
    assert streamed(client).stop_reason is None


def test_a_stall_meets_the_clients_timeout(sim: Simulator, make_client: Any) -> None:
    import httpx2

    sim.inject("stall", after_events=5)
    with pytest.raises((anthropic.APITimeoutError, httpx2.ReadTimeout)):
        streamed(make_client(sim, timeout=0.2))


def test_slow_headers_meet_the_clients_timeout(sim: Simulator, make_client: Any) -> None:
    sim.inject("slow_headers")
    with pytest.raises(anthropic.APITimeoutError):
        make_client(sim, timeout=0.2).messages.create(**ASK)


@pytest.mark.parametrize("kind", ["drop", "garbage"])
def test_a_plain_reply_breaks_too(sim: Simulator, client: Any, kind: str) -> None:
    sim.inject(kind)
    with pytest.raises((anthropic.APIConnectionError, anthropic.APIResponseValidationError, ValueError)):
        client.messages.create(**ASK)


def test_a_refusal_is_a_well_formed_reply(sim: Simulator, client: Any) -> None:
    sim.inject("refusal", times=2)
    plain = client.messages.create(**ASK)
    assert (plain.stop_reason, plain.content, plain.stop_details.type) == ("refusal", [], "refusal")
    assert streamed(client).stop_reason == "refusal"


def test_a_paused_turn_goes_on_where_it_stopped(sim: Simulator, client: Any) -> None:
    whole = client.messages.create(**ASK).content[0].text
    sim.inject("pause")
    first = client.messages.create(**ASK)
    assert first.stop_reason == "pause_turn"
    said = {"role": "assistant", "content": [{"type": "text", "text": first.content[0].text}]}
    second = client.messages.create(**ASK | {"messages": [*ASK["messages"], said]})
    assert second.stop_reason == "end_turn"
    assert first.content[0].text + second.content[0].text == whole
    with pytest.raises(anthropic.BadRequestError, match="prefill"):
        client.messages.create(**ASK | {"messages": [*ASK["messages"], {"role": "assistant", "content": "It is"}]})


def test_an_unknown_fault_is_named(sim: Simulator) -> None:
    with pytest.raises(InputError, match="Did you mean stall"):
        sim.inject("stal")


def post(address: str, body: Any) -> Any:
    kind = {"content-type": "application/json"}
    request = urllib.request.Request(address, json.dumps(body).encode(), kind, method="POST")
    with urllib.request.urlopen(request) as reply:
        return json.load(reply)


def test_faults_and_time_by_the_admin_pages(sim: Simulator, client: Any, get: Callable[[str], Any]) -> None:
    assert post(f"{sim.url}/sim/faults", {"kind": "429", "times": 2})["faults"] == ["429", "429"]
    with pytest.raises(anthropic.RateLimitError):
        client.messages.create(**ASK)
    assert get(f"{sim.url}/sim/state")["faults"] == ["429"]
    before = sim.clock.now()
    assert post(f"{sim.url}/sim/clock", {"advance": 600})["now"] == before + 600 == sim.clock.now()
    for page, body in [("faults", {"kind": "odd"}), ("clock", {"advance": -1}), ("clock", {"advance": "x"}), ("x", {})]:
        with pytest.raises(urllib.error.HTTPError):
            post(f"{sim.url}/sim/{page}", body)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"content-type": "application/json; charset=utf-8", "host": "localhost:1"}, 200),
        ({"origin": "http://localhost:8888"}, 200),
        ({"host": "[::1]:80"}, 200),
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "application/x-www-form-urlencoded"}, 415),
        ({"content-type": ""}, 415),
        ({"host": "example.org"}, 403),  # a name that was made to mean this machine
        ({"host": "[broken"}, 403),
        ({"origin": "https://example.org"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
    ],
)
@pytest.mark.parametrize("path", ["/sim/faults", "/v1/messages/count_tokens"])
def test_no_web_page_can_ask(http: Any, sim: Simulator, path: str, headers: dict[str, str], status: int) -> None:
    bodies = {"/sim/faults": {"kind": "429"}, "/v1/messages/count_tokens": ASK}
    usual = {"content-type": "application/json", "x-api-key": "any"}
    reply = http.post(sim.url + path, content=json.dumps(bodies[path]), headers=usual | headers)
    assert reply.status_code == status, reply.text
    assert len(sim.requests) == (status == 200 and path.startswith("/v1"))
    pending = http.get(f"{sim.url}/sim/state").json()["faults"]
    assert pending == (["429"] if status == 200 and path == "/sim/faults" else [])
    assert "access-control-allow-origin" not in reply.headers
    assert http.options(sim.url + path, headers={"origin": "https://example.org"}).status_code == 501


def test_a_page_that_is_turned_away_uses_up_no_fault(http: Any, sim: Simulator, client: Any) -> None:
    sim.inject("429")
    assert http.post(f"{sim.url}/v1/messages", content=b"{}", headers={"content-type": "text/plain"}).status_code == 415
    with pytest.raises(anthropic.RateLimitError):
        client.messages.create(**ASK)


@pytest.mark.parametrize(
    ("page", "body"),
    [
        ("faults", {"kind": "429", "times": 20_000_000}),
        ("faults", {"kind": "429", "times": -1}),
        ("faults", {"kind": "stall", "seconds": 1e9}),
        ("faults", {"kind": "stall", "seconds": float("nan")}),
        ("faults", {"kind": "drop", "after_events": 10**9}),
        ("faults", {"kind": "429", "retry_after": float("inf")}),
        ("clock", {"advance": float("inf")}),
        ("clock", {"advance": float("nan")}),
        ("limits", {"requests": 10**400}),
    ],
)
def test_figures_are_capped(sim: Simulator, page: str, body: Any) -> None:
    with pytest.raises(urllib.error.HTTPError, match="400"):
        post(f"{sim.url}/sim/{page}", body)
    assert sim.speed == 0


def test_waiting_faults_are_capped(sim: Simulator) -> None:
    sim.inject("429", times=999)
    with pytest.raises(InputError, match="1,000"):
        sim.inject("429", times=2)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_is_capped_and_the_connection_goes_on(http: Any, sim: Simulator, *, chunked: bool) -> None:
    whole = b"x" * (33 * 1024**2)
    content: Any = iter([whole]) if chunked else whole
    reply = http.post(f"{sim.url}/v1/messages", content=content, headers={"content-type": "application/json"})
    assert (reply.status_code, reply.json()["error"]["type"]) == (413, "invalid_request_error")
    assert http.get(f"{sim.url}/sim/state").status_code == 200


def test_a_client_that_leaves_in_mid_request_is_forgotten(make_sim: Callable[..., Simulator]) -> None:
    threads = running()
    sim = make_sim()
    with socket.create_connection(("127.0.0.1", int(sim.url.rpartition(":")[2]))) as line:
        line.sendall(b"POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000000000\r\n\r\n{")
        line.shutdown(socket.SHUT_WR)
        assert line.recv(1) == b""
    sim.stop()
    for thread in running() - threads:
        thread.join(PATIENCE)  # it had closed its socket, and was about to end
        assert not thread.is_alive()


def test_real_time_can_be_pushed_ahead() -> None:
    with Simulator(speed=0) as sim:
        before = sim.clock.now()
        sim.clock.advance(600)
        assert sim.clock.now() >= before + 600


def test_a_negative_speed_is_refused() -> None:
    with pytest.raises(InputError):
        Simulator(speed=-1)


def test_stopping_leaves_nothing_behind() -> None:
    import httpx2

    threads = running()
    sim = Simulator(speed=1).start()
    address = ("127.0.0.1", int(sim.url.rpartition(":")[2]))
    idle = socket.create_connection(address)
    client = anthropic.Anthropic(api_key="any", base_url=sim.url, max_retries=0)
    sim.inject("stall", after_events=3)
    with client.messages.stream(**ASK) as stream:
        next(iter(stream))  # most of the reply is still to come
        sim.stop()
        with pytest.raises((httpx2.ReadError, httpx2.RemoteProtocolError)):
            stream.get_final_message()
    client.close()
    idle.close()
    assert running() == threads
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=1)
    sim.stop()


def test_each_instance_begins_cold(make_sim: Any) -> None:
    assert make_sim().instance != make_sim().instance


def test_the_connection_is_kept_alive(sim: Simulator) -> None:
    import http.client

    line = http.client.HTTPConnection("127.0.0.1", int(sim.url.rpartition(":")[2]))
    ports = set()
    for _ in range(3):
        line.request("GET", "/sim/state")
        line.getresponse().read()
        ports.add(line.sock.getsockname()[1])
    line.close()
    assert len(ports) == 1


@contextlib.contextmanager
def served(*options: str, **more: Any) -> Iterator[subprocess.Popen[str]]:
    """`python -m agentnb simulator` alone, and gone at the end whatever becomes of the test."""
    command = [sys.executable, "-m", "agentnb", "simulator", "--port", "0", "--speed", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **more) as process:
        try:
            yield process
        finally:
            process.kill()


def test_serving_any_client_until_interrupted(get: Callable[[str], Any], http: Any) -> None:
    """Asked by the three SDKs as anybody would, with what it says it is set by."""
    with served("--requests", "9") as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(10)]
        variables = dict(word.split("=") for line in said if "export" in line for word in line.split()[1:])
        claude = anthropic.Anthropic(
            api_key=variables["ANTHROPIC_API_KEY"], base_url=variables["ANTHROPIC_BASE_URL"], http_client=http
        )
        gpt = openai.OpenAI(
            api_key=variables["OPENAI_API_KEY"], base_url=variables["OPENAI_BASE_URL"], http_client=http
        )
        gemini = genai.Client(
            api_key=variables["GEMINI_API_KEY"],
            http_options=genai.types.HttpOptions(base_url=variables["GOOGLE_GEMINI_BASE_URL"], httpx_client=http),
        )
        hello: Any = [{"role": "user", "content": "Hello?"}]
        assert claude.messages.create(model="claude-sonnet-4-6", max_tokens=99, messages=hello).usage.input_tokens
        assert gpt.responses.create(model="gpt-4.1", input="Hello?").output_text
        assert gpt.chat.completions.create(model="gpt-4.1", messages=hello).choices
        assert gemini.models.generate_content(model="gemini-2.5-flash", contents="Hello?").text
        state = get(f"{variables['ANTHROPIC_BASE_URL']}/sim/state")
        assert state["limits"] == {"requests": 9}
        assert sum(state["requests"].values()) == 4
        process.send_signal(signal.SIGINT)
        assert process.stdout.read().endswith("stopped\n")
        assert process.wait(PATIENCE) == 0


def test_in_the_background_where_interrupts_are_ignored_sigterm_ends_it() -> None:
    with served(preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)) as process:
        assert process.stdout is not None
        assert "simulated model provider" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read().endswith("stopped\n")
        assert process.wait(PATIENCE) == 0


def test_a_port_that_is_taken_is_a_clear_error(sim: Simulator) -> None:
    port = sim.url.rpartition(":")[2]
    command = [sys.executable, "-m", "agentnb", "simulator", "--port", port]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"port {port} cannot be used" in done.stderr
    assert "--port" in done.stderr
