"""The agent over a journal in PostgreSQL: by the setting, from two machines, on the command line, in a notebook."""

from __future__ import annotations

import sys

import psycopg
import pytest
from IPython.core.interactiveshell import InteractiveShell
from processes import run_together

import agentnb
from agentnb.__main__ import main
from agentnb.doctor import report
from agentnb.session import Session
from agentnb.settings import Settings, from_environment
from agentnb.simulator import Simulator

pytestmark = pytest.mark.server
MODEL = "sim:claude-sonnet-4-6"


@pytest.fixture
def machines(tmp_path, postgres):
    """Two machines: each a data directory of its own, one journal, one provider."""
    with Simulator(speed=0, record=True) as simulator:
        made = [
            Session(
                settings=Settings(model=MODEL, home=tmp_path / name, sim_speed=0, journal=postgres),
                simulated=simulator,
                environment={},
            )
            for name in ("one", "two")
        ]
        yield made
        for session in made:
            session.close()


LONG = "x = '" + "tide " * 3000 + "'"


def ask(session, task):
    session.cells.record(LONG, cell_id="c", number=1)
    exec(LONG, session.namespace)
    return agentnb.Agent(session=session, thread="shared", tools=[]).run(task)


def test_a_thread_goes_on_on_another_machine_and_its_prefix_hits(machines, postgres):
    one, two = machines
    first = ask(one, "What is in `x`?")
    second = ask(two, "And how long is it?")
    assert [run.tags["parent"] for run in two.journal.find(thread="shared")] == ["", first.run_id]
    assert second.cache["read"] > 0
    assert second.cache["read"] >= first.cache["written"] + first.cache["read"]
    assert two.find_run(first.run_id).text == first.text
    assert (one.home / "cache.db").exists(), "what is known of warm prompt caches stays local"
    with psycopg.connect(postgres) as connection:
        assert connection.execute("SELECT count(*) FROM agentnb.runs").fetchone() == (2,)


def test_a_run_of_another_machine_is_forked_and_read(machines):
    one, two = machines
    run = ask(one, "What is in `x`?")
    forked = two.fork(run.run_id, 1)
    assert two.machine().get(forked).origin == (run.run_id, 1)
    assert two.machine().context_at(run.run_id, 1) == one.machine().context_at(run.run_id, 1)


def test_no_document_names_the_password(machines, postgres):
    run = ask(machines[0], "What is in `x`?")
    machines[0].environment = {"AGENTNB_JOURNAL": postgres}
    shown = [str(vars(run)), str(run.receipt), repr(machines[0].settings), repr(machines[0])]
    assert "s3cret" not in "".join(shown)


def test_a_session_moves_to_the_journal_that_is_set(tmp_path, postgres):
    with Simulator(speed=0) as simulator:
        home = Settings(model=MODEL, home=tmp_path / "home", sim_speed=0)
        session = Session(settings=home, simulated=simulator, environment={})
        ask(session, "What is in `x`?")
        session.settings = home.with_changes(journal=postgres)
        assert session.journal.runs() == []
        ask(session, "What is in `x`?")
        assert len(session.journal.runs()) == 1
        session.close()


def test_the_command_line_lists_the_runs_of_any_journal(postgres, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("AGENTNB_HOME", str(tmp_path / "home"))
    assert main(["runs", "--where", postgres]) == 0
    assert capsys.readouterr().out == "No run yet.\n"
    with psycopg.connect(postgres) as connection:
        assert connection.execute("SELECT to_regclass('agentnb.runs')").fetchone() == (None,), "looking makes nothing"
    machine = agentnb.AgentStateMachine(postgres)
    machine.register_state("S", lambda context: ("COMPLETED", context))
    machine.initialize_run("tides", "S", {}, tags={"task": "look at the tides"})
    machine.run_to_end("tides")
    machine.close()
    for arguments in (["runs", "--where", postgres], ["runs"]):
        assert main(arguments) == 0
        assert "look at the tides" in capsys.readouterr().out
        monkeypatch.setenv("AGENTNB_JOURNAL", postgres)
    assert main(["runs", "--where", str(tmp_path / "none")]) == 1
    assert "there is no such directory" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
    assert main(["runs", "--where", "postgresql://ann:hidden@127.0.0.1:1/db"]) == 1
    said = capsys.readouterr().err
    assert "journal.unreachable" in said
    assert "hidden" not in said


def test_the_doctor_says_where_runs_are_kept_and_whether_that_can_be_reached(postgres, tmp_path):
    def line(place):
        lines = report({"AGENTNB_HOME": str(tmp_path), "AGENTNB_JOURNAL": place, "AGENTNB_MODEL": MODEL})
        return next(line for line in lines if line.split()[0] == "journal")

    assert "no journal yet" in line(postgres)
    agentnb.open_journal(postgres).close()
    assert "0 runs" in line(postgres)
    assert "PostgreSQL" in line(postgres)
    assert "s3cret" not in line(postgres)
    assert "cannot be reached" in line("postgresql://ann:hidden@127.0.0.1:1/db")
    assert "hidden" not in line("postgresql://ann:hidden@127.0.0.1:1/db")
    assert "not made yet" in line(str(tmp_path / "elsewhere"))


def test_the_notebooks_setting_shows_no_password(capsys):
    from agentnb.notebook.config import AgentNB

    config = AgentNB()
    config.journal = config.bus = "postgresql://ann:hidden@host/db"
    assert config.over(from_environment({})).journal == "postgresql://ann:hidden@host/db"
    assert repr(config.journal) == "'postgresql://ann@host/db'"
    assert "hidden" not in AgentNB.class_get_help(config)


def test_config_in_a_shell_shows_no_password(postgres, capsys):
    shell = InteractiveShell.instance()
    try:
        shell.run_line_magic("load_ext", "agentnb")
        shell.run_line_magic("config", f"AgentNB.journal = {postgres!r}")
        shell.run_line_magic("config", "AgentNB")
        shell.run_cell("get_ipython().run_line_magic('config', 'AgentNB.journal')")
        shell.run_line_magic("agent_runs", "list")
        shell.run_line_magic("config", "AgentNB.journal = ''")
        shell.run_line_magic("unload_ext", "agentnb")
    finally:
        InteractiveShell.clear_instance()
    said = capsys.readouterr()
    assert "s3cret" not in said.out + said.err
    assert "postgresql://agentnb_admin@" in said.out or "AGENTNB_TEST_POSTGRES" in said.out


SHARED = """
import sys
from agentnb import AgentStateMachine

machine = AgentStateMachine(sys.argv[1])
out = open(sys.argv[2], "a", buffering=1)

@machine.state("WORK")
def work(context):
    out.write(f"{machine.current.run_id} {machine.current.step}\\n")
    context["n"] += 1
    return ("COMPLETED" if context["n"] == 12 else "WORK"), context

print("ready", flush=True)
sys.stdin.readline()
while run_id := machine.next_free(team="tides"):
    machine.run_to_end(run_id)
machine.close()
"""


@pytest.mark.slow
def test_several_workers_drive_the_free_runs_of_one_journal_and_no_step_runs_twice(postgres, tmp_path):
    machine = agentnb.AgentStateMachine(postgres)
    machine.register_state("WORK", lambda context: ("WORK", context))
    for number in range(24):
        machine.initialize_run(f"r{number}", "WORK", {"n": 0}, tags={"team": "tides"})
    machine.initialize_run("not theirs", "WORK", {"n": 0})
    log = tmp_path / "log"
    run_together(*[[sys.executable, "-c", SHARED, postgres, str(log)]] * 3)
    lines = log.read_text().splitlines()
    assert len(lines) == len(set(lines)) == 24 * 12
    assert {machine.get(f"r{number}").status for number in range(24)} == {"completed"}
    assert machine.get("not theirs").step == 0
    owners = {run.step for run in machine.journal.runs(limit=None)}
    assert owners == {0, 12}
    machine.close()
