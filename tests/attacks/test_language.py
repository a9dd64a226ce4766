"""Overrides, schedules and options that are wrong."""

from pathlib import Path

import pytest

from tests.attacks.harness import Case, answered

SPACE = "space:\n  data: {kind: digits}\n"
OVERRIDES = [
    ("epochs", "must be path=value, such as optimizer.lr=0.01"),
    ("=3", "must be path=value"),
    (".=3", "must be path=value"),
    ("a..b=3", "must be path=value"),
    ("epochs=", "epochs: must be"),
    ("epochs=many", "epochs: must be an integer; got 'many'"),
    ("epochs=[1, 2", "is not YAML"),
    ("epochs=" + "[" * 20_000, "at most 32 levels deep"),
    ("epochs=!!bool maybe", "must be true or false"),
    ("epochs=!!python/name:os.system x", "tags are refused"),
    ("epochs=" + "9" * 5_000, "at most 9,007,199,254,740,992"),
    ("epochs=0", "must be greater than 0; got 0"),
    ("epochs=1.5", "must be an integer; got 1.5"),
    ("epochs=true", "must be an integer; got True"),
    ("epochs=.inf", "epochs: must be"),
    ("ema_decay=.nan", "must be a finite number"),
    ("ema_decay=1e400", "must be a finite number"),
    ("epoch=3", "Did you mean epochs?"),
    ("model.widht=3", "Did you mean width?"),
    ("lr=0.1", "It stands at optimizer.lr"),
    ("a" * 5_000 + "=1", "a path may have at most 200 characters"),
    (".".join("a" * 40) + "=1", "and 32 names"),
    ("study=3", "study: must be a mapping"),
    ("space=3", "must be a mapping of settings"),
    ("data.kind=imagenet", "must be one of fashion_mnist"),
    ("data.split_seed={int: [0, 3]}", "Give it one value"),
    ("optimizer=sgdd", "Did you mean sgd?"),
    ("epochs={int: [9, 1]}", "low must not be above high"),
    ("epochs={int: [1, 9], step: 0}", "step must be a number above 0"),
    ("loss.label_smoothing={float: [0.0, 0.5], step: 1e-300}", "at most 1,000,000 steps"),
    ("epochs={choice: []}", "choice needs a list with at least one value"),
    ("epochs={choice: [3, 3]}", "a choice may have each value once"),
    ("model.width=60000000", "Make model.width or model.hidden_layers smaller"),
    ("study.seed=-1", "study.seed"),
    ("study.seed=4294967296", "study.seed"),
    ("study.trials={int: [1, 2]}", "cannot be searched"),
]


@pytest.mark.parametrize(("override", "said"), OVERRIDES, ids=lambda value: value[:30])
def test_an_override(override: str, said: str, tmp_path: Path) -> None:
    case = Case(override, ("check", "good.yaml", "--device", "cpu", "--set", override), (said,), {"good.yaml": SPACE})
    answered(case, tmp_path)


SCHEDULES = [
    ("space: digits_mlp\ncron: '0 5-3 * * *'\n", "bad.yaml:2: cron"),
    ("space: digits_mlp\ncron: '*/99 * * * *'\n", "must be below 60"),
    ("space: digits_mlp\ncron: '0 0 31 2 *'\n", "must be a time that comes"),
    ("space: digits_mlp\ncron: 5\n", "cron"),
    ("space: digits_mlp\nworkers: 0\n", "workers"),
    ("space: digits_mlp\nworker: 1\n", "Did you mean workers?"),
    ("- 1\n", "a schedule is a mapping"),
    ("", "a schedule is a mapping"),
    ("space: nowhere\n", "no such file"),
    ("space: " + "[" * 20_000, "at most 32 levels deep"),
]


@pytest.mark.parametrize(("text", "said"), SCHEDULES, ids=lambda value: value[:40])
def test_a_schedule(text: str, said: str, tmp_path: Path) -> None:
    answered(Case("schedule", ("schedule-show", "bad.yaml"), (said,), {"bad.yaml": text}), tmp_path)


OPTIONS = [
    (("check", "good.yaml", "--device", "gpu"), "Did you mean cuda?"),
    (("check", "good.yaml", "--seed", "-1"), "--seed"),
    (("check", "good.yaml", "--sample", "-1"), "--sample"),
    (("check", "good.yaml", "--sample", "x"), "--sample"),
    (("check",), "SPACE"),
    (("run", "good.yaml", "--trials", "0"), "--trials 0: study.trials"),
    (("run", "good.yaml", "--timeout", "-1"), "--timeout -1.0: study.timeout"),
    (("run", "good.yaml", "--timeout", "nan"), "study.timeout"),
    (("run", "good.yaml", "--seed", "-1"), "study.seed"),
    (("run", "good.yaml", "--workers", "0"), "--workers"),
    (("chek", "good.yaml"), "No such command"),
]


@pytest.mark.parametrize(("arguments", "said"), OPTIONS, ids=lambda value: "_".join(value)[:40])
def test_an_option(
    arguments: tuple[str, ...],
    said: str,
    tmp_path: Path,
) -> None:
    answered(Case("option", arguments, (said,), {"good.yaml": SPACE}), tmp_path)
