"""The best trials of a study, and what differs between them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.distributions import word
from pipeline.records import TrialResult
from pipeline.space import flatten, without_kinds
from pipeline.study.trials import CONFIG, best_trials, result_of

if TYPE_CHECKING:
    import optuna
    from rich.table import Table


@dataclass(frozen=True)
class Entry:
    """A trial on the leaderboard; ``params`` are the drawn parameters, ``config`` all settings, as plain values."""

    number: int
    value: float
    result: TrialResult
    params: dict[str, Any]
    config: dict[str, Any]


def leaderboard(study: "optuna.Study", top: int) -> list[Entry]:
    """Returns the best complete trials, see `pipeline.study.trials.best_trials`."""
    entries = []
    for trial in best_trials(study)[:top]:
        result = result_of(trial)
        assert result is not None
        entries.append(Entry(trial.number, trial.values[0], result, trial.params, trial.user_attrs[CONFIG]))
    return entries


def differences(entries: Sequence[Entry]) -> list[dict[str, str]]:
    """Returns, for each entry, its searched settings that are not the same in all: words by block (``model``, ...)."""
    searched = {without_kinds(name, entry.params.get) for entry in entries for name in entry.params}
    flats = [{path: value for path, value in flatten(entry.config).items() if path in searched} for entry in entries]
    paths = list(dict.fromkeys(path for flat in flats for path in flat))
    differing = [path for path in paths if len({json.dumps(flat.get(path, "")) for flat in flats}) > 1]
    blocks = list(dict.fromkeys(path.split(".")[0] for path in differing))
    return [
        {block: ", ".join(_words(flat, [p for p in differing if p.split(".")[0] == block])) for block in blocks}
        for flat in flats
    ]


def _words(flat: dict[str, Any], paths: Sequence[str]) -> list[str]:
    words = []
    for path in paths:
        names, value = path.split(".")[1:], flat.get(path)
        if value is None or (names[-1:] == ["kind"] and value in names):
            continue  # does not apply, or the block's name says it already
        label = [] if names == ["activation"] else [name for name in names if name != "kind"]
        words.append(" ".join([*label, word(value)]))
    return words


def table(study: str, metric: str, entries: Sequence[Entry]) -> "Table":
    """Returns the leaderboard as a table for the terminal."""
    from rich.table import Table

    cells = differences(entries)
    blocks = list(cells[0]) if cells else []
    board = Table(title=f"{study}: the best {len(entries)} trials, and what differs", title_justify="left")
    for name in ("trial", metric, "epoch", "parameters", "seconds"):
        board.add_column(name, justify="right", no_wrap=True)
    for block in blocks:
        board.add_column(block)
    for entry, cell in zip(entries, cells, strict=True):
        result = entry.result
        figures = [str(entry.number), f"{entry.value:.4f}", f"{result.best_epoch} of {result.epochs}"]
        figures += [f"{result.num_parameters:,}", f"{result.seconds:.1f}"]
        board.add_row(*figures, *(cell[block] for block in blocks))
    return board
