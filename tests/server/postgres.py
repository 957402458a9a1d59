"""A real PostgreSQL in a temporary folder, behind a Unix socket."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest


@dataclass
class Postgres:
    """A server that can be stopped and started."""

    folder: Path
    user: int | None  # whose processes it has: it refuses to be root's
    process: subprocess.Popen[bytes] | None = None
    databases: list[str] = field(default_factory=list)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = ["-c", "listen_addresses=", "-c", "fsync=off", "-c", "autovacuum=off", "-c", "shared_buffers=16MB"]
        command = ["postgres", "-D", str(self.folder / "data"), "-k", str(self.folder), *options]
        self.process = self.run(command)
        limit = time.monotonic() + 20
        while not self.answers():
            assert time.monotonic() < limit
            time.sleep(0.02)

    def run(self, command: list[str]) -> subprocess.Popen[bytes]:
        """A process that is not root's."""
        quiet, groups = subprocess.DEVNULL, None if self.user is None else list[str]()
        return subprocess.Popen(
            command,
            stdout=quiet,
            stderr=quiet,
            cwd=self.folder,
            user=self.user,
            group=self.user,
            extra_groups=groups,
        )

    def answers(self) -> bool:
        """Whether it takes connections."""
        import psycopg

        try:
            psycopg.connect(self.url("postgres")).close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self) -> None:
        """End all connections and stop it."""
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(20)
            self.process = None

    def url(self, database: str) -> str:
        """Of a database."""
        return f"postgresql://trim@/{database}?host={self.folder}"

    def new(self) -> str:
        """The URL of a new database."""
        import psycopg

        name = f"test{len(self.databases)}"
        self.databases.append(name)
        with psycopg.connect(self.url("postgres"), autocommit=True) as admin:
            admin.execute(f"CREATE DATABASE {name}".encode())
        return self.url(name)


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A server with an empty database; skips the test where there is none."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    if shutil.which("postgres") is None or shutil.which("initdb") is None:
        pytest.skip("there is no PostgreSQL on this machine (postgres and initdb)")
    user = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None
    with TemporaryDirectory(prefix="trim-pg-", ignore_cleanup_errors=True) as folder:
        server = Postgres(Path(folder), user)
        if user is not None:
            os.chown(folder, user, -1)
        command = ["initdb", "-D", f"{folder}/data", "-A", "trust", "-U", "trim", "-E", "UTF8", "--no-locale", "-N"]
        assert server.run(command).wait(60) == 0
        server.start()
        try:
            yield server
        finally:
            server.stop()
