import timm
from timm.models import _registry

from pipeline.models.backbones.timm_names import timm_architectures, timm_tags


def test_the_names_in_timms_source_are_those_that_timm_knows() -> None:
    assert timm_architectures() == {*timm.list_models(), *_registry._deprecated_models}


def test_the_tags_in_timms_source_are_those_that_timm_knows() -> None:
    known: dict[str, set[str]] = {}
    for name in _registry._model_pretrained_cfgs:
        architecture, dot, tag = name.partition(".")
        if dot:
            known.setdefault(architecture, set()).add(tag)
    found = timm_tags()
    assert len(known.keys() & found.keys()) > 0.9 * len(known)  # of the others timm computes the tags
    assert {name for name in known.keys() & found.keys() if not known[name] <= found[name]} == set()
