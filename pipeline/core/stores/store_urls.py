"""Addresses of databases: put together and taken apart by SQLAlchemy, which knows what must be escaped in them."""

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.core.errors import StoreUrlError
from pipeline.core.stores.urls import StoreUrl, hide

if TYPE_CHECKING:
    import sqlalchemy

SCHEMES = "sqlite:///FILE, postgresql+psycopg://USER@HOST/NAME, mysql+pymysql://USER@HOST/NAME"


def sqlite_url(file: Path) -> StoreUrl:
    """Returns the address of a SQLite file, whatever characters its path has."""
    import sqlalchemy

    url = sqlalchemy.URL.create("sqlite", database=str(file))
    return StoreUrl(url.render_as_string(hide_password=False))


def mlflow_url(url: StoreUrl) -> StoreUrl:
    """Returns a tracking store's address as MLflow must have it.

    MLflow makes the folder that it reads in ``sqlite:///...``, and takes escapes in there for a part of the name: there
    would be an empty folder beside the right one. Where the driver is named, it leaves that to us.
    """
    address = url.reveal()
    escaped = address.startswith("sqlite:///") and "%" in address
    return StoreUrl(f"sqlite+pysqlite{address.removeprefix('sqlite')}") if escaped else url


def parsed(url: StoreUrl) -> "sqlalchemy.URL":
    """Takes the address of a database apart.

    Raises:
        StoreUrlError: It is none, it is of no known kind, or it is a database in memory.
    """
    import sqlalchemy
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    try:
        address = sqlalchemy.make_url(url.reveal())
        address.get_dialect()
    except NoSuchModuleError:
        kind = url.partition(":")[0]
        raise StoreUrlError(f"{url}: there is no kind of database called {kind}. Give one of {SCHEMES}") from None
    except ArgumentError as error:
        raise StoreUrlError(f"{url} is no address of a database: {hide(str(error))}. Give one of {SCHEMES}") from None
    except ValueError:
        raise StoreUrlError(f"{url}: the port must be a number, as in HOST:5432") from None
    except ImportError:  # a driver; said better by who opens it
        return address
    if address.port is not None and not 0 < address.port < 65536:
        raise StoreUrlError(f"{url}: the port must lie between 1 and 65535; got {address.port}")
    if address.get_backend_name() == "sqlite" and _in_memory(address):
        raise StoreUrlError(
            f"{url} is a database in memory: no other process sees it, and it is gone when this one ends. "
            "Name its file: sqlite:///FILE"
        )
    return address


def sqlite_file(url: StoreUrl) -> Path | None:
    """Returns the file of a SQLite database; None for any other store."""
    if not url.startswith(("sqlite:", "sqlite+")):
        return None
    return Path(parsed(url).database or "")


def _in_memory(address: "sqlalchemy.URL") -> bool:
    # An address of SQLite's own in its place, file:NAME?mode=memory, is not needed: a path is enough.
    return not address.database or address.database.startswith((":memory:", "file:"))
