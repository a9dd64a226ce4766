"""The weights of a study's best trials, kept for ensembles and exports."""

from dataclasses import dataclass
from pathlib import Path

import optuna
from torch import nn

from pipeline.core.filesystem.files import write_whole
from pipeline.core.filesystem.folders import make_folder
from pipeline.models.tensors import tensor_bytes
from pipeline.study.trials import best_trials, frozen_trial


@dataclass(frozen=True)
class SavedModels:
    """A folder with a file of tensors for each of a study's best trials, and for others that are about to end.

    Attributes:
        folder: The folder.
        max_models: How many of the best are kept.
    """

    folder: Path
    max_models: int

    def file(self, number: int) -> Path:
        """Returns where a trial's weights are, if they are kept."""
        return self.folder / f"trial-{number:04d}.safetensors"

    def save(self, study: optuna.Study, number: int, value: float, model: nn.Module) -> None:
        """Writes a trial's weights if it is among the best; before its end is recorded, so that none is without.

        Args:
            study: Its study.
            number: Its number.
            value: The study's metric.
            model: The network, with the weights of its best epoch.
        """
        better = best_trials(study)[: self.max_models]
        maximizes = study.directions[0] == optuna.study.StudyDirection.MAXIMIZE
        if len(better) == self.max_models and all(
            (trial.values[0] > value) if maximizes else (trial.values[0] < value) for trial in better
        ):
            return  # an equal one may rank first, by another metric or its number: `remove_others` knows
        make_folder(self.folder)
        write_whole(self.file(number), tensor_bytes(model))

    def remove_others(self, study: optuna.Study) -> None:
        """Removes the weights of trials that have ended and are not, or no longer, among the best."""
        kept = {self.file(trial.number) for trial in best_trials(study)[: self.max_models]}
        for file in set(self.folder.glob("trial-*.safetensors")) - kept:
            if frozen_trial(study, int(file.stem.removeprefix("trial-"))).state.is_finished():
                file.unlink(missing_ok=True)
