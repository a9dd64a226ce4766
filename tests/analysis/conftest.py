from tests.training.conftest import configure, small_data

__all__ = ["configure", "small_data"]
