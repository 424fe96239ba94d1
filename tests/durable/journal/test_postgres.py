"""A journal on a real PostgreSQL server: what several machines, a server that goes away and a bad address do to it.

What every journal keeps is in test_conformance.py, which runs on PostgreSQL too.
"""

from __future__ import annotations

import logging
import random
import socket
import sys
import threading
from contextlib import closing

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from patience import PATIENCE
from processes import run_together

from agentnb.canonical import SystemClock
from agentnb.durable.journal import deltas
from agentnb.durable.journal.open import is_begun, open_journal
from agentnb.durable.journal.postgres import PostgresJournal, connecting
from agentnb.durable.journal.postgres.connecting import Server
from agentnb.durable.journal.postgres.schema import MIGRATIONS
from agentnb.durable.journal.records import NewRun, StepWrite
from agentnb.durable.machine import AgentStateMachine
from agentnb.errors import (
    InputError,
    JournalError,
    JournalRefused,
    JournalUnreachable,
    LeaseHeld,
    PackageMissing,
    StepConflict,
    StorageDamaged,
    StorageReadOnly,
)
from agentnb.settings import QuietAddress, Settings, without_password

pytestmark = pytest.mark.server
LEASE = 60.0


def new_run(run_id="r", **options):
    return NewRun(run_id=run_id, state="S", status="running", frame=deltas.keyframe({"n": b"0"}), **options)


def step_of(claim, number, *, status="running", next_state="S"):
    frame = deltas.keyframe({"n": b"%d" % number})
    return StepWrite(
        claim.row.key, claim.row.summary.run_id, number, claim.row.fence, "S", next_state, status, frame, True, None,
        None, None, LEASE, True,
    )  # fmt: skip


def counting(machine):
    @machine.state("COUNT")
    def count(context):
        context["n"] += 1
        return ("COMPLETED" if context["n"] == context["until"] else "COUNT"), context

    return machine


# Addresses and passwords


@given(
    user=st.text("abcäß", min_size=1, max_size=5),
    password=st.text(min_size=1, max_size=12).map(lambda text: f"<pw{text}wp>"),
    tail=st.sampled_from(["host/db", "host:5432/db?sslmode=disable", "h1:1,h2:2/db"]),
)
def test_no_password_is_shown_however_it_is_written(user, password, tail):
    address = f"postgresql://{user}:{password}@{tail}"
    for text in (without_password(address), repr(QuietAddress(address)), repr(Settings(journal=address))):
        assert not any(len(part) > 2 and part in text for part in (password, password[:4], password[-4:]))
    assert without_password(address) == f"postgresql://{user}@{tail}"


def test_a_password_among_the_parameters_is_not_shown_either():
    address = "postgresql://h/db?user=ann&password=hidden&sslmode=disable&sslpassword=hidden"
    assert without_password(address) == "postgresql://h/db?user=ann&sslmode=disable"
    assert without_password("postgresql://h/db?password=hidden") == "postgresql://h/db"
    assert without_password("postgresql://host:5432/db") == "postgresql://host:5432/db"


@pytest.mark.parametrize("password", ["p@ss", "pa/ss", "a?b", "19/2", "x%zz", "a:b/c@d", "12/pw@34"])
def test_an_address_that_was_not_encoded_is_refused_before_it_is_used(password):
    address = f"postgresql://ann:{password}@127.0.0.1:1/db"
    with pytest.raises((InputError, JournalUnreachable)) as caught:
        open_journal(address)
    assert password not in str(caught.value)
    assert f":{password[:2]}" not in str(caught.value)
    assert "ann@127.0.0.1:1/db" in str(caught.value)


@pytest.mark.parametrize("address", ["mysql://u:secret-word@h/db", "postgres:secret-word", "redis://:secret-word@h"])
def test_other_addresses_are_no_databases(address, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if "://" in address:
        with pytest.raises(InputError) as caught:
            open_journal(address)
        assert "secret-word" not in str(caught.value)


def test_without_psycopg_the_command_that_installs_it_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(PackageMissing, match=r'pip install "agentnb-jupyter\[postgres\]"') as caught:
        open_journal("postgresql://ann:secret-word@127.0.0.1:1/db")
    assert caught.value.code == "package.missing"
    assert "secret-word" not in str(caught.value)


def test_a_server_that_is_not_there_is_said_at_once():
    with pytest.raises(JournalUnreachable, match="Check the address") as caught:
        open_journal("postgresql://ann:secret-word@127.0.0.1:1/db")
    assert "secret-word" not in str(caught.value)
    assert caught.value.__cause__ is None, "psycopg's own error would show frames that know the password"


def test_a_server_that_says_nothing_is_not_waited_for_for_ever():
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        with pytest.raises(JournalUnreachable):
            open_journal(f"postgresql://ann:x@127.0.0.1:{port}/db?connect_timeout=2")


@pytest.fixture
def guest(postgres_server):
    """`guest(statements)`: the address of a new database for a user without rights, after the statements."""
    if postgres_server.given:
        pytest.skip("a server of yours gets no users")
    made = []

    def make(*statements):
        name = postgres_server.new_database()
        made.append(name)
        postgres_server.ask(f"CREATE ROLE guest_{name} LOGIN PASSWORD 'guest-word'")
        for statement in statements:
            postgres_server.ask(statement.format(database=name, role=f"guest_{name}"), name)
        return postgres_server.url(name, user=f"guest_{name}", password="guest-word")

    yield make
    for name in made:
        postgres_server.drop(name)
        postgres_server.ask(f"DROP ROLE guest_{name}")


def test_a_wrong_password_and_a_missing_database_are_told_apart(postgres_server):
    if postgres_server.given:
        pytest.skip("whom a server of yours lets in is its own affair")
    for url, said in (
        (postgres_server.url(password="wrong-word"), "does not accept the password"),
        (postgres_server.url(user="nobody-here"), "does not accept the password"),  # PostgreSQL does not tell which
        (postgres_server.url(password=""), "does not accept the password"),
        (postgres_server.url("no_such_database"), "knows no such user or database"),
    ):
        with pytest.raises(JournalRefused, match=said) as caught:
            open_journal(url)
        assert caught.value.code == "journal.refused"
        assert "wrong-word" not in str(caught.value)
        assert "s3cret" not in str(caught.value)


def test_a_user_without_rights_is_told_which_and_needs_no_more(guest):
    address = guest("REVOKE CREATE ON DATABASE {database} FROM PUBLIC")
    with pytest.raises(JournalRefused, match="GRANT CREATE ON DATABASE"):
        open_journal(address)
    assert not is_begun(address)
    open_journal(guest("GRANT CREATE ON DATABASE {database} TO {role}")).close()
    address = guest("CREATE SCHEMA agentnb", "GRANT USAGE, CREATE ON SCHEMA agentnb TO {role}")
    with closing(open_journal(address)) as journal:
        journal.create(new_run())
        assert journal.row("r").summary.step == 0
    assert is_begun(address)


def test_a_database_that_takes_no_writes_is_said_so(postgres):
    open_journal(postgres).close()
    with closing(open_journal(f"{postgres}?options=-c%20default_transaction_read_only%3Don")) as journal:
        assert journal.runs() == []
        with pytest.raises(StorageReadOnly):
            journal.create(new_run())


def test_a_database_whose_text_has_no_room_for_all_characters_is_refused(postgres_server):
    name = postgres_server.new_database()
    postgres_server.drop(name)
    postgres_server.ask(f"CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    with pytest.raises(InputError, match="LATIN1"):
        open_journal(postgres_server.url(name))
    postgres_server.drop(name)


def test_tables_of_a_newer_agentnb_are_left_alone(postgres):
    open_journal(postgres).close()
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("UPDATE agentnb.meta SET value = %s", (len(MIGRATIONS) + 1,))
    with pytest.raises(JournalError, match="Upgrade agentnb") as caught:
        PostgresJournal(postgres)
    assert caught.value.code == "journal"


OPENER = """
import sys
from agentnb.durable.journal.open import open_journal
print("ready", flush=True)
sys.stdin.readline()
open_journal(sys.argv[1]).close()
"""


def test_several_processes_that_come_first_make_the_tables_once(postgres):
    command = [sys.executable, "-c", OPENER, postgres]
    run_together(*[command] * 4)
    with psycopg.connect(postgres) as connection:
        assert connection.execute("SELECT name, value FROM agentnb.meta").fetchall() == [("format", len(MIGRATIONS))]


def test_one_place_is_one_journal_in_a_process(postgres):
    first = open_journal(postgres)
    assert open_journal(postgres, clock=SystemClock()) is first
    first.close()
    assert not first.closed, "the other one still has it"
    first.close()
    assert first.closed
    with pytest.raises(JournalUnreachable, match="closed"):
        first.runs()


def test_nothing_says_the_password(postgres, caplog):
    caplog.set_level(logging.DEBUG)
    with closing(PostgresJournal(postgres)) as journal:
        machine = counting(AgentStateMachine(journal))
        machine.initialize_run("r", "COUNT", {"n": 0, "until": 2})
        machine.run_to_end("r")
        said = [repr(journal), repr(journal._server), journal.address, str(vars(journal)), caplog.text]
        with psycopg.connect(postgres) as connection:
            tables = [connection.execute(f"SELECT * FROM agentnb.{table}") for table in ("runs", "history", "meta")]
            said.append(str([table.fetchall() for table in tables]))
    secret = psycopg.conninfo.conninfo_to_dict(postgres).get("password") or "s3cret"
    assert not any(secret in text or "s3cret" in text for text in said)


# Durability


def test_a_step_is_one_transaction_and_is_flushed_whatever_the_server_says(postgres, postgres_server):
    name = postgres.rpartition("/")[2]
    postgres_server.ask(f"ALTER DATABASE {name} SET synchronous_commit = off")
    try:
        with closing(PostgresJournal(postgres)) as journal:
            machine = counting(AgentStateMachine(journal))
            machine.initialize_run("r", "COUNT", {"n": 0, "until": 1000})
            machine.execute_step("r")
            assert journal._server.read("SHOW synchronous_commit") == [("on",)]
            committed(journal)
            first = committed(journal)
            before = committed(journal)
            for _ in range(100):
                machine.execute_step("r")
            looks = before - first
            assert 100 <= committed(journal) - before <= 100 + 2 * looks, (
                "a look at it is committed, too, or counted later"
            )
        with closing(PostgresJournal(postgres, synchronous="NORMAL")) as journal:
            assert journal._server.read("SHOW synchronous_commit") == [("off",)]
    finally:
        postgres_server.ask(f"ALTER DATABASE {name} RESET synchronous_commit")


def committed(journal):
    """Transactions of the database so far; the server counts them when they have ended."""
    journal._server.read("SELECT pg_stat_force_next_flush()")
    query = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
    return journal._server.read(query)[0][0]


def test_no_step_is_written_twice_whoever_tries(postgres):
    with closing(PostgresJournal(postgres)) as journal:
        journal.create(new_run())
        journal.commit(step_of(journal.claim("r", LEASE), 1))
    with psycopg.connect(postgres) as connection, pytest.raises(psycopg.errors.UniqueViolation):
        connection.execute("INSERT INTO agentnb.history SELECT * FROM agentnb.history WHERE step = 1")


def test_an_event_is_followed_when_all_before_it_are_settled(postgres):
    """Two transactions take numbers in one order and commit in the other."""
    with closing(PostgresJournal(postgres)) as journal, psycopg.connect(postgres) as slow:
        for name in "ab":
            journal.create(new_run(name))
        seen = journal.follow()
        assert [event.run_id for event in seen] == ["a", "b"]
        claims = {name: journal.claim(name, LEASE) for name in "ab"}
        slow.execute(
            "INSERT INTO agentnb.history (run, step, part, fence, at, keyframe, kind, state, next_state)"
            " VALUES (%s, 0, 1, 1, 0, false, 'signal', 'S', 'S')",
            (claims["a"].row.key,),
        )
        journal.commit(step_of(claims["b"], 1))
        assert journal.follow(seen[-1].seq) == []
        assert len(journal.history("b")) == 2, "which is there"
        slow.commit()
        new = journal.follow(seen[-1].seq)
        assert [(event.run_id, event.kind) for event in new] == [("a", "signal"), ("b", "step")]
        slow.execute("SELECT agentnb.next_seq()")
        journal.commit(step_of(claims["b"], 2))
        assert journal.follow(new[-1].seq) == []
        slow.rollback()  # a number that nobody gets
        assert [event.step for event in journal.follow(new[-1].seq)] == [2]


def test_numbers_beyond_those_of_a_lock_are_followed_too(postgres):
    """Locks have 31 bits for a number."""
    with closing(PostgresJournal(postgres)) as journal, psycopg.connect(postgres) as slow:
        for start in (2**31 - 2, 2**31 + 9, 5 * 2**31 - 3):
            slow.execute("SELECT setval('agentnb.event_seq', %s)", (start,))
            slow.commit()
            journal.create(new_run(f"before {start}"))
            slow.execute("SELECT agentnb.next_seq()")
            journal.create(new_run(f"after {start}"))
            assert [event.run_id for event in journal.follow(start)] == [f"before {start}"]
            slow.commit()
            assert [event.run_id for event in journal.follow(start)] == [f"before {start}", f"after {start}"]


def test_damaged_and_foreign_rows_are_refused(postgres):
    with closing(PostgresJournal(postgres)) as journal, psycopg.connect(postgres, autocommit=True) as other:
        journal.create(new_run())
        other.execute("UPDATE agentnb.history SET data = '\\x8004'")
        with pytest.raises(StorageDamaged):
            journal.history("r")
        other.execute("UPDATE agentnb.runs SET tags = '{'")
        for look in (journal.runs, lambda: journal.row("r"), lambda: journal.claim("r", LEASE)):
            with pytest.raises(StorageDamaged):
                look()
        other.execute("DROP TABLE agentnb.history")
        with pytest.raises(StorageDamaged, match="gone"):
            journal.follow()


def test_text_that_postgresql_cannot_hold_is_an_error_and_long_tags_are_none(postgres):
    with closing(PostgresJournal(postgres)) as journal:
        for run_id in ("nul \0", "half \ud800", random.Random(1).randbytes(9000).hex()):
            with pytest.raises(InputError):
                journal.create(new_run(run_id))
        tags = {"task": "long and \0 odd " * 5000, "n": "1"}
        journal.create(new_run(tags=tags))
        assert [run.run_id for run in journal.find(**tags)] == ["r"]
        assert journal.find(task="long") == []
        assert dict(journal.row("r").summary.tags) == tags
        assert [run.run_id for run in journal.runs()] == ["r"], "nothing of the others is there"


# Clocks and leases


@pytest.fixture
def elsewhere(monkeypatch):
    """`elsewhere(journal)`: its owner is a process of another machine."""

    def make(journal):
        journal.owner = "0123456789ab" + journal.owner[12:]
        return journal

    return make


@pytest.mark.parametrize("wrong", [-7200.0, 7200.0])
def test_leases_between_machines_are_counted_by_the_servers_clock(postgres, elsewhere, monkeypatch, wrong):
    with closing(PostgresJournal(postgres)) as far, closing(PostgresJournal(postgres)) as here:
        elsewhere(far)
        monkeypatch.setattr(here._told, "_ahead", here._told._ahead + wrong)  # this machine's clock is wrong
        far.create(new_run())
        old = far.claim("r", LEASE)
        with pytest.raises(LeaseHeld, match="another machine"):
            here.claim("r", LEASE)
        far.commit(step_of(old, 1))
        assert here.claim_free(LEASE, states=["S"], tags={}) is None
        with psycopg.connect(postgres, autocommit=True) as connection:  # what a minute of waiting would do
            connection.execute("UPDATE agentnb.runs SET lease_until = lease_until - 61")
        assert here.claim_free(LEASE, states=["S"], tags={}) == "r"
        assert here.row("r").fence > old.row.fence
        with pytest.raises(StepConflict):
            far.commit(step_of(old, 2))
        assert not far.renew(old.row.key, old.row.fence, LEASE)
        assert abs(here.clock.now() - SystemClock().now()) < 60, "the journal's clock follows the server's"


# A server that goes away


def test_a_server_that_crashes_in_mid_step_and_comes_back_loses_nothing(own_postgres):
    address = own_postgres.url(own_postgres.new_database())
    executed, starting = [], threading.Thread(target=own_postgres.start)
    with closing(PostgresJournal(address)) as journal:
        machine = AgentStateMachine(journal)

        @machine.state("WORK")
        def work(context):
            executed.append(machine.current.step)
            if machine.current.step == 5:
                own_postgres.stop("immediate")
                starting.start()
            context["n"] += 1
            return ("COMPLETED" if context["n"] == 10 else "WORK"), context

        machine.initialize_run("r", "WORK", {"n": 0})
        assert machine.run_to_end("r").status == "completed"
        assert executed == list(range(1, 11)), "each once: the connection is made anew, and the step not"
        assert [event.step for event in machine.history("r") if event.kind == "step"] == executed
    starting.join()  # it waits a little after the server takes calls; to stop the server meanwhile fails it


def test_a_server_that_stays_away_is_said_and_the_run_goes_on_later(own_postgres):
    address = own_postgres.url(own_postgres.new_database())
    with closing(PostgresJournal(address, server=Server(address, patience=1.0))) as journal:
        machine = counting(AgentStateMachine(journal))
        machine.initialize_run("r", "COUNT", {"n": 0, "until": 10})
        machine.run_to_end("r", max_steps=3)
        own_postgres.stop("immediate")
        with pytest.raises(JournalUnreachable):
            machine.execute_step("r")
        own_postgres.start()
        assert machine.run_to_end("r").context["n"] == 10


class Wire(threading.Thread):
    """A proxy before the server that can let a request through, and its answer not."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.target = port
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        self.cut: tuple[bytes, bool] | None = None
        self.cuts = 0

    def run(self):
        while True:
            try:
                client, _ = self.listening.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.target))
            for source, sink, asked in ((client, server, True), (server, client, False)):
                threading.Thread(target=self.pump, args=(source, sink, asked), daemon=True).start()

    def pump(self, source, sink, asked):
        try:
            while data := source.recv(1 << 20):
                if asked and self.cut and self.cut[0] in data:
                    return self.end(source, sink, data)
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            end.close()
        return None

    def end(self, client, server, data):
        """Cut the client off; where the request is to get through, see that the server has done it."""
        (_, through), self.cut = self.cut, None
        self.cuts += 1
        if through:
            server.sendall(data)
            server.settimeout(5)
            while server.recv(1 << 16)[-6:-5] != b"Z":  # ReadyForQuery: done
                pass
        for end in (client, server):
            end.shutdown(socket.SHUT_RDWR)
            end.close()


@pytest.fixture
def wire(postgres_server):
    if postgres_server.given:
        pytest.skip("the wire to a server of yours may be encrypted")
    wire = Wire(postgres_server.port)
    wire.start()
    yield wire
    wire.listening.close()


@pytest.fixture
def over_the_wire(postgres, postgres_server, wire):
    name = postgres.rpartition("/")[2]
    with closing(PostgresJournal(postgres_server.url(name, port=wire.port) + "?sslmode=disable")) as journal:
        yield journal


def warmed(journal):
    """A run whose statements have all been used: what is cut next is the statement itself."""
    journal.create(new_run())
    claim = journal.claim("r", LEASE)
    journal.commit(step_of(claim, 1))
    return claim


@pytest.mark.parametrize("through", [False, True], ids=["lost on the way there", "lost on the way back"])
def test_a_step_whose_answer_is_lost_is_committed_once(over_the_wire, wire, through):
    claim = warmed(over_the_wire)
    wire.cut = (deltas.keyframe({"n": b"2"}), through)
    done = over_the_wire.commit(step_of(claim, 2))
    assert wire.cuts == 1
    events = over_the_wire.history("r")
    assert [event.step for event in events] == [0, 1, 2]
    assert (done.seq, done.status) == (events[-1].seq, "running")
    assert over_the_wire.frames("r", 2)[1] == [deltas.keyframe({"n": b"2"})]
    over_the_wire.commit(step_of(claim, 3))


@pytest.mark.parametrize("through", [False, True], ids=["lost on the way there", "lost on the way back"])
@pytest.mark.parametrize("what", ["end", "create", "deliver", "claim"])
def test_any_other_write_whose_commit_is_lost_is_done_once(over_the_wire, wire, through, what):
    claim = warmed(over_the_wire)
    writes = {
        "end": lambda: over_the_wire.commit(step_of(claim, 2, status="completed", next_state="COMPLETED")),
        "create": lambda: over_the_wire.create(new_run("new")),
        "deliver": lambda: over_the_wire.deliver("r", "MAIL", b"1", event_id="x"),
        "claim": lambda: over_the_wire.claim("r", LEASE),
    }
    wire.cut = (b"COMMIT", through)
    answer = writes[what]()
    assert wire.cuts == 1
    if what == "deliver":
        assert answer is True
    if what == "claim":
        assert over_the_wire.row("r").fence == answer.row.fence
    kinds = [event.kind for event in over_the_wire.follow()]
    assert kinds == ["created", "step", *{"end": ["step"], "create": ["created"], "deliver": ["woken"]}.get(what, [])]


def test_a_step_that_was_overtaken_while_its_connection_broke_is_refused(over_the_wire, wire, postgres):
    claim = warmed(over_the_wire)
    with closing(PostgresJournal(postgres)) as other:
        taken = other.claim("r", LEASE, take_over=True)
        other.commit(step_of(taken, 2))
        wire.cut = (b"agentnb.runs", False)
        with pytest.raises(StepConflict):
            over_the_wire.commit(step_of(claim, 2))
    assert [event.step for event in over_the_wire.history("r")] == [0, 1, 2]


def test_threads_share_a_few_connections(postgres):
    with closing(PostgresJournal(postgres)) as journal:
        machine = counting(AgentStateMachine(journal))
        for number in range(8):
            machine.initialize_run(f"r{number}", "COUNT", {"n": 0, "until": 30})
        threads = [threading.Thread(target=machine.run_to_end, args=(f"r{number}",)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert all(machine.get(f"r{number}").context["n"] == 30 for number in range(8))
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        assert journal._server.read(query)[0][0] <= connecting.MOST
