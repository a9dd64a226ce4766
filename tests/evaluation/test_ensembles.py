import math

import pytest
import torch

from pipeline.evaluation.ensembles import averaged, greedy
from pipeline.training.metrics import metric_of


def logs(*rows: list[float]) -> torch.Tensor:
    return torch.tensor(rows).log()


LABELS = torch.tensor([0, 0, 1, 1])
# Right about the first two images, about the last two, nearly always, and never sure.
LEFT = logs([0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4])
RIGHT = logs([0.4, 0.6], [0.4, 0.6], [0.1, 0.9], [0.1, 0.9])
GOOD = logs([0.8, 0.2], [0.7, 0.3], [0.2, 0.8], [0.45, 0.55])
BLIND = logs([0.5, 0.5], [0.5, 0.5], [0.5, 0.5], [0.5, 0.5])


def test_probabilities_are_averaged_and_not_their_logarithms() -> None:
    mean = averaged([logs([0.9, 0.1]), logs([0.5, 0.5])])
    assert mean.exp()[0].tolist() == pytest.approx([0.7, 0.3])


def test_a_model_averaged_with_itself_is_itself() -> None:
    assert torch.allclose(averaged([GOOD, GOOD, GOOD]), GOOD)


def test_certainty_survives_averaging() -> None:
    sure = torch.tensor([[0.0, -math.inf]])
    assert averaged([sure, sure]).tolist() == [[0.0, -math.inf]]


def test_the_selection_begins_with_the_best_and_takes_what_helps() -> None:
    picks = greedy({"blind": BLIND, "left": LEFT, "right": RIGHT, "good": GOOD}, LABELS)
    assert picks[0] == "good"
    assert "blind" not in picks


def test_models_that_complement_each_other_beat_the_best_one() -> None:
    candidates = {"left": LEFT, "right": RIGHT}
    picks = greedy(candidates, LABELS)

    def likelihood(names: list[str]) -> float:
        return float(averaged([candidates[name] for name in names]).gather(1, LABELS[:, None]).mean())

    assert set(picks) == {"left", "right"}
    assert likelihood(picks) > max(likelihood(["left"]), likelihood(["right"]))


def test_a_model_that_nothing_improves_stays_alone() -> None:
    perfect = logs([1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0])
    assert greedy({"blind": BLIND, "perfect": perfect}, LABELS) == ["perfect"]


def test_a_model_that_excludes_the_right_class_does_not_break_the_selection() -> None:
    wrong = logs([0.0, 1.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0])
    assert greedy({"wrong": wrong, "good": GOOD}, LABELS)[0] == "good"


def test_another_score_selects_other_models() -> None:
    """LEFT has all of class 0, and RIGHT all of class 1."""
    candidates = {"left": LEFT, "right": RIGHT}
    zero, one = (metric_of(f"valid_recall:{name}", ("zero", "one")) for name in ("zero", "one"))
    assert greedy(candidates, LABELS, zero) == ["left"]
    assert greedy(candidates, LABELS, one) == ["right"]
