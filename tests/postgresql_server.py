"""A PostgreSQL server of the tests' own: Debian's binaries, a temporary folder, no port."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

USER = "postgres"  # the server refuses to run as root


def binaries() -> Path | None:
    """The folder of ``initdb`` and ``postgres``, of the newest version that is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]))
    if found:
        return found[-1].parent
    initdb = shutil.which("initdb")
    return None if initdb is None else Path(initdb).resolve().parent


class PostgreSQL:
    """A running server; :meth:`new_database` gives an empty database, :meth:`restart` is for faults."""

    def __init__(self, folder: Path, bin_folder: Path) -> None:
        self._folder = folder
        self._bin = bin_folder
        self._made = 0
        self._as = {"user": USER, "group": USER, "extra_groups": []} if os.geteuid() == 0 else {}
        self._run("initdb", "-D", str(folder / "data"), "-U", USER, "-A", "trust", "-E", "UTF8", "--no-sync")
        self.start()

    def url(self, database: str = "postgres") -> str:
        """As an operator would write it."""
        return f"postgresql://{USER}@/{database}?host={self._folder}"

    def new_database(self) -> str:
        """The URL of a new, empty database, whose collation is not the one of code points."""
        self._made += 1
        name = f"library{self._made}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")  # type: ignore[arg-type]
        return self.url(name)

    def start(self) -> None:
        options = f"-k {self._folder} -c listen_addresses='' -c fsync=off -c max_connections=200"
        self._run(
            "pg_ctl",
            "-D",
            str(self._folder / "data"),
            "-o",
            options,
            "-w",
            "-l",
            str(self._folder / "log"),
            "start",
        )

    def stop(self) -> None:
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-w", "-m", "immediate", "stop")

    def restart(self) -> None:
        """As if the machine had been switched off and on."""
        self.stop()
        self.start()

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._bin / program), *arguments]
        environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
        done = subprocess.run(
            command, capture_output=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE if program == "initdb" else subprocess.DEVNULL,
            cwd=self._folder, env=environment, check=False, **self._as,
        )  # fmt: skip
        assert done.returncode == 0, f"{program}: {(done.stderr or b'').decode()}"


@contextmanager
def running() -> Iterator[PostgreSQL | None]:
    """A server until the end of the block; ``None`` where PostgreSQL is not installed."""
    found = binaries()
    if found is None:
        yield None
        return
    folder = Path(tempfile.mkdtemp(prefix="chiasm-pg-"))
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, USER, USER)
        server = PostgreSQL(folder, found)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
