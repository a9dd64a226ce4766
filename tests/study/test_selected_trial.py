import dataclasses
import io
from collections.abc import Sequence

import pytest
from rich.console import Console

from pipeline.core.errors import StudyError
from pipeline.display.tables import leaderboard_table
from pipeline.records.final import Finalist
from pipeline.study.leaderboard import format_metric, leaderboard
from pipeline.study.pareto_front import pareto_front, preferred_trial
from pipeline.study.selected_trial import SelectedTrial, select_trial
from pipeline.study.summary import Chosen, best_of, set_chosen
from pipeline.study.trials import best_trials
from tests.finalize.finals import FINAL
from tests.made_studies import made

POINTS = [(0.9, 2.0, 4000.0), (0.92, 3.0, 5000.0), (0.91, 1.5, 8000.0), (0.8, 1.0, 9000.0)]
METRICS = ("valid_accuracy", "latency_ms", "num_parameters")


def chosen(within: float | None, prefer: str | None, metrics: Sequence[str] = METRICS) -> SelectedTrial:
    points = [point[: len(metrics)] for point in POINTS]
    return select_trial(made(points, metrics), within=within, prefer=prefer)


def test_the_best_is_told_with_all_its_metrics() -> None:
    selected = chosen(None, None)
    assert selected.number == 1
    assert selected.reasons == ("study made, trial 1: valid_accuracy 0.9200, latency_ms 3, num_parameters 5,000",)


def test_a_preferred_trial_is_told_with_its_price() -> None:
    selected = chosen(0.015, "latency_ms", METRICS[:2])
    assert selected.number == 2
    assert selected.reasons == (
        "study made, trial 2: valid_accuracy 0.9100, latency_ms 1.5",
        "the best latency_ms within 0.015 of the best valid_accuracy: against trial 1 (valid_accuracy 0.9200, "
        "latency_ms 3) it gives up 0.0100 of valid_accuracy for 50 % less latency_ms",
    )


def test_the_best_may_be_preferred_itself() -> None:
    selected = chosen(0.001, "num_parameters")
    assert selected.number == 1
    assert selected.reasons[1].endswith("is that of the best trial itself: nothing is given up")


def test_an_accuracy_can_be_preferred_to_a_loss() -> None:
    study = made([(0.30, 0.90), (0.31, 0.92)], ("valid_loss", "valid_accuracy"))
    selected = select_trial(study, within=0.05, prefer="valid_accuracy")
    assert selected.number == 1
    assert selected.reasons[1].endswith("it gives up 0.0100 of valid_loss for 0.0200 more valid_accuracy")


@pytest.mark.parametrize(
    ("within", "prefer", "rule"),
    [(0.1, None, "--within needs --prefer"), (None, "latency_ms", "--prefer needs --within: say --within 0.005")],
)
def test_one_without_the_other_is_refused(within: float | None, prefer: str | None, rule: str) -> None:
    with pytest.raises(StudyError, match=rule):
        chosen(within, prefer)


@pytest.mark.parametrize(("within", "prefer"), [(None, None), (0.1, "num_parameters")])
def test_nothing_can_be_chosen_where_nothing_is_complete(within: float | None, prefer: str | None) -> None:
    with pytest.raises(StudyError, match="study made has no complete trial yet"):
        select_trial(made([]), within=within, prefer=prefer)


def printed(metrics: Sequence[str]) -> list[str]:
    study = made([point[: len(metrics)] for point in POINTS], metrics)
    console = Console(file=io.StringIO(), width=150)
    console.print(leaderboard_table("made", metrics, leaderboard(study, 10)))
    assert isinstance(console.file, io.StringIO)
    return [line for line in console.file.getvalue().splitlines() if line.startswith(("┃", "│"))]


def test_a_leaderboard_of_several_metrics_marks_the_front() -> None:
    head, *rows = printed(METRICS[:2])
    assert [word.strip() for word in head.split("┃")[1:6]] == [
        *("trial", "front", "valid_accuracy", "latency_ms", "parameters")
    ]
    assert [row.split("│")[1].strip() for row in rows] == ["1", "2", "0", "3"]
    assert [row.split("│")[2].strip() for row in rows] == ["*", "*", "", "*"]
    assert [cell.strip() for cell in rows[1].split("│")[3:6]] == ["0.9100", "1.5", "10"]


def test_a_leaderboard_of_one_metric_has_no_front() -> None:
    head, row, *_ = printed(METRICS[:1])
    assert "front" not in head
    assert [cell.strip() for cell in row.split("│")[1:4]] == ["1", "0.9200", "10"]


def test_figures_are_written_as_they_are_read() -> None:
    assert format_metric("valid_loss", 0.123456) == "0.1235"
    assert format_metric("latency_ms", 0.0123456) == "0.0123"
    assert format_metric("num_parameters", 1234567.0) == "1,234,567"


def test_of_equals_the_earliest_is_the_best_everywhere() -> None:
    study = made([(0.8,), (0.9,), (0.9,), (0.9,)], METRICS[:1])
    best = best_of(study)
    assert best is not None
    assert (
        select_trial(study).number
        == best.number
        == leaderboard(study, 9)[0].number
        == pareto_front(study)[0].number
        == 1
    )
    assert [trial.number for trial in best_trials(study)] == [1, 2, 3, 0]
    assert preferred_trial(study, within=0.5, prefer="num_parameters").number == 1
    finalists = [Finalist(number, 0.9, {1: mean}, mean, None, {}) for number, mean in ((3, 0.9), (2, 0.8), (1, 0.7))]
    assert dataclasses.replace(FINAL, finalists=tuple(finalists)).study_best.trial == 1


def test_a_trial_that_another_one_beats_is_not_the_best() -> None:
    study = made([(0.9, 5.0), (0.9, 3.0), (0.9, 3.0)], METRICS[:2])
    assert select_trial(study).number == leaderboard(study, 9)[0].number == pareto_front(study)[0].number == 1


def test_a_finalized_study_has_the_configuration_that_was_chosen() -> None:
    study = made([(0.95,), (0.9,)], METRICS[:1])
    set_chosen(study, Chosen(1, "valid_accuracy", {1: 0.91, 2: 0.93}, {"seed": 7}))
    selected = select_trial(study)
    assert (selected.number, selected.config) == (1, {"seed": 7})
    assert selected.reasons == (
        "study made, trial 1, chosen by dnntune finalize: mean valid_accuracy 0.9200 over 2 fresh seeds "
        "(0.9100, 0.9300)",
        "the best single trial is 0 (valid_accuracy 0.9500): dnntune best made --trial 0",
    )
    other = select_trial(study, trial=0)
    assert other.config == {"seed": 0}
    assert other.reasons == ("study made, trial 0: valid_accuracy 0.9500",)
    assert select_trial(study, within=0.5, prefer="num_parameters").number == 0
    with pytest.raises(StudyError, match="has no complete trial 2"):
        select_trial(study, trial=2)  # it was pruned
    with pytest.raises(StudyError, match="--trial excludes --within"):
        select_trial(study, within=0.1, prefer="num_parameters", trial=0)
