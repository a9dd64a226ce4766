from tests.training.conftest import _bfloat16_is_there, _one_thread, configure, mixed_up_data, small_data, standstill

__all__ = ["_bfloat16_is_there", "_one_thread", "configure", "mixed_up_data", "small_data", "standstill"]
