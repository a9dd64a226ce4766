"""A study storage in a database: SQLite, or a server that may restart while a study runs."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import sqlalchemy
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError

from pipeline.core.filesystem.disk import disk_full
from pipeline.core.retry import call_with_retry
from pipeline.core.stores.schema_lock import schema_lock
from pipeline.core.stores.store_urls import parsed
from pipeline.core.stores.urls import StoreUrl
from pipeline.storage.heartbeats import OnStale, heartbeat_settings
from pipeline.storage.retry import OPENING_SECONDS, WHAT, is_retry, retry_operations

# How long a process waits for another one's write before it gives up.
LOCK_TIMEOUT_SECONDS = 60
# A server that vanished without a word is noticed after half a minute, and not after the system's hours.
_POSTGRESQL = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
_ARGUMENTS = {"psycopg": _POSTGRESQL, "psycopg2": _POSTGRESQL, "pymysql": {"connect_timeout": 10}}

# Lost connections, deadlocks, and servers that start, end or have no connection left (PostgreSQL's appendix A). A full
# disk (53100) does not pass by itself.
_TRANSIENT_STATES = ("08", "40001", "40P01", "53300", "55P03", "57P01", "57P02", "57P03", "57P05")
# MySQL: too many connections, server ends, lock wait timeout, deadlock; from 2000 on, the client's own of connections.
_TRANSIENT_CODES = (1040, 1053, 1205, 1213)
_TRANSIENT_SQLITE = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)

ERRORS = (SQLAlchemyError, StorageInternalError, sqlite3.Error)


def is_transient(error: Exception) -> bool:
    """Returns whether a lost connection or a lock caused an error; what Optuna wraps is looked through."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, DBAPIError | sqlite3.Error) and _is_transient(cause):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _is_transient(error: DBAPIError | sqlite3.Error) -> bool:
    driver_error = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(driver_error, sqlite3.Error):
        return getattr(driver_error, "sqlite_errorcode", 0) & 0xFF in _TRANSIENT_SQLITE
    assert isinstance(error, DBAPIError)
    if error.connection_invalidated or isinstance(error, InterfaceError):
        return True
    if not isinstance(error, OperationalError):
        return False
    state = getattr(driver_error, "sqlstate", None) or getattr(driver_error, "pgcode", None)
    if state is not None:
        return bool(state.startswith(_TRANSIENT_STATES))
    code = next(iter(getattr(driver_error, "args", ())), None)
    if isinstance(code, int):
        return code in _TRANSIENT_CODES or code >= 2000
    return True  # psycopg has no state where there is no connection


def _full(storage: RDBStorage, error: Exception) -> Exception | None:
    return disk_full(error, *_places(storage.engine.url))


def _places(address: sqlalchemy.URL) -> tuple[Path, ...]:
    """Returns the file of a database; nothing of a server's."""
    return (Path(address.database),) if address.get_backend_name() == "sqlite" and address.database else ()


@retry_operations(is_transient, ERRORS, _full)
class Database(RDBStorage):
    """Optuna's storage, retried while a server restarts; every operation may raise `DiskFullError`."""

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """Sets a trial's state as Optuna does, with two cares.

        A trial that waits to be resumed had its last heartbeat long ago: it gets one before it runs, or another process
        could end it in the moment between. And an end whose first attempt took effect, though the answer was lost, is
        no error. A claim (to running) whose answer was lost is given up, as nobody can tell whose it is: that trial
        gets no heartbeat any more.
        """
        if state == TrialState.RUNNING:
            self.record_heartbeat(trial_id)
        try:
            return super().set_trial_state_values(trial_id, state, values)
        except UpdateFinishedTrialError:
            if not is_retry():
                raise
            trial = self.get_trial(trial_id)
            if trial.state != state or (values is not None and trial.values != list(values)):
                raise
            return True


def open_database(url: StoreUrl, on_stale: OnStale | None) -> Database:
    """Opens a database, and makes its tables where they are missing.

    SQLite runs with a write-ahead log, so that readers and the writer do not wait for each other, and every
    transaction takes the write lock at its start: Optuna reads and then writes, and two workers would otherwise draw
    the same waiting trial.

    Args:
        url: Where it is.
        on_stale: Is called with a study and a trial that Optuna has ended because its heartbeat had expired.

    Raises:
        StoreUrlError: It is no address of a database, or not of one that can be shared.
        DiskFullError: There is no space for it.
    """
    address = parsed(url)

    def opened() -> Database:
        with schema_lock(url):
            return _sqlite(address, on_stale) if address.get_backend_name() == "sqlite" else _server(address, on_stale)

    try:
        return call_with_retry(opened, ERRORS, OPENING_SECONDS, is_transient, WHAT)
    except (*ERRORS, OSError) as error:
        if (full := disk_full(error, *_places(address))) is None:
            raise
        raise full from error


def _database(url: sqlalchemy.URL, on_stale: OnStale | None, engine_kwargs: dict[str, Any]) -> Database:
    settings = heartbeat_settings()
    return Database(
        url.render_as_string(hide_password=False),
        engine_kwargs=engine_kwargs,
        heartbeat_interval=settings.interval,
        grace_period=settings.grace_period,
        heartbeat_stale_trial_callback=on_stale,
    )


def _server(url: sqlalchemy.URL, on_stale: OnStale | None) -> Database:
    arguments = {
        name: value for name, value in _ARGUMENTS.get(url.get_driver_name(), {}).items() if name not in url.query
    }
    return _database(url, on_stale, {"pool_pre_ping": True, "connect_args": arguments})


def _sqlite(url: sqlalchemy.URL, on_stale: OnStale | None) -> Database:
    assert url.database
    with closing(sqlite3.connect(url.database)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    storage = _database(url, on_stale, {"connect_args": {"timeout": LOCK_TIMEOUT_SECONDS}})
    sqlalchemy.event.listen(storage.engine, "connect", _configure)
    sqlalchemy.event.listen(storage.engine, "begin", _begin)
    storage.engine.dispose()  # connections made so far are not configured
    return storage


def _configure(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the driver would begin transactions of its own, and too late
    # With a write-ahead log NORMAL survives a killed process; only a power cut can lose the last commits.
    connection.execute("PRAGMA synchronous=NORMAL")


def _begin(connection: sqlalchemy.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
