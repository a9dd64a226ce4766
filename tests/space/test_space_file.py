"""Space files: what is read from them, and every mistake with its place, rule, value and remedy."""

import time

import pytest

from pipeline.config.model import Dropout, MlpConfig
from pipeline.config.training import Sgd
from pipeline.core.errors import SpaceError
from pipeline.space.files import SpaceFile, read_space
from pipeline.space.overrides import Override
from pipeline.space.yaml_text import parse

FULL = """
study:
  trials: 7
  baselines:
    - {model.activation: selu, optimizer.kind: sgd, optimizer.sgd.lr: 0.1}
space:
  data: {kind: digits}
  model:
    activation: {choice: [relu, selu]}
    width: {choice: [[32, 16], 64]}
    dropout: {choice: [none, {kind: dropout, rate: {float: [0.1, 0.5]}}]}
  optimizer:
    choice:
      - {kind: sgd, lr: {float: [1e-3, 0.5], log: true}}
      - {kind: adamw, lr: {float: [1e-4, 1e-2], log: true}}
"""


def read(text: str, *settings: str) -> SpaceFile:
    return read_space(parse(text, "f.yaml"), "f", [Override.parse(setting) for setting in settings])


def messages(text: str, *settings: str) -> list[str]:
    with pytest.raises(SpaceError) as caught:
        read(text, *settings)
    return [str(problem) for problem in caught.value.problems]


def space_of(inner: str) -> str:
    return f"space:\n  data: {{kind: digits}}\n  {inner}\n"


def test_parameters_are_named_by_path_and_kind() -> None:
    parameters = {p.name: p for p in read(FULL).space.parameters()}
    assert list(parameters) == [
        "model.activation",
        "model.width",
        "model.dropout.kind",
        "model.dropout.dropout.rate",
        "optimizer.kind",
        "optimizer.sgd.lr",
        "optimizer.adamw.lr",
    ]
    assert parameters["optimizer.sgd.lr"].path == "optimizer.lr"
    assert parameters["optimizer.sgd.lr"].condition == ("optimizer.kind", "sgd")
    assert parameters["model.activation"].condition is None


def test_study_settings_are_read() -> None:
    file = read(FULL)
    assert file.name == "f"
    assert file.study.trials == 7
    assert file.study.baselines == ({"model.activation": "selu", "optimizer.kind": "sgd", "optimizer.sgd.lr": 0.1},)


def test_a_bare_word_stands_for_a_block_with_its_defaults() -> None:
    file = read(space_of("optimizer: sgd"))
    assert next(file.space.boundary_configs([])).optimizer == Sgd()


@pytest.mark.parametrize(
    ("inner", "expected"),
    [
        ("epochs: 0", "f.yaml:3: epochs: must be greater than 0; got 0"),
        ("epochs: '5'", "f.yaml:3: epochs: must be an integer; got '5'"),
        ("hidden_layers: 3", "f.yaml:3: hidden_layers: unknown setting. It stands at model.hidden_layers"),
        ("optimzer: sgd", "f.yaml:3: optimzer: unknown setting. Did you mean optimizer?"),
        ("model: {activation: rleu}", "Did you mean relu"),
        ("model: {width: {int: [100, 10]}}", "low must not be above high; got [100, 10]. Swap them"),
        ("optimizer: {kind: sgd, lr: {float: [0, 1], log: true}}", "a log range must lie above 0; got low 0"),
        ("optimizer: {kind: sgd, lr: {float: [0.0, 1]}}", "optimizer.lr: must be greater than 0; got 0.0"),
        ("optimizer: {kind: sgd, momentum: {float: [0, 1]}}", "optimizer.momentum: must be less than 1; got 1.0"),
        ("optimizer: {kind: sgd, lr: {float: [1e-3, .inf]}}", "two finite numbers"),
        ("epochs: {int: [1, 2.5]}", "int needs [low, high], two whole numbers"),
        ("epochs: {int: 5}", "int needs [low, high]"),
        ("epochs: {int: [1, 10], step: 4}", "step must lead from 1 to 10; got 4"),
        ("epochs: {int: [1, 10], step: 3, log: true}", "step and log exclude each other"),
        ("epochs: {int: [1, 10], stepp: 3}", "Did you mean step?"),
        ("epochs: {between: [1, 10]}", "must be a value, {int: [low, high]}"),
        ("batch_size: {choice: [64, 64]}", "a choice may have each value once; got 64 again"),
        ("batch_size: {choice: []}", "choice needs a list with at least one value"),
        ("batch_size: {choice: [64, big]}", "batch_size: must be an integer; got 'big'"),
        ("optimizer: {lr: 0.1}", "optimizer: a block needs a kind: one of sgd, rmsprop, adam, adamw, nadam"),
        ("optimizer: {kind: adan}", "optimizer.kind: must be one of sgd, rmsprop, adam, adamw, nadam; got 'adan'"),
        ("optimizer: {choice: [{lr: 0.1}]}", "each block of a choice needs a kind"),
        ("optimizer: {choice: [sgd, {kind: sgd}]}", "a choice may have each kind once; got sgd again"),
        ("optimizer: 3", "must be a block with a kind"),
        ("early_stopping: off", "early_stopping: must be a mapping of settings; got 'off'"),
        ("data2: {}", "data2: unknown setting. Did you mean data?"),
        # settings that cannot work together
        (
            "{schedule: {kind: performance, patience: 5}, early_stopping: {patience: 5}}",
            "early_stopping.patience: must be larger than schedule.patience",
        ),
        (
            "model: {activation: relu, dropout: {kind: dropout, variant: alpha}}",
            "model.dropout.variant: alpha dropout keeps SELU's mean and variance",
        ),
        ("optimizer: {kind: sgd, momentum: 0.0, nesterov: true}", "Nesterov's gradient needs momentum above 0"),
        ("batch_size: 1", "batch normalization needs at least 2 images in a batch; got 1"),
        ("model: {hidden_layers: 2, width: [10, 20, 30]}", "got 3 numbers for 2 layers"),
        ("schedule: {kind: piecewise, boundaries: [5], factors: [0.1, 0.01]}", "one factor for each boundary"),
        ("schedule: {kind: piecewise, boundaries: [5, 3], factors: [0.1, 0.01]}", "boundaries ascend"),
        ("schedule: {kind: cosine, warmup_epochs: 20.0}", "the warm-up must be shorter than the training of 20 epochs"),
        # settings without any effect
        ("model: {elu_alpha: 2.0}", "model.elu_alpha: has no effect here: set model.activation: elu"),
        ("model: {batch_norm: none, batch_norm_alpha: 0.5}", "model.batch_norm_alpha: has no effect here"),
    ],
)
def test_mistakes(inner: str, expected: str) -> None:
    text = space_of(inner) if not inner.startswith("{s") else f"space: {{data: {{kind: digits}}, {inner[1:]}\n"
    found = messages(text)
    assert any(expected in message for message in found), found


def test_a_rule_is_proven_for_every_draw_and_not_for_a_sample() -> None:
    # one patience of a thousand breaks the rule
    inner = "schedule: {kind: performance, patience: {int: [1, 1000]}}\n  early_stopping: {patience: 1000}"
    (message,) = messages(space_of(inner))
    assert "the space can draw a configuration that breaks a rule" in message
    assert "got 1000 with schedule.patience 1000" in message


def test_a_rule_is_not_held_against_combinations_that_cannot_be_drawn() -> None:
    inner = "schedule: {choice: [constant, {kind: performance, patience: 2}]}\n  early_stopping: {patience: 3}"
    assert read(space_of(inner)).space.num_configurations() == 2


def test_all_mistakes_are_reported_at_once() -> None:
    text = """
study: {trials: 0, sampler: tpee, metrics: acc}
space:
  data: {kind: digitz}
  model: {widht: 3}
  epochs: {int: [5, 1]}
extra: 1
"""
    found = "\n".join(messages(text))
    for place in ("f.yaml:2: study.trials", "study.sampler.kind", "study.metrics", "f.yaml:4: data.kind"):
        assert place in found
    for place in ("f.yaml:5: model.widht", "f.yaml:6: epochs", "f.yaml:7: extra"):
        assert place in found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "must have a block named space; got None"),
        ("- 1", "must have a block named space"),
        ("study: {}", "space: is missing"),
        ("space: {}", "data: is missing: a space needs data"),
        (
            "model: {}\nspace: {data: {kind: digits}}",
            "model: unknown: a file has study: and space:. It belongs under space:",
        ),
        ("space: {data: {}}", "data: a block needs a kind: one of fashion_mnist"),
        ("space: {data: {kind: arrays}}", "data.path: is missing: a space needs data.path"),
        (
            "space: {data: {kind: digits, path: x}}",
            "data.path: unknown setting of this kind. It belongs to kind: image_folder",
        ),
        ("study: {trials: {int: [1, 2]}}\nspace: {data: {kind: digits}}", "study.trials: cannot be searched"),
    ],
)
def test_mistakes_of_the_whole_file(text: str, expected: str) -> None:
    found = messages(text)
    assert any(expected in message for message in found), found


@pytest.mark.parametrize(
    ("baseline", "expected"),
    [
        ("{model.activation: tanh}", "study.baselines.model.activation: a baseline lies in the space (relu | selu)"),
        ("{optimizer.kind: sgd, optimizer.sgd.lr: 0.9}", "lies in the space (float 0.001 to 0.5, log); got 0.9"),
        ("{optimizer.sgd.lr: 0.1}", "exists only with optimizer.kind = sgd: the baseline must say so"),
        ("{optimizer.kind: adamw, optimizer.sgd.lr: 0.1}", "exists only with optimizer.kind = sgd"),
        ("{model.activaton: relu}", "Did you mean model.activation?"),
    ],
)
def test_a_baseline_lies_in_the_space(baseline: str, expected: str) -> None:
    text = FULL.replace("{model.activation: selu, optimizer.kind: sgd, optimizer.sgd.lr: 0.1}", baseline)
    (message,) = messages(text)
    assert expected in message


@pytest.mark.parametrize(
    ("setting", "left"),
    [
        ("optimizer.kind=sgd", "optimizer.lr"),
        ("optimizer.sgd.lr={float: [0.1, 0.2]}", "optimizer.sgd.lr"),
        ("optimizer={kind: rmsprop, alpha: {float: [0.5, 0.9]}}", "optimizer.alpha"),
    ],
)
def test_set_reaches_into_choices(setting: str, left: str) -> None:
    names = [p.name for p in read(FULL, setting).space.parameters()]
    assert left in names


def test_set_fixes_a_leaf_and_leaves_out_the_baselines_it_rules_out() -> None:
    file = read(FULL, "model.activation=relu", "epochs={int: [3, 9]}", "study.trials=3", "clip.kind=norm")
    names = [p.name for p in file.space.parameters()]
    assert "model.activation" not in names
    assert "epochs" in names
    assert file.study.trials == 3
    assert file.study.baselines == ()
    assert "baseline 1 is left out: --set has ruled out" in file.notices[0]


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("epochs", "--set epochs: must be path=value"),
        ("epochs=0", "--set epochs=0: epochs: must be greater than 0; got 0"),
        ("epoch=3", "--set epoch=3: epoch: unknown setting. Did you mean epochs?"),
        ("optimizer.lr=0.1", "it is a choice here: set .kind, or name the kind before .lr"),
        ("study.trials=[", "--set study.trials=[: is not YAML"),
    ],
)
def test_mistakes_on_the_command_line(setting: str, expected: str) -> None:
    (message,) = messages(FULL, setting)
    assert expected in message


def test_a_verdict_needs_measurements() -> None:
    text = "study: {gradient_flow_steps: null, pruner: {kind: none, by_verdict: true}}\nspace: {data: {kind: digits}}"
    with pytest.raises(SpaceError, match="a verdict needs measurements, and gradient_flow_steps is null") as caught:
        read(text)
    assert [problem.path for problem in caught.value.problems] == ["study"]


def test_more_dropout_than_layers_means_all_of_them() -> None:
    inner = "model: {hidden_layers: 2, dropout: {kind: dropout, last_layers: 3}}"
    config = next(read(space_of(inner)).space.boundary_configs([]))
    assert isinstance(config.model, MlpConfig)
    assert isinstance(config.model.dropout, Dropout)
    assert config.model.dropout.last_layers == 3


def test_a_long_choice_is_read_in_one_pass() -> None:
    """16,000 values took 24 s: each was compared with all before it."""
    values = ", ".join(map(str, range(2, 16_002)))
    began = time.process_time()
    (parameter,) = read_space(parse(space_of(f"batch_size: {{choice: [{values}]}}"), "f.yaml"), "f").space.parameters()
    assert parameter.distribution.num_values() == 16_000
    assert time.process_time() - began < 6  # most of it is YAML's; the checks alone took longer


def test_a_value_twice_in_a_choice_is_told_by_its_type() -> None:
    assert "a choice may have each value once; got 4 again" in messages(space_of("batch_size: {choice: [4, 8, 4]}"))[0]
    space = read(space_of("model: {width: {choice: [8, [8], [8, 8]]}}")).space
    assert space.num_configurations() == 3


@pytest.mark.parametrize("step", ["1e-300", "5e-324", "1e-9"])
def test_a_step_too_small_to_count_is_refused(step: str) -> None:
    (message,) = messages(space_of(f"loss: {{label_smoothing: {{float: [0.0, 0.5], step: {step}}}}}"))
    assert "a range may have at most 1,000,000 steps" in message


def test_a_step_that_does_not_lead_to_the_end_says_where_it_ends() -> None:
    (message,) = messages(space_of("epochs: {int: [1, 10], step: 4}"))
    assert "step must lead from 1 to 10; got 4. The last one ends at 9" in message


def test_a_rule_is_proven_at_the_ends_of_a_long_choice() -> None:
    numbers = ", ".join(map(str, range(1, 3_001)))
    inner = (
        f"epochs: {{choice: [{numbers}]}}\n  schedule: {{kind: cosine, warmup_epochs: {{choice: [0.5, 0.7, 2999.5]}}}}"
    )
    (message,) = messages(space_of(inner))
    assert "the warm-up must be shorter than" in message


def test_a_proof_that_would_take_hours_is_refused() -> None:
    boundaries = ", ".join(f"[{n}.0, {n + 1}.0]" for n in range(1, 101))
    inner = (
        f"schedule: {{kind: piecewise, boundaries: {{choice: [{boundaries}]}}, factors: {{choice: [{boundaries}]}}}}"
    )
    (message,) = messages(space_of(inner))
    assert "schedule.boundaries has 100, schedule.factors has 100. Shorten these choices" in message


def test_the_split_is_one_for_all_trials() -> None:
    (message,) = messages("space:\n  data: {kind: digits, split_seed: {int: [0, 9]}}\n")
    assert message.startswith("f.yaml:2: data.split_seed: the validation images must be the same in all trials")
    assert message.endswith("Give it one value")


def test_a_grid_that_nobody_could_run_is_refused_without_running_through_it() -> None:
    searched = "loss: {label_smoothing: {float: [0.1, 0.9]}}, ema_decay: {float: [0.1, 0.9]}"
    inner = f"{searched}, epochs: {{int: [1, 1000000]}}, model: {{width: {{int: [1, 1000000]}}}}"
    text = f"study:\n  sampler: {{kind: grid, points: 5000}}\nspace: {{data: {{kind: digits}}, {inner}}}"
    (message,) = messages(text)
    assert message.startswith("f.yaml:2: study.sampler: a grid may have 5,000 combinations; this one has 625,000,000,0")
    assert "loss.label_smoothing has 5,000" in message
    assert message.endswith("or take another sampler: tpe, random or qmc")
    assert messages(text.replace("5000", "10000000000")) == [
        "f.yaml:2: study.sampler.points: must be less than or equal to 5000; got 10000000000"
    ]
    assert read(text, "study.sampler.points=8").space.grid_limit(8) is None  # 8 to the power of 4
    assert len(list(read(text, "study.sampler.points=3").space.grid(3))) == 81


def test_a_grid_counts_what_hangs_on_a_choice_where_it_applies() -> None:
    optimizers = "{kind: sgd, momentum: {float: [0.0, 0.9]}}, {kind: adamw, lr: {float: [0.1, 0.2]}}"
    space = read(f"space: {{data: {{kind: digits}}, optimizer: {{choice: [{optimizers}]}}}}").space
    assert len(list(space.grid(3))) == 6
    assert len(list(space.grid(2_500))) == 5_000
    assert space.grid_limit(2_500) is None
    assert "this one has 5,002 (" in str(space.grid_limit(2_501))
