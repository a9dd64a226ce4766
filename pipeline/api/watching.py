"""Who watches a study that a program runs: the progress display, and the program's own callbacks."""

import contextlib
import warnings
from collections.abc import Callable, Iterator, Sequence

from pipeline.core.printing import print_line
from pipeline.display.progress import StudyProgress
from pipeline.records.events import Event
from pipeline.records.results import DataSummary
from pipeline.study.summary import StudySummary

Callback = Callable[[Event], object]


class Watchers:
    """Tells several what happens; an error of one ends the study, which can be resumed."""

    def __init__(self, progress: StudyProgress | None, callbacks: Sequence[Callback]) -> None:
        self.progress, self.callbacks = progress, callbacks

    def begin(self, study: str, *, total: int, counted: int, direction: str, data: DataSummary) -> None:
        if self.progress is not None:
            self.progress.begin(study, total=total, counted=counted, direction=direction, data=data)

    def event(self, event: Event) -> None:
        if self.progress is not None:
            self.progress.event(event)
        for callback in self.callbacks:
            callback(event)

    def tick(self) -> None:
        if self.progress is not None:
            self.progress.tick()

    def notify(self, line: str) -> None:
        """Says what is being done."""
        if self.progress is not None:
            print_line(line, err=True)


@contextlib.contextmanager
def watched(metric: str, *, progress: bool, callbacks: Sequence[Callback]) -> Iterator[Watchers]:
    """Yields who watches a study that optimizes a metric, while the context lasts."""
    with StudyProgress(metric) if progress else contextlib.nullcontext() as shown:
        yield Watchers(shown, callbacks)


def check_end(summary: StudySummary) -> None:
    """Raises what a program should not pass over, and warns of what it may.

    Raises:
        KeyboardInterrupt: The user has stopped the study; it can be resumed.
    """
    if summary.tracking_error is not None:
        warnings.warn(
            f"{summary.tracking_error}. The study's results are safe; dnntune sync {summary.study} writes the rest",
            stacklevel=3,
        )
    if summary.interrupted:
        raise KeyboardInterrupt
