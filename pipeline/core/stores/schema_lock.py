"""One process at a time makes the tables of a database: several at once fail, or leave it broken."""

from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock

from pipeline.core.errors import DnntuneError
from pipeline.core.stores.store_urls import parsed, sqlite_file
from pipeline.core.stores.urls import StoreUrl

# From a server's kind to what holds a lock until the connection is closed, and to the driver that dnntune installs.
# The key is arbitrary; PostgreSQL's lock is a transaction's, which a pooler in between passes on like any other.
_SERVERS = {
    "postgresql": ("SELECT pg_advisory_xact_lock(683301119)", "postgresql+psycopg"),
    "mysql": ("SELECT GET_LOCK('dnntune', 600)", "mysql+pymysql"),
    "mariadb": ("SELECT GET_LOCK('dnntune', 600)", "mysql+pymysql"),
}


@contextmanager
def schema_lock(url: StoreUrl) -> Iterator[None]:
    """Holds a lock while a database is opened: beside a SQLite file, whose folder it makes, or in a database server.

    Does nothing for other addresses, such as that of a tracking server.

    Args:
        url: A SQLAlchemy URL.

    Raises:
        DnntuneError: It is no address of a database, or the database's driver is not installed.
        sqlalchemy.exc.SQLAlchemyError: The server cannot be reached.
    """
    kind = url.partition(":")[0].partition("+")[0]
    if kind in _SERVERS:
        parsed(url)
        with _locked(url, *_SERVERS[kind]):
            yield
        return
    file = sqlite_file(url)
    if file is None:
        yield
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{file}.lock"):
        yield


@contextmanager
def _locked(url: StoreUrl, lock: str, driver: str) -> Iterator[None]:
    import sqlalchemy

    try:
        engine = sqlalchemy.create_engine(url.reveal(), poolclass=sqlalchemy.NullPool)
    except ImportError as error:
        extra = "mysql" if driver.startswith("mysql") else "postgresql"
        raise DnntuneError(
            f"{url} needs a driver that is not installed ({error.name}): pip install 'dnntune[{extra}]', and begin "
            f"the address with {driver}://"
        ) from None
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text(lock))
        yield
