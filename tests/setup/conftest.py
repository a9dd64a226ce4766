from tests.training.conftest import _bfloat16_is_there, _one_thread

__all__ = ["_bfloat16_is_there", "_one_thread"]
