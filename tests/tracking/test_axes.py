"""What makes the axes of MLflow's charts: every trial has each of them, in numbers or in words."""

from typing import Any

import pytest

from pipeline.space.files import read_space
from pipeline.space.tree import SearchSpace
from pipeline.space.yaml_text import parse
from pipeline.tracking.axes import Axes, Scale, axes_of
from pipeline.tracking.naming import params_of

SPACE = """
space:
  data: {kind: digits}
  model:
    width: {int: [16, 64], log: true}
    activation: {choice: [relu, selu]}
    dropout:
      choice:
        - {kind: none}
        - {kind: dropout, rate: {float: [0.1, 0.5]}, last_layers: {int: [1, 3]}}
  optimizer:
    choice:
      - {kind: sgd, lr: {float: [1e-2, 0.3], log: true}, momentum: {float: [0.0, 0.9]}}
      - {kind: adamw, lr: {float: [1e-3, 2e-2], log: true}, weight_decay: {float: [1e-4, 0.1], log: true}}
      - {kind: nadam, lr: 1e-3}
  ema_decay: {choice: [null, 0.99]}
"""
KEPT = {"a": 1, "b": {"kind": "x", "lr": 0.1, "m": 1}}


def space(text: str = SPACE) -> SearchSpace:
    return read_space(parse(text, "space.yaml"), "space").space


def draw(**picks: Any) -> dict[str, Any]:
    """A configuration of the space: the first value of everything else."""
    return space().build(lambda p: picks.get(p.name.replace(".", "_"), p.distribution.bounds()[0])).to_dict()


def test_a_setting_that_some_trials_lack_is_a_word_in_all() -> None:
    axes = axes_of(space())
    with_dropout = axes.further_params(draw(model_dropout_kind="dropout", model_dropout_dropout_rate=0.3))
    without = axes.further_params(draw(model_dropout_kind="none", optimizer_kind="adamw"))
    assert with_dropout["model.dropout.rate.level"] == "2 middle"
    assert with_dropout["model.dropout.last_layers.level"] == "= 1"
    assert with_dropout["optimizer.momentum.level"] == "1 low"
    assert without["model.dropout.rate.level"] == "not used"
    assert without["optimizer.momentum.level"] == "not used"
    assert with_dropout.keys() - without.keys() == set()


def test_what_every_trial_has_in_numbers_stays_in_numbers() -> None:
    axes = axes_of(space())
    assert {"model.width", "optimizer.lr"} <= axes.log_scaled
    assert not {"model.width", "optimizer.lr", "model.activation"} & axes.levels.keys()
    params = params_of(draw(model_width=32), axes)
    assert params["model.width"] == "32"
    assert params["model.width.log10"] == "1.505"
    assert "model.width.level" not in params


def test_a_choice_that_may_leave_a_number_unset_has_words() -> None:
    axes = axes_of(space())
    assert axes.further_params(draw(ema_decay=None))["ema_decay.level"] == "not used"
    assert axes.further_params(draw(ema_decay=0.99))["ema_decay.level"] == "= 0.99"


def test_a_logarithm_that_one_kind_has_not_is_a_word() -> None:
    axes = axes_of(space())
    assert "optimizer.weight_decay" in axes.levels
    assert axes.further_params(draw(optimizer_kind="sgd"))["optimizer.weight_decay.level"] == "= 0"
    drawn = draw(optimizer_kind="adamw", optimizer_adamw_weight_decay=0.09)
    assert axes.further_params(drawn)["optimizer.weight_decay.level"] == "3 high"


def test_axes_are_what_differs_and_partial_ones_come_last() -> None:
    axes = axes_of(space())
    configs = [
        draw(optimizer_kind="sgd", optimizer_sgd_lr=0.1, model_dropout_kind="dropout"),
        draw(optimizer_kind="adamw", optimizer_adamw_lr=0.01),
    ]
    searched = [parameter.path for parameter in space().parameters()]
    assert axes.differing(configs, searched) == [
        ("model.dropout.kind", "model.dropout.kind"),
        ("optimizer.kind", "optimizer.kind"),
        ("optimizer.lr", "optimizer.lr.log10"),
        ("model.dropout.rate", "model.dropout.rate.level"),
        ("model.dropout.last_layers", "model.dropout.last_layers.level"),
        ("optimizer.momentum", "optimizer.momentum.level"),
        ("optimizer.weight_decay", "optimizer.weight_decay.level"),
    ]
    assert axes.differing([], searched) == []


def test_the_examples_of_a_space_name_all_that_a_study_will_compare() -> None:
    axes = axes_of(space())
    searched = list(dict.fromkeys(parameter.path for parameter in space().parameters()))
    assert {path for path, _ in axes.differing(axes.examples, searched)} == set(searched)


def test_each_trial_of_a_space_has_every_axis() -> None:
    axes = axes_of(space())
    searched = [parameter.path for parameter in space().parameters()]
    names = [axis for _, axis in axes.differing(axes.examples, searched)]
    for example in axes.examples:
        assert set(names) <= params_of(example, axes).keys()


def test_words_that_hang_on_a_kind_say_where_they_are_not_used() -> None:
    text = """
space:
  data: {kind: digits}
  model:
    choice:
      - {kind: mlp, activation: {choice: [relu, selu]}}
      - {kind: backbone, name: {choice: [resnet18, resnet34]}}
"""
    axes = axes_of(space(text))
    assert {"model.activation", "model.name"} <= axes.optional_categories
    for example in axes.examples:
        params = params_of(example, axes)
        used, unused = ("activation", "name") if example["model"]["kind"] == "mlp" else ("name", "activation")
        assert params[f"model.{unused}"] == "not used"
        assert params[f"model.{used}"] != "not used"
    searched = ["model.activation", "model.name"]
    assert axes.differing(axes.examples, searched) == [(path, path) for path in searched]


def test_where_a_function_draws_only_what_all_trials_have_is_an_axis() -> None:
    axes = axes_of(None)
    configs = [KEPT, {"a": 1, "b": {"kind": "y", "lr": 0.2}}]
    assert axes.differing(configs, ["a", "b.kind", "b.lr", "b.m"]) == [("b.kind", "b.kind"), ("b.lr", "b.lr")]
    assert axes.further_params(KEPT) == {}


@pytest.mark.parametrize(
    ("scale", "value", "level"),
    [
        (Scale(0.1, 0.5, is_log=False), 0.1, "1 low"),
        (Scale(0.1, 0.5, is_log=False), 0.5, "3 high"),
        (Scale(1e-4, 1e-1, is_log=True), 1e-4, "1 low"),
        (Scale(1e-4, 1e-1, is_log=True), 5e-3, "2 middle"),
        (Scale(1e-4, 1e-1, is_log=True), 0.0, "= 0"),
        (Scale(1, 3, is_log=False), 2, "= 2"),
        (Scale(1, 30, is_log=False), 29, "3 high"),
        (Scale(0.5, 0.5, is_log=False), 0.5, "= 0.5"),
    ],
)
def test_a_number_is_in_a_third_of_its_range(scale: Scale, value: float, level: str) -> None:
    assert scale.level(value) == level


def test_parameters_are_short_enough_and_named_by_path() -> None:
    params = params_of({"a": {"b": "x" * 9000, "c": None, "d": 0.0, "e": [1, 2]}}, Axes(log_scaled=frozenset({"a.d"})))
    assert set(params) == {"a.b", "a.d", "a.e"}
    assert len(params["a.b"]) == 6000
    assert params["a.e"] == "[1, 2]"
