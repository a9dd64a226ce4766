from pathlib import Path

import pytest

from tests.dags.real_airflow import PYTHON, Airflow


@pytest.fixture(scope="session")
def new_airflow() -> type[Airflow]:
    """Makes an Airflow."""
    if not PYTHON.exists():
        pytest.skip("needs Airflow in its own environment: make airflow")
    return Airflow


@pytest.fixture
def airflow(new_airflow: type[Airflow], tmp_path: Path) -> Airflow:
    """One without a database: it can read its folder of DAGs."""
    return new_airflow(tmp_path / "airflow")
