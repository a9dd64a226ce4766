"""Whether a study's storage and MLflow tell the same, trial by trial."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState

from pipeline.places import Places
from pipeline.study.storage import open_storage
from pipeline.study.studies import load_study
from pipeline.study.trials import outcome_of
from pipeline.tracking.store import open_client


def trials_in(workspace: Path, study: str) -> Sequence[FrozenTrial]:
    return load_study(open_storage(Places(workspace).storage_url), study).trials


def disagreements(workspace: Path, study: str) -> list[str]:
    """Returns what MLflow tells otherwise than the storage; nothing of trials that nobody has drawn yet."""
    client = open_client(Places(workspace).tracking_url)
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = [run for run in client.search_runs(ids, max_results=1000) if run.data.tags.get("study") == study]
    found = [
        f"{count} runs of the study" for count in [sum(r.data.tags["kind"] == "study" for r in runs)] if count != 1
    ]
    of_trials = [run for run in runs if run.data.tags["kind"] == "trial"]
    counts = Counter(int(run.data.tags["trial"]) for run in of_trials)
    latest = {int(run.data.tags["trial"]): run for run in sorted(of_trials, key=lambda run: run.info.start_time)}
    for trial in trials_in(workspace, study):
        outcome, run = outcome_of(trial), latest.get(trial.number)
        if run is not None and run.info.status == "RUNNING" and trial.state != TrialState.RUNNING:
            found.append(f"trial {trial.number} is {outcome or trial.state.name}, and its run is RUNNING")
        elif outcome in ("complete", "pruned", "diverged") and run is None:
            found.append(f"trial {trial.number} is {outcome}, and has no run")
        elif outcome is not None and run is not None and run.data.tags.get("outcome") != outcome:
            found.append(f"trial {trial.number} is {outcome}, and its run says {run.data.tags.get('outcome')}")
        if outcome is not None and counts[trial.number] > 1 and outcome != "interrupted":
            finished = [r for r in of_trials if int(r.data.tags["trial"]) == trial.number]
            if sum(r.data.tags.get("outcome") == outcome for r in finished) != 1:
                found.append(f"trial {trial.number} has {counts[trial.number]} runs")
    return found
