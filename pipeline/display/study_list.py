"""The studies of a storage: what `dnntune studies` prints."""

from typing import TYPE_CHECKING

from pipeline.core.workspace import Workspace
from pipeline.storage.open import open_existing, quiet_optuna, study_names
from pipeline.study.studies import metrics_of
from pipeline.study.summary import best_of
from pipeline.study.trials import count_outcomes

if TYPE_CHECKING:
    from rich.table import Table


def study_list(workspace: Workspace) -> "Table":
    """Returns the studies with their trials by outcome and their best value, as a table for the terminal."""
    import optuna
    from rich.table import Table

    quiet_optuna()
    storage = open_existing(workspace)
    table = Table("study", "metrics", "complete", "pruned", "diverged", "failed", "best", "trial")
    for name in study_names(storage):
        study = optuna.load_study(study_name=name, storage=storage)
        counts = count_outcomes(study.get_trials(deepcopy=False))
        best = best_of(study)
        numbers = [str(counts[outcome]) for outcome in ("complete", "pruned", "diverged", "failed")]
        found = ["", ""] if best is None else [f"{best.value:.4f}", str(best.number)]
        table.add_row(name, ", ".join(metrics_of(study)), *numbers, *found)
    return table
