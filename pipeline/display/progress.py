"""What a person sees while a study runs: a live display on a terminal, plain lines elsewhere."""

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Self

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from pipeline.core.printing import clean
from pipeline.core.stores.urls import hide
from pipeline.display.rich_console import PlainConsole
from pipeline.records.events import EpochEnded, Event, Notice, TrialClaimed, TrialEnded, TrialExpired, TrialStarted
from pipeline.records.results import COUNTED, DataSummary
from pipeline.study.leaderboard import spread_text
from pipeline.tracking.naming import run_name


@dataclass
class _Running:
    """A trial that runs."""

    name: str
    metric_name: str
    max_epochs: int
    num_folds: int
    epoch: int = 0
    fold: int = 0
    value: float | None = None

    @property
    def epochs_text(self) -> str:
        """Says how far it has come."""
        where = f"epoch {self.epoch} of {self.max_epochs}"
        return where if self.num_folds == 1 else f"fold {max(self.fold, 1)} of {self.num_folds}, {where}"


@dataclass
class _State:
    """What is known of the study."""

    total: int
    counted: int
    maximize: bool
    metric: str
    began: float = field(default_factory=time.monotonic)
    counted_before: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    running: dict[int, _Running] = field(default_factory=dict)
    best: tuple[float, int] | None = None

    def seconds_left(self) -> float | None:
        """Returns an estimate from the trials of this call, or None before the first has ended."""
        done = self.counted - self.counted_before
        if done == 0:
            return None
        return (time.monotonic() - self.began) / done * (self.total - self.counted)


class StudyProgress:
    """Shows a study on standard error.

    Args:
        metric: What is optimized, a study's first metric.
        console: Where to; standard error by default.
    """

    def __init__(self, metric: str, console: PlainConsole | None = None) -> None:
        self.metric = metric
        self.console = console or PlainConsole(stderr=True)
        self.state: _State | None = None
        self.live: Live | None = None
        if self.console.is_terminal:
            self.live = Live("starting the workers and MLflow ...", console=self.console, transient=True)
            self.live.start()
        else:
            self._line("starting the workers and MLflow ...")

    def begin(self, study: str, *, total: int, counted: int, direction: str, data: DataSummary) -> None:
        """The study starts or resumes."""
        self.state = _State(total, counted, direction == "maximize", self.metric, counted_before=counted)
        shape = " x ".join(map(str, data.image_shape))
        self._print(f"{study}: {data.name}, {data.images_text}, {shape}, {data.num_classes} classes, on {data.device}")
        if data.classes.text:
            self._print(data.classes.text)
        if counted:
            self._print(f"resuming: {counted} of {total} trials are done")

    def event(self, event: Event) -> None:
        """Something happened."""
        if isinstance(event, Notice):
            self._print(event.text)
        state = self.state
        if state is None:
            return
        if isinstance(event, TrialClaimed):
            state.counted = max(state.counted, event.counted)  # others may run the study too
        elif isinstance(event, TrialExpired):
            self._print(f"t{event.number:03d} of another process: {event.result.outcome}: {event.result.reason}")
        elif isinstance(event, TrialStarted):
            name = run_name(event.number, event.config, event.params, event.retry)
            num_folds = event.config["data"].get("folds") or 1
            state.running[event.number] = _Running(name, self.metric, int(event.config["epochs"]), num_folds)
        elif isinstance(event, EpochEnded):
            running = state.running[event.number]
            running.epoch, running.value = event.result.epoch, event.result.metric_value(self.metric)
            running.fold = event.result.fold
        elif isinstance(event, TrialEnded):
            self._ended(state, event)

    def tick(self) -> None:
        """A moment passed."""
        if self.live is not None and self.state is not None:
            self.live.update(self._display(self.state))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Gives the terminal back."""
        if self.live is not None:
            self.live.stop()

    def _ended(self, state: _State, event: TrialEnded) -> None:
        running = state.running.pop(event.number, None)
        result = event.result
        state.outcomes[result.outcome] += 1
        state.counted += result.outcome in COUNTED
        value = "" if result.value is None else f" {result.value:.4f}{spread_text(result.value_std)}"
        if result.outcome == "complete" and result.value is not None:
            best = state.best
            if best is None or (result.value > best[0] if state.maximize else result.value < best[0]):
                state.best = (result.value, event.number)
                value += " (best so far)"
        name = running.name if running else f"t{event.number:03d}"
        reason = f": {result.reason}" if result.reason else ""
        if result.outcome == "complete" and result.verdict is not None and result.verdict.label != "healthy":
            reason += f", gradients {result.verdict.label}"
        count = f"[{state.counted:>{len(str(state.total))}}/{state.total}]"
        self._print(f"{count} {name}: {result.outcome}{value}{reason} ({result.seconds:.1f} s)")

    def _print(self, line: str) -> None:
        if self.live is not None:
            self.live.console.print(line)
        else:
            self._line(line)

    def _line(self, line: str) -> None:
        print(clean(hide(line)), file=self.console.file, flush=True)

    def _display(self, state: _State) -> Group:
        left = state.seconds_left()
        parts = [f"{state.counted} of {state.total} trials"]
        parts += [f"{count} {outcome}" for outcome, count in sorted(state.outcomes.items())]
        if state.best is not None:
            parts.append(f"best {state.metric} {state.best[0]:.4f} (trial {state.best[1]})")
        parts.append(f"{_clock(time.monotonic() - state.began)} elapsed")
        if left is not None:
            parts.append(f"about {_clock(left)} left")
        rows = Table.grid(padding=(0, 2))
        for running in state.running.values():
            done = max(running.fold - 1, 0) * running.max_epochs + running.epoch
            bar = ProgressBar(total=running.num_folds * running.max_epochs, completed=done, width=20)
            value = "" if running.value is None else f"{running.metric_name} {running.value:.4f}"
            rows.add_row(running.name, bar, running.epochs_text, value)
        whole = Table.grid()
        whole.add_row(ProgressBar(total=state.total, completed=state.counted, width=60))
        return Group(", ".join(parts), whole, rows)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
