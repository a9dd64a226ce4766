import timm
from timm.models import _registry

from pipeline.timm_names import timm_architectures


def test_the_names_in_timms_source_are_those_that_timm_knows() -> None:
    assert timm_architectures() == {*timm.list_models(), *_registry._deprecated_models}
