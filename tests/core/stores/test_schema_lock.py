import sys

import optuna
import pytest
import sqlalchemy

from pipeline.core.errors import DnntuneError
from pipeline.core.stores.schema_lock import schema_lock
from pipeline.core.stores.urls import StoreUrl
from pipeline.storage.open import open_storage, quiet_optuna
from pipeline.tracking.store import open_client
from tests.at_once import at_once
from tests.servers import PostgreSQL


def _first(url: str) -> None:
    quiet_optuna()
    optuna.create_study(study_name="s", storage=open_storage(url), load_if_exists=True)


def test_eight_processes_may_be_the_first_on_a_server(postgresql: PostgreSQL) -> None:
    at_once(_first, postgresql.url, number=8)
    assert optuna.load_study(study_name="s", storage=open_storage(postgresql.url)).trials == []


def _first_of_mlflow(url: str) -> None:
    open_client(url)


@pytest.mark.slow
def test_processes_may_be_mlflows_first_on_a_server(postgresql: PostgreSQL) -> None:
    at_once(_first_of_mlflow, postgresql.url, number=4)


def test_one_process_at_a_time_touches_a_server(postgresql: PostgreSQL) -> None:
    engine = sqlalchemy.create_engine(postgresql.url)
    taken = sqlalchemy.text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted")
    with engine.connect() as connection:
        with schema_lock(StoreUrl(postgresql.url)):
            assert connection.execute(taken).scalar() == 1
        assert connection.execute(taken).scalar() == 0
    engine.dispose()


def test_a_missing_driver_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(DnntuneError, match=r"pip install 'dnntune\[postgresql\]'") as caught:
        open_storage("postgresql+psycopg://me:secret@127.0.0.1:1/none")
    assert "secret" not in str(caught.value)
