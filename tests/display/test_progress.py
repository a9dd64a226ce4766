"""What a person sees while a study runs."""

import io
from dataclasses import replace

from pipeline.config.data import Digits
from pipeline.config.model import BackboneConfig
from pipeline.config.trial import TrialConfig
from pipeline.display.progress import StudyProgress
from pipeline.display.rich_console import PlainConsole
from pipeline.records.classes import ClassCounts
from pipeline.records.events import EpochEnded, Event, Notice, TrialEnded, TrialStarted
from pipeline.records.results import DataSummary, EpochResult, FoldResult, TrialResult

CONFIG = TrialConfig(data=Digits(), epochs=4).to_dict()
DATA = DataSummary("digits", 1000, 200, 2, (1, 8, 8), "cpu", ClassCounts(("0", "1"), (900, 100), (150, 50)))


def epoch(number: int, accuracy: float) -> EpochResult:
    return EpochResult(number, 0.5, 0.8, 0.4, accuracy, 0.01, 1.5, 0.25, 1000.0, 0.1, True)


def watch(*events: Event, terminal: bool, counted: int = 0, maximize: bool = True) -> str:
    console = PlainConsole(file=io.StringIO(), force_terminal=terminal, width=120, _environ={"TERM": "xterm"})
    with StudyProgress("valid_accuracy" if maximize else "valid_loss", console) as progress:
        progress.begin("s", total=5, counted=counted, direction="maximize" if maximize else "minimize", data=DATA)
        for event in events:
            progress.event(event)
            progress.tick()
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def started(number: int) -> TrialStarted:
    return TrialStarted(number, {}, CONFIG, 0.0)


def test_plain_lines_where_there_is_no_terminal() -> None:
    text = watch(
        started(0),
        EpochEnded(0, epoch(1, 0.7)),
        TrialEnded(0, TrialResult("complete", 0.7, seconds=2.0)),
        started(1),
        TrialEnded(1, TrialResult("pruned", 0.6, reason="after epoch 1", seconds=1.0)),
        started(2),
        TrialEnded(2, TrialResult("failed", reason="ValueError: x", seconds=0.5)),
        started(3),
        TrialEnded(3, TrialResult("complete", 0.65, seconds=2.0)),
        terminal=False,
    )
    assert text.splitlines() == [
        "starting the workers and MLflow ...",
        "s: digits, 1,000 images to train on, 200 to validate on, 1 x 8 x 8, 2 classes, on cpu",
        "images to train + validate on, by class: 0 900 + 150, 1 100 + 50",
        "[1/5] t000 relu 3x100 adamw: complete 0.7000 (best so far) (2.0 s)",
        "[2/5] t001 relu 3x100 adamw: pruned 0.6000: after epoch 1 (1.0 s)",
        "[2/5] t002 relu 3x100 adamw: failed: ValueError: x (0.5 s)",
        "[3/5] t003 relu 3x100 adamw: complete 0.6500 (2.0 s)",
    ]


def test_a_smaller_loss_is_better() -> None:
    events = [event for number, loss in ((0, 0.5), (1, 0.4), (2, 0.6)) for event in (
        started(number), TrialEnded(number, TrialResult("complete", loss)))]  # fmt: skip
    lines = watch(*events, terminal=False, maximize=False).splitlines()[3:]
    assert ["(best so far)" in line for line in lines] == [True, True, False]


def test_going_on_says_so() -> None:
    assert "resuming: 3 of 5 trials are done" in watch(terminal=False, counted=3)


def test_a_terminal_shows_what_runs() -> None:
    text = watch(
        started(0),
        TrialEnded(0, TrialResult("complete", 0.7)),
        started(1),
        EpochEnded(1, epoch(3, 0.65)),
        terminal=True,
    )
    assert "1 of 5 trials, 1 complete, best valid_accuracy 0.7000 (trial 0)" in text
    (line,) = {part.strip() for part in text.splitlines() if "epoch 3 of 4" in part}
    assert "t001 relu 3x100 adamw" in line
    assert "valid_accuracy 0.6500" in line
    assert "left" in text


NOTICE = "computing features once for all trials: 1,200 images x 1280 in float32, 5.9 MiB in runs/cache/features"


def test_a_backbone_is_named_and_what_a_worker_has_to_say_is_a_line() -> None:
    config = TrialConfig(data=Digits(), model=BackboneConfig(name="tf_efficientnet_lite0")).to_dict()
    events: list[Event] = [
        TrialStarted(0, {}, config, 0.0),
        Notice(NOTICE),
        TrialEnded(0, TrialResult("complete", 0.7, seconds=2.0, backbone_images=1200, cached_images=4800)),
    ]
    lines = watch(*events, terminal=False).splitlines()[3:]
    assert lines == [NOTICE, "[1/5] t000 frozen efficientnet_lite0 adamw: complete 0.7000 (best so far) (2.0 s)"]
    assert watch(*events, terminal=True).replace("\n", " ").replace("  ", " ").count("computing features once") == 1


def test_a_notice_may_come_before_the_study_begins() -> None:
    console = PlainConsole(file=io.StringIO(), force_terminal=False, width=40)
    with StudyProgress("valid_accuracy", console) as progress:
        progress.event(Notice(NOTICE))
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().splitlines()[1:] == [NOTICE]  # whole, however narrow the terminal


def test_a_trial_with_folds_says_in_which_one_it_is() -> None:
    config = {**CONFIG, "data": {**CONFIG["data"], "folds": 5}}
    fold = FoldResult(0.7, 4, 2, 0.7, 0.4, 0.0, ())
    result = TrialResult("complete", 0.75, seconds=2.0, folds=(fold, replace(fold, value=0.8)))
    told = (TrialStarted(0, {}, config, 0.0), EpochEnded(0, replace(epoch(3, 0.7), fold=2)), TrialEnded(0, result))
    assert "fold 2 of 5, epoch 3 of 4" in watch(*told[:2], terminal=True)
    assert "complete 0.7500 ± 0.0707 (best so far)" in watch(*told, terminal=False)
    assert replace(DATA, folds=5).images_text.endswith("200 to validate on, in each of 5 folds")
