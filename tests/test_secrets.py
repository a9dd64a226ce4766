"""A password in the addresses of a study's storage and of MLflow is shown to nobody."""

import json
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy

from tests.command import dnntune
from tests.conftest import SMALL_SPACE
from tests.pages import served
from tests.servers import PostgreSQL, free_port

ROOT = Path(__file__).parents[1]
MARK = "Xq7mark"
PASSWORD = f"{MARK}/ö p@:w"

ALL = """
import json, sys
from pipeline.cli.app import main
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["dnntune", *arguments]
    try:
        main()
    except SystemExit as end:
        assert not end.code, arguments
"""


@contextmanager
def sampled() -> Iterator[set[str]]:
    """Collects the arguments of every process of this machine that are to be seen meanwhile."""
    found: set[str] = set()
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.2):
            for file in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    found.add(file.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
                except OSError:
                    continue

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()


def marked(server: PostgreSQL) -> sqlalchemy.URL:
    """An empty database for which a role has a password that is marked."""
    url = sqlalchemy.make_url(server.fresh().url)
    with sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT").connect() as connection:
        connection.exec_driver_sql(f"DROP ROLE IF EXISTS {url.database}_role")
        connection.exec_driver_sql(f"CREATE ROLE {url.database}_role LOGIN SUPERUSER PASSWORD '{PASSWORD}'")
    return url.set(username=f"{url.database}_role")


def contents(url: sqlalchemy.URL) -> str:
    """Everything in a database's tables, as text."""
    with sqlalchemy.create_engine(url).connect() as connection:
        names = sqlalchemy.inspect(connection).get_table_names()
        assert names
        return "\n".join(str(row) for name in names for row in connection.exec_driver_sql(f'SELECT * FROM "{name}"'))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_password_is_found_nowhere(postgresql: PostgreSQL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage, tracking = marked(postgresql), marked(postgresql)
    secret = storage.set(password=PASSWORD).render_as_string(hide_password=False)
    asked = tracking.update_query_dict({"password": PASSWORD}).render_as_string(hide_password=False)
    (tmp_path / "small.yaml").write_text(SMALL_SPACE.replace("trials: 6", "trials: 1"))
    (tmp_path / "nightly.yaml").write_text("space: small.yaml\n")
    monkeypatch.chdir(tmp_path)
    for name, value in (("PYTHONPATH", str(ROOT)), ("DNNTUNE_STORAGE", secret), ("DNNTUNE_TRACKING_URI", asked)):
        monkeypatch.setenv(name, value)
    steps = [
        ["run", "small.yaml", "--workers", "1", "--threads", "1", "--json"],
        ["resume", "small", "--trials", "2", "--threads", "1"],
        ["finalize", "small", "--top", "1", "--seeds", "1", "--threads", "1", "--json"],
        ["report", "small"],
        ["export", "small", "--out", "model", "--images", "20", "--json"],
        ["register", "small", "--name", "digits", "--threads", "1", "--json"],
        ["schedule-show", "nightly.yaml"],
        ["schedule-step", "check", "nightly.yaml"],
        ["schedule-step", "prepare", "nightly.yaml"],
        ["leaderboard", "small"],
        ["studies"],
    ]
    with sampled() as arguments:
        done = subprocess.run(  # one process for all: it imports torch and MLflow once
            [sys.executable, "-c", ALL, json.dumps(steps)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        said = [done.stdout, done.stderr, *pages(tmp_path)]
    summary = next(json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))
    assert summary["storage"].startswith("postgresql+psycopg://")
    assert ":***@" in summary["storage"]
    assert summary["tracking_uri"].endswith("?password=***")
    for command in ("forkserver", "mlflow ui", "pipeline dashboard"):  # workers come from the first one
        assert any(command in line for line in arguments), command
    files = [file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()]
    assert len(files) > 10
    tables = [contents(storage), contents(tracking)]
    assert "export_sha256" in tables[1]
    for text in [*said, *arguments, *tables, *map(repr, files)]:
        assert MARK not in text, text[:2000]


def pages(folder: Path) -> Iterator[str]:
    """Serves each of the pages, looks at it, and yields what was printed meanwhile."""
    for command, path in (("ui", "/ajax-api/3.0/mlflow/server-info"), ("dashboard", "/dashboard")):
        port = free_port()
        address = f"http://127.0.0.1:{port}{path}"
        with served(folder, address, command, "--port", port) as printed, urllib.request.urlopen(address) as answer:
            yield from (printed, answer.read().decode())
        yield (folder / "output").read_text()


@pytest.mark.parametrize("option", ["--storage", "--storage="])
def test_a_password_among_the_arguments_is_warned_of(option: str, tmp_path: Path) -> None:
    url = f"postgresql+psycopg://me:{MARK}@127.0.0.1:1/none"
    given = [option, url] if option == "--storage" else [f"{option}{url}"]
    done = dnntune("studies", *given, cwd=tmp_path)
    assert done.returncode == 2
    assert "everybody on this machine can read the password in --storage while this runs. Set $DNNTUNE_STORAGE" in (
        done.stderr
    )
    assert MARK not in done.stdout + done.stderr


def test_a_password_among_a_schedules_settings_is_warned_of(tmp_path: Path) -> None:
    (tmp_path / "nightly.yaml").write_text("space: digits_mlp\n")
    setting = f"storage=postgresql+psycopg://me:{MARK}@127.0.0.1:1/none"
    done = dnntune("schedule-step", "report", "nightly.yaml", "--set", setting, cwd=tmp_path)
    assert done.returncode == 2
    assert "everybody on this machine can read the password in --set storage. Give the address in" in done.stderr
    assert MARK not in done.stdout + done.stderr
