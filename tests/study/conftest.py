from tests.workers.conftest import config, study

__all__ = ["config", "study"]
