from collections.abc import Iterator
from typing import Literal

import pytest
from pydantic import PositiveInt, ValidationError

from pipeline.config import kinds
from pipeline.config.data import Digits
from pipeline.config.kinds import KindBlock, kind_name, register, unregister
from pipeline.config.model import ModelBlock, ModelConfig
from pipeline.config.schema import kinds_of, paths_ending_in
from pipeline.config.training import OptimizerBlock, Sgd
from pipeline.config.trial import TrialConfig
from pipeline.core.errors import PluginError

ROWS = [row for group in kinds.groups() for row in kinds.kinds(group).values()]
DATA = {"kind": "digits"}


class Tiny(ModelBlock):
    """A network of a test."""

    kind: Literal["tiny"] = "tiny"
    filters: PositiveInt = 7
    """Filters."""


@pytest.fixture
def tiny() -> Iterator[None]:
    register(Tiny, lambda block, shape, outputs: (block.filters, shape, outputs), "a test")
    yield
    unregister("a test")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.block.group}-{kind_name(row.block)}")
def test_every_row_can_be_built_and_is_described(row: kinds.Kind) -> None:
    assert callable(row.builder())
    assert row.description or set(row.block.model_fields) <= set(row.block.__base__.model_fields)


@pytest.mark.usefixtures("tiny")
def test_a_kind_that_is_registered_later_is_a_kind_as_any() -> None:
    config = TrialConfig.model_validate({"data": DATA, "model": {"kind": "tiny", "filters": 3}})
    assert config.model == Tiny(filters=3)
    assert config.to_dict()["model"] == {"kind": "tiny", "filters": 3}
    assert TrialConfig.model_validate(config.to_dict()) == config
    assert kinds_of(ModelConfig)["tiny"] is Tiny
    assert paths_ending_in("filters", TrialConfig) == ["model.filters"]
    assert kinds.build(config.model, (1, 8, 8), 10) == (3, (1, 8, 8), 10)


def test_it_is_unknown_when_it_is_removed() -> None:
    with pytest.raises(ValidationError, match=r"a kind: mlp, backbone.*; got 'tiny'"):
        TrialConfig.model_validate({"data": DATA, "model": {"kind": "tiny"}})
    assert "tiny" not in kinds_of(ModelConfig)
    assert paths_ending_in("filters", TrialConfig) == []


@pytest.mark.usefixtures("tiny")
def test_what_is_wrong_in_a_block_is_found_at_its_path() -> None:
    with pytest.raises(ValidationError) as error:
        TrialConfig.model_validate({"data": DATA, "model": {"kind": "tiny", "filters": 0}, "optimizer": {"lr": 1.0}})
    assert [detail["loc"] for detail in error.value.errors()] == [("model", "filters"), ("optimizer",)]


def test_a_block_of_another_group_does_not_fit() -> None:
    with pytest.raises(ValidationError, match="got 'sgd'"):
        TrialConfig(data=Digits(), model=Sgd())  # type: ignore[arg-type]


@pytest.mark.usefixtures("tiny")
def test_a_kind_is_registered_once() -> None:
    with pytest.raises(PluginError, match="model has a kind tiny already \\(a test\\)"):
        register(Tiny, lambda *_: None)
    with pytest.raises(PluginError, match="optimizer has a kind sgd already \\(built-in\\)"):
        register(Sgd, lambda *_: None, "mine.py")


class Nameless(OptimizerBlock):
    pass


class TwoNames(OptimizerBlock):
    kind: Literal["one", "two"] = "one"


class NoDefault(OptimizerBlock):
    kind: Literal["one"]


@pytest.mark.parametrize("block", [Nameless, TwoNames, NoDefault])
def test_a_block_has_one_fixed_kind(block: type[KindBlock]) -> None:
    with pytest.raises(PluginError, match=f"{block.__name__}.kind must be one fixed word"):
        register(block, lambda *_: None)
