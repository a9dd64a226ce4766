from tests.workers.conftest import config, small_data, study

__all__ = ["config", "small_data", "study"]
