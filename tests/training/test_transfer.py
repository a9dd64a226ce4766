"""Which phases a training goes through, above all the lecture's ladder."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import timm
import torch
from torch import Tensor

from pipeline.config.model import BackboneConfig
from pipeline.config.trial import TrialConfig
from pipeline.data.image_data import ImageData
from pipeline.training import loop
from pipeline.training.evaluation import evaluate
from pipeline.training.start import start
from pipeline.training.transfer import plan

NAME, NUM_STAGES = "mobilenetv3_small_050", 5
LITTLE, AMPLE = 100, 800  # images of four classes, where 200 a class are ample


def _config(transfer: dict[str, Any], *, model: dict[str, Any] | None = None, **settings: Any) -> TrialConfig:
    body = {"kind": "backbone", "name": NAME, "pretrained": False, "image_size": 32, **(model or {})}
    plain = {"data": {"kind": "digits"}, "model": body, "transfer": transfer, "epochs": 40, **settings}
    return TrialConfig.model_validate(plain)


@dataclass
class _Builder:
    """Notes what a plan asks for; its networks have as many stages as are not dropped."""

    config: TrialConfig
    num_images: int = LITTLE
    num_stages: int = NUM_STAGES
    models: list[BackboneConfig] = field(default_factory=list)

    @property
    def data(self) -> Any:
        return SimpleNamespace(train=range(self.num_images), num_classes=4)

    def backbone(self, model: BackboneConfig, **_: bool) -> Any:
        self.models.append(model)
        left = self.num_stages - model.drop_top_stages
        return SimpleNamespace(number=len(self.models), body=SimpleNamespace(feature_info=[{}] * left))

    def top(self, network: Any, top_stages: int | None, **settings: Any) -> Any:
        return SimpleNamespace(network=network.number, stages=top_stages, **settings)


def _climb(builder: _Builder, answers: Sequence[bool]) -> list[Any]:
    """Returns the phases of a plan whose phases improve validation or not; it must not ask for more answers."""
    steps: Any = plan(builder)  # type: ignore[arg-type]
    phases = [next(steps)()]
    for number, answer in enumerate(answers, 1):
        try:
            phases.append(steps.send(answer)())
        except StopIteration:
            assert number == len(answers), "it has ended before"
            return phases
    raise AssertionError(f"it goes on with {phases[-1].name}")


AUTO = {"kind": "auto", "phase_epochs": 3, "lr_factor": 0.2, "layer_decay": 0.5}


@pytest.mark.parametrize(
    ("answers", "little", "ample"),
    [
        ("110", "frozen|unfreeze 1|unfreeze 2", None),
        ("111", "frozen|unfreeze 1|unfreeze 2", None),
        ("010", "frozen|unfreeze 1|unfreeze 2", None),
        ("00", "frozen|unfreeze 1", None),
        ("1000", "frozen|unfreeze 1|drop 1, frozen|drop 1, unfreeze 1", "head of 1, "),
        ("10110", "frozen|unfreeze 1|drop 1, frozen|drop 1, unfreeze 1|drop 1, unfreeze 2", "head of 1, "),
        ("10011", "frozen|unfreeze 1|drop 1, frozen|drop 1, unfreeze 1|drop 1, unfreeze 2", "head of 1, "),
    ],
)
def test_the_ladder_climbs_as_long_as_it_helps(answers: str, little: str, ample: str | None) -> None:
    sent = [answer == "1" for answer in answers]
    for num_images, expected in ((LITTLE, little), (AMPLE, little.replace("drop 1, ", ample or ""))):
        phases = _climb(_Builder(_config(AUTO), num_images), sent)
        assert [phase.name for phase in phases] == expected.split("|")
        assert [phase.stages for phase in phases] == [int(name[-1]) if "un" in name else 0 for name in _names(phases)]
        assert {(phase.epochs, phase.lr_factor, phase.layer_decay) for phase in phases} == {(3, 0.2, 0.5)}
        assert [phase.network for phase in phases] == [1 + ("," in name) for name in _names(phases)]


def _names(phases: list[Any]) -> list[str]:
    return [phase.name for phase in phases]


def test_what_little_and_ample_data_are() -> None:
    for num_images, name in ((799, "drop 1, frozen"), (800, "head of 1, frozen")):
        assert _climb(_Builder(_config(AUTO), num_images), [True, False, False, False])[2].name == name
    few = _config({**AUTO, "little_data": 25})
    assert _climb(_Builder(few, 100), [True, False, False, False])[2].name == "head of 1, frozen"


def test_changes_add_up_and_leave_the_rest() -> None:
    answers = [True, False] * 3 + [False, False]
    builder = _Builder(_config(AUTO, model={"drop_top_stages": 1}))
    _climb(builder, answers)
    first, *later = builder.models
    assert first == builder.config.model
    assert later == [first.model_copy(update={"drop_top_stages": dropped}) for dropped in (2, 3, 4)]
    builder = _Builder(_config(AUTO, model={"head": {"width": [30, 20], "activation": "elu"}}), AMPLE)
    _climb(builder, answers)
    assert [model.head.widths for model in builder.models] == [(30, 20, *[20] * more) for more in range(4)]
    assert {(model.head.hidden_layers - len(model.head.widths), model.head.activation) for model in builder.models} == {
        (0, "elu")
    }
    builder = _Builder(_config(AUTO), AMPLE)
    assert _names(_climb(builder, answers))[-1] == "head of 3, unfreeze 1"
    assert [model.head.widths for model in builder.models] == [(100,) * layers for layers in range(4)]


def test_the_ladder_ends_where_no_stage_is_left_to_drop() -> None:
    phases = _climb(_Builder(_config(AUTO), num_stages=2), [True, False, True, False])
    assert _names(phases)[2:] == ["drop 1, frozen", "drop 1, unfreeze 1"]
    assert _names(_climb(_Builder(_config(AUTO), num_stages=1), [True, True])) == ["frozen", "unfreeze 1"]


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [(4, [3, 1]), (5, [3, 2]), (6, [3, 3]), (7, [3, 3, 1]), (9, [3, 3, 3]), (11, [3, 3, 3, 2])],
)
def test_the_rungs_share_the_epochs(epochs: int, expected: list[int]) -> None:
    answers = [True, False, True, False][: len(expected)]
    phases = _climb(_Builder(_config(AUTO, epochs=epochs)), answers)
    assert [phase.epochs for phase in phases] == expected


@pytest.mark.parametrize(
    ("transfer", "expected"),
    [
        ({"kind": "frozen"}, [("frozen", 0, 40)]),
        (
            {"kind": "unfreeze", "frozen_epochs": 7, "unfreeze_top_stages": 2},
            [("frozen", 0, 7), ("unfreeze 2", 2, 33)],
        ),
        ({"kind": "unfreeze", "frozen_epochs": 0, "unfreeze_top_stages": 1}, [("unfreeze 1", 1, 40)]),
        (
            {"kind": "unfreeze", "frozen_epochs": 1, "unfreeze_top_stages": "all"},
            [("frozen", 0, 1), ("unfreeze all", None, 39)],
        ),
    ],
)
@pytest.mark.parametrize("answer", [False, True])
def test_other_plans_do_not_depend_on_what_helps(transfer: dict[str, Any], expected: Any, answer: bool) -> None:
    phases = _climb(_Builder(_config(transfer)), [answer] * len(expected))
    assert [(phase.name, phase.stages, phase.epochs) for phase in phases] == expected
    assert len({phase.network for phase in phases}) == 1


@pytest.mark.parametrize("num_images", [40, 200])
def test_the_best_network_comes_back_even_if_it_is_not_the_last(
    num_images: int, small_data: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real ladder, of which the second network's head is best; validation is told, as chance would decide it."""
    file = tmp_path / "body.pt"
    torch.manual_seed(0)
    torch.save(timm.create_model(NAME, num_classes=0).state_dict(), file)
    told = iter([5.0, 6.0, 4.0, 6.0, 6.0, 6.0])
    real: list[float] = []
    states: list[dict[str, Tensor]] = []

    def evaluate_as_told(model: Any, *arguments: Any) -> tuple[float, float]:
        real.append(evaluate(model, *arguments)[0])
        states.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
        return next(told), 0.5

    monkeypatch.setattr(loop, "evaluate", evaluate_as_told)
    train, valid = small_data.train, small_data.valid
    data = replace(
        small_data,
        train=replace(train, images=train.images[:num_images], labels=train.labels[:num_images]),
        valid=replace(valid, images=valid.images[:20], labels=valid.labels[:20]),
    )
    config = _config(
        {**AUTO, "phase_epochs": 1, "little_data": 20},
        model={"pretrained": str(file)},
        epochs=20,
        batch_size=40,
        early_stopping={"monitor": "valid_loss"},
    )
    training = start(config, data)
    results = list(training.epochs)
    change = "drop 1, " if num_images == 40 else "head of 1, "
    again = change.replace("1", "2")
    rungs = [f"{words}{what}" for words in ("", change, again) for what in ("frozen", "unfreeze 1")]
    assert [result.phase for result in results] == rungs
    assert [result.is_best for result in results] == [True, False, True, False, False, False]
    model = training.model.state_dict()
    assert model.keys() == states[2].keys() != states[0].keys()
    assert all(torch.equal(tensor, states[2][name]) for name, tensor in model.items())
    assert training.evaluate(data.valid)[0] == real[2]
