"""A study in a program's hands: what `dnntune.tune` returns."""

import os
import statistics
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.api.sources import Plugins, use_plugins, workspace_of
from pipeline.api.watching import Callback, check_end, watched
from pipeline.core.compute import Compute
from pipeline.core.errors import StudyError
from pipeline.core.workspace import Workspace
from pipeline.records.final import Final
from pipeline.study.selected_trial import select_trial
from pipeline.study.studies import metrics_of, stored_definition, with_options
from pipeline.study.studies import open_study as optuna_study
from pipeline.study.summary import Best, chosen_of

if TYPE_CHECKING:
    import optuna
    import pandas as pd

    from pipeline.export.writing import Exported


class Study:
    """A study that exists; each call reads its storage anew, so that it is never behind other processes.

    Args:
        name: Its name.
        workspace: Where it is kept.

    Example:
        >>> study = dnntune.open_study("digits_mlp")
        >>> study.best.value, study.best.params
    """

    def __init__(self, name: str, workspace: Workspace) -> None:
        self.name, self.workspace = name, workspace

    def __repr__(self) -> str:
        return f"<Study {self.name} in {self.workspace.root}>"

    @property
    def optuna_study(self) -> "optuna.Study":
        """The same study as Optuna's, to look things up: for `optuna.visualization`, say."""
        return optuna_study(self.workspace, self.name)

    @property
    def metrics(self) -> tuple[str, ...]:
        """What it optimizes, the metric first by which its trials are ranked."""
        return metrics_of(self.optuna_study)

    @property
    def best(self) -> Best:
        """The best trial, or once it is finalized the configuration that was chosen: as `dnntune best` has it.

        Its value is the trial's own, or the mean over fresh seeds; its ``config`` can be given to `dnntune.train`.

        Raises:
            StudyError: No trial is complete.
        """
        study = self.optuna_study
        selected, chosen = select_trial(study), chosen_of(study)
        trial = study.get_trials(deepcopy=False)[selected.number]
        value = trial.values[0] if chosen is None else statistics.fmean(chosen.values.values())
        return Best(selected.number, value, trial.params, selected.config)

    def trials_dataframe(self) -> "pd.DataFrame":
        """Returns all trials, a row each: metrics, figures, times, and parameters as ``params_...``."""
        import pandas as pd

        from pipeline.study.rows import trial_rows

        return pd.DataFrame(trial_rows(self.optuna_study))

    def leaderboard(self, top: int = 10) -> "pd.DataFrame":
        """Returns the best complete trials, the best one first."""
        import pandas as pd

        from pipeline.study.rows import leaderboard_rows

        return pd.DataFrame(leaderboard_rows(self.optuna_study, top))

    def importance(self) -> "pd.DataFrame":
        """Returns which parameters mattered, see `pipeline.analysis.importance.Importance`.

        Raises:
            StudyError: There are too few complete trials.
        """
        import pandas as pd

        from pipeline.analysis.importance import importances

        return pd.DataFrame([asdict(row) for row in importances(self.optuna_study)])

    def resume(
        self,
        *,
        trials: int | None = None,
        timeout: float | None = None,
        workers: int = 1,
        threads: int | None = None,
        device: str = "auto",
        progress: bool = True,
        callbacks: Sequence[Callback] = (),
    ) -> "Study":
        """Runs what is left of it, without its space; see `dnntune.tune`.

        Args:
            trials: The new total number of trials; None leaves it as it is.
            timeout: Stops this call after so many seconds.
            workers: Worker processes.
            threads: Threads of each.
            device: auto, cpu, cuda or cuda:N.
            progress: Whether to show what happens.
            callbacks: Told what happens.

        Raises:
            StudyError: There is no such study.
            KeyboardInterrupt: The user has stopped it; it can be resumed.
        """
        from pipeline.workers.run import run_study

        space, settings = stored_definition(self.optuna_study)
        settings = with_options(settings, trials=trials, timeout=timeout)
        with watched(settings.metric, progress=progress, callbacks=callbacks) as observer:
            summary = run_study(
                space,
                settings,
                name=self.name,
                workspace=self.workspace,
                compute=Compute(workers, threads, device),
                observer=observer,
            )
        check_end(summary)
        return self

    def finalize(
        self,
        *,
        top: int = 5,
        seeds: int = 5,
        refit: bool = False,
        mc_samples: int = 20,
        workers: int = 1,
        threads: int | None = None,
        device: str = "auto",
        progress: bool = True,
        callbacks: Sequence[Callback] = (),
    ) -> Final:
        """Trains the best configurations with new seeds, chooses one, and measures it once on the test set.

        Args:
            top: How many configurations.
            seeds: How many seeds.
            refit: Whether the chosen one is also trained on training and validation images together, for the export.
            mc_samples: Passes of Monte Carlo dropout.
            workers: Worker processes.
            threads: Threads of each.
            device: auto, cpu, cuda or cuda:N.
            progress: Whether to show what happens.
            callbacks: Told what happens.

        Raises:
            StudyError: Nothing is complete, or trainings are left.
            KeyboardInterrupt: The user has stopped it; the next call goes on.
        """
        from pipeline.finalize.run import FinalizeOptions, finalize

        with watched(self.metrics[0], progress=progress, callbacks=callbacks) as observer:
            done = finalize(
                self.name,
                workspace=self.workspace,
                options=FinalizeOptions(top, seeds, refit, mc_samples),
                compute=Compute(workers, threads, device),
                observer=observer,
                notify=observer.notify,
            )
        check_end(done.summary)
        if done.final is None:
            raise StudyError(f"{done.summary.num_left} trainings of {self.name}'s finalists are left. Call it again")
        return done.final

    def report(self, path: str | os.PathLike[str] | None = None) -> Path:
        """Writes the report, one self-contained HTML page, and adds it to the study's run in MLflow.

        Args:
            path: The file; None for one in the workspace.

        Returns:
            The file.
        """
        from pipeline.report.page import attach_report, write_report

        file = write_report(self.workspace, self.name, None if path is None else Path(path))
        attach_report(self.workspace, self.name, file)
        return file

    def export(
        self,
        path: str | os.PathLike[str],
        *,
        trial: int | None = None,
        fold: bool = False,
        overwrite: bool = False,
        num_checked: int | None = None,
        device: str = "auto",
    ) -> "Exported":
        """Exports the finalized model, or else the best trial's: ONNX, torch.export and safetensors.

        Args:
            path: A new folder.
            trial: Exports this trial's model instead.
            fold: Whether batch normalization is folded into the neighbouring layers.
            overwrite: Whether the folder may be an export, which is replaced.
            num_checked: Images that each file is compared with the model on; None for all.
            device: auto, cpu, cuda or cuda:N.

        Returns:
            What was written, and how far its predictions differ from the model's.

        Raises:
            StudyError: There is no such model in the workspace.
            DnntuneError: It cannot be written.
        """
        from pipeline.core.names import check_name
        from pipeline.evaluation.predictor import Predictor
        from pipeline.finalize.study_export import export_all, study_model, trial_model

        folder = Path(path)
        check_name(folder.name, "an export's folder")
        if trial is None:
            model = study_model(self.name, self.workspace)
        else:
            model = trial_model(self.optuna_study, trial, self.workspace)
        predictor = Predictor(Compute(device=device), data_dir=self.workspace.data_dir)
        (written,) = export_all(
            {folder: model}, predictor=predictor, num_checked=num_checked, fold_batch_norm=fold, overwrite=overwrite
        )
        return written


def open_study(name: str, workspace: str | os.PathLike[str] | Workspace = "runs", *, plugins: Plugins = ()) -> Study:
    """Returns a study that exists.

    Args:
        name: Its name.
        workspace: Where it is kept: a folder, or a `Workspace`.
        plugins: Files and modules that add the kinds that it needs.

    Raises:
        StudyError: There is none of this name; names those that exist.

    Example:
        >>> dnntune.open_study("digits_mlp").resume(trials=60, workers=2).leaderboard()
    """
    use_plugins(plugins)
    study = Study(name, workspace_of(workspace))
    if not study.metrics:
        raise StudyError(f"study {name} was not made by dnntune. Tune one with dnntune.tune, in this storage")
    return study
