"""Whether a study's storage and MLflow tell the same, trial by trial."""

from collections.abc import Sequence
from pathlib import Path

from optuna.trial import FrozenTrial

from pipeline.core.stores.urls import StoreUrl
from pipeline.core.workspace import Workspace
from pipeline.storage.open import open_storage
from pipeline.study.studies import load_study
from pipeline.tracking.log_writer import LogWriter
from pipeline.tracking.store import open_client, open_experiment


def trials_in(workspace: Path, study: str) -> Sequence[FrozenTrial]:
    return load_study(open_storage(Workspace(workspace).storage_url), study).trials


def disagreements(workspace: Path, study: str, tracking_uri: StoreUrl | None = None) -> list[str]:
    """Returns what MLflow tells otherwise than the storage; nothing of trials that nobody has drawn yet."""
    here = Workspace(workspace, tracking_uri=tracking_uri)
    client = open_client(here.tracking_url)
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = [run for run in client.search_runs(ids, max_results=1000) if run.data.tags.get("study") == study]
    of_trials = [run.data.tags["trial"] for run in runs if run.data.tags["kind"] == "trial"]
    found = [f"trial {trial} has several runs" for trial in {t for t in of_trials if of_trials.count(t) > 1}]
    found += [f"{run.info.run_name} is RUNNING" for run in runs if run.info.status == "RUNNING"]
    if (count := len(runs) - len(of_trials)) != 1:
        found.append(f"{count} runs of the study")
    wrong = LogWriter(here, study, open_experiment(here), alive=False, seize=True).disagreements()
    return found + [f"trial {number}: {'; '.join(what)}" for number, what in wrong.items()]
