"""A study's models as exports: the finalized one, the best trial's, or those of several trials."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna

from pipeline.config.trial import TrialConfig
from pipeline.core.errors import StudyError
from pipeline.core.workspace import Workspace
from pipeline.evaluation.predictor import Predictor, SavedModel
from pipeline.export.folder import check_folder
from pipeline.export.formats.graphs import check_packages
from pipeline.export.writing import Exported, export_model
from pipeline.finalize.final_file import load_final
from pipeline.finalize.finalists import best_entries, refuse_folds, weights_file
from pipeline.finalize.refit import REFIT
from pipeline.records.final import Final, Split
from pipeline.study.attributes import CONFIG
from pipeline.study.saved_models import SavedModels
from pipeline.study.studies import open_study
from pipeline.study.trials import result_of

# Of a trial's figures those that the same training gives again.
TRIAL_METRICS = ("best_valid_accuracy", "best_valid_loss", "best_epoch", "epochs", "num_parameters")


@dataclass(frozen=True)
class Exportable:
    """A model that can be exported.

    Attributes:
        model: The model.
        split: The images to compare its files on: the test set only where that has been measured already.
        metrics: Its figures.
        notes: What a person should know.
    """

    model: SavedModel
    split: Split
    metrics: Mapping[str, Any]
    notes: tuple[str, ...] = ()


def study_model(study: str, workspace: Workspace) -> Exportable:
    """Returns the model that stands for a study: the finalized one, or else the best trial's.

    Raises:
        StudyError: There is no such study, nothing in it is complete, or the weights are not in this workspace.
    """
    if (final := load_final(workspace, study)) is not None:
        return _finalized(final, workspace)
    loaded = open_study(workspace, study, computes=True)
    return trial_model(loaded, best_entries(loaded, 1)[0].number, workspace)


def trial_model(study: optuna.Study, number: int, workspace: Workspace) -> Exportable:
    """Returns the model of a trial that is among the study's best.

    Raises:
        StudyError: There is no such trial, or its weights were not kept.
    """
    trials = study.get_trials(deepcopy=False)
    result = result_of(trials[number]) if 0 <= number < len(trials) else None
    if result is None or result.outcome != "complete":
        raise StudyError(f"study {study.study_name} has no complete trial {number}. See dnntune leaderboard")
    config = TrialConfig.model_validate(trials[number].user_attrs[CONFIG])
    refuse_folds(study.study_name, config)
    file = SavedModels(workspace.models(study.study_name), 0).file(
        number if result.duplicate_of is None else result.duplicate_of
    )
    if not file.exists():
        raise StudyError(
            f"the weights of trial {number} of study {study.study_name} are not in this workspace ({file}): only "
            "the best are saved, as many as study.keep_models says, where they were trained. dnntune train --export "
            "trains a configuration again"
        )
    metrics = {name: getattr(result, name) for name in TRIAL_METRICS}
    note = "its figures are one trial's, the best of many: dnntune finalize tells what they are worth"
    return Exportable(
        SavedModel(f"trial {number}", config, file),
        "valid",
        {"study": study.study_name, "trial": number, **{name: value for name, value in metrics.items() if value}},
        (note,),
    )


def _finalized(final: Final, workspace: Workspace) -> Exportable:
    """Returns the model of a final result: the refitted one, if there is one."""
    models = workspace.models(final.finals)
    file = SavedModels(models, 0).file(final.number) if final.refit is None else models / REFIT
    config = TrialConfig.model_validate(final.chosen.config).replaced({"seed": final.seed})
    model_metrics = final.model_metrics if final.refit is None else final.refit
    metrics = {
        "study": final.study,
        "trial": final.chosen.trial,
        "seed": final.seed,
        "mean_" + final.metric: final.chosen.mean,
        f"{final.split}_images": final.num_images,
        **{f"{final.split}_{name}": value for name, value in dataclasses.asdict(model_metrics).items()},
    }
    times = "once" if final.times_measured == 1 else f"{final.times_measured} times"
    notes = [f"its {final.split} images were measured {times} for this study"]
    if final.refit is not None:
        notes.append(
            f"it was trained on training and validation images together, for {final.refit_epochs} (dnntune "
            "finalize --refit); config.yaml trains on the training images alone"
        )
    return Exportable(SavedModel("final", config, weights_file(file, final.finals)), final.split, metrics, tuple(notes))


def export_all(
    models: Mapping[Path, Exportable],
    *,
    predictor: Predictor,
    num_checked: int | None = None,
    fold_batch_norm: bool = False,
    overwrite: bool = False,
) -> list[Exported]:
    """Exports models, each to a folder of its own; what is in the way of one is found before any is written.

    Args:
        models: From folders, new or empty, to models.
        predictor: Has their images.
        num_checked: How many images each file is compared with its model on; None for all of the part.
        fold_batch_norm: See `export_model`.
        overwrite: Whether a folder may be an export, which is replaced.

    Raises:
        ExportError: See `export_model`.
        DataError: The data cannot be read.
    """
    check_packages()
    for folder in models:
        check_folder(folder, overwrite=overwrite)

    def export(model: Exportable, folder: Path) -> Exported:
        config = model.model.config
        data, images = predictor.data(config), predictor.images(config, model.split)
        assert images is not None
        return export_model(
            predictor.network(model.model),
            config=config,
            images=images.first(num_checked),
            class_names=data.class_names,
            image_shape=data.image_shape,
            metrics=model.metrics,
            folder=folder,
            notes=model.notes,
            fold_batch_norm=fold_batch_norm,
            overwrite=overwrite,
        )

    return [export(model, folder) for folder, model in models.items()]
