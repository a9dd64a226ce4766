"""A PostgreSQL server for tests: a real one, on this machine's loopback, with its data in a temporary folder."""

import os
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

HOW_TO_GET = "needs PostgreSQL's server programs: apt-get install postgresql"


def postgresql_programs() -> Path | None:
    """The folder of ``pg_ctl`` and ``initdb``, or None if this machine has none."""
    found = shutil.which("pg_ctl")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name))
    return next((folder for folder in reversed(folders) if (folder / "pg_ctl").exists()), None)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class PostgreSQL:
    """A database on a server of one's own."""

    programs: Path
    folder: Path
    port: int
    database: str = "postgres"

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/{self.database}"

    def fresh(self) -> "PostgreSQL":
        """Makes an empty database."""
        name = f"test_{uuid.uuid4().hex}"
        self.call("psql", "-h", "127.0.0.1", "-p", str(self.port), "-q", "-c", f"CREATE DATABASE {name}", "postgres")
        return replace(self, database=name)

    def start(self) -> None:
        """Starts the server, unless it runs."""
        if self.pg_ctl("status", check=False) == 0:
            return
        options = f"-c listen_addresses=127.0.0.1 -c fsync=off -p {self.port} -k {self.folder}"
        self.pg_ctl("start", "-w", "-o", options, "-l", str(self.folder / "log"))

    def stop(self) -> None:
        """Stops the server at once: it breaks every connection, and recovers when it is started."""
        self.pg_ctl("stop", "-w", "-m", "immediate")

    def restart(self) -> None:
        """Stops the server at once, starts it, and waits until it is ready."""
        self.stop()
        self.start()

    def pg_ctl(self, *arguments: str, check: bool = True) -> int:
        return self.call("pg_ctl", "-D", str(self.folder / "data"), *arguments, check=check)

    def call(self, program: str, *arguments: str, check: bool = True) -> int:
        # The server would keep a pipe open. It refuses to run as root.
        user = "postgres" if os.geteuid() == 0 else None
        groups: list[str] | None = None if user is None else []
        command = [str(self.programs / program), *arguments]
        with (self.folder / "calls").open("a") as log:
            done = subprocess.run(
                command,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                check=False,
                user=user,
                group=user,
                extra_groups=groups,
            )
        assert not check or done.returncode == 0, (self.folder / "calls").read_text()
        return done.returncode


@contextmanager
def postgresql_server(programs: Path) -> Iterator[PostgreSQL]:
    """Runs a server while the context lasts."""
    folder = Path(tempfile.mkdtemp(prefix="dnntune-postgresql-"))  # a socket's path must be short
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    server = PostgreSQL(programs, folder, free_port())
    try:
        server.call("initdb", "-D", str(folder / "data"), "-U", "postgres", "-A", "trust", "-N", "-E", "UTF8")
        server.start()
        yield server
    finally:
        server.pg_ctl("stop", "-m", "immediate", check=False)
        shutil.rmtree(folder, ignore_errors=True)
