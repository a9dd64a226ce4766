"""Published results on Fashion-MNIST, reproduced over seeds; writes docs/reference-results.md.

Every run of a setting with a seed is a run in an MLflow experiment of its own; what is there already is not trained
again, so that it can be stopped and resumed. The page is written from what is there.

    python -m benchmarks.reference --workspace runs --seeds 5 --processes 2
    python -m benchmarks.reference --report                                  # only write the page again
"""

import argparse
import hashlib
import json
import multiprocessing
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.reference.published import SETTINGS
from benchmarks.reference.report import Done, write_report
from benchmarks.reference.settings import Setting
from benchmarks.reference.training import Run, run
from pipeline.core.workspace import Workspace
from pipeline.records.verdict import first_to_last
from pipeline.tracking.axes import Axes
from pipeline.tracking.naming import params_of
from pipeline.tracking.store import experiment_id, open_client

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "reference"
PAGE = Path(__file__).parents[2] / "docs" / "reference-results.md"


def fingerprint(setting: Setting, seed: int) -> str:
    """Returns what changes whenever a run of the setting would."""
    what = [setting.trial(seed).to_dict(), setting.split, setting.scaling]
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]


def finished(client: "MlflowClient", experiment: str) -> dict[str, Done]:
    """Returns what has been run, by fingerprint."""
    runs = client.search_runs([experiment], "attributes.status = 'FINISHED'", max_results=5000)
    return {run.data.tags["fingerprint"]: Done(run.data.metrics, run.data.tags["verdict"]) for run in runs}


def log(client: "MlflowClient", experiment: str, setting: Setting, seed: int, done: Run) -> None:
    """Logs a run that has ended."""
    from mlflow.entities import Metric, Param

    tags = {"setting": setting.key, "seed": str(seed), "verdict": done.verdict}
    tags["fingerprint"] = fingerprint(setting, seed)
    created = client.create_run(experiment, int(done.started * 1000), tags, run_name=f"{setting.key}, seed {seed}")
    now = int(time.time() * 1000)
    # Layer by layer, 100 layers would be 600 figures an epoch.
    curves = {
        epoch.epoch: epoch.measures()
        | ({"gradient_flow/first_to_last": first_to_last(epoch.gradient_flow)} if epoch.gradient_flow else {})
        for epoch in done.epochs
    }
    metrics = [Metric(name, value, now, step) for step, values in curves.items() for name, value in values.items()]
    metrics += [Metric(f"final_{name}", value, now, len(done.epochs)) for name, value in done.figures.items()]
    params = [Param(name, value) for name, value in params_of(setting.trial(seed).to_dict(), Axes()).items()]
    client.log_batch(created.info.run_id, metrics=metrics, params=params)
    client.set_terminated(created.info.run_id, end_time=int(done.ended * 1000))


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs what is missing, and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, default=Path("runs"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", default="", help="settings whose key has this in it")
    parser.add_argument("--epochs", type=int, help="of every setting, to try the benchmark; as published if not given")
    parser.add_argument("--report", action="store_true", help="train nothing")
    parser.add_argument("--page", type=Path, default=PAGE, help="where the page is written")
    options = parser.parse_args(arguments)
    workspace = Workspace(options.workspace, experiment=EXPERIMENT)
    options.workspace.mkdir(parents=True, exist_ok=True)
    client = open_client(workspace.tracking_url)
    experiment = experiment_id(client, EXPERIMENT, workspace.artifacts)
    there = finished(client, experiment)
    settings = [setting.shortened(options.epochs) for setting in SETTINGS]
    wanted = [(setting, seed) for seed in range(options.seeds) for setting in settings if options.only in setting.key]
    missing = [pair for pair in wanted if fingerprint(*pair) not in there and not options.report]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.processes, mp_context=context) as pool:
        futures = [(setting, seed, pool.submit(run, setting, seed)) for setting, seed in missing]
        for number, (setting, seed, future) in enumerate(futures, 1):
            done = future.result()
            log(client, experiment, setting, seed, done)
            print(f"{number}/{len(missing)} {setting.key}, seed {seed}: {done.figures} {done.verdict}", flush=True)
    there = finished(client, experiment)
    runs = {
        setting.key: [there[key] for seed in range(options.seeds) if (key := fingerprint(setting, seed)) in there]
        for setting in settings
    }
    write_report(options.page, runs)


if __name__ == "__main__":
    main()
