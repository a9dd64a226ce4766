"""A finalized study's model, on its way to MLflow's registry."""

import tempfile
from pathlib import Path

from pipeline.core.compute import Compute
from pipeline.core.errors import StudyError, TrackingError
from pipeline.core.workspace import Workspace
from pipeline.evaluation.predictor import Predictor
from pipeline.finalize.final_file import final_of
from pipeline.finalize.study_export import export_all, study_model
from pipeline.registration.registry import Registry
from pipeline.registration.versions import Candidate, Registered, enter
from pipeline.study.studies import open_study
from pipeline.tracking.log_writer import study_run


def register(study: str, *, model: str, workspace: Workspace, compute: Compute = Compute()) -> Registered:
    """Registers the model of a study's final result, and lets it become the champion if it is the better one.

    Whatever was done before an error is found again by the next call, and not done twice.

    Args:
        study: The study; it is finalized.
        model: Name of the registered model.
        workspace: Where the study is kept, and which tracking store.
        compute: What it runs on.

    Raises:
        StudyError: The study is not finalized, or was finalized without test images.
        TrackingError: The registry cannot be used, the name cannot be a model's, the study has no run there, or the
            champion is none that can be compared.
        DnntuneError: The model cannot be exported, or the data cannot be read.
    """
    if final_of(workspace, study).split != "test":
        raise StudyError(
            f"a champion is chosen on test images, and the data of study {study} had no test set when it was "
            "finalized. Give the data a test set, and run dnntune finalize again; or take the model without a "
            "registry: dnntune export"
        )
    registry = Registry(workspace.tracking_url, model)
    run = _run_of(study, workspace)
    exportable = study_model(study, workspace)
    predictor = Predictor(compute, data_dir=workspace.data_dir)
    with tempfile.TemporaryDirectory(prefix="dnntune-register-") as folder:
        (exported,) = export_all({Path(folder) / "export": exportable}, predictor=predictor)
        test = predictor.images(exportable.model.config, "test")
        assert test is not None
        return enter(registry, Candidate(exported.folder, exportable.metrics, test, run))


def _run_of(study: str, workspace: Workspace) -> str:
    if (run := study_run(open_study(workspace, study), workspace)) is None:
        raise TrackingError(
            f"a version belongs to its study's run, and study {study} has none in experiment {workspace.experiment} of "
            f"MLflow at {workspace.tracking_url}. dnntune sync writes it there; or name the place that has it, with "
            "--tracking-uri and --experiment"
        )
    return run
